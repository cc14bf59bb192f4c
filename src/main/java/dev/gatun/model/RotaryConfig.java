package dev.gatun.model;

import dev.gatun.nn.PositionalEncoding;
import dev.gatun.nn.Rotary;
import dev.gatun.nn.RotaryScaling;
import java.lang.foreign.Arena;
import java.util.HashSet;
import java.util.Set;

/**
 * Rotary positions as config.json says them: {@code rope_theta} and {@code rope_scaling}, or both
 * in {@code rope_parameters}, which may have one such object for each type of layer.
 *
 * <p>Scaling of the type {@code dynamic} leaves positions up to {@code max_position_embeddings}
 * alone, and there are no others here. {@code longrope}, whose angles depend on the length of the
 * text, is refused.
 *
 * @param base of the frequencies
 * @param dim elements of a head that are rotated
 * @param scaling of the frequencies
 * @param positions rows of the tables
 */
record RotaryConfig(double base, int dim, RotaryScaling scaling, int positions) {

  private static final String PARAMETERS = "rope_parameters";
  private static final String BASE = "rope_theta";
  private static final String FRACTION = "partial_rotary_factor";
  private static final String FACTOR = "factor";
  private static final String ORIGINAL = "original_max_position_embeddings";
  private static final String MAGNITUDE = "attention_factor";

  /** Where config.json does not say how many positions there are, as LLaMA's. */
  private static final int POSITIONS = 2048;

  /**
   * Reads keys.
   *
   * @param config the whole, or that of a text model inside
   * @param headDim elements of a head
   * @param base where nothing is said
   */
  static RotaryConfig of(FamilyConfig config, int headDim, double base) {
    return of(config, null, headDim, base);
  }

  /**
   * Reads keys of one type of layers, such as {@code full_attention}: if {@code rope_parameters}
   * has an object of that name, it; otherwise what holds for all.
   *
   * @param type of the layers, or null
   */
  static RotaryConfig of(FamilyConfig config, String type, int headDim, double base) {
    FamilyConfig parameters = config.below(PARAMETERS);
    if (!config.has(PARAMETERS)) {
      FamilyConfig scaling = config.below("rope_scaling");
      return read(config, config, scaling, headDim, base);
    }
    config.refuse("rope_scaling");
    FamilyConfig own = type != null && parameters.has(type) ? parameters.below(type) : parameters;
    return read(config, own, own, headDim, base);
  }

  private static RotaryConfig read(
      FamilyConfig config, FamilyConfig keys, FamilyConfig scaling, int headDim, double base) {
    double theta = keys.number(BASE, base);
    if (!(theta > 1) || Double.isInfinite(theta)) {
      throw keys.expected(BASE, "a finite number above 1");
    }
    FamilyConfig partial = keys.has(FRACTION) ? keys : config;
    int dim = (int) (headDim * partial.number(FRACTION, 1));
    if (dim < 2 || dim % 2 != 0 || dim > headDim) {
      throw partial.has(FRACTION)
          ? partial.expected(FRACTION, "an even part of %d elements".formatted(headDim))
          : config.expected("head_dim", "an even number");
    }
    return new RotaryConfig(
        theta,
        dim,
        scaling(scaling, config.size("max_position_embeddings", POSITIONS)),
        config.positions(POSITIONS));
  }

  private static RotaryScaling scaling(FamilyConfig keys, int positions) {
    String key = keys.has("rope_type") ? "rope_type" : "type";
    String type = keys.text(key, "default");
    return switch (type) {
      case "default" -> {
        only(keys);
        yield RotaryScaling.none();
      }
      case "linear" -> {
        only(keys, FACTOR);
        yield new RotaryScaling.Linear(factor(keys));
      }
      case "dynamic" -> {
        only(keys, FACTOR, ORIGINAL);
        factor(keys);
        if (keys.size(ORIGINAL, positions) < positions) {
          throw keys.expected(ORIGINAL, "max_position_embeddings, %d".formatted(positions));
        }
        yield RotaryScaling.none();
      }
      case "yarn" -> yarn(keys, positions);
      case "llama3" -> {
        only(keys, FACTOR, "low_freq_factor", "high_freq_factor", ORIGINAL);
        double low = keys.number("low_freq_factor", 1);
        double high = keys.number("high_freq_factor", 4);
        if (!(low > 0)) {
          throw keys.expected("low_freq_factor", "a number above 0");
        }
        if (!(high > low)) {
          throw keys.expected("high_freq_factor", "a number above low_freq_factor");
        }
        yield new RotaryScaling.Llama3(factor(keys), low, high, keys.size(ORIGINAL));
      }
      default -> throw keys.expected(key, "one of default, dynamic, linear, llama3 and yarn");
    };
  }

  private static RotaryScaling yarn(FamilyConfig keys, int positions) {
    only(keys, FACTOR, ORIGINAL, MAGNITUDE, "beta_fast", "beta_slow", "truncate");
    keys.requireFlag("truncate", true);
    double factor = factor(keys);
    double magnitude = 0.1 * Math.log(factor) + 1;
    if (Math.abs(keys.number(MAGNITUDE, magnitude) - magnitude) > 1e-6) {
      throw keys.expected(MAGNITUDE, "0.1 · ln(factor) + 1 = %s".formatted(magnitude));
    }
    double fast = keys.number("beta_fast", 32);
    double slow = keys.number("beta_slow", 1);
    if (!(slow > 0)) {
      throw keys.expected("beta_slow", "a number above 0");
    }
    if (!(fast > slow)) {
      throw keys.expected("beta_fast", "a number above beta_slow");
    }
    return new RotaryScaling.Yarn(factor, keys.size(ORIGINAL, positions), fast, slow);
  }

  private static double factor(FamilyConfig keys) {
    double factor = keys.number(FACTOR, Double.NaN);
    if (!(factor >= 1) || Double.isInfinite(factor)) {
      throw keys.expected(FACTOR, "a finite number, 1 or more");
    }
    return factor;
  }

  private static void only(FamilyConfig keys, String... known) {
    Set<String> all = new HashSet<>(Set.of("rope_type", "type", BASE, FRACTION));
    all.addAll(Set.of(known));
    keys.only(all);
  }

  /** {@return the tables} */
  PositionalEncoding encoding(Arena arena) {
    return PositionalEncoding.rotary(
        Rotary.of(arena, positions, dim, base, Rotary.Pairing.HALVES, scaling));
  }
}
