package dev.gatun.bench.report;

import static dev.gatun.bench.report.Results.number;

import java.util.List;
import java.util.Map;
import java.util.OptionalInt;

/** What the step about embedding measured: times by cases, and how far vectors are from others. */
final class EmbeddingRows {

  /**
   * How near a contestant's vectors are to the reference's.
   *
   * @param median 1 − cosine, the median of the texts
   * @param worst the greatest
   * @param topTen how many of the ten nearest texts are the same, in 0 .. 1
   */
  record Accuracy(double median, double worst, double topTen) {}

  private final RotationRows times;
  private final List<Map<?, ?>> accuracies;

  /**
   * Takes rows of either kind.
   *
   * @param maps the rows of the step
   */
  EmbeddingRows(List<Map<?, ?>> maps) {
    times =
        new RotationRows(
            maps.stream().filter(row -> row.containsKey("case")).toList(),
            row -> row.get("case").toString());
    accuracies = maps.stream().filter(row -> row.get("distanceMedian") != null).toList();
  }

  RotationRows times() {
    return times;
  }

  /** How many texts accuracy was measured with. */
  OptionalInt texts() {
    return accuracies.stream().mapToInt(row -> (int) number(row.get("texts"))).findFirst();
  }

  /** Of the version that comes first; null if there is none. */
  Accuracy accuracy(String family) {
    for (Map<?, ?> row : accuracies) {
      if (RotationRows.family(row.get("peer").toString()).equals(family)) {
        return new Accuracy(
            number(row.get("distanceMedian")),
            number(row.get("distanceWorst")),
            number(row.get("topTen")));
      }
    }
    return null;
  }
}
