package dev.gatun.cli.compare;

import java.util.Arrays;
import java.util.random.RandomGenerator;

/**
 * What the scale 1/√d is for: the softmax of a query's scores with and without it, for q and k ~
 * N(0, 1). All in double.
 *
 * @param headDim d
 * @param entropy of the probabilities, mean over queries, in nats; at most ln(keys)
 * @param gradient Frobenius norm of the softmax's derivative, diag(p) - ppᵀ: median over queries
 * @param saturated share of queries for which one key has more than 0.99
 * @param unscaledEntropy without the scale
 * @param unscaledGradient likewise
 * @param unscaledSaturated likewise
 */
public record Saturation(
    int headDim,
    double entropy,
    double gradient,
    double saturated,
    double unscaledEntropy,
    double unscaledGradient,
    double unscaledSaturated) {

  /** Keys that a query sees. */
  public static final int KEYS = 256;

  /** Queries, each with keys of its own. */
  public static final int QUERIES = 1000;

  private static final int LEAST_DIM = 16;
  private static final int MOST_DIM = 512;
  private static final double ALMOST_ONE = 0.99;

  /** {@return a row for each head dimension, doubling from 16 to 512} */
  public static Saturation[] all() {
    int count = Integer.numberOfTrailingZeros(MOST_DIM / LEAST_DIM) + 1;
    Saturation[] all = new Saturation[count];
    Arrays.setAll(all, n -> of(LEAST_DIM << n));
    return all;
  }

  static Saturation of(int headDim) {
    RandomGenerator random = Inputs.random(headDim);
    double[][] scores = new double[QUERIES][KEYS];
    for (double[] row : scores) {
      double squares = 0;
      for (int d = 0; d < headDim; d++) {
        squares += Math.pow(random.nextGaussian(), 2);
      }
      // q · k for a given q and k ~ N(0, 1) is N(0, |q|²): no key has to be drawn element by
      // element.
      double size = Math.sqrt(squares);
      Arrays.setAll(row, j -> size * random.nextGaussian());
    }
    Facts scaled = facts(scores, 1 / Math.sqrt(headDim));
    Facts unscaled = facts(scores, 1);
    return new Saturation(
        headDim,
        scaled.entropy,
        scaled.gradient,
        scaled.saturated,
        unscaled.entropy,
        unscaled.gradient,
        unscaled.saturated);
  }

  private record Facts(double entropy, double gradient, double saturated) {}

  private static Facts facts(double[][] scores, double scale) {
    double entropy = 0;
    double saturated = 0;
    double[] gradients = new double[scores.length];
    for (int i = 0; i < scores.length; i++) {
      double[] p = softmax(scores[i], scale);
      entropy += entropy(p) / scores.length;
      gradients[i] = gradient(p);
      saturated += Arrays.stream(p).max().orElse(0) > ALMOST_ONE ? 1.0 / scores.length : 0;
    }
    Arrays.sort(gradients);
    return new Facts(entropy, Quartiles.at(gradients, 0.5), saturated);
  }

  static double[] softmax(double[] scores, double scale) {
    double most = Arrays.stream(scores).max().orElse(0);
    double[] p = Arrays.stream(scores).map(s -> Math.exp(scale * (s - most))).toArray();
    double sum = Arrays.stream(p).sum();
    return Arrays.stream(p).map(e -> e / sum).toArray();
  }

  static double entropy(double[] p) {
    return -Arrays.stream(p).map(x -> x == 0 ? 0 : x * Math.log(x)).sum();
  }

  /**
   * Of diag(p) - ppᵀ: the diagonal has p(1 - p), the rest -p·p'. What belongs to the largest is
   * added up from the others, so that nothing cancels where it is almost 1.
   */
  static double gradient(double[] p) {
    int largest = 0;
    for (int j = 1; j < p.length; j++) {
      largest = p[j] > p[largest] ? j : largest;
    }
    double rest = 0;
    double squares = 0;
    double fourths = 0;
    double diagonal = 0;
    for (int j = 0; j < p.length; j++) {
      if (j != largest) {
        double square = p[j] * p[j];
        rest += p[j];
        squares += square;
        fourths += square * square;
        diagonal += square * (1 - p[j]) * (1 - p[j]);
      }
    }
    double most = p[largest] * p[largest];
    diagonal += most * rest * rest;
    return Math.sqrt(diagonal + 2 * most * squares + Math.max(0, squares * squares - fourths));
  }
}
