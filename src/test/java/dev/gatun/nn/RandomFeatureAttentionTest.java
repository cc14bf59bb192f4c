package dev.gatun.nn;

import static dev.gatun.nn.Layers.SEED;
import static dev.gatun.nn.Layers.refused;
import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import dev.gatun.GatunRuntime;
import dev.gatun.Tensor;
import dev.gatun.support.Torch;
import java.lang.foreign.Arena;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.Test;

/** The Performer's attention against its definition in double, PyTorch, and the softmax. */
class RandomFeatureAttentionTest {

  /** Of max|expected|: exponents are products in float32, of which 1e-6 was measured. */
  private static final double BOUND = 1e-5;

  private final Arena arena = Arena.ofShared();
  private final Parts parts = new Parts(arena, SEED);

  @AfterEach
  void close() {
    arena.close();
  }

  @Test
  void isItsDefinition() {
    Tensor projection = RandomFeatureAttention.orthogonalProjection(arena, 50, 20, 3);
    for (boolean causal : new boolean[] {false, true}) {
      Tensor q = parts.normal(2, 80, 4, 20);
      Tensor k = parts.normal(2, 80, 2, 20);
      Tensor v = parts.normal(2, 80, 2, 24);
      Tensor out = parts.zeros(2, 80, 4, 24);
      RandomFeatureAttention mechanism =
          RandomFeatureAttention.of(parts.runtime, projection, causal);
      mechanism.forward(null, q, k, v, out);
      FeatureReference.check(
          "performer", FeatureReference.random(projection), causal, q, k, v, out, BOUND);
      if (causal) {
        Tensor stepped = parts.zeros(2, 80, 4, 24);
        LinearAttentionTest.step(mechanism, q, k, v, stepped);
        FeatureReference.check(
            "performer by steps",
            FeatureReference.random(projection),
            true,
            q,
            k,
            v,
            stepped,
            BOUND);
      }
    }
  }

  @Test
  void example() {
    GatunRuntime runtime = parts.runtime;
    Tensor q = parts.normal(1, 300, 2, 64);
    Tensor k = parts.normal(1, 300, 2, 64);
    Tensor v = parts.normal(1, 300, 2, 64);
    Tensor out = parts.zeros(1, 300, 2, 64);
    // example: performer
    Tensor projection =
        RandomFeatureAttention.orthogonalProjection(arena, 256, 64, 1); // features, headDim, seed
    AttentionMechanism performer = RandomFeatureAttention.of(runtime, projection, false);
    performer.forward(null, q, k, v, out); // [batch, seq, heads, headDim]
    // end
    FeatureReference.check("page", FeatureReference.random(projection), false, q, k, v, out, BOUND);
  }

  /** softmax over features and keys at once: the same ratio, in other functions. */
  @Test
  void isWhatPyTorchComputes() {
    int n = 30;
    Tensor projection = RandomFeatureAttention.orthogonalProjection(arena, 32, 16, 4);
    Tensor q = parts.normal(1, n, 1, 16);
    Tensor k = parts.normal(1, n, 1, 16);
    Tensor v = parts.normal(1, n, 1, 16);
    Tensor out = parts.zeros(1, n, 1, 16);
    RandomFeatureAttention.of(parts.runtime, projection, false).forward(null, q, k, v, out);
    try (Torch torch = Torch.float64()) {
      Torch.Array w = torch.array(projection.toFloatArray(), 32, 16);
      Torch.Array a = features(torch, q.toFloatArray(), w, n);
      Torch.Array b = features(torch, k.toFloatArray(), w, n);
      Torch.Array weights = torch.matmul(a, torch.transpose(b, 0, 1));
      double[] sums = torch.matmul(weights, torch.array(v.toFloatArray(), n, 16)).toDoubles();
      double[] means = torch.mean(weights, 1).toDoubles();
      for (int i = 0; i < n * 16; i++) {
        assertEquals(sums[i] / (n * means[i / 16]), FeatureReference.get(out, i), BOUND);
      }
    }
  }

  private static Torch.Array features(Torch torch, float[] x, Torch.Array w, int n) {
    Torch.Array scaled = torch.multiply(torch.array(x, n, 16), 0.5); // 16^(-1/4)
    Torch.Array half = torch.multiply(torch.mean(torch.multiply(scaled, scaled), 1), -8);
    Torch.Array exponents = torch.add(torch.linear(scaled, w, null), torch.reshape(half, n, 1));
    return torch.array(exponents.tensor().exp());
  }

  /**
   * Rows of a block are orthogonal; squared norms are those of normal vectors, headDim on average.
   */
  @Test
  void projectionsAreOrthogonal() {
    int dim = 32;
    Tensor w = RandomFeatureAttention.orthogonalProjection(arena, 1024, dim, 5);
    double squares = 0;
    for (int f = 0; f < 1024; f++) {
      for (int g = f / dim * dim; g <= f; g++) {
        double product = 0;
        for (int d = 0; d < dim; d++) {
          product += FeatureReference.get(w, f * dim + d) * FeatureReference.get(w, g * dim + d);
        }
        if (g == f) {
          squares += product;
        } else {
          assertEquals(0, product, 1e-4, "rows " + f + " and " + g);
        }
      }
    }
    assertEquals(dim, squares / 1024, 1); // standard deviation √(2 · 32 / 1024)
    assertArrayEquals(
        w.toFloatArray(),
        RandomFeatureAttention.orthogonalProjection(arena, 1024, dim, 5).toFloatArray());
  }

  /** The error falls with the square root of the features, here with |x'| = 1. */
  @Test
  void errorFallsWithTheRootOfFeatures() {
    int n = 24;
    int dim = 64;
    int[] features = {64, 128, 256, 512, 1024};
    double[] squares = new double[features.length];
    double sum = 0;
    for (int seed = 0; seed < 20; seed++) {
      Tensor q = unit(n, dim);
      Tensor k = unit(n, dim);
      Tensor v = parts.normal(1, n, 1, dim);
      Tensor exact = parts.zeros(1, n, 1, dim);
      softmax(q, k, v, exact);
      for (int m = 0; m < features.length; m++) {
        Tensor projection =
            RandomFeatureAttention.orthogonalProjection(arena, features[m], dim, 100 + seed);
        Tensor out = parts.zeros(1, n, 1, dim);
        RandomFeatureAttention.of(parts.runtime, projection, false).forward(null, q, k, v, out);
        for (int i = 0; i < n * dim; i++) {
          double off = FeatureReference.get(out, i) - FeatureReference.get(exact, i);
          squares[m] += off * off;
        }
      }
      for (int i = 0; i < n * dim; i++) {
        sum += Math.pow(FeatureReference.get(exact, i), 2);
      }
    }
    double slope = 0;
    double spread = 0;
    for (int m = 0; m < features.length; m++) { // least squares; the logarithms are evenly spaced
      double x = m - 2;
      slope += x * Math.log(Math.sqrt(squares[m] / sum)) / Math.log(2);
      spread += x * x;
    }
    slope /= spread;
    System.out.printf(
        "performer: slope %.3f, errors %.3f to %.3f%n",
        slope, Math.sqrt(squares[0] / sum), Math.sqrt(squares[features.length - 1] / sum));
    assertTrue(Math.abs(slope + 0.5) <= 0.1, "slope " + slope);
  }

  /** Rows of length headDim^(1/4). */
  private Tensor unit(int n, int dim) {
    float[] x = new float[n * dim];
    for (int i = 0; i < n; i++) {
      double square = 0;
      for (int d = 0; d < dim; d++) {
        x[i * dim + d] = (float) parts.random.nextGaussian();
        square += x[i * dim + d] * x[i * dim + d];
      }
      for (int d = 0; d < dim; d++) {
        x[i * dim + d] *= (float) (Math.pow(dim, 0.25) / Math.sqrt(square));
      }
    }
    return Tensor.copyOf(arena, x, 1, n, 1, dim);
  }

  private static void softmax(Tensor q, Tensor k, Tensor v, Tensor out) {
    int n = (int) q.size(1);
    int dim = (int) q.size(3);
    for (int i = 0; i < n; i++) {
      double[] query = FeatureReference.vector(q, 0, i, 0);
      double[] want = new double[dim];
      double total = 0;
      for (int j = 0; j < n; j++) {
        double[] key = FeatureReference.vector(k, 0, j, 0);
        double score = 0;
        for (int d = 0; d < dim; d++) {
          score += query[d] * key[d];
        }
        double weight = Math.exp(score / Math.sqrt(dim));
        total += weight;
        double[] value = FeatureReference.vector(v, 0, j, 0);
        for (int d = 0; d < dim; d++) {
          want[d] += weight * value[d];
        }
      }
      for (int d = 0; d < dim; d++) {
        out.segment()
            .setAtIndex(
                java.lang.foreign.ValueLayout.JAVA_FLOAT,
                (long) i * dim + d,
                (float) (want[d] / total));
      }
    }
  }

  @Test
  void refusesWhatDoesNotFit() {
    Tensor w = RandomFeatureAttention.orthogonalProjection(arena, 10, 8, 1);
    RandomFeatureAttention mechanism = RandomFeatureAttention.of(parts.runtime, w, true);
    Tensor q = parts.normal(1, 5, 2, 9);
    refused(
        "projection: expected 9 columns",
        () -> mechanism.forward(null, q, q, q, parts.zeros(1, 5, 2, 9)));
    refused("projection: ", () -> RandomFeatureAttention.of(parts.runtime, q, true));
    refused("features: ", () -> RandomFeatureAttention.orthogonalProjection(arena, 0, 8, 1));
    refused("headDim: ", () -> RandomFeatureAttention.orthogonalProjection(arena, 8, 513, 1));
    assertEquals("performer", mechanism.name());
    assertEquals(2 * 10 * 10, mechanism.stateFloats(2, 1, 8, 8));
  }
}
