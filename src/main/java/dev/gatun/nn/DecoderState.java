package dev.gatun.nn;

import dev.gatun.DType;
import dev.gatun.Tensor;
import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import java.util.Objects;
import java.util.concurrent.atomic.AtomicBoolean;

/**
 * What a decoder remembers between steps: keys and values of the tokens it has seen, and those of
 * the encoder's output, computed once. Made by {@link TransformerDecoder#newState}.
 *
 * <p>Its tensors lie in the caller's arena and are gone when that is closed. One thread at a time:
 * a call that finds another one using the state throws {@link IllegalStateException} and changes
 * nothing. A step that fails leaves the lengths as they were.
 */
public final class DecoderState {

  private final TransformerDecoder decoder;
  private final KeyValueCache cache;
  private final Tensor[] keys;
  private final Tensor[] values;
  private final int sequences;
  private final int capacity;
  private final Tensor[] memoryKeys;
  private final Tensor[] memoryValues;
  private final int memoryCapacity;
  private final MemorySegment memoryLengths;
  private final MemorySegment lengths;
  private final MemorySegment ends;
  private final int[] moved;
  private final int[] chosen;
  private final Parameters parameters;
  private final AtomicBoolean busy = new AtomicBoolean();
  private long memories;
  private long memorySeq;

  /** The last model whose weights were seen to be no part of this. */
  private DecoderModel model;

  DecoderState(
      TransformerDecoder decoder,
      Arena arena,
      CachedTensors cached,
      Stack stack,
      int memoryCapacity) {
    this.decoder = decoder;
    this.cache = cached.cache;
    this.keys = cached.keys;
    this.values = cached.values;
    this.sequences = cached.sequences;
    this.capacity = cached.capacity;
    this.memoryCapacity = memoryCapacity;
    this.lengths = Tensor.allocate(arena, DType.INT32, sequences).segment();
    this.ends = Tensor.allocate(arena, DType.INT32, sequences).segment();
    this.memoryLengths = Tensor.allocate(arena, DType.INT32, sequences).segment();
    this.moved = new int[sequences];
    this.chosen = new int[sequences];
    int layers = stack.crosses() ? stack.size() : 0;
    this.memoryKeys = new Tensor[layers];
    this.memoryValues = new Tensor[layers];
    Parameters.Builder all = new Parameters.Builder();
    for (int n = 0; n < layers; n++) {
      MultiHeadAttention cross = stack.layer(n).crossAttention();
      memoryKeys[n] =
          Tensor.allocate(
              arena, DType.FLOAT32, sequences, memoryCapacity, cross.kvHeads() * cross.headDim());
      memoryValues[n] =
          Tensor.allocate(
              arena, DType.FLOAT32, sequences, memoryCapacity, cross.kvHeads() * cross.headDimV());
      all.add("the state", memoryKeys[n]).add("the state", memoryValues[n]);
    }
    all.add("the state", lengths).add("the state", ends).add("the state", memoryLengths);
    cached.addTo(all);
    this.parameters = all.build();
    parameters.refuse(parameters);
    stack.parameters().refuse(parameters);
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

  /** Refuses a model whose weights share memory with this. */
  void checkModel(DecoderModel model) {
    if (this.model != model) {
      model.parameters().refuse(parameters);
      this.model = model;
    }
  }

  /**
   * Returns the number of sequences.
   *
   * @return 1 or more
   */
  public int sequences() {
    return sequences;
  }

  /**
   * Returns how many tokens of each sequence there is room for.
   *
   * @return tokens
   */
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
   * Forgets the last tokens of every sequence that has more than so many.
   *
   * @param most tokens that stay
   * @throws IllegalStateException if the state is in use by another call
   */
  public void truncate(int most) {
    if (most < 0) {
      throw new IllegalArgumentException("most: expected 0 or more, got " + most);
    }
    acquire();
    try {
      shorten(most);
    } finally {
      release();
    }
  }

  /**
   * Forgets all tokens; what {@link TransformerDecoder#remember} has computed stays.
   *
   * @throws IllegalStateException if the state is in use by another call
   */
  public void reset() {
    truncate(0);
  }

  /** The same within a call. */
  void forget() {
    shorten(0);
  }

  private void shorten(int most) {
    for (int n = 0; n < sequences; n++) {
      setLength(n, Math.min(length(n), most));
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
      moved[n] = length(source);
    }
    if (cache instanceof TensorCache tensors) {
      tensors.move(chosen, longest);
    } else {
      cache.select(chosen, longest);
    }
    for (int n = 0; n < sequences; n++) {
      setLength(n, moved[n]);
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

  TransformerDecoder decoder() {
    return decoder;
  }

  /** Lengths with the rows of the step under way. */
  MemorySegment ends() {
    return ends;
  }

  /** Begins a step of so many rows, or of so many as the lengths say, of the named argument. */
  void begin(String name, long seq, MemorySegment counts) {
    boolean ragged = !counts.equals(MemorySegment.NULL);
    for (int n = 0; n < sequences(); n++) {
      long count = ragged ? counts.getAtIndex(ValueLayout.JAVA_INT, n) : seq;
      long end = length(n) + count;
      if (end > capacity()) {
        throw new IllegalArgumentException(
            "%s: expected at most %d more tokens in sequence %d (capacity %d), got %d"
                .formatted(name, capacity() - length(n), n, capacity(), count));
      }
      ends.setAtIndex(ValueLayout.JAVA_INT, n, (int) end);
    }
  }

  /** The step has succeeded. */
  void commit() {
    MemorySegment.copy(ends, 0, lengths, 0, (long) sequences() * Integer.BYTES);
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

  void setMemory(long count, long seq, MemorySegment counts) {
    boolean ragged = !counts.equals(MemorySegment.NULL);
    for (int n = 0; n < sequences(); n++) {
      int length = ragged ? counts.getAtIndex(ValueLayout.JAVA_INT, count == 1 ? 0 : n) : (int) seq;
      memoryLengths.setAtIndex(ValueLayout.JAVA_INT, n, length);
    }
    memories = count;
    memorySeq = seq;
  }

  /** {@code [memories, memorySeq, kvHeads * headDim]}, without gaps. */
  MemorySegment memoryKeys(int layer) {
    return memoryKeys[layer].segment();
  }

  MemorySegment memoryValues(int layer) {
    return memoryValues[layer].segment();
  }

  /** How many there are: 0 before {@code remember}, 1 that all share, or one for each sequence. */
  long memories() {
    return memories;
  }

  long memorySeq() {
    return memorySeq;
  }

  int memoryCapacity() {
    return memoryCapacity;
  }

  MemorySegment memoryLengths() {
    return memoryLengths;
  }
}
