package dev.gatun.bench;

import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Locale;
import java.util.Map;

/** Writes results as Markdown. */
final class Report {

  private final StringBuilder text = new StringBuilder();

  private Report() {}

  /** Returns the report of what {@link Bench} collected; steps that were not run are left out. */
  static String markdown(Map<String, Object> results) {
    Report report = new Report();
    report.line("# Benchmarks");
    report.line("");
    report.line(
        "Mode %s, %s s. Times are medians with quartiles in brackets; one thread.",
        results.get("mode"), results.get("seconds"));
    report.environment(map(results.get("environment")));
    report.jmh(rows(results, "jmh"));
    report.c(rows(results, "c"));
    List<Map<?, ?>> javaAndC = new ArrayList<>();
    List<Map<?, ?>> peers = new ArrayList<>();
    for (Map<?, ?> row : rows(results, "peers")) {
      (Comparison.C.equals(row.get("baseline")) ? javaAndC : peers).add(row);
    }
    report.javaAndC(javaAndC);
    report.peers(peers);
    report.model(
        rows(results, "embedding"),
        "all-MiniLM-L6-v2, one text",
        "From token ids to the normalised vector. float[] is the same native code with an array"
            + " between any two layers.");
    report.model(
        rows(results, "encoder"),
        "The base encoder of \"Attention Is All You Need\"",
        "6 layers, rows of 512, 8 heads, 2048 between; one sequence, the same weights. pytorch"
            + " functions: written by hand with its fused attention.");
    report.garbage(rows(results, "gc"));
    return report.text.toString();
  }

  private void line(String format, Object... args) {
    text.append(args.length == 0 ? format : String.format(Locale.ROOT, format, args)).append('\n');
  }

  private void heading(String title, String explanation) {
    line("");
    line("## %s", title);
    line("");
    line("%s", explanation);
    line("");
  }

  private void tableHead(String... titles) {
    line("| %s |", String.join(" | ", titles));
    line("|%s", " --- |".repeat(titles.length));
  }

  // ---- sections ------------------------------------------------------------------------------

  private void environment(Map<?, ?> environment) {
    line("");
    tableHead("", "");
    environment.forEach((name, value) -> line("| %s | %s |", name, value));
  }

  private void jmh(List<Map<?, ?>> rows) {
    if (rows.isEmpty()) {
      return;
    }
    heading(
        "What a call costs (JMH)",
        "cCall is the function called from a loop in C. More than it: what the row's median is"
            + " above cCall's.");
    tableHead("shape", "call", "time", "more than cCall", "heap bytes a call", "forks");
    for (Map<?, ?> row : rows) {
      Spread spread = spread(row.get("ns"));
      Map<?, ?> c = find(rows, "shape", row.get("shape"), "benchmark", "cCall");
      String more =
          c == null || c == row || row.get("benchmark").equals("emptyDowncall")
              ? ""
              : "%s (%s)"
                  .formatted(
                      time(spread.median() - spread(c.get("ns")).median()),
                      percent(spread.median() / spread(c.get("ns")).median() - 1));
      line(
          "| %s | %s | %s | %s | %s | %s |",
          row.get("shape"),
          row.get("benchmark"),
          time(spread),
          more,
          row.get("heapBytesPerCall") == null
              ? ""
              : String.format(Locale.ROOT, "%.3f", number(row.get("heapBytesPerCall"))),
          row.get("forks"));
    }
  }

  private void c(List<Map<?, ?>> rows) {
    if (rows.isEmpty()) {
      return;
    }
    heading(
        "The C call (no JVM)",
        "Share of the FMA peak of one core, each sample between two measurements of the peak.");
    tableHead("shape", "sizes", "time", "GFLOP/s", "share of peak", "error");
    for (Map<?, ?> row : rows) {
      Spread share = spread(row.get("shareOfPeak"));
      boolean works = number(row.get("flops")) > 0;
      line(
          "| %s | %s | %s | %s | %s | %.1e |",
          row.get("shape"),
          Shape.of(row.get("shape").toString()).text(),
          time(spread(row.get("time"))),
          works ? gigaflops(spread(row.get("rate")).median()) : "",
          works
              ? "%s (%s … %s)"
                  .formatted(percent(share.median()), percent(share.q1()), percent(share.q3()))
              : "",
          number(row.get("error")));
    }
  }

  private void javaAndC(List<Map<?, ?>> rows) {
    if (rows.isEmpty()) {
      return;
    }
    heading(
        "Java against C",
        "The Java call and the same function from a loop in C, timed in turn in one process; the"
            + " medians of the pairs' differences and ratios.");
    tableHead("shape", "Java call", "C call", "Java − C", "Java / C", "pairs");
    for (Map<?, ?> row : rows) {
      Spread ratio = spread(row.get("ratio"));
      line(
          "| %s | %s | %s | %s | %.3f (%.3f … %.3f) | %d |",
          row.get("shape"),
          time(spread(row.get("peerNs"))),
          time(spread(row.get("baselineNs"))),
          time(spread(row.get("differenceNs"))),
          ratio.median(),
          ratio.q1(),
          ratio.q3(),
          ratio.count());
    }
  }

  private void peers(List<Map<?, ?>> rows) {
    if (rows.isEmpty()) {
      return;
    }
    heading(
        "Peers",
        "Median of the ratios peer / Gatun (called from Java) over pairs timed in turn; below 1,"
            + " in bold, the peer is faster.");
    Map<String, Map<String, Map<?, ?>>> byPeer = new LinkedHashMap<>();
    List<String> shapes = new ArrayList<>();
    for (Map<?, ?> row : rows) {
      String shape = row.get("shape").toString();
      if (!shapes.contains(shape)) {
        shapes.add(shape);
      }
      byPeer
          .computeIfAbsent(row.get("peer").toString(), peer -> new LinkedHashMap<>())
          .put(shape, row);
    }
    List<String> titles = new ArrayList<>(shapes);
    titles.addFirst("peer");
    tableHead(titles.toArray(String[]::new));
    byPeer.forEach(
        (peer, cells) -> {
          List<String> ratios = new ArrayList<>(List.of(peer));
          for (String shape : shapes) {
            Map<?, ?> row = cells.get(shape);
            ratios.add(row == null || row.get("ratio") == null ? "–" : ratio(row.get("ratio")));
          }
          line("| %s |", String.join(" | ", ratios));
        });
    line("");
    tableHead(
        "shape",
        "peer",
        "time",
        "Gatun's",
        "ratio",
        "peer − Gatun",
        "GFLOP/s",
        "Gatun's",
        "Gatun's share of peak",
        "error",
        "pairs");
    for (Map<?, ?> row : rows) {
      if (row.get("ratio") == null) {
        line(
            "| %s | %s | not run: %s | | | | | | | | |",
            row.get("shape"), row.get("peer"), row.get("missing"));
        continue;
      }
      double flops = number(row.get("flops"));
      Spread gatun = spread(row.get("baselineNs"));
      Spread peer = spread(row.get("peerNs"));
      Spread ratio = spread(row.get("ratio"));
      Spread difference = spread(row.get("differenceNs"));
      line(
          "| %s | %s | %s | %s | %s (%.3f … %.3f) | %s | %s | %s | %s | %.1e | %d |",
          row.get("shape"),
          row.get("peer"),
          time(peer),
          time(gatun),
          ratio(row.get("ratio")),
          ratio.q1(),
          ratio.q3(),
          time(difference),
          flops > 0 ? gigaflops(flops / peer.median() * 1e9) : "",
          flops > 0 ? gigaflops(flops / gatun.median() * 1e9) : "",
          flops > 0
              ? percent(flops / gatun.median() * 1e9 / number(row.get("peakFlopsPerSecond")))
              : "",
          number(row.get("error")),
          ratio.count());
    }
  }

  private void model(List<Map<?, ?>> rows, String title, String explanation) {
    if (rows.isEmpty()) {
      return;
    }
    heading(title, explanation);
    tableHead("tokens", "peer", "time", "Gatun's", "ratio");
    for (Map<?, ?> row : rows) {
      Spread ratio = spread(row.get("ratio"));
      line(
          "| %s | %s | %s | %s | %s (%.3f … %.3f) |",
          row.get("tokens"),
          row.get("peer"),
          time(spread(row.get("peerNs"))),
          time(spread(row.get("baselineNs"))),
          ratio(row.get("ratio")),
          ratio.q1(),
          ratio.q3());
    }
  }

  private void garbage(List<Map<?, ?>> rows) {
    if (rows.isEmpty()) {
      return;
    }
    heading(
        "Garbage collection",
        "The same model, 128 tokens, while another thread allocates %d MB/s, and while it does not."
            .formatted(GarbageLoad.MEGABYTES_A_SECOND));
    tableHead(
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
      line(
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

  // ---- numbers -------------------------------------------------------------------------------

  private static double number(Object value) {
    return ((Number) value).doubleValue();
  }

  private static Map<?, ?> map(Object value) {
    return (Map<?, ?>) value;
  }

  private static List<Map<?, ?>> rows(Map<String, Object> results, String step) {
    List<Map<?, ?>> rows = new ArrayList<>();
    for (Object row : (List<?>) results.getOrDefault(step, List.of())) {
      rows.add(map(row));
    }
    return rows;
  }

  private static Map<?, ?> find(
      List<Map<?, ?>> rows, String key, Object value, String otherKey, Object otherValue) {
    for (Map<?, ?> row : rows) {
      if (value.equals(row.get(key)) && otherValue.equals(row.get(otherKey))) {
        return row;
      }
    }
    return null;
  }

  private static Spread spread(Object value) {
    Map<?, ?> map = map(value);
    Object count = map.get("count");
    return new Spread(
        number(map.get("median")),
        number(map.get("q1")),
        number(map.get("q3")),
        count == null ? 0 : (int) number(count));
  }

  private static String ratio(Object value) {
    double median = spread(value).median();
    String text = String.format(Locale.ROOT, median < 10 ? "%.2f" : "%.0f", median);
    return median < 1 ? "**" + text + "**" : text;
  }

  private static String percent(double part) {
    return String.format(Locale.ROOT, "%.1f %%", part * 100);
  }

  private static String gigaflops(double flopsPerSecond) {
    return String.format(Locale.ROOT, "%.1f", flopsPerSecond * 1e-9);
  }

  private static String time(double ns) {
    double size = Math.abs(ns);
    return size < 1e3
        ? String.format(Locale.ROOT, "%.1f ns", ns)
        : size < 1e6
            ? String.format(Locale.ROOT, "%.2f µs", ns * 1e-3)
            : String.format(Locale.ROOT, "%.2f ms", ns * 1e-6);
  }

  private static String time(Spread ns) {
    return "%s (%s … %s)".formatted(time(ns.median()), time(ns.q1()), time(ns.q3()));
  }
}
