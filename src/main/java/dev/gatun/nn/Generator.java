package dev.gatun.nn;

import dev.gatun.DType;
import dev.gatun.Tensor;
import dev.gatun.Workspace;
import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
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
  private final int[] order;
  private final double[] probabilities;

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
    this.order = new int[model.vocabulary()];
    this.probabilities = new double[model.vocabulary()];
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
      int next = choose(sampling, random, count);
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

  private int choose(Sampling sampling, SplittableRandom random, int generated) {
    MemorySegment scores = logits.segment();
    int size = model.vocabulary();
    int best = Logits.best(scores, 0, size, "sequence 0", generated);
    if (sampling.temperature() == 0) {
      return best;
    }
    double highest = score(scores, best);
    double sum = 0;
    for (int n = 0; n < size; n++) {
      order[n] = n;
      probabilities[n] = Math.exp((score(scores, n) - highest) / sampling.temperature());
      sum += probabilities[n];
    }
    int count = size;
    if (sampling.topK() > 0 && sampling.topK() < size) {
      count = sampling.topK();
      select(count);
      sum = 0;
      for (int n = 0; n < count; n++) {
        sum += probabilities[order[n]];
      }
    }
    if (sampling.topP() < 1) {
      double enough = sampling.topP() * sum;
      heapify(count);
      double reached = 0;
      int taken = 0;
      while (taken < count && (reached < enough || taken == 0)) {
        // The likeliest goes behind the rest of the heap, so the end of order holds those taken.
        int likeliest = pop(count - taken);
        reached += probabilities[likeliest];
        taken++;
      }
      System.arraycopy(order, count - taken, order, 0, taken);
      count = taken;
      sum = reached;
    }
    double point = random.nextDouble() * sum;
    int drawn = best;
    for (int n = 0; n < count; n++) {
      if (probabilities[order[n]] > 0) { // rounding may lead past the last token that can be drawn
        drawn = order[n];
        point -= probabilities[drawn];
        if (point < 0) {
          break;
        }
      }
    }
    return drawn;
  }

  /** The count likeliest come first; of equals those with the smaller token. */
  private void select(int count) {
    heapify(order.length);
    for (int n = 0; n < count; n++) {
      pop(order.length - n);
    }
    for (int n = 0; n < count; n++) {
      int other = order.length - 1 - n;
      if (n < other) {
        int swap = order[n];
        order[n] = order[other];
        order[other] = swap;
      }
    }
  }

  private boolean likelier(int a, int b) {
    return probabilities[a] > probabilities[b] || probabilities[a] == probabilities[b] && a < b;
  }

  private void heapify(int size) {
    for (int n = size / 2 - 1; n >= 0; n--) {
      sink(n, size);
    }
  }

  private int pop(int size) {
    int top = order[0];
    order[0] = order[size - 1];
    order[size - 1] = top;
    sink(0, size - 1);
    return top;
  }

  private void sink(int from, int size) {
    int n = from;
    while (2 * n + 1 < size) {
      int child = 2 * n + 1;
      if (child + 1 < size && likelier(order[child + 1], order[child])) {
        child++;
      }
      if (!likelier(order[child], order[n])) {
        return;
      }
      int swap = order[n];
      order[n] = order[child];
      order[child] = swap;
      n = child;
    }
  }

  private static float score(MemorySegment scores, int n) {
    return scores.getAtIndex(ValueLayout.JAVA_FLOAT, n);
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
