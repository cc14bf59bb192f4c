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

  /** How long and how often. */
  public record Effort(
      double windowSeconds, int pairs, double warmSeconds, double slowWarmSeconds) {

    /** For results that are to be published. */
    public static final Effort FULL = new Effort(0.03, 15, 0.3, 3);

    /** For a look. */
    public static final Effort QUICK = new Effort(0.005, 5, 0.05, 0.5);

    /** For tests. */
    static final Effort ONCE = new Effort(0, 1, 0, 0);

    /**
     * A peer that takes twice as long gets fewer pairs, and one that takes seconds a single one.
     */
    int pairsFor(double baselineSeconds, double peerSeconds) {
      return peerSeconds > 2 ? 1 : peerSeconds > 2 * baselineSeconds ? Math.min(5, pairs) : pairs;
    }
  }

  /** Runs a peer until it is warm, and returns seconds a call. */
  static double warm(Peer peer, Effort effort) {
    return warm(peer, effort, System::nanoTime);
  }

  private static double warm(Peer peer, Effort effort, LongSupplier clock) {
    double limit = peer.warmsUpSlowly() ? effort.slowWarmSeconds : effort.warmSeconds;
    long begin = clock.getAsLong();
    double last;
    do {
      last = seconds(peer, 1, clock);
    } while ((clock.getAsLong() - begin) * 1e-9 < limit);
    return last;
  }

  private static double seconds(Peer peer, long calls, LongSupplier clock) {
    long begin = clock.getAsLong();
    peer.calls(calls);
    return Math.max(1, clock.getAsLong() - begin) * 1e-9;
  }

  private static long callsFor(Peer peer, double last, double window, LongSupplier clock) {
    long calls = Math.max(1, (long) (window / last));
    // a second, longer look: one call alone measures the clock where calls are short
    return Math.max(1, Math.round(window / (seconds(peer, calls, clock) / calls)));
  }

  /** Times b against the baseline a. */
  static Alternation of(Peer a, Peer b, Effort effort) {
    return of(a, b, effort, System::nanoTime);
  }

  /** The same by a clock of the caller's, in nanoseconds. */
  static Alternation of(Peer a, Peer b, Effort effort, LongSupplier clock) {
    double lastA = warm(a, effort, clock);
    double lastB = warm(b, effort, clock);
    long callsA = callsFor(a, lastA, effort.windowSeconds, clock);
    long callsB = lastB > 2 ? 1 : callsFor(b, lastB, effort.windowSeconds, clock);
    int pairs = effort.pairsFor(lastA, lastB);
    double[] as = new double[pairs];
    double[] bs = new double[pairs];
    double[] ratios = new double[pairs];
    double[] differences = new double[pairs];
    for (int i = 0; i < pairs; i++) {
      as[i] = seconds(a, callsA, clock) / callsA * 1e9;
      bs[i] = seconds(b, callsB, clock) / callsB * 1e9;
      ratios[i] = bs[i] / as[i];
      differences[i] = bs[i] - as[i];
    }
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
