package dev.gatun.bench.run;

import dev.gatun.bench.measure.Alternation;
import dev.gatun.bench.measure.CoreContention;
import dev.gatun.bench.measure.Json;
import dev.gatun.bench.measure.Peer;
import dev.gatun.bench.measure.Rotation;
import java.io.IOException;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Locale;
import java.util.Map;
import java.util.function.BiFunction;
import java.util.function.DoublePredicate;

/** What comparisons of whole models have in common: a row, and a file of rows. */
final class ModelComparison {

  private ModelComparison() {}

  /** Times a peer against Gatun in alternation. */
  static Map<String, Object> row(
      String model, int tokens, Peer gatun, Peer peer, Alternation.Effort effort) {
    Alternation times;
    try (CoreContention contention = CoreContention.watching()) {
      times = Alternation.of(gatun, peer, effort, contention);
    }
    Map<String, Object> row = new LinkedHashMap<>();
    row.put("model", model);
    row.put("tokens", tokens);
    row.put("baseline", gatun.name);
    row.put("peer", peer.name);
    row.putAll(times.toMap());
    System.err.printf(
        Locale.ROOT,
        "%s, %3d tokens, %-28s %.3f ms, gatun %.3f ms, ratio %.3f (%.3f … %.3f)%n",
        model,
        tokens,
        peer.name,
        times.b().median() / 1e6,
        times.a().median() / 1e6,
        times.ratio().median(),
        times.ratio().q1(),
        times.ratio().q3());
    return row;
  }

  /**
   * Writes the rows of some lengths.
   *
   * @param args the file to write, and {@code quick} or {@code full}
   */
  static void write(
      String[] args,
      int[] lengths,
      BiFunction<Integer, Alternation.Effort, List<Map<String, Object>>> run)
      throws IOException {
    Alternation.Effort effort =
        args[1].equals("quick") ? Alternation.Effort.QUICK : Alternation.Effort.FULL;
    List<Object> rows = new ArrayList<>();
    for (int tokens : lengths) {
      rows.addAll(run.apply(tokens, effort));
    }
    Json.write(Path.of(args[0]), rows);
  }

  /**
   * Times all workers in turn on one case.
   *
   * @return a row for each, with its samples or the reason why there are none
   */
  static List<Map<String, Object>> rotate(
      List<WorkerProcess> workers,
      String what,
      Alternation.Effort effort,
      int threads,
      DoublePredicate spend) {
    Map<String, Rotation.Result> results = new LinkedHashMap<>();
    List<WorkerProcess> ready = new ArrayList<>();
    for (WorkerProcess worker : workers) {
      try {
        worker.prepare(what);
        ready.add(worker);
      } catch (Rotation.Failure e) {
        results.put(worker.name(), new Rotation.Result(null, e.getMessage()));
      }
    }
    results.putAll(
        Rotation.of(ready, effort, () -> rest(threads > 1 ? Comparison.REST_MILLIS : 0), spend));
    List<Map<String, Object>> rows = new ArrayList<>();
    for (WorkerProcess worker : workers) {
      Rotation.Result result = results.get(worker.name());
      Map<String, Object> row = new LinkedHashMap<>();
      row.put("threads", threads);
      row.put("peer", worker.name());
      if (result.series() == null) {
        row.put("missing", result.missing());
      } else {
        row.put("note", worker.note());
        row.putAll(result.series().toMap());
      }
      rows.add(row);
      System.err.printf(
          Locale.ROOT,
          "%-12s ×%d %-22s %s%n",
          what,
          threads,
          worker.name(),
          result.series() == null
              ? "not timed: " + result.missing()
              : "%.3f ms (%.3f … %.3f) %s"
                  .formatted(
                      result.series().nanos().median() / 1e6,
                      result.series().nanos().q1() / 1e6,
                      result.series().nanos().q3() / 1e6,
                      worker.note()));
    }
    return rows;
  }

  private static void rest(long millis) {
    try {
      Thread.sleep(millis);
    } catch (InterruptedException e) {
      throw new IllegalStateException(e);
    }
  }
}
