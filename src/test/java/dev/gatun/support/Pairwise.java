package dev.gatun.support;

import java.util.ArrayList;
import java.util.Arrays;
import java.util.LinkedHashSet;
import java.util.List;
import java.util.Random;
import java.util.Set;

/** Covering arrays: few rows in which every pair of values of any two factors occurs. */
public final class Pairwise {

  private static final int CANDIDATES = 20;

  private record Pair(int factorA, int valueA, int factorB, int valueB) {}

  private Pairwise() {}

  /**
   * Makes the rows greedily: each starts from a pair that is still missing, and takes the best of
   * some random completions.
   *
   * @param counts the number of values of each factor
   * @return rows of value indices, one for each factor
   */
  public static List<int[]> rows(long seed, int... counts) {
    Random random = new Random(seed);
    Set<Pair> missing = new LinkedHashSet<>();
    for (int a = 0; a < counts.length; a++) {
      for (int b = a + 1; b < counts.length; b++) {
        for (int i = 0; i < counts[a]; i++) {
          for (int j = 0; j < counts[b]; j++) {
            missing.add(new Pair(a, i, b, j));
          }
        }
      }
    }
    List<int[]> rows = new ArrayList<>();
    while (!missing.isEmpty()) {
      Pair first = missing.iterator().next();
      int[] best = null;
      int bestCount = -1;
      for (int candidate = 0; candidate < CANDIDATES; candidate++) {
        int[] row = Arrays.stream(counts).map(random::nextInt).toArray();
        row[first.factorA] = first.valueA;
        row[first.factorB] = first.valueB;
        int count = 0;
        for (Pair pair : pairs(row)) {
          count += missing.contains(pair) ? 1 : 0;
        }
        if (count > bestCount) {
          bestCount = count;
          best = row;
        }
      }
      missing.removeAll(pairs(best));
      rows.add(best);
    }
    return rows;
  }

  private static List<Pair> pairs(int[] row) {
    List<Pair> pairs = new ArrayList<>();
    for (int a = 0; a < row.length; a++) {
      for (int b = a + 1; b < row.length; b++) {
        pairs.add(new Pair(a, row[a], b, row[b]));
      }
    }
    return pairs;
  }
}
