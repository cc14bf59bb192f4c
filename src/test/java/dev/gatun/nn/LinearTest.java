package dev.gatun.nn;

import static dev.gatun.nn.Layers.SEED;
import static dev.gatun.nn.Layers.refused;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.DynamicTest.dynamicTest;

import dev.gatun.Activation;
import dev.gatun.DType;
import dev.gatun.GatunRuntime;
import dev.gatun.Tensor;
import dev.gatun.Workspace;
import dev.gatun.support.Placement;
import dev.gatun.support.Run;
import java.lang.foreign.Arena;
import java.util.Arrays;
import java.util.Random;
import java.util.stream.IntStream;
import java.util.stream.Stream;
import org.junit.jupiter.api.DynamicTest;
import org.junit.jupiter.api.Tag;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.TestFactory;

class LinearTest {

  private static final int[] SIZES = {1, 2, 3, 7, 16, 31, 64, 65, 129, 200};

  /**
   * A float sum of n products is within n·2⁻²⁴ of the sum of their magnitudes, an activation no
   * steeper than 1.13, and within 5e-7·max(1, |z|) of its own exact value.
   */
  private static void check(
      Tensor x, Tensor weight, Tensor bias, Activation activation, Tensor out) {
    double[] input = Layers.doubles(x);
    double[] sum = Layers.product(input, weight, bias);
    double[] size = magnitudes(input, weight, bias);
    float[] got = out.toFloatArray();
    assertEquals(sum.length, got.length);
    for (int i = 0; i < got.length; i++) {
      double want = Layers.activation(activation, sum[i]);
      double bound =
          1.13 * (weight.size(0) + 5) * 0x1p-24 * size[i] + 5e-7 * Math.max(1, Math.abs(sum[i]));
      assertEquals(want, got[i], bound, "element " + i);
    }
  }

  private static double[] magnitudes(double[] x, Tensor weight, Tensor bias) {
    try (Arena arena = Arena.ofConfined()) {
      double[] absolute = x.clone();
      for (int i = 0; i < x.length; i++) {
        absolute[i] = Math.abs(x[i]);
      }
      return Layers.product(
          absolute, absolute(arena, weight), bias == null ? null : absolute(arena, bias));
    }
  }

  private static Tensor absolute(Arena arena, Tensor tensor) {
    float[] data = tensor.toFloatArray();
    for (int i = 0; i < data.length; i++) {
      data[i] = Math.abs(data[i]);
    }
    return Tensor.copyOf(arena, data, tensor.shape());
  }

  @TestFactory
  Stream<DynamicTest> againstDoubles() {
    return IntStream.range(0, 100)
        .mapToObj(
            n -> {
              Random random = new Random(SEED + n);
              int rows = SIZES[random.nextInt(SIZES.length)];
              int in = SIZES[random.nextInt(SIZES.length)];
              int outs = SIZES[random.nextInt(SIZES.length)];
              boolean transposed = random.nextBoolean();
              boolean biased = random.nextInt(4) > 0;
              Activation activation = Activation.values()[n % Activation.values().length];
              int gap = random.nextInt(3);
              return dynamicTest(
                  "%d rows, %d to %d, transposed %s, gap %d, bias %s, %s (seed %d)"
                      .formatted(rows, in, outs, transposed, gap, biased, activation, SEED + n),
                  () -> {
                    try (Arena arena = Arena.ofConfined()) {
                      Tensor weight = Layers.weight(arena, random, in, outs, transposed, gap);
                      Tensor bias = biased ? Layers.normal(arena, random, outs) : null;
                      Placement.Placed x = Layers.rows(arena, rows, in, gap > 0);
                      x.tensor().copyFrom(Layers.draw(random, rows * in, 1));
                      Placement.Placed out = Layers.rows(arena, rows, outs, gap > 1);
                      Linear layer = new Linear(Layers.runtime(2), weight, bias, activation);
                      assertEquals(in, layer.in());
                      assertEquals(outs, layer.out());
                      layer.forward(x.tensor(), out.tensor());
                      check(x.tensor(), weight, bias, activation, out.tensor());
                      out.checkSurroundings();
                    }
                  });
            });
  }

  /** Blocks of rows and of columns, with bias and activation of each in its place. */
  @Test
  void largeProducts() {
    Random random = new Random(SEED);
    for (int[] sizes : new int[][] {{300, 100, 150}, {7, 1000, 300}, {1, 3000, 700}}) {
      for (boolean transposed : new boolean[] {false, true}) {
        try (Arena arena = Arena.ofConfined()) {
          Tensor weight = Layers.weight(arena, random, sizes[2], sizes[1], transposed, 0);
          Tensor bias = Layers.normal(arena, random, sizes[1]);
          Tensor x = Layers.normal(arena, random, sizes[0], sizes[2]);
          Tensor out = Tensor.allocate(arena, DType.FLOAT32, sizes[0], sizes[1]);
          Layers.checkBits(
              runtime -> new Linear(runtime, weight, bias, Activation.GELU).forward(x, out), out);
          check(x, weight, bias, Activation.GELU, out);
        }
      }
    }
  }

  @Test
  void ranksOfRows() {
    Random random = new Random(SEED);
    try (Arena arena = Arena.ofConfined()) {
      Tensor weight = Layers.weight(arena, random, 6, 5);
      Tensor bias = Layers.normal(arena, random, 5);
      Linear layer = new Linear(Layers.runtime(2), weight, bias, Activation.NONE);
      Tensor x = Layers.normal(arena, random, 2, 3, 4, 6);
      for (long[] lead : new long[][] {{24}, {2, 12}, {2, 3, 4}, {1, 24, 1}}) {
        long[] xShape = append(lead, 6);
        Tensor out = Tensor.allocate(arena, DType.FLOAT32, append(lead, 5));
        layer.forward(x.reshape(xShape), out);
        check(x, weight, bias, Activation.NONE, out);
      }
      Tensor one = x.select(0, 0).select(0, 0).select(0, 0);
      Tensor out = Tensor.allocate(arena, DType.FLOAT32, 5);
      layer.forward(one, out);
      check(one, weight, bias, Activation.NONE, out);
      // Columns of wider rows, on both sides.
      Tensor wide = Layers.normal(arena, random, 3, 4, 11);
      Tensor wideOut = Tensor.allocate(arena, DType.FLOAT32, 12, 9);
      layer.forward(wide.slice(2, 3, 9), wideOut.slice(1, 2, 7));
      check(wide.slice(2, 3, 9), weight, bias, Activation.NONE, wideOut.slice(1, 2, 7));
      assertEquals(0, wideOut.getFloat(3, 1));
      assertEquals(0, wideOut.getFloat(3, 7));
    }
  }

  private static long[] append(long[] sizes, long last) {
    long[] shape = Arrays.copyOf(sizes, sizes.length + 1);
    shape[sizes.length] = last;
    return shape;
  }

  @Test
  void noRows() {
    Random random = new Random(SEED);
    try (Arena arena = Arena.ofConfined()) {
      Linear layer =
          new Linear(Layers.runtime(2), Layers.weight(arena, random, 4, 3), null, Activation.RELU);
      layer.forward(
          Tensor.allocate(arena, DType.FLOAT32, 0, 4), Tensor.allocate(arena, DType.FLOAT32, 0, 3));
      layer.forward(
          Tensor.allocate(arena, DType.FLOAT32, 2, 0, 4),
          Tensor.allocate(arena, DType.FLOAT32, 2, 0, 3));
    }
  }

  /** One workspace for layers of every size in turn, and the same bits as with one that is lent. */
  @Test
  void ownWorkspace() {
    GatunRuntime runtime = Layers.runtime(2);
    Random random = new Random(SEED);
    try (Arena arena = Arena.ofConfined();
        Workspace workspace = runtime.newWorkspace()) {
      for (int n = 1; n < 12; n++) {
        Tensor weight = Layers.weight(arena, random, n * 5, n * 3, n % 2 == 0, n % 3);
        Linear layer = new Linear(runtime, weight, null, Activation.SILU);
        Tensor x = Layers.normal(arena, random, n, n * 5L);
        Tensor own = Tensor.allocate(arena, DType.FLOAT32, n, n * 3L);
        Tensor lent = Tensor.allocate(arena, DType.FLOAT32, n, n * 3L);
        layer.forward(workspace, x, own);
        layer.forward(x, lent);
        Run.checkSameBits(lent.toFloatArray(), own.toFloatArray(), "workspace");
      }
    }
  }

  @Test
  @Tag("asan")
  void weightsThatAreRefused() {
    GatunRuntime runtime = Layers.runtime(2);
    try (Arena arena = Arena.ofConfined()) {
      Tensor weight = Tensor.allocate(arena, DType.FLOAT32, 6, 5);
      Tensor bias = Tensor.allocate(arena, DType.FLOAT32, 5);
      Activation none = Activation.NONE;
      refused("weight:", () -> new Linear(runtime, bias, null, none));
      refused("weight:", () -> new Linear(runtime, weight.reshape(2, 3, 5), null, none));
      refused(
          "weight: expected [in, out] float32, got [6, 5] int32",
          () -> new Linear(runtime, Tensor.allocate(arena, DType.INT32, 6, 5), null, none));
      refused(
          "weight:",
          () -> new Linear(runtime, Tensor.allocate(arena, DType.FLOAT32, 0, 5), null, none));
      refused(
          "weight:",
          () -> new Linear(runtime, Tensor.allocate(arena, DType.FLOAT32, 5, 0), null, none));
      for (long[] strides :
          new long[][] {{10, 2}, {0, 1}, {4, 1}, {1, 0}, {1, 5}, {2, 12}, {0, 0}}) {
        Tensor odd =
            Tensor.ofStrided(arena.allocate(400, 4), DType.FLOAT32, new long[] {6, 5}, strides);
        refused("weight:", () -> new Linear(runtime, odd, null, none));
      }
      refused("bias:", () -> new Linear(runtime, weight, bias.slice(0, 0, 4), none));
      refused("bias:", () -> new Linear(runtime, weight, bias.reshape(1, 5), none));
      refused(
          "bias: expected [5] float32",
          () -> new Linear(runtime, weight, Tensor.allocate(arena, DType.INT32, 5), none));
      refused(
          "bias:",
          () ->
              new Linear(
                  runtime, weight, Tensor.allocate(arena, DType.FLOAT32, 5, 2).select(1, 0), none));
      assertThrows(NullPointerException.class, () -> new Linear(null, weight, bias, none));
      assertThrows(
          NullPointerException.class, () -> new Linear(runtime, (Tensor) null, bias, none));
      assertThrows(NullPointerException.class, () -> new Linear(runtime, weight, bias, null));
    }
  }

  @Test
  @Tag("asan")
  void argumentsThatAreRefused() {
    GatunRuntime runtime = Layers.runtime(2);
    try (Arena arena = Arena.ofConfined();
        Workspace foreign = Layers.runtime(1).newWorkspace()) {
      Tensor weight = Tensor.allocate(arena, DType.FLOAT32, 6, 5);
      Tensor bias = Tensor.allocate(arena, DType.FLOAT32, 5);
      Linear layer = new Linear(runtime, weight, bias, Activation.GELU);
      Tensor x = Tensor.allocate(arena, DType.FLOAT32, 4, 6);
      Placement.Placed placed = Layers.rows(arena, 4, 5, false);
      Tensor out = placed.tensor();
      refused("x: expected [..., 6]", () -> layer.forward(x.reshape(6, 4), out));
      refused("x:", () -> layer.forward(Tensor.allocate(arena, DType.INT32, 4, 6), out));
      refused("x:", () -> layer.forward(Tensor.allocate(arena, DType.FLOAT32), out));
      Tensor spread = Tensor.allocate(arena, DType.FLOAT32, 4, 6, 2).select(2, 0);
      refused("x:", () -> layer.forward(spread, out));
      Tensor uneven = Tensor.allocate(arena, DType.FLOAT32, 2, 3, 6).slice(1, 0, 2);
      refused("x:", () -> layer.forward(uneven, out));
      Tensor repeated =
          Tensor.ofStrided(x.segment(), DType.FLOAT32, new long[] {4, 6}, new long[] {0, 1});
      refused("x:", () -> layer.forward(repeated, out));
      refused("out:", () -> layer.forward(x.slice(0, 0, 3), out));
      refused("out:", () -> layer.forward(x, out.reshape(5, 4)));
      refused("out:", () -> layer.forward(x, Tensor.allocate(arena, DType.INT32, 4, 5)));
      refused("out:", () -> layer.forward(x, out.asReadOnly()));
      Tensor shared =
          Tensor.ofStrided(out.segment(), DType.FLOAT32, new long[] {4, 5}, new long[] {4, 1});
      refused("out:", () -> layer.forward(x, shared));
      refused("workspace:", () -> layer.forward(foreign, x, out));
      // Memory of x, of the weight, of the bias.
      Tensor square = Tensor.of(placed.slab(), DType.FLOAT32, 4, 6);
      Tensor inside =
          Tensor.ofStrided(placed.slab(), DType.FLOAT32, new long[] {4, 5}, new long[] {6, 1});
      refused("out:", () -> layer.forward(square, inside));
      refused(
          "out:",
          () ->
              new Linear(
                      runtime, Tensor.of(placed.slab(), DType.FLOAT32, 6, 5), null, Activation.NONE)
                  .forward(x, out));
      refused(
          "out:",
          () ->
              new Linear(
                      runtime,
                      weight,
                      Tensor.of(out.segment().asSlice(20), DType.FLOAT32, 5),
                      Activation.NONE)
                  .forward(x, out));
      assertThrows(NullPointerException.class, () -> layer.forward(null, out));
      assertThrows(NullPointerException.class, () -> layer.forward(x, null));
      placed.checkUntouched();
      layer.forward(x, out);
    }
  }
}
