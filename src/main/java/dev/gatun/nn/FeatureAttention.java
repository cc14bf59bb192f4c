package dev.gatun.nn;

import dev.gatun.Causal;
import dev.gatun.GatunRuntime;
import dev.gatun.internal.LayerCall;
import dev.gatun.internal.LinearAttentionCall;
import dev.gatun.internal.Matrix;
import dev.gatun.internal.Native;
import dev.gatun.internal.SequenceRows;
import java.lang.foreign.MemorySegment;

/** Attention whose weights are products of features, so that keys and values can be summed up. */
abstract class FeatureAttention extends AttentionMechanism {

  private final boolean causal;

  FeatureAttention(GatunRuntime runtime, String name, boolean causal) {
    super(runtime, name);
    this.causal = causal;
  }

  /** What is made of queries and keys. */
  abstract LinearAttentionCall.Features map();

  /** How many features a head of so many elements has. */
  abstract long features(long headDim);

  /** What else a call is given. */
  LinearAttentionCall complete(LinearAttentionCall call) {
    return call;
  }

  @Override
  final Causal causal() {
    return causal ? Causal.BOTTOM_RIGHT : Causal.NONE;
  }

  @Override
  void check(int heads, int kvHeads, long headDim, long headDimV) {
    if (headDim > Native.Abi.MAX_HEAD_DIM || headDimV > Native.Abi.MAX_HEAD_DIM) {
      throw new IllegalArgumentException(
          "head dimension: expected 1 .. %d, got %d and %d"
              .formatted(Native.Abi.MAX_HEAD_DIM, headDim, headDimV));
    }
  }

  @Override
  final void checkSequences(String name, SequenceRows rows, SequenceRows keys) {
    for (long n = 0; causal && n < rows.count(); n++) {
      if (rows.length(n) != keys.length(n)) {
        throw new IllegalArgumentException(
            "%s: expected %d rows, as there are keys and attention is causal, got %d"
                .formatted(name, keys.length(n), rows.length(n)));
      }
    }
  }

  @Override
  final void attend(
      LayerCall call,
      int heads,
      int kvHeads,
      SequenceRows rows,
      Matrix q,
      SequenceRows keys,
      Matrix k,
      Matrix v,
      Matrix context) {
    LinearAttentionCall attention = describe(call, heads, kvHeads, rows, q, keys, k, v, context);
    if (rows.offsets() != null || keys.offsets() != null) {
      attention.ragged(rows.offsets(call.scratch()), causal ? null : keys.offsets(call.scratch()));
    }
    complete(attention).run(q.segment(), k.segment(), v.segment(), context.segment());
  }

  @Override
  final long stateFloats(int heads, int kvHeads, long headDim, long headDimV) {
    return causal ? heads * features(headDim) * (headDimV + 2) : 0;
  }

  @Override
  final void attendState(
      LayerCall call,
      int heads,
      int kvHeads,
      SequenceRows rows,
      Matrix q,
      Matrix k,
      Matrix v,
      MemorySegment state,
      Matrix context) {
    LinearAttentionCall attention = describe(call, heads, kvHeads, rows, q, rows, k, v, context);
    if (rows.offsets() != null) {
      attention.ragged(rows.offsets(), null);
    }
    complete(attention.state(state)).run(q.segment(), k.segment(), v.segment(), context.segment());
  }

  private LinearAttentionCall describe(
      LayerCall call,
      int heads,
      int kvHeads,
      SequenceRows rows,
      Matrix q,
      SequenceRows keys,
      Matrix k,
      Matrix v,
      Matrix context) {
    long headDim = q.columns() / heads;
    long headDimV = v.columns() / kvHeads;
    boolean ragged = rows.offsets() != null || keys.offsets() != null;
    long step = ragged ? 0 : rows.sequenceStep();
    long keyStep = ragged ? 0 : keys.sequenceStep();
    return call.rows()
        .linearAttention()
        .describe(
            map(),
            causal,
            rows.count(),
            heads,
            rows.longest(),
            keys.longest(),
            headDim,
            headDimV,
            features(headDim))
        .heads(heads, kvHeads, kvHeads)
        .strideQ(step * q.stride(), rows.rowStep() * q.stride(), headDim)
        .strideK(keyStep * k.stride(), keys.rowStep() * k.stride(), headDim)
        .strideV(keyStep * v.stride(), keys.rowStep() * v.stride(), headDimV)
        .strideOut(step * context.stride(), rows.rowStep() * context.stride(), headDimV);
  }
}
