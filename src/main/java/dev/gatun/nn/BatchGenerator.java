package dev.gatun.nn;

import dev.gatun.DType;
import dev.gatun.Tensor;
import dev.gatun.Workspace;
import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import java.util.Objects;
import java.util.SplittableRandom;

/**
 * Generates several sequences in one loop, so that weights are read once for all of them: prompts
 * of any lengths, each sequence until it ends. One that has ended leaves the loop and costs nothing
 * any more. {@link Generator} is the loop of one sequence, whose state is ready for another turn.
 *
 * <p>Each sequence gets the tokens that it would get alone, from random numbers of its own of the
 * same seed, unless the weights' format is {@link dev.gatun.WeightFormat#VIEW}, whose last bits
 * depend on what is computed together.
 *
 * <p>What it needs is allocated once; a token costs no heap bytes. One thread at a time. Its
 * tensors lie in the caller's arena.
 */
public final class BatchGenerator {

  /** Gets tokens as they are generated. */
  @FunctionalInterface
  public interface Sink {
    /**
     * Takes a token.
     *
     * @param sequence 0 … sequences - 1
     * @param token the next one of that sequence, the end token included
     * @return whether the sequence goes on
     */
    boolean test(int sequence, int token);
  }

  private final DecoderModel model;
  private final DecoderState state;
  private final Workspace workspace;
  private final Tensor logits;
  private final Sampler sampler;

  /** {@code tokens[n - 1]} has room for the tokens of n sequences. */
  private final Tensor[] tokens;

  private final MemorySegment ends;
  private final Sequences division;
  private final int[] active;
  private final int[] counts;
  private final String[] rows;
  private final int width;

  /**
   * Makes a generator.
   *
   * @param model what scores tokens
   * @param state of any number of sequences
   * @param workspace scratch of all calls, not used by others meanwhile; or null to borrow one for
   *     each token
   * @param arena where tensors lie
   */
  public BatchGenerator(DecoderModel model, DecoderState state, Workspace workspace, Arena arena) {
    this.model = Objects.requireNonNull(model, "model");
    this.state = Objects.requireNonNull(state, "state");
    this.workspace = workspace;
    model.decoder().checkState(state);
    int sequences = state.sequences();
    this.width = model.vocabulary();
    this.logits = Tensor.allocate(arena, DType.FLOAT32, sequences, width);
    this.sampler = new Sampler(width);
    Tensor all = Tensor.allocate(arena, DType.INT32, sequences);
    this.tokens = new Tensor[sequences];
    this.rows = new String[sequences];
    for (int n = 0; n < sequences; n++) {
      tokens[n] = all.slice(0, 0, n + 1);
      rows[n] = "sequence " + n;
    }
    Tensor cuSeqlens = Tensor.allocate(arena, DType.INT32, sequences + 1);
    this.ends = cuSeqlens.segment();
    this.division = Sequences.ragged(cuSeqlens);
    this.active = new int[sequences];
    this.counts = new int[sequences];
  }

  /**
   * Generates tokens after prompts, and hands each over at once, sequence after sequence. The state
   * has the prompts then and the tokens of each sequence, but for its last one.
   *
   * @param prompts {@code [tokens]} INT32, 1 token or more of each sequence; appended to what the
   *     state has
   * @param division which tokens belong to which sequence
   * @param maxTokens tokens to generate of each sequence at most, 0 or more; fewer if the state is
   *     full or the model has no more positions
   * @param sampling how tokens are chosen
   * @param sink gets each token. What it throws ends the call and comes to the caller
   * @throws IllegalArgumentException naming the argument that does not fit; the state is unchanged
   * @throws IllegalStateException if the state is in use by another call, or if no token can be
   *     chosen, since a score is NaN or +∞ or all are −∞
   */
  public void generate(
      Tensor prompts, Sequences division, int maxTokens, Sampling sampling, Sink sink) {
    if (maxTokens < 0) {
      throw new IllegalArgumentException("maxTokens: expected 0 or more, got " + maxTokens);
    }
    Objects.requireNonNull(division, "division");
    Objects.requireNonNull(sampling, "sampling");
    Objects.requireNonNull(sink, "sink");
    SplittableRandom[] randoms = new SplittableRandom[rows.length];
    for (int n = 0; n < rows.length; n++) {
      randoms[n] = new SplittableRandom(sampling.seed());
      active[n] = n;
      counts[n] = 0;
    }
    state.acquire();
    try {
      model.score("prompts", workspace, state, prompts, division, logits);
      int running = maxTokens == 0 ? 0 : rows.length;
      while (running > 0) {
        running = choose(running, maxTokens, sampling, randoms, sink);
        if (running > 0) {
          append(running);
        }
      }
    } finally {
      state.release();
    }
  }

  /** Chooses a token for each that runs, and returns how many go on. */
  private int choose(
      int running, int maxTokens, Sampling sampling, SplittableRandom[] randoms, Sink sink) {
    MemorySegment chosen = tokens[rows.length - 1].segment();
    int kept = 0;
    for (int row = 0; row < running; row++) {
      int sequence = active[row];
      int next =
          sampler.choose(
              logits.segment(),
              (long) row * width,
              sampling,
              randoms[sequence],
              rows[sequence],
              counts[sequence]);
      counts[sequence]++;
      boolean full = state.length(sequence) >= model.capacity(state);
      if (sink.test(sequence, next) && counts[sequence] < maxTokens && !full) {
        active[kept] = sequence;
        chosen.setAtIndex(ValueLayout.JAVA_INT, kept, next);
        kept++;
      }
    }
    return kept;
  }

  private void append(int running) {
    int row = 0;
    for (int n = 0; n < rows.length; n++) {
      if (row < running && active[row] == n) {
        row++;
      }
      ends.setAtIndex(ValueLayout.JAVA_INT, n + 1, row);
    }
    model.scorePresent("tokens", workspace, state, tokens[running - 1], division, logits);
  }
}
