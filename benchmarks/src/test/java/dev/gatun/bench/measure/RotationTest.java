package dev.gatun.bench.measure;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertNull;
import static org.junit.jupiter.api.Assertions.assertTrue;

import dev.gatun.bench.measure.Series.Quiet;
import dev.gatun.bench.measure.Series.Sample;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.function.IntFunction;
import java.util.stream.IntStream;
import org.junit.jupiter.api.Test;

/** Turns, rounds and samples, with made-up times. */
class RotationTest {

  private final List<String> turns = new ArrayList<>();

  private Rotation.Contestant contestant(String name, double seconds, IntFunction<Sample> block) {
    return new Rotation.Contestant() {
      private int round;

      @Override
      public String name() {
        return name;
      }

      @Override
      public double seconds() {
        return seconds;
      }

      @Override
      public Sample block(double window) {
        turns.add(name);
        return block.apply(round++);
      }
    };
  }

  private static Sample sample(double nanos, Quiet quiet) {
    return new Sample(nanos, quiet, 0);
  }

  private static final Alternation.Effort EFFORT = new Alternation.Effort(0.02, 6, 0, 0, 1, 2);

  @Test
  void everyRoundBeginsWithAnother() {
    Map<String, Rotation.Result> results =
        Rotation.of(
            List.of(
                contestant("a", 1e-3, i -> sample(1, Quiet.YES)),
                contestant("b", 1e-3, i -> sample(2, Quiet.YES)),
                contestant("c", 1e-3, i -> sample(3, Quiet.YES))),
            EFFORT,
            () -> turns.add("-"),
            seconds -> false);
    assertEquals("-a-b-c-b-c-a-c-a-b", String.join("", turns).substring(0, 18));
    assertEquals(6, results.get("c").series().samples().size());
    assertEquals(3, results.get("c").series().over(results.get("a").series()).median());
  }

  @Test
  void whoFailsIsGoneAndTheOthersGoOn() {
    Map<String, Rotation.Result> results =
        Rotation.of(
            List.of(
                contestant("a", 1e-3, i -> sample(1, Quiet.YES)),
                contestant(
                    "b",
                    1e-3,
                    i -> {
                      throw new Rotation.Failure("exit code 134");
                    })),
            EFFORT,
            () -> {},
            seconds -> false);
    assertEquals("exit code 134", results.get("b").missing());
    assertNull(results.get("a").missing());
    assertEquals(6, results.get("a").series().samples().size());
  }

  @Test
  void longCallsHaveFewRoundsAndDisturbedOnesMore() {
    Rotation.Contestant slow = contestant("slow", 3, i -> sample(3e9, Quiet.YES));
    assertEquals(5, Rotation.rounds(List.of(slow, slow), EFFORT));
    Map<String, Rotation.Result> results =
        Rotation.of(
            List.of(contestant("a", 1e-3, i -> sample(i, i < 4 ? Quiet.NO : Quiet.YES))),
            EFFORT,
            () -> {},
            seconds -> true);
    Series series = results.get("a").series();
    assertEquals(9, series.samples().size());
    assertEquals(5, series.undisturbed());
    assertFalse(series.isDisturbed());
    assertEquals(6, series.nanos().median(), "of the undisturbed alone");
  }

  @Test
  void samplesAreWrittenAndRead() {
    Series series =
        new Series(
            IntStream.range(0, 5)
                .mapToObj(i -> new Sample(1000 + i, i == 0 ? Quiet.NO : Quiet.YES, 2e9))
                .toList());
    assertEquals(series, Series.fromMap(series.toMap()));
    assertTrue(series.isDisturbed());
    assertEquals(0.5, series.share(1002).median());
    Series unknown = new Series(List.of(sample(5, Quiet.UNKNOWN)));
    assertEquals(unknown, Series.fromMap(unknown.toMap()));
    assertEquals(-1, unknown.undisturbed());
    assertFalse(unknown.isDisturbed());
  }
}
