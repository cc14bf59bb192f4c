package dev.gatun.internal;

import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;

/**
 * Rows of float32 in native memory: one value for what would be four arguments.
 *
 * <p>Those of {@link Scratch} are used again and again, so that a warm call makes none.
 */
public final class Matrix {

  private static final int PARTS = 3;

  /** More than the models that share a workspace have; with others the last ones are forgotten. */
  private static final int MOST_FIRSTS = 32;

  private MemorySegment segment;
  private long rows;
  private long columns;
  private long stride;

  /** Views of some of the columns, made when they are first asked for. */
  private final Matrix[] parts = new Matrix[PARTS];

  /** Where parts begin, and the memory from there: layouts that take turns make nothing anew. */
  private final long[] firsts = new long[MOST_FIRSTS];

  private final MemorySegment[] begins = new MemorySegment[MOST_FIRSTS];

  /** What they are parts of: states of several models take turns as well. */
  private final MemorySegment[] whole = new MemorySegment[MOST_FIRSTS];

  private int next;

  Matrix() {}

  /** A matrix that stays; stride in elements. */
  public static Matrix of(MemorySegment segment, long rows, long columns, long stride) {
    Matrix matrix = new Matrix();
    matrix.set(segment, rows, columns, stride);
    return matrix;
  }

  void set(MemorySegment segment, long rows, long columns, long stride) {
    this.segment = segment;
    this.rows = rows;
    this.columns = columns;
    this.stride = stride;
  }

  /** Has as many rows without gaps from here on, of no more columns than it was taken with. */
  public Matrix narrow(long fewer) {
    set(segment, rows, fewer, fewer);
    return this;
  }

  /** Some of the columns, as part 0, 1 or 2: another call with the same index overwrites it. */
  public Matrix part(int index, long first, long columns) {
    Matrix part = parts[index];
    if (part == null) {
      part = new Matrix();
      parts[index] = part;
    }
    part.set(from(first), rows, columns, stride);
    return part;
  }

  private MemorySegment from(long first) {
    for (int n = 0; n < MOST_FIRSTS; n++) {
      if (firsts[n] == first && whole[n] == segment) {
        return begins[n];
      }
    }
    int n = next;
    next = (next + 1) % MOST_FIRSTS;
    firsts[n] = first;
    whole[n] = segment;
    begins[n] = segment.asSlice(first * Float.BYTES);
    return begins[n];
  }

  /** A part that was made. */
  public Matrix part(int index) {
    return parts[index];
  }

  /** Begins at the first element. */
  public MemorySegment segment() {
    return segment;
  }

  public long rows() {
    return rows;
  }

  public long columns() {
    return columns;
  }

  /** Elements from one row to the next. */
  public long stride() {
    return stride;
  }

  /** Copies rows into another matrix of as many columns. */
  public void copyRows(long row, Matrix to, long toRow, long count) {
    if (count > 1 && stride == columns && to.stride == columns) {
      copy(row, to, toRow, count * columns);
    } else {
      for (long n = 0; n < count; n++) {
        copy(row + n, to, toRow + n, columns);
      }
    }
  }

  private void copy(long row, Matrix to, long toRow, long elements) {
    MemorySegment.copy(
        segment,
        row * stride * Float.BYTES,
        to.segment,
        toRow * to.stride * Float.BYTES,
        elements * Float.BYTES);
  }

  /** Sets rows to 0. */
  public void clearRows(long row, long count) {
    for (long n = row; n < row + count; n++) {
      // Not fill, which would need a slice: garbage until the last compiler has seen it.
      for (long i = n * stride; i < n * stride + columns; i++) {
        segment.setAtIndex(ValueLayout.JAVA_FLOAT, i, 0);
      }
    }
  }
}
