package dev.gatun.nn;

import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import java.util.SplittableRandom;

/** Draws tokens from scores, in memory that is allocated once. One thread at a time. */
final class Sampler {

  private final int[] order;
  private final double[] probabilities;

  Sampler(int vocabulary) {
    this.order = new int[vocabulary];
    this.probabilities = new double[vocabulary];
  }

  /**
   * Chooses a token by a row of scores.
   *
   * @param from the row's first element in scores
   * @param row whose scores they are, in messages
   * @param generated how many tokens were generated before, in messages
   * @throws IllegalStateException as of {@link Logits#best}
   */
  int choose(
      MemorySegment scores,
      long from,
      Sampling sampling,
      SplittableRandom random,
      String row,
      int generated) {
    int size = order.length;
    int best = Logits.best(scores, from, size, row, generated);
    if (sampling.temperature() == 0) {
      return best;
    }
    double highest = score(scores, from + best);
    double sum = 0;
    for (int n = 0; n < size; n++) {
      order[n] = n;
      probabilities[n] = Math.exp((score(scores, from + n) - highest) / sampling.temperature());
      sum += probabilities[n];
    }
    int count = size;
    if (sampling.topK() > 0 && sampling.topK() < size) {
      count = sampling.topK();
      select(count);
      sum = 0;
      for (int n = 0; n < count; n++) {
        sum += probabilities[order[n]];
      }
    }
    if (sampling.topP() < 1) {
      double enough = sampling.topP() * sum;
      heapify(count);
      double reached = 0;
      int taken = 0;
      while (taken < count && (reached < enough || taken == 0)) {
        // The likeliest goes behind the rest of the heap, so the end of order holds those taken.
        int likeliest = pop(count - taken);
        reached += probabilities[likeliest];
        taken++;
      }
      System.arraycopy(order, count - taken, order, 0, taken);
      count = taken;
      sum = reached;
    }
    double point = random.nextDouble() * sum;
    int drawn = best;
    for (int n = 0; n < count; n++) {
      if (probabilities[order[n]] > 0) { // rounding may lead past the last token that can be drawn
        drawn = order[n];
        point -= probabilities[drawn];
        if (point < 0) {
          break;
        }
      }
    }
    return drawn;
  }

  /** The count likeliest come first; of equals those with the smaller token. */
  private void select(int count) {
    heapify(order.length);
    for (int n = 0; n < count; n++) {
      pop(order.length - n);
    }
    for (int n = 0; n < count; n++) {
      int other = order.length - 1 - n;
      if (n < other) {
        int swap = order[n];
        order[n] = order[other];
        order[other] = swap;
      }
    }
  }

  private boolean likelier(int a, int b) {
    return probabilities[a] > probabilities[b] || probabilities[a] == probabilities[b] && a < b;
  }

  private void heapify(int size) {
    for (int n = size / 2 - 1; n >= 0; n--) {
      sink(n, size);
    }
  }

  private int pop(int size) {
    int top = order[0];
    order[0] = order[size - 1];
    order[size - 1] = top;
    sink(0, size - 1);
    return top;
  }

  private void sink(int from, int size) {
    int n = from;
    while (2 * n + 1 < size) {
      int child = 2 * n + 1;
      if (child + 1 < size && likelier(order[child + 1], order[child])) {
        child++;
      }
      if (!likelier(order[child], order[n])) {
        return;
      }
      int swap = order[n];
      order[n] = order[child];
      order[child] = swap;
      n = child;
    }
  }

  private static float score(MemorySegment scores, long n) {
    return scores.getAtIndex(ValueLayout.JAVA_FLOAT, n);
  }
}
