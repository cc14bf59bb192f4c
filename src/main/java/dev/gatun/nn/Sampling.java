package dev.gatun.nn;

/**
 * How the next token is drawn from its scores.
 *
 * @param temperature scores are divided by it before the softmax; 0 takes the best token always
 * @param topK only the k best tokens may be drawn; 0: all
 * @param topP only the fewest best tokens whose probabilities (after topK) reach p together may be
 *     drawn (nucleus sampling, Holtzman et al., 2020); 1: all
 * @param seed of the random numbers: the same seed, model and prompt give the same text
 */
public record Sampling(double temperature, int topK, double topP, long seed) {

  /** Checks the numbers. */
  public Sampling {
    if (!(temperature >= 0) || Double.isInfinite(temperature)) {
      throw new IllegalArgumentException(
          "temperature: expected a finite number >= 0, got " + temperature);
    }
    if (topK < 0) {
      throw new IllegalArgumentException("topK: expected 0 or more, got " + topK);
    }
    if (!(topP > 0 && topP <= 1)) {
      throw new IllegalArgumentException("topP: expected more than 0 and at most 1, got " + topP);
    }
  }

  /**
   * The best token always.
   *
   * @return temperature 0
   */
  public static Sampling greedy() {
    return new Sampling(0, 0, 1, 0);
  }
}
