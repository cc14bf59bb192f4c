package dev.gatun.bench.report;

import static dev.gatun.bench.report.Cells.mark;
import static dev.gatun.bench.report.Cells.pairs;
import static dev.gatun.bench.report.Cells.percent;
import static dev.gatun.bench.report.Cells.quartiles;
import static dev.gatun.bench.report.Cells.time;
import static dev.gatun.bench.report.Results.find;
import static dev.gatun.bench.report.Results.number;

import dev.gatun.bench.measure.Alternation;
import dev.gatun.bench.measure.Quartiles;
import dev.gatun.bench.run.GarbageLoad;
import java.util.List;
import java.util.Map;

/** Whole models: against their peers, and while garbage is collected. */
final class ModelSections {

  private final Markdown page;

  ModelSections(Markdown page) {
    this.page = page;
  }

  void model(List<Map<?, ?>> rows, String title, String explanation) {
    if (rows.isEmpty()) {
      return;
    }
    page.heading(title, explanation);
    page.tableHead("tokens", "peer", "time", "Gatun's", "ratio", "undisturbed pairs");
    for (Map<?, ?> row : rows) {
      Quartiles ratio = Quartiles.fromMap(row.get("ratio"));
      int undisturbed = row.get("undisturbed") == null ? -1 : (int) number(row.get("undisturbed"));
      page.line(
          "| %s | %s | %s | %s | %s | %s |",
          row.get("tokens"),
          row.get("peer"),
          time(Quartiles.fromMap(row.get("peerNs"))),
          time(Quartiles.fromMap(row.get("baselineNs"))),
          quartiles(ratio) + mark(Alternation.isDisturbed(ratio, undisturbed)),
          pairs(
              undisturbed,
              row.get("pairs") == null ? ratio.count() : (int) number(row.get("pairs"))));
    }
  }

  void garbage(List<Map<?, ?>> rows) {
    if (rows.isEmpty()) {
      return;
    }
    page.heading(
        "Garbage collection",
        "all-MiniLM-L6-v2, a text of 128 tokens, while another thread allocates %d MB/s, and while"
            + " it"
            + " does not. float[] is the same native code with an array between any two layers."
                .formatted(GarbageLoad.MEGABYTES_A_SECOND));
    page.tableHead(
        "code",
        "load",
        "p50",
        "p99",
        "p99.9",
        "max",
        "p50 moved by",
        "calls",
        "heap bytes a call",
        "collections",
        "their time");
    for (Map<?, ?> row : rows) {
      boolean load = Boolean.TRUE.equals(row.get("load"));
      Map<?, ?> idle = find(rows, "peer", row.get("peer"), "load", false);
      page.line(
          "| %s | %s | %s | %s | %s | %s | %s | %s | %.0f | %s | %s ms |",
          row.get("peer"),
          load ? "%.0f MB/s".formatted(number(row.get("loadMegabytesPerSecond"))) : "none",
          time(number(row.get("p50Ns"))),
          time(number(row.get("p99Ns"))),
          time(number(row.get("p999Ns"))),
          time(number(row.get("maxNs"))),
          load ? percent(number(row.get("p50Ns")) / number(idle.get("p50Ns")) - 1) : "",
          row.get("samples"),
          number(row.get("heapBytesPerCall")),
          row.get("collections"),
          row.get("collectionMillis"));
    }
  }
}
