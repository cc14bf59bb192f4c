package dev.gatun.nn;

import dev.gatun.DType;
import dev.gatun.GatunRuntime;
import dev.gatun.Tensor;
import dev.gatun.internal.LinearAttentionCall;
import dev.gatun.internal.LinearAttentionCall.Features;
import dev.gatun.internal.Native;
import java.lang.foreign.Arena;
import java.util.Objects;
import java.util.SplittableRandom;

/**
 * The attention of the Performer (FAVOR+): linear attention whose features approximate the softmax,
 * "Rethinking Attention with Performers" (Choromanski and others, 2021), Lemma 1 and section 2.4:
 *
 * <pre>{@code
 * φ(x)_f = exp(w_f · x' - |x'|² / 2) / √features        x' = x · headDim^(-1/4)
 * }</pre>
 *
 * <p>so that φ(q) · φ(k) is exp(q · k / √headDim) in expectation, for random rows w_f of a
 * projection. All weights are positive. The relative error of a weight falls with the square root
 * of the number of features, and grows with exp(|q' + k'|²): features pay where queries and keys
 * are short, and where there are many more rows than features.
 *
 * <p>Exponents cannot overflow; gatun_relatives.h says how far, and how causal calls keep later
 * keys out of earlier rows. A causal mechanism has a state, as {@link LinearAttention} has.
 */
public final class RandomFeatureAttention extends FeatureAttention {

  private final Tensor projection;
  private final Parameters parameters;

  private RandomFeatureAttention(GatunRuntime runtime, Tensor projection, boolean causal) {
    super(runtime, "performer", causal);
    this.projection = Objects.requireNonNull(projection, "projection");
    if (projection.dtype() != DType.FLOAT32
        || projection.rank() != 2
        || projection.elements() == 0
        || !projection.isContiguous()
        || projection.size(0) > Native.Abi.MAX_FEATURES
        || projection.size(1) > Native.Abi.MAX_HEAD_DIM) {
      throw Rows.bad(
          "projection",
          "[features, headDim] float32, contiguous, at most [%d, %d]"
              .formatted(Native.Abi.MAX_FEATURES, Native.Abi.MAX_HEAD_DIM),
          projection);
    }
    this.parameters = new Parameters.Builder().add("projection", projection).build();
  }

  /**
   * Makes the mechanism with the projection of a model.
   *
   * @param runtime where it runs
   * @param projection {@code [features, headDim]} FLOAT32, contiguous, for all heads; not copied,
   *     and its arena stays open as long as the mechanism is used
   * @param causal whether row i sees the keys up to i only; there are as many keys as rows then
   * @return the mechanism
   * @throws IllegalArgumentException naming projection if it does not fit
   */
  public static RandomFeatureAttention of(GatunRuntime runtime, Tensor projection, boolean causal) {
    return new RandomFeatureAttention(runtime, projection, causal);
  }

  /**
   * Draws a projection: blocks of headDim rows that are orthogonal to each other, in directions
   * that are uniform, with norms as those of normal vectors (section 2.4 of the paper), which has
   * less variance than independent rows. The same seed gives the same numbers everywhere.
   *
   * @param arena where it lies
   * @param features rows, 1 to 4096
   * @param headDim columns, 1 to 512
   * @param seed of the generator
   * @return {@code [features, headDim]}
   */
  public static Tensor orthogonalProjection(Arena arena, int features, int headDim, long seed) {
    if (features < 1 || features > Native.Abi.MAX_FEATURES) {
      throw new IllegalArgumentException(
          "features: expected 1 .. %d, got %d".formatted(Native.Abi.MAX_FEATURES, features));
    }
    if (headDim < 1 || headDim > Native.Abi.MAX_HEAD_DIM) {
      throw new IllegalArgumentException(
          "headDim: expected 1 .. %d, got %d".formatted(Native.Abi.MAX_HEAD_DIM, headDim));
    }
    SplittableRandom random = new SplittableRandom(seed);
    float[] rows = new float[features * headDim];
    double[][] block = new double[headDim][];
    for (int f = 0; f < features; f++) {
      int place = f % headDim;
      block[place] = direction(random, headDim, block, place);
      double norm = length(normal(random, headDim));
      for (int d = 0; d < headDim; d++) {
        rows[f * headDim + d] = (float) (norm * block[place][d]);
      }
    }
    return Tensor.copyOf(arena, rows, features, headDim);
  }

  /** A uniform direction among those orthogonal to the first ones of a block (Gram-Schmidt). */
  private static double[] direction(SplittableRandom random, int dim, double[][] block, int count) {
    while (true) {
      double[] x = normal(random, dim);
      double before = length(x);
      // Twice: what the first pass leaves of the others is rounding, of which nothing is left.
      for (int pass = 0; pass < 2; pass++) {
        for (int n = 0; n < count; n++) {
          double product = 0;
          for (int d = 0; d < dim; d++) {
            product += x[d] * block[n][d];
          }
          for (int d = 0; d < dim; d++) {
            x[d] -= product * block[n][d];
          }
        }
      }
      double length = length(x);
      if (length > 1e-6 * before) {
        for (int d = 0; d < dim; d++) {
          x[d] /= length;
        }
        return x;
      }
    }
  }

  /** Box and Muller's method, in functions that give the same bits everywhere. */
  private static double[] normal(SplittableRandom random, int dim) {
    double[] x = new double[dim];
    for (int d = 0; d < dim; d++) {
      double radius = StrictMath.sqrt(-2 * StrictMath.log(1 - random.nextDouble()));
      x[d] = radius * StrictMath.cos(2 * Math.PI * random.nextDouble());
    }
    return x;
  }

  private static double length(double[] x) {
    double sum = 0;
    for (double v : x) {
      sum += v * v;
    }
    return Math.sqrt(sum);
  }

  /** {@return the rows of the projection, [features, headDim]} */
  public Tensor projection() {
    return projection;
  }

  @Override
  Features map() {
    return Features.POSITIVE_RANDOM;
  }

  @Override
  long features(long headDim) {
    return projection.size(0);
  }

  @Override
  LinearAttentionCall complete(LinearAttentionCall call) {
    return call.projection(projection.segment());
  }

  @Override
  Parameters parameters() {
    return parameters;
  }

  @Override
  void check(int heads, int kvHeads, long headDim, long headDimV) {
    super.check(heads, kvHeads, headDim, headDimV);
    if (projection.size(1) != headDim) {
      throw new IllegalArgumentException(
          "projection: expected %d columns, as headDim of queries, got %d"
              .formatted(headDim, projection.size(1)));
    }
  }
}
