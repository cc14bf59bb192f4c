package dev.gatun.bench.report;

import static dev.gatun.bench.report.Cells.DISTURBED;

import dev.gatun.bench.measure.Alternation;
import java.util.List;
import java.util.Map;
import java.util.OptionalDouble;

/** Where and when a run was, and how disturbed it was. */
final class EnvironmentSection {

  private final Results results;
  private final Markdown page;

  EnvironmentSection(Results results, Markdown page) {
    this.results = results;
    this.page = page;
  }

  void environment() {
    page.heading("Where and when", "");
    page.tableHead("", "");
    ((Map<?, ?>) results.get("environment"))
        .forEach((name, value) -> page.line("| %s | %s |", name, value));
    if (results.get("steps") instanceof Map<?, ?> steps) {
      steps.forEach(
          (name, value) -> {
            Map<?, ?> step = (Map<?, ?>) value;
            page.line("| step %s | %s s, ended %s |", name, step.get("seconds"), step.get("ended"));
          });
    }
    if (results.get("failures") instanceof Map<?, ?> failures) {
      failures.forEach((name, value) -> page.line("| step %s failed | %s |", name, value));
    }
    for (int threads = 1; threads <= 2; threads++) {
      gauge(threads);
    }
    page.line("");
    page.line("### Undisturbed pairs");
    page.line("");
    page.line(
        "A virtual CPU is a hardware thread. While somebody else uses the other thread of its core,"
            + " an FMA loop keeps its rate, but kernels lose some percent, not all of them alike."
            + " So a gauge runs right before and right after every pair of samples: how many"
            + " instructions a cycle a loop of independent additions and no-ops comes to. From %s"
            + " on at both ends a pair is undisturbed (`native/bench/core_contention.h` says why)."
            + " With one thread the calls run on the least disturbed CPU of those allowed, and move"
            + " when it is not any more; with more threads only the caller's CPU is gauged, and"
            + " nothing is kept in its place.",
        ((Map<?, ?>) results.get("environment")).get("undisturbedFrom"));
    page.line("");
    page.line(
        "Medians and quartiles are those of the undisturbed pairs if there are at least %d, or as"
            + " many as were wanted where that is less; where there are not, further pairs are"
            + " timed, up to half as many again (in C twice as many) within a limit, and if that"
            + " does not help all of them count, and **%s** marks the number. What is chosen"
            + " depends on the gauge alone, never on a time of Gatun or of a peer. Gatun's own"
            + " medians over processes leave marked rows out where there are others.",
        Alternation.ENOUGH, DISTURBED);
  }

  private void gauge(int threads) {
    OptionalDouble gauge = results.instructionsPerCycle(threads);
    if (gauge.isEmpty()) {
      return;
    }
    List<Results.Row> rows =
        results.peers().stream()
            .filter(row -> row.isThere() && row.point().threads() == threads)
            .filter(row -> row.undisturbed() >= 0)
            .toList();
    page.line(
        "| gauge, %s | %.2f instructions a cycle (median of rows), %d of %d pairs undisturbed, %d"
            + " of %d rows with too few |",
        threads == 1 ? "one thread" : threads + " threads",
        gauge.getAsDouble(),
        rows.stream().mapToInt(Results.Row::undisturbed).sum(),
        rows.stream().mapToInt(Results.Row::pairs).sum(),
        rows.stream().filter(Results.Row::isDisturbed).count(),
        rows.size());
  }
}
