package dev.gatun.bench;

import java.util.Arrays;
import java.util.LinkedHashMap;
import java.util.Map;

/**
 * Median and quartiles of samples.
 *
 * @param median the middle one
 * @param q1 a quarter is below it
 * @param q3 a quarter is above it
 * @param count how many there were
 */
public record Spread(double median, double q1, double q3, int count) {

  /** Takes samples in any order. */
  public static Spread of(double... samples) {
    double[] sorted = samples.clone();
    Arrays.sort(sorted);
    return new Spread(
        quantile(sorted, 0.5), quantile(sorted, 0.25), quantile(sorted, 0.75), sorted.length);
  }

  /** A quantile of sorted samples, linear between two of them. */
  public static double quantile(double[] sorted, double part) {
    if (sorted.length == 0) {
      return Double.NaN;
    }
    double place = part * (sorted.length - 1);
    int below = (int) place;
    int above = Math.min(below + 1, sorted.length - 1);
    return sorted[below] + (place - below) * (sorted[above] - sorted[below]);
  }

  /** For a JSON object. */
  Map<String, Object> toMap() {
    Map<String, Object> map = new LinkedHashMap<>();
    map.put("median", median);
    map.put("q1", q1);
    map.put("q3", q3);
    map.put("count", count);
    return map;
  }
}
