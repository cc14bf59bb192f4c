package dev.gatun.support;

/** How far a result is from what it should be. */
public final class Difference {

  private Difference() {}

  /**
   * The greatest difference of two elements, as a share of the greatest element of want. NaN if any
   * is, or if want is nothing but zeros.
   */
  public static double share(double[] want, float[] got) {
    if (want.length != got.length) {
      throw new AssertionError(want.length + " and " + got.length + " elements");
    }
    double most = 0;
    double error = 0;
    for (int i = 0; i < want.length; i++) {
      most = Math.max(most, Math.abs(want[i]));
      double difference = Math.abs(want[i] - got[i]);
      error = difference <= error ? error : difference; // NaN stays
    }
    return error / most;
  }

  /** The same of floats. */
  public static double share(float[] want, float[] got) {
    double[] doubles = new double[want.length];
    for (int i = 0; i < want.length; i++) {
      doubles[i] = want[i];
    }
    return share(doubles, got);
  }
}
