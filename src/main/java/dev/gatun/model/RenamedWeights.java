package dev.gatun.model;

import dev.gatun.Tensor;
import java.util.LinkedHashMap;
import java.util.Map;
import java.util.Set;
import java.util.function.UnaryOperator;

/** Weights under other names than their file has. */
final class RenamedWeights implements WeightView {
  private final Weights weights;

  /** To the names of the file. */
  private final Map<String, String> stored = new LinkedHashMap<>();

  /**
   * Renames.
   *
   * @param weights list their names
   * @param names gives each name its new one, or null for a weight that is left out
   * @throws IllegalArgumentException if two become one
   */
  RenamedWeights(Weights weights, UnaryOperator<String> names) {
    this.weights = weights;
    for (String name : weights.names()) {
      String renamed = names.apply(name);
      String other = renamed == null ? null : stored.put(renamed, name);
      if (other != null) {
        throw new IllegalArgumentException(
            "%s: expected one weight of that meaning, got %s and %s"
                .formatted(weights, other, name));
      }
    }
  }

  @Override
  public Weights weights() {
    return weights;
  }

  @Override
  public String nameBelow(String name) {
    return stored.getOrDefault(name, name);
  }

  @Override
  public Tensor find(String name) {
    String own = stored.get(name);
    return own == null ? null : weights.find(own);
  }

  @Override
  public Tensor stored(String name) {
    String own = stored.get(name);
    return own == null ? null : weights.stored(own);
  }

  @Override
  public Tensor scales(String name) {
    String own = stored.get(name);
    return own == null ? null : weights.scales(own);
  }

  @Override
  public int zeroPoint(String name) {
    String own = stored.get(name);
    return own == null ? 0 : weights.zeroPoint(own);
  }

  @Override
  public Set<String> names() {
    return stored.keySet();
  }

  /** Returns what messages call the weights. */
  @Override
  public String toString() {
    return weights.toString();
  }
}
