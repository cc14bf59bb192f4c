package dev.gatun.nn;

import dev.gatun.DType;
import dev.gatun.Tensor;
import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;

/**
 * What a decoder remembers between steps: keys and values of the tokens it has seen, and those of
 * the encoder's output, computed once. Made by {@link TransformerDecoder#newState}.
 *
 * <p>Its tensors lie in the caller's arena and are gone when that is closed. One thread at a time.
 * A step that fails leaves the lengths as they were.
 */
public final class DecoderState {

  private final TransformerDecoder decoder;
  private final KeyValueCache cache;
  private final Tensor[] memoryKeys;
  private final Tensor[] memoryValues;
  private final int memoryCapacity;
  private final MemorySegment memoryLengths;
  private final MemorySegment lengths;
  private final MemorySegment ends;
  private final int[] moved;
  private long memories;
  private long memorySeq;

  DecoderState(
      TransformerDecoder decoder,
      Arena arena,
      KeyValueCache cache,
      Stack stack,
      int memoryCapacity) {
    this.decoder = decoder;
    this.cache = cache;
    this.memoryCapacity = memoryCapacity;
    int sequences = cache.sequences();
    this.lengths = Tensor.allocate(arena, DType.INT32, sequences).segment();
    this.ends = Tensor.allocate(arena, DType.INT32, sequences).segment();
    this.memoryLengths = Tensor.allocate(arena, DType.INT32, sequences).segment();
    this.moved = new int[sequences];
    int layers = stack.crosses() ? stack.size() : 0;
    this.memoryKeys = new Tensor[layers];
    this.memoryValues = new Tensor[layers];
    for (int n = 0; n < layers; n++) {
      MultiHeadAttention cross = stack.layer(n).crossAttention();
      memoryKeys[n] =
          Tensor.allocate(
              arena, DType.FLOAT32, sequences, memoryCapacity, cross.kvHeads() * cross.headDim());
      memoryValues[n] =
          Tensor.allocate(
              arena, DType.FLOAT32, sequences, memoryCapacity, cross.kvHeads() * cross.headDimV());
    }
  }

  /**
   * Returns the number of sequences.
   *
   * @return 1 or more
   */
  public int sequences() {
    return cache.sequences();
  }

  /**
   * Returns how many tokens of each sequence there is room for.
   *
   * @return tokens
   */
  public int capacity() {
    return cache.capacity();
  }

  /**
   * Returns how many tokens a sequence has.
   *
   * @param sequence 0 … sequences - 1
   * @return 0 … capacity
   */
  public int length(int sequence) {
    return lengths.getAtIndex(
        ValueLayout.JAVA_INT, java.util.Objects.checkIndex(sequence, sequences()));
  }

  /**
   * Forgets the last tokens of every sequence that has more than so many.
   *
   * @param most tokens that stay
   */
  public void truncate(int most) {
    if (most < 0) {
      throw new IllegalArgumentException("most: expected 0 or more, got " + most);
    }
    for (int n = 0; n < sequences(); n++) {
      setLength(n, Math.min(length(n), most));
    }
  }

  /** Forgets all tokens; what {@link TransformerDecoder#remember} has computed stays. */
  public void reset() {
    truncate(0);
  }

  /**
   * Makes each sequence a copy of another: beams that survive. Those that share one memory go on
   * sharing it; otherwise sequences keep the memory they have.
   *
   * @param sources {@code sources[n]} is the sequence that sequence n becomes
   */
  public void select(int... sources) {
    int longest = 0;
    for (int n = 0; n < sequences(); n++) {
      moved[n] = length(n);
      longest = Math.max(longest, moved[n]);
    }
    cache.select(sources, longest);
    for (int n = 0; n < sources.length; n++) {
      setLength(n, moved[sources[n]]);
    }
  }

  private void setLength(int sequence, int length) {
    lengths.setAtIndex(ValueLayout.JAVA_INT, sequence, length);
  }

  KeyValueCache cache() {
    return cache;
  }

  TransformerDecoder decoder() {
    return decoder;
  }

  /** Lengths with the rows of the step under way. */
  MemorySegment ends() {
    return ends;
  }

  /** Begins a step of so many rows, or of so many as the lengths say. */
  void begin(long seq, MemorySegment counts) {
    boolean ragged = !counts.equals(MemorySegment.NULL);
    for (int n = 0; n < sequences(); n++) {
      long count = ragged ? counts.getAtIndex(ValueLayout.JAVA_INT, n) : seq;
      long end = length(n) + count;
      if (end > capacity()) {
        throw new IllegalArgumentException(
            "x: expected at most %d more tokens in sequence %d (capacity %d), got %d"
                .formatted(capacity() - length(n), n, capacity(), count));
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
