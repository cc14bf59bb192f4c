package dev.gatun.nn;

import dev.gatun.DType;
import dev.gatun.Tensor;

/**
 * What a {@link KeyValueCache} has given, asked for once and checked as an argument is: whoever
 * implements the interface may give other tensors next time.
 */
final class CachedTensors {

  final KeyValueCache cache;
  final int sequences;
  final int capacity;

  /** Of each layer; null where it caches none. */
  final Tensor[] keys;

  final Tensor[] values;

  CachedTensors(KeyValueCache cache, Stack stack) {
    this.cache = cache;
    this.sequences = cache.sequences();
    this.capacity = cache.capacity();
    if (sequences < 1 || capacity < 1) {
      throw new IllegalArgumentException(
          "cache: expected 1 or more sequences and room for 1 token or more, got %d and %d"
              .formatted(sequences, capacity));
    }
    this.keys = new Tensor[stack.size()];
    this.values = new Tensor[stack.size()];
    for (int n = 0; n < stack.size(); n++) {
      SequenceMixer mixer = stack.layer(n).selfAttention();
      int heads = mixer.cachedHeads();
      if (heads > 0) {
        keys[n] = checked("keys", n, cache.keys(n), heads, mixer.cachedKeyDim());
        values[n] = checked("values", n, cache.values(n), heads, mixer.cachedValueDim());
      }
    }
  }

  /** Of a decoder whose layers cache no keys. */
  CachedTensors(int layers, int sequences, int capacity) {
    if (sequences < 1 || capacity < 1) {
      throw new IllegalArgumentException(
          "sequences, capacity: expected 1 or more, got %d and %d".formatted(sequences, capacity));
    }
    this.cache = null;
    this.sequences = sequences;
    this.capacity = capacity;
    this.keys = new Tensor[layers];
    this.values = new Tensor[layers];
  }

  private static String name(String kind, int layer) {
    return "cache.%s(%d)".formatted(kind, layer);
  }

  private Tensor checked(String kind, int layer, Tensor tensor, int heads, long size) {
    String name = name(kind, layer);
    String expected =
        "[%d, %d, %d, %d] float32, heads without gaps".formatted(sequences, capacity, heads, size);
    if (tensor == null) {
      throw new IllegalArgumentException("%s: expected %s, got null".formatted(name, expected));
    }
    if (tensor.dtype() != DType.FLOAT32
        || tensor.rank() != 4
        || tensor.size(0) != sequences
        || tensor.size(1) != capacity
        || tensor.size(2) != heads
        || tensor.size(3) != size
        || tensor.stride(2) != size
        || size > 1 && tensor.stride(3) != 1) {
      throw Rows.bad(name, expected, tensor);
    }
    if (capacity > 1 && tensor.stride(1) < heads * size) {
      throw new IllegalArgumentException(
          "%s: expected tokens at least %d elements apart, got %d"
              .formatted(name, heads * size, tensor.stride(1)));
    }
    if (tensor.isReadOnly()) {
      throw new IllegalArgumentException(
          name + ": expected memory that can be written, got a read-only segment");
    }
    if (!tensor.segment().scope().isAlive()) {
      throw new IllegalStateException(name + ": its arena is closed");
    }
    return tensor;
  }

  /** Adds the rows of all tensors. */
  void addTo(Parameters.Builder all) {
    for (int n = 0; n < keys.length; n++) {
      if (keys[n] != null) {
        addTo(all, name("keys", n), keys[n]);
        addTo(all, name("values", n), values[n]);
      }
    }
  }

  /** As rows of tokens; sequence by sequence, where they are not evenly spaced throughout. */
  private void addTo(Parameters.Builder all, String name, Tensor tensor) {
    Tensor tokens = tensor.mergeHeads();
    if (sequences == 1 || capacity > 1 && tokens.stride(0) == capacity * tokens.stride(1)) {
      all.add(name, tokens);
    } else {
      for (int n = 0; n < sequences; n++) {
        all.add(name, tokens.select(0, n));
      }
    }
  }
}
