package dev.gatun.nn;

import dev.gatun.DType;
import dev.gatun.Tensor;
import dev.gatun.internal.LayerCall;
import dev.gatun.internal.Matrix;
import dev.gatun.internal.Messages;
import java.lang.foreign.MemorySegment;
import java.util.List;
import java.util.Objects;
import java.util.function.IntFunction;

/** Checks of tensors that layers take as rows: {@code [..., columns]}, evenly spaced in memory. */
final class Rows {

  /** What fits into an array on the Java heap. */
  private static final int MAX_TABLE = Integer.MAX_VALUE - 8;

  private Rows() {}

  /** Rows of a tensor whose last dimension has the given size. */
  static long count(String name, Tensor tensor, long columns) {
    Objects.requireNonNull(tensor, name);
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

  /** A table of numbered rows, of a size that is known unless it is -1. */
  static void checkTable(String name, Tensor table, String shape, long columns) {
    Objects.requireNonNull(table, name);
    if (table.dtype() != DType.FLOAT32
        || table.rank() != 2
        || table.size(0) < 1
        || table.size(0) > Integer.MAX_VALUE
        || (columns < 0 ? table.size(1) < 1 : table.size(1) != columns)
        || !table.isContiguous()) {
      throw bad(name, shape + " float32, contiguous", table);
    }
  }

  /** The elements of a list, asked once: what is checked is what is used. */
  static <T> T[] copy(String name, List<T> list, IntFunction<T[]> maker) {
    T[] array = list.toArray(maker).clone();
    for (int n = 0; n < array.length; n++) {
      if (array[n] == null) {
        throw new NullPointerException("%s[%d]".formatted(name, n));
      }
    }
    return array;
  }

  /** A size that must be that of another part. */
  static void same(String name, long expected, long got) {
    if (expected != got) {
      throw new IllegalArgumentException("%s: expected %d, got %d".formatted(name, expected, got));
    }
  }

  /** Rows of floats {@code [batch, seq, columns]} or {@code [tokens, columns]}, evenly spaced. */
  static void checkTokens(String name, Tensor tensor, long columns) {
    Objects.requireNonNull(tensor, name);
    int rank = tensor.rank();
    if (tensor.dtype() != DType.FLOAT32
        || rank < 2
        || rank > 3
        || tensor.size(rank - 1) != columns) {
      throw bad(
          name, "[batch, seq, %d] or [tokens, %d] float32".formatted(columns, columns), tensor);
    }
    stride(name, tensor);
  }

  /** An output of as many rows, in the same dimensions, as ids or rows have. */
  static void checkLike(String name, Tensor out, Tensor rows, long columns) {
    Objects.requireNonNull(out, name);
    int leading = rows.dtype() == DType.INT32 ? rows.rank() : rows.rank() - 1;
    boolean fits =
        out.dtype() == DType.FLOAT32 && out.rank() == leading + 1 && out.size(leading) == columns;
    for (int dim = 0; fits && dim < leading; dim++) {
      fits = out.size(dim) == rows.size(dim);
    }
    if (!fits) {
      String shape =
          leading == 1
              ? "[%d, %d]".formatted(rows.size(0), columns)
              : "[%d, %d, %d]".formatted(rows.size(0), rows.size(1), columns);
      throw bad(name, shape + " float32", out);
    }
    checkOutput(name, out, out.elements() / Math.max(columns, 1), columns);
  }

  /** Checked rows as the row operations take them, valid until the call ends. */
  static Matrix view(LayerCall call, String name, Tensor tensor) {
    long columns = tensor.rank() == 0 ? 1 : tensor.size(tensor.rank() - 1);
    long rows = columns == 0 ? 0 : tensor.elements() / columns;
    return call.scratch().view(tensor.segment(), rows, columns, stride(name, tensor));
  }

  static IllegalArgumentException bad(String name, String expected, Tensor tensor) {
    return new IllegalArgumentException(
        "%s: expected %s, got %s".formatted(name, expected, text(tensor)));
  }

  static String text(Tensor tensor) {
    return Messages.sizes(tensor.shape()) + " " + tensor.dtype();
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
