package dev.gatun.nn;

import dev.gatun.Causal;
import dev.gatun.GatunRuntime;
import dev.gatun.Tensor;
import dev.gatun.Workspace;
import dev.gatun.internal.LayerCall;
import dev.gatun.internal.LayerCalls;
import dev.gatun.internal.Matrix;
import dev.gatun.internal.SequenceRows;
import dev.gatun.internal.SharedMemory;
import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.util.List;
import java.util.Objects;

/**
 * The decoder of "Attention Is All You Need", section 3.1: layers of masked self-attention,
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
   * @param layers in the order in which they run; self-attention with {@link Causal#BOTTOM_RIGHT},
   *     cross-attention in all or in none
   * @param order where they normalize
   * @param finalNorm applied after the last layer, or null
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

  /** {@return the size of a row, columns} */
  public long dim() {
    return stack.dim();
  }

  /**
   * {@return whether it attends to an encoder's output, so that {@link #remember} comes before
   * {@link #step}}
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
   * Computes keys and values of a memory, once for all steps, and forgets the tokens of the state.
   *
   * @param workspace scratch for this call, or null to borrow one
   * @param state of this decoder
   * @param memory {@code [sequences, seq, memoryDim]} or {@code [tokens, memoryDim]}, rows evenly
   *     spaced: an encoder's output, which all sequences share if it is of one; not kept
   * @param sequences how its rows are divided, or null: all of one length
   * @throws IllegalArgumentException naming the argument that does not fit; nothing was written
   * @throws IllegalStateException if this decoder has no cross-attention, or the state is in use by
   *     another call
   */
  public void remember(
      Workspace workspace, DecoderState state, Tensor memory, Sequences sequences) {
    checkState(state);
    if (!stack.crosses()) {
      throw new IllegalStateException("this decoder has no cross-attention");
    }
    state.acquire();
    try {
      compute(workspace, state, memory, sequences);
    } finally {
      state.release();
    }
  }

  private void compute(
      Workspace workspace, DecoderState state, Tensor memory, Sequences sequences) {
    Rows.checkTokens("memory", memory, stack.layer(0).crossAttention().memoryDim());
    state.refuseShared("memory", memory, sequences);
    try (LayerCall call = LayerCalls.begin(runtime, workspace)) {
      SequenceRows rows =
          Sequences.divide(
              call, sequences, "memory", memory, memory.rank() - 1, MemorySegment.NULL);
      state.checkMemory("memory", rows);
      Matrix in = Sequences.gather(call, rows, Rows.view(call, "memory", memory));
      state.forgetMemory();
      for (int n = 0; n < stack.size(); n++) {
        Matrix k = state.memoryKeys(call.scratch(), n, rows.rows());
        Matrix v = state.memoryValues(call.scratch(), n, rows.rows());
        stack.layer(n).crossAttention().project(call, in, k, v);
      }
      state.setMemory(call.scratch(), rows);
    }
  }

  /**
   * Decodes further rows of all sequences and appends them to the state.
   *
   * @param workspace scratch for this call, or null to borrow one
   * @param state of this decoder
   * @param x {@code [sequences, seq, dim]} or {@code [tokens, dim]}, rows evenly spaced
   * @param sequences how the rows are divided, or null: all of one length
   * @param out receives {@code [sequences, seq, dim]} or {@code [tokens, dim]}, rows evenly spaced;
   *     may be x itself, but no other part of its memory, and shares none with sequences, weights
   *     and the state
   * @throws IllegalArgumentException naming the argument that does not fit; nothing was written
   * @throws IllegalStateException if the state is in use by another call, or wants a memory
   */
  public void step(
      Workspace workspace, DecoderState state, Tensor x, Sequences sequences, Tensor out) {
    checkState(state);
    state.acquire();
    try {
      decode(workspace, state, x, sequences, out);
    } finally {
      state.release();
    }
  }

  private void decode(
      Workspace workspace, DecoderState state, Tensor x, Sequences sequences, Tensor out) {
    Rows.checkTokens("x", x, dim());
    Rows.checkLike("out", out, x, dim());
    SharedMemory.refuseUnlessSame("out", out, "x", x);
    Sequences.refuseShared("out", out, sequences);
    stack.parameters().refuse("out", out);
    state.parameters().refuse("out", out);
    state.refuseShared("x", x, sequences);
    try (LayerCall call = LayerCalls.begin(runtime, workspace)) {
      SequenceRows rows = Sequences.divide(call, sequences, "x", x, x.rank() - 1, state.lengths());
      checkStep("x", state, rows);
      Matrix in = Sequences.gather(call, rows, Rows.view(call, "x", x));
      Matrix to = Rows.view(call, "out", out);
      Matrix computed = Sequences.target(call, rows, to);
      run(call, state, rows, in, computed);
      Sequences.scatter(rows, computed, to);
    }
  }

  Parameters parameters() {
    return stack.parameters();
  }

  int positions() {
    return stack.positions();
  }

  void checkState(DecoderState state) {
    Objects.requireNonNull(state, "state");
    if (state.decoder() != this) {
      throw new IllegalArgumentException("state: expected one of this decoder, got another's");
    }
  }

  /** The named argument's rows, as a step of the state; nothing of it is changed. */
  void checkStep(String name, DecoderState state, SequenceRows rows) {
    if (stack.crosses() && !state.hasMemory()) {
      throw new IllegalStateException("state: expected a memory (remember), got none");
    }
    Sequences.checkPositions(name, rows, state.lengths(), stack.positions());
    state.checkCapacity(name, rows);
  }

  /** Of rows that {@link #checkStep} has checked. */
  void run(LayerCall call, DecoderState state, SequenceRows rows, Matrix x, Matrix out) {
    state.begin(rows);
    stack.run(call, rows, x, state, null, out);
    state.commit();
  }
}
