package dev.gatun.nn;

import dev.gatun.DType;
import dev.gatun.Tensor;
import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.util.concurrent.atomic.AtomicBoolean;

/**
 * A {@link KeyValueCache} of plain tensors in the caller's arena. Steps with it allocate nothing.
 * One thread at a time: a call that finds another one using the cache throws {@link
 * IllegalStateException}.
 */
public final class TensorCache implements KeyValueCache {

  private final Tensor[] keys;
  private final Tensor[] values;
  private final MemorySegment spare;
  private final AtomicBoolean busy = new AtomicBoolean();

  /**
   * Allocates a cache.
   *
   * @param arena where the tensors lie
   * @param layers 1 or more
   * @param sequences 1 or more
   * @param capacity tokens of each sequence, 1 or more
   * @param kvHeads heads of keys and values
   * @param headDim size of a key
   * @param headDimV size of a value
   */
  public TensorCache(
      Arena arena,
      int layers,
      int sequences,
      int capacity,
      int kvHeads,
      int headDim,
      int headDimV) {
    if (layers < 1 || sequences < 1 || capacity < 1) {
      throw new IllegalArgumentException(
          "layers, sequences, capacity: expected 1 or more, got %d, %d and %d"
              .formatted(layers, sequences, capacity));
    }
    keys = new Tensor[layers];
    values = new Tensor[layers];
    for (int n = 0; n < layers; n++) {
      allocate(arena, n, sequences, capacity, kvHeads, headDim, headDimV);
    }
    spare = spare(arena);
  }

  /** With the sizes that each layer of a decoder has. */
  TensorCache(Arena arena, Stack stack, int sequences, int capacity) {
    if (sequences < 1 || capacity < 1) {
      throw new IllegalArgumentException(
          "sequences, capacity: expected 1 or more, got %d and %d".formatted(sequences, capacity));
    }
    keys = new Tensor[stack.size()];
    values = new Tensor[stack.size()];
    for (int n = 0; n < keys.length; n++) {
      SequenceMixer mixer = stack.layer(n).selfAttention();
      allocate(
          arena,
          n,
          sequences,
          capacity,
          mixer.cachedHeads(),
          mixer.cachedKeyDim(),
          mixer.cachedValueDim());
    }
    spare = spare(arena);
  }

  private void allocate(
      Arena arena,
      int layer,
      int sequences,
      int capacity,
      int kvHeads,
      long headDim,
      long headDimV) {
    keys[layer] = Tensor.allocate(arena, DType.FLOAT32, sequences, capacity, kvHeads, headDim);
    values[layer] = Tensor.allocate(arena, DType.FLOAT32, sequences, capacity, kvHeads, headDimV);
  }

  /** As large as the largest tensor, or nothing where there is nothing to select. */
  private MemorySegment spare(Arena arena) {
    long most = 0;
    for (int n = 0; n < keys.length; n++) {
      most = Math.max(most, Math.max(keys[n].elements(), values[n].elements()));
    }
    return sequences() == 1
        ? MemorySegment.NULL
        : Tensor.allocate(arena, DType.FLOAT32, most).segment();
  }

  @Override
  public int layers() {
    return keys.length;
  }

  @Override
  public int sequences() {
    return (int) keys[0].size(0);
  }

  @Override
  public int capacity() {
    return (int) keys[0].size(1);
  }

  @Override
  public Tensor keys(int layer) {
    return keys[layer];
  }

  @Override
  public Tensor values(int layer) {
    return values[layer];
  }

  boolean tryAcquire() {
    return busy.compareAndSet(false, true);
  }

  void release() {
    busy.setRelease(false);
  }

  static IllegalStateException inUse() {
    return new IllegalStateException(
        "the cache is in use by another call; give each state a cache of its own");
  }

  /**
   * {@inheritDoc}
   *
   * @throws IllegalArgumentException if there is not one source for each sequence, no such source,
   *     or too little capacity for so many tokens
   * @throws IllegalStateException if the cache is in use by another call
   */
  @Override
  public void select(int[] sources, int tokens) {
    if (!tryAcquire()) {
      throw inUse();
    }
    try {
      move(sources.clone(), tokens);
    } finally {
      release();
    }
  }

  /** The same, of sources that nobody else writes. */
  void move(int[] sources, int tokens) {
    if (sources.length != sequences() || tokens < 0 || tokens > capacity()) {
      throw new IllegalArgumentException(
          "sources, tokens: expected %d sequences and at most %d tokens, got %d and %d"
              .formatted(sequences(), capacity(), sources.length, tokens));
    }
    boolean moves = false;
    for (int n = 0; n < sources.length; n++) {
      if (sources[n] < 0 || sources[n] >= sources.length) {
        throw new IllegalArgumentException(
            "sources[%d]: expected 0 .. %d, got %d".formatted(n, sources.length - 1, sources[n]));
      }
      moves |= sources[n] != n;
    }
    if (moves) {
      for (int n = 0; n < keys.length; n++) {
        select(keys[n], sources, tokens);
        select(values[n], sources, tokens);
      }
    }
  }

  private void select(Tensor tensor, int[] sources, int tokens) {
    if (tensor.elements() == 0) { // of a layer that caches none; its strides say nothing
      return;
    }
    long size = tensor.stride(0) * Float.BYTES;
    long used = tokens * tensor.stride(1) * Float.BYTES;
    MemorySegment memory = tensor.segment();
    for (int n = 0; n < sources.length; n++) {
      if (sources[n] != n) {
        MemorySegment.copy(memory, sources[n] * size, spare, n * size, used);
      }
    }
    for (int n = 0; n < sources.length; n++) {
      if (sources[n] != n) {
        MemorySegment.copy(spare, n * size, memory, n * size, used);
      }
    }
  }
}
