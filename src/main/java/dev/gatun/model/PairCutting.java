package dev.gatun.model;

/**
 * Which one of two texts is cut where both together have too many tokens: the truncation strategies
 * of Hugging Face's library.
 */
enum PairCutting {
  /** The longer one, down to the length of the shorter, then both. */
  LONGEST_FIRST("LongestFirst"),
  ONLY_FIRST("OnlyFirst"),
  ONLY_SECOND("OnlySecond");

  private final String name;

  PairCutting(String name) {
    this.name = name;
  }

  /** Returns the strategy that a tokenizer.json names. */
  static PairCutting of(String name) {
    for (PairCutting cutting : values()) {
      if (cutting.name.equals(name)) {
        return cutting;
      }
    }
    throw new IllegalArgumentException(name);
  }

  /** Returns the name that it has in a tokenizer.json. */
  String title() {
    return name;
  }

  /**
   * Returns how many tokens of the first text are kept; the second has room for the rest.
   *
   * @param first how many the first text has
   * @param second how many the second has
   * @param most how many may be kept of both together
   * @return tokens of the first text, or -1 if the text that is to be cut would have none left
   */
  int keptOfFirst(int first, int second, int most) {
    if ((long) first + second <= most) {
      return first;
    }
    if (most == 0) {
      return 0;
    }
    return switch (this) {
      case ONLY_FIRST -> second < most ? most - second : -1;
      case ONLY_SECOND -> first < most ? first : -1;
      case LONGEST_FIRST -> {
        int shorter = Math.min(first, second);
        if (shorter > most / 2) {
          shorter = most / 2;
        }
        yield first <= second ? shorter : most - shorter;
      }
    };
  }
}
