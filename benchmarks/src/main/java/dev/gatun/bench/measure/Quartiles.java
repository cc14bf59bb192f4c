package dev.gatun.bench.measure;

import java.math.BigDecimal;
import java.math.MathContext;
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
public record Quartiles(double median, double q1, double q3, int count) {

  /** Takes samples in any order. */
  public static Quartiles of(double... samples) {
    double[] sorted = samples.clone();
    Arrays.sort(sorted);
    return new Quartiles(
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

  /** For a JSON object, with six digits. */
  public Map<String, Object> toMap() {
    Map<String, Object> map = new LinkedHashMap<>();
    map.put("median", rounded(median));
    map.put("q1", rounded(q1));
    map.put("q3", rounded(q3));
    map.put("count", count);
    return map;
  }

  /** Reads such an object. */
  public static Quartiles fromMap(Object object) {
    Map<?, ?> map = (Map<?, ?>) object;
    Object count = map.get("count");
    return new Quartiles(
        number(map.get("median")),
        number(map.get("q1")),
        number(map.get("q3")),
        count == null ? 0 : (int) number(count));
  }

  private static double number(Object value) {
    return ((Number) value).doubleValue();
  }

  /** Six digits of a number. */
  public static double rounded(double value) {
    return Double.isFinite(value)
        ? new BigDecimal(value).round(new MathContext(6)).doubleValue()
        : value;
  }
}
