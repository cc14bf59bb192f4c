package dev.gatun.internal;

/** What gatun_pool makes of the rows of a sequence. */
public enum PoolRule {
  MEAN,
  FIRST,
  MAX,
  MEAN_SQRT_LENGTH,
  WEIGHTED_MEAN,
  LAST
}
