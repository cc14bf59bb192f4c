package dev.gatun.quality;

import java.util.Random;
import java.util.function.IntPredicate;

/**
 * What a mechanism is to remember: n tokens, each with the code of a symbol and one of {@link
 * #VALUES} values, and for each token the token whose value it asks for. Every value occurs equally
 * often, so that whoever has forgotten all is right once in {@link #VALUES} times.
 *
 * @param name of the task
 * @param dim elements of a code
 * @param keys {@code [n][dim]}: the token's code, of length 1
 * @param queries {@code [n][dim]}: the code of the token that is asked for, of length 1
 * @param values {@code [n]}: 0 … VALUES - 1
 * @param targets {@code [n]}: the token that is asked for, or -1: none
 */
record Task(String name, int dim, float[] keys, float[] queries, int[] values, int[] targets) {

  /** How many values there are, each of a code with a single 1. */
  static final int VALUES = 64;

  int tokens() {
    return values.length;
  }

  /**
   * Associative recall: tokens are pairs of a symbol and a value, in which no symbol occurs twice,
   * and each asks for the value of a symbol that is drawn from all. Symbols have random directions
   * as codes.
   */
  static Task recall(int tokens, int dim, long seed) {
    Random random = new Random(seed);
    float[] keys = new float[tokens * dim];
    for (int t = 0; t < tokens; t++) {
      double squares = 0;
      double[] code = new double[dim];
      for (int i = 0; i < dim; i++) {
        code[i] = random.nextGaussian();
        squares += code[i] * code[i];
      }
      for (int i = 0; i < dim; i++) {
        keys[t * dim + i] = (float) (code[i] / Math.sqrt(squares));
      }
    }
    float[] queries = new float[tokens * dim];
    int[] targets = new int[tokens];
    for (int t = 0; t < tokens; t++) {
      targets[t] = random.nextInt(tokens);
      System.arraycopy(keys, targets[t] * dim, queries, t * dim, dim);
    }
    return new Task("recall", dim, keys, queries, values(tokens, random), targets);
  }

  /**
   * Copying: from the middle on, each token asks for the value of the token n/2 before it. Places
   * have codes of dim/2 angles, each of which grows by a step of its own from place to place, so
   * that the query is the key turned back by n/2 steps: one matrix for all tokens, as a layer's
   * projection of queries.
   */
  static Task copying(int tokens, int dim, long seed) {
    Random random = new Random(seed);
    double[] steps = random.doubles(dim / 2, 0, Math.PI).toArray();
    float[] keys = new float[tokens * dim];
    float[] queries = new float[tokens * dim];
    int[] targets = new int[tokens];
    for (int t = 0; t < tokens; t++) {
      targets[t] = t < tokens / 2 ? -1 : t - tokens / 2;
      place(t, steps, keys, t * dim);
      place(t - tokens / 2, steps, queries, t * dim);
    }
    return new Task("copying", dim, keys, queries, values(tokens, random), targets);
  }

  private static void place(int place, double[] steps, float[] to, int at) {
    double length = 1 / Math.sqrt(steps.length);
    for (int i = 0; i < steps.length; i++) {
      to[at + 2 * i] = (float) (length * Math.cos(steps[i] * place));
      to[at + 2 * i + 1] = (float) (length * Math.sin(steps[i] * place));
    }
  }

  private static int[] values(int tokens, Random random) {
    int[] values = new int[tokens];
    for (int t = 0; t < tokens; t++) {
      int other = random.nextInt(t + 1);
      values[t] = values[other];
      values[other] = t % VALUES;
    }
    return values;
  }

  /** {@code [n][VALUES]}: what a token holds. */
  float[] valueCodes() {
    float[] codes = new float[tokens() * VALUES];
    for (int t = 0; t < tokens(); t++) {
      codes[t * VALUES + values[t]] = 1;
    }
    return codes;
  }

  /** The value that a row of an output is nearest to: its greatest element, as codes have one. */
  static int decode(float[] out, int row) {
    int best = 0;
    for (int value = 1; value < VALUES; value++) {
      if (out[row * VALUES + value] > out[row * VALUES + best]) {
        best = value;
      }
    }
    return best;
  }

  /** The share of those that ask whose value is decoded. */
  double accuracy(float[] out) {
    return accuracy(out, t -> true);
  }

  /** The same of some of the tokens; NaN of none. */
  double accuracy(float[] out, IntPredicate some) {
    int asked = 0;
    int right = 0;
    for (int t = 0; t < tokens(); t++) {
      if (targets[t] >= 0 && some.test(t)) {
        asked++;
        right += decode(out, t) == values[targets[t]] ? 1 : 0;
      }
    }
    return (double) right / asked;
  }
}
