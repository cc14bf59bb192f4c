package dev.gatun.cli.compare;

/**
 * The sizes of one measurement: self-attention of one sequence.
 *
 * @param length queries, and keys
 * @param heads heads, of queries and of keys
 * @param headDim elements of a head
 * @param features random features of Performer, and rows that Linformer projects keys to
 * @param window keys on each side that a row of a sliding window sees
 */
public record Setting(long length, int heads, int headDim, int features, int window) {

  Setting withLength(long other) {
    return new Setting(other, heads, headDim, features, window);
  }

  /** Floats of queries, and of keys, values and outputs each. */
  double floats() {
    return (double) length * heads * headDim;
  }

  /** Operations of exact attention: a multiplication and an addition, QKᵀ and PV. */
  double exactFlops() {
    return 4.0 * headDim * heads * length * length;
  }
}
