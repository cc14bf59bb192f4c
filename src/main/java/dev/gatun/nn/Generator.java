package dev.gatun.nn;

import dev.gatun.DType;
import dev.gatun.Tensor;
import dev.gatun.Workspace;
import java.lang.foreign.Arena;
import java.lang.foreign.ValueLayout;
import java.util.Arrays;
import java.util.Objects;
import java.util.SplittableRandom;
import java.util.function.IntPredicate;

/**
 * Generates one sequence token by token: greedily or by drawing. What it needs is allocated once; a
 * token costs no heap bytes. {@link BeamSearch} looks at several continuations at a time.
 *
 * <p>A turn is one call of generate. After it the state has all tokens of the turn, the prompt's
 * and each one that was generated, so that the next turn goes on from there: whether the turn ended
 * with an end token, the most tokens, or a sink that would not go on or threw. There is one
 * exception: of a turn that fills the state, or uses up the model's positions, the last token is
 * handed over and has no position any more.
 *
 * <p>One thread at a time: the state is in use from the first token of a turn to its last, and
 * other calls with it throw {@link IllegalStateException} meanwhile, those of the sink included.
 * Its tensors lie in the caller's arena.
 */
public final class Generator {

  private final DecoderModel model;
  private final DecoderState state;
  private final Workspace workspace;
  private final Tensor token;
  private final Tensor logits;
  private final Sampler sampler;

  /**
   * Makes a generator.
   *
   * @param model what scores tokens
   * @param state of one sequence; for a {@link Transformer} it remembers the encoded text
   * @param workspace scratch of all calls, not used by others meanwhile; or null to borrow one for
   *     each token
   * @param arena where tensors lie
   */
  public Generator(DecoderModel model, DecoderState state, Workspace workspace, Arena arena) {
    this.model = Objects.requireNonNull(model, "model");
    this.state = Objects.requireNonNull(state, "state");
    this.workspace = workspace;
    model.decoder().checkState(state);
    if (state.sequences() != 1) {
      throw new IllegalArgumentException("state: expected 1 sequence, got " + state.sequences());
    }
    this.token = Tensor.allocate(arena, DType.INT32, 1, 1);
    this.logits = Tensor.allocate(arena, DType.FLOAT32, 1, model.vocabulary());
    this.sampler = new Sampler(model.vocabulary());
  }

  /**
   * Generates tokens after a prompt, and hands each over at once.
   *
   * @param prompt {@code [1, seq]} INT32, 1 token or more; appended to what the state has
   * @param maxTokens tokens to generate at most, 0 or more; fewer if the state is full or the model
   *     has no more positions
   * @param sampling how tokens are chosen
   * @param sink gets each token, the end token included, and returns whether to go on; it may read
   *     the state, which has all tokens before this one, and change nothing in it. What it throws
   *     ends the turn and comes to the caller
   * @return how many tokens were generated
   * @throws IllegalArgumentException naming the argument that does not fit; the state is unchanged
   * @throws IllegalStateException if the state is in use by another call, or if no token can be
   *     chosen, since a score is NaN or +∞ or all are −∞; the state then has the prompt and the
   *     tokens that were handed over
   */
  public int generate(Tensor prompt, int maxTokens, Sampling sampling, IntPredicate sink) {
    if (maxTokens < 0) {
      throw new IllegalArgumentException("maxTokens: expected 0 or more, got " + maxTokens);
    }
    Objects.requireNonNull(sampling, "sampling");
    Objects.requireNonNull(sink, "sink");
    SplittableRandom random = new SplittableRandom(sampling.seed());
    state.acquire();
    try {
      model.score("prompt", workspace, state, prompt, null, logits);
      return generate(maxTokens, sampling, random, sink);
    } finally {
      state.release();
    }
  }

  private int generate(
      int maxTokens, Sampling sampling, SplittableRandom random, IntPredicate sink) {
    int count = 0;
    while (count < maxTokens) {
      int next = sampler.choose(logits.segment(), 0, sampling, random, "sequence 0", count);
      count++;
      boolean full = state.length(0) >= model.capacity(state);
      boolean goesOn;
      try {
        goesOn = sink.test(next);
      } catch (Throwable thrown) {
        appendAfter(thrown, next, full);
        throw thrown;
      }
      if (full) {
        break;
      }
      // What comes after the last token is the next turn's to score.
      append(next, goesOn && count < maxTokens ? logits : null);
      if (!goesOn) {
        break;
      }
    }
    return count;
  }

  private void append(int next, Tensor scores) {
    token.segment().set(ValueLayout.JAVA_INT, 0, next);
    model.score("token", workspace, state, token, null, scores);
  }

  private void appendAfter(Throwable thrown, int next, boolean full) {
    if (full) {
      return;
    }
    try {
      append(next, null);
    } catch (RuntimeException | Error e) {
      thrown.addSuppressed(e);
    }
  }

  /**
   * Generates tokens after a prompt.
   *
   * @param prompt {@code [1, seq]} INT32, 1 token or more
   * @param maxTokens tokens to generate at most
   * @param end the token that ends a text, or -1
   * @param sampling how tokens are chosen
   * @return the tokens, the end token included if it came
   */
  public int[] generate(Tensor prompt, int maxTokens, int end, Sampling sampling) {
    int[] tokens =
        new int[Math.clamp(maxTokens, 0, model.capacity(state))]; // after a prompt of 1 or more
    int[] count = {0};
    generate(
        prompt,
        maxTokens,
        sampling,
        next -> {
          tokens[count[0]++] = next;
          return next != end;
        });
    return Arrays.copyOf(tokens, count[0]);
  }
}
