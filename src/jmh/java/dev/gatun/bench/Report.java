package dev.gatun.bench;

import static dev.gatun.bench.Results.number;
import static dev.gatun.bench.Results.spread;

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Collection;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Locale;
import java.util.Map;
import java.util.OptionalDouble;

/** Writes results as Markdown. */
final class Report {

  /** The file with every single point. */
  static final String POINTS = "points.md";

  private static final double MEBI = 1 << 20;

  private final StringBuilder text = new StringBuilder();
  private final Results results;

  private Report(Results results) {
    this.results = results;
  }

  /**
   * Writes the report, every point, and the plots. Plots are left out, which is said, where the JDK
   * finds no fonts.
   *
   * @param map what {@link Bench} collected
   * @param folder where to
   * @param name of the report's file
   * @throws IOException if a file cannot be written
   */
  static void write(Map<?, ?> map, Path folder, String name) throws IOException {
    Results results = new Results(map);
    List<Plots.Picture> pictures = Plots.write(results, folder);
    Files.writeString(folder.resolve(name), markdown(results, pictures));
    Files.writeString(folder.resolve(POINTS), points(results));
  }

  /** Returns the report; steps that were not run are left out. */
  static String markdown(Results results, List<Plots.Picture> pictures) {
    Report report = new Report(results);
    report.line("# Benchmarks");
    report.line("");
    report.line(
        "Mode %s. Times are medians, with quartiles in brackets. `make bench` measures,"
            + " `make bench-report` writes this page from [results.json](results.json).",
        results.get("mode"));
    for (Plots.Picture picture : pictures) {
      if (picture.inReport()) {
        report.line("");
        report.line("![%s](%s.svg)", picture.title(), picture.name());
      }
    }
    report.environment();
    report.peers();
    report.gatun();
    report.lengths();
    report.memory();
    report.javaAndC();
    report.c(results.rows("c"));
    report.model(
        results.rows("embedding"),
        "all-MiniLM-L6-v2, one text",
        "From token ids to the normalised vector. float[] is the same native code with an array"
            + " between any two layers.");
    report.model(
        results.rows("encoder"),
        "The base encoder of \"Attention Is All You Need\"",
        "6 layers, rows of 512, 8 heads, 2048 between; one sequence, the same weights. pytorch"
            + " functions: written by hand with its fused attention.");
    report.garbage(results.rows("gc"));
    report.jmh(results.rows("jmh"));
    return report.text.toString();
  }

  /** Returns the list of every point of every peer. */
  static String points(Results results) {
    Report report = new Report(results);
    report.everyPoint();
    return report.text.toString();
  }

  private void line(String format, Object... args) {
    text.append(args.length == 0 ? format : String.format(Locale.ROOT, format, args)).append('\n');
  }

  private void heading(String title, String explanation, Object... args) {
    line("");
    line("## %s", title);
    line("");
    if (!explanation.isEmpty()) {
      line(explanation, args);
      line("");
    }
  }

  private void tableHead(String... titles) {
    line("| %s |", String.join(" | ", titles));
    line("|%s", " --- |".repeat(titles.length));
  }

  // ---- sections ------------------------------------------------------------------------------

  private void environment() {
    heading("Where and when", "");
    tableHead("", "");
    ((Map<?, ?>) results.get("environment"))
        .forEach((name, value) -> line("| %s | %s |", name, value));
    if (results.get("steps") instanceof Map<?, ?> steps) {
      steps.forEach(
          (name, value) -> {
            Map<?, ?> step = (Map<?, ?>) value;
            line("| step %s | %s s, ended %s |", name, step.get("seconds"), step.get("ended"));
          });
    }
    if (results.get("failures") instanceof Map<?, ?> failures) {
      failures.forEach((name, value) -> line("| step %s failed | %s |", name, value));
    }
    for (int threads = 1; threads <= 2; threads++) {
      gauge(threads);
    }
    line("");
    line("### Undisturbed pairs");
    line("");
    line(
        "A virtual CPU is a hardware thread. While somebody else uses the other thread of its core,"
            + " an FMA loop keeps its rate, but kernels lose some percent, not all of them alike."
            + " So a gauge runs right before and right after every pair of samples: how many"
            + " instructions a cycle a loop of independent additions and no-ops comes to. From %s"
            + " on at both ends a pair is undisturbed (`native/bench/neighbour.h` says why). With"
            + " one thread the calls run on the least disturbed CPU of those allowed, and move when"
            + " it is not any more; with more threads only the caller's CPU is gauged, and nothing"
            + " is kept in its place.",
        ((Map<?, ?>) results.get("environment")).get("undisturbedFrom"));
    line("");
    line(
        "Medians and quartiles are those of the undisturbed pairs if there are at least %d, or as"
            + " many as were wanted where that is less; where there are not, further pairs are"
            + " timed, up to half as many again (in C twice as many) within a limit, and if that"
            + " does not help all of them count, and **%s** marks the number. What is chosen"
            + " depends on the gauge alone, never on a time of Gatun or of a peer. Gatun's own"
            + " medians over processes leave marked rows out where there are others.",
        Alternation.ENOUGH, DISTURBED);
  }

  /** Marks a number that comes from too few undisturbed pairs. */
  static final String DISTURBED = "~";

  private static String mark(boolean disturbed) {
    return disturbed ? DISTURBED : "";
  }

  /** Undisturbed pairs of all. */
  private static String pairs(int undisturbed, int pairs) {
    return undisturbed < 0 ? "? of " + pairs : undisturbed + " of " + pairs;
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
    line(
        "| gauge, %s | %.2f instructions a cycle (median of rows), %d of %d pairs undisturbed, %d"
            + " of %d rows with too few |",
        threads == 1 ? "one thread" : threads + " threads",
        gauge.getAsDouble(),
        rows.stream().mapToInt(Results.Row::undisturbed).sum(),
        rows.stream().mapToInt(Results.Row::pairs).sum(),
        rows.stream().filter(Results.Row::isDisturbed).count(),
        rows.size());
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
          line("");
          line("### C, %s", title);
          line("");
          tableHead(
              "shape", "sizes", "time", "GFLOP/s", "share of peak", "undisturbed pairs", "error");
          of.forEach(this::cRow);
        });
  }

  private void cRow(Map<?, ?> row) {
    Spread share = spread(row.get("shareOfPeak"));
    boolean works = number(row.get("flops")) > 0;
    int undisturbed = row.get("undisturbed") == null ? -1 : (int) number(row.get("undisturbed"));
    line(
        "| %s | %s | %s | %s | %s | %s | %.1e |",
        row.get("shape"),
        Shape.of(row.get("shape").toString()).text(),
        time(spread(row.get("time"))),
        works ? gigaflops(spread(row.get("rate")).median()) : "",
        works
            ? "%s%s (%s … %s)"
                .formatted(
                    percent(share.median()),
                    mark(Results.isDisturbed(share, undisturbed)),
                    percent(share.q1()),
                    percent(share.q3()))
            : "",
        pairs(undisturbed, (int) number(row.get("pairs"))),
        number(row.get("error")));
  }

  private void javaAndC() {
    List<Results.Row> rows =
        results.peers().stream().filter(row -> row.isJavaAndC() && row.isThere()).toList();
    if (rows.isEmpty()) {
      return;
    }
    heading(
        "Java against C",
        "The Java call and the same function from a loop in C, timed in turn in one process; the"
            + " medians of the pairs' differences and ratios. One thread, [B,H,S,D]; the others are"
            + " in [%s](%s). `make bench-jmh` compares the two by JMH.",
        POINTS,
        POINTS);
    tableHead("shape", "mask", "Java call", "C call", "Java − C", "Java / C", "undisturbed pairs");
    for (Results.Row row : rows) {
      Point point = row.point();
      if (point.threads() == 1
          && point.layout() == Point.Layout.BHSD
          && !point.shape().isLength()) {
        line(
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
    line("");
    line("### What a call costs");
    line("");
    line(
        "Without query rows nothing is computed, and the difference is what Java adds: with all"
            + " tensors in one confined arena, and in one shared arena.");
    line("");
    tableHead("shape", "arena", "Java call", "C call", "Java − C", "undisturbed pairs");
    for (Results.Row row : results.calls()) {
      line(
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

  private static String mask(Point point) {
    return point.causal() ? "causal" : "none";
  }

  private void peers() {
    if (results.peers().isEmpty()) {
      return;
    }
    heading(
        "Peers",
        "One process for each peer, with Gatun in it; calls of the two in turn, windows of an FMA"
            + " loop and of a read loop before and after. A cell is the median of the ratios peer /"
            + " Gatun (called from Java), and the peer's share of the FMA peak; below 1, in bold,"
            + " the peer is faster. Each peer gets its tensors where and how it wants them: its own"
            + " layout, with Gatun in the same. Gatun's row is its time and its share, medians over"
            + " all processes; shares and plots of a peer are Gatun's, and the ratio. %s marks what"
            + " had too few undisturbed pairs. What each process measured by itself is in"
            + " [%s](%s).",
        DISTURBED,
        POINTS,
        POINTS);
    tableHead("peer", "what it is");
    for (Contender contender : Contender.ALL) {
      line("| %s | %s |", contender.name(), contender.what());
    }
    for (int threads = 1; threads <= 2; threads++) {
      for (int causal = 0; causal < 2; causal++) {
        List<Shape> shapes = results.shapes(causal == 1, threads);
        if (!shapes.isEmpty()) {
          line("");
          line(
              "### %s, %s",
              causal == 1 ? "Causal" : "No mask", threads == 1 ? "one thread" : "two threads");
          line("");
          if (threads == 2) {
            line(
                results.get("restMillis") == null
                    ? "Both took turns without a rest, so that threads of a peer which go on"
                        + " spinning for a while after its call took a CPU from Gatun's; the times"
                        + " of gatun and gatun-c in [%s](%s) are of a process without a peer."
                    : "Before each sample all threads rest for "
                        + results.get("restMillis")
                        + " ms, so that none of the other still spins. The times of gatun and"
                        + " gatun-c in [%s](%s) are of a process without a peer.",
                POINTS,
                POINTS);
            line("");
          }
          ratios(shapes, Shape::name, causal == 1, threads);
        }
      }
    }
    best();
    faster();
    missing();
  }

  private void best() {
    line("");
    line("### Against the best peer");
    line("");
    line(
        "One thread. The fastest of PyTorch (both packings) and ONNX Runtime (all operators), in"
            + " whichever of its layouts, as its time / Gatun's in that layout; the same of"
            + " OpenBLAS and of the Vector API.");
    line("");
    tableHead("shape", "mask", "best of PyTorch and ONNX Runtime", "OpenBLAS", "Vector API");
    for (int causal = 0; causal < 2; causal++) {
      List<Shape> shapes = new ArrayList<>(results.shapes(causal == 1, 1));
      shapes.addAll(results.lengths());
      for (Shape shape : shapes) {
        Results.Row framework =
            results.best(
                peer -> peer.startsWith("onnxruntime") || peer.endsWith("pytorch"),
                shape,
                causal == 1);
        line(
            "| %s | %s | %s | %s | %s |",
            shape.name(),
            causal == 1 ? "causal" : "none",
            framework == null ? "–" : best(framework) + " " + framework.peer(),
            best(results.best("openblas"::equals, shape, causal == 1)),
            best(results.best("java-vector"::equals, shape, causal == 1)));
      }
    }
  }

  private static String best(Results.Row row) {
    return row == null ? "–" : "%s%s".formatted(ratio(row.ratio()), mark(row.isDisturbed()));
  }

  private interface Title {
    String of(Shape shape);
  }

  private void ratios(List<Shape> shapes, Title title, boolean causal, int threads) {
    List<String> titles = new ArrayList<>(List.of("peer"));
    shapes.forEach(shape -> titles.add(title.of(shape)));
    tableHead(titles.toArray(String[]::new));
    for (String peer : results.names()) {
      List<String> cells = new ArrayList<>(List.of(peer));
      for (Shape shape : shapes) {
        cells.add(
            peer.equals(Contender.GATUN)
                ? own(shape, causal, threads)
                : cell(peer, shape, causal, threads));
      }
      line("| %s |", String.join(" | ", cells));
    }
  }

  private String own(Shape shape, boolean causal, int threads) {
    OptionalDouble ns = results.ns(Contender.GATUN, shape, causal, threads);
    OptionalDouble share = results.shareOfPeak(Contender.GATUN, shape, causal, threads);
    Point point = new Point(shape, causal, Point.Layout.BHSD, threads);
    return ns.isEmpty()
        ? "–"
        : "%s%s (%s)"
            .formatted(
                time(ns.getAsDouble()),
                mark(results.isDisturbed(point)),
                share(share.getAsDouble()));
  }

  private String cell(String peer, Shape shape, boolean causal, int threads) {
    OptionalDouble share = results.shareOfPeak(peer, shape, causal, threads);
    if (share.isEmpty()) {
      return "–";
    }
    Results.Row row = results.row(peer, shape, causal, threads);
    return "%s%s (%s)"
        .formatted(ratio(row.ratio()), mark(row.isDisturbed()), share(share.getAsDouble()));
  }

  private void faster() {
    line("");
    line("### Where a peer is faster");
    line("");
    List<Results.Row> faster =
        results.peers().stream()
            .filter(row -> row.isThere() && !row.isJavaAndC() && row.ratio().median() < 1)
            .toList();
    if (faster.isEmpty()) {
      line("Nowhere in these rows.");
      return;
    }
    tableHead("point", "peer", "time", "Gatun's", "ratio");
    for (Results.Row row : faster) {
      line(
          "| %s | %s | %s | %s | %s |",
          row.point(),
          row.peer(),
          time(row.peerNs().median()),
          time(row.baselineNs().median()),
          quartiles(row.ratio()) + mark(row.isDisturbed()));
    }
  }

  /** Why rows have no times, each reason once for a peer. */
  private void missing() {
    Map<String, List<String>> reasons = new LinkedHashMap<>();
    for (Results.Row row : results.peers()) {
      if (!row.isThere()) {
        String key = "| %s | %s |".formatted(row.peer(), row.missing().replace('|', '/'));
        reasons.computeIfAbsent(key, each -> new ArrayList<>()).add(row.point().toString());
      }
    }
    if (reasons.isEmpty()) {
      return;
    }
    line("");
    line("### What was not timed");
    line("");
    tableHead("peer", "why", "points");
    reasons.forEach(
        (key, points) ->
            line(
                "%s %s |",
                key, points.size() > 6 ? points.size() + " points" : String.join(", ", points)));
  }

  /** Gatun alone: both roofs, layouts, threads. */
  private void gatun() {
    List<Shape> shapes = results.shapes(false, 1);
    if (shapes.isEmpty() || results.peak(1).isEmpty()) {
      return;
    }
    heading(
        "Gatun by itself",
        "One core: FMA peak %s GFLOP/s, reading from memory %s GB/s (medians over all windows)."
            + " Bytes are those of queries, keys, values and result, once; where the last-level"
            + " cache holds them they may come faster than from memory.",
        gigaflops(results.peak(1).getAsDouble()),
        gigaflops(results.read(1).getAsDouble()));
    tableHead(
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
        OptionalDouble two = results.gatunNs(new Point(shape, causal == 1, Point.Layout.BHSD, 2));
        line(
            "| %s | %s | %s | %.1f | %s | %s | %s | %s | %s | %s | %s |",
            shape.name(),
            shape.text(),
            mask(point),
            point.flops() / point.bytes(),
            gigaflops(point.flops() / seconds),
            share(results.shareOfPeak(Contender.GATUN, shape, causal == 1, 1).getAsDouble()),
            gigaflops(point.bytes() / seconds),
            time(ns.getAsDouble()),
            other.isEmpty() ? "" : time(other.getAsDouble()),
            two.isEmpty() ? "" : time(two.getAsDouble()),
            two.isEmpty()
                ? ""
                : String.format(Locale.ROOT, "%.2f", ns.getAsDouble() / two.getAsDouble()));
      }
    }
  }

  private void lengths() {
    List<Shape> lengths = results.lengths();
    if (lengths.isEmpty()) {
      return;
    }
    heading(
        "Time against length",
        "As many keys as queries, %s heads of %s, one thread; cells as above.",
        lengths.getFirst().heads(),
        lengths.getFirst().dim());
    line("No mask:");
    line("");
    ratios(lengths, shape -> Integer.toString(shape.seqQ()), false, 1);
    line("");
    line("Causal:");
    line("");
    ratios(lengths, shape -> Integer.toString(shape.seqQ()), true, 1);
  }

  private void memory() {
    Collection<Integer> lengths = results.memoryLengths();
    if (lengths.isEmpty()) {
      return;
    }
    heading(
        "Memory",
        "By how many MiB one call makes its process grow at its peak: result, scratch and all that"
            + " the peer allocates, the inputs left out; of the Java heap what is allocated. 4"
            + " heads of 64, as many keys as queries, a fresh process for each, and the malloc as"
            + " it comes. The result alone is 1 MiB for every 1024 rows.");
    List<String> titles = new ArrayList<>(List.of("peer"));
    lengths.forEach(length -> titles.add(length.toString()));
    titles.add("causal, " + MemoryRun.LONGEST);
    tableHead(titles.toArray(String[]::new));
    for (String peer : results.memoryPeers()) {
      boolean causal = results.isAlwaysCausal(peer);
      List<String> cells = new ArrayList<>(List.of(causal ? peer + " (causal)" : peer));
      lengths.forEach(length -> cells.add(mebibytes(results.growth(peer, length, causal))));
      cells.add(mebibytes(results.growth(peer, MemoryRun.LONGEST, true)));
      line("| %s |", String.join(" | ", cells));
    }
    Map<String, List<String>> reasons = new LinkedHashMap<>();
    for (Map<?, ?> row : results.rows("memory")) {
      if (row.get("missing") != null) {
        String reason = "%s: not measured, %s".formatted(row.get("peer"), row.get("missing"));
        reasons
            .computeIfAbsent(reason, each -> new ArrayList<>())
            .add(row.get("length") + (row.get("causal").equals(true) ? " causal" : ""));
      }
    }
    reasons.forEach(
        (reason, points) -> {
          line("");
          line("%s (%s).", reason, String.join(", ", points));
        });
  }

  private static String mebibytes(OptionalDouble bytes) {
    return bytes.isEmpty()
        ? "–"
        : String.format(
            Locale.ROOT,
            bytes.getAsDouble() < 10 * MEBI ? "%.1f" : "%.0f",
            bytes.getAsDouble() / MEBI);
  }

  private void everyPoint() {
    line("# Every point");
    line("");
    line(
        "Ratio: peer / baseline of pairs timed in turn, median and quartiles. In bold the peer is"
            + " faster. %s: too few undisturbed pairs, so all count; the gauge is the median of its"
            + " instructions a cycle.",
        DISTURBED);
    line("");
    tableHead(
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
        line("%s | not timed: %s |%s", what, row.missing().replace('|', '/'), " |".repeat(11));
        continue;
      }
      line(
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

  private void model(List<Map<?, ?>> rows, String title, String explanation) {
    if (rows.isEmpty()) {
      return;
    }
    heading(title, explanation);
    tableHead("tokens", "peer", "time", "Gatun's", "ratio", "undisturbed pairs");
    for (Map<?, ?> row : rows) {
      Spread ratio = spread(row.get("ratio"));
      int undisturbed = row.get("undisturbed") == null ? -1 : (int) number(row.get("undisturbed"));
      line(
          "| %s | %s | %s | %s | %s | %s |",
          row.get("tokens"),
          row.get("peer"),
          time(spread(row.get("peerNs"))),
          time(spread(row.get("baselineNs"))),
          quartiles(ratio) + mark(Results.isDisturbed(ratio, undisturbed)),
          pairs(
              undisturbed,
              row.get("pairs") == null ? ratio.count() : (int) number(row.get("pairs"))));
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

  private static Map<?, ?> find(
      List<Map<?, ?>> rows, String key, Object value, String otherKey, Object otherValue) {
    for (Map<?, ?> row : rows) {
      if (value.equals(row.get(key)) && otherValue.equals(row.get(otherKey))) {
        return row;
      }
    }
    return null;
  }

  private static String ratio(Spread ratio) {
    double median = ratio.median();
    String text = String.format(Locale.ROOT, median < 10 ? "%.2f" : "%.0f", median);
    return median < 1 ? "**" + text + "**" : text;
  }

  private static String quartiles(Spread ratio) {
    String median = String.format(Locale.ROOT, "%.3f", ratio.median());
    return String.format(
        Locale.ROOT,
        "%s (%.3f … %.3f)",
        ratio.median() < 1 ? "**" + median + "**" : median,
        ratio.q1(),
        ratio.q3());
  }

  private static String share(double part) {
    return String.format(Locale.ROOT, part < 0.0995 ? "%.1f %%" : "%.0f %%", part * 100);
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
