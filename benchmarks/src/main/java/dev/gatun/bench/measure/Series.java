package dev.gatun.bench.measure;

import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.function.IntPredicate;
import java.util.function.IntToDoubleFunction;
import java.util.stream.IntStream;

/**
 * What one contestant of a {@link Rotation} took, round by round. Samples of one round were taken
 * next to each other, so that two series are compared by the ratios of their rounds.
 *
 * @param samples one for each round
 */
public record Series(List<Sample> samples) {

  /** Whether somebody else used the core meanwhile; it may be that nobody can tell. */
  public enum Quiet {
    NO,
    YES,
    UNKNOWN
  }

  /**
   * A block of calls.
   *
   * @param nanos of a call
   * @param quiet what the gauge said right before it and right after it
   * @param roof what the machine could do around it, operations a second; 0 if nobody asked
   */
  public record Sample(double nanos, Quiet quiet, double roof) {}

  public Series {
    samples = List.copyOf(samples);
  }

  /** Some rounds: the undisturbed ones if there are enough of them, else all. */
  private Quartiles over(int rounds, IntPredicate isQuiet, IntToDoubleFunction value) {
    int[] quiet = IntStream.range(0, rounds).filter(isQuiet).toArray();
    IntStream chosen =
        quiet.length >= Math.min(Alternation.ENOUGH, rounds)
            ? IntStream.of(quiet)
            : IntStream.range(0, rounds);
    return Quartiles.of(chosen.mapToDouble(value).toArray());
  }

  private boolean isQuiet(int round) {
    return samples.get(round).quiet == Quiet.YES;
  }

  /** How many rounds were undisturbed; negative if nobody knows. */
  public int undisturbed() {
    return samples.stream().anyMatch(each -> each.quiet == Quiet.UNKNOWN)
        ? -1
        : (int) samples.stream().filter(each -> each.quiet == Quiet.YES).count();
  }

  /** Whether too few rounds were undisturbed, so that all count. */
  public boolean isDisturbed() {
    return undisturbed() >= 0 && undisturbed() < Math.min(Alternation.ENOUGH, samples.size());
  }

  /** Nanoseconds of a call. */
  public Quartiles nanos() {
    return over(samples.size(), this::isQuiet, i -> samples.get(i).nanos);
  }

  /** The share of the roof that so many operations a call come to. */
  public Quartiles share(double operations) {
    return over(
        samples.size(),
        this::isQuiet,
        i -> operations / samples.get(i).nanos * 1e9 / samples.get(i).roof);
  }

  /** This one's time over the other's, by rounds that both have. */
  public Quartiles over(Series other) {
    return over(
        Math.min(samples.size(), other.samples.size()),
        i -> isQuiet(i) && other.isQuiet(i),
        i -> samples.get(i).nanos / other.samples.get(i).nanos);
  }

  /** For a JSON object. */
  public Map<String, Object> toMap() {
    Map<String, Object> map = new LinkedHashMap<>();
    map.put("ns", samples.stream().map(each -> Quartiles.rounded(each.nanos)).toList());
    map.put("quiet", samples.stream().map(each -> each.quiet.ordinal()).toList());
    if (samples.stream().anyMatch(each -> each.roof > 0)) {
      map.put("roof", samples.stream().map(each -> Quartiles.rounded(each.roof)).toList());
    }
    return map;
  }

  /** Reads such an object. */
  public static Series fromMap(Map<?, ?> map) {
    List<?> nanos = (List<?>) map.get("ns");
    List<?> quiet = (List<?>) map.get("quiet");
    List<?> roof = (List<?>) map.get("roof");
    List<Sample> samples = new ArrayList<>();
    for (int i = 0; i < nanos.size(); i++) {
      samples.add(
          new Sample(
              ((Number) nanos.get(i)).doubleValue(),
              Quiet.values()[((Number) quiet.get(i)).intValue()],
              roof == null ? 0 : ((Number) roof.get(i)).doubleValue()));
    }
    return new Series(samples);
  }
}
