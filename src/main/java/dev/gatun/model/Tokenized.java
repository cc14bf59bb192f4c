package dev.gatun.model;

/**
 * A text as a model reads it.
 *
 * @param ids the tokens, those of the template around the text ({@code [CLS]}, {@code [SEP]})
 *     included; not copied
 * @param originalCount how many there would be if the text had not been cut; of a very long text,
 *     of which only a part was tokenized ({@link Tokenizer#encode(String, int)}), those of the part
 */
public record Tokenized(int[] ids, int originalCount) {

  /**
   * Returns the number of tokens.
   *
   * @return the length of ids
   */
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
}
