package dev.gatun.cli;

import dev.gatun.Tensor;
import dev.gatun.internal.Messages;
import java.lang.foreign.ValueLayout;

/**
 * The worst difference of two arrays of the same shape and where it is. Equal numbers, infinite
 * ones too, and two NaN differ by 0; a NaN and a number differ by infinity.
 *
 * @param index of the worst element; empty if there is no element
 */
record Difference(double worst, long[] index, float got, float expected) {

  /** Compares two row-major tensors. */
  static Difference between(Tensor got, Tensor expected) {
    double worst = -1;
    long at = 0;
    for (long i = 0; i < got.elements(); i++) {
      float a = got.segment().getAtIndex(ValueLayout.JAVA_FLOAT, i);
      float b = expected.segment().getAtIndex(ValueLayout.JAVA_FLOAT, i);
      double difference =
          a == b || (Float.isNaN(a) && Float.isNaN(b)) ? 0 : Math.abs((double) a - b);
      if (Double.isNaN(difference)) {
        difference = Double.POSITIVE_INFINITY;
      }
      if (difference > worst) {
        worst = difference;
        at = i;
      }
    }
    if (worst < 0) {
      return new Difference(0, new long[0], 0, 0);
    }
    long[] index = got.shape();
    long rest = at;
    for (int dim = index.length - 1; dim >= 0; dim--) {
      long size = index[dim];
      index[dim] = rest % size;
      rest /= size;
    }
    return new Difference(worst, index, got.getFloat(index), expected.getFloat(index));
  }

  String where() {
    return index.length == 0
        ? ""
        : " at %s (%s, expected %s)".formatted(Messages.sizes(index), got, expected);
  }
}
