package dev.gatun.nn;

import static dev.gatun.nn.Layers.SEED;
import static dev.gatun.nn.Layers.refused;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import dev.gatun.DType;
import dev.gatun.GatunRuntime;
import dev.gatun.Tensor;
import dev.gatun.Workspace;
import dev.gatun.support.Placement;
import dev.gatun.support.Run;
import java.lang.foreign.Arena;
import java.util.Random;
import org.junit.jupiter.api.Tag;
import org.junit.jupiter.api.Test;

class LayerNormTest {

  private static final float EPSILON = 1e-5f;

  /** As gatun.h puts it: 2e-6 of the largest normalized element times gamma, and one rounding. */
  private static void check(float[] t, Tensor gamma, Tensor beta, float[] got) {
    int dim = (int) gamma.size(0);
    double mostGamma = 0;
    for (int i = 0; i < dim; i++) {
      mostGamma = Math.max(mostGamma, Math.abs(gamma.getFloat(i)));
    }
    assertEquals(t.length, got.length);
    for (int r = 0; r < t.length / dim; r++) {
      double mean = 0;
      for (int i = 0; i < dim; i++) {
        mean += (double) t[r * dim + i] / dim;
      }
      double variance = 0;
      double most = 0;
      for (int i = 0; i < dim; i++) {
        double deviation = t[r * dim + i] - mean;
        variance += deviation * deviation / dim;
        most = Math.max(most, Math.abs(deviation));
      }
      double factor = 1 / Math.sqrt(variance + EPSILON);
      for (int i = 0; i < dim; i++) {
        double want =
            (t[r * dim + i] - mean) * factor * gamma.getFloat(i)
                + (beta == null ? 0 : beta.getFloat(i));
        double bound = 2e-6 * most * factor * mostGamma + 0x1p-24 * Math.abs(want);
        assertEquals(want, got[r * dim + i], bound, "row " + r + ", column " + i);
      }
    }
  }

  private static float[] plus(Tensor a, Tensor b) {
    float[] sum = a.toFloatArray();
    float[] other = b.toFloatArray();
    for (int i = 0; i < sum.length; i++) {
      sum[i] += other[i];
    }
    return sum;
  }

  @Test
  void againstDoubles() {
    GatunRuntime runtime = Layers.runtime(2);
    Random random = new Random(SEED);
    for (int dim : new int[] {1, 2, 3, 5, 8, 15, 16, 17, 31, 33, 64, 70, 384, 1536}) {
      for (int variant = 0; variant < 16; variant++) {
        boolean gaps = (variant & 1) != 0;
        boolean withBeta = (variant & 2) != 0;
        boolean withResidual = (variant & 4) != 0;
        boolean withSum = (variant & 8) != 0;
        int rows = 1 + variant % 5;
        try (Arena arena = Arena.ofConfined()) {
          Tensor gamma = Layers.normal(arena, random, dim);
          Tensor beta = withBeta ? Layers.normal(arena, random, dim) : null;
          Placement.Placed x = Layers.rows(arena, rows, dim, gaps);
          x.tensor().copyFrom(Layers.draw(random, rows * dim, 1));
          Tensor residual = withResidual ? Layers.normal(arena, random, rows, dim) : null;
          Placement.Placed sum = Layers.rows(arena, rows, dim, !gaps);
          Placement.Placed out = Layers.rows(arena, rows, dim, gaps);
          float[] t = withResidual ? plus(x.tensor(), residual) : x.tensor().toFloatArray();
          LayerNorm layer = new LayerNorm(runtime, gamma, beta, EPSILON);
          assertEquals(dim, layer.dim());
          layer.forward(null, x.tensor(), residual, withSum ? sum.tensor() : null, out.tensor());
          check(t, gamma, beta, out.tensor().toFloatArray());
          if (withSum) {
            Run.checkSameBits(t, sum.tensor().toFloatArray(), "sum");
            sum.checkSurroundings();
          } else {
            sum.checkUntouched();
          }
          out.checkSurroundings();
        }
      }
    }
  }

  @Test
  void inPlace() {
    GatunRuntime runtime = Layers.runtime(2);
    Random random = new Random(SEED);
    try (Arena arena = Arena.ofConfined();
        Workspace workspace = runtime.newWorkspace()) {
      Tensor gamma = Layers.normal(arena, random, 37);
      Tensor beta = Layers.normal(arena, random, 37);
      LayerNorm layer = new LayerNorm(runtime, gamma, beta, EPSILON);
      Tensor x = Layers.normal(arena, random, 2, 3, 37);
      float[] before = x.toFloatArray();
      layer.forward(x, x);
      check(before, gamma, beta, x.toFloatArray());
      Tensor residual = Layers.normal(arena, random, 6, 37);
      float[] t = plus(x, residual);
      layer.forward(workspace, x, residual, null, residual);
      check(t, gamma, beta, residual.toFloatArray());
      // The stream of a pre-norm block: the sum replaces the residual.
      t = plus(x, residual);
      Tensor out = Tensor.allocate(arena, DType.FLOAT32, 6, 37);
      layer.forward(workspace, x, residual, residual, out);
      Run.checkSameBits(t, residual.toFloatArray(), "sum over residual");
      check(t, gamma, beta, out.toFloatArray());
    }
  }

  @Test
  void bitsDoNotDependOnThreads() {
    Random random = new Random(SEED);
    try (Arena arena = Arena.ofConfined()) {
      Tensor gamma = Layers.normal(arena, random, 384);
      Tensor x = Layers.normal(arena, random, 700, 384);
      Tensor out = Tensor.allocate(arena, DType.FLOAT32, 700, 384);
      Layers.checkBits(
          runtime -> new LayerNorm(runtime, gamma, null, EPSILON).forward(x, out), out);
    }
  }

  /** Far from zero, where the mean's rounding would be most of what is left. */
  @Test
  void largeMeans() {
    Random random = new Random(SEED);
    try (Arena arena = Arena.ofConfined()) {
      Tensor gamma = Layers.normal(arena, random, 100);
      LayerNorm layer = new LayerNorm(Layers.runtime(2), gamma, null, EPSILON);
      Tensor x = Layers.normal(arena, random, 5, 100);
      Tensor out = Tensor.allocate(arena, DType.FLOAT32, 5, 100);
      float[] data = x.toFloatArray();
      for (int i = 0; i < data.length; i++) {
        data[i] += 1000;
      }
      x.copyFrom(data);
      layer.forward(x, out);
      check(data, gamma, null, out.toFloatArray());
      x.fill(0.1f);
      layer.forward(x, out);
      for (float value : out.toFloatArray()) {
        assertTrue(value == 0, "got " + value);
      }
    }
  }

  @Test
  @Tag("asan")
  void refusals() {
    GatunRuntime runtime = Layers.runtime(2);
    try (Arena arena = Arena.ofConfined();
        Workspace foreign = Layers.runtime(1).newWorkspace()) {
      Tensor gamma = Tensor.allocate(arena, DType.FLOAT32, 6);
      refused("gamma:", () -> new LayerNorm(runtime, gamma.reshape(2, 3), null, 0));
      refused(
          "gamma:",
          () -> new LayerNorm(runtime, Tensor.allocate(arena, DType.FLOAT32, 0), null, 0));
      refused(
          "gamma:", () -> new LayerNorm(runtime, Tensor.allocate(arena, DType.INT32, 6), null, 0));
      Tensor spread = Tensor.allocate(arena, DType.FLOAT32, 6, 2).select(1, 0);
      refused("gamma:", () -> new LayerNorm(runtime, spread, null, 0));
      refused("beta:", () -> new LayerNorm(runtime, gamma, spread, 0));
      refused("beta:", () -> new LayerNorm(runtime, gamma, gamma.slice(0, 0, 5), 0));
      for (float epsilon : new float[] {-1e-12f, Float.NaN, Float.POSITIVE_INFINITY}) {
        refused("epsilon:", () -> new LayerNorm(runtime, gamma, null, epsilon));
      }
      assertThrows(NullPointerException.class, () -> new LayerNorm(null, gamma, null, 0));
      assertThrows(NullPointerException.class, () -> new LayerNorm(runtime, null, null, 0));

      LayerNorm layer = new LayerNorm(runtime, gamma, gamma, EPSILON);
      Tensor x = Tensor.allocate(arena, DType.FLOAT32, 4, 6);
      Placement.Placed outPlaced = Layers.rows(arena, 4, 6, false);
      Placement.Placed sumPlaced = Layers.rows(arena, 4, 6, false);
      Tensor out = outPlaced.tensor();
      Tensor sum = sumPlaced.tensor();
      refused("x:", () -> layer.forward(x.reshape(6, 4), out));
      refused("x:", () -> layer.forward(Tensor.allocate(arena, DType.INT32, 4, 6), out));
      refused("out:", () -> layer.forward(x, out.asReadOnly()));
      refused("out:", () -> layer.forward(x.slice(0, 0, 3), out));
      refused("residual:", () -> layer.forward(null, x, x.slice(0, 0, 3), sum, out));
      refused(
          "residual:",
          () -> layer.forward(null, x, Tensor.allocate(arena, DType.INT32, 4, 6), sum, out));
      refused("sum:", () -> layer.forward(null, x, x, sum.asReadOnly(), out));
      refused("sum:", () -> layer.forward(null, x, x, sum.reshape(3, 8), out));
      refused("workspace:", () -> layer.forward(foreign, x, null, sum, out));
      // Shared memory that is not one whole tensor.
      Tensor shifted = Tensor.of(outPlaced.slab(), DType.FLOAT32, 4, 6);
      refused("out: expected x itself", () -> layer.forward(shifted, out));
      refused("out: expected residual itself", () -> layer.forward(null, x, shifted, null, out));
      refused("out: expected memory of its own", () -> layer.forward(null, x, null, out, out));
      refused("sum: expected x itself", () -> layer.forward(null, shifted, null, out, sum));
      assertThrows(NullPointerException.class, () -> layer.forward(null, out));
      assertThrows(NullPointerException.class, () -> layer.forward(x, null));
      outPlaced.checkUntouched();
      sumPlaced.checkUntouched();
      layer.forward(null, x, null, sum, out);
    }
  }
}
