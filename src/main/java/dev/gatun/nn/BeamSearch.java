package dev.gatun.nn;

import dev.gatun.DType;
import dev.gatun.Tensor;
import dev.gatun.Workspace;
import dev.gatun.internal.LayerCall;
import dev.gatun.internal.LayerCalls;
import dev.gatun.internal.Matrix;
import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.Comparator;
import java.util.List;
import java.util.Objects;

/**
 * Beam search, as section 6.1 of "Attention Is All You Need" decodes (beam 4, penalty 0.6): the
 * best few continuations go on side by side, and a text's score is its log-probability over the
 * length penalty of Wu et al., 2016, {@code ((5 + length) / 6)^alpha}. It ends when no continuation
 * can overtake the finished texts any more.
 *
 * <p>One thread at a time: the state is in use during a search, and other calls with it throw
 * {@link IllegalStateException} meanwhile. Its tensors lie in the caller's arena.
 */
public final class BeamSearch {

  /**
   * A text that was found. Two are equal if they have the same tokens and numbers.
   *
   * @param tokens generated tokens, the end token included if it came
   * @param logProbability of the tokens together, natural logarithm
   * @param score the same over the length penalty
   */
  public record Hypothesis(int[] tokens, double logProbability, double score) {
    @Override
    public boolean equals(Object other) {
      return other instanceof Hypothesis that
          && Arrays.equals(tokens, that.tokens)
          && Double.compare(logProbability, that.logProbability) == 0
          && Double.compare(score, that.score) == 0;
    }

    @Override
    public int hashCode() {
      return Objects.hash(Arrays.hashCode(tokens), logProbability, score);
    }

    /** The tokens and the numbers. */
    @Override
    public String toString() {
      return "Hypothesis[tokens=%s, logProbability=%s, score=%s]"
          .formatted(Arrays.toString(tokens), logProbability, score);
    }
  }

  private final DecoderModel model;
  private final DecoderState state;
  private final Workspace workspace;
  private final double alpha;
  private final int beams;
  private final Tensor last;
  private final Tensor logits;

  /**
   * Makes a search.
   *
   * @param model what scores tokens
   * @param state of as many sequences as there shall be beams, 1 or more; for a {@link Transformer}
   *     it remembers one encoded text that all share
   * @param workspace scratch of all calls, not used by others meanwhile; or null to borrow one for
   *     each token
   * @param arena where tensors lie
   * @param alpha of the length penalty, 0 or more: 0 is none, the paper has 0.6
   */
  public BeamSearch(
      DecoderModel model, DecoderState state, Workspace workspace, Arena arena, double alpha) {
    this.model = Objects.requireNonNull(model, "model");
    this.state = Objects.requireNonNull(state, "state");
    this.workspace = workspace;
    model.decoder().checkState(state);
    if (!(alpha >= 0) || Double.isInfinite(alpha)) {
      throw new IllegalArgumentException("alpha: expected a finite number >= 0, got " + alpha);
    }
    this.alpha = alpha;
    this.beams = state.sequences();
    checkMemories();
    this.last = Tensor.allocate(arena, DType.INT32, beams, 1);
    this.logits = Tensor.allocate(arena, DType.FLOAT32, beams, model.vocabulary());
  }

  private void checkMemories() {
    if (state.memories() > 1) {
      throw new IllegalArgumentException(
          "state: expected one memory that all beams share, got " + state.memories());
    }
  }

  /** A continuation that is not finished. */
  private record Beam(int[] tokens, double logProbability) {
    Beam with(int token, double logarithm) {
      int[] longer = Arrays.copyOf(tokens, tokens.length + 1);
      longer[tokens.length] = token;
      return new Beam(longer, logProbability + logarithm);
    }
  }

  private record Candidate(int beam, int token, double logProbability) {}

  /**
   * Searches the best texts after a prompt. The state's tokens are forgotten before and after, also
   * where the search fails: beams end in the middle of their texts, so that nothing could go on
   * from them. To go on from a text, decode it.
   *
   * @param prompt {@code [1, seq]} INT32, 1 token or more
   * @param maxTokens tokens to generate at most, 1 or more, as far as the state has room and the
   *     model has positions
   * @param end the token that ends a text
   * @return at most as many texts as there are beams, best first; none has a token whose score is
   *     −∞
   * @throws IllegalArgumentException naming the argument that does not fit
   * @throws IllegalStateException if the state is in use by another call, or if no token can be
   *     chosen after a beam, since a score is NaN or +∞ or all are −∞
   */
  public List<Hypothesis> search(Tensor prompt, int maxTokens, int end) {
    if (maxTokens < 1) {
      throw new IllegalArgumentException("maxTokens: expected 1 or more, got " + maxTokens);
    }
    if (prompt.rank() != 2 || prompt.size(0) != 1 || prompt.dtype() != DType.INT32) {
      throw Rows.bad("prompt", "[1, seq] int32", prompt);
    }
    state.acquire();
    try {
      checkMemories();
      state.forget();
      return find(prompt, maxTokens, end);
    } finally {
      state.forget();
      state.release();
    }
  }

  private List<Hypothesis> find(Tensor prompt, int maxTokens, int end) {
    try (Arena arena = Arena.ofConfined()) {
      Tensor prompts = Tensor.allocate(arena, DType.INT32, beams, prompt.size(1));
      for (int n = 0; n < beams; n++) {
        prompts.slice(0, n, n + 1).copyFrom(prompt);
      }
      model.score("prompt", workspace, state, prompts, null, logits);
    }
    List<Hypothesis> finished = new ArrayList<>();
    List<Beam> alive = List.of(new Beam(new int[0], 0));
    int longest = Math.min(maxTokens, model.capacity(state) - state.length(0) + 1);
    while (true) {
      List<Candidate> candidates = candidates(alive, alive.getFirst().tokens.length);
      List<Beam> next = new ArrayList<>();
      int[] sources = new int[beams];
      for (Candidate candidate : candidates) {
        Beam beam = alive.get(candidate.beam);
        Beam longer = beam.with(candidate.token, candidate.logProbability - beam.logProbability);
        if (candidate.token == end || longer.tokens.length == longest) {
          finished.add(hypothesis(longer));
        } else if (next.size() < beams) {
          sources[next.size()] = candidate.beam;
          next.add(longer);
        }
      }
      finished.sort(Comparator.comparingDouble(Hypothesis::score).reversed());
      if (finished.size() > beams) {
        finished.subList(beams, finished.size()).clear();
      }
      if (next.isEmpty() || isOver(finished, next, longest)) {
        return finished;
      }
      for (int n = 0; n < beams; n++) {
        Beam beam = next.get(Math.min(n, next.size() - 1)); // fewer than beams: some run twice
        sources[n] = n < next.size() ? sources[n] : sources[next.size() - 1];
        last.segment().setAtIndex(ValueLayout.JAVA_INT, n, beam.tokens[beam.tokens.length - 1]);
      }
      state.move(sources);
      model.score("token", workspace, state, last, null, logits);
      alive = next;
    }
  }

  /**
   * The best continuations, twice as many as beams, so that enough are left if half of them end.
   */
  private List<Candidate> candidates(List<Beam> alive, int generated) {
    int count = 2 * beams;
    MemorySegment scores = logits.segment();
    int vocabulary = model.vocabulary();
    for (int n = 0; n < alive.size(); n++) {
      Logits.best(scores, (long) n * vocabulary, vocabulary, "beam " + n, generated);
    }
    logSoftmax();
    List<Candidate> best = new ArrayList<>(count + 1);
    for (int n = 0; n < alive.size(); n++) {
      double before = alive.get(n).logProbability;
      for (int token = 0; token < vocabulary; token++) {
        double sum =
            before + scores.getAtIndex(ValueLayout.JAVA_FLOAT, (long) n * vocabulary + token);
        if (sum == Double.NEGATIVE_INFINITY
            || best.size() == count && !(sum > best.getLast().logProbability)) {
          continue;
        }
        int place = best.size();
        while (place > 0 && sum > best.get(place - 1).logProbability) {
          place--;
        }
        best.add(place, new Candidate(n, token, sum));
        if (best.size() > count) {
          best.removeLast();
        }
      }
    }
    return best;
  }

  private void logSoftmax() {
    try (LayerCall call = LayerCalls.begin(model.runtime(), workspace)) {
      Matrix rows = Rows.view(call, "logits", logits);
      call.rows().softmax(true, rows, rows);
    }
  }

  private double penalty(int length) {
    return Math.pow((5 + length) / 6.0, alpha);
  }

  private Hypothesis hypothesis(Beam beam) {
    return new Hypothesis(
        beam.tokens, beam.logProbability, beam.logProbability / penalty(beam.tokens.length));
  }

  /**
   * A log-probability only falls, and the penalty of the longest text is the most that can raise
   * its score.
   */
  private boolean isOver(List<Hypothesis> finished, List<Beam> alive, int longest) {
    return finished.size() == beams
        && alive.getFirst().logProbability / penalty(longest) <= finished.getLast().score;
  }
}
