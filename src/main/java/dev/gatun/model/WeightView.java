package dev.gatun.model;

import dev.gatun.Tensor;
import java.util.Set;

/**
 * Weights of another place, which may have other names there. What a view does not say otherwise is
 * as it is there, under the same name.
 */
interface WeightView extends Weights {

  /** {@return what this is a view of} */
  Weights weights();

  /** {@return what that calls a weight which has this name here} */
  default String nameBelow(String name) {
    return name;
  }

  @Override
  default Tensor stored(String name) {
    return weights().stored(name);
  }

  @Override
  default Tensor scales(String name) {
    return weights().scales(name);
  }

  @Override
  default int zeroPoint(String name) {
    return weights().zeroPoint(name);
  }

  @Override
  default Set<String> names() {
    return weights().names();
  }

  /** {@return the first of a type among weights and what they are views of; null if none is} */
  static <T extends Weights> T find(Weights weights, Class<T> type) {
    Weights each = weights;
    while (!type.isInstance(each)) {
      if (!(each instanceof WeightView view)) {
        return null;
      }
      each = view.weights();
    }
    return type.cast(each);
  }

  /** {@return what weights come from in the end: a file, or a map} */
  static Weights source(Weights weights) {
    Weights each = weights;
    while (each instanceof WeightView view) {
      each = view.weights();
    }
    return each;
  }

  /** {@return what {@link #source} calls a weight} */
  static String sourceName(Weights weights, String name) {
    Weights each = weights;
    String found = name;
    while (each instanceof WeightView view) {
      found = view.nameBelow(found);
      each = view.weights();
    }
    return found;
  }
}
