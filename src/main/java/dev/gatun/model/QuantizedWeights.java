package dev.gatun.model;

import dev.gatun.Tensor;
import java.util.Collections;
import java.util.Map;
import java.util.Set;

/**
 * Weights of maps, with what belongs to those that are quantized.
 *
 * @param tensors by name
 * @param scales as of {@link Weights#scales}, of INT8 matrices and UINT8 tables
 * @param zeroPoints as of {@link Weights#zeroPoint}, of UINT8 tables
 */
record QuantizedWeights(
    Map<String, Tensor> tensors, Map<String, Tensor> scales, Map<String, Integer> zeroPoints)
    implements Weights {

  @Override
  public Tensor find(String name) {
    return tensors.get(name);
  }

  @Override
  public Tensor scales(String name) {
    return scales.get(name);
  }

  @Override
  public int zeroPoint(String name) {
    return zeroPoints.getOrDefault(name, 0);
  }

  @Override
  public Set<String> names() {
    return Collections.unmodifiableSet(tensors.keySet());
  }
}
