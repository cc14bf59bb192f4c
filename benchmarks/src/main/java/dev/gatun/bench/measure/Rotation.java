package dev.gatun.bench.measure;

import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.function.DoublePredicate;

/**
 * Any number of contestants in turn, a block of calls of each, A B C A B C …: what {@link
 * Alternation} is for two. Every round begins with another one, so that nobody always follows the
 * same neighbor.
 */
public final class Rotation {

  /** One way to compute something, ready for it. */
  public interface Contestant {
    String name();

    /** Seconds of a call, as far as that is known. */
    double seconds();

    /**
     * Makes calls for about so long, after some that do not count.
     *
     * @throws Failure if it cannot
     */
    Series.Sample block(double seconds);
  }

  /** A contestant is gone; the others go on. */
  public static final class Failure extends RuntimeException {
    private static final long serialVersionUID = 1;

    public Failure(String message) {
      super(message);
    }
  }

  /**
   * What a contestant came to.
   *
   * @param series its samples, null if there are none
   * @param missing why there are none
   */
  public record Result(Series series, String missing) {}

  private static final int FEW = 5;

  private Rotation() {}

  /** Long calls get fewer rounds; a rotation of n may take as long as n / 2 pairs. */
  static int rounds(List<? extends Contestant> contestants, Alternation.Effort effort) {
    double round = 0;
    for (Contestant each : contestants) {
      round += Math.max(effort.windowSeconds(), each.seconds());
    }
    double most = effort.mostSeconds() * contestants.size() / 2;
    return (int) Math.clamp(most / round, Math.min(FEW, effort.pairs()), effort.pairs());
  }

  /**
   * Times them all.
   *
   * @param between done before every block
   * @param spend whether there is so much time for one more round, in the place of a disturbed one
   */
  public static Map<String, Result> of(
      List<? extends Contestant> contestants,
      Alternation.Effort effort,
      Runnable between,
      DoublePredicate spend) {
    Map<String, Result> results = new LinkedHashMap<>();
    List<Contestant> running = new ArrayList<>(contestants);
    Map<String, List<Series.Sample>> samples = new LinkedHashMap<>();
    contestants.forEach(each -> samples.put(each.name(), new ArrayList<>()));
    int rounds = rounds(contestants, effort);
    for (int round = 0;
        round < rounds || wantsMore(round, rounds, samples, running, spend);
        round++) {
      List<Contestant> gone = new ArrayList<>();
      for (int i = 0; i < running.size(); i++) {
        Contestant each = running.get((i + round) % running.size());
        between.run();
        try {
          samples.get(each.name()).add(each.block(effort.windowSeconds()));
        } catch (Failure e) {
          gone.add(each);
          results.put(each.name(), new Result(null, e.getMessage()));
        }
      }
      running.removeAll(gone);
      if (running.isEmpty()) {
        break;
      }
    }
    running.forEach(
        each -> results.put(each.name(), new Result(new Series(samples.get(each.name())), null)));
    return results;
  }

  private static boolean wantsMore(
      int round,
      int rounds,
      Map<String, List<Series.Sample>> samples,
      List<Contestant> running,
      DoublePredicate spend) {
    boolean disturbed =
        running.stream().anyMatch(each -> new Series(samples.get(each.name())).isDisturbed());
    return disturbed
        && round < Alternation.mostPairs(rounds)
        && spend.test(running.stream().mapToDouble(Contestant::seconds).sum());
  }
}
