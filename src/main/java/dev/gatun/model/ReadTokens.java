package dev.gatun.model;

/**
 * The tokens of a text, or of as much of it as surely has more than are kept.
 *
 * @param ids of the library; those before {@code from} may be other ones than in the whole text
 * @param from the first that counts
 * @param count how many there are from there on; more where the text goes on after them
 * @param places where they stand, or null if nobody asked
 */
record ReadTokens(long[] ids, int from, int count, Places places) {

  /**
   * Where tokens stand in their text.
   *
   * @param spans the first code point of each and that after its last, one after the other
   * @param words of each
   * @param tokens as the vocabulary has them
   * @param text the part that was tokenized, without unpaired surrogates
   * @param start where it starts in its text
   */
  record Places(int[] spans, long[] words, String[] tokens, String text, int start) {}

  /** Returns the index of the first token of some that are kept. */
  int first(int kept, boolean keepsEnd) {
    return keepsEnd ? ids.length - kept : from;
  }
}
