package dev.gatun.nn;

import dev.gatun.AttentionSpec;
import dev.gatun.Causal;
import dev.gatun.GatunRuntime;
import dev.gatun.Tensor;
import dev.gatun.internal.AttentionCall;
import dev.gatun.internal.LayerCall;
import dev.gatun.internal.Matrix;
import dev.gatun.internal.Native;
import dev.gatun.internal.SequenceRows;
import java.lang.foreign.MemorySegment;
import java.util.Objects;
import java.util.Optional;

/**
 * Scaled dot-product attention, section 3.2.1 of "Attention Is All You Need": what a layer has
 * unless it is given another mechanism. Its {@link AttentionSpec} says masks, windows, scale and
 * whatever else changes scores.
 */
public final class ExactAttention extends AttentionMechanism {

  private final AttentionSpec spec;
  private final Parameters parameters;

  /**
   * Makes the mechanism.
   *
   * @param runtime where it runs
   * @param spec what is attended to, and how
   */
  public ExactAttention(GatunRuntime runtime, AttentionSpec spec) {
    super(runtime, "exact");
    this.spec = Objects.requireNonNull(spec, "spec");
    this.parameters =
        new Parameters.Builder()
            .add("spec", spec.alibiSlopes().orElse(null))
            .add("spec", spec.relativePositions().orElse(null))
            .add("spec", spec.sinks().orElse(null))
            .build();
  }

  /** {@return what is attended to, and how} */
  public AttentionSpec spec() {
    return spec;
  }

  @Override
  Causal causal() {
    return spec.causal();
  }

  @Override
  Parameters parameters() {
    return parameters;
  }

  @Override
  void check(int heads, int kvHeads, long headDim, long headDimV) {
    if (headDim > Native.Abi.MAX_HEAD_DIM || headDimV > Native.Abi.MAX_HEAD_DIM) {
      throw new IllegalArgumentException(
          "head dimension: expected 1 .. %d, got %d and %d"
              .formatted(Native.Abi.MAX_HEAD_DIM, headDim, headDimV));
    }
    checkHeads("biases", spec.alibiSlopes(), heads);
    checkHeads("biases", spec.relativePositions(), heads);
    checkHeads("sinks", spec.sinks(), heads);
  }

  private static void checkHeads(String name, Optional<Tensor> perHead, int heads) {
    if (perHead.isPresent() && perHead.get().size(0) != heads) {
      throw new IllegalArgumentException(
          "spec: expected %s of %d heads, got %d".formatted(name, heads, perHead.get().size(0)));
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
    describe(call, heads, kvHeads, rows, q, keys, k, v, context);
    run(call, q, k.segment(), v.segment(), context);
  }

  /** Describes what {@link #run} computes; biases may follow. */
  AttentionCall describe(
      LayerCall call,
      int heads,
      int kvHeads,
      SequenceRows rows,
      Matrix q,
      SequenceRows keys,
      Matrix k,
      Matrix v,
      Matrix context) {
    long headDim = k.columns() / kvHeads;
    long headDimV = v.columns() / kvHeads;
    return describe(call, heads, kvHeads, headDim, headDimV, rows, q, keys.longest(), context)
        .strideK(keys.sequenceStep() * k.stride(), keys.rowStep() * k.stride(), headDim)
        .strideV(keys.sequenceStep() * v.stride(), keys.rowStep() * v.stride(), headDimV)
        .raggedKeys(keys.offsets());
  }

  private AttentionCall describe(
      LayerCall call,
      int heads,
      int kvHeads,
      long headDim,
      long headDimV,
      SequenceRows rows,
      Matrix q,
      long seqK,
      Matrix context) {
    return call.attention()
        .describe(spec, rows.count(), heads, kvHeads, rows.longest(), seqK, headDim, headDimV)
        .strideQ(rows.sequenceStep() * q.stride(), rows.rowStep() * q.stride(), headDim)
        .strideOut(
            rows.sequenceStep() * context.stride(), rows.rowStep() * context.stride(), headDimV)
        .raggedQueries(rows.offsets());
  }

  @Override
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
    describe(call, heads, kvHeads, keys.size(3), values.size(3), rows, q, keys.size(1), context)
        .strideK(keys.stride(0), keys.stride(1), keys.stride(2))
        .strideV(values.stride(0), values.stride(1), values.stride(2))
        .lengths(lengths, MemorySegment.NULL);
    run(call, q, keys.segment(), values.segment(), context);
  }

  /** What was described. */
  static void run(LayerCall call, Matrix q, MemorySegment k, MemorySegment v, Matrix context) {
    AttentionCall attention = call.attention();
    int status = attention.prepare();
    if (status == Native.Abi.OK) {
      status = attention.run(q.segment(), k, v, context.segment(), MemorySegment.NULL);
    }
    if (status != Native.Abi.OK) {
      throw Native.failure(status, attention.check());
    }
  }
}
