package dev.gatun.bench.run;

import dev.gatun.bench.measure.Alternation;
import dev.gatun.bench.measure.Json;
import dev.gatun.bench.measure.Rotation;
import dev.gatun.bench.peer.EmbeddingTexts;
import dev.gatun.bench.peer.PeerJars;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Locale;
import java.util.Map;

/**
 * all-MiniLM-L6-v2 by Gatun and by others. A process of its own: {@code EmbeddingComparison FILE
 * quick|full} writes a JSON array of rows, anew after every case, of two kinds: the vectors of many
 * texts ({@code topTen}), and batches of all lengths ({@code case}), by Gatun with its weights in
 * each format and by the peers, all in turn, each in a process of its own.
 */
public final class EmbeddingComparison {
  private static final List<String> QUICK_CASES = List.of("16", "128", "32x16");

  /** Whose vectors the others are compared with. */
  static final String REFERENCE = "onnxruntime 1.26.0";

  /** Seconds that all rotations of a process may spend on rounds beyond those that are wanted. */
  private static final double MOST_MORE_SECONDS = 60;

  private final boolean quick;
  private final Alternation.Effort effort;
  private final Path file;
  private final List<Map<String, Object>> rows = new ArrayList<>();
  private double moreSeconds = MOST_MORE_SECONDS;

  private EmbeddingComparison(Path file, boolean quick) {
    this.file = file;
    this.quick = quick;
    this.effort = quick ? Alternation.Effort.QUICK : Alternation.Effort.FULL;
  }

  // ---- contestants ---------------------------------------------------------------------------

  /**
   * A way to embed.
   *
   * @param name how rows call it
   * @param engine what {@link EmbeddingWorker} calls it
   * @param without jars of this class path that it must not see, null if none
   * @param jars those that it needs besides
   */
  record Way(String name, String engine, String without, List<String> jars) {

    private static Way gatun(String format) {
      return new Way("gatun " + format, "gatun " + format, null, List.of());
    }

    private WorkerProcess start(boolean quick, int threads) throws IOException {
      List<Path> first = new ArrayList<>();
      try {
        for (String jar : jars) {
          first.add(PeerJars.find(jar));
        }
      } catch (IOException e) {
        return WorkerProcess.absent(name, e.getMessage());
      }
      return WorkerProcess.start(
          name,
          EmbeddingWorker.class,
          List.of("-Xmx1g", "-Dslf4j.internal.verbosity=ERROR"),
          PeerJars.classPath(without, first),
          Map.of(),
          quick ? "quick" : "full",
          engine,
          Integer.toString(threads));
    }
  }

  private static final String NEWER = "onnxruntime-1.28.0";

  /** All ways; two versions of ONNX Runtime, as either may be the faster. */
  static final List<Way> WAYS =
      List.of(
          Way.gatun("VIEW"),
          Way.gatun("FP32"),
          Way.gatun("BF16"),
          Way.gatun("INT8"),
          Way.gatun("-q"),
          new Way(REFERENCE, "onnxruntime", null, List.of()),
          new Way("onnxruntime 1.28.0", "onnxruntime", "onnxruntime-", List.of(NEWER)),
          new Way("onnxruntime-q 1.26.0", "onnxruntime-q", null, List.of()),
          new Way("onnxruntime-q 1.28.0", "onnxruntime-q", "onnxruntime-", List.of(NEWER)),
          new Way("langchain4j", "langchain4j", null, List.of()),
          new Way("langchain4j-q", "langchain4j-q", null, List.of()),
          new Way("llama.cpp", "llama.cpp", null, List.of()),
          new Way("llama.cpp Q8_0", "llama.cpp Q8_0", null, List.of()));

  // ---- rows ----------------------------------------------------------------------------------

  private void add(Map<String, Object> row) throws IOException {
    rows.add(row);
    Json.write(file, rows);
  }

  private boolean spend(double seconds) {
    moreSeconds -= seconds;
    return moreSeconds >= 0;
  }

  private void compare(int threads) throws IOException {
    List<WorkerProcess> workers = new ArrayList<>();
    try {
      for (Way way : WAYS) {
        workers.add(way.start(quick, threads));
      }
      if (threads == 1) {
        accuracy(workers);
      }
      for (String name : quick ? QUICK_CASES : EmbeddingTexts.CASES) {
        for (Map<String, Object> row :
            ModelComparison.rotate(workers, name, effort, threads, this::spend)) {
          Map<String, Object> all = new LinkedHashMap<>();
          all.put("case", name);
          all.putAll(row);
          rows.add(all);
        }
        Json.write(file, rows);
      }
    } finally {
      workers.forEach(WorkerProcess::close);
    }
  }

  private void accuracy(List<WorkerProcess> workers) throws IOException {
    Map<String, List<float[]>> vectors = new LinkedHashMap<>();
    Map<String, String> missing = new LinkedHashMap<>();
    Path folder = Files.createTempDirectory("gatun-bench-");
    for (WorkerProcess worker : workers) {
      Path to = folder.resolve(vectors.size() + ".json");
      try {
        worker.other(EmbeddingWorker.VECTORS + to);
        vectors.put(worker.name(), read(to));
      } catch (Rotation.Failure e) {
        missing.put(worker.name(), e.getMessage());
      }
      Files.deleteIfExists(to);
    }
    Files.delete(folder);
    for (WorkerProcess worker : workers) {
      Map<String, Object> row = new LinkedHashMap<>();
      row.put("peer", worker.name());
      row.put("reference", REFERENCE);
      List<float[]> own = vectors.get(worker.name());
      if (own == null || !vectors.containsKey(REFERENCE)) {
        row.put("missing", missing.getOrDefault(worker.name(), "no reference"));
        row.put("topTen", null);
      } else {
        row.putAll(Accuracy.of(own, vectors.get(REFERENCE)));
      }
      System.err.println(row);
      add(row);
    }
  }

  private static List<float[]> read(Path file) throws IOException {
    List<float[]> vectors = new ArrayList<>();
    for (Object each : (List<?>) Json.read(file)) {
      List<?> numbers = (List<?>) each;
      float[] vector = new float[numbers.size()];
      for (int c = 0; c < vector.length; c++) {
        vector[c] = ((Number) numbers.get(c)).floatValue();
      }
      vectors.add(vector);
    }
    return vectors;
  }

  /**
   * Runs the comparison.
   *
   * @param args the file to write, and {@code quick} or {@code full}
   * @throws IOException if the file cannot be written
   */
  public static void main(String[] args) throws IOException {
    Locale.setDefault(Locale.ROOT);
    EmbeddingComparison comparison =
        new EmbeddingComparison(Path.of(args[0]), args[1].equals("quick"));
    for (int threads : comparison.quick ? new int[] {1} : new int[] {1, 2}) {
      comparison.compare(threads);
    }
  }
}
