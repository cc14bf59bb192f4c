package dev.gatun.bench.report;

import static dev.gatun.bench.report.Cells.gigaflops;
import static dev.gatun.bench.report.Cells.mark;
import static dev.gatun.bench.report.Cells.mask;
import static dev.gatun.bench.report.Cells.pairs;
import static dev.gatun.bench.report.Cells.percent;
import static dev.gatun.bench.report.Cells.quartiles;
import static dev.gatun.bench.report.Cells.share;
import static dev.gatun.bench.report.Cells.time;
import static dev.gatun.bench.report.Report.POINTS;
import static dev.gatun.bench.report.Results.find;
import static dev.gatun.bench.report.Results.number;

import dev.gatun.bench.measure.Alternation;
import dev.gatun.bench.measure.Point;
import dev.gatun.bench.measure.Quartiles;
import dev.gatun.bench.measure.Shape;
import dev.gatun.bench.peer.PeerSpec;
import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Locale;
import java.util.Map;
import java.util.OptionalDouble;

/** Gatun by itself, from C, and what a call from Java costs over one from C. */
final class GatunSections {

  private final Results results;
  private final Markdown page;

  GatunSections(Results results, Markdown page) {
    this.results = results;
    this.page = page;
  }

  /** Gatun alone: both roofs, layouts, threads. */
  void gatun() {
    List<Shape> shapes = results.shapes(false, 1);
    if (shapes.isEmpty() || results.peak(1).isEmpty()) {
      return;
    }
    page.heading(
        "Gatun by itself",
        "One core: FMA peak %s GFLOP/s, reading from memory %s GB/s (medians over all windows)."
            + " Bytes are those of queries, keys, values and result, once; where the last-level"
            + " cache holds them they may come faster than from memory. Two threads: against one,"
            + " in the process that has no other peer.",
        gigaflops(results.peak(1).getAsDouble()),
        gigaflops(results.read(1).getAsDouble()));
    page.tableHead(
        "shape",
        "sizes",
        "mask",
        "flops / byte",
        "GFLOP/s",
        "share of peak",
        "GB/s",
        "[B,H,S,D]",
        "[B,S,H,D]",
        "two threads",
        "faster by");
    for (int causal = 0; causal < 2; causal++) {
      for (Shape shape : results.shapes(causal == 1, 1)) {
        Point point = new Point(shape, causal == 1, Point.Layout.BHSD, 1);
        OptionalDouble ns = results.gatunNs(point);
        if (ns.isEmpty()) {
          continue;
        }
        double seconds = ns.getAsDouble() * 1e-9;
        OptionalDouble other = results.gatunNs(new Point(shape, causal == 1, Point.Layout.BSHD, 1));
        OptionalDouble one = results.gatunAloneNs(point);
        OptionalDouble two =
            results.gatunAloneNs(new Point(shape, causal == 1, Point.Layout.BHSD, 2));
        page.line(
            "| %s | %s | %s | %.1f | %s | %s | %s | %s | %s | %s | %s |",
            shape.name(),
            shape.text(),
            mask(point),
            point.flops() / point.bytes(),
            gigaflops(point.flops() / seconds),
            share(results.shareOfPeak(PeerSpec.GATUN, shape, causal == 1, 1).getAsDouble()),
            gigaflops(point.bytes() / seconds),
            time(ns.getAsDouble()),
            other.isEmpty() ? "" : time(other.getAsDouble()),
            two.isEmpty() ? "" : time(two.getAsDouble()),
            two.isEmpty()
                ? ""
                : String.format(Locale.ROOT, "%.2f", one.getAsDouble() / two.getAsDouble()));
      }
    }
  }

  void javaAndC() {
    List<Results.Row> rows =
        results.peers().stream().filter(row -> row.isJavaAndC() && row.isThere()).toList();
    if (rows.isEmpty()) {
      return;
    }
    page.heading(
        "Java against C",
        "The Java call and the same function from a loop in C, timed in turn in one process; the"
            + " medians of the pairs' differences and ratios. One thread, [B,H,S,D]; the others are"
            + " in [%s](%s). `make bench-jmh` compares the two by JMH.",
        POINTS,
        POINTS);
    page.tableHead(
        "shape", "mask", "Java call", "C call", "Java − C", "Java / C", "undisturbed pairs");
    for (Results.Row row : rows) {
      Point point = row.point();
      if (point.threads() == 1
          && point.layout() == Point.Layout.BHSD
          && !point.shape().isLength()) {
        page.line(
            "| %s | %s | %s | %s | %s | %s | %s |",
            point.shape().name(),
            mask(point),
            time(row.peerNs()),
            time(row.baselineNs()),
            time(row.difference()),
            quartiles(row.ratio()).replace("**", "") + mark(row.isDisturbed()),
            pairs(row.undisturbed(), row.pairs()));
      }
    }
    calls();
  }

  private void calls() {
    if (results.calls().isEmpty()) {
      return;
    }
    page.line("");
    page.line("### What a call costs");
    page.line("");
    page.line(
        "Without query rows nothing is computed, and the difference is what Java adds: with all"
            + " tensors in one confined arena, and in one shared arena.");
    page.line("");
    page.tableHead("shape", "arena", "Java call", "C call", "Java − C", "undisturbed pairs");
    for (Results.Row row : results.calls()) {
      page.line(
          "| %s | %s | %s | %s | %s%s | %s |",
          row.point().shape().name(),
          row.arena(),
          time(row.peerNs()),
          time(row.baselineNs()),
          time(row.difference()),
          mark(row.isDisturbed()),
          pairs(row.undisturbed(), row.pairs()));
    }
  }

  void c(List<Map<?, ?>> rows) {
    if (rows.isEmpty()) {
      return;
    }
    page.heading(
        "The C call (no JVM)",
        "Share of the FMA peak of one core, each sample between two measurements of the peak. One"
            + " query row sees the same keys with and without the mask, and one head lies the same"
            + " in both layouts: such shapes are measured once.");
    Map<String, List<Map<?, ?>>> tables = new LinkedHashMap<>();
    for (Map<?, ?> row : rows) {
      String layout =
          row.get("layout") == null ? Point.Layout.BHSD.text : (String) row.get("layout");
      String mask = Boolean.TRUE.equals(row.get("causal")) ? "causal" : "no mask";
      tables.computeIfAbsent(layout + ", " + mask, each -> new ArrayList<>()).add(row);
    }
    tables.forEach(
        (title, of) -> {
          page.line("");
          page.line("### C, %s", title);
          page.line("");
          page.tableHead(
              "shape", "sizes", "time", "GFLOP/s", "share of peak", "undisturbed pairs", "error");
          of.forEach(this::cRow);
        });
  }

  private void cRow(Map<?, ?> row) {
    Quartiles share = Quartiles.fromMap(row.get("shareOfPeak"));
    boolean works = number(row.get("flops")) > 0;
    int undisturbed = row.get("undisturbed") == null ? -1 : (int) number(row.get("undisturbed"));
    page.line(
        "| %s | %s | %s | %s | %s | %s | %.1e |",
        row.get("shape"),
        Shape.of(row.get("shape").toString()).text(),
        time(Quartiles.fromMap(row.get("time"))),
        works ? gigaflops(Quartiles.fromMap(row.get("rate")).median()) : "",
        works
            ? "%s%s (%s … %s)"
                .formatted(
                    percent(share.median()),
                    mark(Alternation.isDisturbed(share, undisturbed)),
                    percent(share.q1()),
                    percent(share.q3()))
            : "",
        pairs(undisturbed, (int) number(row.get("pairs"))),
        number(row.get("error")));
  }

  void jmh(List<Map<?, ?>> rows) {
    if (rows.isEmpty()) {
      return;
    }
    page.heading(
        "What a call costs (JMH)",
        "cCall is the function called from a loop in C. More than it: what the row's median is"
            + " above cCall's.");
    page.tableHead("shape", "call", "time", "more than cCall", "heap bytes a call", "forks");
    for (Map<?, ?> row : rows) {
      Quartiles ns = Quartiles.fromMap(row.get("ns"));
      Map<?, ?> c = find(rows, "shape", row.get("shape"), "benchmark", "cCall");
      String more =
          c == null || c == row || row.get("benchmark").equals("emptyDowncall")
              ? ""
              : "%s (%s)"
                  .formatted(
                      time(ns.median() - Quartiles.fromMap(c.get("ns")).median()),
                      percent(ns.median() / Quartiles.fromMap(c.get("ns")).median() - 1));
      page.line(
          "| %s | %s | %s | %s | %s | %s |",
          row.get("shape"),
          row.get("benchmark"),
          time(ns),
          more,
          row.get("heapBytesPerCall") == null
              ? ""
              : String.format(Locale.ROOT, "%.3f", number(row.get("heapBytesPerCall"))),
          row.get("forks"));
    }
  }
}
