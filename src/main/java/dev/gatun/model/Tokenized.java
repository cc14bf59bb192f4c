package dev.gatun.model;

import java.util.Arrays;
import java.util.Objects;

/**
 * A text, or a pair of texts, as a model reads it. Two are equal if they have the same tokens with
 * the same types and the same original count.
 *
 * @param ids the tokens, those of the template around the text ({@code [CLS]}, {@code [SEP]})
 *     included; not copied
 * @param typeIds of each token, as the template says: for BERT 0 for the first text and 1 for the
 *     second, with the {@code [SEP]} after it; null where all are 0; not copied
 * @param originalCount how many there would be if no text had been cut; of a very long text, of
 *     which only a part was tokenized ({@link Tokenizer#encode(String, int)}), those of the part
 */
public record Tokenized(int[] ids, int[] typeIds, int originalCount) {

  /** Wants the tokens, and as many types if there are any. */
  public Tokenized {
    Objects.requireNonNull(ids, "ids");
    if (typeIds != null && typeIds.length != ids.length) {
      throw new IllegalArgumentException(
          "typeIds: expected one for each of %d tokens, got %d"
              .formatted(ids.length, typeIds.length));
    }
  }

  /**
   * Tokens whose types are all 0.
   *
   * @param ids as of the record
   * @param originalCount as of the record
   */
  public Tokenized(int[] ids, int originalCount) {
    this(ids, null, originalCount);
  }

  /** {@return the type of each token; a new array where all are 0} */
  @Override
  public int[] typeIds() {
    return typeIds == null ? new int[ids.length] : typeIds;
  }

  /** {@return the number of tokens, the length of ids} */
  public int count() {
    return ids.length;
  }

  /**
   * Says whether the text was cut.
   *
   * @return true if there are fewer tokens than the text has
   */
  public boolean truncated() {
    return ids.length < originalCount;
  }

  @Override
  public boolean equals(Object other) {
    return other instanceof Tokenized that
        && originalCount == that.originalCount
        && Arrays.equals(ids, that.ids)
        && (typeIds == that.typeIds || Arrays.equals(typeIds(), that.typeIds()));
  }

  @Override
  public int hashCode() {
    return 31 * Arrays.hashCode(ids) + originalCount;
  }

  /** The tokens, their types unless all are 0, and how many there were. */
  @Override
  public String toString() {
    String types = typeIds == null ? "" : ", typeIds=" + Arrays.toString(typeIds);
    return "Tokenized[ids=%s%s, originalCount=%d]"
        .formatted(Arrays.toString(ids), types, originalCount);
  }
}
