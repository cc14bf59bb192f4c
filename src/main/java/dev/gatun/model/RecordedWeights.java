package dev.gatun.model;

import dev.gatun.Tensor;
import dev.gatun.nn.PackedWeight;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.Set;
import java.util.TreeMap;
import java.util.TreeSet;

/**
 * Weights that keep a list of what a family's loader does with them, so that a file can be written
 * in which the same loader finds the same: what is packed, and what is used as it is. For use by
 * one thread.
 */
final class RecordedWeights implements WeightView {
  private final Weights weights;
  private final Set<String> found = new TreeSet<>();
  private final Set<String> matrices = new TreeSet<>();
  private final Set<String> tables = new TreeSet<>();
  private final Set<String> duplicates = new TreeSet<>();
  private final Map<String, PackedWeight> packed = new TreeMap<>();

  RecordedWeights(Weights weights) {
    this.weights = weights;
  }

  // ---- what loaders do -------------------------------------------------------------------------

  /** A table of embeddings, whose rows are read even if it is packed for a product as well. */
  static void table(Weights weights, String name) {
    RecordedWeights recorded = WeightView.find(weights, RecordedWeights.class);
    if (recorded != null) {
      recorded.tables.add(WeightView.sourceName(weights, name));
    }
  }

  /** A weight that has been compared with another one, which is used in its place. */
  static void duplicate(Weights weights, String name) {
    RecordedWeights recorded = WeightView.find(weights, RecordedWeights.class);
    if (recorded != null) {
      recorded.duplicates.add(WeightView.sourceName(weights, name));
    }
  }

  /**
   * Takes a weight that was packed.
   *
   * @param key of the product
   * @param names of its matrices in the file
   * @throws IllegalArgumentException if another one was packed under the key
   */
  void packed(String key, List<String> names, PackedWeight weight) {
    PackedWeight other = packed.putIfAbsent(key, weight);
    if (other != null && other.segment().mismatch(weight.segment()) >= 0) {
      throw new IllegalArgumentException(
          "%s: expected one packed weight, got %s and %s, which differ"
              .formatted(key, other, weight));
    }
    matrices.addAll(names);
  }

  // ---- what a file needs -----------------------------------------------------------------------

  /** {@return what is packed, by key} */
  Map<String, PackedWeight> packed() {
    return packed;
  }

  /** {@return names of what is used as it is, tables that are packed as well among them} */
  List<String> used() {
    List<String> used = new ArrayList<>(found);
    used.removeIf(
        name -> !tables.contains(name) && (matrices.contains(name) || duplicates.contains(name)));
    return used;
  }

  /**
   * {@return names of matrices of which nothing but the shape is asked beside the packed weight}
   */
  List<String> shapes() {
    List<String> shapes = new ArrayList<>(matrices);
    shapes.removeAll(tables);
    return shapes;
  }

  // ---- weights ---------------------------------------------------------------------------------

  @Override
  public Weights weights() {
    return weights;
  }

  private Tensor noted(String name, Tensor tensor) {
    if (tensor != null) {
      found.add(name);
    }
    return tensor;
  }

  @Override
  public Tensor find(String name) {
    return noted(name, weights.find(name));
  }

  @Override
  public Tensor stored(String name) {
    return noted(name, weights.stored(name));
  }

  /** What messages call the weights. */
  @Override
  public String toString() {
    return weights.toString();
  }
}
