package dev.gatun;

import dev.gatun.internal.Native;
import java.util.Objects;
import java.util.Optional;
import java.util.OptionalDouble;
import java.util.OptionalInt;

/**
 * What an attention operation computes, apart from its inputs and outputs. Immutable.
 *
 * {@snippet :
 * AttentionSpec spec = AttentionSpec.builder().causal(Causal.BOTTOM_RIGHT).build();
 * }
 *
 * <p>A score is {@code scale * (q . k)}; then it is capped ({@link Builder#softcap}); then biases
 * are added; then masks select: {@link Builder#causal}, {@link Builder#window} and those of {@link
 * AttentionOptions}; then sinks join the softmax.
 *
 * <p>Biases of the scores ({@link Builder#alibiSlopes}, {@link Builder#relativePositions}) and
 * {@link Builder#sinks} are parameters of the operation, as weights are of a layer: the tensors are
 * not copied. Their arena must stay open, and usable by the calling thread, as long as operations
 * of this specification run, and their values must not change during a call.
 */
public final class AttentionSpec {

  private static final float LEAST_SOFTCAP = 0x1p-100f;
  private static final AttentionSpec STANDARD = builder().build();

  final Causal causal;
  final OptionalDouble scale;
  final int maxThreads;
  final Optional<Tensor> alibiSlopes;
  final Optional<Tensor> relativePositions;
  final OptionalInt windowLeft;
  final OptionalInt windowRight;
  final int globalTokens;
  final OptionalDouble softcap;
  final Optional<Tensor> sinks;
  final boolean bfloat16Products;

  private AttentionSpec(Builder builder) {
    this.causal = builder.causal;
    this.scale = builder.scale;
    this.maxThreads = builder.maxThreads;
    this.alibiSlopes = Optional.ofNullable(builder.alibiSlopes);
    this.relativePositions = Optional.ofNullable(builder.relativePositions);
    this.windowLeft = limit(builder.windowLeft);
    this.windowRight = limit(builder.windowRight);
    this.globalTokens = builder.globalTokens;
    this.softcap =
        builder.softcap == 0 ? OptionalDouble.empty() : OptionalDouble.of(builder.softcap);
    this.sinks = Optional.ofNullable(builder.sinks);
    this.bfloat16Products = builder.bfloat16Products;
    if (globalTokens > 0 && windowLeft.isEmpty() && windowRight.isEmpty()) {
      throw new IllegalArgumentException(
          "globalTokens: expected 0 without a window, got " + globalTokens);
    }
    Tensor slopes = builder.alibiSlopes;
    Tensor relative = builder.relativePositions;
    if (slopes != null && relative != null && slopes.size(0) != relative.size(0)) {
      throw new IllegalArgumentException(
          "relativePositions: expected %d heads as alibiSlopes has, got %s"
              .formatted(slopes.size(0), relative.layout));
    }
    Tensor biases = slopes != null ? slopes : relative;
    if (builder.sinks != null && biases != null && builder.sinks.size(0) != biases.size(0)) {
      throw new IllegalArgumentException(
          "sinks: expected %d heads as %s has, got %s"
              .formatted(
                  biases.size(0),
                  slopes != null ? "alibiSlopes" : "relativePositions",
                  builder.sinks.layout));
    }
  }

  private static OptionalInt limit(int keys) {
    return keys < 0 ? OptionalInt.empty() : OptionalInt.of(keys);
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
   * Starts a specification with the values and tensors of this one.
   *
   * @return a new builder
   */
  public Builder toBuilder() {
    Builder builder = new Builder();
    builder.causal = causal;
    builder.scale = scale;
    builder.maxThreads = maxThreads;
    builder.alibiSlopes = alibiSlopes.orElse(null);
    builder.relativePositions = relativePositions.orElse(null);
    builder.windowLeft = windowLeft.orElse(-1);
    builder.windowRight = windowRight.orElse(-1);
    builder.globalTokens = globalTokens;
    builder.softcap = (float) softcap.orElse(0);
    builder.sinks = sinks.orElse(null);
    builder.bfloat16Products = bfloat16Products;
    return builder;
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
   * Returns how many keys before its position a row sees.
   *
   * @return the left end of {@link Builder#window}, or empty if it has none
   */
  public OptionalInt windowLeft() {
    return windowLeft;
  }

  /**
   * Returns how many keys behind its position a row sees.
   *
   * @return the right end of {@link Builder#window}, or empty if it has none
   */
  public OptionalInt windowRight() {
    return windowRight;
  }

  /**
   * Returns how many tokens the window does not hide.
   *
   * @return {@link Builder#globalTokens}, or 0
   */
  public int globalTokens() {
    return globalTokens;
  }

  /**
   * Returns the bound of the scaled scores.
   *
   * @return {@link Builder#softcap}, or empty if there is none
   */
  public OptionalDouble softcap() {
    return softcap;
  }

  /**
   * Returns the scores of the keys without a value.
   *
   * @return {@code [heads]}, or empty if there are none
   */
  public Optional<Tensor> sinks() {
    return sinks;
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
        && windowLeft.equals(that.windowLeft)
        && windowRight.equals(that.windowRight)
        && globalTokens == that.globalTokens
        && softcap.equals(that.softcap)
        && sinks.orElse(null) == that.sinks.orElse(null)
        && alibiSlopes.orElse(null) == that.alibiSlopes.orElse(null)
        && relativePositions.orElse(null) == that.relativePositions.orElse(null);
  }

  /** Returns a hash of the values. */
  @Override
  public int hashCode() {
    return Objects.hash(
        causal,
        scale,
        maxThreads,
        alibiSlopes,
        relativePositions,
        windowLeft,
        windowRight,
        globalTokens,
        softcap,
        sinks,
        bfloat16Products);
  }

  /** Returns the values on one line. */
  @Override
  public String toString() {
    return "AttentionSpec[causal=%s, scale=%s, maxThreads=%s%s%s%s%s%s%s%s]"
        .formatted(
            causal,
            scale.isPresent() ? Float.toString((float) scale.getAsDouble()) : "1/sqrt(headDim)",
            maxThreads == 0 ? "all" : Integer.toString(maxThreads),
            alibiSlopes.map(slopes -> ", alibiSlopes=" + slopes.layout).orElse(""),
            relativePositions.map(biases -> ", relativePositions=" + biases.layout).orElse(""),
            windowLeft.isPresent() || windowRight.isPresent()
                ? ", window=%d,%d".formatted(windowLeft.orElse(-1), windowRight.orElse(-1))
                : "",
            globalTokens > 0 ? ", globalTokens=" + globalTokens : "",
            softcap.isPresent() ? ", softcap=" + (float) softcap.getAsDouble() : "",
            sinks.map(scores -> ", sinks=" + scores.layout).orElse(""),
            bfloat16Products ? ", bfloat16Products" : "");
  }

  /** Collects the values of a specification. Not thread-safe. */
  public static final class Builder {
    private Causal causal = Causal.NONE;
    private OptionalDouble scale = OptionalDouble.empty();
    private int maxThreads;
    private Tensor alibiSlopes;
    private Tensor relativePositions;
    private int windowLeft = -1;
    private int windowRight = -1;
    private int globalTokens;
    private float softcap;
    private Tensor sinks;
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
     * Lets a row see only the keys near its position: key j of those with {@code position - left <=
     * j <= position + right}, both ends included, in addition to what other masks say. Positions
     * are as for {@link #alibiSlopes}. Under a causal mask the right end does nothing. Tiles of
     * keys that no row of a block sees are not read. The default is no window.
     *
     * @param left keys before the position, or -1 for all of them
     * @param right keys behind it, or -1 for all of them; both -1: no window
     * @return this builder
     * @throws IllegalArgumentException if a number is less than -1
     */
    public Builder window(int left, int right) {
      if (left < -1 || right < -1) {
        throw new IllegalArgumentException(
            "window: expected %s >= -1, got %d"
                .formatted(left < -1 ? "left" : "right", left < -1 ? left : right));
      }
      this.windowLeft = left;
      this.windowRight = right;
      return this;
    }

    /**
     * Excepts the first tokens from the window: every row sees the keys {@code j < tokens}, and
     * rows of positions {@code 0 <= position < tokens} see all keys, as far as other masks let
     * them. The default is 0.
     *
     * @param tokens how many, 0 or more; 0 without a window
     * @return this builder
     * @throws IllegalArgumentException if the number is negative
     */
    public Builder globalTokens(int tokens) {
      if (tokens < 0) {
        throw new IllegalArgumentException("globalTokens: expected a number >= 0, got " + tokens);
      }
      this.globalTokens = tokens;
      return this;
    }

    /**
     * Caps the scaled scores, before biases are added: {@code score = cap * tanh(score / cap)}. The
     * default is not to.
     *
     * @param cap from 2^-100 to 2^100, or 0 for none
     * @return this builder
     * @throws IllegalArgumentException if the value is another
     */
    public Builder softcap(float cap) {
      if (cap != 0 && !(cap >= LEAST_SOFTCAP && cap <= 1 / LEAST_SOFTCAP)) {
        throw new IllegalArgumentException("softcap: expected 0 or 2^-100 .. 2^100, got " + cap);
      }
      this.softcap = cap;
      return this;
    }

    /**
     * Sets the score of one more key for each head, which every row sees and which has no value: a
     * row's sum of exponentials is larger by {@code exp(sinks[h])}. A row that sees no other key
     * gives out 0 and lse {@code sinks[h]}. Nothing is done to these scores, neither scale nor
     * softcap nor biases. The default is none.
     *
     * @param scores {@code [heads]} FLOAT32, contiguous, not copied, of magnitudes below 2^127; one
     *     that is not a number makes the rows of its head not a number. Null for none
     * @return this builder
     * @throws IllegalArgumentException if type, shape or strides are others
     */
    public Builder sinks(Tensor scores) {
      if (scores != null && !isVectors(scores, 1)) {
        throw new IllegalArgumentException(
            "sinks: expected [heads] float32, contiguous, got " + scores.layout);
      }
      this.sinks = scores;
      return this;
    }

    /**
     * Lets products be those of bfloat16 numbers, which take about half the time: queries, keys,
     * probabilities and values are rounded to 8 significant bits where they are multiplied; they
     * are added up, and the softmax is computed, in float32. Of normally distributed values results
     * are then off by some 3e-4, by more where scores are large: at most by {@code (0.008 + 0.008 *
     * S + seqK * 2^-31) * max|v|}, where S is the largest sum of {@code |scale * q * k|} of a row.
     *
     * <p>It has an effect where the CPU has instructions that are faster so ({@code AVX512_BF16}
     * without {@code AMX_BF16}), on batch rows or sequences of more than 4 queries and more than 16
     * keys, without biases, window, softcap, sinks and masks but the causal one; elsewhere products
     * are in float32. {@link AttentionPlan#kernel} tells which of the two. The default is false.
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
     * @throws IllegalArgumentException if slopes, biases and sinks are of different numbers of
     *     heads, or if there are global tokens without a window
     */
    public AttentionSpec build() {
      return new AttentionSpec(this);
    }
  }
}
