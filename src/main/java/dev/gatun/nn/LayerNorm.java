package dev.gatun.nn;

import dev.gatun.GatunRuntime;
import dev.gatun.Tensor;

/**
 * Layer normalization (Ba, Kiros and Hinton 2016): {@code (t - mean) / sqrt(variance + epsilon) ·
 * gamma + beta} for each row t on its own.
 */
public final class LayerNorm extends Norm {

  /**
   * Makes a layer.
   *
   * @param runtime where it runs
   * @param gamma {@code [dim]}
   * @param beta {@code [dim]}, or null
   * @param epsilon added to the variance, {@code >= 0} and finite
   */
  public LayerNorm(GatunRuntime runtime, Tensor gamma, Tensor beta, float epsilon) {
    super(runtime, false, gamma, beta, epsilon);
  }
}
