package dev.gatun.model;

/** What a language model reads and writes: from text to tokens, and from a token to bytes. */
interface TextVocabulary {

  /**
   * Tokens of a text.
   *
   * @param first whether nothing stands before it, so that it gets the token of a beginning
   * @param most tokens that there is room for
   * @throws IllegalArgumentException if there are more
   */
  int[] encode(String text, boolean first, int most);

  /**
   * The bytes of UTF-8 that a token is: parts of a character, for some. None for a special token.
   *
   * @param previous the prompt's last token, before the first one of a text; -1 for all others
   */
  byte[] bytes(int token, int previous);

  /** The highest token. */
  int highestId();
}
