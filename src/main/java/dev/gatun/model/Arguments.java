package dev.gatun.model;

import dev.gatun.DType;
import dev.gatun.Tensor;
import java.util.Arrays;

/** Checks of what models are called with, before they compute anything. */
final class Arguments {

  private Arguments() {}

  /** A tensor of a type and a shape; -1 stands for any size. */
  static void check(String name, Tensor tensor, DType dtype, long... shape) {
    boolean fits = tensor.dtype() == dtype && tensor.rank() == shape.length;
    for (int dim = 0; fits && dim < shape.length; dim++) {
      fits = shape[dim] < 0 || tensor.size(dim) == shape[dim];
    }
    if (!fits) {
      throw new IllegalArgumentException(
          "%s: expected %s %s, got %s %s"
              .formatted(
                  name,
                  Arrays.toString(shape).replace("-1", "any"),
                  dtype,
                  Arrays.toString(tensor.shape()),
                  tensor.dtype()));
    }
  }

  /** The same of a tensor that is written. */
  static void checkOutput(String name, Tensor tensor, long... shape) {
    check(name, tensor, DType.FLOAT32, shape);
    if (tensor.isReadOnly()) {
      throw new IllegalArgumentException(
          name + ": expected memory that can be written, got a read-only segment");
    }
  }
}
