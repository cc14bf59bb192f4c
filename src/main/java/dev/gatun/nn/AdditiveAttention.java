package dev.gatun.nn;

import dev.gatun.Causal;
import dev.gatun.DType;
import dev.gatun.GatunRuntime;
import dev.gatun.Tensor;
import dev.gatun.internal.AdditiveCall;
import dev.gatun.internal.LayerCall;
import dev.gatun.internal.Matrix;
import dev.gatun.internal.Native;
import dev.gatun.internal.SequenceRows;
import java.lang.foreign.MemorySegment;
import java.util.Objects;

/**
 * Additive attention: a score is not a product but a small network with one hidden layer, "Neural
 * Machine Translation by Jointly Learning to Align and Translate" (Bahdanau, Cho and Bengio, 2015),
 * sections 3.1 and A.1.2:
 *
 * <pre>{@code
 * score(i, j) = energyᵀ · tanh(q_i + k_j)        out_i = Σ_j softmax_j(score(i, j)) · v_j
 * }</pre>
 *
 * <p>There a query is W·s of the decoder's state s, a key is U·h and a value h of an annotation h,
 * energy is the vector v, and there is one head: W and U are {@link Linear} layers before this one,
 * or the projections of a {@link MultiHeadAttention}. With several heads each has an energy vector
 * of its own, and a part of the queries, keys and values.
 *
 * <p>A call makes seqQ · seqK · headDim hyperbolic tangents a head, by tiles of keys with an online
 * softmax: no matrix of scores exists. A score is off by (16 + headDim / 4) · 2^-24 · Σ|energy| at
 * most, and usually by a tenth of that.
 */
public final class AdditiveAttention extends AttentionMechanism {

  private final Tensor energy;
  private final Causal causal;
  private final Parameters parameters;

  /**
   * Makes the mechanism.
   *
   * @param runtime where it runs
   * @param energy {@code [heads, headDim]} FLOAT32, contiguous; not copied, and its arena stays
   *     open as long as the mechanism is used
   * @param causal which keys a row sees by its position
   * @throws IllegalArgumentException naming energy if its shape or strides do not fit
   */
  public AdditiveAttention(GatunRuntime runtime, Tensor energy, Causal causal) {
    super(runtime, "additive");
    this.energy = Objects.requireNonNull(energy, "energy");
    this.causal = Objects.requireNonNull(causal, "causal");
    if (energy.dtype() != DType.FLOAT32
        || energy.rank() != 2
        || energy.elements() == 0
        || !energy.isContiguous()) {
      throw Rows.bad("energy", "[heads, headDim] float32, 1 or more, contiguous", energy);
    }
    this.parameters = new Parameters.Builder().add("energy", energy).build();
  }

  @Override
  Causal causal() {
    return causal;
  }

  @Override
  Parameters parameters() {
    return parameters;
  }

  @Override
  void check(int heads, int kvHeads, long headDim, long headDimV) {
    if (energy.size(0) != heads || energy.size(1) != headDim) {
      throw new IllegalArgumentException(
          "energy: expected [%d, %d], as there are heads and headDim of queries, got [%d, %d]"
              .formatted(heads, headDim, energy.size(0), energy.size(1)));
    }
    if (headDim > Native.Abi.MAX_HEAD_DIM || headDimV > Native.Abi.MAX_HEAD_DIM) {
      throw new IllegalArgumentException(
          "head dimension: expected 1 .. %d, got %d and %d"
              .formatted(Native.Abi.MAX_HEAD_DIM, headDim, headDimV));
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
    long headDim = energy.size(1);
    long headDimV = v.columns() / kvHeads;
    describe(call, heads, kvHeads, headDimV, rows, q, keys.longest(), context)
        .strideK(keys.sequenceStep() * k.stride(), keys.rowStep() * k.stride(), headDim)
        .strideV(keys.sequenceStep() * v.stride(), keys.rowStep() * v.stride(), headDimV)
        .raggedKeys(keys.offsets())
        .run(energy.segment(), q.segment(), k.segment(), v.segment(), context.segment());
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
    describe(call, heads, kvHeads, values.size(3), rows, q, keys.size(1), context)
        .strideK(keys.stride(0), keys.stride(1), keys.stride(2))
        .strideV(values.stride(0), values.stride(1), values.stride(2))
        .keyLengths(lengths)
        .run(energy.segment(), q.segment(), keys.segment(), values.segment(), context.segment());
  }

  /** All but keys and values. */
  private AdditiveCall describe(
      LayerCall call,
      int heads,
      int kvHeads,
      long headDimV,
      SequenceRows rows,
      Matrix q,
      long seqK,
      Matrix context) {
    long headDim = energy.size(1);
    return call.rows()
        .additive()
        .describe(causal, rows.count(), heads, kvHeads, rows.longest(), seqK, headDim, headDimV)
        .strideQ(rows.sequenceStep() * q.stride(), rows.rowStep() * q.stride(), headDim)
        .strideOut(
            rows.sequenceStep() * context.stride(), rows.rowStep() * context.stride(), headDimV)
        .raggedQueries(rows.offsets());
  }
}
