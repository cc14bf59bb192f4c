package dev.gatun.model;

import java.util.Arrays;

/**
 * A vector with an element for each token of a vocabulary, of which few are not 0: what a search
 * engine's inverted index takes.
 *
 * @param ids of the tokens whose elements are not 0, ascending; not copied
 * @param weights the elements, one for each id; not copied
 */
public record SparseVector(int[] ids, float[] weights) {

  /** Wants a weight for each id, and the ids ascending. */
  public SparseVector {
    if (weights.length != ids.length) {
      throw new IllegalArgumentException(
          "weights: expected one for each of %d ids, got %d".formatted(ids.length, weights.length));
    }
    for (int n = 1; n < ids.length; n++) {
      if (ids[n] <= ids[n - 1]) {
        throw new IllegalArgumentException(
            "ids[%d]: expected more than %d, got %d".formatted(n, ids[n - 1], ids[n]));
      }
    }
  }

  /** {@return how many elements are not 0} */
  public int count() {
    return ids.length;
  }

  /**
   * Returns one element.
   *
   * @param id of a token
   * @return its weight, 0 if it is not among {@link #ids}
   */
  public float weight(int id) {
    int at = Arrays.binarySearch(ids, id);
    return at < 0 ? 0 : weights[at];
  }

  /**
   * Multiplies two vectors, in double: how well a text answers a question, as SPLADE ranks.
   *
   * @param other of the same vocabulary
   * @return the dot product
   */
  public double dot(SparseVector other) {
    double sum = 0;
    for (int a = 0, b = 0; a < ids.length && b < other.ids.length; ) {
      if (ids[a] == other.ids[b]) {
        sum += (double) weights[a++] * other.weights[b++];
      } else if (ids[a] < other.ids[b]) {
        a++;
      } else {
        b++;
      }
    }
    return sum;
  }

  @Override
  public boolean equals(Object other) {
    return other instanceof SparseVector vector
        && Arrays.equals(ids, vector.ids)
        && Arrays.equals(weights, vector.weights);
  }

  @Override
  public int hashCode() {
    return 31 * Arrays.hashCode(ids) + Arrays.hashCode(weights);
  }

  /** Returns how many elements are not 0. */
  @Override
  public String toString() {
    return "SparseVector(%d elements)".formatted(ids.length);
  }
}
