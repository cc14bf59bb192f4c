package dev.gatun.bench.report;

import static dev.gatun.bench.report.Cells.DISTURBED;
import static dev.gatun.bench.report.Cells.gigaflops;
import static dev.gatun.bench.report.Cells.mark;
import static dev.gatun.bench.report.Cells.mask;
import static dev.gatun.bench.report.Cells.pairs;
import static dev.gatun.bench.report.Cells.quartiles;
import static dev.gatun.bench.report.Cells.share;
import static dev.gatun.bench.report.Cells.time;

import dev.gatun.bench.measure.Point;
import java.util.Locale;

/** The table of every point of every peer. */
final class PointTable {

  private final Results results;
  private final Markdown page;

  PointTable(Results results, Markdown page) {
    this.results = results;
    this.page = page;
  }

  void everyPoint() {
    page.line("# Every point");
    page.line("");
    page.line(
        "Ratio: peer / baseline of pairs timed in turn, median and quartiles. In bold the peer is"
            + " faster. %s: too few undisturbed pairs, so all count; the gauge is the median of its"
            + " instructions a cycle.",
        DISTURBED);
    page.line("");
    page.tableHead(
        "shape",
        "mask",
        "layout",
        "threads",
        "peer",
        "time",
        "baseline",
        "its time",
        "ratio",
        "peer − baseline",
        "GFLOP/s",
        "share of peak",
        "FMA peak, GFLOP/s",
        "read, GB/s",
        "error",
        "undisturbed pairs",
        "gauge");
    for (Results.Row row : results.peers()) {
      Point point = row.point();
      String what =
          "| %s | %s | %s | %d | %s"
              .formatted(
                  point.shape().name(),
                  mask(point),
                  point.layout().text,
                  point.threads(),
                  row.peer());
      if (!row.isThere()) {
        page.line("%s | not timed: %s |%s", what, row.missing().replace('|', '/'), " |".repeat(11));
        continue;
      }
      page.line(
          "%s | %s | %s | %s | %s | %s | %s | %s | %s | %s | %.1e | %s | %s |",
          what,
          time(row.peerNs()),
          row.baseline(),
          time(row.baselineNs()),
          quartiles(row.ratio()) + mark(row.isDisturbed()),
          time(row.difference()),
          gigaflops(row.flopsPerSecond()),
          share(row.shareOfPeak()),
          gigaflops(row.peak()),
          gigaflops(row.read()),
          row.error(),
          pairs(row.undisturbed(), row.pairs()),
          Double.isNaN(row.instructionsPerCycle())
              ? ""
              : String.format(Locale.ROOT, "%.2f", row.instructionsPerCycle()));
    }
  }
}
