package dev.gatun.internal;

import dev.gatun.Causal;
import dev.gatun.RuntimeInfo;
import dev.gatun.nn.Activation;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import java.util.ArrayList;
import java.util.List;

/**
 * What the layers of a model write besides their outputs, for one thread at a time: descriptors,
 * attention scratch, and a stack of buffers for intermediate results. Everything grows to what is
 * needed and stays, so that a second run of the same model allocates nothing.
 *
 * <p>Sizes and strides have been checked by the callers; native code checks them again. Segments
 * are the whole memory that a tensor begins in: rows are counted, not sliced.
 */
public final class Blocks implements AutoCloseable {

  /** Memory for intermediate results, with up to two more starting points inside it. */
  public static final class Buffer {
    private MemorySegment memory = MemorySegment.NULL;
    private MemorySegment first;
    private MemorySegment second;
    private long offset;
    private long furtherOffset;

    private Buffer() {}

    /**
     * Returns the memory.
     *
     * @return a segment that is valid until the buffer is next taken
     */
    public MemorySegment segment() {
      return memory;
    }

    /**
     * Returns the memory from an element on, and remembers a further starting point for {@link
     * #second}: views of a packed row that cost nothing when they are asked for again.
     *
     * @param floats elements before the first starting point
     * @param furtherFloats elements before the second
     * @return the memory from the first to its end
     */
    public MemorySegment from(long floats, long furtherFloats) {
      if (offset != floats || furtherOffset != furtherFloats) {
        offset = floats;
        furtherOffset = furtherFloats;
        first = memory.asSlice(floats * Float.BYTES);
        second = memory.asSlice(furtherFloats * Float.BYTES);
      }
      return first;
    }

    /**
     * Returns the memory from the further starting point of {@link #from}.
     *
     * @return the memory from there to its end
     */
    public MemorySegment second() {
      return second;
    }

    private void resize(long bytes) {
      release();
      memory = Native.allocate(bytes);
    }

    private void release() {
      MemorySegment old = memory;
      memory = MemorySegment.NULL;
      first = null;
      second = null;
      offset = 0;
      furtherOffset = 0;
      if (old.byteSize() > 0) {
        Native.free(old);
      }
    }
  }

  private static final long SIZE_BYTES = 64;

  private final MemorySegment context;
  private final MemorySegment memory;
  private final MemorySegment attentionDesc;
  private final MemorySegment sgemmDesc;
  private final MemorySegment rowsDesc;
  private final MemorySegment rotaryDesc;
  private final Buffer scratch = new Buffer();
  private final List<Buffer> buffers = new ArrayList<>();
  private int taken;
  private final Blas.User products;

  /** Of the context, once an event has needed it. */
  private RuntimeInfo info;

  /**
   * Takes memory for descriptors.
   *
   * @param context address of the context that everything runs on
   * @param products what linear layers multiply with
   */
  public Blocks(long context, Blas.User products) {
    this.products = products;
    this.context = MemorySegment.ofAddress(context);
    long attention = align(Native.Abi.ATTENTION_DESC_BYTES);
    long product = align(Native.Abi.SGEMM_DESC_BYTES);
    long rows = align(NativeBlocks.ROWS_DESC_BYTES);
    long rotary = align(NativeBlocks.ROTARY_DESC_BYTES);
    memory = Native.allocate(SIZE_BYTES + attention + product + rows + rotary);
    attentionDesc = memory.asSlice(SIZE_BYTES, attention);
    sgemmDesc = memory.asSlice(SIZE_BYTES + attention, product);
    rowsDesc = memory.asSlice(SIZE_BYTES + attention + product, rows);
    rotaryDesc = memory.asSlice(SIZE_BYTES + attention + product + rows, rotary);
  }

  private static long align(long bytes) {
    return (bytes + 63) & -64;
  }

  // ---- buffers -------------------------------------------------------------------------------

  /**
   * Returns how many buffers are taken, for {@link #giveBackTo}.
   *
   * @return the height of the stack
   */
  public int mark() {
    return taken;
  }

  /**
   * Takes the next buffer. Its content is undefined.
   *
   * @param floats elements that it must hold
   * @return a buffer that is the caller's until it gives back
   */
  public Buffer take(long floats) {
    if (taken == buffers.size()) {
      buffers.add(new Buffer());
    }
    Buffer buffer = buffers.get(taken++);
    // A product of sizes that has overflowed asks for more than there is.
    boolean fits = floats >= 0 && floats <= Long.MAX_VALUE / Float.BYTES;
    long bytes = fits ? Math.max(floats, 16) * Float.BYTES : Long.MAX_VALUE;
    if (buffer.memory.byteSize() < bytes) {
      buffer.resize(bytes);
    }
    return buffer;
  }

  /**
   * Gives back the buffers taken since a mark.
   *
   * @param mark what {@link #mark} returned
   */
  public void giveBackTo(int mark) {
    taken = mark;
  }

  /**
   * Returns the memory held.
   *
   * @return bytes of scratch and buffers
   */
  public long bytes() {
    long bytes = memory.byteSize() + scratch.memory.byteSize();
    for (Buffer buffer : buffers) {
      bytes += buffer.memory.byteSize();
    }
    return bytes;
  }

  @Override
  public void close() {
    buffers.forEach(Buffer::release);
    scratch.release();
    Native.free(memory);
  }

  // ---- layers --------------------------------------------------------------------------------

  private static void check(int status) {
    if (status == Native.Abi.OVERLAP) {
      throw new IllegalArgumentException(
          "out: expected memory of its own, got memory shared with an input or another output");
    }
    if (status != Native.Abi.OK) {
      throw Native.failure(status, null);
    }
  }

  /**
   * A linear layer: {@code out = activation(x · weight + bias)}.
   *
   * @param rows rows of x and out
   * @param in columns of x
   * @param outputs columns of out
   * @param x input
   * @param xRow elements between its rows
   * @param weight {@code [in, outputs]}, or {@code [outputs, in]} if transposed
   * @param weightRow elements between its stored rows
   * @param transposed whether the weight is stored transposed
   * @param bias {@code [outputs]}, or NULL
   * @param activation what is applied last
   * @param out receives the result
   * @param outRow elements between its rows
   */
  public void linear(
      long rows,
      long in,
      long outputs,
      MemorySegment x,
      long xRow,
      MemorySegment weight,
      long weightRow,
      boolean transposed,
      MemorySegment bias,
      Activation activation,
      MemorySegment out,
      long outRow) {
    Native.describeSgemm(
        sgemmDesc, false, transposed, rows, outputs, in, xRow, weightRow, outRow, 1, 0);
    NativeBlocks.activation(sgemmDesc, activation);
    int status;
    try {
      status = NativeBlocks.linear(context, sgemmDesc, products.begin(), x, weight, bias, out);
    } finally {
      products.multiplying = false;
    }
    check(status);
  }

  /**
   * Normalises rows: {@code t = x + bias + residual}, then {@code out = normalised t · gamma +
   * beta}.
   *
   * @param rms divide by the root mean square, without subtracting the mean
   * @param epsilon added to the variance or mean square
   * @param rows rows
   * @param dim columns
   * @param x input
   * @param xRow elements between its rows
   * @param bias {@code [dim]}, or NULL
   * @param residual added to x, or NULL
   * @param residualRow elements between its rows
   * @param gamma {@code [dim]}
   * @param beta {@code [dim]}, or NULL
   * @param sum receives t, or NULL
   * @param sumRow elements between its rows
   * @param out receives the result; may be x or residual
   * @param outRow elements between its rows
   */
  public void norm(
      boolean rms,
      float epsilon,
      long rows,
      long dim,
      MemorySegment x,
      long xRow,
      MemorySegment bias,
      MemorySegment residual,
      long residualRow,
      MemorySegment gamma,
      MemorySegment beta,
      MemorySegment sum,
      long sumRow,
      MemorySegment out,
      long outRow) {
    check(
        NativeBlocks.norm(
            context,
            rowsDesc,
            rms,
            epsilon,
            rows,
            dim,
            x,
            xRow,
            bias,
            residual,
            residualRow,
            gamma,
            beta,
            sum,
            sumRow,
            out,
            outRow));
  }

  /**
   * {@code out = activation(x + bias) · gate}.
   *
   * @param activation the function
   * @param rows rows
   * @param dim columns
   * @param x input
   * @param xRow elements between its rows
   * @param bias {@code [dim]}, or NULL
   * @param gate factor, or NULL
   * @param gateRow elements between its rows
   * @param out receives the result; may be x or gate
   * @param outRow elements between its rows
   */
  public void activation(
      Activation activation,
      long rows,
      long dim,
      MemorySegment x,
      long xRow,
      MemorySegment bias,
      MemorySegment gate,
      long gateRow,
      MemorySegment out,
      long outRow) {
    check(
        NativeBlocks.activation(
            context, rowsDesc, activation, rows, dim, x, xRow, bias, gate, gateRow, out, outRow));
  }

  /**
   * Sums of up to three table rows for each row. Ids that are NULL mean row 0; tables 1 and 2 may
   * be NULL.
   *
   * @param factor of the rows of table 0
   * @param rows rows of out
   * @param dim columns
   * @param ids0 {@code [rows]} int32
   * @param table0 {@code [entries0, dim]}
   * @param entries0 rows of it
   * @param ids1 {@code [rows]} int32, or NULL
   * @param table1 {@code [entries1, dim]}, or NULL
   * @param entries1 rows of it
   * @param ids2 {@code [rows]} int32, or NULL
   * @param table2 {@code [entries2, dim]}, or NULL
   * @param entries2 rows of it
   * @param out receives the sums
   * @param outRow elements between its rows
   */
  public void embedding(
      float factor,
      long rows,
      long dim,
      MemorySegment ids0,
      MemorySegment table0,
      long entries0,
      MemorySegment ids1,
      MemorySegment table1,
      long entries1,
      MemorySegment ids2,
      MemorySegment table2,
      long entries2,
      MemorySegment out,
      long outRow) {
    check(
        NativeBlocks.embedding(
            context, rowsDesc, factor, rows, dim, ids0, table0, entries0, ids1, table1, entries1,
            ids2, table2, entries2, out, outRow));
  }

  /**
   * One vector for each packed sequence.
   *
   * @param first the first row of each, instead of the mean of all
   * @param normalize divide by the Euclidean norm
   * @param sequences how many
   * @param dim columns
   * @param x rows of all sequences
   * @param xRow elements between them
   * @param cuSeqlens {@code [sequences + 1]} int32 offsets
   * @param out receives the vectors
   * @param outRow elements between them
   */
  public void pool(
      boolean first,
      boolean normalize,
      long sequences,
      long dim,
      MemorySegment x,
      long xRow,
      MemorySegment cuSeqlens,
      MemorySegment out,
      long outRow) {
    check(
        NativeBlocks.pool(
            context, rowsDesc, first, normalize, sequences, dim, x, xRow, cuSeqlens, out, outRow));
  }

  // ---- attention -----------------------------------------------------------------------------

  /**
   * Describes the next {@link #attention} or {@link #attentionPacked} but for its strides.
   *
   * @param causal the mask
   * @param hasScale whether scale is given
   * @param scale factor of the scores
   * @param batch sequences
   * @param heads query heads
   * @param kvHeads key heads
   * @param seqQ query rows of one sequence, or of the longest
   * @param seqK keys of one sequence, or of the longest
   * @param headDim size of a query and a key
   * @param headDimV size of a value
   * @return this
   */
  public Blocks describe(
      Causal causal,
      boolean hasScale,
      float scale,
      long batch,
      long heads,
      long kvHeads,
      long seqQ,
      long seqK,
      long headDim,
      long headDimV) {
    Native.describeAttention(
        attentionDesc,
        causal,
        hasScale,
        scale,
        0,
        batch,
        heads,
        kvHeads,
        seqQ,
        seqK,
        headDim,
        headDimV);
    Native.strideLse(attentionDesc, 0, 0, 0);
    return this;
  }

  /**
   * Limits the threads of the attention described.
   *
   * @param threads the caller's included, or 0 for the runtime's
   * @return this
   */
  public Blocks maxThreads(int threads) {
    NativeBlocks.maxThreads(attentionDesc, threads);
    return this;
  }

  /**
   * Sets the strides of queries and output.
   *
   * @param qBatch stride of q
   * @param qSeq stride of q
   * @param qHead stride of q
   * @param outBatch stride of out
   * @param outSeq stride of out
   * @param outHead stride of out
   * @return this
   */
  public Blocks queryStrides(
      long qBatch, long qSeq, long qHead, long outBatch, long outSeq, long outHead) {
    Native.strideQ(attentionDesc, qBatch, qSeq, qHead);
    Native.strideOut(attentionDesc, outBatch, outSeq, outHead);
    return this;
  }

  /**
   * Sets the strides of keys and values.
   *
   * @param kBatch stride of k
   * @param kSeq stride of k
   * @param kHead stride of k
   * @param vBatch stride of v
   * @param vSeq stride of v
   * @param vHead stride of v
   * @return this
   */
  public Blocks keyStrides(long kBatch, long kSeq, long kHead, long vBatch, long vSeq, long vHead) {
    Native.strideK(attentionDesc, kBatch, kSeq, kHead);
    Native.strideV(attentionDesc, vBatch, vSeq, vHead);
    return this;
  }

  /**
   * Runs the attention described, one sequence for each batch row.
   *
   * @param q queries
   * @param k keys
   * @param v values
   * @param keyLengths {@code [batch]} int32, or NULL
   * @param queryLengths {@code [batch]} int32, or NULL
   * @param out receives the result
   * @return a status: OK, or LENGTH for a length out of its range
   */
  public int attention(
      MemorySegment q,
      MemorySegment k,
      MemorySegment v,
      MemorySegment keyLengths,
      MemorySegment queryLengths,
      MemorySegment out) {
    prepareScratch();
    AttentionEvent event = AttentionEvent.start();
    int status =
        Native.attentionForward(
            context.address(),
            attentionDesc.address(),
            scratch.memory.address(),
            scratch.memory.byteSize(),
            q,
            k,
            v,
            keyLengths,
            queryLengths,
            out,
            MemorySegment.NULL);
    if (status != Native.Abi.LENGTH) {
      check(status);
      finish(event);
    }
    return status;
  }

  /**
   * Runs the attention described on sequences that lie one after the other. Batch strides are 0.
   *
   * @param q queries of all sequences
   * @param k keys of all sequences
   * @param v values of all sequences
   * @param cuSeqlensQ {@code [batch + 1]} int32 offsets of query rows
   * @param cuSeqlensK {@code [batch + 1]} int32 offsets of keys
   * @param out receives the result
   */
  public void attentionPacked(
      MemorySegment q,
      MemorySegment k,
      MemorySegment v,
      MemorySegment cuSeqlensQ,
      MemorySegment cuSeqlensK,
      MemorySegment out) {
    NativeBlocks.packed(attentionDesc);
    prepareScratch();
    AttentionEvent event = AttentionEvent.start();
    check(
        NativeBlocks.attentionPacked(
            context,
            attentionDesc,
            scratch.memory,
            scratch.memory.byteSize(),
            q,
            k,
            v,
            cuSeqlensQ,
            cuSeqlensK,
            out,
            MemorySegment.NULL));
    finish(event);
  }

  private void finish(AttentionEvent event) {
    if (event == null) {
      return;
    }
    if (info == null) {
      info = Native.info(context.address(), RuntimeInfo.ThreadsSource.CPUS);
    }
    Native.finish(event, attentionDesc, info.tier(), info.threads());
  }

  private void prepareScratch() {
    check(NativeBlocks.attentionWorkspaceSize(context, attentionDesc, memory));
    long bytes = memory.get(ValueLayout.JAVA_LONG, 0);
    if (scratch.memory.byteSize() < bytes) {
      scratch.resize(bytes);
    }
  }

  /**
   * Runs the attention described with biases of the scores; see {@code alibi_slopes} and {@code
   * relative_position_table} in gatun.h.
   *
   * @param q queries
   * @param k keys
   * @param v values
   * @param keyLengths {@code [batch]} int32, or NULL
   * @param queryLengths {@code [batch]} int32, or NULL
   * @param slopes {@code [heads]}, or NULL
   * @param distances {@code [heads, 2 · span + 1]}, or NULL; not both are NULL
   * @param span of the distances, 0 without them
   * @param out receives the result
   * @return a status: OK, or LENGTH for a length out of its range
   */
  public int attentionBiased(
      MemorySegment q,
      MemorySegment k,
      MemorySegment v,
      MemorySegment keyLengths,
      MemorySegment queryLengths,
      MemorySegment slopes,
      MemorySegment distances,
      long span,
      MemorySegment out) {
    Native.biased(attentionDesc, span);
    prepareScratch();
    AttentionEvent event = AttentionEvent.start();
    int status =
        NativeBlocks.attentionBiased(
            context,
            attentionDesc,
            scratch.memory,
            scratch.memory.byteSize(),
            q,
            k,
            v,
            keyLengths,
            queryLengths,
            MemorySegment.NULL,
            MemorySegment.NULL,
            slopes,
            distances,
            out,
            MemorySegment.NULL);
    if (status != Native.Abi.LENGTH) {
      check(status);
      finish(event);
    }
    return status;
  }

  /**
   * Runs the attention described with biases of the scores, on sequences that lie one after the
   * other. Batch strides are 0.
   *
   * @param q queries of all sequences
   * @param k keys of all sequences
   * @param v values of all sequences
   * @param cuSeqlensQ {@code [batch + 1]} int32 offsets of query rows
   * @param cuSeqlensK {@code [batch + 1]} int32 offsets of keys
   * @param slopes {@code [heads]}, or NULL
   * @param distances {@code [heads, 2 · span + 1]}, or NULL; not both are NULL
   * @param span of the distances, 0 without them
   * @param out receives the result
   */
  public void attentionPackedBiased(
      MemorySegment q,
      MemorySegment k,
      MemorySegment v,
      MemorySegment cuSeqlensQ,
      MemorySegment cuSeqlensK,
      MemorySegment slopes,
      MemorySegment distances,
      long span,
      MemorySegment out) {
    NativeBlocks.packed(attentionDesc);
    Native.biased(attentionDesc, span);
    prepareScratch();
    AttentionEvent event = AttentionEvent.start();
    check(
        NativeBlocks.attentionBiased(
            context,
            attentionDesc,
            scratch.memory,
            scratch.memory.byteSize(),
            q,
            k,
            v,
            MemorySegment.NULL,
            MemorySegment.NULL,
            cuSeqlensQ,
            cuSeqlensK,
            slopes,
            distances,
            out,
            MemorySegment.NULL));
    finish(event);
  }

  /**
   * Rotary position encoding, in place.
   *
   * @param interleaved pairs are neighbours, not halves
   * @param rows rows
   * @param heads heads of a row, without gaps
   * @param headDim size of a head
   * @param dim elements of a head that are turned
   * @param x rows
   * @param xRow elements between them
   * @param places {@code [rows]} int32 positions
   * @param cos {@code [tableRows, dim / 2]}
   * @param sin {@code [tableRows, dim / 2]}
   * @param tableRows positions that there are
   */
  public void rotary(
      boolean interleaved,
      long rows,
      long heads,
      long headDim,
      long dim,
      MemorySegment x,
      long xRow,
      MemorySegment places,
      MemorySegment cos,
      MemorySegment sin,
      long tableRows) {
    check(
        NativeBlocks.rotary(
            context,
            rotaryDesc,
            interleaved,
            rows,
            heads,
            headDim,
            dim,
            x,
            xRow,
            places,
            cos,
            sin,
            tableRows));
  }

  /**
   * Softmax of rows, or its logarithm.
   *
   * @param log whether the logarithm is wanted
   * @param rows rows
   * @param dim columns
   * @param x input
   * @param xRow elements between its rows
   * @param out receives the result; may be x
   * @param outRow elements between its rows
   */
  public void softmax(
      boolean log,
      long rows,
      long dim,
      MemorySegment x,
      long xRow,
      MemorySegment out,
      long outRow) {
    check(NativeBlocks.softmax(context, rowsDesc, log, rows, dim, x, xRow, out, outRow));
  }
}
