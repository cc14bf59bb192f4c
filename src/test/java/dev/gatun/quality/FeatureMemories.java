package dev.gatun.quality;

import dev.gatun.GatunRuntime;
import dev.gatun.Tensor;
import dev.gatun.nn.LinearAttention;
import dev.gatun.nn.RandomFeatureAttention;
import java.lang.foreign.Arena;

/** Mechanisms whose weights are products of features: sums of as many rows hold all keys. */
final class FeatureMemories {

  private FeatureMemories() {}

  /** elu + 1. Codes are long, so that most features are either near 0 or far from it. */
  record Linear() implements Memory {
    private static final double FACTOR = 32;

    @Override
    public String name() {
      return "linear, elu + 1, %d features".formatted(Memories.DIM);
    }

    @Override
    public int dim() {
      return Memories.DIM;
    }

    @Override
    public float[] recall(GatunRuntime runtime, Task task) {
      return Memory.attend(
          runtime, task, FACTOR, FACTOR, (on, arena, tokens) -> new LinearAttention(on, false));
    }

    private static double[] features(float[] codes, int row) {
      double[] features = new double[Memories.DIM];
      for (int i = 0; i < features.length; i++) {
        double x = FACTOR * codes[row * Memories.DIM + i];
        features[i] = x > 0 ? x + 1 : Math.exp(x);
      }
      return features;
    }

    @Override
    public double[] reference(GatunRuntime runtime, Task task) {
      return Doubles.features(task, Linear::features, Linear::features, true, false);
    }
  }

  /**
   * Random features of the softmax. The sharper it is, the more of them are needed: of codes whose
   * square is 4 the right key has exp(4) times the weight of most others.
   */
  record Performer(int features) implements Memory {
    private static final double SQUARE = 4;

    @Override
    public String name() {
      return "Performer, %d features".formatted(features);
    }

    @Override
    public int dim() {
      return Memories.DIM;
    }

    private Tensor projection(Arena arena) {
      return RandomFeatureAttention.orthogonalProjection(
          arena, features, Memories.DIM, Memories.SEED);
    }

    @Override
    public float[] recall(GatunRuntime runtime, Task task) {
      double factor = Math.sqrt(SQUARE) * Math.pow(Memories.DIM, 0.25);
      return Memory.attend(
          runtime,
          task,
          factor,
          factor,
          (on, arena, tokens) -> RandomFeatureAttention.of(on, projection(arena), false));
    }

    @Override
    public double[] reference(GatunRuntime runtime, Task task) {
      float[] by;
      try (Arena arena = Arena.ofConfined()) {
        by = projection(arena).toFloatArray();
      }
      Doubles.Features exponentials =
          (codes, row) -> {
            double[] values = new double[features];
            for (int f = 0; f < features; f++) {
              double product = Doubles.dot(by, f, codes, row, Memories.DIM);
              values[f] = Math.exp(Math.sqrt(SQUARE) * product - SQUARE / 2);
            }
            return values;
          };
      return Doubles.features(task, exponentials, exponentials, true, false);
    }
  }
}
