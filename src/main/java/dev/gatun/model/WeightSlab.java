package dev.gatun.model;

import dev.gatun.DType;
import dev.gatun.Tensor;
import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.SegmentAllocator;

/** Weights side by side in few pieces of memory, with huge pages where there are some. */
final class WeightSlab implements SegmentAllocator {
  private static final long ALIGNMENT = 64;

  /** Of a piece. What is not used of it is never touched, and takes no memory but addresses. */
  private static final long PIECE_BYTES = 32L << 20;

  private final Arena arena;
  private MemorySegment memory = MemorySegment.NULL;
  private long used;

  WeightSlab(Arena arena) {
    this.arena = arena;
  }

  /** Zeroed. */
  @Override
  public MemorySegment allocate(long bytes, long alignment) {
    if (alignment > ALIGNMENT) {
      throw new IllegalArgumentException(
          "alignment: expected at most %d, got %d".formatted(ALIGNMENT, alignment));
    }
    long taken = Math.ceilDiv(bytes, ALIGNMENT) * ALIGNMENT;
    if (taken > memory.byteSize() - used) {
      memory = Tensor.allocate(arena, DType.INT8, Math.max(taken, PIECE_BYTES)).segment();
      used = 0;
    }
    MemorySegment segment = memory.asSlice(used, bytes);
    used += taken;
    return segment;
  }

  private Tensor take(DType dtype, long... shape) {
    long bytes = dtype.byteSize();
    for (long size : shape) {
      bytes *= size;
    }
    return Tensor.of(allocate(bytes, ALIGNMENT), dtype, shape);
  }

  /** A vector of zeros. */
  Tensor zeros(long size) {
    return take(DType.FLOAT32, size);
  }

  /** A contiguous copy; null of null. */
  Tensor copy(Tensor weight) {
    if (weight == null) {
      return null;
    }
    Tensor copy = take(weight.dtype(), weight.shape());
    copy.copyFrom(weight);
    return copy;
  }

  /** Copies of weights that differ at most in their last dimension, side by side along it. */
  Tensor sideBySide(Tensor... weights) {
    return together(weights[0].rank() - 1, weights);
  }

  /** Copies of weights that differ at most in their first dimension. */
  Tensor oneAfterTheOther(Tensor... weights) {
    return together(0, weights);
  }

  private Tensor together(int dim, Tensor... weights) {
    long[] shape = weights[0].shape().clone();
    for (int n = 1; n < weights.length; n++) {
      shape[dim] += weights[n].size(dim);
    }
    Tensor together = take(weights[0].dtype(), shape);
    long begin = 0;
    for (Tensor weight : weights) {
      long end = begin + weight.size(dim);
      together.slice(dim, begin, end).copyFrom(weight);
      begin = end;
    }
    return together;
  }
}
