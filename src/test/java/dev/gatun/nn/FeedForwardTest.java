package dev.gatun.nn;

import static dev.gatun.nn.Layers.SEED;
import static dev.gatun.nn.Layers.refused;
import static org.junit.jupiter.api.Assertions.assertThrows;

import dev.gatun.Activation;
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

class FeedForwardTest {

  /**
   * Two products of some hundred terms on values of about 1, each within 5e-6 (LinearTest has the
   * bound of one), and an activation. A bias left out is off by 1, GELU's tanh form by 1e-4.
   */
  private static final double BOUND = 2e-5;

  private record Weights(Tensor w1, Tensor b1, Tensor w2, Tensor b2) {
    static Weights draw(
        Arena arena, Random random, int dim, int hidden, int out, boolean bias, boolean pytorch) {
      return new Weights(
          Layers.weight(arena, random, dim, hidden, pytorch, 0),
          bias ? Layers.normal(arena, random, hidden) : null,
          Layers.weight(arena, random, hidden, out, pytorch, 0),
          bias ? Layers.normal(arena, random, out) : null);
    }

    FeedForward network(GatunRuntime runtime, Activation activation) {
      return new FeedForward(runtime, w1, b1, activation, w2, b2);
    }

    double[] expected(double[] x, Activation activation) {
      return Layers.linear(Layers.linear(x, w1, b1, activation), w2, b2, Activation.NONE);
    }
  }

  @Test
  void againstDoubles() {
    Random random = new Random(SEED);
    int[][] sizes = {{1, 1, 1, 1}, {5, 6, 24, 6}, {3, 64, 256, 40}, {130, 96, 384, 96}};
    for (int[] s : sizes) {
      for (Activation activation : Activation.values()) {
        try (Arena arena = Arena.ofConfined()) {
          boolean bias = activation != Activation.RELU;
          boolean pytorch = activation.ordinal() % 2 == 0;
          Weights weights = Weights.draw(arena, random, s[1], s[2], s[3], bias, pytorch);
          Placement.Placed x = Layers.rows(arena, s[0], s[1], pytorch);
          x.tensor().copyFrom(Layers.draw(random, s[0] * s[1], 1));
          Placement.Placed out = Layers.rows(arena, s[0], s[3], !pytorch);
          weights.network(Layers.runtime(2), activation).forward(x.tensor(), out.tensor());
          Layers.checkClose(
              weights.expected(Layers.doubles(x.tensor()), activation),
              out.tensor().toFloatArray(),
              BOUND);
          out.checkSurroundings();
        }
      }
    }
  }

  /** GELU is that of the error function: its tanh form differs from it by up to 4e-4. */
  @Test
  void geluIsExact() {
    try (Arena arena = Arena.ofConfined()) {
      Tensor one = Tensor.copyOf(arena, new float[] {1}, 1, 1);
      FeedForward network =
          new FeedForward(Layers.runtime(1), one, null, Activation.GELU, one, null);
      Tensor x = Tensor.copyOf(arena, new float[] {-3, -2.5f, -1, 0.5f, 1, 2, 2.7f}, 7, 1);
      Tensor out = Tensor.allocate(arena, DType.FLOAT32, 7, 1);
      network.forward(x, out);
      // x · Φ(x), from tables of the normal distribution
      double[] want = {
        -0.00404969409489031,
        -0.0155241618130905,
        -0.158655253931457,
        0.345731230637300,
        0.841344746068543,
        1.95449973610364,
        2.69063906783137
      };
      Layers.checkClose(want, out.toFloatArray(), 1e-6);
    }
  }

  @Test
  void outMayBeX() {
    GatunRuntime runtime = Layers.runtime(2);
    Random random = new Random(SEED);
    try (Arena arena = Arena.ofConfined();
        Workspace workspace = runtime.newWorkspace()) {
      Weights weights = Weights.draw(arena, random, 24, 96, 24, true, false);
      FeedForward network = weights.network(runtime, Activation.GELU);
      Tensor x = Layers.normal(arena, random, 2, 5, 24);
      double[] want = weights.expected(Layers.doubles(x), Activation.GELU);
      Tensor out = Tensor.allocate(arena, DType.FLOAT32, 2, 5, 24);
      network.forward(workspace, x, out);
      network.forward(x, x);
      Run.checkSameBits(out.toFloatArray(), x.toFloatArray(), "out and x");
      Layers.checkClose(want, x.toFloatArray(), BOUND);
    }
  }

  @Test
  void bitsDoNotDependOnThreads() {
    Random random = new Random(SEED);
    try (Arena arena = Arena.ofConfined()) {
      Weights weights = Weights.draw(arena, random, 96, 384, 96, true, true);
      Tensor x = Layers.normal(arena, random, 300, 96);
      Tensor out = Tensor.allocate(arena, DType.FLOAT32, 300, 96);
      Layers.checkBits(runtime -> weights.network(runtime, Activation.GELU).forward(x, out), out);
      Tensor few = Layers.normal(arena, random, 60, 96);
      Tensor fewOut = Tensor.allocate(arena, DType.FLOAT32, 60, 96);
      Layers.checkBits(
          runtime -> weights.network(runtime, Activation.SILU).forward(few, fewOut), fewOut);
    }
  }

  @Test
  @Tag("asan")
  void refusals() {
    GatunRuntime runtime = Layers.runtime(2);
    try (Arena arena = Arena.ofConfined();
        Workspace foreign = Layers.runtime(1).newWorkspace()) {
      Tensor w1 = Tensor.allocate(arena, DType.FLOAT32, 6, 8);
      Tensor w2 = Tensor.allocate(arena, DType.FLOAT32, 8, 5);
      Tensor b1 = Tensor.allocate(arena, DType.FLOAT32, 8);
      Tensor b2 = Tensor.allocate(arena, DType.FLOAT32, 5);
      Activation relu = Activation.RELU;
      refused("w1:", () -> new FeedForward(runtime, b1, b1, relu, w2, b2));
      refused("b1:", () -> new FeedForward(runtime, w1, b2, relu, w2, b2));
      refused("w2:", () -> new FeedForward(runtime, w1, b1, relu, b2, b2));
      refused("w2: expected [8, out]", () -> new FeedForward(runtime, w1, b1, relu, w1, b1));
      refused("b2:", () -> new FeedForward(runtime, w1, b1, relu, w2, b1));
      assertThrows(
          NullPointerException.class, () -> new FeedForward(runtime, w1, b1, null, w2, b2));
      assertThrows(NullPointerException.class, () -> new FeedForward(null, w1, b1, relu, w2, b2));
      FeedForward network = new FeedForward(runtime, w1, b1, relu, w2, b2);
      Tensor x = Tensor.allocate(arena, DType.FLOAT32, 4, 6);
      Placement.Placed placed = Layers.rows(arena, 4, 5, false);
      Tensor out = placed.tensor();
      refused("x:", () -> network.forward(x.reshape(8, 3), out));
      refused("out:", () -> network.forward(x, out.reshape(5, 4)));
      refused("out:", () -> network.forward(x, out.asReadOnly()));
      refused("out:", () -> network.forward(x.slice(0, 1, 4), out));
      refused("workspace:", () -> network.forward(foreign, x, out));
      Tensor inside = Tensor.of(placed.slab(), DType.FLOAT32, 8, 5);
      refused("out:", () -> new FeedForward(runtime, w1, b1, relu, inside, b2).forward(x, out));
      placed.checkUntouched();
      network.forward(x, out);
    }
  }
}
