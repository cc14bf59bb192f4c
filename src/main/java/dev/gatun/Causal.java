package dev.gatun;

/**
 * Which keys a query row may see by its position.
 *
 * <p>Positions count within the valid part of a batch row: with lengths, {@code seqQ} and {@code
 * seqK} below are the query and the key length of that batch row.
 */
public enum Causal {
  /** Every row sees every key. */
  NONE,
  /**
   * Row {@code i} sees the keys {@code j <= i + seqK - seqQ}: the last query sees the last key, as
   * when new tokens are appended to cached ones. Where {@code seqQ > seqK} the first rows see no
   * key; they give 0 and a log-sum-exp of minus infinity.
   */
  BOTTOM_RIGHT,
  /** Row {@code i} sees the keys {@code j <= i}: the first query sees the first key. */
  TOP_LEFT
}
