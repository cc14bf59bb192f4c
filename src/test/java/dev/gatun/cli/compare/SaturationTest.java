package dev.gatun.cli.compare;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.util.Arrays;
import java.util.Random;
import org.junit.jupiter.api.Test;

class SaturationTest {
  /** Frobenius norm of the matrix diag(p) - ppᵀ, element by element. */
  private static double norm(double[] p) {
    double squares = 0;
    for (int i = 0; i < p.length; i++) {
      for (int j = 0; j < p.length; j++) {
        squares += Math.pow((i == j ? p[i] : 0) - p[i] * p[j], 2);
      }
    }
    return Math.sqrt(squares);
  }

  @Test
  void gradientIsTheNormOfTheDerivative() {
    Random random = new Random(3);
    for (double scale : new double[] {0, 0.1, 1, 4, 10}) {
      double[] scores = random.doubles(50, -2, 2).toArray();
      double[] p = Saturation.softmax(scores, scale);
      assertEquals(1, Arrays.stream(p).sum(), 1e-14);
      assertEquals(norm(p), Saturation.gradient(p), 1e-13, "scale " + scale);
    }
    // Where one key has nearly all, 1 - p is known from the others alone: all four elements are
    // e⁻⁵⁰.
    double[] almost = Saturation.softmax(new double[] {50, 0}, 1);
    assertEquals(2 * Math.exp(-50), Saturation.gradient(almost), 1e-30);
  }

  @Test
  void entropyIsThatOfKnownDistributions() {
    assertEquals(Math.log(8), Saturation.entropy(Saturation.softmax(new double[8], 1)), 1e-14);
    assertEquals(0, Saturation.entropy(new double[] {0, 1, 0}), 1e-15); // -0.0
  }

  /** Drawing |q| and scores gives what drawing all elements of q and k gives. */
  @Test
  void scoresAreDotProductsOfNormalVectors() {
    Random random = new Random(4);
    int dim = 32;
    double entropy = 0;
    int queries = 300;
    for (int n = 0; n < queries; n++) {
      double[] q = random.doubles(dim).map(x -> random.nextGaussian()).toArray();
      double[] scores = new double[Saturation.KEYS];
      for (int j = 0; j < scores.length; j++) {
        for (double element : q) {
          scores[j] += element * random.nextGaussian();
        }
      }
      entropy += Saturation.entropy(Saturation.softmax(scores, 1)) / queries;
    }
    // Each query's entropy has a deviation of about 0.6: four of 300 queries' mean are 0.14.
    assertEquals(Saturation.of(dim).unscaledEntropy(), entropy, 0.2);
    assertTrue(entropy > 0.5);
  }
}
