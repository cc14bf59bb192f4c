package dev.gatun.nn;

import static dev.gatun.nn.Layers.SEED;
import static dev.gatun.nn.Layers.refused;
import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import dev.gatun.GatunRuntime;
import dev.gatun.Tensor;
import dev.gatun.internal.LayerCall;
import dev.gatun.internal.LayerCalls;
import dev.gatun.internal.Matrix;
import dev.gatun.internal.SequenceRows;
import dev.gatun.support.Torch;
import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import java.util.function.UnaryOperator;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.Test;

/** Linear attention against its definition in double, and PyTorch. */
class LinearAttentionTest {

  /** Of max|expected|. Sums are of positive weights: 3e-7 was measured. */
  private static final double BOUND = 1e-5;

  private final Arena arena = Arena.ofShared();
  private final Parts parts = new Parts(arena, SEED);

  @AfterEach
  void close() {
    arena.close();
  }

  private static Matrix rows(Tensor t) {
    long columns = t.size(2) * t.size(3);
    return Matrix.of(t.segment(), t.size(0) * t.size(1), columns, columns);
  }

  /** Pieces of a causal call, over a state. */
  static void step(FeatureAttention mechanism, Tensor q, Tensor k, Tensor v, Tensor out) {
    int heads = (int) q.size(2);
    int kvHeads = (int) k.size(2);
    try (Arena memory = Arena.ofConfined()) {
      long floats = mechanism.stateFloats(heads, kvHeads, q.size(3), v.size(3));
      MemorySegment state = memory.allocate(ValueLayout.JAVA_FLOAT, q.size(0) * floats);
      Matrix[] all = {rows(q), rows(k), rows(v), rows(out)};
      long n = q.size(1);
      for (long i = 0, piece = 1; i < n; i += piece) {
        piece = Math.min(i == 3 ? 70 : 1, n - i);
        try (LayerCall call = LayerCalls.begin(mechanism.runtime(), null)) {
          SequenceRows some = SequenceRows.strided(call.scratch(), q.size(0), piece, n, 1);
          Matrix[] m = new Matrix[4];
          for (int t = 0; t < 4; t++) {
            MemorySegment from = all[t].segment().asSlice(i * all[t].stride() * 4);
            m[t] = call.scratch().view(from, piece, all[t].columns(), all[t].stride());
          }
          mechanism.attendState(call, heads, kvHeads, some, m[0], m[1], m[2], state, m[3]);
        }
      }
    }
  }

  @Test
  void isItsDefinition() {
    for (boolean causal : new boolean[] {false, true}) {
      Tensor q = parts.normal(2, 90, 4, 20);
      Tensor k = parts.normal(2, 90, 2, 20);
      Tensor v = parts.normal(2, 90, 2, 24);
      Tensor out = parts.zeros(2, 90, 4, 24);
      LinearAttention mechanism = new LinearAttention(parts.runtime, causal);
      mechanism.forward(null, q, k, v, out);
      FeatureReference.check("linear", FeatureReference::elu, causal, q, k, v, out, BOUND);
      if (causal) {
        Tensor stepped = parts.zeros(2, 90, 4, 24);
        step(mechanism, q, k, v, stepped);
        FeatureReference.check(
            "linear by steps", FeatureReference::elu, true, q, k, v, stepped, BOUND);
      }
    }
  }

  @Test
  void example() {
    GatunRuntime runtime = parts.runtime;
    Tensor q = parts.normal(1, 300, 4, 64);
    Tensor k = parts.normal(1, 300, 4, 64);
    Tensor v = parts.normal(1, 300, 4, 64);
    Tensor out = parts.zeros(1, 300, 4, 64);
    // example: linear
    AttentionMechanism linear = new LinearAttention(runtime, true); // causal
    linear.forward(null, q, k, v, out); // [batch, seq, heads, headDim]
    // end
    FeatureReference.check("page", FeatureReference::elu, true, q, k, v, out, BOUND);
  }

  @Test
  void featuresMayBeGiven() {
    Tensor q = parts.normal(1, 70, 2, 8);
    Tensor k = parts.normal(1, 70, 2, 8);
    Tensor v = parts.normal(1, 70, 2, 5);
    for (Tensor t : new Tensor[] {q, k}) { // positive
      for (long i = 0; i < t.elements(); i++) {
        float x = t.segment().getAtIndex(ValueLayout.JAVA_FLOAT, i);
        t.segment().setAtIndex(ValueLayout.JAVA_FLOAT, i, 0.1f + x * x);
      }
    }
    Tensor out = parts.zeros(1, 70, 2, 5);
    LinearAttention.featuresAsGiven(parts.runtime, true).forward(null, q, k, v, out);
    FeatureReference.check("features", UnaryOperator.identity(), true, q, k, v, out, BOUND);
  }

  /** φ(Q) (φ(K)ᵀ V) / (φ(Q) φ(K)ᵀ 1), and the same with a mask of pairs. */
  @Test
  void isWhatPyTorchComputes() {
    int n = 40;
    Tensor q = parts.normal(1, n, 1, 16);
    Tensor k = parts.normal(1, n, 1, 16);
    Tensor v = parts.normal(1, n, 1, 16);
    for (boolean causal : new boolean[] {false, true}) {
      Tensor out = parts.zeros(1, n, 1, 16);
      new LinearAttention(parts.runtime, causal).forward(null, q, k, v, out);
      try (Torch torch = Torch.float64()) {
        Torch.Array a = elu(torch, q.toFloatArray(), n);
        Torch.Array b = elu(torch, k.toFloatArray(), n);
        double[] mask = new double[n * n];
        for (int i = 0; i < n * n; i++) {
          mask[i] = causal && i % n > i / n ? 0 : 1;
        }
        Torch.Array weights =
            torch.multiply(torch.matmul(a, torch.transpose(b, 0, 1)), torch.array(mask, n, n));
        double[] sums = torch.matmul(weights, torch.array(v.toFloatArray(), n, 16)).toDoubles();
        double[] totals = torch.mean(weights, 1).toDoubles();
        for (int i = 0; i < n * 16; i++) {
          double want = sums[i] / (n * totals[i / 16]);
          assertEquals(want, FeatureReference.get(out, i), BOUND, "element " + i);
        }
      }
    }
  }

  /** relu(x) + exp(min(x, 0)). */
  private static Torch.Array elu(Torch torch, float[] x, int n) {
    Torch.Array a = torch.array(x, n, 16);
    Torch.Array below = torch.multiply(torch.relu(torch.multiply(a, -1)), -1);
    return torch.add(torch.relu(a), torch.array(below.tensor().exp()));
  }

  @Test
  void refusesWhatDoesNotFit() {
    LinearAttention causal = new LinearAttention(parts.runtime, true);
    Tensor q = parts.normal(1, 5, 2, 8);
    Tensor k = parts.normal(1, 6, 2, 8);
    Tensor out = parts.zeros(1, 5, 2, 8);
    refused("q: expected 6 rows", () -> causal.forward(null, q, k, k, out));
    refused("out: ", () -> causal.forward(null, q, q, q, q));
    Tensor wide = parts.zeros(1, 5, 1, 513);
    refused(
        "head dimension", () -> causal.forward(null, wide, wide, wide, parts.zeros(1, 5, 1, 513)));
    assertEquals("linear", causal.name());
    assertEquals(2 * 8 * 10, causal.stateFloats(2, 2, 8, 8));
    assertEquals(0, new LinearAttention(parts.runtime, false).stateFloats(2, 2, 8, 8));
  }

  @Test
  void laterRowsChangeNothing() {
    Tensor q = parts.normal(1, 100, 1, 8);
    Tensor out = parts.zeros(1, 100, 1, 8);
    LinearAttention mechanism = new LinearAttention(parts.runtime, true);
    mechanism.forward(null, q, q, q, out);
    float[] before = java.util.Arrays.copyOf(out.toFloatArray(), 80 * 8);
    q.segment().setAtIndex(ValueLayout.JAVA_FLOAT, 80 * 8, Float.NaN);
    mechanism.forward(null, q, q, q, out);
    float[] after = out.toFloatArray();
    assertArrayEquals(before, java.util.Arrays.copyOf(after, 80 * 8));
    assertTrue(Float.isNaN(after[80 * 8]));
  }
}
