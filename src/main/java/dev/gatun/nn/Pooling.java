package dev.gatun.nn;

import dev.gatun.internal.PoolRule;

/**
 * How the vector of a text is made of the vectors of its tokens, as sentence-transformers (Reimers
 * and Gurevych 2019) has it. {@code [CLS]} and {@code [SEP]} count as tokens, padding does not.
 * Sums are in double.
 */
public enum Pooling {
  /** The mean over all tokens. */
  MEAN(PoolRule.MEAN),
  /** The vector of the first token, {@code [CLS]}. */
  CLS(PoolRule.FIRST),
  /** The greatest element of each column over all tokens. */
  MAX(PoolRule.MAX),
  /** The sum over all tokens, divided by the square root of their number. */
  MEAN_SQRT_LENGTH(PoolRule.MEAN_SQRT_LENGTH),
  /**
   * The mean in which a token weighs as much as its place in the text, from 1 on: of decoders,
   * whose last tokens have seen most (Muennighoff 2022).
   */
  WEIGHTED_MEAN(PoolRule.WEIGHTED_MEAN),
  /** The vector of the last token. */
  LAST_TOKEN(PoolRule.LAST);

  final PoolRule rule;

  Pooling(PoolRule rule) {
    this.rule = rule;
  }
}
