package dev.gatun.cli.compare;

import java.util.Arrays;

/**
 * Times of a call, in nanoseconds.
 *
 * @param first a quarter of the runs were not slower
 * @param median half of them were not
 * @param third three quarters were not
 * @param runs how many there were
 */
public record Quartiles(double first, double median, double third, int runs) {

  static Quartiles of(double[] values) {
    double[] sorted = values.clone();
    Arrays.sort(sorted);
    return new Quartiles(at(sorted, 0.25), at(sorted, 0.5), at(sorted, 0.75), sorted.length);
  }

  /** Between two runs in proportion. */
  static double at(double[] sorted, double share) {
    double place = share * (sorted.length - 1);
    int below = (int) place;
    int above = Math.min(sorted.length - 1, below + 1);
    return sorted[below] + (place - below) * (sorted[above] - sorted[below]);
  }
}
