package dev.gatun.nn;

import dev.gatun.DType;
import dev.gatun.Tensor;
import dev.gatun.internal.Messages;
import java.lang.foreign.MemorySegment;

/** Checks of tensors that layers take as rows: {@code [..., columns]}, evenly spaced in memory. */
final class Rows {

  /** What fits into an array on the Java heap. */
  private static final int MAX_TABLE = Integer.MAX_VALUE - 8;

  private Rows() {}

  /** Rows of a tensor whose last dimension has the given size. */
  static long count(String name, Tensor tensor, long columns) {
    int rank = tensor.rank();
    if (tensor.dtype() != DType.FLOAT32 || rank < 1 || tensor.size(rank - 1) != columns) {
      throw bad(name, "[..., " + columns + "] float32", tensor);
    }
    stride(name, tensor);
    return columns == 0 ? 0 : tensor.elements() / columns;
  }

  /** The same, and as many rows as expected. */
  static void check(String name, Tensor tensor, long rows, long columns) {
    if (count(name, tensor, columns) != rows) {
      throw bad(name, "%d rows of %d".formatted(rows, columns), tensor);
    }
  }

  /** An output: as {@link #check}, and writable. */
  static void checkOutput(String name, Tensor tensor, long rows, long columns) {
    check(name, tensor, rows, columns);
    if (tensor.isReadOnly()) {
      throw new IllegalArgumentException(
          name + ": expected memory that can be written, got a read-only segment");
    }
  }

  /** Elements from one row to the next. */
  static long stride(String name, Tensor tensor) {
    int rank = tensor.rank();
    long columns = tensor.size(rank - 1);
    if (tensor.elements() == 0) {
      return columns;
    }
    if (columns > 1 && tensor.stride(rank - 1) != 1) {
      throw strides(name, tensor);
    }
    long stride = -1;
    long rows = 1;
    for (int dim = rank - 2; dim >= 0; dim--) {
      if (tensor.size(dim) == 1) {
        continue;
      }
      if (stride < 0) {
        stride = tensor.stride(dim);
      } else if (tensor.stride(dim) != stride * rows) {
        throw strides(name, tensor);
      }
      rows *= tensor.size(dim);
    }
    if (stride < 0) {
      return columns;
    }
    if (stride < columns) {
      throw strides(name, tensor);
    }
    return stride;
  }

  /** A vector of parameters, or null. */
  static MemorySegment vector(String name, Tensor tensor, long size) {
    if (tensor == null) {
      return MemorySegment.NULL;
    }
    if (tensor.dtype() != DType.FLOAT32
        || tensor.rank() != 1
        || tensor.size(0) != size
        || !tensor.isContiguous()) {
      throw bad(name, "[%d] float32, contiguous".formatted(size), tensor);
    }
    return tensor.segment();
  }

  /** A size that must be that of another part. */
  static void same(String name, long expected, long got) {
    if (expected != got) {
      throw new IllegalArgumentException("%s: expected %d, got %d".formatted(name, expected, got));
    }
  }

  static IllegalArgumentException bad(String name, String expected, Tensor tensor) {
    return new IllegalArgumentException(
        "%s: expected %s, got %s %s"
            .formatted(name, expected, Messages.sizes(tensor.shape()), tensor.dtype()));
  }

  private static IllegalArgumentException strides(String name, Tensor tensor) {
    return new IllegalArgumentException(
        "%s: expected evenly spaced rows with a contiguous last dimension, got strides %s for shape %s"
            .formatted(name, Messages.sizes(tensor.strides()), Messages.sizes(tensor.shape())));
  }

  /** The size of a table that is made on the heap, which an int has to hold. */
  static int tableElements(String name, int rows, int columns) {
    if ((long) rows * columns > MAX_TABLE) {
      throw new IllegalArgumentException(
          "%s: expected at most %d of %d elements each, got %d"
              .formatted(name, MAX_TABLE / columns, columns, rows));
    }
    return rows * columns;
  }
}
