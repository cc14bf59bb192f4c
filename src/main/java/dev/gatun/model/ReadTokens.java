package dev.gatun.model;

/**
 * The tokens of a text, or of as much of it as surely has more than are kept.
 *
 * @param ids of the library; those before {@code from} may be other ones than in the whole text
 * @param from the first that counts
 * @param count how many there are from there on; more where the text goes on after them
 * @param places where they stand, or null if nobody asked
 */
record ReadTokens(long[] ids, int from, int count, TokenPlaces places) {

  /** Returns how many of them are kept of so many at most. */
  int kept(int most) {
    return Math.min(ids.length - from, most);
  }

  /** Returns the index of the first token of some that are kept. */
  int first(int kept, boolean keepsEnd) {
    return keepsEnd ? ids.length - kept : from;
  }
}
