package dev.gatun.nn;

import dev.gatun.Tensor;
import java.util.Arrays;

/** Recurrent layers in double, row by row, written from their formulas alone. */
final class Recurrence {

  /** What a step is. */
  enum Kind {
    LSTM(4),
    /** PyTorch's. */
    GRU(3),
    /** That of Bahdanau et al. 2015, appendix A.1.1. */
    PAPER(3);

    final int gates;

    Kind(int gates) {
      this.gates = gates;
    }

    int stateSize(int hidden) {
      return this == LSTM ? 2 * hidden : hidden;
    }
  }

  private final Kind kind;
  private final int hidden;
  private final double[][] weightIh;
  private final double[][] weightHh;
  private final double[] biasIh;
  private final double[] biasHh;

  Recurrence(Kind kind, RecurrentWeights weights) {
    this.kind = kind;
    this.hidden = (int) weights.weightHh().size(1);
    this.weightIh = rows(weights.weightIh());
    this.weightHh = rows(weights.weightHh());
    this.biasIh = vector(weights.biasIh(), weightIh.length);
    this.biasHh = vector(weights.biasHh(), weightIh.length);
  }

  static double[][] rows(Tensor tensor) {
    int columns = (int) tensor.size(1);
    float[] all = tensor.toFloatArray();
    double[][] rows = new double[all.length / columns][columns];
    for (int n = 0; n < all.length; n++) {
      rows[n / columns][n % columns] = all[n];
    }
    return rows;
  }

  private static double[] vector(Tensor tensor, int size) {
    double[] vector = new double[size];
    for (int n = 0; n < size && tensor != null; n++) {
      vector[n] = tensor.getFloat(n);
    }
    return vector;
  }

  private static double dot(double[] a, double[] b) {
    double sum = 0;
    for (int n = 0; n < b.length; n++) {
      sum += a[n] * b[n];
    }
    return sum;
  }

  private static double sigma(double a) {
    return 1 / (1 + Math.exp(-a));
  }

  /** The outputs of a sequence's rows, in their places; state becomes that behind the last step. */
  double[][] run(double[][] x, boolean backward, double[] state) {
    double[][] out = new double[x.length][];
    for (int step = 0; step < x.length; step++) {
      int row = backward ? x.length - 1 - step : step;
      step(x[row], state);
      out[row] = Arrays.copyOf(state, hidden);
    }
    return out;
  }

  private double input(int block, int n, double[] x) {
    int row = block * hidden + n;
    return dot(weightIh[row], x) + biasIh[row];
  }

  private double product(int block, int n, double[] h) {
    int row = block * hidden + n;
    return dot(weightHh[row], h) + biasHh[row];
  }

  void step(double[] x, double[] state) {
    double[] h = Arrays.copyOf(state, hidden);
    double[] reset = new double[hidden];
    for (int n = 0; n < hidden && kind == Kind.PAPER; n++) {
      reset[n] = sigma(input(0, n, x) + product(0, n, h)) * h[n];
    }
    for (int n = 0; n < hidden; n++) {
      if (kind == Kind.LSTM) {
        double i = sigma(input(0, n, x) + product(0, n, h));
        double f = sigma(input(1, n, x) + product(1, n, h));
        double g = Math.tanh(input(2, n, x) + product(2, n, h));
        double o = sigma(input(3, n, x) + product(3, n, h));
        state[hidden + n] = f * state[hidden + n] + i * g;
        state[n] = o * Math.tanh(state[hidden + n]);
      } else {
        double z = sigma(input(1, n, x) + product(1, n, h));
        if (kind == Kind.GRU) {
          double r = sigma(input(0, n, x) + product(0, n, h));
          double candidate = Math.tanh(input(2, n, x) + r * product(2, n, h));
          state[n] = (1 - z) * candidate + z * h[n];
        } else {
          state[n] = (1 - z) * h[n] + z * Math.tanh(input(2, n, x) + product(2, n, reset));
        }
      }
    }
  }
}
