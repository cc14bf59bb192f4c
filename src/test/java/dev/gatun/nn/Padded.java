package dev.gatun.nn;

import dev.gatun.Tensor;

/** Sequences of the tests' padded batches. */
public final class Padded {

  private Padded() {}

  /** Of so many rows each, or of all rows. */
  public static Sequences by(Tensor lengths) {
    return lengths == null ? null : Sequences.padded(lengths);
  }
}
