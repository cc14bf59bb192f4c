package dev.gatun.model;

import dev.gatun.DType;
import dev.gatun.Tensor;
import dev.gatun.internal.Messages;
import java.lang.foreign.MemorySegment;
import java.util.Arrays;

/**
 * Puts weights into one piece of memory, each on a cache line of its own. Without memory it only
 * counts, so that the same calls tell first how much is needed.
 */
final class PackedWeights {
  private static final long ALIGNMENT = 64 / Float.BYTES;

  private final MemorySegment memory;
  private long used;

  PackedWeights(MemorySegment memory) {
    this.memory = memory;
  }

  /** Floats so far. */
  long used() {
    return used;
  }

  private MemorySegment take(long floats) {
    long start = used;
    used += Math.ceilDiv(floats, ALIGNMENT) * ALIGNMENT;
    return memory == null ? null : memory.asSlice(start * Float.BYTES, floats * Float.BYTES);
  }

  /** Copies a weight of a known shape. */
  MemorySegment copy(String name, Tensor weight, long... shape) {
    check(name, weight, shape);
    MemorySegment place = take(weight.elements());
    if (place != null) {
      Tensor.of(place, DType.FLOAT32, shape).copyFrom(weight);
    }
    return place;
  }

  /**
   * Copies matrices {@code [columns, columns]}, or vectors, into one with as many times columns.
   */
  MemorySegment sideBySide(String name, long columns, Tensor... weights) {
    int last = weights[0].rank() - 1;
    long[] shape = new long[last + 1];
    Arrays.fill(shape, columns);
    for (Tensor weight : weights) {
      check(name, weight, shape);
    }
    shape[last] = columns * weights.length;
    MemorySegment place = take(weights[0].elements() * weights.length);
    if (place != null) {
      Tensor together = Tensor.of(place, DType.FLOAT32, shape);
      for (int n = 0; n < weights.length; n++) {
        together.slice(last, n * columns, (n + 1) * columns).copyFrom(weights[n]);
      }
    }
    return place;
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
