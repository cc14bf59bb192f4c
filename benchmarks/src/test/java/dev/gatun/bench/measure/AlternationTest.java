package dev.gatun.bench.measure;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertNull;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.util.ArrayList;
import java.util.List;
import org.junit.jupiter.api.Test;

/** Times of two peers in turn, the gauge by which pairs are left out, and the medians. */
class AlternationTest {

  /** Takes a time by a clock that only it moves. */
  private static class Ticking extends Peer {
    private final long[] clock;
    private final long nanos;
    private long calls;

    Ticking(String name, long[] clock, long nanos) {
      super(name);
      this.clock = clock;
      this.nanos = nanos;
    }

    @Override
    public void calls(long n) {
      calls += n;
      clock[0] += n * nanos;
    }

    @Override
    public Workload.Answer answer() {
      throw new AssertionError("not asked for");
    }
  }

  private static Alternation times(
      Peer a, Peer b, Alternation.Effort effort, double known, long[] clock) {
    return Alternation.of(
        a, b, effort, 0, known, window -> {}, Alternation.Watch.NONE, () -> clock[0]);
  }

  @Test
  void alternationComparesTimesOfACall() {
    long[] clock = new long[1];
    Ticking a = new Ticking("a", clock, 1_000);
    Ticking b = new Ticking("b", clock, 1_500);
    Alternation.Effort effort = new Alternation.Effort(0.001, 9, 0.01, 0.01, 1, 1);
    List<Double> windows = new ArrayList<>();
    Alternation times =
        Alternation.of(a, b, effort, 0, 0, windows::add, Alternation.Watch.NONE, () -> clock[0]);
    assertEquals(1.5, times.ratio().median(), 1e-9);
    assertEquals(500, times.difference().median(), 1e-6);
    assertEquals(9, times.ratio().count());
    assertTrue(
        a.calls >= 10_000 + 9 * 1000, () -> "" + a.calls); // warm for 10 ms, 9 windows of 1 ms
    assertEquals(List.of(0.001, 0.001), windows);
  }

  @Test
  void everySampleHasATurn() {
    long[] clock = new long[1];
    Ticking a = new Ticking("a", clock, 1_000);
    Ticking b = new Ticking("b", clock, 1_500);
    List<Long> callsBefore = new ArrayList<>();
    Alternation.Around around =
        new Alternation.Around() {
          @Override
          public void window(double seconds) {}

          @Override
          public void turn() {
            callsBefore.add(a.calls - b.calls);
          }
        };
    Alternation.Effort effort = new Alternation.Effort(0, 3, 0, 0, 1, 1);
    Alternation.of(a, b, effort, 0, 0, around, Alternation.Watch.NONE, () -> clock[0]);
    long start = callsBefore.getFirst(); // then one has had its sample, then both
    assertEquals(List.of(start, start + 1, start, start + 1, start, start + 1), callsBefore);
  }

  @Test
  void slowPeersGetFewerPairs() {
    long[] clock = new long[1];
    Alternation.Effort effort = new Alternation.Effort(0.001, 15, 0, 0, 1, 5);
    Ticking fast = new Ticking("fast", clock, 1_000);
    Ticking slower = new Ticking("slower", clock, 2_500);
    assertEquals(5, times(fast, slower, effort, 0, clock).ratio().count());
    // long calls: as many as the time allows, but five
    Ticking half = new Ticking("half", clock, 250_000_000);
    assertEquals(10, times(half, half, effort, 0, clock).ratio().count());
    Ticking long2 = new Ticking("long", clock, 2_000_000_000);
    assertEquals(5, times(long2, long2, effort, 0, clock).ratio().count());
    // one sample, and no other call where one was made before
    Ticking once =
        new Ticking("once", clock, 3_000_000_000L) {
          @Override
          public boolean isTimedOnce() {
            return true;
          }
        };
    assertEquals(1, times(fast, once, effort, 3, clock).ratio().count());
    assertEquals(1, once.calls);
  }

  /** Says what it is told, the last for ever. */
  private static final class Told implements Alternation.Watch {
    private final double[] gauges;
    private int asked;
    private int moves;
    private int spent;
    private double left = 100;

    Told(double... gauges) {
      this.gauges = gauges;
    }

    @Override
    public double instructionsPerCycle() {
      return gauges[Math.min(asked++, gauges.length - 1)];
    }

    @Override
    public double undisturbed() {
      return 5;
    }

    @Override
    public boolean move() {
      moves++;
      return false;
    }

    @Override
    public boolean spend(double seconds) {
      spent++;
      left -= seconds;
      return left >= 0;
    }
  }

  private static Alternation watched(Alternation.Watch watch, int pairs, long... nanos) {
    long[] clock = new long[1];
    Peer steady = new Ticking("steady", clock, 1_000_000);
    Peer varying =
        new Peer("varying") {
          private int call = -2; // warm, and how many calls make a window

          @Override
          public void calls(long n) {
            clock[0] += n * nanos[Math.clamp(call++, 0, nanos.length - 1)];
          }

          @Override
          public Workload.Answer answer() {
            throw new AssertionError("not asked for");
          }
        };
    Alternation.Effort effort = new Alternation.Effort(0.0015, pairs, 0, 0, 1, 3);
    return Alternation.of(steady, varying, effort, 0, 0, window -> {}, watch, () -> clock[0]);
  }

  @Test
  void disturbedPairsAreLeftOutWhereEnoughAreNot() {
    // the gauge falls around the third and the fourth pair, which are between two gauges each
    Told watch = new Told(6, 6, 6, 4, 6);
    Alternation times = watched(watch, 9, 1_500_000, 1_500_000, 9_000_000, 9_000_000, 1_500_000);
    assertEquals(9, times.pairs());
    assertEquals(7, times.undisturbed());
    assertEquals(7, times.ratio().count());
    assertEquals(7, times.a().count());
    assertEquals(1.5, times.ratio().q3(), 1e-9);
    assertEquals(6, times.instructionsPerCycle().median());
    assertEquals(0, watch.spent);
    assertEquals(2, watch.moves, "once before all, once when the gauge fell");
  }

  /** Slow or fast: what is chosen does not depend on it. */
  @Test
  void timesDoNotDecideWhichPairsCount() {
    Told watch = new Told(6);
    Alternation times = watched(watch, 9, 1_500_000, 9_000_000, 1_500_000);
    assertEquals(9, times.undisturbed());
    assertEquals(9, times.ratio().count());
  }

  @Test
  void whereTooFewPairsAreUndisturbedAllCount() {
    Told watch = new Told(6, 6, 6, 6, 6, 4);
    Alternation times = watched(watch, 9, 1_500_000);
    assertEquals(13, times.pairs(), "half as many again");
    assertEquals(4, times.undisturbed());
    assertEquals(13, times.ratio().count());
    assertTrue(Alternation.isDisturbed(times.ratio(), times.undisturbed()));
    // no time for more
    watch = new Told(4);
    watch.left = 0;
    times = watched(watch, 9, 1_500_000);
    assertEquals(9, times.pairs());
    assertEquals(9, times.ratio().count());
    // the fifth undisturbed pair ends it
    times = watched(new Told(4, 4, 4, 4, 4, 4, 4, 6), 9, 1_500_000);
    assertEquals(12, times.pairs());
    assertEquals(5, times.ratio().count());
    // few were wanted
    assertTrue(Alternation.isEnough(3, 3));
    assertEquals(3, watched(new Told(6), 3, 1_500_000).undisturbed());
  }

  @Test
  void withoutAGaugeAllPairsCount() {
    Alternation times = watched(Alternation.Watch.NONE, 9, 1_500_000);
    assertEquals(9, times.pairs());
    assertEquals(-1, times.undisturbed());
    assertEquals(9, times.ratio().count());
    assertNull(times.toMap().get("undisturbed"));
    assertEquals(9, times.toMap().get("pairs"));
  }

  @Test
  void theGaugeIsThatOfTheCore() {
    double rate = BenchLibrary.instructionsPerCycle(0.001);
    assertEquals(!System.getProperty("os.arch").equals("amd64"), Double.isNaN(rate));
    assertTrue(Double.isNaN(rate) || rate > 0 && rate < 16, "" + rate);
    assertTrue(BenchLibrary.undisturbed() > 0);
    try (CoreContention contention = CoreContention.pinning()) {
      contention.move();
    }
    assertFalse(CoreContention.watching().move());
    assertFalse(BenchLibrary.pin(-1));
  }

  @Test
  void quartiles() {
    Quartiles quartiles = Quartiles.of(5, 1, 3, 2, 4);
    assertEquals(new Quartiles(3, 2, 4, 5), quartiles);
    assertEquals(quartiles, Quartiles.fromMap(quartiles.toMap()));
    assertEquals(2.5, Quartiles.of(1, 2, 3, 4).median());
    assertEquals(7, Quartiles.of(7).q3());
  }
}
