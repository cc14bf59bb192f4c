package dev.gatun.cli;

import dev.gatun.AttentionOptions;
import dev.gatun.AttentionSpec;
import dev.gatun.Tensor;
import dev.gatun.cli.MaskOptions.Block;
import java.lang.foreign.ValueLayout;

/**
 * What changes scores or hides keys, beside the causal mask and lengths.
 *
 * @param spec window, global tokens, softcap, slopes, a table of distances, sinks
 * @param mask {@code [batch or 1, heads or 1, seq or 1, seq or 1]}, or null, like all that follow
 * @param blockMask the same of blocks
 * @param block the size of one
 * @param bias as mask
 * @param segmentsQ {@code [batch, seq]}
 * @param segmentsK {@code [batch, seq]}
 * @param prefixes one for each batch row
 * @param positions {@code [batch, seq]}
 */
record Changes(
    AttentionSpec spec,
    Tensor mask,
    Tensor blockMask,
    Block block,
    Tensor bias,
    Tensor segmentsQ,
    Tensor segmentsK,
    int[] prefixes,
    Tensor positions) {

  static final Changes NONE = of(AttentionSpec.standard());

  /** Those of a specification alone. */
  static Changes of(AttentionSpec spec) {
    return new Changes(spec, null, null, null, null, null, null, null, null);
  }

  /** What counts for one row of the batch. */
  Changes ofBatch(int b) {
    return new Changes(
        spec,
        part(mask, 0, b),
        part(blockMask, 0, b),
        block,
        part(bias, 0, b),
        part(segmentsQ, 0, b),
        part(segmentsK, 0, b),
        at(prefixes, b),
        part(positions, 0, b));
  }

  /** What counts for one head. */
  Changes ofHead(int head) {
    return new Changes(
        spec.toBuilder()
            .alibiSlopes(part(spec.alibiSlopes().orElse(null), 0, head))
            .relativePositions(part(spec.relativePositions().orElse(null), 0, head))
            .sinks(part(spec.sinks().orElse(null), 0, head))
            .build(),
        part(mask, 1, head),
        part(blockMask, 1, head),
        block,
        part(bias, 1, head),
        segmentsQ,
        segmentsK,
        prefixes,
        positions);
  }

  static int[] at(int[] numbers, int n) {
    return numbers == null ? null : new int[] {numbers[n]};
  }

  /** One of a dimension; of size 1 it counts for all. */
  private static Tensor part(Tensor tensor, int dim, int n) {
    return tensor == null || tensor.size(dim) == 1 ? tensor : tensor.slice(dim, n, n + 1);
  }

  /** All of them but the specification and prefixes. */
  AttentionOptions options() {
    AttentionOptions options =
        new AttentionOptions()
            .mask(mask)
            .bias(bias)
            .segments(segmentsQ, segmentsK)
            .queryPositions(positions);
    return blockMask == null ? options : options.blockMask(blockMask, block.rows(), block.keys());
  }

  /** Whether keys are hidden that are not the last ones. */
  boolean hide() {
    return spec.windowLeft().isPresent()
        || spec.windowRight().isPresent()
        || mask != null
        || blockMask != null
        || segmentsQ != null;
  }

  /** Whether window, global tokens and segments leave key j to row i. */
  boolean near(long position, long b, long i, long j) {
    boolean inWindow =
        j >= position - spec.windowLeft().orElse(Integer.MAX_VALUE)
            && j <= position + spec.windowRight().orElse(Integer.MAX_VALUE);
    int global = spec.globalTokens();
    return (inWindow || j < global || position >= 0 && position < global)
        && (segmentsQ == null || segmentsQ.getInt(b, i) == segmentsK.getInt(b, j));
  }

  boolean unmasked(long b, long h, long i, long j) {
    return (mask == null || isSet(mask, b, h, i, j))
        && (blockMask == null || isSet(blockMask, b, h, i / block.rows(), j / block.keys()));
  }

  /** The share of the heads to which blocks leave key j. */
  double shareOfBlocks(long b, long i, long j) {
    if (blockMask == null) {
      return 1;
    }
    long heads = blockMask.size(1);
    int left = 0;
    for (long h = 0; h < heads; h++) {
      left += isSet(blockMask, b, h, i / block.rows(), j / block.keys()) ? 1 : 0;
    }
    return (double) left / heads;
  }

  /** What is added to the score of key j for row i. */
  double bias(long position, long b, long h, long i, long j) {
    double sum = 0;
    if (bias != null) {
      sum = bias.segment().getAtIndex(ValueLayout.JAVA_FLOAT, at(bias, b, h, i, j));
      if (sum == Double.NEGATIVE_INFINITY) {
        return sum; // masks, whatever the distance adds
      }
    }
    if (spec.alibiSlopes().isPresent()) {
      double slope = spec.alibiSlopes().get().getFloat(h);
      sum -= slope * Math.abs(position - j);
    }
    if (spec.relativePositions().isPresent()) {
      Tensor table = spec.relativePositions().get();
      long span = table.size(1) / 2;
      sum += table.getFloat(h, span + Math.clamp(j - position, -span, span));
    }
    return sum;
  }

  private static boolean isSet(Tensor map, long... index) {
    return map.segment().get(ValueLayout.JAVA_BYTE, at(map, index)) != 0;
  }

  private static long at(Tensor map, long... index) {
    long at = 0;
    for (int dim = 0; dim < 4; dim++) {
      at += map.size(dim) == 1 ? 0 : index[dim] * map.stride(dim);
    }
    return at;
  }
}
