package dev.gatun.nn;

import static org.junit.jupiter.api.Assertions.assertTrue;

import dev.gatun.Tensor;
import java.lang.foreign.ValueLayout;
import java.util.function.Function;

/** Attention by products of features in double, pair by pair, as Katharopoulos et al. have it. */
final class FeatureReference {

  private FeatureReference() {}

  /** elu(x) + 1. */
  static double[] elu(double[] x) {
    double[] features = new double[x.length];
    for (int d = 0; d < x.length; d++) {
      features[d] = x[d] > 0 ? x[d] + 1 : Math.exp(x[d]);
    }
    return features;
  }

  /** Choromanski et al. (2021), Lemma 1. */
  static Function<double[], double[]> random(Tensor projection) {
    return x -> {
      double scale = Math.pow(x.length, -0.25);
      double[] features = new double[(int) projection.size(0)];
      for (int f = 0; f < features.length; f++) {
        double exponent = 0;
        for (int d = 0; d < x.length; d++) {
          double y = x[d] * scale;
          exponent += get(projection, f * x.length + d) * y - y * y / 2;
        }
        features[f] = Math.exp(exponent) / Math.sqrt(features.length);
      }
      return features;
    };
  }

  static double get(Tensor tensor, long index) {
    return tensor.segment().getAtIndex(ValueLayout.JAVA_FLOAT, index);
  }

  static double[] vector(Tensor t, long b, long i, long h) {
    double[] x = new double[(int) t.size(3)];
    for (int d = 0; d < x.length; d++) {
      x[d] = get(t, ((b * t.size(1) + i) * t.size(2) + h) * t.size(3) + d);
    }
    return x;
  }

  /** Every element of out, within a share of the largest; prints what it is off by. */
  static void check(
      String what,
      Function<double[], double[]> map,
      boolean causal,
      Tensor q,
      Tensor k,
      Tensor v,
      Tensor out,
      double bound) {
    double largest = 0;
    double error = 0;
    long group = q.size(2) / k.size(2);
    for (long b = 0; b < q.size(0); b++) {
      for (long h = 0; h < q.size(2); h++) {
        double[][] keys = new double[(int) k.size(1)][];
        for (int j = 0; j < keys.length; j++) {
          keys[j] = map.apply(vector(k, b, j, h / group));
        }
        for (long i = 0; i < q.size(1); i++) {
          double[] query = map.apply(vector(q, b, i, h));
          double[] want = new double[(int) v.size(3)];
          double total = 0;
          for (int j = 0; j < (causal ? i + 1 : keys.length); j++) {
            double weight = 0;
            for (int f = 0; f < query.length; f++) {
              weight += query[f] * keys[j][f];
            }
            total += weight;
            double[] value = vector(v, b, j, h / group);
            for (int c = 0; c < want.length; c++) {
              want[c] += weight * value[c];
            }
          }
          double[] got = vector(out, b, i, h);
          for (int c = 0; c < want.length; c++) {
            double exact = want[c] / total;
            largest = Math.max(largest, Math.abs(exact));
            double off = Math.abs(got[c] - exact);
            error = off <= error ? error : off;
          }
        }
      }
    }
    System.out.printf("%s: off by %.1e of max|expected|%n", what, error / largest);
    assertTrue(error <= bound * largest, "off by %g of %g".formatted(error, largest));
  }
}
