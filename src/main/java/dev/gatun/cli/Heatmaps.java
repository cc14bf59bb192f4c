package dev.gatun.cli;

import dev.gatun.Tensor;
import java.lang.foreign.ValueLayout;
import java.util.List;

/**
 * Maps of attention's weights, side by side.
 *
 * @param title of the picture
 * @param text that the tokens are of, or null
 * @param facts about it, a phrase each
 * @param rowName what the first dimension is: layer or batch
 * @param rows which of them
 * @param heads which heads
 * @param weights {@code [rows, heads, mapRows, mapColumns]} FLOAT32, row-major
 * @param seqQ queries, as many as mapRows or more
 * @param seqK keys, likewise
 * @param reduce how the weights of several pairs become one: mean or max
 * @param queryTokens one for each query, or null
 * @param keyTokens one for each key, or null
 */
record Heatmaps(
    String title,
    String text,
    List<String> facts,
    String rowName,
    List<Integer> rows,
    List<Integer> heads,
    Tensor weights,
    long seqQ,
    long seqK,
    String reduce,
    List<String> queryTokens,
    List<String> keyTokens) {

  int mapRows() {
    return (int) weights.size(2);
  }

  int mapColumns() {
    return (int) weights.size(3);
  }

  int maps() {
    return rows.size() * heads.size();
  }

  float weight(int map, int row, int column) {
    long index = ((long) map * mapRows() + row) * mapColumns() + column;
    return weights.segment().getAtIndex(ValueLayout.JAVA_FLOAT, index);
  }

  /** The largest weight of a map; 1 if it has none. */
  float largest(int map) {
    float largest = 0;
    for (int row = 0; row < mapRows(); row++) {
      for (int column = 0; column < mapColumns(); column++) {
        float weight = weight(map, row, column);
        largest = weight > largest ? weight : largest;
      }
    }
    return largest > 0 ? largest : 1;
  }
}
