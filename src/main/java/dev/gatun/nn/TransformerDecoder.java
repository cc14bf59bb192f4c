package dev.gatun.nn;

import dev.gatun.Causal;
import dev.gatun.DType;
import dev.gatun.GatunRuntime;
import dev.gatun.Tensor;
import dev.gatun.Workspace;
import dev.gatun.internal.Access;
import dev.gatun.internal.Blocks;
import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.util.List;
import java.util.Objects;

/**
 * The decoder of "Attention Is All You Need", section 3.1: blocks of masked self-attention,
 * attention over the encoder's output, and feed-forward network; without the second it is that of
 * GPT and LLaMA. It runs step by step: each call appends rows to a {@link DecoderState}, so that
 * one call with all rows and many calls with one row give the same.
 *
 * <p>Immutable; any number of threads may share it, each with a state of its own. What a call
 * writes besides its outputs and its state lives in the workspace; warm calls allocate nothing.
 * Lifetime and errors are as for {@link MultiHeadAttention}.
 */
public final class TransformerDecoder {

  private final GatunRuntime runtime;
  private final Stack stack;

  /**
   * Makes a decoder.
   *
   * @param runtime where it runs
   * @param layers its blocks; self-attention with {@link Causal#BOTTOM_RIGHT}, cross-attention in
   *     all or in none
   * @param order where they normalise
   * @param finalNorm applied after the last block, or null
   */
  public TransformerDecoder(
      GatunRuntime runtime, List<TransformerLayer> layers, NormOrder order, Norm finalNorm) {
    this.runtime = Objects.requireNonNull(runtime, "runtime");
    this.stack = new Stack(layers, order, finalNorm, true);
    for (int n = 0; n < layers.size(); n++) {
      Causal causal = layers.get(n).selfAttention().causal();
      if (causal != Causal.BOTTOM_RIGHT) {
        throw new IllegalArgumentException(
            "layers[%d].selfAttention: expected causal BOTTOM_RIGHT, got %s".formatted(n, causal));
      }
    }
  }

  /**
   * Returns the size of a row.
   *
   * @return columns
   */
  public long dim() {
    return stack.dim();
  }

  /**
   * Tells whether it attends to an encoder's output.
   *
   * @return whether {@link #remember} comes before {@link #step}
   */
  public boolean hasMemory() {
    return stack.crosses();
  }

  /**
   * Makes a state with a cache of plain tensors.
   *
   * @param arena where it lies
   * @param sequences decoded together, 1 or more
   * @param capacity tokens of each, 1 or more
   * @param memoryCapacity rows of an encoder's output for each, 1 or more; ignored without
   *     cross-attention
   * @return a state without tokens
   */
  public DecoderState newState(Arena arena, int sequences, int capacity, int memoryCapacity) {
    return newState(arena, new TensorCache(arena, stack, sequences, capacity), memoryCapacity);
  }

  /**
   * Makes a state with a cache of the caller's.
   *
   * @param arena where the rest of it lies
   * @param cache keys and values, of no other state
   * @param memoryCapacity rows of an encoder's output for each sequence, 1 or more; ignored without
   *     cross-attention
   * @return a state without tokens
   */
  public DecoderState newState(Arena arena, KeyValueCache cache, int memoryCapacity) {
    if (cache.layers() != stack.size()) {
      throw new IllegalArgumentException(
          "cache: expected %d layers, got %d".formatted(stack.size(), cache.layers()));
    }
    if (memoryCapacity < 1 && stack.crosses()) {
      throw new IllegalArgumentException(
          "memoryCapacity: expected 1 or more, got " + memoryCapacity);
    }
    for (int n = 0; n < stack.size(); n++) {
      MultiHeadAttention attention = stack.layer(n).selfAttention();
      checkCache("keys", n, cache.keys(n), cache, attention.kvHeads(), attention.headDim());
      checkCache("values", n, cache.values(n), cache, attention.kvHeads(), attention.headDimV());
    }
    return new DecoderState(this, arena, cache, stack, memoryCapacity);
  }

  private static void checkCache(
      String name, int layer, Tensor tensor, KeyValueCache cache, int heads, long size) {
    if (tensor.dtype() != DType.FLOAT32
        || tensor.rank() != 4
        || tensor.size(0) != cache.sequences()
        || tensor.size(1) != cache.capacity()
        || tensor.size(2) != heads
        || tensor.size(3) != size
        || tensor.stride(2) != size
        || size > 1 && tensor.stride(3) != 1) {
      throw Rows.bad(
          "cache.%s(%d)".formatted(name, layer),
          "[%d, %d, %d, %d] float32, heads without gaps"
              .formatted(cache.sequences(), cache.capacity(), heads, size),
          tensor);
    }
  }

  /**
   * Computes keys and values of an encoder's output, once for all steps, and forgets the tokens of
   * the state.
   *
   * @param workspace what the call writes besides the state, or null to be lent one
   * @param state of this decoder
   * @param memory {@code [sequences or 1, seq, dim]}, contiguous; of 1, all sequences share it, as
   *     beams do
   * @param lengths {@code [sequences or 1]} INT32, or null: rows of memory at and past them are not
   *     attended to
   */
  public void remember(Workspace workspace, DecoderState state, Tensor memory, Tensor lengths) {
    checkState(state);
    if (!stack.crosses()) {
      throw new IllegalStateException("this decoder has no cross-attention");
    }
    checkRows("memory", memory, stack.layer(0).crossAttention().memoryDim());
    long count = memory.size(0);
    long seq = memory.size(1);
    if (count != 1 && count != state.sequences() || seq > state.memoryCapacity()) {
      throw Rows.bad(
          "memory",
          "[%d or 1, at most %d, dim] float32".formatted(state.sequences(), state.memoryCapacity()),
          memory);
    }
    MemorySegment lens = MultiHeadAttention.lengths("lengths", lengths, count, seq);
    Workspace taken = Access.get().begin(runtime, workspace);
    try {
      Blocks blocks = Access.get().blocks(taken);
      int mark = blocks.mark();
      MemorySegment own = Indices.copy(blocks, "lengths", lens, count, 0, seq);
      state.setMemory(0, 0, MemorySegment.NULL);
      state.reset();
      for (int n = 0; n < stack.size(); n++) {
        stack
            .layer(n)
            .crossAttention()
            .project(
                blocks, count * seq, memory.segment(), state.memoryKeys(n), state.memoryValues(n));
      }
      state.setMemory(count, seq, own);
      blocks.giveBackTo(mark);
    } finally {
      Access.get().end(runtime, workspace, taken);
    }
  }

  /**
   * Decodes the next rows of each sequence, and appends them to the state.
   *
   * @param workspace what the call writes besides out and the state, or null to be lent one
   * @param state of this decoder
   * @param x {@code [sequences, seq, dim]}, contiguous: embeddings with their positions
   * @param lengths {@code [sequences]} INT32, or null: rows of x that each sequence has, for
   *     prompts of different lengths; what out gets past them means nothing
   * @param out receives {@code [sequences, seq, dim]}, contiguous; may be x itself
   * @throws IllegalArgumentException naming the argument that does not fit; nothing was written
   */
  public void step(Workspace workspace, DecoderState state, Tensor x, Tensor lengths, Tensor out) {
    checkState(state);
    checkRows("x", x, dim());
    if (x.size(0) != state.sequences()) {
      throw Rows.bad("x", "[%d, seq, %d] float32".formatted(state.sequences(), dim()), x);
    }
    long seq = x.size(1);
    checkOut(out, x.size(0), seq, dim());
    MemorySegment counts = MultiHeadAttention.lengths("lengths", lengths, x.size(0), seq);
    checkStep(state, seq);
    Workspace taken = Access.get().begin(runtime, workspace);
    try {
      Blocks blocks = Access.get().blocks(taken);
      int mark = blocks.mark();
      counts = Indices.copy(blocks, "lengths", counts, x.size(0), 0, seq);
      run(blocks, state, seq, x.segment(), counts, null, out.segment());
      blocks.giveBackTo(mark);
    } finally {
      Access.get().end(runtime, workspace, taken);
    }
  }

  /** Positions that its layers can tell apart. */
  int positions() {
    return stack.positions();
  }

  void checkState(DecoderState state) {
    if (state.decoder() != this) {
      throw new IllegalArgumentException("state: expected one of this decoder, got another's");
    }
  }

  void checkStep(DecoderState state, long seq) {
    if (stack.crosses() && state.memories() == 0) {
      throw new IllegalStateException("state: expected a memory (remember), got none");
    }
    if (state.longest() + seq > stack.positions()) {
      throw new IllegalArgumentException(
          "x: expected at most %d positions, got %d"
              .formatted(stack.positions(), state.longest() + seq));
    }
  }

  /** Of rows that are there already; places may be null. */
  void run(
      Blocks blocks,
      DecoderState state,
      long seq,
      MemorySegment x,
      MemorySegment counts,
      MemorySegment places,
      MemorySegment out) {
    int mark = blocks.mark();
    long batch = state.sequences();
    state.begin(seq, counts);
    MemorySegment where = places != null ? places : Embedding.places(blocks, batch, seq, state);
    stack.run(blocks, batch, seq, x, MemorySegment.NULL, counts, where, state, out);
    state.commit();
    blocks.giveBackTo(mark);
  }

  static void checkRows(String name, Tensor tensor, long dim) {
    Objects.requireNonNull(tensor, name);
    if (tensor.dtype() != DType.FLOAT32
        || tensor.rank() != 3
        || tensor.size(2) != dim
        || !tensor.isContiguous()) {
      throw Rows.bad(name, "[batch, seq, %d] float32, contiguous".formatted(dim), tensor);
    }
  }

  static void checkOut(Tensor out, long batch, long seq, long dim) {
    checkRows("out", out, dim);
    if (out.size(0) != batch || out.size(1) != seq) {
      throw Rows.bad("out", "[%d, %d, %d] float32".formatted(batch, seq, dim), out);
    }
    Rows.checkOutput("out", out, batch * seq, dim);
  }
}
