package dev.gatun.internal;

import dev.gatun.Activation;
import dev.gatun.internal.gatun.gatun_h;
import dev.gatun.internal.gatun.gatun_rotary_desc;
import dev.gatun.internal.gatun.gatun_rows_desc;
import dev.gatun.internal.gatun.gatun_sgemm_desc;
import java.lang.foreign.MemorySegment;

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
  private final MemorySegment rows;
  private final MemorySegment rotary;

  private final Blas.User products;

  /**
   * Takes memory for the descriptors.
   *
   * @param context address of the context that everything runs on
   * @param products what is multiplied with
   */
  public RowOps(long context, Blas.User products) {
    this.products = products;
    this.context = MemorySegment.ofAddress(context);
    long productBytes = align(gatun_sgemm_desc.sizeof());
    long rowsBytes = align(gatun_rows_desc.sizeof());
    long rotaryBytes = align(gatun_rotary_desc.sizeof());
    memory = Native.allocate(productBytes + rowsBytes + rotaryBytes);
    product = memory.asSlice(0, productBytes);
    rows = memory.asSlice(productBytes, rowsBytes);
    rotary = memory.asSlice(productBytes + rowsBytes, rotaryBytes);
  }

  /** As {@link Native#load} says. */
  static void initialize() {
    code(Activation.NONE);
  }

  private static long align(long bytes) {
    return (bytes + 63) & -64;
  }

  @Override
  public void close() {
    Native.free(memory);
  }

  private static void check(int status) {
    if (status == Native.Abi.OVERLAP) {
      throw new IllegalArgumentException(
          "out: expected memory of its own, got memory shared with an input or another output");
    }
    if (status != Native.Abi.OK) {
      throw Native.failure(status, null);
    }
  }

  private static MemorySegment segment(Matrix matrix) {
    return matrix == null ? NONE : matrix.segment();
  }

  private static long stride(Matrix matrix) {
    return matrix == null ? 0 : matrix.stride();
  }

  // ---- products ------------------------------------------------------------------------------

  /**
   * Describes the products that follow: {@code C = alpha · op(A) · op(B) + beta · C}.
   *
   * @param transposeA whether A is stored {@code [k, m]}
   * @param transposeB whether B is stored {@code [n, k]}
   * @param m rows of C
   * @param n columns of C
   * @param k depth
   * @param lda elements between rows of A as stored
   * @param ldb elements between rows of B as stored
   * @param ldc elements between rows of C
   * @param alpha factor of the product
   * @param beta factor of the old C; 0: not read
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
    gatun_sgemm_desc.struct_size(product, (int) gatun_sgemm_desc.sizeof());
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
    gatun_sgemm_desc.activation(product, gatun_h.GATUN_ACTIVATION_NONE());
  }

  /**
   * Multiplies as described.
   *
   * @param a left
   * @param b right
   * @param c receives the product
   * @return a status
   */
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
    describeProduct(
        false,
        transposed,
        x.rows(),
        out.columns(),
        x.columns(),
        x.stride(),
        weight.stride(),
        out.stride(),
        1,
        0);
    gatun_sgemm_desc.activation(product, code(activation));
    int status;
    try {
      status =
          gatun_h.gatun_linear(
              context,
              product,
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

  private static int code(Activation activation) {
    return switch (activation) {
      case NONE -> gatun_h.GATUN_ACTIVATION_NONE();
      case RELU -> gatun_h.GATUN_ACTIVATION_RELU();
      case GELU -> gatun_h.GATUN_ACTIVATION_GELU();
      case GELU_TANH -> gatun_h.GATUN_ACTIVATION_GELU_TANH();
      case SILU -> gatun_h.GATUN_ACTIVATION_SILU();
      case QUICK_GELU -> gatun_h.GATUN_ACTIVATION_QUICK_GELU();
    };
  }

  // ---- rows ----------------------------------------------------------------------------------

  private void describe(int flags, long count, long dim, long xStride, Matrix out, int operation) {
    gatun_rows_desc.struct_size(rows, (int) gatun_rows_desc.sizeof());
    gatun_rows_desc.flags(rows, flags);
    gatun_rows_desc.rows(rows, count);
    gatun_rows_desc.dim(rows, dim);
    gatun_rows_desc.x_row(rows, xStride);
    gatun_rows_desc.other_row(rows, 0);
    gatun_rows_desc.sum_row(rows, 0);
    gatun_rows_desc.out_row(rows, out.stride());
    gatun_rows_desc.activation(rows, operation);
    gatun_rows_desc.epsilon(rows, 0);
    gatun_rows_desc.scale(rows, 0);
    for (int table = 0; table < 3; table++) {
      gatun_rows_desc.table_rows(rows, table, 0);
    }
  }

  private void describe(int flags, Matrix x, Matrix out, int operation) {
    describe(flags, x.rows(), x.columns(), x.stride(), out, operation);
  }

  /**
   * {@code out = norm(x + bias + residual) · gamma + beta}.
   *
   * @param rms whether the mean is left alone
   * @param epsilon added to the variance or mean square
   * @param x {@code [rows, dim]}
   * @param bias {@code [dim]}, or NULL
   * @param residual {@code [rows, dim]}, or null
   * @param gamma {@code [dim]}
   * @param beta {@code [dim]}, or NULL
   * @param sum receives {@code x + bias + residual}, or null
   * @param out receives {@code [rows, dim]}; may be x or residual
   */
  public void norm(
      boolean rms,
      float epsilon,
      Matrix x,
      MemorySegment bias,
      Matrix residual,
      MemorySegment gamma,
      MemorySegment beta,
      Matrix sum,
      Matrix out) {
    describe(rms ? gatun_h.GATUN_NORM_RMS() : 0, x, out, 0);
    gatun_rows_desc.other_row(rows, stride(residual));
    gatun_rows_desc.sum_row(rows, stride(sum));
    gatun_rows_desc.epsilon(rows, epsilon);
    check(
        gatun_h.gatun_norm(
            context,
            rows,
            x.segment(),
            bias,
            segment(residual),
            gamma,
            beta,
            segment(sum),
            out.segment()));
  }

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
    describe(0, x, out, code(activation));
    gatun_rows_desc.other_row(rows, stride(gate));
    check(gatun_h.gatun_activation(context, rows, x.segment(), bias, segment(gate), out.segment()));
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
    describe(0, out.rows(), out.columns(), 0, out, 0);
    gatun_rows_desc.scale(rows, factor);
    gatun_rows_desc.table_rows(rows, 0, table0.rows());
    gatun_rows_desc.table_rows(rows, 1, table1 == null ? 0 : table1.rows());
    gatun_rows_desc.table_rows(rows, 2, table2 == null ? 0 : table2.rows());
    check(
        gatun_h.gatun_embedding(
            context,
            rows,
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
   * @param first the first row, otherwise the mean
   * @param normalize whether it is divided by its Euclidean norm
   * @param x {@code [total, dim]}
   * @param cuSeqlens {@code [sequences + 1]} int32
   * @param out receives {@code [sequences, dim]}
   */
  public void pool(
      boolean first, boolean normalize, Matrix x, MemorySegment cuSeqlens, Matrix out) {
    describe(
        normalize ? gatun_h.GATUN_POOL_NORMALIZE() : 0,
        out.rows(),
        out.columns(),
        x.stride(),
        out,
        first ? gatun_h.GATUN_POOL_FIRST() : gatun_h.GATUN_POOL_MEAN());
    check(gatun_h.gatun_pool(context, rows, x.segment(), cuSeqlens, out.segment()));
  }

  /**
   * The softmax of each row.
   *
   * @param log its logarithm
   * @param x {@code [rows, dim]}
   * @param out receives {@code [rows, dim]}; may be x
   */
  public void softmax(boolean log, Matrix x, Matrix out) {
    describe(log ? gatun_h.GATUN_SOFTMAX_LOG() : 0, x, out, 0);
    check(gatun_h.gatun_softmax(context, rows, x.segment(), out.segment()));
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
    gatun_rotary_desc.struct_size(rotary, (int) gatun_rotary_desc.sizeof());
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
