package dev.gatun.nn;

import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;

/** The scores that a token is chosen by. */
final class Logits {

  private Logits() {}

  /**
   * The token of the highest score, of equals the smallest. Scores of −∞ are of tokens that cannot
   * come; what is otherwise not finite is nothing to choose by.
   *
   * @throws IllegalStateException if a score is NaN or +∞, or all are −∞; the message says whose
   *     scores they are and how many tokens were generated before
   */
  static int best(MemorySegment logits, long from, int size, String row, int generated) {
    int best = 0;
    float most = Float.NEGATIVE_INFINITY;
    for (int n = 0; n < size; n++) {
      float score = logits.getAtIndex(ValueLayout.JAVA_FLOAT, from + n);
      if (!(score < Float.POSITIVE_INFINITY)) {
        throw new IllegalStateException(
            "logits of %s, step %d: expected scores below infinity, got %s for token %d"
                .formatted(row, generated, score, n));
      }
      if (score > most) {
        most = score;
        best = n;
      }
    }
    if (most == Float.NEGATIVE_INFINITY) {
      throw new IllegalStateException(
          "logits of %s, step %d: expected a score above -Infinity, got -Infinity for all %d tokens"
              .formatted(row, generated, size));
    }
    return best;
  }
}
