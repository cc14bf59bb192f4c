package dev.gatun.cli;

import java.util.LinkedHashMap;
import java.util.Map;

/** Variables of the environment that make OpenBLAS run otherwise than it would by itself. */
final class OpenBlasEnvironment {
  private static final Map<String, String> EFFECTS = new LinkedHashMap<>();

  static {
    EFFECTS.put("OPENBLAS_CORETYPE", "kernels");
    EFFECTS.put("OPENBLAS_L2_SIZE", "sizes of blocks");
    EFFECTS.put("OPENBLAS_BLOCK_FACTOR", "sizes of blocks");
  }

  private OpenBlasEnvironment() {}

  /** {@return for each variable that is set its value and its effect; none if OpenBLAS chooses} */
  static Map<String, String> forced() {
    return forced(System.getenv());
  }

  static Map<String, String> forced(Map<String, String> environment) {
    Map<String, String> forced = new LinkedHashMap<>();
    EFFECTS.forEach(
        (variable, effect) -> {
          String value = environment.get(variable);
          if (value != null) {
            forced.put(
                variable,
                "%s (forces its %s; without it OpenBLAS chooses them by the CPU)"
                    .formatted(value, effect));
          }
        });
    return forced;
  }
}
