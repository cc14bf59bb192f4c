package dev.gatun.nn;

import dev.gatun.Causal;
import dev.gatun.DType;
import dev.gatun.GatunRuntime;
import dev.gatun.Tensor;
import dev.gatun.Workspace;
import dev.gatun.internal.LayerCall;
import dev.gatun.internal.LayerCalls;
import dev.gatun.internal.Matrix;
import dev.gatun.internal.Messages;
import dev.gatun.internal.SequenceRows;
import dev.gatun.internal.SharedMemory;
import java.lang.foreign.MemorySegment;
import java.util.Objects;

/**
 * What the heads of a layer do with their queries, keys and values: softmax(QKᵀ/√d)V, the additive
 * attention that came before it, or one of the approximations in less than quadratic time. One
 * interface for all of them, so that a layer can exchange one for another, and so that they can be
 * compared.
 *
 * <p>Immutable; any number of threads may share a mechanism. Everything a call writes besides out
 * lives in the workspace; warm calls allocate nothing on either side. Lifetime and errors are as
 * for {@link MultiHeadAttention}.
 */
public abstract class AttentionMechanism {

  private final GatunRuntime runtime;
  private final String name;

  /** Named as in messages, events and tables. */
  AttentionMechanism(GatunRuntime runtime, String name) {
    this.runtime = Objects.requireNonNull(runtime, "runtime");
    this.name = name;
  }

  /** {@return its name in tables and messages: the field's word, in lower case} */
  public final String name() {
    return name;
  }

  /** {@return where it runs} */
  public final GatunRuntime runtime() {
    return runtime;
  }

  /**
   * Attention of every head.
   *
   * @param workspace scratch for this call, or null to borrow one
   * @param q {@code [batch, seqQ, heads, headDim]}, a row's heads without gaps, rows evenly spaced
   * @param k {@code [batch, seqK, kvHeads, headDim]}, likewise
   * @param v {@code [batch, seqK, kvHeads, headDimV]}, likewise
   * @param out receives {@code [batch, seqQ, heads, headDimV]}, likewise; shares no memory with
   *     another argument
   * @throws IllegalArgumentException naming the argument that does not fit; nothing was written
   */
  public final void forward(Workspace workspace, Tensor q, Tensor k, Tensor v, Tensor out) {
    long headDim = last("q", q);
    long headDimV = last("v", v);
    int heads = heads("q", q);
    int kvHeads = heads("k", k);
    expect("q", q, q.size(0), q.size(1), heads, headDim);
    expect("k", k, q.size(0), -1, kvHeads, headDim);
    expect("v", v, q.size(0), k.size(1), kvHeads, headDimV);
    expect("out", out, q.size(0), q.size(1), heads, headDimV);
    if (heads % kvHeads != 0) {
      throw new IllegalArgumentException(
          "k: expected a divisor of %d heads, got %d".formatted(heads, kvHeads));
    }
    if (out.isReadOnly()) {
      throw new IllegalArgumentException(
          "out: expected memory that can be written, got a read-only segment");
    }
    SharedMemory.refuse("out", out, "q", q);
    SharedMemory.refuse("out", out, "k", k);
    SharedMemory.refuse("out", out, "v", v);
    parameters().refuse("out", out);
    check(heads, kvHeads, headDim, headDimV);
    try (LayerCall call = LayerCalls.begin(runtime, workspace)) {
      SequenceRows rows =
          SequenceRows.even(call.scratch(), q.size(0), q.size(1), MemorySegment.NULL);
      SequenceRows keys =
          SequenceRows.even(call.scratch(), k.size(0), k.size(1), MemorySegment.NULL);
      checkSequences("q", rows, keys);
      attend(
          call,
          heads,
          kvHeads,
          rows,
          view(call, q),
          keys,
          view(call, k),
          view(call, v),
          view(call, out));
    }
  }

  private static long last(String name, Tensor tensor) {
    Objects.requireNonNull(tensor, name);
    if (tensor.dtype() != DType.FLOAT32 || tensor.rank() != 4 || tensor.size(3) < 1) {
      throw Rows.bad(name, "[batch, seq, heads, dim] float32", tensor);
    }
    return tensor.size(3);
  }

  private static int heads(String name, Tensor tensor) {
    last(name, tensor);
    if (tensor.size(2) < 1 || tensor.size(2) > Integer.MAX_VALUE) {
      throw Rows.bad(name, "[batch, seq, heads, dim] float32, 1 head or more", tensor);
    }
    return (int) tensor.size(2);
  }

  /** Sizes, of which a seq of -1 is not known, and rows that are evenly spaced. */
  private static void expect(
      String name, Tensor tensor, long batch, long seq, long heads, long dim) {
    last(name, tensor);
    if (tensor.size(0) != batch
        || seq >= 0 && tensor.size(1) != seq
        || tensor.size(2) != heads
        || tensor.size(3) != dim) {
      throw Rows.bad(
          name,
          "[%d, %s, %d, %d] float32".formatted(batch, seq < 0 ? "seq" : seq + "", heads, dim),
          tensor);
    }
    if (tensor.elements() > 0
        && (dim > 1 && tensor.stride(3) != 1
            || heads > 1 && tensor.stride(2) != dim
            || rowStride(tensor, heads * dim) < heads * dim
            || batch > 1
                && tensor.size(1) > 1
                && tensor.stride(0) != tensor.size(1) * tensor.stride(1))) {
      throw new IllegalArgumentException(
          "%s: expected evenly spaced rows of heads without gaps, got strides %s for shape %s"
              .formatted(name, Messages.sizes(tensor.strides()), Messages.sizes(tensor.shape())));
    }
  }

  /** Rows of all heads side by side. */
  private static Matrix view(LayerCall call, Tensor tensor) {
    long columns = tensor.size(2) * tensor.size(3);
    long rows = tensor.size(0) * tensor.size(1);
    return call.scratch().view(tensor.segment(), rows, columns, rowStride(tensor, columns));
  }

  private static long rowStride(Tensor tensor, long columns) {
    return tensor.size(1) > 1 ? tensor.stride(1) : tensor.size(0) > 1 ? tensor.stride(0) : columns;
  }

  // ---- what a mechanism is -------------------------------------------------------------------

  /** Which keys a row sees by itself. */
  abstract Causal causal();

  /** The memory that it holds on to. */
  abstract Parameters parameters();

  /**
   * Refuses sizes that it is not made for, naming {@code heads} or what else does not fit. A call
   * makes no object where they fit.
   */
  abstract void check(int heads, int kvHeads, long headDim, long headDimV);

  /** Refuses sequences, of the named argument, that it cannot attend. */
  void checkSequences(String name, SequenceRows rows, SequenceRows keys) {}

  /**
   * Attention of rows that were checked.
   *
   * @param q {@code [rows, heads · headDim]}
   * @param k {@code [keys, kvHeads · headDim]}
   * @param v {@code [keys, kvHeads · headDimV]}
   * @param context receives {@code [rows, heads · headDimV]}
   */
  abstract void attend(
      LayerCall call,
      int heads,
      int kvHeads,
      SequenceRows rows,
      Matrix q,
      SequenceRows keys,
      Matrix k,
      Matrix v,
      Matrix context);

  // ---- step by step --------------------------------------------------------------------------

  /**
   * Floats that a sequence's state has, in which keys and values are summed up whatever their
   * number; 0: keys and values are cached.
   */
  long stateFloats(int heads, int kvHeads, long headDim, long headDimV) {
    return 0;
  }

  /**
   * Causal attention of new rows over a state and themselves; the state has them afterwards.
   *
   * @param state {@code [sequences, stateFloats]}, zeros before the first row
   */
  void attendState(
      LayerCall call,
      int heads,
      int kvHeads,
      SequenceRows rows,
      Matrix q,
      Matrix k,
      Matrix v,
      MemorySegment state,
      Matrix context) {
    throw new IllegalStateException(name + " has no state");
  }

  /**
   * Causal attention of new rows, the last ones of their sequences, over cached keys and values.
   *
   * @param keys {@code [sequences, capacity, kvHeads, headDim]}, heads without gaps
   * @param values {@code [sequences, capacity, kvHeads, headDimV]}, heads without gaps
   * @param lengths {@code [sequences]} int32: tokens of each, the new ones included
   */
  void attendCached(
      LayerCall call,
      int heads,
      int kvHeads,
      SequenceRows rows,
      Matrix q,
      Tensor keys,
      Tensor values,
      MemorySegment lengths,
      Matrix context) {
    throw new IllegalStateException(name + " caches no keys");
  }
}
