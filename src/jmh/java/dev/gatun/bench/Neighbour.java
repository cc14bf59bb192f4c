package dev.gatun.bench;

/**
 * Whether somebody else uses the core of the calling thread, by the gauge of {@code
 * native/bench/neighbour.h}: a virtual CPU is a hardware thread, and another guest on its sibling
 * takes some percent of a kernel's speed and none of an FMA loop's. It looks at no time of what is
 * compared.
 *
 * <p>Pinning, it keeps the thread that made it on the least disturbed of the CPUs that the thread
 * may use, until it is closed; threads that are started meanwhile inherit that.
 */
final class Neighbour implements Alternation.Watch, AutoCloseable {

  /** How long a look takes. */
  private static final double SECONDS = 0.0005;

  /** From how many instructions a cycle on nobody else uses the core. */
  static final double UNDISTURBED = BenchLibrary.undisturbed();

  /** What one process spends at most on pairs in the place of disturbed ones. */
  private static final double MOST_MORE_SECONDS = 20;

  private static double moreSeconds = MOST_MORE_SECONDS;

  private final boolean pins;

  private Neighbour(boolean pins) {
    this.pins = pins;
  }

  /** For calls that the calling thread makes alone. */
  static Neighbour pinning() {
    return new Neighbour(true);
  }

  /** For calls on several threads: only the CPU of the caller is looked at, and nothing pinned. */
  static Neighbour watching() {
    return new Neighbour(false);
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
