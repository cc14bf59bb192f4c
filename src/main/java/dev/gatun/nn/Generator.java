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
 * <p>One thread at a time. Its tensors lie in the caller's arena.
 */
public final class Generator {

  private final DecoderModel model;
  private final DecoderState state;
  private final Workspace workspace;
  private final Tensor token;
  private final Tensor logits;
  private final int[] order;
  private final double[] weights;

  /**
   * Makes a generator.
   *
   * @param model what scores tokens
   * @param state of one sequence; for a {@link Transformer} it remembers the encoded text
   * @param workspace what calls write, not used by others meanwhile; or null to be lent one for
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
    this.weights = new double[model.vocabulary()];
  }

  /**
   * Generates tokens after a prompt, and hands each over at once.
   *
   * @param prompt {@code [1, seq]} INT32, 1 token or more; appended to what the state has
   * @param most tokens to generate at most, 0 or more; fewer if the state is full or the model has
   *     no more positions
   * @param sampling how tokens are chosen
   * @param sink gets each token, the end token included, and returns whether to go on
   * @return how many tokens were generated
   */
  public int generate(Tensor prompt, int most, Sampling sampling, IntPredicate sink) {
    if (most < 0) {
      throw new IllegalArgumentException("most: expected 0 or more, got " + most);
    }
    SplittableRandom random = new SplittableRandom(sampling.seed());
    model.next(workspace, state, prompt, null, logits);
    int count = 0;
    while (count < most) {
      int next = choose(sampling, random);
      count++;
      if (!sink.test(next) || count == most || state.length(0) == model.room(state)) {
        break;
      }
      token.segment().set(ValueLayout.JAVA_INT, 0, next);
      model.next(workspace, state, token, null, logits);
    }
    return count;
  }

  private int choose(Sampling sampling, SplittableRandom random) {
    MemorySegment scores = logits.segment();
    int size = model.vocabulary();
    int best = 0;
    for (int n = 1; n < size; n++) {
      if (score(scores, n) > score(scores, best)) {
        best = n;
      }
    }
    if (sampling.temperature() == 0) {
      return best;
    }
    double most = score(scores, best);
    double sum = 0;
    for (int n = 0; n < size; n++) {
      order[n] = n;
      weights[n] = Math.exp((score(scores, n) - most) / sampling.temperature());
      sum += weights[n];
    }
    int count = size;
    if (sampling.topK() > 0 && sampling.topK() < size) {
      count = sampling.topK();
      select(count);
      sum = 0;
      for (int n = 0; n < count; n++) {
        sum += weights[order[n]];
      }
    }
    if (sampling.topP() < 1) {
      double enough = sampling.topP() * sum;
      heapify(count);
      double reached = 0;
      int taken = 0;
      while (taken < count && (reached < enough || taken == 0)) {
        // The heaviest goes behind the rest of the heap, so the end of order holds those taken.
        int heaviest = pop(count - taken);
        reached += weights[heaviest];
        taken++;
      }
      System.arraycopy(order, count - taken, order, 0, taken);
      count = taken;
      sum = reached;
    }
    double point = random.nextDouble() * sum;
    for (int n = 0; n < count - 1; n++) {
      point -= weights[order[n]];
      if (point < 0) {
        return order[n];
      }
    }
    return order[count - 1];
  }

  /** The count heaviest come first; of equals those with the smaller token. */
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

  private boolean heavier(int a, int b) {
    return weights[a] > weights[b] || weights[a] == weights[b] && a < b;
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
      if (child + 1 < size && heavier(order[child + 1], order[child])) {
        child++;
      }
      if (!heavier(order[child], order[n])) {
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
   * @param most tokens to generate at most
   * @param end the token that ends a text, or -1
   * @param sampling how tokens are chosen
   * @return the tokens, the end token included if it came
   */
  public int[] generate(Tensor prompt, int most, int end, Sampling sampling) {
    int room = model.room(state) - state.length(0) + 1; // the last one is not fed back
    int[] tokens = new int[Math.clamp(most, 0, Math.max(room, 0))];
    int[] count = {0};
    generate(
        prompt,
        most,
        sampling,
        next -> {
          tokens[count[0]++] = next;
          return next != end;
        });
    return Arrays.copyOf(tokens, count[0]);
  }
}
