package dev.gatun.model;

/**
 * How much of a text a model has read.
 *
 * @param count tokens that were read, those of the prompt and the template ({@code [CLS]}, {@code
 *     [SEP]}) included; what chunks share counts once
 * @param originalCount as of {@link Tokenized#originalCount}: how many there would be without a
 *     limit
 * @param chunks parts that it was read in, 1 or more
 */
public record TextTokens(int count, int originalCount, int chunks) {

  /**
   * Says whether the text was cut.
   *
   * @return true if fewer tokens were read than the text has
   */
  public boolean truncated() {
    return count < originalCount;
  }
}
