package dev.gatun;

import java.util.Objects;

/**
 * Which probabilities a map of attention shows, and what becomes of those that share a cell.
 *
 * {@snippet :
 * Tensor map = Tensor.allocate(arena, DType.FLOAT32, batch, heads, 256, 256);
 * attention.map(q, k, map, AttentionMap.max().rows(0, 4096), new AttentionOptions());
 * }
 *
 * <p>How small the map is, its tensor says: {@code mapRows} bins of the chosen rows, {@code
 * mapColumns} bins of the chosen keys. Bin r of the rows holds those from {@code firstRow + r *
 * rows / mapRows} (rounded down) up to where the next one begins, bins of keys likewise; with as
 * many bins as rows and keys a cell is one probability.
 *
 * @param reduction what a cell is
 * @param firstRow the first query row, 0 or more
 * @param rows how many of them, or {@link #ALL}
 * @param firstKey the first key, 0 or more
 * @param keys how many of them, or {@link #ALL}
 */
public record AttentionMap(
    Reduction reduction, long firstRow, long rows, long firstKey, long keys) {

  /** All rows or keys from the first one on. */
  public static final long ALL = -1;

  /** What becomes of the probabilities that share a cell. */
  public enum Reduction {
    /** Their mean; those of masked keys are 0 and count. */
    MEAN,
    /** The largest of them, so that no single strong connection is lost in a small map. */
    MAX
  }

  private static final AttentionMap MEAN_OF_ALL = new AttentionMap(Reduction.MEAN, 0, ALL, 0, ALL);
  private static final AttentionMap MAX_OF_ALL = new AttentionMap(Reduction.MAX, 0, ALL, 0, ALL);

  /**
   * Checks what does not depend on a call.
   *
   * @throws IllegalArgumentException if a number is out of its range
   */
  public AttentionMap {
    Objects.requireNonNull(reduction, "reduction");
    check("firstRow", firstRow, 0);
    check("rows", rows, ALL);
    check("firstKey", firstKey, 0);
    check("keys", keys, ALL);
  }

  private static void check(String name, long value, long least) {
    if (value < least) {
      throw new IllegalArgumentException(
          "%s: expected 0 or more%s, got %d"
              .formatted(name, least == ALL ? ", or ALL" : "", value));
    }
  }

  /**
   * Means of all rows and keys.
   *
   * @return a map whose cells are means
   */
  public static AttentionMap mean() {
    return MEAN_OF_ALL;
  }

  /**
   * The largest probabilities of all rows and keys.
   *
   * @return a map whose cells are maxima
   */
  public static AttentionMap max() {
    return MAX_OF_ALL;
  }

  /**
   * Chooses query rows.
   *
   * @param first the first of them, 0 or more
   * @param count how many, or {@link #ALL}
   * @return the same map of these rows
   * @throws IllegalArgumentException if a number is out of its range
   */
  public AttentionMap rows(long first, long count) {
    return new AttentionMap(reduction, first, count, firstKey, keys);
  }

  /**
   * Chooses keys. Probabilities stay those among all keys of a row.
   *
   * @param first the first of them, 0 or more
   * @param count how many, or {@link #ALL}
   * @return the same map of these keys
   * @throws IllegalArgumentException if a number is out of its range
   */
  public AttentionMap keys(long first, long count) {
    return new AttentionMap(reduction, firstRow, rows, first, count);
  }
}
