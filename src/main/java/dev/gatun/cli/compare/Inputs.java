package dev.gatun.cli.compare;

import dev.gatun.DType;
import dev.gatun.Tensor;
import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import java.util.random.RandomGenerator;
import java.util.random.RandomGeneratorFactory;

/**
 * What all systems read and write at a length: elements of queries, keys and values are N(0, 1).
 * Layers that have one input take the queries.
 */
public final class Inputs {
  static final long SEED = 20261130;

  final Setting setting;
  final Tensor q;
  final Tensor k;
  final Tensor v;

  /** {@code [1, length, heads, headDim]}, as all of them. */
  final Tensor out;

  Inputs(Setting setting, Arena arena) {
    this.setting = setting;
    RandomGenerator random = random(setting.length());
    q = fill(tensor(arena), random);
    k = fill(tensor(arena), random);
    v = fill(tensor(arena), random);
    out = tensor(arena);
  }

  static RandomGenerator random(long salt) {
    return RandomGeneratorFactory.of("Xoshiro256PlusPlus").create(SEED + salt);
  }

  private Tensor tensor(Arena arena) {
    return Tensor.allocate(
        arena, DType.FLOAT32, 1, setting.length(), setting.heads(), setting.headDim());
  }

  /** Draws all elements of a contiguous tensor. */
  static Tensor fill(Tensor tensor, RandomGenerator random) {
    return fill(tensor, random, 1);
  }

  static Tensor fill(Tensor tensor, RandomGenerator random, double deviation) {
    MemorySegment segment = tensor.segment();
    for (long n = 0; n < tensor.elements(); n++) {
      segment.setAtIndex(ValueLayout.JAVA_FLOAT, n, (float) (deviation * random.nextGaussian()));
    }
    return tensor;
  }

  /** Root mean square of out - exact over that of exact. */
  static double relativeError(Tensor out, Tensor exact) {
    double difference = 0;
    double size = 0;
    for (long n = 0; n < exact.elements(); n++) {
      double want = exact.segment().getAtIndex(ValueLayout.JAVA_FLOAT, n);
      double by = out.segment().getAtIndex(ValueLayout.JAVA_FLOAT, n) - want;
      difference += by * by;
      size += want * want;
    }
    return Math.sqrt(difference / size);
  }
}
