package dev.gatun.bench.run;

import dev.gatun.bench.measure.Alternation;
import dev.gatun.bench.peer.EmbeddingPeer;
import java.io.IOException;
import java.util.ArrayList;
import java.util.List;
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
      rows.add(ModelComparison.row("all-MiniLM-L6-v2", tokens, gatun, peer, effort));
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
    ModelComparison.write(args, TOKENS, EmbeddingComparison::run);
  }
}
