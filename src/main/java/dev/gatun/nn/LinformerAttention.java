package dev.gatun.nn;

import dev.gatun.Activation;
import dev.gatun.AttentionSpec;
import dev.gatun.Causal;
import dev.gatun.DType;
import dev.gatun.GatunRuntime;
import dev.gatun.Tensor;
import dev.gatun.internal.AttentionCall;
import dev.gatun.internal.LayerCall;
import dev.gatun.internal.Matrix;
import dev.gatun.internal.Messages;
import dev.gatun.internal.Native;
import dev.gatun.internal.Scratch;
import dev.gatun.internal.SequenceRows;
import java.lang.foreign.MemorySegment;
import java.util.Arrays;
import java.util.Objects;

/**
 * Attention over projected sequences, "Linformer: Self-Attention with Linear Complexity" (Wang et
 * al., 2020), equation 7:
 *
 * <pre>{@code
 * head_i = softmax(Q_i · (E_i · K_i)ᵀ / √headDim) · (F_i · V_i)
 * }</pre>
 *
 * <p>E and F make {@code projected} rows of the {@code length} rows of keys and values, whichever
 * tokens they are: trained weights, two for all heads (headwise sharing), the same one as E and F
 * (key-value sharing, and layerwise if all layers are given it), or two for each head. Then exact
 * attention over {@code projected} keys is what is left, so that time and memory grow with the
 * length of a sequence, not with its square.
 *
 * <p>A sequence of fewer keys than {@code length} uses the first columns of E and F, as the paper's
 * implementation does; one of more is refused. Not causal: each projected row is a sum over the
 * whole sequence. For that reason there are neither masks nor steps of a decoder.
 */
public final class LinformerAttention extends AttentionMechanism {

  /** Of one for all heads, or one for each. */
  private final Matrix[] ofKeys;

  private final Matrix[] ofValues;
  private final long projected;
  private final long length;
  private final Parameters parameters;

  /**
   * Makes the mechanism.
   *
   * @param runtime where it runs
   * @param e {@code [projected, length]} for all heads or {@code [kvHeads, projected, length]},
   *     FLOAT32, rows without gaps between elements; not copied, and its arena stays open as long
   *     as the mechanism is used
   * @param f the same for values, of e's shape; may be e itself
   * @throws IllegalArgumentException naming the parameter whose shape or strides do not fit
   */
  public LinformerAttention(GatunRuntime runtime, Tensor e, Tensor f) {
    super(runtime, "linformer");
    check("e", e);
    check("f", f);
    if (!Arrays.equals(e.shape(), f.shape())) {
      throw Rows.bad("f", Messages.sizes(e.shape()) + " float32, as e has", f);
    }
    this.projected = e.size(e.rank() - 2);
    this.length = e.size(e.rank() - 1);
    this.ofKeys = matrices("e", e);
    this.ofValues = matrices("f", f);
    Parameters.Builder all = new Parameters.Builder();
    add(all, "e", e);
    this.parameters = (e == f ? all : add(all, "f", f)).build();
  }

  private static void check(String name, Tensor by) {
    Objects.requireNonNull(by, name);
    int rank = by.rank();
    if (by.dtype() != DType.FLOAT32 || rank < 2 || rank > 3 || by.elements() == 0) {
      throw Rows.bad(
          name, "[projected, length] or [kvHeads, projected, length] float32, 1 or more", by);
    }
  }

  private static Matrix[] matrices(String name, Tensor by) {
    Matrix[] all = new Matrix[by.rank() == 2 ? 1 : Math.toIntExact(by.size(0))];
    for (int head = 0; head < all.length; head++) {
      Tensor one = by.rank() == 2 ? by : by.select(0, head);
      all[head] = Matrix.of(one.segment(), one.size(0), one.size(1), Rows.stride(name, one));
    }
    return all;
  }

  private static Parameters.Builder add(Parameters.Builder all, String name, Tensor by) {
    if (by.rank() == 2) {
      return all.add(name, by);
    }
    for (int head = 0; head < by.size(0); head++) {
      all.add(name, by.select(0, head));
    }
    return all;
  }

  /** {@return rows of keys and values that are attended to} */
  public long projected() {
    return projected;
  }

  /** {@return the longest sequence of keys} */
  public long length() {
    return length;
  }

  @Override
  Causal causal() {
    return Causal.NONE;
  }

  @Override
  Parameters parameters() {
    return parameters;
  }

  @Override
  void check(int heads, int kvHeads, long headDim, long headDimV) {
    if (ofKeys.length > 1 && ofKeys.length != kvHeads) {
      throw new IllegalArgumentException(
          "e: expected [projected, length] or [%d, projected, length], as there are so many heads of keys, got [%d, %d, %d]"
              .formatted(kvHeads, ofKeys.length, projected, length));
    }
    if (headDim > Native.Abi.MAX_HEAD_DIM || headDimV > Native.Abi.MAX_HEAD_DIM) {
      throw new IllegalArgumentException(
          "head dimension: expected 1 .. %d, got %d and %d"
              .formatted(Native.Abi.MAX_HEAD_DIM, headDim, headDimV));
    }
  }

  @Override
  void checkSequences(String name, SequenceRows rows, SequenceRows keys) {
    if (keys.longest() > length) {
      throw new IllegalArgumentException(
          "%s: expected at most %d keys in a sequence, as e has columns, got %d"
              .formatted(name, length, keys.longest()));
    }
  }

  @Override
  void attend(
      LayerCall call,
      int heads,
      int kvHeads,
      SequenceRows rows,
      Matrix q,
      SequenceRows keys,
      Matrix k,
      Matrix v,
      Matrix context) {
    Scratch scratch = call.scratch();
    long mark = scratch.mark();
    Matrix fewerK = project(call, ofKeys, keys, k);
    Matrix fewerV = project(call, ofValues, keys, v);
    long headDim = k.columns() / kvHeads;
    long headDimV = v.columns() / kvHeads;
    AttentionCall attention = call.attention();
    attention
        .describe(
            AttentionSpec.standard(),
            rows.count(),
            heads,
            kvHeads,
            rows.longest(),
            projected,
            headDim,
            headDimV)
        .strideQ(rows.sequenceStep() * q.stride(), rows.rowStep() * q.stride(), headDim)
        .strideK(projected * k.columns(), fewerK.stride(), headStep(headDim))
        .strideV(projected * v.columns(), fewerV.stride(), headStep(headDimV))
        .strideOut(
            rows.sequenceStep() * context.stride(), rows.rowStep() * context.stride(), headDimV)
        .raggedQueries(rows.offsets());
    int status = attention.prepare();
    if (status == Native.Abi.OK) {
      status =
          attention.run(
              q.segment(),
              fewerK.segment(),
              fewerV.segment(),
              context.segment(),
              MemorySegment.NULL);
    }
    if (status != Native.Abi.OK) {
      throw Native.failure(status, attention.check());
    }
    scratch.release(mark);
  }

  /** Heads are side by side in rows of all of them, or one after the other. */
  private long headStep(long dim) {
    return ofKeys.length == 1 ? dim : projected * dim;
  }

  /**
   * One product for all heads of a sequence, or one for each: {@code [sequences, 1, projected,
   * heads · dim]} or {@code [sequences, heads, projected, dim]}. Where there are several, what is
   * multiplied is copied first, which costs as much as one more projected row or two, and no memory
   * has to be cut: the bits of a sequence do not depend on the others.
   */
  private Matrix project(LayerCall call, Matrix[] by, SequenceRows keys, Matrix x) {
    Scratch scratch = call.scratch();
    int groups = by.length;
    long width = x.columns() / groups;
    Matrix to = scratch.matrix(keys.count() * groups * projected, width);
    long mark = scratch.mark();
    if (keys.count() == 1 && groups == 1 && keys.start(0) == 0 && keys.rowStep() == 1) {
      multiply(call, by[0], keys.longest(), x, to);
    } else {
      Matrix from = scratch.matrix(keys.longest(), width);
      Matrix sums = scratch.matrix(projected, width);
      for (long n = 0; n < keys.count(); n++) {
        for (int g = 0; g < groups; g++) {
          copy(x, keys.start(n), keys.rowStep(), g * width, from, keys.length(n));
          multiply(call, by[g], keys.length(n), from, sums);
          sums.copyRows(0, to, (n * groups + g) * projected, projected);
        }
      }
    }
    scratch.release(mark);
    return to;
  }

  /** The first columns of a projection times as many rows. */
  private void multiply(LayerCall call, Matrix by, long rows, Matrix x, Matrix to) {
    if (rows == 0) {
      to.clearRows(0, projected);
      return;
    }
    Scratch scratch = call.scratch();
    long mark = scratch.mark();
    Matrix first = scratch.view(by.segment(), projected, rows, by.stride());
    call.rows().linear(first, x, false, MemorySegment.NULL, Activation.NONE, to);
    scratch.release(mark);
  }

  private static void copy(Matrix x, long row, long step, long column, Matrix to, long count) {
    for (long n = 0; n < count; n++) {
      MemorySegment.copy(
          x.segment(),
          ((row + n * step) * x.stride() + column) * Float.BYTES,
          to.segment(),
          n * to.stride() * Float.BYTES,
          to.columns() * Float.BYTES);
    }
  }
}
