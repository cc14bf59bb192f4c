package dev.gatun;

import dev.gatun.internal.Native;
import java.util.Objects;
import java.util.Optional;
import java.util.OptionalDouble;

/**
 * What an attention operation computes, apart from its inputs and outputs. Immutable.
 *
 * {@snippet :
 * AttentionSpec spec = AttentionSpec.builder().causal(Causal.BOTTOM_RIGHT).build();
 * }
 *
 * <p>Biases of the scores ({@link Builder#alibiSlopes}, {@link Builder#relativePositions}) are
 * parameters of the operation, as weights are of a layer: the tensors are not copied. Their arena
 * must stay open, and usable by the calling thread, as long as operations of this specification
 * run, and their values must not change during a call.
 */
public final class AttentionSpec {

  private static final AttentionSpec STANDARD = builder().build();

  final Causal causal;
  final OptionalDouble scale;
  final int maxThreads;
  final Optional<Tensor> alibiSlopes;
  final Optional<Tensor> relativePositions;
  final boolean bfloat16Products;

  private AttentionSpec(Builder builder) {
    this.causal = builder.causal;
    this.scale = builder.scale;
    this.maxThreads = builder.maxThreads;
    this.alibiSlopes = Optional.ofNullable(builder.alibiSlopes);
    this.relativePositions = Optional.ofNullable(builder.relativePositions);
    this.bfloat16Products = builder.bfloat16Products;
    Tensor slopes = builder.alibiSlopes;
    Tensor relative = builder.relativePositions;
    if (slopes != null && relative != null && slopes.size(0) != relative.size(0)) {
      throw new IllegalArgumentException(
          "relativePositions: expected %d heads as alibiSlopes has, got %s"
              .formatted(slopes.size(0), relative.layout));
    }
  }

  /**
   * Returns the specification with every default: no causal mask, scale {@code 1/sqrt(headDim)},
   * all threads of the runtime.
   *
   * @return always the same object
   */
  public static AttentionSpec standard() {
    return STANDARD;
  }

  /**
   * Starts a specification with every default.
   *
   * @return a new builder
   */
  public static Builder builder() {
    return new Builder();
  }

  /**
   * Returns the causal mask.
   *
   * @return which keys a row may see by its position
   */
  public Causal causal() {
    return causal;
  }

  /**
   * Returns the factor of the scores.
   *
   * @return the scale, or empty for {@code 1/sqrt(headDim)}
   */
  public OptionalDouble scale() {
    return scale;
  }

  /**
   * Returns the limit of threads for one call.
   *
   * @return threads that work on one call, the caller's included, or 0 for the runtime's number
   */
  public int maxThreads() {
    return maxThreads;
  }

  /**
   * Returns the slopes of ALiBi.
   *
   * @return {@code [heads]}, or empty if there are none
   */
  public Optional<Tensor> alibiSlopes() {
    return alibiSlopes;
  }

  /**
   * Returns the biases of relative positions.
   *
   * @return {@code [heads, 2 * span + 1]}, or empty if there are none
   */
  public Optional<Tensor> relativePositions() {
    return relativePositions;
  }

  /**
   * Tells whether products may be those of bfloat16 numbers.
   *
   * @return whether {@link Builder#bfloat16Products} was set
   */
  public boolean bfloat16Products() {
    return bfloat16Products;
  }

  /** Tells whether the other object is a specification with the same values and tensors. */
  @Override
  public boolean equals(Object other) {
    return other instanceof AttentionSpec that
        && causal == that.causal
        && scale.equals(that.scale)
        && maxThreads == that.maxThreads
        && bfloat16Products == that.bfloat16Products
        && alibiSlopes.orElse(null) == that.alibiSlopes.orElse(null)
        && relativePositions.orElse(null) == that.relativePositions.orElse(null);
  }

  /** Returns a hash of the values. */
  @Override
  public int hashCode() {
    return Objects.hash(
        causal, scale, maxThreads, alibiSlopes, relativePositions, bfloat16Products);
  }

  /** Returns the values on one line. */
  @Override
  public String toString() {
    return "AttentionSpec[causal=%s, scale=%s, maxThreads=%s%s%s%s]"
        .formatted(
            causal,
            scale.isPresent() ? Float.toString((float) scale.getAsDouble()) : "1/sqrt(headDim)",
            maxThreads == 0 ? "all" : Integer.toString(maxThreads),
            alibiSlopes.map(slopes -> ", alibiSlopes=" + slopes.layout).orElse(""),
            relativePositions.map(biases -> ", relativePositions=" + biases.layout).orElse(""),
            bfloat16Products ? ", bfloat16Products" : "");
  }

  /** Collects the values of a specification. Not thread-safe. */
  public static final class Builder {
    private Causal causal = Causal.NONE;
    private OptionalDouble scale = OptionalDouble.empty();
    private int maxThreads;
    private Tensor alibiSlopes;
    private Tensor relativePositions;
    private boolean bfloat16Products;

    private Builder() {}

    /**
     * Sets the causal mask; the default is {@link Causal#NONE}.
     *
     * @param value which keys a row may see by its position
     * @return this builder
     */
    public Builder causal(Causal value) {
      this.causal = Objects.requireNonNull(value, "causal");
      return this;
    }

    /**
     * Sets the factor of the scores; the default is {@code 1/sqrt(headDim)}.
     *
     * @param value a finite number, 0 and negative ones included
     * @return this builder
     * @throws IllegalArgumentException if the value is infinite or not a number
     */
    public Builder scale(float value) {
      if (!Float.isFinite(value)) {
        throw new IllegalArgumentException("scale: expected a finite number, got " + value);
      }
      this.scale = OptionalDouble.of(value);
      return this;
    }

    /**
     * Limits the threads that work on one call; the default is the runtime's number.
     *
     * @param value threads, the caller's included, or 0 for the runtime's number
     * @return this builder
     * @throws IllegalArgumentException if the value is negative
     */
    public Builder maxThreads(int value) {
      if (value < 0) {
        throw new IllegalArgumentException("maxThreads: expected a number >= 0, got " + value);
      }
      this.maxThreads = value;
      return this;
    }

    /**
     * Attention with linear biases (Press et al., 2022): {@code -slopes[h] * |position - j|} is
     * added to the scaled score of key j. The position of query row i is {@code i + keyLength -
     * queryLength}, so that the last query stands at the last key; under {@link Causal#TOP_LEFT} it
     * is i. The default is none.
     *
     * @param slopes {@code [heads]} FLOAT32, contiguous, not copied; or null for none. A slope that
     *     is not a number makes the rows of its head not a number
     * @return this builder
     * @throws IllegalArgumentException if type, shape or strides are others
     */
    public Builder alibiSlopes(Tensor slopes) {
      if (slopes != null && !isVectors(slopes, 1)) {
        throw new IllegalArgumentException(
            "alibiSlopes: expected [heads] float32, contiguous, got " + slopes.layout);
      }
      this.alibiSlopes = slopes;
      return this;
    }

    /**
     * Biases by relative position: {@code biases[h][span + clamp(j - position, -span, span)]} is
     * added to the scaled score of key j; positions are as for {@link #alibiSlopes}, and both may
     * be given. T5's biases by buckets of distances (Raffel et al., 2020) are expanded to such a
     * table once. A bias of minus infinity masks its key. The default is none.
     *
     * @param biases {@code [heads, 2 * span + 1]} FLOAT32, contiguous, not copied; the span is 0 to
     *     2^20. Null for none
     * @return this builder
     * @throws IllegalArgumentException if type, shape or strides are others
     */
    public Builder relativePositions(Tensor biases) {
      if (biases != null
          && !(isVectors(biases, 2)
              && biases.size(1) % 2 == 1
              && biases.size(1) / 2 <= Native.Abi.MAX_RELATIVE_SPAN)) {
        throw new IllegalArgumentException(
            "relativePositions: expected [heads, 2 * span + 1] float32, contiguous, span 0 .. %d, got %s"
                .formatted(Native.Abi.MAX_RELATIVE_SPAN, biases.layout));
      }
      this.relativePositions = biases;
      return this;
    }

    /**
     * Lets products be those of bfloat16 numbers, which take about half the time: queries, keys,
     * probabilities and values are rounded to 8 significant bits where they are multiplied; they
     * are added up, and the softmax is computed, in float32. Of normally distributed values results
     * are then off by some 3e-4, by more where scores are large: at most by {@code (0.008 + 0.008 *
     * S + seqK * 2^-31) * max|v|}, where S is the largest sum of {@code |scale * q * k|} of a row.
     *
     * <p>It has an effect where the CPU has instructions for it ({@code AVX512_BF16}), on batch
     * rows or sequences of more than 4 queries and more than 16 keys without biases; elsewhere
     * products are in float32. {@link AttentionPlan#kernel} tells which of the two. The default is
     * false.
     *
     * @param value whether they may be
     * @return this builder
     */
    public Builder bfloat16Products(boolean value) {
      this.bfloat16Products = value;
      return this;
    }

    private static boolean isVectors(Tensor tensor, int rank) {
      return tensor.dtype() == DType.FLOAT32
          && tensor.rank() == rank
          && tensor.size(0) >= 1
          && tensor.isContiguous();
    }

    /**
     * Makes the specification.
     *
     * @return an immutable specification
     * @throws IllegalArgumentException if slopes and biases are of different numbers of heads
     */
    public AttentionSpec build() {
      return new AttentionSpec(this);
    }
  }
}
