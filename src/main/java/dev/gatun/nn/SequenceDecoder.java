package dev.gatun.nn;

import dev.gatun.GatunRuntime;
import dev.gatun.Tensor;
import dev.gatun.Workspace;
import dev.gatun.internal.LayerCall;
import dev.gatun.internal.LayerCalls;
import dev.gatun.internal.Matrix;
import dev.gatun.internal.SequenceRows;
import dev.gatun.internal.SharedMemory;
import java.lang.foreign.Arena;
import java.util.Objects;

/**
 * Rows in, rows out, step by step: what a {@link DecoderModel} runs between its embedding and its
 * projection to the vocabulary. Each call appends rows to a {@link DecoderState}, so that one call
 * with all rows and many calls with one row give the same.
 *
 * <p>Immutable; any number of threads may share it, each with a state of its own. What a call
 * writes besides its outputs and its state lives in the workspace; warm calls allocate nothing.
 * Lifetime and errors are as for {@link MultiHeadAttention}.
 */
public abstract class SequenceDecoder {

  final GatunRuntime runtime;

  SequenceDecoder(GatunRuntime runtime) {
    this.runtime = Objects.requireNonNull(runtime, "runtime");
  }

  /** {@return the size of a row of x, columns} */
  public abstract long dim();

  /** {@return the size of a row of out, columns} */
  public long outDim() {
    return dim();
  }

  /**
   * {@return whether it attends to an encoder's output, so that {@link #remember} comes before
   * {@link #step}}
   */
  public abstract boolean hasMemory();

  /**
   * Makes a state.
   *
   * @param arena where it lies
   * @param sequences decoded together, 1 or more
   * @param capacity tokens of each, 1 or more
   * @param memoryCapacity rows of an encoder's output for each, 1 or more; ignored without a memory
   * @return a state without tokens
   */
  public abstract DecoderState newState(
      Arena arena, int sequences, int capacity, int memoryCapacity);

  /**
   * Makes a state with a cache of the caller's. Its sizes and tensors are asked for here, once, and
   * checked as arguments are; steps use what was given here.
   *
   * @param arena where the rest of it lies
   * @param cache keys and values, of no other state: writable tensors that share memory neither
   *     with each other nor with weights
   * @param memoryCapacity rows of an encoder's output for each sequence, 1 or more; ignored without
   *     a memory
   * @return a state without tokens
   * @throws IllegalArgumentException naming what the cache has given that does not fit
   * @throws IllegalStateException if it caches no keys, or the arena of a tensor of the cache is
   *     closed
   */
  public DecoderState newState(Arena arena, KeyValueCache cache, int memoryCapacity) {
    throw new IllegalStateException("this decoder caches no keys");
  }

  /**
   * Computes what steps use of a memory, once for all of them, and forgets the tokens of the state.
   *
   * @param workspace scratch for this call, or null to borrow one
   * @param state of this decoder
   * @param memory {@code [sequences, seq, memoryDim]} or {@code [tokens, memoryDim]}, rows evenly
   *     spaced: an encoder's output, which all sequences share if it is of one; not kept
   * @param sequences how its rows are divided, or null: all of one length
   * @throws IllegalArgumentException naming the argument that does not fit; nothing was written
   * @throws IllegalStateException if this decoder has no memory, or the state is in use by another
   *     call
   */
  public abstract void remember(
      Workspace workspace, DecoderState state, Tensor memory, Sequences sequences);

  /**
   * Decodes further rows of all sequences and appends them to the state.
   *
   * @param workspace scratch for this call, or null to borrow one
   * @param state of this decoder
   * @param x {@code [sequences, seq, dim]} or {@code [tokens, dim]}, rows evenly spaced
   * @param sequences how the rows are divided, or null: all of one length
   * @param out receives {@code [sequences, seq, outDim]} or {@code [tokens, outDim]}, evenly
   *     spaced; may be x itself, but no other part of its memory, and shares none with sequences,
   *     weights and the state
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
    Rows.checkLike("out", out, x, outDim());
    SharedMemory.refuseUnlessSame("out", out, "x", x);
    Sequences.refuseShared("out", out, sequences);
    parameters().refuse("out", out);
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

  abstract Parameters parameters();

  /** Positions that it can tell apart. */
  abstract int positions();

  void checkState(DecoderState state) {
    Objects.requireNonNull(state, "state");
    if (state.decoder() != this) {
      throw new IllegalArgumentException("state: expected one of this decoder, got another's");
    }
  }

  /** The named argument's rows, as a step of the state; nothing of it is changed. */
  void checkStep(String name, DecoderState state, SequenceRows rows) {
    if (hasMemory() && !state.hasMemory()) {
      throw new IllegalStateException("state: expected a memory (remember), got none");
    }
    Sequences.checkPositions(name, rows, state.lengths(), positions());
    state.checkCapacity(name, rows);
  }

  /** Of rows that {@link #checkStep} has checked. */
  final void run(LayerCall call, DecoderState state, SequenceRows rows, Matrix x, Matrix out) {
    state.begin(rows);
    compute(call, state, rows, x, out);
    state.commit();
  }

  /** A step that has begun. */
  abstract void compute(
      LayerCall call, DecoderState state, SequenceRows rows, Matrix x, Matrix out);

  // ---- what a state keeps --------------------------------------------------------------------

  /** Layers of a state. */
  abstract int layers();

  /** Floats that a sequence's state of a layer has in place of keys and values; 0: none. */
  abstract long stateFloats(int layer);

  /** How many of them lie apart, as of {@link SequenceMixer#apartFloats}. */
  long apartFloats(int layer) {
    return 0;
  }

  /** Columns of what a layer keeps of a memory to compare with; 0: it has none. */
  abstract long memoryKeyColumns(int layer);

  /** Columns of what it keeps of a memory to weigh; 0: it has none. */
  abstract long memoryValueColumns(int layer);
}
