package dev.gatun;

import java.util.Objects;
import java.util.OptionalDouble;

/**
 * What an attention operation computes, apart from its tensors. Immutable.
 *
 * {@snippet :
 * AttentionSpec spec = AttentionSpec.builder().causal(Causal.BOTTOM_RIGHT).build();
 * }
 */
public final class AttentionSpec {

  private static final AttentionSpec STANDARD = builder().build();

  final Causal causal;
  final boolean hasScale;
  final float scale;
  final int maxThreads;

  private AttentionSpec(Builder builder) {
    this.causal = builder.causal;
    this.hasScale = builder.hasScale;
    this.scale = builder.scale;
    this.maxThreads = builder.maxThreads;
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
    return hasScale ? OptionalDouble.of(scale) : OptionalDouble.empty();
  }

  /**
   * Returns the limit of threads for one call.
   *
   * @return threads that work on one call, the caller's included, or 0 for the runtime's number
   */
  public int maxThreads() {
    return maxThreads;
  }

  /** Tells whether the other object is a specification with the same values. */
  @Override
  public boolean equals(Object other) {
    return other instanceof AttentionSpec that
        && causal == that.causal
        && hasScale == that.hasScale
        && Float.floatToIntBits(scale) == Float.floatToIntBits(that.scale)
        && maxThreads == that.maxThreads;
  }

  /** Returns a hash of the values. */
  @Override
  public int hashCode() {
    return Objects.hash(causal, hasScale, scale, maxThreads);
  }

  /** Returns the values on one line. */
  @Override
  public String toString() {
    return "AttentionSpec[causal=%s, scale=%s, maxThreads=%s]"
        .formatted(
            causal,
            hasScale ? Float.toString(scale) : "1/sqrt(headDim)",
            maxThreads == 0 ? "all" : Integer.toString(maxThreads));
  }

  /** Collects the values of a specification. Not thread-safe. */
  public static final class Builder {
    private Causal causal = Causal.NONE;
    private boolean hasScale;
    private float scale;
    private int maxThreads;

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
      this.scale = value;
      this.hasScale = true;
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
     * Makes the specification.
     *
     * @return an immutable specification
     */
    public AttentionSpec build() {
      return new AttentionSpec(this);
    }
  }
}
