package dev.gatun;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.lang.foreign.Arena;
import java.lang.foreign.ValueLayout;
import java.util.Random;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.Test;

/**
 * The programs of docs/family/pitfalls.md and docs/family/flash.md, and the numbers there; {@code
 * DocsTest} compares programs and pages.
 */
class PitfallsTest {
  private final Arena arena = Arena.ofConfined();
  private final Random random = new Random(20261130);
  private final GatunRuntime runtime = GatunRuntime.builder().threads(2).build();

  @AfterEach
  void close() {
    runtime.close();
    arena.close();
  }

  private Tensor normal(long... shape) {
    Tensor tensor = Tensor.allocate(arena, DType.FLOAT32, shape);
    for (long n = 0; n < tensor.elements(); n++) {
      tensor.segment().setAtIndex(ValueLayout.JAVA_FLOAT, n, (float) random.nextGaussian());
    }
    return tensor;
  }

  @Test
  void memoryOfAllScores() {
    // example: pitfall-memory
    Attention attention = runtime.attention(AttentionSpec.standard());
    int n = 16384;
    long scores = 4L * n * n; // the matrix of one head: 1 GiB
    long scratch = attention.plan(1, 1, 1, n, n, 64, false).workspaceBytes(); // all threads
    // end
    assertEquals(1L << 30, scores);
    assertTrue(scratch < 1 << 20, "workspace " + scratch);
    long longer = attention.plan(1, 1, 1, 4L * n, 4L * n, 64, false).workspaceBytes();
    assertEquals(scratch, longer, "scratch does not grow with the length");
  }

  private static final int TOKENS = 100;

  /** Where a row of the other order comes from: no order that a mirror or a shift would undo. */
  private static int from(int row) {
    return (37 * row + 11) % TOKENS;
  }

  private Tensor shuffle(Tensor x) {
    Tensor other = Tensor.allocate(arena, DType.FLOAT32, x.shape());
    for (int row = 0; row < TOKENS; row++) {
      other.slice(1, row, row + 1).copyFrom(x.slice(1, from(row), from(row) + 1));
    }
    return other;
  }

  private static double largestDifference(Tensor a, Tensor b) {
    float[] left = a.toFloatArray();
    float[] right = b.toFloatArray();
    double most = 0;
    for (int n = 0; n < left.length; n++) {
      most = Math.max(most, Math.abs(left[n] - right[n]));
    }
    return most;
  }

  /** Rows of Vaswani et al., 2017, section 3.5, added. */
  private static void addPositions(Tensor x) {
    for (int row = 0; row < TOKENS; row++) {
      for (int d = 0; d < 64; d++) {
        double angle = row / Math.pow(10_000, d / 2 * 2 / 64.0);
        double wave = d % 2 == 0 ? Math.sin(angle) : Math.cos(angle);
        x.setFloat((float) (x.getFloat(0, row, 0, d) + wave), 0, row, 0, d);
      }
    }
  }

  @Test
  void orderIsInvisible() {
    Tensor x = normal(1, TOKENS, 1, 64);
    Tensor shuffled = shuffle(x);
    Tensor out = Tensor.allocate(arena, DType.FLOAT32, 1, TOKENS, 1, 64);
    Tensor outShuffled = Tensor.allocate(arena, DType.FLOAT32, 1, TOKENS, 1, 64);
    // example: pitfall-permutation
    Attention attention = runtime.attention(AttentionSpec.standard());
    attention.forward(x, x, x, out);
    attention.forward(shuffled, shuffled, shuffled, outShuffled); // the same rows in another order
    // end
    // The same rows in that order, but for the order in which keys are added up.
    double without = largestDifference(shuffle(out), outShuffled);
    assertTrue(without < 4e-6, "without positions " + without);
    Attention causal =
        runtime.attention(AttentionSpec.builder().causal(Causal.BOTTOM_RIGHT).build());
    causal.forward(x, x, x, out);
    causal.forward(shuffled, shuffled, shuffled, outShuffled);
    double masked = largestDifference(shuffle(out), outShuffled);
    assertTrue(masked > 0.1, "with a causal mask " + masked);
    addPositions(x);
    addPositions(shuffled);
    attention.forward(x, x, x, out);
    attention.forward(shuffled, shuffled, shuffled, outShuffled);
    double with = largestDifference(shuffle(out), outShuffled);
    assertTrue(with > 0.1, "with positions " + with);
    System.out.printf(
        "permuted input, permuted output: off by %.1e, with positions %.2f, causal %.2f%n",
        without, with, masked);
  }

  @Test
  void withoutScaleTheSoftmaxSaturates() {
    int headDim = 512;
    Tensor q = normal(1, 200, 1, headDim);
    Tensor k = normal(1, 256, 1, headDim);
    Tensor p = Tensor.allocate(arena, DType.FLOAT32, 1, 1, 200, 256);
    Tensor saturated = Tensor.allocate(arena, DType.FLOAT32, 1, 1, 200, 256);
    // example: pitfall-scale
    Attention scaled = runtime.attention(AttentionSpec.standard()); // by 1/√headDim
    Attention unscaled = runtime.attention(AttentionSpec.builder().scale(1).build());
    scaled.map(q, k, p); // the probabilities
    unscaled.map(q, k, saturated);
    // end
    assertEquals(Math.log(256) - 0.5, entropy(p), 0.05);
    assertTrue(entropy(saturated) < 0.35, "unscaled " + entropy(saturated));
    System.out.printf(
        "entropy at headDim 512: %.2f nats, without scale %.2f%n", entropy(p), entropy(saturated));
  }

  /** Mean over rows. */
  private static double entropy(Tensor p) {
    double sum = 0;
    for (float x : p.toFloatArray()) {
      sum -= x == 0 ? 0 : x * Math.log(x);
    }
    return sum / p.size(2);
  }

  @Test
  void tilesGiveTheFormula() {
    Tensor q = normal(1, 300, 1, 64);
    Tensor k = normal(1, 300, 1, 64);
    Tensor v = normal(1, 300, 1, 64);
    Tensor out = Tensor.allocate(arena, DType.FLOAT32, 1, 300, 1, 64);
    // example: flash
    Attention attention = runtime.attention(AttentionSpec.standard());
    AttentionPlan plan = attention.plan(q, k, v, out);
    attention.forward(q, k, v, out);
    String tiles =
        "%d queries stay while tiles of %d keys pass".formatted(plan.taskLanes(), plan.tileKeys());
    // end
    assertTrue(tiles.endsWith("while tiles of 128 keys pass"), tiles);
    double worst = 0;
    for (int i = 0; i < 300; i++) {
      double[] p = new double[300];
      double sum = 0;
      for (int j = 0; j < 300; j++) {
        double score = 0;
        for (int d = 0; d < 64; d++) {
          score += (double) q.getFloat(0, i, 0, d) * k.getFloat(0, j, 0, d);
        }
        p[j] = Math.exp(score / 8);
        sum += p[j];
      }
      for (int d = 0; d < 64; d++) {
        double want = 0;
        for (int j = 0; j < 300; j++) {
          want += p[j] / sum * v.getFloat(0, j, 0, d);
        }
        worst = Math.max(worst, Math.abs(want - out.getFloat(0, i, 0, d)));
      }
    }
    assertTrue(worst < 5e-6, "off by " + worst); // design.md's bound, with S near 40 here
  }

  /** What docs/family/flash.md counts. */
  @Test
  void bytesOfTilesAndOfTheMatrix() {
    AttentionPlan plan =
        runtime.attention(AttentionSpec.standard()).plan(1, 1, 1, 16384, 16384, 64, false);
    double n = 16384;
    assertEquals(4 * n * n * 64, plan.flops());
    double matrix = 16 * n * n + 16 * n * 64;
    assertEquals(4.02, matrix / (1 << 30), 0.005);
    double tiles = 8 * n * n * 64 / plan.taskLanes() + 8 * n * 64;
    assertTrue(tiles < matrix / 3, plan.toString());
  }
}
