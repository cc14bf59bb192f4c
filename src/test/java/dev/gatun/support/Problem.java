package dev.gatun.support;

import dev.gatun.AttentionOptions;
import dev.gatun.AttentionSpec;
import dev.gatun.Causal;
import dev.gatun.DType;
import dev.gatun.Tensor;
import java.lang.foreign.Arena;
import java.lang.foreign.ValueLayout;
import java.util.Arrays;
import java.util.Random;

/**
 * One attention problem in dense Java arrays: q is {@code [batch][seqQ][heads][headDim]}, k and v
 * have kvHeads in place of heads. The arrays may be changed after creation, to plant values.
 */
public final class Problem {
  public final int batch;
  public final int heads;
  public final int kvHeads;
  public final int seqQ;
  public final int seqK;
  public final int headDim;
  public final int headDimV;
  public Causal causal = Causal.NONE;

  /** Factor of the scores, or NaN for the default. */
  public float scale = Float.NaN;

  /** Lengths for each batch row, or null. */
  public int[] keyLengths;

  public int[] queryLengths;

  /** Biases of the scores: {@code [heads]}, or null. */
  public float[] slopes;

  /** {@code [heads][2 * span + 1]}, or null. */
  public float[] relative;

  public int span;

  /** Ends of the window, or -1. */
  public int windowLeft = -1;

  public int windowRight = -1;
  public int globalTokens;

  /** 0 for none. */
  public float softcap;

  /** {@code [heads]}, or null. */
  public float[] sinks;

  /** Key by key, or null. */
  public Grid mask;

  public Grid bias;

  /** By blocks of blockQ rows and blockK keys, or null. */
  public Grid blockMask;

  public int blockQ;
  public int blockK;

  /** {@code [batch][seqQ]} and {@code [batch][seqK]}, or null. */
  public int[] segmentsQ;

  public int[] segmentsK;

  /** {@code [batch]}, or null. */
  public int[] prefixLengths;

  /** {@code [batch][seqQ]}, or null. */
  public int[] positions;

  /**
   * A number for each key and row, or for several.
   *
   * @param shape {@code [batch or 1, heads or 1, rows or 1, keys or 1]}
   */
  public record Grid(int[] shape, float[] values) {
    public static Grid of(int... shape) {
      return new Grid(shape, new float[shape[0] * shape[1] * shape[2] * shape[3]]);
    }

    public float at(int... index) {
      int at = 0;
      for (int dim = 0; dim < 4; dim++) {
        at = at * shape[dim] + (shape[dim] == 1 ? 0 : index[dim]);
      }
      return values[at];
    }

    /** Rows of an odd length amid others. */
    public Tensor tensor(Arena arena, DType dtype) {
      Tensor wide = Tensor.allocate(arena, dtype, shape[0], shape[1], shape[2], shape[3] + 3);
      for (int n = 0; n < values.length; n++) {
        int at = n / shape[3] * (shape[3] + 3) + 1 + n % shape[3];
        if (dtype == DType.UINT8) {
          wide.segment().set(ValueLayout.JAVA_BYTE, at, (byte) values[n]);
        } else {
          wide.segment().setAtIndex(ValueLayout.JAVA_FLOAT, at, values[n]);
        }
      }
      return wide.slice(3, 1, 1 + shape[3]);
    }
  }

  /** Whether the values are drawn, so that the smaller constant of the error bound holds. */
  public boolean drawn = true;

  public final float[] q;
  public final float[] k;
  public final float[] v;

  public Problem(int batch, int heads, int kvHeads, int seqQ, int seqK, int headDim, int headDimV) {
    this.batch = batch;
    this.heads = heads;
    this.kvHeads = kvHeads;
    this.seqQ = seqQ;
    this.seqK = seqK;
    this.headDim = headDim;
    this.headDimV = headDimV;
    this.q = new float[batch * seqQ * heads * headDim];
    this.k = new float[batch * seqK * kvHeads * headDim];
    this.v = new float[batch * seqK * kvHeads * headDimV];
  }

  /** Fills q, k and v with normally distributed values. */
  public Problem draw(Random random, double deviation) {
    for (float[] array : new float[][] {q, k, v}) {
      for (int i = 0; i < array.length; i++) {
        array[i] = (float) (random.nextGaussian() * deviation);
      }
    }
    return this;
  }

  public Problem draw(long seed) {
    return draw(new Random(seed), 1);
  }

  public Problem causal(Causal value) {
    causal = value;
    return this;
  }

  public Problem scale(float value) {
    scale = value;
    return this;
  }

  public Problem keyLengths(int... values) {
    keyLengths = values;
    return this;
  }

  public Problem queryLengths(int... values) {
    queryLengths = values;
    return this;
  }

  /** Slopes of 1/2 to 1/256. */
  public Problem slopes(Random random) {
    slopes = new float[heads];
    for (int h = 0; h < heads; h++) {
      slopes[h] = (float) Math.scalb(1.0, -1 - random.nextInt(8));
    }
    return this;
  }

  /** Normally distributed biases of distances up to a span. */
  public Problem relative(Random random, int value) {
    span = value;
    relative = new float[heads * (2 * span + 1)];
    for (int i = 0; i < relative.length; i++) {
      relative[i] = (float) random.nextGaussian();
    }
    return this;
  }

  /** Says that the values are no random draw. */
  public Problem planted() {
    drawn = false;
    return this;
  }

  public int qAt(int b, int i, int h, int d) {
    return ((b * seqQ + i) * heads + h) * headDim + d;
  }

  public int kAt(int b, int j, int g, int d) {
    return ((b * seqK + j) * kvHeads + g) * headDim + d;
  }

  public int vAt(int b, int j, int g, int d) {
    return ((b * seqK + j) * kvHeads + g) * headDimV + d;
  }

  /** Index into {@code [batch][seqQ][heads][headDimV]}. */
  public int outAt(int b, int i, int h, int d) {
    return ((b * seqQ + i) * heads + h) * headDimV + d;
  }

  /** Index into {@code [batch][heads][seqQ]}. */
  public int lseAt(int b, int h, int i) {
    return (b * heads + h) * seqQ + i;
  }

  public int keyLength(int b) {
    return keyLengths == null ? seqK : keyLengths[b];
  }

  public int queryLength(int b) {
    return queryLengths == null ? seqQ : queryLengths[b];
  }

  /**
   * How many keys, counted from the first, lengths and causal mask let row i of batch row b see; 0
   * for a padding row.
   */
  public int visibleKeys(int b, int i) {
    int keys = keyLength(b);
    int rows = queryLength(b);
    if (i >= rows) {
      return 0;
    }
    return switch (causal) {
      case NONE -> keys;
      case TOP_LEFT -> Math.min(keys, i + 1);
      case BOTTOM_RIGHT -> Math.clamp(i + 1L + keys - rows, 0, keys);
    };
  }

  /** Where a row stands on the scale of keys. */
  public int position(int b, int i) {
    if (positions != null) {
      return positions[b * seqQ + i];
    }
    return causal == Causal.TOP_LEFT ? i : i + keyLength(b) - queryLength(b);
  }

  /** Whether row i of batch row b and head h may see key j. */
  public boolean sees(int b, int h, int i, int j) {
    if (i >= queryLength(b) || j >= keyLength(b)) {
      return false;
    }
    int position = position(b, i);
    if (causal != Causal.NONE && j > position && !(prefixLengths != null && j < prefixLengths[b])) {
      return false;
    }
    boolean inWindow =
        (windowLeft < 0 || j >= position - windowLeft)
            && (windowRight < 0 || j <= position + windowRight);
    boolean global = j < globalTokens || position >= 0 && position < globalTokens;
    return (inWindow || global)
        && (segmentsQ == null || segmentsQ[b * seqQ + i] == segmentsK[b * seqK + j])
        && (mask == null || mask.at(b, h, i, j) != 0)
        && (blockMask == null || blockMask.at(b, h, i / blockQ, j / blockK) != 0);
  }

  /** What is added to the scaled score of key j for row i of batch row b and head h. */
  public double bias(int b, int h, int i, int j) {
    int position = position(b, i);
    double bias = this.bias == null ? 0 : this.bias.at(b, h, i, j);
    if (slopes != null) {
      bias -= (double) slopes[h] * Math.abs(position - j);
    }
    if (relative != null) {
      bias += relative[h * (2 * span + 1) + span + Math.clamp(j - position, -span, span)];
    }
    return bias;
  }

  /** Without biases, which lie in an arena. */
  public AttentionSpec spec() {
    return spec(null);
  }

  public AttentionSpec spec(Arena arena) {
    AttentionSpec.Builder builder = AttentionSpec.builder().causal(causal);
    if (!Float.isNaN(scale)) {
      builder.scale(scale);
    }
    if (slopes != null) {
      builder.alibiSlopes(Tensor.copyOf(arena, slopes, heads));
    }
    if (relative != null) {
      builder.relativePositions(Tensor.copyOf(arena, relative, heads, 2 * span + 1));
    }
    if (sinks != null) {
      builder.sinks(Tensor.copyOf(arena, sinks, heads));
    }
    return builder
        .window(windowLeft, windowRight)
        .globalTokens(globalTokens)
        .softcap(softcap)
        .build();
  }

  /** All that a call has besides offsets and LSE. */
  public AttentionOptions options(Arena arena) {
    AttentionOptions options =
        new AttentionOptions()
            .keyLengths(Run.lengths(arena, keyLengths))
            .queryLengths(Run.lengths(arena, queryLengths))
            .mask(mask == null ? null : mask.tensor(arena, DType.UINT8))
            .bias(bias == null ? null : bias.tensor(arena, DType.FLOAT32))
            .prefixLengths(Run.lengths(arena, prefixLengths));
    if (blockMask != null) {
      options.blockMask(blockMask.tensor(arena, DType.UINT8), blockQ, blockK);
    }
    if (segmentsQ != null) {
      options.segments(
          Tensor.copyOf(arena, segmentsQ, batch, seqQ),
          Tensor.copyOf(arena, segmentsK, batch, seqK));
    }
    if (positions != null) {
      options.queryPositions(Tensor.copyOf(arena, positions, batch, seqQ));
    }
    return options;
  }

  /** A problem with the same data for one batch row. */
  public Problem batchRow(int b) {
    Problem one = new Problem(1, heads, kvHeads, seqQ, seqK, headDim, headDimV);
    System.arraycopy(q, b * one.q.length, one.q, 0, one.q.length);
    System.arraycopy(k, b * one.k.length, one.k, 0, one.k.length);
    System.arraycopy(v, b * one.v.length, one.v, 0, one.v.length);
    one.causal = causal;
    one.scale = scale;
    one.keyLengths = keyLengths == null ? null : new int[] {keyLengths[b]};
    one.queryLengths = queryLengths == null ? null : new int[] {queryLengths[b]};
    one.drawn = drawn;
    one.slopes = slopes;
    one.relative = relative;
    one.span = span;
    return one;
  }

  @Override
  public String toString() {
    return "b%d q%d k%d h%d/%d d%d/%d %s%s%s%s%s%s%s"
        .formatted(
            batch,
            seqQ,
            seqK,
            heads,
            kvHeads,
            headDim,
            headDimV,
            causal,
            Float.isNaN(scale) ? "" : " scale " + scale,
            keyLengths == null ? "" : " kl" + Arrays.toString(keyLengths),
            queryLengths == null ? "" : " ql" + Arrays.toString(queryLengths),
            slopes == null ? "" : " slopes",
            relative == null ? "" : " span " + span,
            changes());
  }

  private String changes() {
    return (windowLeft < 0 && windowRight < 0
            ? ""
            : " window %d,%d,%d".formatted(windowLeft, windowRight, globalTokens))
        + (softcap == 0 ? "" : " softcap " + softcap)
        + (sinks == null ? "" : " sinks")
        + (mask == null ? "" : " mask " + Arrays.toString(mask.shape))
        + (bias == null ? "" : " bias " + Arrays.toString(bias.shape))
        + (blockMask == null ? "" : " blocks of %d, %d".formatted(blockQ, blockK))
        + (segmentsQ == null ? "" : " segments")
        + (prefixLengths == null ? "" : " prefix " + Arrays.toString(prefixLengths))
        + (positions == null ? "" : " positions");
  }
}
