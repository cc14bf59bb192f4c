package dev.gatun.nn;

import dev.gatun.DType;
import dev.gatun.Tensor;
import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;

/**
 * What the layers of a decoder keep of each sequence in place of keys and values: sums whose size
 * does not depend on its length. A step writes a second copy, which replaces the first when the
 * step has succeeded.
 */
final class LayerSums {

  /** Floats of a sequence, of each layer; 0: the layer has none. */
  private final long[] floats;

  /** How many of them lie apart, as of {@link SequenceMixer#apartFloats}. */
  private final long[] apart;

  /** {@code [sequences, floats]} of each layer, or null. */
  private Tensor[] now;

  private Tensor[] next;
  private final int sequences;
  private final boolean any;

  LayerSums(Arena arena, long[] floats, long[] apart, int sequences) {
    this.floats = floats;
    this.apart = apart;
    this.sequences = sequences;
    this.now = new Tensor[floats.length];
    this.next = new Tensor[floats.length];
    boolean some = false;
    for (int n = 0; n < floats.length; n++) {
      if (floats[n] > 0) {
        now[n] = Tensor.allocate(arena, DType.FLOAT32, sequences, floats[n]);
        next[n] = Tensor.allocate(arena, DType.FLOAT32, sequences, floats[n]);
        some = true;
      }
    }
    this.any = some;
  }

  /** Whether a layer has some. */
  boolean any() {
    return any;
  }

  void addTo(Parameters.Builder all) {
    for (int n = 0; n < floats.length; n++) {
      all.add("the state", now[n]).add("the state", next[n]);
    }
  }

  /** What a step of this layer reads and writes, {@code [sequences, floats]}. */
  MemorySegment next(int layer) {
    return next[layer] == null ? MemorySegment.NULL : next[layer].segment();
  }

  /** Begins a step. */
  void begin() {
    for (int n = 0; n < floats.length; n++) {
      if (floats[n] > 0) {
        copy(n, now[n], 0, next[n], 0, sequences);
      }
    }
  }

  /** The step has succeeded. */
  void commit() {
    Tensor[] old = now;
    now = next;
    next = old;
  }

  /** Forgets a sequence. */
  void clear(int sequence) {
    for (int n = 0; n < floats.length; n++) {
      clear(n, sequence * apart[n], apart[n]);
      clear(n, rest(n, sequence), floats[n] - apart[n]);
    }
  }

  private void clear(int layer, long first, long count) {
    // Not fill, which would need a slice: garbage.
    for (long i = first; i < first + count; i++) {
      now[layer].segment().setAtIndex(ValueLayout.JAVA_FLOAT, i, 0);
    }
  }

  /** Where that of a sequence begins which does not lie apart. */
  private long rest(int layer, long sequence) {
    return sequences * apart[layer] + sequence * (floats[layer] - apart[layer]);
  }

  /** Becomes a copy of another state's. */
  void copyFrom(LayerSums source) {
    for (int n = 0; n < floats.length; n++) {
      if (floats[n] > 0) {
        copy(n, source.now[n], 0, now[n], 0, sequences);
      }
    }
  }

  /** Makes each sequence a copy of another. */
  void select(int[] sources) {
    if (!any) {
      return;
    }
    for (int n = 0; n < floats.length; n++) {
      for (int s = 0; floats[n] > 0 && s < sequences; s++) {
        copy(n, now[n], sources[s], next[n], s, 1);
      }
    }
    commit();
  }

  private void copy(int layer, Tensor from, long row, Tensor to, long toRow, long rows) {
    long first = apart[layer];
    copy(from, row * first, to, toRow * first, rows * first);
    long left = rows * (floats[layer] - first);
    copy(from, rest(layer, row), to, rest(layer, toRow), left);
  }

  private static void copy(Tensor from, long first, Tensor to, long toFirst, long count) {
    MemorySegment.copy(
        from.segment(),
        first * Float.BYTES,
        to.segment(),
        toFirst * Float.BYTES,
        count * Float.BYTES);
  }
}
