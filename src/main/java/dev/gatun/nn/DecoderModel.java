package dev.gatun.nn;

import dev.gatun.GatunRuntime;
import dev.gatun.Tensor;
import dev.gatun.Workspace;
import dev.gatun.internal.LayerCall;
import dev.gatun.internal.LayerCalls;
import dev.gatun.internal.Matrix;
import dev.gatun.internal.ModelEvent;
import dev.gatun.internal.SequenceRows;
import dev.gatun.internal.SharedMemory;
import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.util.Objects;

/**
 * Tokens in, scores of the next token out: the embedding, the decoder and the projection to the
 * vocabulary that {@link DecoderOnlyModel}, {@link Transformer} and {@link AttentiveTranslator} have in common, and what {@link
 * Generator} runs.
 *
 * <p>Immutable; any number of threads may share it, each with a state of its own: two calls with
 * one state at a time are refused. Warm calls allocate nothing.
 */
public abstract sealed class DecoderModel permits DecoderOnlyModel, Transformer, AttentiveTranslator {

  private final String name;
  private final GatunRuntime runtime;
  private final Embedding embedding;
  private final SequenceDecoder decoder;
  private final Linear output;

  /** Of the logits; 0: none. */
  private final float softcap;

  private final Parameters parameters;

  DecoderModel(
      String name,
      GatunRuntime runtime,
      String embeddingName,
      Embedding embedding,
      SequenceDecoder decoder,
      Linear output,
      float softcap) {
    this.name = Objects.requireNonNull(name, "name");
    this.runtime = Objects.requireNonNull(runtime, "runtime");
    this.embedding = Objects.requireNonNull(embedding, embeddingName);
    this.decoder = Objects.requireNonNull(decoder, "decoder");
    this.output = Objects.requireNonNull(output, "output");
    this.softcap = softcap;
    if (softcap != 0 && !(softcap >= 0x1p-100f && softcap <= 0x1p100f)) {
      throw new IllegalArgumentException("softcap: expected 0 or 2^-100 .. 2^100, got " + softcap);
    }
    if (embedding.dim() != decoder.dim()) {
      throw new IllegalArgumentException(
          "%s: expected rows of %d, got %d"
              .formatted(embeddingName, decoder.dim(), embedding.dim()));
    }
    if (output.in() != decoder.outDim()) {
      throw new IllegalArgumentException(
          "output: expected rows of %d, got %d".formatted(decoder.outDim(), output.in()));
    }
    this.parameters =
        new Parameters.Builder()
            .add(embeddingName, embedding.parameters())
            .add("decoder", decoder.parameters())
            .add("output", output.parameters())
            .build();
  }

  Parameters parameters() {
    return parameters;
  }

  /**
   * {@return the name of the model in Flight Recorder's events: what it was made with, or that of
   * its class}
   */
  public String name() {
    return name;
  }

  /** {@return where the model runs} */
  public GatunRuntime runtime() {
    return runtime;
  }

  /** {@return the layers and their cache} */
  public SequenceDecoder decoder() {
    return decoder;
  }

  /** {@return the number of tokens that can be next, columns of the logits} */
  public int vocabulary() {
    return Math.toIntExact(output.out());
  }

  /**
   * Makes a state with a cache of plain tensors.
   *
   * @param arena where it lies
   * @param sequences decoded together, 1 or more
   * @param capacity tokens of each, 1 or more
   * @param memoryCapacity rows of an encoder's output for each, 1 or more; ignored in decoder-only
   *     models
   * @return a state without tokens
   */
  public DecoderState newState(Arena arena, int sequences, int capacity, int memoryCapacity) {
    return decoder.newState(arena, sequences, capacity, memoryCapacity);
  }

  /**
   * Decodes tokens and scores what may come after the last of each sequence.
   *
   * @param workspace scratch for this call, or null to borrow one
   * @param state of this model
   * @param ids {@code [sequences, seq]} or {@code [tokens]} INT32, contiguous; 1 or more of each
   *     sequence
   * @param sequences how the ids are divided, or null: all of one length
   * @param logits receives {@code [sequences, vocabulary]}, rows evenly spaced; shares no memory
   *     with ids, sequences, weights and the state
   * @throws IllegalArgumentException naming the argument that does not fit, an unknown token
   *     included; nothing was written
   * @throws IllegalStateException if the state is in use by another call, or wants a memory
   */
  public void next(
      Workspace workspace, DecoderState state, Tensor ids, Sequences sequences, Tensor logits) {
    decoder.checkState(state);
    state.acquire();
    try {
      score("ids", workspace, state, ids, sequences, logits);
    } finally {
      state.release();
    }
  }

  /** The same, of a state that is this call's already; without logits tokens are only decoded. */
  void score(
      String idsName,
      Workspace workspace,
      DecoderState state,
      Tensor ids,
      Sequences sequences,
      Tensor logits) {
    score(idsName, workspace, state, ids, sequences, logits, false);
  }

  /**
   * The same for sequences of which some have no tokens and cost nothing: logits get rows of the
   * others only, one after the other, and the rows behind those stay as they are.
   */
  void scorePresent(
      String idsName,
      Workspace workspace,
      DecoderState state,
      Tensor ids,
      Sequences sequences,
      Tensor logits) {
    score(idsName, workspace, state, ids, sequences, logits, true);
  }

  private void score(
      String idsName,
      Workspace workspace,
      DecoderState state,
      Tensor ids,
      Sequences sequences,
      Tensor logits,
      boolean someAbsent) {
    state.checkModel(this);
    Embedding.checkShape(idsName, ids);
    if (logits != null) {
      Rows.checkOutput("logits", logits, state.sequences(), output.out());
      checkMemory(idsName, state, ids, sequences, logits);
    }
    try (LayerCall call = LayerCalls.begin(runtime, workspace)) {
      ModelEvent event = ModelEvent.start();
      SequenceRows rows = divide(call, idsName, state, ids, sequences);
      int present = 0;
      for (int n = 0; n < rows.count(); n++) {
        if (rows.length(n) > 0) {
          present++;
        } else if (!someAbsent) {
          throw new IllegalArgumentException(
              "%s: expected 1 token or more of sequence %d, got none".formatted(idsName, n));
        }
      }
      Matrix hidden = decode(call, idsName, state, rows, ids);
      if (logits != null && present > 0) {
        Matrix all = Rows.view(call, "logits", logits);
        Matrix to = call.scratch().view(all.segment(), present, all.columns(), all.stride());
        project(call, lastRows(call, rows, present, hidden), to);
      }
      ModelEvent.finish(event, name, present, rows.rows());
    }
  }

  /** In place: with the product done, nothing can be missing that capping needs. */
  private void project(LayerCall call, Matrix hidden, Matrix logits) {
    output.run(call, hidden, logits);
    if (softcap > 0) {
      call.rows().softcap(softcap, logits, logits);
    }
  }

  /** The last row of each sequence that has one. */
  private static Matrix lastRows(LayerCall call, SequenceRows rows, int present, Matrix hidden) {
    if (rows.rows() == present) {
      return hidden;
    }
    Matrix last = call.scratch().matrix(present, hidden.columns());
    long to = 0;
    for (long n = 0; n < rows.count(); n++) {
      if (rows.length(n) > 0) {
        hidden.copyRows(rows.start(n) + rows.length(n) - 1, last, to++, 1);
      }
    }
    return last;
  }

  /**
   * Decodes tokens and scores what may come after each of them.
   *
   * @param workspace scratch for this call, or null to borrow one
   * @param state of this model
   * @param ids {@code [sequences, seq]} or {@code [tokens]} INT32, contiguous
   * @param sequences how the ids are divided, or null: all of one length
   * @param logits receives {@code [sequences, seq, vocabulary]} or {@code [tokens, vocabulary]},
   *     contiguous; shares no memory with ids, sequences, weights and the state
   * @throws IllegalArgumentException naming the argument that does not fit; nothing was written
   * @throws IllegalStateException if the state is in use by another call, or wants a memory
   */
  public void forward(
      Workspace workspace, DecoderState state, Tensor ids, Sequences sequences, Tensor logits) {
    decoder.checkState(state);
    state.acquire();
    try {
      scoreAll(workspace, state, ids, sequences, logits);
    } finally {
      state.release();
    }
  }

  private void scoreAll(
      Workspace workspace, DecoderState state, Tensor ids, Sequences sequences, Tensor logits) {
    state.checkModel(this);
    Embedding.checkShape("ids", ids);
    Rows.checkLike("logits", logits, ids, output.out());
    checkMemory("ids", state, ids, sequences, logits);
    try (LayerCall call = LayerCalls.begin(runtime, workspace)) {
      ModelEvent event = ModelEvent.start();
      SequenceRows rows = divide(call, "ids", state, ids, sequences);
      Matrix hidden = decode(call, "ids", state, rows, ids);
      Matrix to = Rows.view(call, "logits", logits);
      Matrix computed = Sequences.target(call, rows, to);
      project(call, hidden, computed);
      Sequences.scatter(rows, computed, to);
      ModelEvent.finish(event, name, (int) rows.count(), rows.rows());
    }
  }

  private void checkMemory(
      String idsName, DecoderState state, Tensor ids, Sequences sequences, Tensor logits) {
    SharedMemory.refuse("logits", logits, idsName, ids);
    Sequences.refuseShared("logits", logits, sequences);
    parameters.refuse("logits", logits);
    state.parameters().refuse("logits", logits);
    state.refuseShared(idsName, ids, sequences);
  }

  /** Tokens that a sequence can have: what the cache holds and positions tell apart. */
  int capacity(DecoderState state) {
    return Math.min(state.capacity(), positions());
  }

  /**
   * {@return the tokens that a sequence can have, whatever a state's capacity: the positions that
   * the model tells apart, {@link Integer#MAX_VALUE} without a limit}
   */
  public int positions() {
    return Math.min(embedding.positions(), decoder.positions());
  }

  private SequenceRows divide(
      LayerCall call, String name, DecoderState state, Tensor ids, Sequences sequences) {
    SequenceRows rows = Sequences.divide(call, sequences, name, ids, ids.rank(), state.lengths());
    decoder.checkStep(name, state, rows);
    return rows;
  }

  private Matrix decode(
      LayerCall call, String idsName, DecoderState state, SequenceRows rows, Tensor ids) {
    MemorySegment copy = embedding.copyIds(call, idsName, ids, rows, state.lengths());
    Matrix hidden = call.scratch().matrix(rows.rows(), decoder.dim());
    embedding.run(call, rows, copy, hidden);
    boolean inPlace = decoder.outDim() == decoder.dim();
    Matrix to = inPlace ? hidden : call.scratch().matrix(rows.rows(), decoder.outDim());
    decoder.run(call, state, rows, hidden, to);
    return to;
  }
}
