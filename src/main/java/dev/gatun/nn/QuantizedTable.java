package dev.gatun.nn;

import dev.gatun.DType;
import dev.gatun.Tensor;
import java.util.Objects;

/**
 * A table of embeddings with a byte for each element, which is {@code (number - zeroPoint) ·
 * scale}: a quarter of the memory of float32. The numbers are not copied, and their arena must stay
 * open.
 *
 * @param numbers {@code [vocabulary, dim]} uint8, contiguous
 * @param scale finite and above 0
 * @param zeroPoint which number is 0, 0 .. 255
 */
public record QuantizedTable(Tensor numbers, float scale, int zeroPoint) {

  /** Refuses what is no such table. */
  public QuantizedTable {
    Objects.requireNonNull(numbers, "numbers");
    if (numbers.dtype() != DType.UINT8
        || numbers.rank() != 2
        || numbers.size(0) < 1
        || numbers.size(0) > Integer.MAX_VALUE
        || numbers.size(1) < 1
        || !numbers.isContiguous()) {
      throw Rows.bad("numbers", "[vocabulary, dim] uint8, contiguous", numbers);
    }
    if (!(scale > 0) || Float.isInfinite(scale)) {
      throw new IllegalArgumentException("scale: expected a finite number above 0, got " + scale);
    }
    if (zeroPoint < 0 || zeroPoint > 255) {
      throw new IllegalArgumentException("zeroPoint: expected 0 .. 255, got " + zeroPoint);
    }
  }
}
