package dev.gatun.model;

/** What becomes of a text of more tokens than a model reads. */
public enum OnTooLong {
  /** It is cut, on the side that the tokenizer says. */
  CUT,
  /** The call is refused, before anything is computed. */
  FAIL,
  /**
   * It is read in parts that overlap, each with the prompt before it. Its vector is the mean of
   * theirs, weighted by their tokens, and has the length 1 if the model's vectors have.
   */
  CHUNK
}
