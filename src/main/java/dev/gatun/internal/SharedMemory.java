package dev.gatun.internal;

import dev.gatun.Tensor;

/**
 * Refuses outputs that share memory with what a call reads. Tensors are seen as rows, and told
 * apart exactly where their rows are equally far from each other (so that outputs and inputs may
 * interleave in one buffer), by their extents elsewhere. Elements have 4 bytes.
 */
public final class SharedMemory {

  private static final int ELEMENT = 4;

  private SharedMemory() {}

  /** Refuses an output that has memory of an input, which may be null. */
  public static void refuse(String name, Tensor output, String inputName, Tensor input) {
    if (input != null && meet(output, input)) {
      throw shared(name, inputName);
    }
  }

  /** Refuses an output that has memory of an input, which may be null, without being that input. */
  public static void refuseUnlessSame(String name, Tensor output, String inputName, Tensor input) {
    if (input != null && meet(output, input) && !same(output, input)) {
      throw new IllegalArgumentException(
          "%s: expected %s itself or memory of its own, got a part of the memory of %s"
              .formatted(name, inputName, inputName));
    }
  }

  /** Says that the output shares memory with the other. */
  public static IllegalArgumentException shared(String name, String other) {
    return new IllegalArgumentException(
        "%s: expected memory of its own, got memory shared with %s".formatted(name, other));
  }

  /** Whether two tensors are the same rows in the same place. */
  public static boolean same(Tensor a, Tensor b) {
    return a.segment().address() == b.segment().address()
        && rows(a) == rows(b)
        && columns(a) == columns(b)
        && (rows(a) == 1 || row(a) == row(b));
  }

  private static boolean meet(Tensor a, Tensor b) {
    return meet(
        a.segment().address(),
        rows(a),
        columns(a),
        row(a),
        b.segment().address(),
        rows(b),
        columns(b),
        row(b));
  }

  /** Elements of a row; all of the extent where rows are not evenly spaced. */
  public static long columns(Tensor tensor) {
    return step(tensor) < 0
        ? Math.ceilDiv(tensor.segment().byteSize(), (long) ELEMENT)
        : width(tensor);
  }

  /** The product of all sizes but the last; 1 where rows are not evenly spaced. */
  public static long rows(Tensor tensor) {
    if (tensor.elements() == 0) {
      return 0;
    }
    return step(tensor) < 0 ? 1 : tensor.elements() / width(tensor);
  }

  /** Elements from one row to the next, or the size of the only one. */
  public static long row(Tensor tensor) {
    long step = step(tensor);
    return step < 0 ? columns(tensor) : step;
  }

  private static long width(Tensor tensor) {
    return tensor.rank() == 0 ? 1 : tensor.size(tensor.rank() - 1);
  }

  /** Elements from one row to the next, or -1 if that is not the same everywhere. */
  private static long step(Tensor tensor) {
    long width = width(tensor);
    if (tensor.elements() == 0 || tensor.isContiguous() && tensor.dtype().byteSize() == ELEMENT) {
      return width;
    }
    int last = tensor.rank() - 1;
    if (width > 1 && tensor.stride(last) != 1 || tensor.dtype().byteSize() != ELEMENT) {
      return -1;
    }
    long step = -1;
    long rows = 1;
    for (int dim = last - 1; dim >= 0; dim--) {
      if (tensor.size(dim) > 1) {
        step = step < 0 ? tensor.stride(dim) : step;
        if (step < width || tensor.stride(dim) != step * rows) {
          return -1;
        }
        rows *= tensor.size(dim);
      }
    }
    return step < 0 ? width : step;
  }

  /**
   * Whether two arrays of rows, by address, rows, elements of a row and from one row to the next,
   * have an element in common, or parts of one.
   */
  public static boolean meet(
      long a, long aRows, long aColumns, long aRow, long b, long bRows, long bColumns, long bRow) {
    if (aRows == 0 || bRows == 0) {
      return false;
    }
    long distance = b - a;
    if (distance >= bytes(aRows, aColumns, aRow) || -distance >= bytes(bRows, bColumns, bRow)) {
      return false;
    }
    long row = aRows > 1 ? aRow : bRow;
    if (distance % ELEMENT != 0 || aRows > 1 && bRows > 1 && aRow != bRow) {
      return true;
    }
    // b[0][0] is this far from a[0][0]; is it r rows and c columns for some pair of elements?
    long elements = distance / ELEMENT;
    if (aRows == 1 && bRows == 1 || aColumns > row || bColumns > row) {
      return true; // one row that reaches from some row of the other to the next
    }
    long nearest = Math.floorDiv(elements, row);
    for (long r = nearest; r <= nearest + 1; r++) {
      long c = elements - r * row;
      if (r > -bRows && r < aRows && c > -bColumns && c < aColumns) {
        return true;
      }
    }
    return false;
  }

  /** Bytes from the first element of rows to behind the last; 1 row or more. */
  public static long bytes(long rows, long columns, long row) {
    return ((rows - 1) * row + columns) * ELEMENT;
  }
}
