package dev.gatun.bench.measure;

/**
 * Whether somebody else uses the core of the calling thread, by the gauge of {@code
 * native/bench/core_contention.h}: a virtual CPU is a hardware thread, and another guest on its
 * sibling takes some percent of a kernel's speed and none of an FMA loop's. It looks at no time of
 * what is compared.
 *
 * <p>Pinning, it keeps the thread that made it on the least disturbed of the CPUs that the thread
 * may use, until it is closed; threads that are started meanwhile inherit that.
 */
public final class CoreContention implements Alternation.Watch, AutoCloseable {

  /** How long a look takes. */
  private static final double SECONDS = 0.0005;

  /** From how many instructions a cycle on nobody else uses the core. */
  public static final double UNDISTURBED = BenchLibrary.undisturbed();

  /** What one process spends at most on pairs in the place of disturbed ones. */
  private static final double MOST_MORE_SECONDS = 20;

  private static double moreSeconds = MOST_MORE_SECONDS;

  private final boolean pins;

  private CoreContention(boolean pins) {
    this.pins = pins;
  }

  /** For calls that the calling thread makes alone. */
  public static CoreContention pinning() {
    return new CoreContention(true);
  }

  /** For calls on several threads: only the CPU of the caller is looked at, and nothing pinned. */
  public static CoreContention watching() {
    return new CoreContention(false);
  }

  @Override
  public double instructionsPerCycle() {
    return BenchLibrary.instructionsPerCycle(SECONDS);
  }

  @Override
  public double undisturbed() {
    return UNDISTURBED;
  }

  @Override
  public boolean move() {
    return pins && BenchLibrary.settle(SECONDS);
  }

  @Override
  public boolean spend(double seconds) {
    if (seconds > moreSeconds) {
      return false;
    }
    moreSeconds -= seconds;
    return true;
  }

  @Override
  public void close() {
    if (pins) {
      BenchLibrary.unpin();
    }
  }
}
