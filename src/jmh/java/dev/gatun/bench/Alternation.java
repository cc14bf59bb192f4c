package dev.gatun.bench;

import java.util.LinkedHashMap;
import java.util.Map;
import java.util.function.LongSupplier;

/**
 * Two peers timed in turn, A B A B …, in one thread of one JVM. Clocks and neighbours change with
 * time, and hit both alike; so the ratio of a pair says more than the times do, and the median of
 * the ratios is what reports compare.
 *
 * @param a nanoseconds a call of the baseline
 * @param b nanoseconds a call of the other
 * @param ratio b / a of each pair
 * @param difference b - a of each pair, nanoseconds
 */
public record Alternation(Spread a, Spread b, Spread ratio, Spread difference) {

  /**
   * How long and how often.
   *
   * @param windowSeconds how long the calls of one sample take at least
   * @param pairs how many samples
   * @param warmSeconds how long a peer runs before
   * @param slowWarmSeconds the same for one that the JIT compiles
   * @param warmCalls how many calls it makes before at least, unless they are long: allocators
   *     settle in a few
   * @param mostSeconds what all pairs of long calls may take; five of them are made even so
   */
  public record Effort(
      double windowSeconds,
      int pairs,
      double warmSeconds,
      double slowWarmSeconds,
      int warmCalls,
      double mostSeconds) {

    /** For results that are to be published. */
    public static final Effort FULL = new Effort(0.02, 15, 0.2, 1.5, 3, 3);

    /** For a look. */
    public static final Effort QUICK = new Effort(0.005, 3, 0.02, 0.2, 2, 1);

    /** For tests. */
    static final Effort ONCE = new Effort(0, 1, 0, 0, 1, 0);

    private static final int FEW = 5;

    /**
     * A peer that takes twice as long gets few pairs, and so do calls that are long; some get one.
     */
    int pairsFor(Peer peer, double baselineSeconds, double peerSeconds) {
      if (peer.isTimedOnce()) {
        return 1;
      }
      int few = Math.min(FEW, pairs);
      return peerSeconds > 2 * baselineSeconds
          ? few
          : (int) Math.clamp(mostSeconds / (baselineSeconds + peerSeconds), few, pairs);
    }
  }

  /** A call so long that was made before needs no other to be warm. */
  private static final double WARM_BY_ONE_SECONDS = 2;

  /** Calls so long need no others, as many as the effort says, to be warm. */
  private static final double LONG_SECONDS = 0.5;

  /** Runs a peer until it is warm, and returns seconds a call. */
  static double warm(Peer peer, Effort effort) {
    return warm(peer, effort, 0, System::nanoTime);
  }

  private static double warm(Peer peer, Effort effort, double known, LongSupplier clock) {
    if (known > WARM_BY_ONE_SECONDS) {
      return known;
    }
    double limit = peer.warmsUpSlowly() ? effort.slowWarmSeconds : effort.warmSeconds;
    long begin = clock.getAsLong();
    double last;
    int calls = 0;
    do {
      last = seconds(peer, 1, clock);
      calls++;
    } while ((clock.getAsLong() - begin) * 1e-9 < limit
        || calls < effort.warmCalls && last < LONG_SECONDS);
    return last;
  }

  private static double seconds(Peer peer, long calls, LongSupplier clock) {
    long begin = clock.getAsLong();
    peer.calls(calls);
    return Math.max(1, clock.getAsLong() - begin) * 1e-9;
  }

  private static long callsFor(Peer peer, double last, double window, LongSupplier clock) {
    if (last > window) {
      return 1;
    }
    long calls = Math.max(1, (long) (window / last));
    // a second, longer look: one call alone measures the clock where calls are short
    return Math.max(1, Math.round(window / (seconds(peer, calls, clock) / calls)));
  }

  /** Times b against the baseline a. */
  static Alternation of(Peer a, Peer b, Effort effort) {
    return of(a, b, effort, 0, 0, window -> {}, System::nanoTime);
  }

  /** What is done around the pairs, for about as long as a sample of the baseline takes. */
  interface Around {
    void window(double seconds);
  }

  /**
   * Times b against the baseline a.
   *
   * @param knownA seconds of a call of a that was made before, 0 if that is not known
   * @param knownB the same of b
   * @param around done before the first pair and after the last
   * @param clock in nanoseconds
   */
  static Alternation of(
      Peer a,
      Peer b,
      Effort effort,
      double knownA,
      double knownB,
      Around around,
      LongSupplier clock) {
    double lastA = warm(a, effort, knownA, clock);
    double lastB = warm(b, effort, knownB, clock);
    long callsA = callsFor(a, lastA, effort.windowSeconds, clock);
    long callsB = callsFor(b, lastB, effort.windowSeconds, clock);
    int pairs = effort.pairsFor(b, lastA, lastB);
    double[] as = new double[pairs];
    double[] bs = new double[pairs];
    double[] ratios = new double[pairs];
    double[] differences = new double[pairs];
    double window = Math.max(effort.windowSeconds, lastA);
    around.window(window);
    for (int i = 0; i < pairs; i++) {
      as[i] = seconds(a, callsA, clock) / callsA * 1e9;
      bs[i] = seconds(b, callsB, clock) / callsB * 1e9;
      ratios[i] = bs[i] / as[i];
      differences[i] = bs[i] - as[i];
    }
    around.window(window);
    return new Alternation(Spread.of(as), Spread.of(bs), Spread.of(ratios), Spread.of(differences));
  }

  /** For a JSON object. */
  Map<String, Object> toMap() {
    Map<String, Object> map = new LinkedHashMap<>();
    map.put("baselineNs", a.toMap());
    map.put("peerNs", b.toMap());
    map.put("ratio", ratio.toMap());
    map.put("differenceNs", difference.toMap());
    return map;
  }
}
