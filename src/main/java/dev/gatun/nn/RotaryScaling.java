package dev.gatun.nn;

/**
 * How a rotary encoding trained on short texts is stretched to long ones. The formulas are those of
 * Hugging Face's {@code modeling_rope_utils}, which models' configuration files refer to.
 */
public sealed interface RotaryScaling {

  /** {@return no scaling: the encoding of Su et al., 2021 as it is} */
  static RotaryScaling none() {
    return new None();
  }

  /** No scaling. */
  record None() implements RotaryScaling {}

  /**
   * Position interpolation (Chen et al., 2023): every frequency divided by the factor.
   *
   * @param factor new length over old, {@code >= 1}
   */
  record Linear(double factor) implements RotaryScaling {
    /** Checks the factor. */
    public Linear {
      atLeastOne("factor", factor);
    }
  }

  /**
   * NTK-aware interpolation with a fixed factor: the base becomes {@code base · factor^(d / (d -
   * 2))}, so that the highest frequency stays and the lowest is divided by the factor.
   *
   * @param factor new length over old, {@code >= 1}
   */
  record Ntk(double factor) implements RotaryScaling {
    /** Checks the factor. */
    public Ntk {
      atLeastOne("factor", factor);
    }
  }

  /**
   * NTK-aware interpolation that reaches every pair (Su, 2023, kexue.fm/archives/9706), as GTE's
   * models have it: the frequency of pair i, from 0 on, is divided by {@code factor^(((i + 1) / (d
   * / 2))^power)}, the lowest by the factor itself.
   *
   * @param factor new length over old, {@code >= 1}
   * @param power above 0; 1: each pair is divided by {@code factor^(2 / d)} more than the one
   *     before
   */
  record NtkMixed(double factor, double power) implements RotaryScaling {
    /** Checks the numbers. */
    public NtkMixed {
      atLeastOne("factor", factor);
      if (!(power > 0) || Double.isInfinite(power)) {
        throw new IllegalArgumentException("power: expected a finite number > 0, got " + power);
      }
    }
  }

  /**
   * YaRN (Peng et al., 2023): frequencies with enough rotations in the original length stay, those
   * with few are divided by the factor, with a ramp between; sine and cosine are multiplied by
   * {@code 0.1 · ln(factor) + 1}.
   *
   * @param factor new length over old, {@code >= 1}
   * @param originalPositions length that the model was trained on
   * @param betaFast rotations from which on a frequency stays, 32 in the paper
   * @param betaSlow rotations up to which a frequency is divided, 1 in the paper
   */
  record Yarn(double factor, int originalPositions, double betaFast, double betaSlow)
      implements RotaryScaling {
    /** Checks the numbers. */
    public Yarn {
      atLeastOne("factor", factor);
      atLeastOne("originalPositions", originalPositions);
      if (!(betaFast > betaSlow) || !(betaSlow > 0)) {
        throw new IllegalArgumentException(
            "betaFast, betaSlow: expected betaFast > betaSlow > 0, got %s and %s"
                .formatted(betaFast, betaSlow));
      }
    }

    /**
     * With the paper's 32 and 1 rotations.
     *
     * @param factor new length over old, {@code >= 1}
     * @param originalPositions length that the model was trained on
     */
    public Yarn(double factor, int originalPositions) {
      this(factor, originalPositions, 32, 1);
    }
  }

  /**
   * Llama 3.1's: wavelengths below {@code original / high} stay, those above {@code original / low}
   * are multiplied by the factor, with a smooth passage between.
   *
   * @param factor new length over old, {@code >= 1}; 8 in Llama 3.1
   * @param low 1 in Llama 3.1
   * @param high 4 in Llama 3.1
   * @param originalPositions 8192 in Llama 3.1
   */
  record Llama3(double factor, double low, double high, int originalPositions)
      implements RotaryScaling {
    /** Checks the numbers. */
    public Llama3 {
      atLeastOne("factor", factor);
      atLeastOne("originalPositions", originalPositions);
      if (!(high > low) || !(low > 0)) {
        throw new IllegalArgumentException(
            "low, high: expected high > low > 0, got %s and %s".formatted(low, high));
      }
    }
  }

  private static void atLeastOne(String name, double value) {
    if (!(value >= 1) || Double.isInfinite(value)) {
      throw new IllegalArgumentException(
          "%s: expected a finite number >= 1, got %s".formatted(name, value));
    }
  }
}
