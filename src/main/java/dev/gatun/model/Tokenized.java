package dev.gatun.model;

import java.util.Arrays;
import java.util.Objects;

/**
 * A text as a model reads it. Two are equal if they have the same tokens and the same original
 * count.
 *
 * @param ids the tokens, those of the template around the text ({@code [CLS]}, {@code [SEP]})
 *     included; not copied
 * @param originalCount how many there would be if the text had not been cut; of a very long text,
 *     of which only a part was tokenized ({@link Tokenizer#encode(String, int)}), those of the part
 */
public record Tokenized(int[] ids, int originalCount) {

  /** Wants the tokens. */
  public Tokenized {
    Objects.requireNonNull(ids, "ids");
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
        && Arrays.equals(ids, that.ids);
  }

  @Override
  public int hashCode() {
    return 31 * Arrays.hashCode(ids) + originalCount;
  }

  /** The tokens, and how many there were. */
  @Override
  public String toString() {
    return "Tokenized[ids=%s, originalCount=%d]".formatted(Arrays.toString(ids), originalCount);
  }
}
