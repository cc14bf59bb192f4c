package dev.gatun.model;

import dev.gatun.DType;
import dev.gatun.Tensor;
import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.SegmentAllocator;

/**
 * Weights side by side in few pieces of memory: large ones with huge pages where there are some,
 * small ones, which would take a whole huge page, elsewhere.
 */
final class WeightSlab implements SegmentAllocator {
  private static final long ALIGNMENT = 64;
  private static final long LARGE_BYTES = 64 << 10;

  /** Of pieces. What is not used of one is never touched, and takes no memory but addresses. */
  private static final long LARGE_PIECE_BYTES = 32L << 20;

  private static final long SMALL_PIECE_BYTES = 256L << 10;

  /** Memory that is given away from its beginning. */
  private static final class Piece {
    MemorySegment memory = MemorySegment.NULL;
    long used;
  }

  private final Arena arena;
  private final Piece large = new Piece();
  private final Piece small = new Piece();

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
    Piece piece = taken >= LARGE_BYTES ? large : small;
    if (taken > piece.memory.byteSize() - piece.used) {
      long size = Math.max(taken, piece == large ? LARGE_PIECE_BYTES : SMALL_PIECE_BYTES);
      piece.memory = Tensor.allocate(arena, DType.INT8, size).segment();
      piece.used = 0;
    }
    MemorySegment segment = piece.memory.asSlice(piece.used, bytes);
    piece.used += taken;
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
