package dev.gatun.quality;

import dev.gatun.AttentionSpec;
import dev.gatun.BlockMasks;
import dev.gatun.Causal;
import dev.gatun.GatunRuntime;
import dev.gatun.Tensor;
import dev.gatun.nn.AdditiveAttention;
import dev.gatun.nn.BlockSparseAttention;
import dev.gatun.nn.ExactAttention;
import dev.gatun.nn.LinformerAttention;
import java.lang.foreign.Arena;
import java.lang.foreign.ValueLayout;
import java.util.Arrays;
import java.util.List;
import java.util.Random;

/** The mechanisms of the table, each with the weights that make it remember as much as it can. */
final class Memories {

  static final int DIM = 64;
  static final int BLOCK = 64;
  static final long SEED = 4711;

  /**
   * q · k of a code with itself. Among 4096 random directions of 64 elements two have up to some
   * 0.6 of it, and together all others are worth 4096 · exp(64² / 128): so the right key has nearly
   * all the weight.
   */
  private static final double SHARP = 64;

  private Memories() {}

  /** Softmax of scaled products, with whatever the specification masks. */
  record Exact(String name, AttentionSpec spec, Doubles.Sight sight) implements Memory {
    @Override
    public int dim() {
      return DIM;
    }

    @Override
    public float[] recall(GatunRuntime runtime, Task task) {
      return Memory.attend(
          runtime,
          task,
          SHARP * Math.sqrt(DIM),
          1,
          (on, arena, tokens) -> new ExactAttention(on, spec));
    }

    @Override
    public double[] reference(GatunRuntime runtime, Task task) {
      return Doubles.softmax(task, sharp(task), sight);
    }
  }

  private static Doubles.Score sharp(Task task) {
    return (row, key) -> SHARP * Doubles.dot(task.queries(), row, task.keys(), key, DIM);
  }

  static Memory exact() {
    return new Exact("exact", AttentionSpec.standard(), (row, key) -> true);
  }

  /** So many tokens on each side, as in Longformer. */
  static Memory window(int side) {
    return new Exact(
        "window of %d on each side".formatted(side),
        AttentionSpec.builder().window(side, side).build(),
        (row, key) -> Math.abs(row - key) <= side);
  }

  /**
   * Bahdanau's attention, by a bump of two hyperbolic tangents for each element of a code: tanh(u +
   * 1) − tanh(u − 1) is greatest where u, the scaled difference of query and key, is 0. So a code
   * has half as many elements as the head.
   */
  record Additive() implements Memory {
    private static final float SCALE = 8;
    private static final float ENERGY = 2;

    @Override
    public String name() {
      return "additive";
    }

    @Override
    public int dim() {
      return DIM / 2;
    }

    /** The code twice, scaled, with what is added to each half. */
    private static float[] twice(float[] codes, float scale, float shift) {
      int dim = DIM / 2;
      float[] both = new float[2 * codes.length];
      for (int i = 0; i < codes.length; i++) {
        int at = i / dim * DIM + i % dim;
        both[at] = scale * codes[i] + shift;
        both[at + dim] = scale * codes[i] - shift;
      }
      return both;
    }

    private static float[] energy() {
      float[] energy = new float[DIM];
      Arrays.fill(energy, 0, DIM / 2, ENERGY);
      Arrays.fill(energy, DIM / 2, DIM, -ENERGY);
      return energy;
    }

    @Override
    public float[] recall(GatunRuntime runtime, Task task) {
      return Memory.attend(
          runtime,
          task,
          twice(task.queries(), SCALE, 1),
          twice(task.keys(), -SCALE, 0),
          (on, arena, tokens) ->
              new AdditiveAttention(on, Tensor.copyOf(arena, energy(), 1, DIM), Causal.NONE));
    }

    @Override
    public double[] reference(GatunRuntime runtime, Task task) {
      float[] q = twice(task.queries(), SCALE, 1);
      float[] k = twice(task.keys(), -SCALE, 0);
      float[] energy = energy();
      return Doubles.softmax(
          task,
          (row, key) -> {
            double score = 0;
            for (int i = 0; i < DIM; i++) {
              score += energy[i] * Math.tanh((double) q[row * DIM + i] + k[key * DIM + i]);
            }
            return score;
          },
          (row, key) -> true);
    }
  }

  /** All of the table, in its order. */
  static List<Memory> all() {
    return List.of(
        exact(),
        new Additive(),
        window(128),
        window(512),
        new BigBird(),
        new Linformer(256, false),
        new Linformer(1024, false),
        new Linformer(256, true),
        new FeatureMemories.Linear(),
        new FeatureMemories.Performer(64),
        new FeatureMemories.Performer(256),
        new FeatureMemories.Performer(1024),
        new StateMemories.Scan(16),
        new StateMemories.Scan(64),
        new StateMemories.Scan(256),
        new StateMemories.Delay(true, 129),
        new StateMemories.Delay(false, 129));
  }

  /** BigBird with the sizes of the paper. */
  record BigBird() implements Memory {
    @Override
    public String name() {
      return "BigBird, blocks of %d".formatted(BLOCK);
    }

    @Override
    public int dim() {
      return DIM;
    }

    private static Tensor mask(Arena arena, int tokens) {
      return BlockMasks.bigBird(Math.ceilDiv(tokens, BLOCK), SEED).build(arena);
    }

    /** Which keys a row sees. */
    static Doubles.Sight sight(int tokens) {
      try (Arena arena = Arena.ofConfined()) {
        byte[] mask = mask(arena, tokens).segment().toArray(ValueLayout.JAVA_BYTE);
        int blocks = Math.ceilDiv(tokens, BLOCK);
        return (row, key) -> mask[row / BLOCK * blocks + key / BLOCK] != 0;
      }
    }

    @Override
    public float[] recall(GatunRuntime runtime, Task task) {
      return Memory.attend(
          runtime,
          task,
          SHARP * Math.sqrt(DIM),
          1,
          (on, arena, tokens) -> new BlockSparseAttention(on, mask(arena, tokens), BLOCK));
    }

    @Override
    public double[] reference(GatunRuntime runtime, Task task) {
      return Doubles.softmax(task, sharp(task), sight(task.tokens()));
    }
  }

  /**
   * Linformer with as many rows. What a trained projection would be is not known for symbols that
   * may stand anywhere: sums of neighbors keep each token apart from most, a matrix of random
   * numbers is that of the paper's proof.
   */
  record Linformer(int projected, boolean random) implements Memory {
    @Override
    public String name() {
      return "Linformer, %d rows, %s".formatted(projected, random ? "random" : "sums of neighbors");
    }

    @Override
    public int dim() {
      return DIM;
    }

    private float[] projection(int tokens) {
      float[] by = new float[projected * tokens];
      Random generator = new Random(SEED);
      for (int p = 0; p < projected; p++) {
        for (int t = 0; t < tokens; t++) {
          int place = tokens <= projected ? t : (int) ((long) t * projected / tokens);
          by[p * tokens + t] =
              random
                  ? (float) (generator.nextGaussian() / Math.sqrt(projected))
                  : place == p ? 1 : 0;
        }
      }
      return by;
    }

    @Override
    public float[] recall(GatunRuntime runtime, Task task) {
      return Memory.attend(
          runtime,
          task,
          SHARP * Math.sqrt(DIM),
          1,
          (on, arena, tokens) -> {
            Tensor by = Tensor.copyOf(arena, projection(tokens), projected, tokens);
            return new LinformerAttention(on, by, by);
          });
    }

    @Override
    public double[] reference(GatunRuntime runtime, Task task) {
      return Doubles.projected(task, SHARP, projection(task.tokens()));
    }
  }
}
