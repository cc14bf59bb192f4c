package dev.gatun.model;

import dev.gatun.DType;
import dev.gatun.Tensor;
import dev.gatun.internal.Messages;
import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.util.Arrays;

/**
 * Puts copies of weights into one piece of memory. The same calls are made twice: first to measure,
 * then to copy.
 */
final class WeightSlab {
  private static final long ALIGNMENT = 64 / Float.BYTES;

  /** Null while measuring. */
  private final MemorySegment memory;

  private long used;

  /** A slab that only measures. */
  WeightSlab() {
    memory = null;
  }

  /** A slab as large as another has measured. */
  WeightSlab(Arena arena, WeightSlab sizes) {
    memory = Tensor.allocate(arena, DType.FLOAT32, sizes.used).segment();
  }

  boolean isMeasuring() {
    return memory == null;
  }

  /** The next tensor of this shape; null while measuring. */
  private Tensor take(long... shape) {
    long floats = 1;
    for (long size : shape) {
      floats *= size;
    }
    long start = used;
    used += Math.ceilDiv(floats, ALIGNMENT) * ALIGNMENT;
    return isMeasuring()
        ? null
        : Tensor.of(
            memory.asSlice(start * Float.BYTES, floats * Float.BYTES), DType.FLOAT32, shape);
  }

  Tensor copy(String name, Tensor weight, long... shape) {
    check(name, weight, shape);
    Tensor copy = take(shape);
    if (copy != null) {
      copy.copyFrom(weight);
    }
    return copy;
  }

  /** Weights that share their last dimension's size, side by side along it. */
  Tensor sideBySide(String name, long columns, Tensor... weights) {
    int last = weights[0].rank() - 1;
    long[] shape = new long[last + 1];
    Arrays.fill(shape, columns);
    for (Tensor weight : weights) {
      check(name, weight, shape);
    }
    shape[last] = columns * weights.length;
    Tensor together = take(shape);
    if (together != null) {
      for (int n = 0; n < weights.length; n++) {
        together.slice(last, n * columns, (n + 1) * columns).copyFrom(weights[n]);
      }
    }
    return together;
  }

  private static void check(String name, Tensor weight, long[] shape) {
    if (weight.dtype() != DType.FLOAT32 || !Arrays.equals(weight.shape(), shape)) {
      throw new IllegalArgumentException(
          "weights: %s: expected %s float32, got %s %s"
              .formatted(
                  name, Messages.sizes(shape), Messages.sizes(weight.shape()), weight.dtype()));
    }
  }
}
