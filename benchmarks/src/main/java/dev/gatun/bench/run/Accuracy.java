package dev.gatun.bench.run;

import dev.gatun.bench.measure.Quartiles;
import java.util.Arrays;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;

/** How near the vectors of some texts are to those of a reference. */
final class Accuracy {

  private static final int NEAREST = 10;

  private Accuracy() {}

  static double cosine(float[] a, float[] b) {
    if (a.length != b.length) {
      throw new IllegalArgumentException(
          "vector: expected %d elements, got %d".formatted(b.length, a.length));
    }
    double dot = 0;
    double aa = 0;
    double bb = 0;
    for (int c = 0; c < a.length; c++) {
      dot += (double) a[c] * b[c];
      aa += (double) a[c] * a[c];
      bb += (double) b[c] * b[c];
    }
    return dot / Math.sqrt(aa * bb);
  }

  /**
   * For a JSON object: the median and the worst cosine of a text's two vectors, and what part of
   * the ten texts that are nearest to a text is the same by either.
   */
  static Map<String, Object> of(List<float[]> vectors, List<float[]> reference) {
    if (vectors.size() != reference.size()) {
      throw new IllegalArgumentException(
          "vectors: expected %d, got %d".formatted(reference.size(), vectors.size()));
    }
    double[] cosines = new double[vectors.size()];
    for (int i = 0; i < cosines.length; i++) {
      cosines[i] = cosine(vectors.get(i), reference.get(i));
    }
    int[][] nearest = nearest(vectors);
    int[][] expected = nearest(reference);
    int same = 0;
    int all = 0;
    for (int i = 0; i < nearest.length; i++) {
      for (int each : nearest[i]) {
        same += Arrays.stream(expected[i]).anyMatch(other -> other == each) ? 1 : 0;
        all++;
      }
    }
    Map<String, Object> map = new LinkedHashMap<>();
    map.put("texts", vectors.size());
    Arrays.sort(cosines);
    // six digits of a cosine would hide what is off: those of its distance from 1 do not
    map.put("distanceMedian", Quartiles.rounded(1 - Quartiles.quantile(cosines, 0.5)));
    map.put("distanceWorst", Quartiles.rounded(1 - cosines[0]));
    map.put("topTen", Quartiles.rounded(all == 0 ? 1 : (double) same / all));
    return map;
  }

  private static int[][] nearest(List<float[]> vectors) {
    int[][] nearest = new int[vectors.size()][];
    int count = Math.min(NEAREST, vectors.size() - 1);
    for (int i = 0; i < nearest.length; i++) {
      double[] near = new double[nearest.length];
      Integer[] order = new Integer[nearest.length];
      for (int j = 0; j < near.length; j++) {
        order[j] = j;
        near[j] = i == j ? -2 : cosine(vectors.get(i), vectors.get(j));
      }
      Arrays.sort(order, (a, b) -> Double.compare(near[b], near[a]));
      nearest[i] = Arrays.stream(order).limit(count).mapToInt(Integer::intValue).toArray();
    }
    return nearest;
  }
}
