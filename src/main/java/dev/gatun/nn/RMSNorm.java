package dev.gatun.nn;

import dev.gatun.GatunRuntime;
import dev.gatun.Tensor;

/**
 * Root mean square normalization (Zhang and Sennrich 2019): {@code t / sqrt(mean(t²) + epsilon) ·
 * gamma} for each row t on its own. T5's and LLaMA's.
 */
public final class RMSNorm extends Norm {

  /**
   * Makes a layer.
   *
   * @param runtime where it runs
   * @param gamma {@code [dim]}
   * @param epsilon added to the mean square, {@code >= 0} and finite
   */
  public RMSNorm(GatunRuntime runtime, Tensor gamma, float epsilon) {
    super(runtime, true, gamma, null, epsilon);
  }
}
