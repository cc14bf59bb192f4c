package dev.gatun.cli;

import java.util.ArrayList;
import java.util.Comparator;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.PriorityQueue;

/**
 * The best lines so far. The last place of a score depends on the place in a batch: what would
 * shuffle equal lines, so that those get the score of the first.
 */
final class BestLines {
  /**
   * A line that was ranked.
   *
   * @param number from 1 on
   */
  record Line(double score, long number, String text) {}

  /** The best first. */
  private static final Comparator<Line> ORDER =
      Comparator.comparingDouble(Line::score).reversed().thenComparingLong(Line::number);

  private final int most;
  private final PriorityQueue<Line> lines = new PriorityQueue<>(ORDER.reversed());
  private final Map<String, Line> first = new HashMap<>();

  BestLines(int most) {
    this.most = most;
  }

  void add(double score, long number, String text) {
    Line equal = first.get(text);
    Line line = new Line(equal == null ? score : equal.score, number, text);
    first.putIfAbsent(text, line);
    lines.add(line);
    if (lines.size() > most) {
      Line worst = lines.remove();
      first.remove(worst.text, worst); // of equal lines the first is the last to go
    }
  }

  List<Line> ranked() {
    List<Line> ranked = new ArrayList<>(lines);
    ranked.sort(ORDER);
    return ranked;
  }
}
