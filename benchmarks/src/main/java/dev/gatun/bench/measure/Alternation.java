package dev.gatun.bench.measure;

import java.util.Arrays;
import java.util.LinkedHashMap;
import java.util.Map;
import java.util.function.IntToDoubleFunction;
import java.util.function.LongSupplier;
import java.util.stream.IntStream;

/**
 * Two peers timed in turn, A B A B …, in one thread of one JVM. Clocks and neighbors change with
 * time, and hit both alike; so the ratio of a pair says more than the times do, and the median of
 * the ratios is what reports compare.
 *
 * <p>A pair is undisturbed if a {@link Watch} says so right before it and right after it. Only such
 * pairs count if there are enough of them, else all do; the times themselves decide nothing.
 *
 * @param a nanoseconds a call of the baseline
 * @param b nanoseconds a call of the other
 * @param ratio b / a of each pair
 * @param difference b - a of each pair, nanoseconds
 * @param pairs how many were timed
 * @param undisturbed how many of them were undisturbed; negative if nobody knows
 * @param instructionsPerCycle the watch's numbers, of which NaN is none
 */
public record Alternation(
    Quartiles a,
    Quartiles b,
    Quartiles ratio,
    Quartiles difference,
    int pairs,
    int undisturbed,
    Quartiles instructionsPerCycle) {

  /** So many undisturbed pairs are enough to leave the others out. */
  public static final int ENOUGH = 5;

  /** Whether so many undisturbed pairs, of so many that were wanted, are enough. */
  static boolean isEnough(int undisturbed, int wanted) {
    return undisturbed >= Math.min(ENOUGH, wanted);
  }

  /**
   * Whether too few pairs were undisturbed. The samples that were chosen are the undisturbed ones,
   * or all.
   */
  public static boolean isDisturbed(Quartiles chosen, int undisturbed) {
    return undisturbed >= 0 && chosen.count() != undisturbed;
  }

  /** Where too few pairs are undisturbed others are timed, up to one and a half times as many. */
  static int mostPairs(int wanted) {
    return wanted + wanted / 2;
  }

  /** Tells whether somebody else uses the core. */
  interface Watch {

    /** Instructions a cycle of a loop that wants the whole core; NaN if that is not known. */
    double instructionsPerCycle();

    /** From how many of them on a core is undisturbed. */
    double undisturbed();

    /** Moves the thread to a less disturbed CPU; whether there was one. */
    boolean move();

    /** Whether there is so much time for one more pair, which is then used up. */
    boolean spend(double seconds);

    /** Knows nothing. */
    Watch NONE =
        new Watch() {
          @Override
          public double instructionsPerCycle() {
            return Double.NaN;
          }

          @Override
          public double undisturbed() {
            return Double.NaN;
          }

          @Override
          public boolean move() {
            return false;
          }

          @Override
          public boolean spend(double seconds) {
            return false;
          }
        };
  }

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
    public static final Effort FULL = new Effort(0.02, 15, 0.2, 1.5, 3, 2);

    /** For a look. */
    public static final Effort QUICK = new Effort(0.005, 3, 0.02, 0.2, 2, 1);

    /** For tests. */
    public static final Effort ONCE = new Effort(0, 1, 0, 0, 1, 0);

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
  public static double warm(Peer peer, Effort effort) {
    return warm(peer, effort, 0, System::nanoTime);
  }

  private static double warm(Peer peer, Effort effort, double known, LongSupplier clock) {
    if (known > WARM_BY_ONE_SECONDS) {
      return known;
    }
    double limit = peer.warmsUpSlowly() ? effort.slowWarmSeconds : effort.warmSeconds;
    long begin = clock.getAsLong();
    double last;
    double least = Double.POSITIVE_INFINITY; // any other call may have been interrupted
    int calls = 0;
    do {
      last = seconds(peer, 1, clock);
      least = Math.min(least, last);
      calls++;
    } while ((clock.getAsLong() - begin) * 1e-9 < limit
        || calls < effort.warmCalls && last < LONG_SECONDS);
    return least;
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

  /** Times b against the baseline a, with an eye on the core. */
  public static Alternation of(Peer a, Peer b, Effort effort, Watch watch) {
    return of(a, b, effort, 0, 0, window -> {}, watch, System::nanoTime);
  }

  /** What is done around the pairs, for about as long as a sample of the baseline takes. */
  public interface Around {
    void window(double seconds);

    /** Done before each sample of either. */
    default void turn() {}
  }

  /**
   * Times b against the baseline a.
   *
   * @param knownA seconds of a call of a that was made before, 0 if that is not known
   * @param knownB the same of b
   * @param around done before the first pair and after the last, and before every sample
   * @param watch says which pairs are undisturbed
   * @param clock in nanoseconds
   */
  public static Alternation of(
      Peer a,
      Peer b,
      Effort effort,
      double knownA,
      double knownB,
      Around around,
      Watch watch,
      LongSupplier clock) {
    watch.move();
    double lastA = warm(a, effort, knownA, clock);
    double lastB = warm(b, effort, knownB, clock);
    long callsA = callsFor(a, lastA, effort.windowSeconds, clock);
    long callsB = callsFor(b, lastB, effort.windowSeconds, clock);
    int pairs = effort.pairsFor(b, lastA, lastB);
    double pairSeconds =
        Math.max(effort.windowSeconds, lastA) + Math.max(effort.windowSeconds, lastB);
    Samples samples = new Samples(pairs);
    double window = Math.max(effort.windowSeconds, lastA);
    around.window(window);
    double before = watch.instructionsPerCycle();
    while (samples.wantsMore(watch, pairSeconds)) {
      if (before < watch.undisturbed() && watch.move()) {
        for (Peer peer : new Peer[] {a, b}) {
          if ((peer == a ? lastA : lastB) <= effort.windowSeconds) {
            peer.calls(1); // the caches are cold; long calls do not mind
          }
        }
        before = watch.instructionsPerCycle();
      }
      around.turn();
      double timeA = seconds(a, callsA, clock) / callsA * 1e9;
      around.turn();
      double timeB = seconds(b, callsB, clock) / callsB * 1e9;
      double after = watch.instructionsPerCycle();
      samples.add(timeA, timeB, before, after, watch.undisturbed());
      before = after;
    }
    around.window(window);
    return samples.toAlternation();
  }

  /** The pairs of one alternation. */
  static final class Samples {
    private final int wanted;
    private final double[] as;
    private final double[] bs;
    private final boolean[] isUndisturbed;
    private final double[] gauges;
    private int count;
    private int undisturbed;

    Samples(int wanted) {
      int most = mostPairs(wanted);
      this.wanted = wanted;
      as = new double[most];
      bs = new double[most];
      isUndisturbed = new boolean[most];
      gauges = new double[2 * most];
    }

    /** Which is a matter of the watch alone. */
    void add(double a, double b, double before, double after, double threshold) {
      as[count] = a;
      bs[count] = b;
      gauges[2 * count] = before;
      gauges[2 * count + 1] = after;
      isUndisturbed[count] = before >= threshold && after >= threshold;
      undisturbed += isUndisturbed[count] ? 1 : 0;
      count++;
    }

    private boolean isKnown() {
      return count > 0 && !Double.isNaN(gauges[0]);
    }

    boolean wantsMore(Watch watch, double pairSeconds) {
      return count < wanted
          || isKnown()
              && count < as.length
              && !isEnough(undisturbed, wanted)
              && watch.spend(pairSeconds);
    }

    private double[] chosen(IntToDoubleFunction value) {
      boolean all = !isEnough(undisturbed, wanted);
      return IntStream.range(0, count)
          .filter(i -> all || isUndisturbed[i])
          .mapToDouble(value)
          .toArray();
    }

    Alternation toAlternation() {
      return new Alternation(
          Quartiles.of(chosen(i -> as[i])),
          Quartiles.of(chosen(i -> bs[i])),
          Quartiles.of(chosen(i -> bs[i] / as[i])),
          Quartiles.of(chosen(i -> bs[i] - as[i])),
          count,
          isKnown() ? undisturbed : -1,
          Quartiles.of(isKnown() ? Arrays.copyOf(gauges, 2 * count) : new double[0]));
    }
  }

  /** For a JSON object. */
  public Map<String, Object> toMap() {
    Map<String, Object> map = new LinkedHashMap<>();
    map.put("baselineNs", a.toMap());
    map.put("peerNs", b.toMap());
    map.put("ratio", ratio.toMap());
    map.put("differenceNs", difference.toMap());
    map.put("pairs", pairs);
    if (undisturbed >= 0) {
      map.put("undisturbed", undisturbed);
      map.put("instructionsPerCycle", Quartiles.rounded(instructionsPerCycle.median()));
    }
    return map;
  }
}
