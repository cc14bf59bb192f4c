package dev.gatun.bench.report;

import static dev.gatun.bench.report.Cells.DISTURBED;
import static dev.gatun.bench.report.Cells.mark;
import static dev.gatun.bench.report.Cells.mebibytes;
import static dev.gatun.bench.report.Cells.quartiles;
import static dev.gatun.bench.report.Cells.ratio;
import static dev.gatun.bench.report.Cells.share;
import static dev.gatun.bench.report.Cells.time;
import static dev.gatun.bench.report.Report.POINTS;

import dev.gatun.bench.measure.Point;
import dev.gatun.bench.measure.Shape;
import dev.gatun.bench.peer.PeerSpec;
import dev.gatun.bench.run.Comparison;
import dev.gatun.bench.run.MemoryRun;
import java.util.ArrayList;
import java.util.Collection;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.OptionalDouble;

/** Gatun against its peers: times by shape and by length, and memory. */
final class PeerSections {

  private final Results results;
  private final Markdown page;

  PeerSections(Results results, Markdown page) {
    this.results = results;
    this.page = page;
  }

  void peers() {
    if (results.peers().isEmpty()) {
      return;
    }
    page.heading(
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
    page.tableHead("peer", "what it is");
    for (PeerSpec spec : PeerSpec.ALL) {
      page.line("| %s | %s |", spec.name(), spec.what());
    }
    for (int threads = 1; threads <= 2; threads++) {
      for (int causal = 0; causal < 2; causal++) {
        List<Shape> shapes = results.shapes(causal == 1, threads);
        if (!shapes.isEmpty()) {
          page.line("");
          page.line(
              "### %s, %s",
              causal == 1 ? "Causal" : "No mask", threads == 1 ? "one thread" : "two threads");
          page.line("");
          if (threads == 2) {
            page.line(
                results.get("restMillis") == null
                    ? "Both took turns without a rest, so that threads of a peer which go on"
                        + " spinning for a while after its call took a CPU from Gatun's; the times"
                        + " of gatun and gatun-c in [%s](%s) are of a process without a peer."
                    : "Before each sample all threads rest for "
                        + results.get("restMillis")
                        + " ms"
                        + (isRested()
                            ? ", so that none of the other still spins."
                            : ". Threads of ONNX Runtime were seen to spin for 20 to 40 ms after a"
                                + " call: they took a CPU from Gatun's in its turn.")
                        + " The times of gatun and gatun-c in [%s](%s) are of a process without a"
                        + " peer.",
                POINTS,
                POINTS);
            page.line("");
          }
          ratios(shapes, Shape::name, causal == 1, threads);
        }
      }
    }
    best();
    faster();
    missing();
  }

  /** Whether samples of two threads began after all threads had stopped spinning. */
  private boolean isRested() {
    return ((Number) results.get("restMillis")).longValue() >= Comparison.REST_MILLIS;
  }

  private void best() {
    page.line("");
    page.line("### Against the best peer");
    page.line("");
    page.line(
        "One thread. The fastest of PyTorch (both packings) and ONNX Runtime (all operators), in"
            + " whichever of its layouts, as its time / Gatun's in that layout; the same of"
            + " OpenBLAS and of the Vector API.");
    page.line("");
    page.tableHead("shape", "mask", "best of PyTorch and ONNX Runtime", "OpenBLAS", "Vector API");
    for (int causal = 0; causal < 2; causal++) {
      List<Shape> shapes = new ArrayList<>(results.shapes(causal == 1, 1));
      shapes.addAll(results.lengths());
      for (Shape shape : shapes) {
        Results.Row framework =
            results.best(
                peer -> peer.startsWith("onnxruntime") || peer.endsWith("pytorch"),
                shape,
                causal == 1);
        page.line(
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
    page.tableHead(titles.toArray(String[]::new));
    for (String peer : results.names()) {
      List<String> cells = new ArrayList<>(List.of(peer));
      for (Shape shape : shapes) {
        cells.add(
            peer.equals(PeerSpec.GATUN)
                ? own(shape, causal, threads)
                : cell(peer, shape, causal, threads));
      }
      page.line("| %s |", String.join(" | ", cells));
    }
  }

  private String own(Shape shape, boolean causal, int threads) {
    OptionalDouble ns = results.ns(PeerSpec.GATUN, shape, causal, threads);
    OptionalDouble share = results.shareOfPeak(PeerSpec.GATUN, shape, causal, threads);
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
    page.line("");
    page.line("### Where a peer is faster");
    page.line("");
    List<Results.Row> faster =
        results.peers().stream()
            .filter(row -> row.isThere() && !row.isJavaAndC() && row.ratio().median() < 1)
            .toList();
    if (faster.isEmpty()) {
      page.line("Nowhere in these rows.");
      return;
    }
    page.tableHead("point", "peer", "time", "Gatun's", "ratio");
    for (Results.Row row : faster) {
      page.line(
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
    page.line("");
    page.line("### What was not timed");
    page.line("");
    page.tableHead("peer", "why", "points");
    reasons.forEach(
        (key, points) ->
            page.line(
                "%s %s |",
                key, points.size() > 6 ? points.size() + " points" : String.join(", ", points)));
  }

  void lengths() {
    List<Shape> lengths = results.lengths();
    if (lengths.isEmpty()) {
      return;
    }
    page.heading(
        "Time against length",
        "As many keys as queries, %s heads of %s, one thread; cells as above.",
        lengths.getFirst().heads(),
        lengths.getFirst().dim());
    page.line("No mask:");
    page.line("");
    ratios(lengths, shape -> Integer.toString(shape.seqQ()), false, 1);
    page.line("");
    page.line("Causal:");
    page.line("");
    ratios(lengths, shape -> Integer.toString(shape.seqQ()), true, 1);
  }

  void memory() {
    Collection<Integer> lengths = results.memoryLengths();
    if (lengths.isEmpty()) {
      return;
    }
    page.heading(
        "Memory",
        "By how many MiB one call makes its process grow at its peak: result, scratch and all that"
            + " the peer allocates, the inputs left out; of the Java heap what is allocated. 4"
            + " heads of 64, as many keys as queries, a fresh process for each, and the malloc as"
            + " it comes. The result alone is 1 MiB for every 1024 rows.");
    List<String> titles = new ArrayList<>(List.of("peer"));
    lengths.forEach(length -> titles.add(length.toString()));
    titles.add("causal, " + MemoryRun.LONGEST);
    page.tableHead(titles.toArray(String[]::new));
    for (String peer : results.memoryPeers()) {
      boolean causal = results.isAlwaysCausal(peer);
      List<String> cells = new ArrayList<>(List.of(causal ? peer + " (causal)" : peer));
      lengths.forEach(length -> cells.add(mebibytes(results.growth(peer, length, causal))));
      cells.add(mebibytes(results.growth(peer, MemoryRun.LONGEST, true)));
      page.line("| %s |", String.join(" | ", cells));
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
          page.line("");
          page.line("%s (%s).", reason, String.join(", ", points));
        });
  }
}
