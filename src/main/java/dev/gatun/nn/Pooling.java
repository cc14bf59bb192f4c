package dev.gatun.nn;

/** How the vector of a text is made of the vectors of its tokens. */
public enum Pooling {
  /** The mean over all tokens, {@code [CLS]} and {@code [SEP]} included, padding left out. */
  MEAN,
  /** The vector of the first token, {@code [CLS]}. */
  CLS
}
