package dev.gatun.nn;

import dev.gatun.DType;
import dev.gatun.Tensor;
import dev.gatun.internal.Native;
import java.lang.foreign.Arena;
import java.util.Objects;

/**
 * How a Transformer learns the order of its tokens. Attention alone is permutation-equivariant:
 * without one of these, the tokens of a text in another order give the same vectors in that order
 * (and a causal mask tells only which tokens came before). So an {@link Embedding} wants one, and
 * {@link #none} must be said.
 *
 * <ul>
 *   <li>{@link #sinusoidal} and {@link #learned} add a row of a table to each embedding,
 *   <li>{@link #rotary} rotates queries and keys,
 *   <li>{@link #alibi} and {@link #relativePositions} add to the scores of attention,
 *   <li>{@link #relativeKeys} adds what the query makes of the distance.
 * </ul>
 *
 * <p>Immutable. Tables lie in the caller's arena, which must stay open as long as they are used.
 */
public final class PositionalEncoding {

  private static final PositionalEncoding NONE =
      new PositionalEncoding("none", null, null, null, null, Integer.MAX_VALUE);

  private final String name;
  private final Tensor table;
  private final Rotary rotary;
  private final Tensor slopes;
  private final Tensor relativePositions;
  private final int positions;
  private final int firstPosition;
  private final int paddingId;
  private final RelativeKeys relativeKeys;

  private PositionalEncoding(
      String name,
      Tensor table,
      Rotary rotary,
      Tensor slopes,
      Tensor relativePositions,
      int positions) {
    this(name, table, rotary, slopes, relativePositions, positions, 0, -1, null);
  }

  private PositionalEncoding(
      String name,
      Tensor table,
      Rotary rotary,
      Tensor slopes,
      Tensor relativePositions,
      int positions,
      int firstPosition,
      int paddingId,
      RelativeKeys relativeKeys) {
    this.name = name;
    this.table = table;
    this.rotary = rotary;
    this.slopes = slopes;
    this.relativePositions = relativePositions;
    this.positions = positions;
    this.firstPosition = firstPosition;
    this.paddingId = paddingId;
    this.relativeKeys = relativeKeys;
  }

  /**
   * {@return the absence of an encoding, always the same object: the order of tokens is invisible}
   */
  public static PositionalEncoding none() {
    return NONE;
  }

  /**
   * The paper's, section 3.5: {@code PE(pos, 2i) = sin(pos / 10000^(2i/dim))}, {@code PE(pos, 2i +
   * 1) = cos(the same)}.
   *
   * @param arena where the table lies
   * @param positions how many, 1 or more
   * @param dim size of an embedding, 1 or more
   * @return an encoding that is added to embeddings
   */
  public static PositionalEncoding sinusoidal(Arena arena, int positions, int dim) {
    if (positions < 1 || dim < 1) {
      throw new IllegalArgumentException(
          "positions, dim: expected 1 or more, got %d and %d".formatted(positions, dim));
    }
    float[] table = new float[Rows.tableElements("positions", positions, dim)];
    for (int p = 0; p < positions; p++) {
      for (int i = 0; i < dim; i++) {
        double angle = p / Math.pow(10000, 2.0 * (i / 2) / dim);
        table[p * dim + i] = (float) (i % 2 == 0 ? Math.sin(angle) : Math.cos(angle));
      }
    }
    return new PositionalEncoding(
        "sinusoidal", Tensor.copyOf(arena, table, positions, dim), null, null, null, positions);
  }

  /**
   * A table that was trained: BERT's, GPT-2's, ViT's.
   *
   * @param table {@code [positions, dim]} float32, contiguous; not copied
   * @return an encoding that is added to embeddings
   */
  public static PositionalEncoding learned(Tensor table) {
    Rows.checkTable("table", table, "[positions, dim]", -1);
    return new PositionalEncoding("learned", table, null, null, null, (int) table.size(0));
  }

  /**
   * A table that was trained, whose first rows are no positions: RoBERTa's (Liu et al., 2019), as
   * fairseq makes it. Token n of a text has row {@code firstPosition + n}, but that padding inside
   * a text has row {@code paddingId}, and is not counted.
   *
   * @param table {@code [rows, dim]} float32, contiguous; not copied
   * @param firstPosition the row of a text's first token: paddingId + 1
   * @param paddingId the token of padding, and its row; -1: all tokens count
   * @return an encoding that is added to embeddings
   */
  public static PositionalEncoding learned(Tensor table, int firstPosition, int paddingId) {
    PositionalEncoding all = learned(table);
    if (firstPosition < 0 || firstPosition >= table.size(0)) {
      throw new IllegalArgumentException(
          "firstPosition: expected 0 .. %d, got %d".formatted(table.size(0) - 1, firstPosition));
    }
    if (firstPosition > 0 && (paddingId < -1 || paddingId >= table.size(0))) {
      throw new IllegalArgumentException(
          "paddingId: expected -1 .. %d, got %d".formatted(table.size(0) - 1, paddingId));
    }
    return new PositionalEncoding(
        "learned",
        table,
        null,
        null,
        null,
        all.positions - firstPosition,
        firstPosition,
        firstPosition == 0 ? -1 : paddingId,
        null);
  }

  /**
   * Rotary encoding (Su et al., 2021).
   *
   * @param tables sines and cosines
   * @return an encoding of queries and keys
   */
  public static PositionalEncoding rotary(Rotary tables) {
    Objects.requireNonNull(tables, "tables");
    return new PositionalEncoding("rotary", null, tables, null, null, tables.positions());
  }

  /**
   * Attention with linear biases (Press, Smith and Lewis 2022): a score falls by the head's slope
   * for each position between query and key. The slopes are the paper's: {@code 2^(-8h/heads)} for
   * h = 1 … heads where heads is a power of two; otherwise those of the next lower power of two,
   * and then every other one of the next higher.
   *
   * @param arena where the slopes lie
   * @param heads query heads
   * @return an encoding of scores
   */
  public static PositionalEncoding alibi(Arena arena, int heads) {
    if (heads < 1) {
      throw new IllegalArgumentException("heads: expected 1 or more, got " + heads);
    }
    float[] slopes = new float[heads];
    int power = Integer.highestOneBit(heads);
    for (int h = 0; h < heads; h++) {
      double exponent =
          h < power ? -8.0 * (h + 1) / power : -8.0 * (2 * (h - power) + 1) / (2.0 * power);
      slopes[h] = (float) Math.pow(2, exponent);
    }
    return new PositionalEncoding(
        "alibi", null, null, Tensor.copyOf(arena, slopes, heads), null, Integer.MAX_VALUE);
  }

  /**
   * T5's relative position bias (Raffel et al., 2020): distances fall into buckets, exact ones for
   * small distances and logarithmic ones up to maxDistance, and each head has a trained number for
   * each bucket.
   *
   * @param arena where the bias of each distance lies
   * @param table {@code [buckets, heads]} float32, as T5 stores it; copied
   * @param maxDistance from which on all distances share the last bucket, 128 in T5
   * @param bidirectional whether keys after the query have buckets of their own: true in encoders,
   *     false in decoders
   * @return an encoding of scores
   */
  public static PositionalEncoding relativePositions(
      Arena arena, Tensor table, int maxDistance, boolean bidirectional) {
    int least = bidirectional ? 4 : 2;
    if (table.dtype() != DType.FLOAT32
        || table.rank() != 2
        || table.size(0) < least
        || table.size(1) < 1) {
      throw Rows.bad("table", "[buckets >= %d, heads >= 1] float32".formatted(least), table);
    }
    int buckets = Math.toIntExact(table.size(0));
    int heads = Math.toIntExact(table.size(1));
    checkBuckets(buckets, maxDistance, bidirectional);
    if (maxDistance > Native.Abi.MAX_RELATIVE_SPAN) {
      throw new IllegalArgumentException(
          "maxDistance: expected at most %d, got %d"
              .formatted(Native.Abi.MAX_RELATIVE_SPAN, maxDistance));
    }
    int width = 2 * maxDistance + 1;
    float[] biases = new float[Rows.tableElements("table: heads", heads, width)];
    for (int distance = -maxDistance; distance <= maxDistance; distance++) {
      int bucket = bucket(distance, buckets, maxDistance, bidirectional);
      for (int h = 0; h < heads; h++) {
        biases[h * width + maxDistance + distance] = table.getFloat(bucket, h);
      }
    }
    return new PositionalEncoding(
        "relative",
        null,
        null,
        null,
        Tensor.copyOf(arena, biases, heads, width),
        Integer.MAX_VALUE);
  }

  /**
   * Trained vectors for distances, as keys (Shaw et al., 2018; BERT's {@code relative_key}): the
   * score of query i and key j is {@code (q_i · k_j + q_i · table[i − j + positions − 1]) /
   * sqrt(headDim)}. For self-attention of encoders.
   *
   * @param arena where a copy of the table lies
   * @param table {@code [2 · positions − 1, headDim]} float32, contiguous; copied
   * @param ofKeys whether {@code k_j · table[i − j + positions − 1]} joins as well (Huang et al.,
   *     2020; BERT's {@code relative_key_query}); only with as many heads of keys as of queries
   * @return an encoding of scores
   */
  public static PositionalEncoding relativeKeys(Arena arena, Tensor table, boolean ofKeys) {
    RelativeKeys keys = new RelativeKeys(arena, table, ofKeys);
    return new PositionalEncoding(
        "relative keys", null, null, null, null, keys.positions(), 0, -1, keys);
  }

  private static void checkBuckets(int buckets, int maxDistance, boolean bidirectional) {
    int least = bidirectional ? 4 : 2;
    if (buckets < least) {
      throw new IllegalArgumentException(
          "buckets: expected %d or more, got %d".formatted(least, buckets));
    }
    int exact = (bidirectional ? buckets / 2 : buckets) / 2;
    if (maxDistance <= exact) {
      throw new IllegalArgumentException(
          "maxDistance: expected more than %d (the exact buckets), got %d"
              .formatted(exact, maxDistance));
    }
  }

  /**
   * The bucket of a distance: {@code relative_position_bucket} of T5, in single precision where T5
   * is.
   *
   * @param distance key's position minus query's
   * @param buckets how many
   * @param maxDistance from which on distances share a bucket
   * @param bidirectional whether keys after the query have buckets of their own
   * @return 0 … buckets - 1
   */
  public static int bucket(int distance, int buckets, int maxDistance, boolean bidirectional) {
    checkBuckets(buckets, maxDistance, bidirectional);
    int count = buckets;
    int first = 0;
    int steps;
    if (bidirectional) {
      count /= 2;
      first = distance > 0 ? count : 0;
      steps = Math.abs(Math.max(distance, -Integer.MAX_VALUE));
    } else {
      steps = Math.max(-Math.max(distance, -Integer.MAX_VALUE), 0);
    }
    int exact = count / 2;
    if (steps < exact) {
      return first + steps;
    }
    float logarithm = (float) Math.log((float) steps / exact);
    float share = logarithm / (float) Math.log((double) maxDistance / exact);
    return first + Math.min(exact + (int) (share * (count - exact)), count - 1);
  }

  /**
   * {@return how many positions there are: the rows of the table, or {@link Integer#MAX_VALUE}
   * where nothing limits them}
   */
  public int positions() {
    return positions;
  }

  /** What is added to embeddings, {@code [positions, dim]}, or null. */
  Tensor table() {
    return table;
  }

  /** The row of a text's first token. */
  int firstPosition() {
    return firstPosition;
  }

  /** The token of padding; -1: it is one like others. */
  int paddingId() {
    return paddingId;
  }

  Rotary rotary() {
    return rotary;
  }

  /** {@code [heads]}, or null. */
  Tensor slopes() {
    return slopes;
  }

  /** {@code [heads, 2 · span + 1]} biases of clamped distances, or null. */
  Tensor distances() {
    return relativePositions;
  }

  /** Null where distances have no keys. */
  RelativeKeys relativeKeys() {
    return relativeKeys;
  }

  boolean biasesScores() {
    return slopes != null || relativePositions != null;
  }

  /** Describes the encoding in a word. */
  @Override
  public String toString() {
    return name;
  }
}
