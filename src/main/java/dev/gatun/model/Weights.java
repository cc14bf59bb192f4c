package dev.gatun.model;

import dev.gatun.Tensor;
import java.util.Map;

/** Where a model's weights are found by name: a file, or a map. */
@FunctionalInterface
public interface Weights {

  /**
   * Finds a weight.
   *
   * @param name as the file has it
   * @return the weight, or null if there is none of that name
   */
  Tensor find(String name);

  /**
   * Weights of a map.
   *
   * @param map name to tensor
   * @return what the map holds when it is asked
   */
  static Weights of(Map<String, Tensor> map) {
    return map::get;
  }

  /**
   * Returns a weight that must be there.
   *
   * @param name as the file has it
   * @return the weight
   * @throws IllegalArgumentException if there is none of that name
   */
  default Tensor get(String name) {
    Tensor tensor = find(name);
    if (tensor == null) {
      throw new IllegalArgumentException("weights: expected " + name + ", got none of that name");
    }
    return tensor;
  }
}
