package dev.gatun.nn;

import dev.gatun.Causal;
import dev.gatun.DType;
import dev.gatun.GatunRuntime;
import dev.gatun.Tensor;
import dev.gatun.Workspace;
import dev.gatun.internal.Access;
import dev.gatun.internal.Blocks;
import dev.gatun.internal.SharedMemory;
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
    for (int n = 0; n < stack.size(); n++) {
      Causal causal = stack.layer(n).selfAttention().causal();
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
   * Makes a state with a cache of the caller's. Its sizes and tensors are asked for here, once, and
   * checked as arguments are; steps use what was given here.
   *
   * @param arena where the rest of it lies
   * @param cache keys and values, of no other state: writable tensors that share memory neither
   *     with each other nor with weights
   * @param memoryCapacity rows of an encoder's output for each sequence, 1 or more; ignored without
   *     cross-attention
   * @return a state without tokens
   * @throws IllegalArgumentException naming what the cache has given that does not fit
   * @throws IllegalStateException if the arena of a tensor of the cache is closed
   */
  public DecoderState newState(Arena arena, KeyValueCache cache, int memoryCapacity) {
    int layers = cache.layers();
    if (layers != stack.size()) {
      throw new IllegalArgumentException(
          "cache: expected %d layers, got %d".formatted(stack.size(), layers));
    }
    if (memoryCapacity < 1 && stack.crosses()) {
      throw new IllegalArgumentException(
          "memoryCapacity: expected 1 or more, got " + memoryCapacity);
    }
    return new DecoderState(this, arena, new CachedTensors(cache, stack), stack, memoryCapacity);
  }

  /**
   * Computes keys and values of an encoder's output, once for all steps, and forgets the tokens of
   * the state.
   *
   * @param workspace what the call writes besides the state, or null to be lent one
   * @param state of this decoder
   * @param memory {@code [sequences or 1, seq, dim]}, contiguous; of 1, all sequences share it, as
   *     beams do; not kept
   * @param lengths {@code [sequences or 1]} INT32, or null: rows of memory at and past them are not
   *     attended to
   */
  public void remember(Workspace workspace, DecoderState state, Tensor memory, Tensor lengths) {
    checkState(state);
    if (!stack.crosses()) {
      throw new IllegalStateException("this decoder has no cross-attention");
    }
    state.acquire();
    try {
      compute(workspace, state, memory, lengths);
    } finally {
      state.release();
    }
  }

  private void compute(Workspace workspace, DecoderState state, Tensor memory, Tensor lengths) {
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
    state.parameters().refuse("memory", memory);
    state.parameters().refuse("lengths", lengths);
    Workspace taken = Access.get().begin(runtime, workspace);
    try {
      Blocks blocks = Access.get().blocks(taken);
      int mark = blocks.mark();
      MemorySegment own = Indices.copy(blocks, "lengths", lens, count, 0, seq);
      state.setMemory(0, 0, MemorySegment.NULL);
      state.forget();
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
   * @param out receives {@code [sequences, seq, dim]}, contiguous; may be x itself, but no other
   *     part of its memory, and shares none with lengths, weights and the state
   * @throws IllegalArgumentException naming the argument that does not fit; nothing was written
   * @throws IllegalStateException if the state is in use by another call, or wants a memory
   */
  public void step(Workspace workspace, DecoderState state, Tensor x, Tensor lengths, Tensor out) {
    checkState(state);
    state.acquire();
    try {
      decode(workspace, state, x, lengths, out);
    } finally {
      state.release();
    }
  }

  private void decode(
      Workspace workspace, DecoderState state, Tensor x, Tensor lengths, Tensor out) {
    checkRows("x", x, dim());
    if (x.size(0) != state.sequences()) {
      throw Rows.bad("x", "[%d, seq, %d] float32".formatted(state.sequences(), dim()), x);
    }
    long seq = x.size(1);
    checkOut(out, x.size(0), seq, dim());
    MemorySegment counts = MultiHeadAttention.lengths("lengths", lengths, x.size(0), seq);
    checkStep("x", state, seq);
    SharedMemory.refuseUnlessSame("out", out, "x", x);
    SharedMemory.refuse("out", out, "lengths", lengths);
    stack.parameters().refuse("out", out);
    state.parameters().refuse("out", out);
    state.parameters().refuse("x", x);
    state.parameters().refuse("lengths", lengths);
    Workspace taken = Access.get().begin(runtime, workspace);
    try {
      Blocks blocks = Access.get().blocks(taken);
      int mark = blocks.mark();
      counts = Indices.copy(blocks, "lengths", counts, x.size(0), 0, seq);
      run("x", blocks, state, seq, x.segment(), counts, null, out.segment());
      blocks.giveBackTo(mark);
    } finally {
      Access.get().end(runtime, workspace, taken);
    }
  }

  Parameters parameters() {
    return stack.parameters();
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

  void checkStep(String name, DecoderState state, long seq) {
    if (stack.crosses() && state.memories() == 0) {
      throw new IllegalStateException("state: expected a memory (remember), got none");
    }
    if (state.longest() + seq > stack.positions()) {
      throw new IllegalArgumentException(
          "%s: expected at most %d positions, got %d"
              .formatted(name, stack.positions(), state.longest() + seq));
    }
  }

  /** Of rows that are there already, those of the named argument; places may be null. */
  void run(
      String name,
      Blocks blocks,
      DecoderState state,
      long seq,
      MemorySegment x,
      MemorySegment counts,
      MemorySegment places,
      MemorySegment out) {
    int mark = blocks.mark();
    long batch = state.sequences();
    state.begin(name, seq, counts);
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
    checkOut("out", out, batch, seq, dim);
  }

  static void checkOut(String name, Tensor out, long batch, long seq, long dim) {
    checkRows(name, out, dim);
    if (out.size(0) != batch || out.size(1) != seq) {
      throw Rows.bad(name, "[%d, %d, %d] float32".formatted(batch, seq, dim), out);
    }
    Rows.checkOutput(name, out, batch * seq, dim);
  }
}
