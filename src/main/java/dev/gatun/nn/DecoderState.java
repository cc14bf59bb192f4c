package dev.gatun.nn;

import dev.gatun.DType;
import dev.gatun.Tensor;
import dev.gatun.internal.Matrix;
import dev.gatun.internal.Scratch;
import dev.gatun.internal.SequenceRows;
import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import java.util.Objects;
import java.util.concurrent.atomic.AtomicBoolean;

/**
 * What a decoder remembers between steps: keys and values of the tokens it has seen, and those of
 * the encoder's output, computed once. Made by {@link SequenceDecoder#newState}.
 *
 * <p>Its tensors lie in the caller's arena and are gone when that is closed. One thread at a time:
 * a call that finds another one using the state throws {@link IllegalStateException} and changes
 * nothing. A step that fails leaves the lengths as they were.
 */
public final class DecoderState {

  private final SequenceDecoder decoder;

  /** Null where no layer caches keys. */
  private final KeyValueCache cache;

  private final Tensor[] keys;
  private final Tensor[] values;
  private final LayerSums sums;
  private final int sequences;
  private final int capacity;
  private final Tensor[] memoryKeys;
  private final Tensor[] memoryValues;
  private final int memoryCapacity;
  private final MemorySegment memoryOffsets;
  private final MemorySegment lengths;
  private final MemorySegment newLengths;
  private final int[] selectedLengths;
  private final int[] chosen;
  private final Parameters parameters;
  private final AtomicBoolean busy = new AtomicBoolean();
  private long memories;

  /** The last model whose weights were seen to be no part of this. */
  private DecoderModel model;

  DecoderState(SequenceDecoder decoder, Arena arena, CachedTensors cached, int memoryCapacity) {
    this.decoder = decoder;
    this.cache = cached.cache;
    this.keys = cached.keys;
    this.values = cached.values;
    this.sequences = cached.sequences;
    this.capacity = cached.capacity;
    this.memoryCapacity = memoryCapacity;
    this.lengths = Tensor.allocate(arena, DType.INT32, sequences).segment();
    this.newLengths = Tensor.allocate(arena, DType.INT32, sequences).segment();
    this.memoryOffsets = Tensor.allocate(arena, DType.INT32, sequences + 1).segment();
    this.selectedLengths = new int[sequences];
    this.chosen = new int[sequences];
    int layers = decoder.layers();
    this.memoryKeys = new Tensor[layers];
    this.memoryValues = new Tensor[layers];
    long[] floats = new long[layers];
    long[] apart = new long[layers];
    Parameters.Builder all = new Parameters.Builder();
    for (int n = 0; n < layers; n++) {
      memoryKeys[n] = memory(arena, decoder.memoryKeyColumns(n));
      memoryValues[n] = memory(arena, decoder.memoryValueColumns(n));
      all.add("the state", memoryKeys[n]).add("the state", memoryValues[n]);
      floats[n] = decoder.stateFloats(n);
      apart[n] = decoder.apartFloats(n);
    }
    this.sums = new LayerSums(arena, floats, apart, sequences);
    sums.addTo(all);
    all.add("the state", lengths).add("the state", newLengths).add("the state", memoryOffsets);
    cached.addTo(all);
    this.parameters = all.build();
    parameters.refuse(parameters);
    decoder.parameters().refuse(parameters);
  }

  /** Null where there are no columns. */
  private Tensor memory(Arena arena, long columns) {
    return columns == 0
        ? null
        : Tensor.allocate(arena, DType.FLOAT32, sequences, memoryCapacity, columns);
  }

  // ---- one call at a time ----------------------------------------------------------------------

  /** Begins a call that reads and changes the state. */
  void acquire() {
    if (!busy.compareAndSet(false, true)) {
      throw new IllegalStateException(
          "the state is in use by another call; give each thread its own");
    }
    if (cache instanceof TensorCache tensors && !tensors.tryAcquire()) {
      busy.setRelease(false);
      throw TensorCache.inUse();
    }
  }

  /** Ends what {@link #acquire} began. */
  void release() {
    if (cache instanceof TensorCache tensors) {
      tensors.release();
    }
    busy.setRelease(false);
  }

  /** The memory that steps write: no argument may share it. */
  Parameters parameters() {
    return parameters;
  }

  /** Refuses an input, and what says how its rows are divided, that a step would overwrite. */
  void refuseShared(String name, Tensor input, Sequences sequences) {
    parameters.refuse(name, input);
    if (sequences != null) {
      parameters.refuse(sequences.tensorName(), sequences.tensor());
    }
  }

  /** Refuses a model whose weights share memory with this. */
  void checkModel(DecoderModel model) {
    if (this.model != model) {
      model.parameters().refuse(parameters);
      this.model = model;
    }
  }

  /** {@return the number of sequences, 1 or more} */
  public int sequences() {
    return sequences;
  }

  /** {@return the capacity: tokens that a sequence can have} */
  public int capacity() {
    return capacity;
  }

  /**
   * Returns how many tokens a sequence has.
   *
   * @param sequence 0 … sequences - 1
   * @return 0 … capacity
   */
  public int length(int sequence) {
    return lengths.getAtIndex(ValueLayout.JAVA_INT, Objects.checkIndex(sequence, sequences()));
  }

  /**
   * Forgets the last tokens of every sequence that has more than maxTokens.
   *
   * @param maxTokens of a sequence, those that stay; where layers keep sums in place of keys and
   *     values (Mamba, linear attention, recurrent layers) 0, or no fewer than any sequence has
   * @throws IllegalArgumentException if it is not
   * @throws IllegalStateException if the state is in use by another call
   */
  public void truncate(int maxTokens) {
    if (maxTokens < 0) {
      throw new IllegalArgumentException("maxTokens: expected 0 or more, got " + maxTokens);
    }
    acquire();
    try {
      if (sums.any() && maxTokens > 0 && maxTokens < longest()) {
        throw new IllegalArgumentException(
            "maxTokens: expected 0 or at least %d, as layers keep sums that no token can be taken from, got %d"
                .formatted(longest(), maxTokens));
      }
      shorten(maxTokens);
    } finally {
      release();
    }
  }

  /**
   * Forgets all tokens; what {@link SequenceDecoder#remember} has computed stays.
   *
   * @throws IllegalStateException if the state is in use by another call
   */
  public void reset() {
    truncate(0);
  }

  /** Forgets all tokens within a call. */
  void forget() {
    shorten(0);
  }

  private void shorten(int maxTokens) {
    for (int n = 0; n < sequences; n++) {
      if (maxTokens == 0 && sums.any()) {
        sums.clear(n);
      }
      setLength(n, Math.min(length(n), maxTokens));
    }
  }

  /**
   * Becomes a copy of another state, which then goes on without this one: a conversation that
   * forks.
   *
   * @param source of the same decoder and as many sequences, without a memory, none of its
   *     sequences longer than this state's capacity
   * @throws IllegalArgumentException naming what does not fit; nothing was changed
   * @throws IllegalStateException if one of the states is in use by another call
   */
  public void copyFrom(DecoderState source) {
    if (source == this) {
      return;
    }
    if (source.decoder != decoder || source.sequences != sequences) {
      throw new IllegalArgumentException(
          "source: expected a state of the same decoder with %d sequences, got %s"
              .formatted(
                  sequences,
                  source.decoder != decoder ? "another decoder's" : source.sequences + ""));
    }
    acquire();
    try {
      source.acquire();
      try {
        copy(source);
      } finally {
        source.release();
      }
    } finally {
      release();
    }
  }

  private void copy(DecoderState source) {
    if (decoder.hasMemory()) {
      throw new IllegalArgumentException(
          "source: expected a decoder without cross-attention, got one with it");
    }
    if (source.longest() > capacity) {
      throw new IllegalArgumentException(
          "source: expected at most %d tokens in a sequence, this state's capacity, got %d"
              .formatted(capacity, source.longest()));
    }
    for (int layer = 0; layer < keys.length; layer++) {
      if (keys[layer] != null) {
        copyTokens(source, source.keys[layer], keys[layer]);
        copyTokens(source, source.values[layer], values[layer]);
      }
    }
    sums.copyFrom(source.sums);
    for (int n = 0; n < sequences; n++) {
      setLength(n, source.length(n));
    }
  }

  /** The rows of tokens, which two caches may hold at different strides. */
  private static void copyTokens(DecoderState source, Tensor from, Tensor to) {
    long size = from.size(2) * from.size(3) * Float.BYTES;
    for (int n = 0; n < source.sequences; n++) {
      for (int token = 0; token < source.length(n); token++) {
        MemorySegment.copy(
            from.segment(),
            (n * from.stride(0) + token * from.stride(1)) * Float.BYTES,
            to.segment(),
            (n * to.stride(0) + token * to.stride(1)) * Float.BYTES,
            size);
      }
    }
  }

  /**
   * Makes each sequence a copy of another: beams that survive. Those that share one memory go on
   * sharing it; otherwise sequences keep the memory they have.
   *
   * @param sources {@code sources[n]} is the sequence that sequence n becomes
   * @throws IllegalArgumentException if there is not one source for each sequence, or no such
   *     source
   * @throws IllegalStateException if the state is in use by another call
   */
  public void select(int... sources) {
    acquire();
    try {
      move(sources);
    } finally {
      release();
    }
  }

  /** The same within a call. */
  void move(int[] sources) {
    if (sources.length != sequences) {
      throw new IllegalArgumentException(
          "sources: expected %d of them, got %d".formatted(sequences, sources.length));
    }
    int longest = longest();
    for (int n = 0; n < sequences; n++) {
      int source = sources[n];
      if (source < 0 || source >= sequences) {
        throw new IllegalArgumentException(
            "sources[%d]: expected 0 .. %d, got %d".formatted(n, sequences - 1, source));
      }
      chosen[n] = source;
      selectedLengths[n] = length(source);
    }
    if (cache instanceof TensorCache tensors) {
      tensors.move(chosen, longest);
    } else if (cache != null) {
      cache.select(chosen, longest);
    }
    sums.select(chosen);
    for (int n = 0; n < sequences; n++) {
      setLength(n, selectedLengths[n]);
    }
  }

  private void setLength(int sequence, int length) {
    lengths.setAtIndex(ValueLayout.JAVA_INT, sequence, length);
  }

  /** Of the cache, as it gave them when the state was made. */
  Tensor keys(int layer) {
    return keys[layer];
  }

  Tensor values(int layer) {
    return values[layer];
  }

  /** What a layer keeps in place of keys and values, as the step under way writes it; or NULL. */
  MemorySegment sums(int layer) {
    return sums.next(layer);
  }

  SequenceDecoder decoder() {
    return decoder;
  }

  /** Lengths with the rows of the step under way. */
  MemorySegment ends() {
    return newLengths;
  }

  /** Tokens of each sequence, {@code [sequences]} int32. */
  MemorySegment lengths() {
    return lengths;
  }

  /** Refuses rows, of the named argument, that there is no capacity for. */
  void checkCapacity(String name, SequenceRows rows) {
    for (int n = 0; n < sequences; n++) {
      if (length(n) + rows.length(n) > capacity) {
        throw new IllegalArgumentException(
            "%s: expected at most %d more tokens in sequence %d (capacity %d), got %d"
                .formatted(name, capacity - length(n), n, capacity, rows.length(n)));
      }
    }
  }

  /** Begins a step of rows that there is capacity for. */
  void begin(SequenceRows rows) {
    for (int n = 0; n < sequences; n++) {
      newLengths.setAtIndex(ValueLayout.JAVA_INT, n, (int) (length(n) + rows.length(n)));
    }
    sums.begin();
  }

  /** The step has succeeded. */
  void commit() {
    MemorySegment.copy(newLengths, 0, lengths, 0, (long) sequences() * Integer.BYTES);
    sums.commit();
  }

  /** The longest sequence. */
  int longest() {
    int longest = 0;
    for (int n = 0; n < sequences(); n++) {
      longest = Math.max(longest, length(n));
    }
    return longest;
  }

  // ---- memory --------------------------------------------------------------------------------

  /** Refuses a memory, of the named argument, that does not fit. */
  void checkMemory(String name, SequenceRows rows) {
    if (rows.count() != 1 && rows.count() != sequences || rows.longest() > memoryCapacity) {
      throw new IllegalArgumentException(
          "%s: expected %d sequences or 1, of at most %d rows, got %d of at most %d"
              .formatted(name, sequences, memoryCapacity, rows.count(), rows.longest()));
    }
  }

  /** Until there is another one; the tokens are forgotten, too. */
  void forgetMemory() {
    memories = 0;
    forget();
  }

  void setMemory(Scratch scratch, SequenceRows rows) {
    MemorySegment.copy(
        rows.offsets(scratch), 0, memoryOffsets, 0, (rows.count() + 1) * Integer.BYTES);
    memories = rows.count();
  }

  boolean hasMemory() {
    return memories > 0;
  }

  /** How many there are: 0 before {@code remember}, 1 that all share, or one for each sequence. */
  long memories() {
    return memories;
  }

  /** How the rows of {@link #memoryKeys} belong to the sequences. */
  SequenceRows memoryRows(Scratch scratch) {
    return memories == 1 && sequences > 1
        ? SequenceRows.strided(scratch, sequences, memoryLength(), 0, 1)
        : SequenceRows.ragged(scratch, memoryOffsets, sequences);
  }

  /** Rows that all memories have together. */
  long memoryLength() {
    return memoryOffsets.getAtIndex(ValueLayout.JAVA_INT, memories);
  }

  /** Memory for the keys of so many rows, without gaps. */
  Matrix memoryKeys(Scratch scratch, int layer, long rows) {
    return view(scratch, memoryKeys[layer], rows);
  }

  Matrix memoryValues(Scratch scratch, int layer, long rows) {
    return view(scratch, memoryValues[layer], rows);
  }

  private static Matrix view(Scratch scratch, Tensor tensor, long rows) {
    return scratch.view(tensor.segment(), rows, tensor.size(2), tensor.size(2));
  }
}
