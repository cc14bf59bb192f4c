package dev.gatun.model;

import dev.gatun.DType;
import dev.gatun.Tensor;
import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;

/** Copies of weights in one piece of memory, with huge pages where there are some. */
final class WeightSlab {
  private static final long ALIGNMENT = 64 / Float.BYTES;

  private final MemorySegment memory;
  private long used;

  /** For copies of tensors whose {@link #floats} are so many together. */
  WeightSlab(Arena arena, long floats) {
    memory = Tensor.allocate(arena, DType.FLOAT32, floats).segment();
  }

  /** What the copy of a tensor takes; nothing if it is null. */
  static long floats(Tensor weight) {
    return weight == null ? 0 : Math.ceilDiv(weight.elements(), ALIGNMENT) * ALIGNMENT;
  }

  private Tensor take(long... shape) {
    long floats = 1;
    for (long size : shape) {
      floats *= size;
    }
    MemorySegment segment = memory.asSlice(used * Float.BYTES, floats * Float.BYTES);
    used += Math.ceilDiv(floats, ALIGNMENT) * ALIGNMENT;
    return Tensor.of(segment, DType.FLOAT32, shape);
  }

  /** A contiguous copy; null of null. */
  Tensor copy(Tensor weight) {
    if (weight == null) {
      return null;
    }
    Tensor copy = take(weight.shape());
    copy.copyFrom(weight);
    return copy;
  }

  /** Copies of weights that differ at most in their last dimension, side by side along it. */
  Tensor sideBySide(Tensor... weights) {
    int last = weights[0].rank() - 1;
    long[] shape = weights[0].shape().clone();
    for (int n = 1; n < weights.length; n++) {
      shape[last] += weights[n].size(last);
    }
    Tensor together = take(shape);
    long column = 0;
    for (Tensor weight : weights) {
      long end = column + weight.size(last);
      together.slice(last, column, end).copyFrom(weight);
      column = end;
    }
    return together;
  }
}
