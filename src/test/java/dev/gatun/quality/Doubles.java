package dev.gatun.quality;

import java.util.Arrays;

/** The mechanisms in double, from their formulas: one head, rows of which each may be skipped. */
final class Doubles {

  private Doubles() {}

  /** Whether a row sees a key. */
  interface Sight {
    boolean sees(int row, int key);
  }

  /** A score of a row and a key. */
  interface Score {
    double of(int row, int key);
  }

  static double dot(float[] a, int row, float[] b, int key, int dim) {
    double sum = 0;
    for (int i = 0; i < dim; i++) {
      sum += (double) a[row * dim + i] * b[key * dim + i];
    }
    return sum;
  }

  /** Weighted means of value codes, weights as softmax over the keys that are seen. */
  static double[] softmax(Task task, Score score, Sight sight) {
    int n = task.tokens();
    double[] out = new double[n * Task.VALUES];
    double[] weight = new double[n];
    for (int t = 0; t < n; t++) {
      if (task.targets()[t] < 0) {
        continue;
      }
      double most = Double.NEGATIVE_INFINITY;
      for (int j = 0; j < n; j++) {
        weight[j] = sight.sees(t, j) ? score.of(t, j) : Double.NEGATIVE_INFINITY;
        most = Math.max(most, weight[j]);
      }
      double sum = 0;
      for (int j = 0; j < n; j++) {
        weight[j] = Math.exp(weight[j] - most);
        sum += weight[j];
      }
      for (int j = 0; j < n; j++) {
        out[t * Task.VALUES + task.values()[j]] += weight[j] / sum;
      }
    }
    return out;
  }

  /** Linformer: softmax over sums of keys, of sums of values; by is {@code [projected][n]}. */
  static double[] projected(Task task, double factor, float[] by) {
    int n = task.tokens();
    int dim = task.dim();
    int projected = by.length / n;
    double[] keys = new double[projected * dim];
    double[] values = new double[projected * Task.VALUES];
    for (int p = 0; p < projected; p++) {
      for (int j = 0; j < n; j++) {
        double weight = by[p * n + j];
        values[p * Task.VALUES + task.values()[j]] += weight;
        for (int i = 0; weight != 0 && i < dim; i++) {
          keys[p * dim + i] += weight * task.keys()[j * dim + i];
        }
      }
    }
    double[] out = new double[n * Task.VALUES];
    double[] weight = new double[projected];
    for (int t = 0; t < n; t++) {
      for (int p = 0; p < projected; p++) {
        weight[p] = 0;
        for (int i = 0; i < dim; i++) {
          weight[p] += factor * task.queries()[t * dim + i] * keys[p * dim + i];
        }
      }
      double most = Arrays.stream(weight).max().orElseThrow();
      double sum = 0;
      for (int p = 0; p < projected; p++) {
        weight[p] = Math.exp(weight[p] - most);
        sum += weight[p];
      }
      for (int p = 0; p < projected; p++) {
        for (int v = 0; v < Task.VALUES; v++) {
          out[t * Task.VALUES + v] += weight[p] / sum * values[p * Task.VALUES + v];
        }
      }
    }
    return out;
  }

  /** Features of a row of codes. */
  interface Features {
    double[] of(float[] codes, int row);
  }

  /**
   * Weighted means of value codes, weights as products of features: sums over all keys first.
   *
   * @param normalized whether they are means, otherwise they are sums
   * @param causal whether a row sees no later keys
   */
  static double[] features(
      Task task, Features ofQueries, Features ofKeys, boolean normalized, boolean causal) {
    int n = task.tokens();
    int count = ofKeys.of(task.keys(), 0).length;
    double[] sums = new double[count * Task.VALUES];
    double[] weights = new double[count];
    double[] out = new double[n * Task.VALUES];
    int seen = 0;
    for (int t = 0; t < n; t++) {
      for (; seen < (causal ? t + 1 : n); seen++) {
        double[] key = ofKeys.of(task.keys(), seen);
        for (int f = 0; f < count; f++) {
          sums[f * Task.VALUES + task.values()[seen]] += key[f];
          weights[f] += key[f];
        }
      }
      double[] query = ofQueries.of(task.queries(), t);
      double sum = 0;
      for (int f = 0; f < count; f++) {
        sum += query[f] * weights[f];
        for (int v = 0; v < Task.VALUES; v++) {
          out[t * Task.VALUES + v] += query[f] * sums[f * Task.VALUES + v];
        }
      }
      for (int v = 0; normalized && v < Task.VALUES; v++) {
        out[t * Task.VALUES + v] /= sum;
      }
    }
    return out;
  }
}
