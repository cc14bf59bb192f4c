package dev.gatun;

import dev.gatun.internal.Messages;

/**
 * Element type, shape and strides of a tensor, without its memory. Immutable and compared by
 * identity: a workspace recognises the tensors of its previous call by their layouts, and keeps no
 * memory alive by doing so.
 */
final class TensorLayout {
  final DType dtype;
  final long[] shape;
  final long[] strides;
  final long elements;

  /** Elements from the first one to behind the last; 0 if there is none. */
  final long extent;

  /** True if the elements lie in row-major order without gaps. */
  final boolean contiguous;

  private TensorLayout(DType dtype, long[] shape, long[] strides, long elements, long extent) {
    this.dtype = dtype;
    this.shape = shape;
    this.strides = strides;
    this.elements = elements;
    this.extent = extent;
    this.contiguous = elements == 0 || isRowMajor(shape, strides);
  }

  /** The layout of a row-major array. The array is copied. */
  static TensorLayout rowMajor(DType dtype, long... shape) {
    long[] own = shape.clone();
    long[] strides = new long[own.length];
    long stride = 1;
    for (int dim = own.length - 1; dim >= 0; dim--) {
      strides[dim] = stride;
      if (own[dim] > 0) {
        stride = multiply(stride, own[dim], dtype, own);
      }
    }
    return of(dtype, own, strides);
  }

  /** Checks shape and strides and takes the arrays over. */
  static TensorLayout of(DType dtype, long[] shape, long[] strides) {
    if (strides.length != shape.length) {
      throw new IllegalArgumentException(
          "strides: expected %d of them for shape %s, got %s"
              .formatted(shape.length, text(shape), text(strides)));
    }
    long elements = 1;
    long extent = 1;
    for (int dim = 0; dim < shape.length; dim++) {
      if (shape[dim] < 0) {
        throw new IllegalArgumentException("shape: expected sizes >= 0, got " + text(shape));
      }
      if (strides[dim] < 0) {
        throw new IllegalArgumentException("strides: expected values >= 0, got " + text(strides));
      }
      elements = multiply(elements, shape[dim], dtype, shape);
      if (shape[dim] > 1) {
        extent += multiply(shape[dim] - 1, strides[dim], dtype, shape);
        if (extent < 0) {
          throw tooBig(dtype, shape);
        }
      }
    }
    multiply(extent, dtype.byteSize(), dtype, shape);
    multiply(elements, dtype.byteSize(), dtype, shape);
    return new TensorLayout(dtype, shape, strides, elements, elements == 0 ? 0 : extent);
  }

  int rank() {
    return shape.length;
  }

  long extentBytes() {
    return extent * dtype.byteSize();
  }

  /** Shape and type as messages show them: {@code [2, 8] float32}. */
  @Override
  public String toString() {
    return text(shape) + " " + dtype;
  }

  static String text(long[] numbers) {
    return Messages.sizes(numbers);
  }

  private static boolean isRowMajor(long[] shape, long[] strides) {
    long expected = 1;
    for (int dim = shape.length - 1; dim >= 0; dim--) {
      if (shape[dim] != 1) {
        if (strides[dim] != expected) {
          return false;
        }
        expected *= shape[dim];
      }
    }
    return true;
  }

  private static long multiply(long a, long b, DType dtype, long[] shape) {
    long product = a * b;
    if (Math.multiplyHigh(a, b) != 0 || product < 0) {
      throw tooBig(dtype, shape);
    }
    return product;
  }

  private static IllegalArgumentException tooBig(DType dtype, long[] shape) {
    return new IllegalArgumentException(
        "shape: %s %s reaches beyond 2^63 bytes".formatted(text(shape), dtype));
  }
}
