package dev.gatun.model;

/** Weights of another place, which may have other names there. */
interface WeightView extends Weights {

  /** {@return what this is a view of} */
  Weights weights();

  /** {@return what that calls a weight which has this name here} */
  default String nameBelow(String name) {
    return name;
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
