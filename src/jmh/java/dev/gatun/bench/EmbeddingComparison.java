package dev.gatun.bench;

import java.io.IOException;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Locale;
import java.util.Map;

/**
 * all-MiniLM-L6-v2 by Gatun, by its {@code float[]} variant and by ONNX Runtime, in alternation. A
 * process of its own: {@code EmbeddingComparison FILE quick|full} writes a JSON array of rows.
 */
public final class EmbeddingComparison {
  private static final int[] TOKENS = {16, 128};

  private EmbeddingComparison() {}

  static List<Map<String, Object>> run(int tokens, Alternation.Effort effort) {
    int[] ids = EmbeddingPeer.ids(tokens);
    List<EmbeddingPeer> peers = EmbeddingPeer.all(ids, EmbeddingPeer.exact(ids));
    List<Map<String, Object>> rows = new ArrayList<>();
    EmbeddingPeer gatun = peers.getFirst();
    for (EmbeddingPeer peer : peers.subList(1, peers.size())) {
      Alternation times = Alternation.of(gatun, peer, effort);
      Map<String, Object> row = new LinkedHashMap<>();
      row.put("model", "all-MiniLM-L6-v2");
      row.put("tokens", tokens);
      row.put("baseline", gatun.name);
      row.put("peer", peer.name);
      row.putAll(times.toMap());
      rows.add(row);
      System.err.printf(
          Locale.ROOT,
          "MiniLM, %3d tokens, %-12s %.3f ms, gatun %.3f ms, ratio %.3f (%.3f … %.3f)%n",
          tokens,
          peer.name,
          times.b().median() / 1e6,
          times.a().median() / 1e6,
          times.ratio().median(),
          times.ratio().q1(),
          times.ratio().q3());
    }
    peers.forEach(EmbeddingPeer::close);
    return rows;
  }

  /**
   * Runs the comparison.
   *
   * @param args the file to write, and {@code quick} or {@code full}
   * @throws IOException if the file cannot be written
   */
  public static void main(String[] args) throws IOException {
    Alternation.Effort effort =
        args[1].equals("quick") ? Alternation.Effort.QUICK : Alternation.Effort.FULL;
    List<Object> rows = new ArrayList<>();
    for (int tokens : TOKENS) {
      rows.addAll(run(tokens, effort));
    }
    Json.write(Path.of(args[0]), rows);
  }
}
