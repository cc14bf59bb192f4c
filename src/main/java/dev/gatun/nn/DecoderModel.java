package dev.gatun.nn;

import dev.gatun.GatunRuntime;
import dev.gatun.Tensor;
import dev.gatun.Workspace;
import dev.gatun.internal.Access;
import dev.gatun.internal.Blocks;
import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import java.util.Objects;

/**
 * Tokens in, scores of the next token out: the embedding, the decoder and the projection to the
 * vocabulary that {@link LanguageModel} and {@link Transformer} have in common, and what {@link
 * Generator} runs.
 *
 * <p>Immutable; any number of threads may share it, each with a state of its own. Warm calls
 * allocate nothing.
 */
public abstract sealed class DecoderModel permits LanguageModel, Transformer {

  private final GatunRuntime runtime;
  private final Embedding embedding;
  private final TransformerDecoder decoder;
  private final Linear output;

  DecoderModel(
      GatunRuntime runtime, Embedding embedding, TransformerDecoder decoder, Linear output) {
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
   * @param logits receives {@code [sequences, vocabulary]}, contiguous
   * @throws IllegalArgumentException naming the argument that does not fit, an unknown token
   *     included; nothing was written
   */
  public void next(
      Workspace workspace, DecoderState state, Tensor ids, Tensor lengths, Tensor logits) {
    long seq = check(state, ids);
    long batch = state.sequences();
    if (seq < 1) {
      throw Rows.bad("ids", "[sequences, 1 or more] int32", ids);
    }
    Rows.checkOutput("logits", logits, batch, output.out());
    MemorySegment counts = MultiHeadAttention.lengths("lengths", lengths, batch, seq);
    Indices.check("lengths", counts, batch, 1, seq);
    Workspace taken = Access.get().begin(runtime, workspace);
    try {
      Blocks blocks = Access.get().blocks(taken);
      int mark = blocks.mark();
      counts = Indices.copy(blocks, "lengths", counts, batch, 1, seq);
      MemorySegment hidden = decode(blocks, state, seq, ids, counts);
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
      blocks.giveBackTo(mark);
    } finally {
      Access.get().end(runtime, workspace, taken);
    }
  }

  /**
   * Decodes tokens and scores what may come after each of them.
   *
   * @param workspace what the call writes besides logits and the state, or null to be lent one
   * @param state of this model
   * @param ids {@code [sequences, seq]} INT32, contiguous
   * @param logits receives {@code [sequences, seq, vocabulary]}, contiguous
   * @throws IllegalArgumentException naming the argument that does not fit; nothing was written
   */
  public void forward(Workspace workspace, DecoderState state, Tensor ids, Tensor logits) {
    long seq = check(state, ids);
    long batch = state.sequences();
    TransformerDecoder.checkOut(logits, batch, seq, output.out());
    Workspace taken = Access.get().begin(runtime, workspace);
    try {
      Blocks blocks = Access.get().blocks(taken);
      int mark = blocks.mark();
      MemorySegment hidden = decode(blocks, state, seq, ids, MemorySegment.NULL);
      output.run(blocks, batch * seq, hidden, decoder.dim(), logits.segment(), output.out());
      blocks.giveBackTo(mark);
    } finally {
      Access.get().end(runtime, workspace, taken);
    }
  }

  /** Tokens that a sequence can have: what the cache holds and positions tell apart. */
  int room(DecoderState state) {
    return Math.min(state.capacity(), Math.min(embedding.positions(), decoder.positions()));
  }

  private long check(DecoderState state, Tensor ids) {
    decoder.checkState(state);
    embedding.checkIds(ids, state.longest());
    if (ids.size(0) != state.sequences()) {
      throw Rows.bad("ids", "[%d, seq] int32".formatted(state.sequences()), ids);
    }
    decoder.checkStep(state, ids.size(1));
    return ids.size(1);
  }

  private MemorySegment decode(
      Blocks blocks, DecoderState state, long seq, Tensor ids, MemorySegment counts) {
    long rows = state.sequences() * seq;
    long dim = decoder.dim();
    MemorySegment hidden = blocks.take(rows * dim).segment();
    MemorySegment places = Embedding.places(blocks, state.sequences(), seq, state);
    embedding.run(blocks, rows, ids.segment(), places, hidden);
    decoder.run(blocks, state, seq, hidden, counts, places, hidden);
    return hidden;
  }
}
