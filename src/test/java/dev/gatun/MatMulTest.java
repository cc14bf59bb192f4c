package dev.gatun;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;
import static org.junit.jupiter.api.DynamicTest.dynamicTest;

import dev.gatun.support.Run;
import java.lang.foreign.Arena;
import java.util.Random;
import java.util.stream.IntStream;
import java.util.stream.Stream;
import org.junit.jupiter.api.DynamicTest;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.TestFactory;
import org.junit.jupiter.api.function.Executable;

/**
 * Products against a double loop. The error of a float sum of k products is below k·2⁻²⁴·Σ|a·b|.
 */
class MatMulTest {

  private static final long SEED = 77;
  private static final int[] SIZES = {1, 2, 3, 7, 16, 31, 64, 65, 129, 200};

  private static MatMul product(int threads) {
    return Run.runtime(Run.bestTier(), threads).matMul();
  }

  /** A matrix with gaps, stored as it is or transposed. */
  private static Tensor matrix(
      Arena arena, Random random, int rows, int columns, boolean transposed) {
    int gap = random.nextInt(4);
    Tensor tensor =
        transposed
            ? Tensor.allocate(arena, DType.FLOAT32, columns, rows + gap)
                .slice(1, 0, rows)
                .transpose(0, 1)
            : Tensor.allocate(arena, DType.FLOAT32, rows, columns + gap).slice(1, 0, columns);
    float[] data = new float[rows * columns];
    for (int i = 0; i < data.length; i++) {
      data[i] = (float) random.nextGaussian();
    }
    tensor.copyFrom(data);
    return tensor;
  }

  @TestFactory
  Stream<DynamicTest> againstADoubleLoop() {
    return IntStream.range(0, 150)
        .mapToObj(
            n -> {
              Random random = new Random(SEED + n);
              int m = size(random);
              int columns = size(random);
              int k = n % 25 == 0 ? 0 : size(random);
              boolean[] transposed = {random.nextBoolean(), random.nextBoolean(), n % 3 == 0};
              float alpha = n % 4 == 0 ? 1 : (float) random.nextGaussian();
              float beta = n % 2 == 0 ? 0 : (float) random.nextGaussian();
              String name =
                  "%d x %d x %d, transposed %s %s %s, alpha %s beta %s (seed %d)"
                      .formatted(
                          m,
                          columns,
                          k,
                          transposed[0],
                          transposed[1],
                          transposed[2],
                          alpha,
                          beta,
                          SEED);
              return dynamicTest(
                  name,
                  () -> {
                    try (Arena arena = Arena.ofConfined()) {
                      Tensor a = matrix(arena, random, m, k, transposed[0]);
                      Tensor b = matrix(arena, random, k, columns, transposed[1]);
                      Tensor out = matrix(arena, random, m, columns, transposed[2]);
                      float[] before = out.toFloatArray();
                      if (beta == 0) {
                        out.fill(Float.NaN); // is not read
                      }
                      product(2).multiply(alpha, a, b, beta, out);
                      check(alpha, a, b, beta, before, out);
                    }
                  });
            });
  }

  private static int size(Random random) {
    return SIZES[random.nextInt(SIZES.length)];
  }

  private static void check(
      float alpha, Tensor a, Tensor b, float beta, float[] before, Tensor out) {
    int m = (int) out.size(0);
    int n = (int) out.size(1);
    int depth = (int) a.size(1);
    for (int i = 0; i < m; i++) {
      for (int j = 0; j < n; j++) {
        double want = beta == 0 ? 0 : (double) beta * before[i * n + j];
        double size = Math.abs(want);
        for (int x = 0; x < depth; x++) {
          double part = (double) alpha * a.getFloat(i, x) * b.getFloat(x, j);
          want += part;
          size += Math.abs(part);
        }
        assertEquals(want, out.getFloat(i, j), (depth + 4) * 0x1p-24 * size, i + "," + j);
      }
    }
  }

  @Test
  void bitsDoNotDependOnThreads() {
    Random random = new Random(SEED);
    try (Arena arena = Arena.ofConfined()) {
      for (int[] sizes : new int[][] {{300, 200, 170}, {37, 1100, 300}, {1025, 65, 64}}) {
        Tensor a = matrix(arena, random, sizes[0], sizes[2], false);
        Tensor b = matrix(arena, random, sizes[2], sizes[1], true);
        Tensor out = Tensor.allocate(arena, DType.FLOAT32, sizes[0], sizes[1]);
        product(1).multiply(a, b, out);
        float[] one = out.toFloatArray();
        for (int threads : new int[] {2, 5}) {
          out.fill(0);
          product(threads).multiply(a, b, out);
          Run.checkSameBits(one, out.toFloatArray(), threads + " threads");
        }
      }
    }
  }

  @Test
  void emptyProducts() {
    try (Arena arena = Arena.ofConfined()) {
      Tensor out = Tensor.allocate(arena, DType.FLOAT32, 2, 3);
      out.fill(5);
      Tensor a = Tensor.allocate(arena, DType.FLOAT32, 2, 0);
      Tensor b = Tensor.allocate(arena, DType.FLOAT32, 0, 3);
      product(2).multiply(1, a, b, 1, out);
      assertEquals(5, out.getFloat(1, 2));
      product(2).multiply(a, b, out);
      assertEquals(0, out.getFloat(1, 2));
      product(2)
          .multiply(
              Tensor.allocate(arena, DType.FLOAT32, 0, 4),
              Tensor.allocate(arena, DType.FLOAT32, 4, 3),
              Tensor.allocate(arena, DType.FLOAT32, 0, 3));
    }
  }

  @Test
  void ownWorkspaceAndChangingShapes() {
    GatunRuntime runtime = Run.runtime(Run.bestTier(), 2);
    Random random = new Random(SEED);
    try (Arena arena = Arena.ofConfined();
        Workspace workspace = runtime.newWorkspace()) {
      for (int n = 0; n < 10; n++) {
        Tensor a = matrix(arena, random, 1 + n, 5, n % 2 == 0);
        Tensor b = matrix(arena, random, 5, 3 + n, false);
        Tensor out = matrix(arena, random, 1 + n, 3 + n, n % 3 == 0);
        for (float beta : new float[] {0, 1}) {
          float[] before = out.toFloatArray();
          runtime.matMul().multiply(workspace, 1, a, b, beta, out);
          check(1, a, b, beta, before, out);
        }
      }
    }
  }

  @Test
  void refusals() {
    MatMul product = product(2);
    try (Arena arena = Arena.ofConfined()) {
      Tensor a = Tensor.allocate(arena, DType.FLOAT32, 4, 6);
      Tensor b = Tensor.allocate(arena, DType.FLOAT32, 6, 5);
      Tensor out = Tensor.allocate(arena, DType.FLOAT32, 4, 5);
      out.fill(3);
      refused("a: expected [m, k]", () -> product.multiply(a.reshape(2, 2, 6), b, out));
      refused(
          "b: expected [6, n] float32, got [5, 6]",
          () -> product.multiply(a, b.transpose(0, 1), out));
      refused(
          "out: expected [4, 5] float32, got [5, 4]",
          () -> product.multiply(a, b, out.transpose(0, 1)));
      refused("out: ", () -> product.multiply(a, b, out.asReadOnly()));
      refused(
          "b: expected [6, n] float32, got [6, 5] int32",
          () -> product.multiply(a, Tensor.allocate(arena, DType.INT32, 6, 5), out));
      Tensor spread = Tensor.allocate(arena, DType.FLOAT32, 4, 6, 2).select(2, 0);
      refused("a: expected a row-major matrix", () -> product.multiply(spread, b, out));
      Tensor repeated =
          Tensor.ofStrided(b.segment(), DType.FLOAT32, new long[] {6, 5}, new long[] {0, 1});
      refused("b: expected a row-major matrix", () -> product.multiply(a, repeated, out));
      Tensor square = Tensor.allocate(arena, DType.FLOAT32, 6, 6);
      refused("shared with a or b", () -> product.multiply(square, square, square));
      assertThrows(NullPointerException.class, () -> product.multiply(a, null, out));
      for (float x : out.toFloatArray()) {
        assertEquals(3, x);
      }
    }
  }

  private static void refused(String part, Executable executable) {
    String message = assertThrows(IllegalArgumentException.class, executable).getMessage();
    assertTrue(message.contains(part), message);
  }

  @Test
  void openBlasIsNamedAndHasNoThreads() {
    MatMul.BlasInfo info = product(2).info();
    assertFalse(info.coreName().isBlank());
    assertTrue(info.config().contains("OpenBLAS"), info.config());
    assertTrue(info.library().contains("libopenblas"), info.library());
    assertEquals(1, info.threads());
  }
}
