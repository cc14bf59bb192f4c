package dev.gatun.nn;

import dev.gatun.GatunRuntime;
import dev.gatun.Tensor;
import dev.gatun.Workspace;
import dev.gatun.internal.Access;
import dev.gatun.internal.Blocks;
import dev.gatun.internal.ModelEvent;
import dev.gatun.internal.SharedMemory;
import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import java.util.Objects;

/**
 * Tokens in, scores of the next token out: the embedding, the decoder and the projection to the
 * vocabulary that {@link LanguageModel} and {@link Transformer} have in common, and what {@link
 * Generator} runs.
 *
 * <p>Immutable; any number of threads may share it, each with a state of its own: two calls with
 * one state at a time are refused. Warm calls allocate nothing.
 */
public abstract sealed class DecoderModel permits LanguageModel, Transformer {

  private final String name;
  private final GatunRuntime runtime;
  private final Embedding embedding;
  private final TransformerDecoder decoder;
  private final Linear output;
  private final Parameters parameters;

  DecoderModel(
      String name,
      GatunRuntime runtime,
      Embedding embedding,
      TransformerDecoder decoder,
      Linear output) {
    this.name = Objects.requireNonNull(name, "name");
    this.runtime = Objects.requireNonNull(runtime, "runtime");
    this.embedding = Objects.requireNonNull(embedding, "embedding");
    this.decoder = Objects.requireNonNull(decoder, "decoder");
    this.output = Objects.requireNonNull(output, "output");
    if (embedding.dim() != decoder.dim()) {
      throw new IllegalArgumentException(
          "embedding: expected rows of %d, got %d".formatted(decoder.dim(), embedding.dim()));
    }
    if (output.in() != decoder.dim()) {
      throw new IllegalArgumentException(
          "output: expected rows of %d, got %d".formatted(decoder.dim(), output.in()));
    }
    this.parameters =
        new Parameters.Builder()
            .add("embedding", embedding.parameters())
            .add("decoder", decoder.parameters())
            .add("output", output.parameters())
            .build();
  }

  Parameters parameters() {
    return parameters;
  }

  /**
   * Returns the name of the model in Flight Recorder's events.
   *
   * @return what it was made with, or that of its class
   */
  public String name() {
    return name;
  }

  /**
   * Returns the runtime.
   *
   * @return where the model runs
   */
  public GatunRuntime runtime() {
    return runtime;
  }

  /**
   * Returns the decoder.
   *
   * @return the blocks
   */
  public TransformerDecoder decoder() {
    return decoder;
  }

  /**
   * Returns the number of tokens that can be next.
   *
   * @return columns of the logits
   */
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
   * @param workspace what the call writes besides logits and the state, or null to be lent one
   * @param state of this model
   * @param ids {@code [sequences, seq]} INT32, contiguous, seq 1 or more
   * @param lengths {@code [sequences]} INT32, each 1 or more, or null: tokens that each sequence
   *     has
   * @param logits receives {@code [sequences, vocabulary]}, rows evenly spaced; shares no memory
   *     with ids, lengths, weights and the state
   * @throws IllegalArgumentException naming the argument that does not fit, an unknown token
   *     included; nothing was written
   * @throws IllegalStateException if the state is in use by another call, or wants a memory
   */
  public void next(
      Workspace workspace, DecoderState state, Tensor ids, Tensor lengths, Tensor logits) {
    decoder.checkState(state);
    state.acquire();
    try {
      score("ids", workspace, state, ids, lengths, logits);
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
      Tensor lengths,
      Tensor logits) {
    long seq = check(idsName, state, ids);
    long batch = state.sequences();
    if (seq < 1) {
      throw Rows.bad(idsName, "[sequences, 1 or more] int32", ids);
    }
    MemorySegment counts = MultiHeadAttention.lengths("lengths", lengths, batch, seq);
    Indices.check("lengths", counts, batch, 1, seq);
    if (logits != null) {
      Rows.checkOutput("logits", logits, batch, output.out());
      checkMemory(idsName, state, ids, lengths, logits);
    }
    Workspace taken = Access.get().begin(runtime, workspace);
    try {
      ModelEvent event = ModelEvent.start();
      Blocks blocks = Access.get().blocks(taken);
      int mark = blocks.mark();
      counts = Indices.copy(blocks, "lengths", counts, batch, 1, seq);
      MemorySegment hidden = decode(idsName, blocks, state, seq, ids, counts);
      if (logits != null) {
        long dim = decoder.dim();
        MemorySegment last = hidden;
        if (seq > 1) {
          last = blocks.take(batch * dim).segment();
          for (long b = 0; b < batch; b++) {
            long row = lengths == null ? seq - 1 : counts.getAtIndex(ValueLayout.JAVA_INT, b) - 1;
            MemorySegment.copy(
                hidden,
                (b * seq + row) * dim * Float.BYTES,
                last,
                b * dim * Float.BYTES,
                dim * Float.BYTES);
          }
        }
        output.run(blocks, batch, last, dim, logits.segment(), Rows.stride("logits", logits));
      }
      blocks.giveBackTo(mark);
      if (event != null) {
        ModelEvent.finish(event, name, (int) batch, tokens(batch, seq, counts));
      }
    } finally {
      Access.get().end(runtime, workspace, taken);
    }
  }

  /** Tokens of all sequences. */
  static long tokens(long batch, long seq, MemorySegment counts) {
    if (counts.equals(MemorySegment.NULL)) {
      return batch * seq;
    }
    long sum = 0;
    for (long b = 0; b < batch; b++) {
      sum += counts.getAtIndex(ValueLayout.JAVA_INT, b);
    }
    return sum;
  }

  /**
   * Decodes tokens and scores what may come after each of them.
   *
   * @param workspace what the call writes besides logits and the state, or null to be lent one
   * @param state of this model
   * @param ids {@code [sequences, seq]} INT32, contiguous
   * @param logits receives {@code [sequences, seq, vocabulary]}, contiguous; shares no memory with
   *     ids, weights and the state
   * @throws IllegalArgumentException naming the argument that does not fit; nothing was written
   * @throws IllegalStateException if the state is in use by another call, or wants a memory
   */
  public void forward(Workspace workspace, DecoderState state, Tensor ids, Tensor logits) {
    decoder.checkState(state);
    state.acquire();
    try {
      scoreAll(workspace, state, ids, logits);
    } finally {
      state.release();
    }
  }

  private void scoreAll(Workspace workspace, DecoderState state, Tensor ids, Tensor logits) {
    long seq = check("ids", state, ids);
    long batch = state.sequences();
    TransformerDecoder.checkOut("logits", logits, batch, seq, output.out());
    checkMemory("ids", state, ids, null, logits);
    Workspace taken = Access.get().begin(runtime, workspace);
    try {
      ModelEvent event = ModelEvent.start();
      Blocks blocks = Access.get().blocks(taken);
      int mark = blocks.mark();
      MemorySegment hidden = decode("ids", blocks, state, seq, ids, MemorySegment.NULL);
      output.run(blocks, batch * seq, hidden, decoder.dim(), logits.segment(), output.out());
      blocks.giveBackTo(mark);
      ModelEvent.finish(event, name, (int) batch, batch * seq);
    } finally {
      Access.get().end(runtime, workspace, taken);
    }
  }

  private void checkMemory(
      String idsName, DecoderState state, Tensor ids, Tensor lengths, Tensor logits) {
    SharedMemory.refuse("logits", logits, idsName, ids);
    SharedMemory.refuse("logits", logits, "lengths", lengths);
    parameters.refuse("logits", logits);
    state.parameters().refuse("logits", logits);
    state.parameters().refuse(idsName, ids);
    state.parameters().refuse("lengths", lengths);
  }

  /** Tokens that a sequence can have: what the cache holds and positions tell apart. */
  int room(DecoderState state) {
    return Math.min(state.capacity(), Math.min(embedding.positions(), decoder.positions()));
  }

  private long check(String name, DecoderState state, Tensor ids) {
    state.checkModel(this);
    embedding.checkIds(name, ids, state.longest());
    if (ids.size(0) != state.sequences()) {
      throw Rows.bad(name, "[%d, seq] int32".formatted(state.sequences()), ids);
    }
    decoder.checkStep(name, state, ids.size(1));
    return ids.size(1);
  }

  private MemorySegment decode(
      String idsName,
      Blocks blocks,
      DecoderState state,
      long seq,
      Tensor ids,
      MemorySegment counts) {
    long rows = state.sequences() * seq;
    long dim = decoder.dim();
    MemorySegment hidden = blocks.take(rows * dim).segment();
    MemorySegment places = Embedding.places(blocks, state.sequences(), seq, state);
    embedding.run(blocks, rows, ids.segment(), places, hidden);
    decoder.run(idsName, blocks, state, seq, hidden, counts, places, hidden);
    return hidden;
  }
}
