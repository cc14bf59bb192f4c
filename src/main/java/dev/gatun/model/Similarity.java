package dev.gatun.model;

/**
 * How vectors of a model are compared. A greater score means more alike, as in
 * sentence-transformers: distances are negative.
 */
public enum Similarity {
  /** The cosine of the angle between two vectors, -1 .. 1; 0 if one has no length. */
  COSINE,
  /** The sum of the products. */
  DOT,
  /** The square root of the summed squares of the differences, negative. */
  EUCLIDEAN,
  /** The sum of the differences without their signs, negative. */
  MANHATTAN;

  /**
   * Compares two vectors; sums are in double, in the order of the elements.
   *
   * @param a a vector
   * @param b another one, of the same length
   * @return how alike they are
   * @throws IllegalArgumentException if their lengths differ
   */
  public double score(float[] a, float[] b) {
    if (a.length != b.length) {
      throw new IllegalArgumentException(
          "b: expected %d elements, as a has, got %d".formatted(a.length, b.length));
    }
    return switch (this) {
      case COSINE -> {
        double dot = dot(a, b);
        yield dot == 0 ? 0 : dot / (Math.sqrt(dot(a, a)) * Math.sqrt(dot(b, b)));
      }
      case DOT -> dot(a, b);
      case EUCLIDEAN -> -Math.sqrt(difference(a, b, true));
      case MANHATTAN -> -difference(a, b, false);
    };
  }

  private static double dot(float[] a, float[] b) {
    double sum = 0;
    for (int i = 0; i < a.length; i++) {
      sum += (double) a[i] * b[i];
    }
    return sum;
  }

  private static double difference(float[] a, float[] b, boolean squared) {
    double sum = 0;
    for (int i = 0; i < a.length; i++) {
      double difference = (double) a[i] - b[i];
      sum += squared ? difference * difference : Math.abs(difference);
    }
    return sum;
  }
}
