package dev.gatun.bench.report;

import dev.gatun.bench.measure.Json;
import dev.gatun.bench.measure.Point;
import dev.gatun.bench.measure.Products;
import dev.gatun.bench.measure.Quartiles;
import dev.gatun.bench.measure.Series;
import dev.gatun.bench.measure.Shape;
import dev.gatun.bench.peer.PeerSpec;
import dev.gatun.bench.peer.ProductPeers;
import dev.gatun.bench.run.Comparison;
import dev.gatun.bench.run.Environment;
import dev.gatun.bench.run.MemoryRun;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Random;
import java.util.stream.IntStream;

/** Results as a full run has them, with made-up numbers: for the tests of reports and plots. */
public final class SyntheticResults {
  private static final double PEAK = 2.25e11;
  private static final double READ = 3.1e10;

  /** Of vectors, by how the name of a format ends. */
  private static final Map<String, Double> DISTANCES =
      Map.of("INT8", 0.00098, "BF16", 1e-5, "q", 0.0088);

  private SyntheticResults() {}

  /** Share of the peak that a peer reaches on long calls, and its seconds for a call of nothing. */
  private static double[] quality(String peer) {
    return switch (peer) {
      case "gatun", "gatun-c" -> new double[] {0.93, 5e-7};
      case "onnxruntime-mha" -> new double[] {0.7, 8e-6};
      case "onnxruntime-attention" -> new double[] {0.62, 7e-6};
      case "onnxruntime-gqa" -> new double[] {0.58, 1.2e-5};
      case "pytorch" -> new double[] {0.55, 1e-5};
      case "djl-pytorch" -> new double[] {0.3, 2e-5};
      case "openblas" -> new double[] {0.5, 1e-6};
      case "java-vector" -> new double[] {0.37, 5e-6};
      default -> new double[] {0.015, 1e-6};
    };
  }

  private static boolean usesTheMask(String peer) {
    return peer.startsWith("gatun") || peer.startsWith("java") || peer.endsWith("pytorch");
  }

  private static double nanos(String peer, Point point) {
    double[] quality = quality(peer);
    Point computed =
        usesTheMask(peer)
            ? point
            : new Point(point.shape(), false, point.layout(), point.threads());
    double slow = peer.startsWith("gatun") ? 1 : 3;
    double work = computed.flops() / (PEAK * quality[0]);
    double reading = point.shape().seqQ() == 1 ? slow * point.bytes() / READ : 0;
    return 1e9 * (quality[1] + Math.max(work, reading) / point.threads());
  }

  private static Map<String, Object> quartiles(double median, Random random, int count) {
    double width = median * 0.01 * (1 + random.nextDouble());
    return new Quartiles(median, median - width, median + width, count).toMap();
  }

  /** Whether somebody else used the core meanwhile. */
  private static boolean isDisturbed(String peer, Point point) {
    return peer.equals("onnxruntime-attention") && point.shape().name().equals("gqa1024");
  }

  private static Map<String, Object> row(PeerSpec spec, Point point, Random random) {
    boolean c = spec.name().equals(PeerSpec.GATUN_C);
    String reason = spec.obstacle().apply(point);
    if (spec.name().equals("djl-pytorch") && point.threads() == 2) {
      reason = "its process ended with exit code 134: terminate called";
    }
    if (reason != null) {
      return Comparison.missing(spec, point, reason);
    }
    String peer = c ? "gatun" : spec.name();
    String baseline = c ? "gatun-c" : "gatun";
    Map<String, Object> row = new LinkedHashMap<>();
    row.put("peer", peer);
    row.put("baseline", baseline);
    point.describeIn(row);
    row.put("error", 9e-8);
    row.put("peakFlopsPerSecond", PEAK * point.threads() * (0.98 + 0.04 * random.nextDouble()));
    row.put("readBytesPerSecond", READ * point.threads() * (0.95 + 0.1 * random.nextDouble()));
    double now = 0.97 + 0.06 * random.nextDouble(); // the clock, of both
    double a = nanos(baseline, point) * now;
    double b = nanos(peer, point) * now + (c ? 30 : 0);
    boolean disturbed = isDisturbed(peer, point);
    int count = disturbed ? 22 : 15;
    row.put("baselineNs", quartiles(a, random, count));
    row.put("peerNs", quartiles(b, random, count));
    row.put("ratio", quartiles(b / a, random, count));
    row.put("differenceNs", quartiles(b - a, random, count));
    row.put("pairs", count);
    row.put("undisturbed", disturbed ? 3 : 15);
    row.put("instructionsPerCycle", disturbed ? 4.6 : 5.9);
    return row;
  }

  /** A row of the C benchmark; the second layout has a disturbed one. */
  private static Map<String, Object> c(
      Shape shape, Point.Layout layout, boolean causal, boolean disturbed) {
    Map<String, Object> row = new LinkedHashMap<>();
    int count = disturbed ? 22 : 11;
    double seconds = 4e-4;
    Point point = new Point(shape, causal, layout, 1);
    row.put("shape", shape.name());
    row.put("causal", causal);
    row.put("layout", layout.text);
    row.put("threads", 1);
    row.put("flops", point.flops());
    row.put("error", 9e-8);
    row.put("pairs", count);
    row.put("undisturbed", disturbed ? 2 : 11);
    row.put("instructionsPerCycle", disturbed ? 4.5 : 5.9);
    Map<String, Double> values =
        Map.of("time", seconds * 1e9, "rate", point.flops() / seconds, "shareOfPeak", 0.8);
    values.forEach((name, x) -> row.put(name, new Quartiles(x, x * 0.99, x * 1.01, count).toMap()));
    return row;
  }

  private static double growth(String peer, long length, boolean causal) {
    double result = length * 1024;
    double square = 4.0 * length * length;
    return switch (peer) {
      case "onnxruntime-attention", "onnxruntime-gqa" -> result + 4 * square;
      case "onnxruntime-mha" -> causal ? result + 4 * square : 4 * result;
      case "openblas" -> result + square;
      case "pytorch" -> 0;
      default -> result + 1e6;
    };
  }

  private static Map<String, Object> series(double nanos, double roof) {
    return new Series(
            IntStream.range(0, 7)
                .mapToObj(i -> new Series.Sample(nanos * (1 + 0.001 * i), Series.Quiet.YES, roof))
                .toList())
        .toMap();
  }

  /** Of one case with two threads as well, a version that is not there, and a peer that is not. */
  private static List<Object> embedding() {
    List<Object> rows = new ArrayList<>();
    Map<String, Double> peers = new LinkedHashMap<>();
    peers.put("gatun VIEW", 17e6);
    peers.put("gatun FP32", 15e6);
    peers.put("gatun BF16", 8e6);
    peers.put("gatun INT8", 3.5e6);
    peers.put("gatun -q", 3.6e6);
    peers.put("onnxruntime 1.26.0", 19e6);
    peers.put("onnxruntime-q 1.26.0", 7e6);
    peers.put("onnxruntime-q 1.28.0", 6.3e6);
    peers.put("langchain4j", 20e6);
    peers.put("langchain4j-q", 8e6);
    peers.put("llama.cpp", 25e6);
    peers.put("llama.cpp Q8_0", Double.NaN);
    peers.forEach(
        (peer, nanos) -> {
          Map<String, Object> row = new LinkedHashMap<>();
          row.put("peer", peer);
          if (nanos.isNaN()) {
            row.put("missing", "its jar is not there");
            row.put("topTen", null);
          } else {
            double median =
                DISTANCES.getOrDefault(RotationRows.family(peer).replaceAll(".*[ -]", ""), 0.0);
            row.put("texts", 1200);
            row.put("distanceMedian", median);
            row.put("distanceWorst", 5 * median + 3e-13);
            row.put("topTen", 0.9);
          }
          rows.add(row);
        });
    for (int threads : new int[] {1, 2}) {
      for (String what :
          threads == 1 ? List.of("1", "16", "128", "512", "32x16") : List.of("128")) {
        peers.forEach(
            (peer, nanos) -> {
              Map<String, Object> row = new LinkedHashMap<>();
              row.put("case", what);
              row.put("threads", threads);
              row.put("peer", peer);
              if (nanos.isNaN()) {
                row.put("missing", "its jar is not there");
              } else if (peer.startsWith("langchain4j") && what.equals("1")) {
                row.put("missing", "no text has so few tokens");
              } else {
                double tokens = what.equals("32x16") ? 512 : Integer.parseInt(what);
                row.putAll(series(nanos / threads * tokens / 128, 0));
              }
              rows.add(row);
            });
      }
    }
    return rows;
  }

  private static List<Object> products() {
    List<Object> rows = new ArrayList<>();
    for (Products products : Products.ALL) {
      for (int count : Products.ROWS) {
        for (String peer : ProductPeers.NAMES) {
          Map<String, Object> row = new LinkedHashMap<>();
          row.put("products", products.name());
          row.put("rows", count);
          row.put("operations", products.operations(count));
          row.put("threads", 1);
          row.put("peer", peer);
          if (peer.startsWith("mkl")) {
            row.put("missing", "mkl-: its jar is not there; make bench fetches it");
          } else {
            row.put("note", peer.startsWith("gatun") ? "tier avx512" : "Cooperlake");
            double share = peer.startsWith("gatun") ? 0.9 : 0.75;
            row.putAll(series(products.operations(count) / PEAK / share * 1e9, PEAK));
          }
          rows.add(row);
        }
      }
    }
    return rows;
  }

  public static Map<String, Object> make() {
    Random random = new Random(5);
    List<Object> peers = new ArrayList<>();
    List<Object> memory = new ArrayList<>();
    for (PeerSpec spec : PeerSpec.ALL) {
      for (Point point : spec.points(false)) {
        peers.add(row(spec, point, random));
      }
    }
    for (String arena : Comparison.ARENAS) {
      for (Shape shape : Comparison.CALLS) {
        Map<String, Object> row = row(PeerSpec.of(PeerSpec.GATUN_C), Point.of(shape), random);
        row.put("arena", arena);
        peers.add(row);
      }
    }
    List<Object> c = new ArrayList<>();
    for (Point.Layout layout : Point.Layout.values()) {
      for (boolean causal : new boolean[] {false, true}) {
        c.add(c(Shape.of("pre512"), layout, causal, false));
        c.add(c(Shape.of("s512d64"), layout, causal, !causal));
      }
    }
    for (String peer : MemoryRun.PEERS) {
      for (MemoryRun.Case each : MemoryRun.cases(peer, false)) {
        Map<String, Object> row = MemoryRun.row(peer, each.length(), each.causal());
        if (peer.equals("java-scalar") && each.length() > 4096) {
          row.put("missing", "its process was ended after 900 s");
        } else {
          row.put("growthBytes", growth(peer, each.length(), each.causal()));
        }
        memory.add(row);
      }
    }
    Map<String, Object> results = new LinkedHashMap<>();
    results.put("mode", "full");
    results.put("environment", Environment.describe());
    results.put("c", c);
    results.put("peers", peers);
    results.put("memory", memory);
    results.put("embedding", embedding());
    results.put("products", products());
    return results;
  }

  /** Writes report and plots into a folder, for the eye. */
  public static void main(String[] args) throws IOException {
    Path folder = Files.createDirectories(Path.of(args[0]));
    Map<String, Object> results = make();
    Json.write(folder.resolve("results.json"), results);
    Report.write(results, folder, "README.md");
  }
}
