package dev.gatun.nn;

import dev.gatun.AttentionSpec;
import dev.gatun.BlockMasks;
import dev.gatun.Causal;
import dev.gatun.DType;
import dev.gatun.GatunRuntime;
import dev.gatun.Tensor;
import dev.gatun.internal.AttentionCall;
import dev.gatun.internal.LayerCall;
import dev.gatun.internal.Matrix;
import dev.gatun.internal.Native;
import dev.gatun.internal.SequenceRows;
import java.lang.foreign.MemorySegment;
import java.util.Objects;

/**
 * Exact attention to some blocks of the keys, as BigBird's (Zaheer et al., 2020): the same kernels
 * as those of {@link dev.gatun.Attention}, which do not read a block of keys that no row sees.
 * {@link BlockMasks} makes the mask.
 *
 * <p>A sequence of fewer blocks uses the first ones of the mask, in both directions; one of more is
 * refused. Not causal.
 */
public final class BlockSparseAttention extends AttentionMechanism {

  private final Tensor mask;
  private final int block;
  private final long maskHeads;
  private final Parameters parameters;

  /**
   * Makes the mechanism.
   *
   * @param runtime where it runs
   * @param mask {@code [1, heads or 1, blocks, blocks]} UINT8, row-major, as {@link
   *     dev.gatun.AttentionOptions#blockMask} takes it: 0 hides a block of keys from a block of
   *     rows; not copied, and its arena stays open as long as the mechanism is used
   * @param block rows and keys of a block, 1 or more
   * @throws IllegalArgumentException naming the parameter that does not fit
   */
  public BlockSparseAttention(GatunRuntime runtime, Tensor mask, int block) {
    super(runtime, "block-sparse");
    this.mask = Objects.requireNonNull(mask, "mask");
    if (mask.dtype() != DType.UINT8
        || mask.rank() != 4
        || mask.size(0) != 1
        || mask.size(1) < 1
        || mask.size(2) < 1
        || mask.size(2) != mask.size(3)
        || !mask.isContiguous()) {
      throw Rows.bad("mask", "[1, heads or 1, blocks, blocks] uint8, contiguous", mask);
    }
    if (block < 1) {
      throw new IllegalArgumentException("block: expected 1 or more, got " + block);
    }
    this.block = block;
    this.maskHeads = mask.size(1);
    this.parameters = new Parameters.Builder().add("mask", mask.segment()).build();
  }

  /** {@return the longest sequence, of rows or of keys} */
  public long length() {
    return mask.size(2) * block;
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
    if (maskHeads != 1 && maskHeads != heads) {
      throw new IllegalArgumentException(
          "mask: expected 1 or %d heads, got %d".formatted(heads, maskHeads));
    }
    if (headDim > Native.Abi.MAX_HEAD_DIM || headDimV > Native.Abi.MAX_HEAD_DIM) {
      throw new IllegalArgumentException(
          "head dimension: expected 1 .. %d, got %d and %d"
              .formatted(Native.Abi.MAX_HEAD_DIM, headDim, headDimV));
    }
  }

  @Override
  void checkSequences(String name, SequenceRows rows, SequenceRows keys) {
    long longest = Math.max(rows.longest(), keys.longest());
    if (longest > length()) {
      throw new IllegalArgumentException(
          "%s: expected sequences of at most %d (%d blocks of %d), got %d"
              .formatted(name, length(), mask.size(2), block, longest));
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
    long headDim = k.columns() / kvHeads;
    long headDimV = v.columns() / kvHeads;
    long blocks = mask.size(2);
    AttentionCall attention = call.attention();
    attention
        .describe(
            AttentionSpec.standard(),
            rows.count(),
            heads,
            kvHeads,
            rows.longest(),
            keys.longest(),
            headDim,
            headDimV)
        .strideQ(rows.sequenceStep() * q.stride(), rows.rowStep() * q.stride(), headDim)
        .strideK(keys.sequenceStep() * k.stride(), keys.rowStep() * k.stride(), headDim)
        .strideV(keys.sequenceStep() * v.stride(), keys.rowStep() * v.stride(), headDimV)
        .strideOut(
            rows.sequenceStep() * context.stride(), rows.rowStep() * context.stride(), headDimV)
        .raggedQueries(rows.offsets())
        .raggedKeys(keys.offsets())
        .blockMask(block, block, 0, maskHeads == 1 ? 0 : blocks * blocks, blocks, 1)
        .masks(MemorySegment.NULL, MemorySegment.NULL, mask.segment());
    int status = attention.prepare();
    if (status == Native.Abi.OK) {
      status =
          attention.run(
              q.segment(), k.segment(), v.segment(), context.segment(), MemorySegment.NULL);
    }
    if (status != Native.Abi.OK) {
      throw Native.failure(status, attention.check());
    }
  }
}
