package dev.gatun.internal;

import dev.gatun.Activation;
import dev.gatun.internal.gatun.gatun_activation_desc;
import dev.gatun.internal.gatun.gatun_embedding_desc;
import dev.gatun.internal.gatun.gatun_h;
import dev.gatun.internal.gatun.gatun_linear_desc;
import dev.gatun.internal.gatun.gatun_pool_desc;
import dev.gatun.internal.gatun.gatun_rotary_desc;
import dev.gatun.internal.gatun.gatun_sgemm_desc;
import dev.gatun.internal.gatun.gatun_softmax_desc;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;

/**
 * The operations of {@code gatun.h} on rows, each with its descriptor, for one thread at a time.
 * Optional matrices are null, optional vectors {@link MemorySegment#NULL}.
 *
 * <p>Sizes and strides have been checked by the callers; native code checks them again. An output
 * that shares memory with an input throws IllegalArgumentException.
 */
public final class RowOps implements AutoCloseable {

  private static final MemorySegment NONE = MemorySegment.NULL;

  private final MemorySegment context;
  private final MemorySegment memory;
  private final MemorySegment product;
  private final MemorySegment linear;
  private final MemorySegment activation;
  private final MemorySegment embedding;
  private final MemorySegment pool;
  private final MemorySegment softmax;
  private final MemorySegment rotary;

  private final Blas.User products;
  private final RowSteps steps;
  private final CellOps cells;
  private final AdditiveCall additive;
  private final ScanOps scan;

  /**
   * Takes memory for the descriptors of operations on a context, whose products are made with this
   * user.
   */
  public RowOps(long context, Blas.User products) {
    this.products = products;
    this.context = MemorySegment.ofAddress(context);
    long[] sizes = {
      gatun_sgemm_desc.sizeof(),
      gatun_linear_desc.sizeof(),
      gatun_activation_desc.sizeof(),
      gatun_embedding_desc.sizeof(),
      gatun_pool_desc.sizeof(),
      gatun_softmax_desc.sizeof(),
      gatun_rotary_desc.sizeof()
    };
    long bytes = 0;
    for (long size : sizes) {
      bytes += align(size);
    }
    memory = Native.allocate(bytes + CellOps.memoryBytes() + RowSteps.memoryBytes());
    MemorySegment[] slices = new MemorySegment[sizes.length];
    long offset = 0;
    for (int i = 0; i < sizes.length; i++) {
      slices[i] = memory.asSlice(offset, sizes[i]);
      slices[i].set(ValueLayout.JAVA_INT, 0, (int) sizes[i]); // struct_size
      offset += align(sizes[i]);
    }
    product = slices[0];
    linear = slices[1];
    activation = slices[2];
    embedding = slices[3];
    pool = slices[4];
    softmax = slices[5];
    rotary = slices[6];
    cells = new CellOps(this.context, memory.asSlice(bytes));
    steps = new RowSteps(this.context, memory.asSlice(bytes + CellOps.memoryBytes()));
    additive = new AdditiveCall(this.context);
    scan = new ScanOps(this.context);
  }

  /** As {@link Native#load} says. */
  static void initialize() {
    code(Activation.NONE);
    RowSteps.initialize();
    CellOps.initialize();
    AdditiveCall.initialize();
  }

  private static long align(long bytes) {
    return (bytes + 63) & -64;
  }

  @Override
  public void close() {
    steps.close();
    additive.close();
    scan.close();
    Native.free(memory);
  }

  /** Of scratch that grows. */
  public long bytes() {
    return steps.bytes() + additive.bytes() + scan.bytes();
  }

  /** Layers that wait. */
  RowSteps steps() {
    return steps;
  }

  /** Steps of recurrent layers. */
  public CellOps cells() {
    return cells;
  }

  /** Additive attention. */
  public AdditiveCall additive() {
    return additive;
  }

  /** The selective scan, and the convolution before it. */
  public ScanOps scan() {
    return scan;
  }

  /** Where they run. */
  MemorySegment context() {
    return context;
  }

  static void check(int status) {
    if (status == Native.Abi.OVERLAP) {
      throw new IllegalArgumentException(
          "out: expected memory of its own, got memory shared with an input or another output");
    }
    if (status != Native.Abi.OK) {
      throw Native.failure(status, null);
    }
  }

  static MemorySegment segment(Matrix matrix) {
    return matrix == null ? NONE : matrix.segment();
  }

  static long stride(Matrix matrix) {
    return matrix == null ? 0 : matrix.stride();
  }

  // ---- products ------------------------------------------------------------------------------

  /**
   * Describes the products that follow, {@code C = alpha · op(A) · op(B) + beta · C}: C has m rows
   * and n columns, k is the depth; A is stored {@code [k, m]} if transposed, B {@code [n, k]}; lda,
   * ldb and ldc are elements between rows as stored. C is not read if beta is 0.
   */
  public void describeProduct(
      boolean transposeA,
      boolean transposeB,
      long m,
      long n,
      long k,
      long lda,
      long ldb,
      long ldc,
      float alpha,
      float beta) {
    gatun_sgemm_desc.flags(
        product,
        (transposeA ? gatun_h.GATUN_SGEMM_TRANSPOSE_A() : 0)
            | (transposeB ? gatun_h.GATUN_SGEMM_TRANSPOSE_B() : 0));
    gatun_sgemm_desc.m(product, m);
    gatun_sgemm_desc.n(product, n);
    gatun_sgemm_desc.k(product, k);
    gatun_sgemm_desc.lda(product, lda);
    gatun_sgemm_desc.ldb(product, ldb);
    gatun_sgemm_desc.ldc(product, ldc);
    gatun_sgemm_desc.alpha(product, alpha);
    gatun_sgemm_desc.beta(product, beta);
  }

  /** Multiplies as described. Returns a status. */
  public int multiply(MemorySegment a, MemorySegment b, MemorySegment c) {
    try {
      return gatun_h.gatun_sgemm(context, product, products.begin(), a, b, c);
    } finally {
      products.multiplying = false;
    }
  }

  /**
   * {@code out = activation(x · W + bias)}.
   *
   * @param x {@code [rows, in]}
   * @param weight {@code [in, out]}, or {@code [out, in]} if transposed
   * @param transposed how the weight is stored
   * @param bias {@code [out]}, or NULL
   * @param activation applied last
   * @param out receives {@code [rows, out]}
   */
  public void linear(
      Matrix x,
      Matrix weight,
      boolean transposed,
      MemorySegment bias,
      Activation activation,
      Matrix out) {
    gatun_linear_desc.flags(linear, transposed ? gatun_h.GATUN_SGEMM_TRANSPOSE_B() : 0);
    gatun_linear_desc.m(linear, x.rows());
    gatun_linear_desc.n(linear, out.columns());
    gatun_linear_desc.k(linear, x.columns());
    gatun_linear_desc.lda(linear, x.stride());
    gatun_linear_desc.ldb(linear, weight.stride());
    gatun_linear_desc.ldc(linear, out.stride());
    gatun_linear_desc.alpha(linear, 1);
    gatun_linear_desc.beta(linear, 0);
    gatun_linear_desc.activation(linear, code(activation));
    int status;
    try {
      status =
          gatun_h.gatun_linear(
              context,
              linear,
              products.begin(),
              x.segment(),
              weight.segment(),
              bias,
              out.segment());
    } finally {
      products.multiplying = false;
    }
    check(status);
  }

  static int code(Activation activation) {
    return switch (activation) {
      case NONE -> gatun_h.GATUN_ACTIVATION_NONE();
      case RELU -> gatun_h.GATUN_ACTIVATION_RELU();
      case GELU -> gatun_h.GATUN_ACTIVATION_GELU();
      case GELU_TANH -> gatun_h.GATUN_ACTIVATION_GELU_TANH();
      case SILU -> gatun_h.GATUN_ACTIVATION_SILU();
      case QUICK_GELU -> gatun_h.GATUN_ACTIVATION_QUICK_GELU();
    };
  }

  private static int code(PoolRule rule) {
    return switch (rule) {
      case MEAN -> gatun_h.GATUN_POOL_MEAN();
      case FIRST -> gatun_h.GATUN_POOL_FIRST();
      case MAX -> gatun_h.GATUN_POOL_MAX();
      case MEAN_SQRT_LENGTH -> gatun_h.GATUN_POOL_MEAN_SQRT_LENGTH();
      case WEIGHTED_MEAN -> gatun_h.GATUN_POOL_WEIGHTED_MEAN();
      case LAST -> gatun_h.GATUN_POOL_LAST();
    };
  }

  // ---- rows ----------------------------------------------------------------------------------

  /**
   * {@code out = activation(x + bias) · gate}.
   *
   * @param activation the function
   * @param x {@code [rows, dim]}
   * @param bias {@code [dim]}, or NULL
   * @param gate {@code [rows, dim]}, or null
   * @param out receives {@code [rows, dim]}; may be x or gate
   */
  public void activation(
      Activation activation, Matrix x, MemorySegment bias, Matrix gate, Matrix out) {
    activation(activation, 0, x, bias, gate, out);
  }

  /**
   * {@code out = cap · tanh(x / cap)}.
   *
   * @param cap from 2^-100 to 2^100
   * @param x {@code [rows, dim]}
   * @param out receives {@code [rows, dim]}; may be x
   */
  public void softcap(float cap, Matrix x, Matrix out) {
    activation(Activation.NONE, cap, x, NONE, null, out);
  }

  /**
   * {@code out = tanh(x + bias)}.
   *
   * @param x {@code [rows, dim]}
   * @param bias {@code [dim]}
   * @param out receives {@code [rows, dim]}; may be x
   */
  public void biasedTanh(Matrix x, MemorySegment bias, Matrix out) {
    activation(Activation.NONE, 1, x, bias, null, out);
  }

  private void activation(
      Activation activation, float softcap, Matrix x, MemorySegment bias, Matrix gate, Matrix out) {
    MemorySegment desc = this.activation;
    gatun_activation_desc.rows(desc, x.rows());
    gatun_activation_desc.dim(desc, x.columns());
    gatun_activation_desc.x_row(desc, x.stride());
    gatun_activation_desc.gate_row(desc, stride(gate));
    gatun_activation_desc.out_row(desc, out.stride());
    gatun_activation_desc.activation(desc, code(activation));
    gatun_activation_desc.softcap(desc, softcap);
    check(gatun_h.gatun_activation(context, desc, x.segment(), bias, segment(gate), out.segment()));
  }

  /**
   * {@code out[r] = factor · table0[ids0[r]] + table1[ids1[r]] + table2[ids2[r]]}.
   *
   * @param factor of table0; not 0
   * @param ids0 {@code [rows]} int32
   * @param table0 {@code [entries, dim]}, contiguous
   * @param ids1 {@code [rows]} int32, or NULL: row 0 of the table for every row
   * @param table1 {@code [entries, dim]}, contiguous, or null
   * @param ids2 {@code [rows]} int32, or NULL: row 0 of the table for every row
   * @param table2 {@code [entries, dim]}, contiguous, or null; null if table1 is
   * @param out receives {@code [rows, dim]}
   */
  public void embedding(
      float factor,
      MemorySegment ids0,
      Matrix table0,
      MemorySegment ids1,
      Matrix table1,
      MemorySegment ids2,
      Matrix table2,
      Matrix out) {
    embedding(factor, ids0, table0, 0, 0, ids1, table1, ids2, table2, out);
  }

  /**
   * The same with a first table that may be quantized.
   *
   * @param scale0 if table0 is uint8, above 0: an element is its number less zeroPoint0, times
   *     that; 0 if it is float32
   * @param zeroPoint0 0 .. 255, 0 if table0 is float32
   */
  public void embedding(
      float factor,
      MemorySegment ids0,
      Matrix table0,
      float scale0,
      int zeroPoint0,
      MemorySegment ids1,
      Matrix table1,
      MemorySegment ids2,
      Matrix table2,
      Matrix out) {
    gatun_embedding_desc.rows(embedding, out.rows());
    gatun_embedding_desc.dim(embedding, out.columns());
    gatun_embedding_desc.out_row(embedding, out.stride());
    gatun_embedding_desc.scale(embedding, factor);
    int dtype = scale0 == 0 ? gatun_h.GATUN_DTYPE_F32() : gatun_h.GATUN_DTYPE_U8();
    gatun_embedding_desc.table_dtype(embedding, 0, dtype);
    gatun_embedding_desc.table_scale(embedding, 0, scale0);
    gatun_embedding_desc.table_zero(embedding, 0, zeroPoint0);
    gatun_embedding_desc.table_rows(embedding, 0, table0.rows());
    gatun_embedding_desc.table_rows(embedding, 1, table1 == null ? 0 : table1.rows());
    gatun_embedding_desc.table_rows(embedding, 2, table2 == null ? 0 : table2.rows());
    check(
        gatun_h.gatun_embedding(
            context,
            embedding,
            ids0,
            table0.segment(),
            ids1,
            segment(table1),
            ids2,
            segment(table2),
            out.segment()));
  }

  /**
   * Makes one vector of the rows of each sequence.
   *
   * @param rule what is made of the rows
   * @param skip rows at the beginning of each sequence that are left out, but by FIRST
   * @param normalize whether it is divided by its Euclidean norm
   * @param x {@code [total, dim]}
   * @param cuSeqlens {@code [sequences + 1]} int32
   * @param out receives {@code [sequences, dim]}
   */
  public void pool(
      PoolRule rule, int skip, boolean normalize, Matrix x, MemorySegment cuSeqlens, Matrix out) {
    gatun_pool_desc.flags(pool, normalize ? gatun_h.GATUN_POOL_NORMALIZE() : 0);
    gatun_pool_desc.sequences(pool, out.rows());
    gatun_pool_desc.dim(pool, out.columns());
    gatun_pool_desc.x_row(pool, x.stride());
    gatun_pool_desc.out_row(pool, out.stride());
    gatun_pool_desc.pooling(pool, code(rule));
    gatun_pool_desc.skip(pool, skip);
    check(gatun_h.gatun_pool(context, pool, x.segment(), cuSeqlens, out.segment()));
  }

  /**
   * The softmax of each row.
   *
   * @param log its logarithm
   * @param x {@code [rows, dim]}
   * @param out receives {@code [rows, dim]}; may be x
   */
  public void softmax(boolean log, Matrix x, Matrix out) {
    gatun_softmax_desc.flags(softmax, log ? gatun_h.GATUN_SOFTMAX_LOG() : 0);
    gatun_softmax_desc.rows(softmax, x.rows());
    gatun_softmax_desc.dim(softmax, x.columns());
    gatun_softmax_desc.x_row(softmax, x.stride());
    gatun_softmax_desc.out_row(softmax, out.stride());
    check(gatun_h.gatun_softmax(context, softmax, x.segment(), out.segment()));
  }

  /**
   * Rotates the heads of x by their positions, in place.
   *
   * @param adjacent whether pairs are neighbors, otherwise halves of the rotated part apart
   * @param x {@code [rows, heads · headDim]}
   * @param headDim elements of a head
   * @param positionIds {@code [rows]} int32
   * @param cos {@code [positions, rotated / 2]}, contiguous
   * @param sin {@code [positions, rotated / 2]}, contiguous
   */
  public void rotary(
      boolean adjacent, Matrix x, long headDim, MemorySegment positionIds, Matrix cos, Matrix sin) {
    gatun_rotary_desc.flags(rotary, adjacent ? gatun_h.GATUN_ROTARY_INTERLEAVED() : 0);
    gatun_rotary_desc.rows(rotary, x.rows());
    gatun_rotary_desc.heads(rotary, x.columns() / headDim);
    gatun_rotary_desc.head_dim(rotary, headDim);
    gatun_rotary_desc.rotary_dim(rotary, 2 * cos.columns());
    gatun_rotary_desc.x_row(rotary, x.stride());
    gatun_rotary_desc.x_head(rotary, headDim);
    gatun_rotary_desc.out_row(rotary, x.stride());
    gatun_rotary_desc.out_head(rotary, headDim);
    gatun_rotary_desc.table_rows(rotary, cos.rows());
    check(
        gatun_h.gatun_rotary(
            context, rotary, x.segment(), positionIds, cos.segment(), sin.segment(), x.segment()));
  }
}
