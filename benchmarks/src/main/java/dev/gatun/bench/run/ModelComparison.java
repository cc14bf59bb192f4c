package dev.gatun.bench.run;

import dev.gatun.bench.measure.Alternation;
import dev.gatun.bench.measure.CoreContention;
import dev.gatun.bench.measure.Json;
import dev.gatun.bench.measure.Peer;
import java.io.IOException;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Locale;
import java.util.Map;
import java.util.function.BiFunction;

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
}
