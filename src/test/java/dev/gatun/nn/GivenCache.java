package dev.gatun.nn;

import dev.gatun.Tensor;

/** A cache of one layer over given tensors {@code [sequences, capacity, kvHeads, headDim]}. */
record GivenCache(Tensor keys, Tensor values) implements KeyValueCache {
  @Override
  public int layers() {
    return 1;
  }

  @Override
  public int sequences() {
    return (int) keys.size(0);
  }

  @Override
  public int capacity() {
    return (int) keys.size(1);
  }

  @Override
  public Tensor keys(int layer) {
    return keys;
  }

  @Override
  public Tensor values(int layer) {
    return values;
  }

  @Override
  public void select(int[] sources, int tokens) {}
}
