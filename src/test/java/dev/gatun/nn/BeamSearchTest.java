package dev.gatun.nn;

import static dev.gatun.nn.Layers.refused;
import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import dev.gatun.DType;
import dev.gatun.Tensor;
import dev.gatun.Workspace;
import dev.gatun.nn.BeamSearch.Hypothesis;
import java.lang.foreign.Arena;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.Comparator;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;

class BeamSearchTest {

  private static final long SEED = 7;

  /** Up to 8 logarithms from logits of size 1, in float32: they were within 2e-6. */
  private static final double BOUND = 1e-5;

  /** What scores are apart where their order decides, so that no rounding does. */
  private static final double APART = 10 * BOUND;

  private final Arena arena = Arena.ofShared();
  private final Parts parts = new Parts(arena, SEED);

  @AfterEach
  void close() {
    arena.close();
  }

  // ---- the algorithm, on passes over whole prefixes ------------------------------------------

  private record Text(List<Integer> tokens, double logarithm, double score) {}

  /** As BeamSearch describes it. */
  private final class Naive {
    final DecoderModel model;
    final Tensor memory;
    final double alpha;
    final Map<List<Integer>, double[]> known = new HashMap<>();
    int steps;

    Naive(DecoderModel model, Tensor memory, double alpha) {
      this.model = model;
      this.memory = memory;
      this.alpha = alpha;
    }

    double penalty(int length) {
      return Math.pow((5 + length) / 6.0, alpha);
    }

    List<Text> continuations(int[] prompt, Text before) {
      double[] next =
          known.computeIfAbsent(
              before.tokens,
              tokens -> {
                int[] all = Arrays.copyOf(prompt, prompt.length + tokens.size());
                for (int n = 0; n < tokens.size(); n++) {
                  all[prompt.length + n] = tokens.get(n);
                }
                return parts.logarithms(model, memory, all);
              });
      List<Text> texts = new ArrayList<>();
      for (int token = 0; token < next.length; token++) {
        List<Integer> tokens = new ArrayList<>(before.tokens);
        tokens.add(token);
        double sum = before.logarithm + next[token];
        texts.add(new Text(tokens, sum, sum / penalty(tokens.size())));
      }
      return texts;
    }

    List<Text> search(int[] prompt, int beams, int most, int end) {
      List<Text> finished = new ArrayList<>();
      List<Text> alive = List.of(new Text(List.of(), 0, 0));
      for (int length = 1; ; length++) {
        steps = length;
        List<Text> candidates = new ArrayList<>();
        for (Text text : alive) {
          candidates.addAll(continuations(prompt, text));
        }
        candidates.sort(Comparator.comparingDouble(Text::logarithm).reversed());
        for (int n = 1; n < Math.min(candidates.size(), 2 * beams + 1); n++) {
          apart(candidates.get(n - 1).logarithm, candidates.get(n).logarithm);
        }
        alive = new ArrayList<>();
        for (Text text : candidates.subList(0, Math.min(2 * beams, candidates.size()))) {
          if (text.tokens.getLast() == end || length == most) {
            finished.add(text);
          } else if (alive.size() < beams) {
            alive.add(text);
          }
        }
        finished.sort(Comparator.comparingDouble(Text::score).reversed());
        for (int n = 1; n < finished.size(); n++) {
          apart(finished.get(n - 1).score, finished.get(n).score);
        }
        finished = new ArrayList<>(finished.subList(0, Math.min(beams, finished.size())));
        if (alive.isEmpty()) {
          return finished;
        }
        // What the best that goes on can reach at most, at the greatest length.
        double reach = alive.getFirst().logarithm / penalty(most);
        if (finished.size() == beams) {
          apart(reach, finished.getLast().score);
          if (reach <= finished.getLast().score) {
            return finished;
          }
        }
      }
    }

    private static void apart(double a, double b) {
      assertTrue(Math.abs(a - b) > APART, "another seed: " + a + " and " + b);
    }
  }

  private static void compare(List<Text> want, List<Hypothesis> got, String what) {
    assertEquals(want.size(), got.size(), what);
    for (int n = 0; n < want.size(); n++) {
      Text text = want.get(n);
      assertArrayEquals(
          text.tokens.stream().mapToInt(token -> token).toArray(), got.get(n).tokens(), what);
      assertEquals(text.logarithm, got.get(n).logProbability(), BOUND, what);
      assertEquals(text.score, got.get(n).score(), BOUND, what);
    }
  }

  private long callsOfAStep(DecoderOnlyModel model) {
    DecoderState state = model.newState(arena, 1, 1);
    long before = parts.runtime.counters().calls();
    model.next(null, state, parts.ids(0), null, parts.zeros(1, model.vocabulary()));
    return parts.runtime.counters().calls() - before;
  }

  @ParameterizedTest
  @CsvSource({
    "1, 0", "1, 0.6", "1, 2", "2, 0", "2, 0.6", "2, 2", "3, 0", "3, 0.6", "3, 2", "4, 0", "4, 0.6",
    "4, 2", "7, 0.6"
  })
  void likeTheNaiveSearch(int beams, double alpha) {
    for (int vocabulary : new int[] {2, 3, 6, 9}) {
      DecoderOnlyModel model = parts.model(vocabulary);
      DecoderState state = model.newState(arena, beams, 9, 0);
      BeamSearch search = new BeamSearch(model, state, null, arena, alpha);
      Naive naive = new Naive(model, null, alpha);
      int[] prompt = {0, 1, 1};
      for (int end : new int[] {0, 1, -1}) {
        for (int most : new int[] {1, 6}) {
          String what = "vocabulary %d, end %d, at most %d".formatted(vocabulary, end, most);
          List<Text> want = naive.search(prompt, beams, most, end);
          long before = parts.runtime.counters().calls();
          compare(want, search.search(parts.ids(prompt), most, end), what);
          // It stops when nothing can be found any more, and the last tokens are not decoded.
          long calls = parts.runtime.counters().calls() - before;
          assertEquals(naive.steps * (callsOfAStep(model) + 1), calls, what + ", with softmax");
          assertEquals(0, state.length(0), "the state is empty again");
        }
      }
      // The state is full after 9 - 3 more, and the token after those needs no room.
      compare(
          naive.search(prompt, beams, 7, 0),
          search.search(parts.ids(prompt), 1000, 0),
          "a full state");
    }
  }

  /** All beams look at one encoded text. */
  @Test
  void ofAnEncodedText() {
    Transformer model = parts.translator(8);
    Tensor memory = parts.zeros(1, 5, 16);
    model.encode(null, parts.ids(4, 7, 1, 1, 2), null, memory);
    DecoderState state = model.newState(arena, 4, 10, 8);
    model.remember(null, state, memory, null);
    try (Workspace workspace = model.runtime().newWorkspace()) {
      BeamSearch search = new BeamSearch(model, state, workspace, arena, 0.6);
      compare(
          new Naive(model, memory, 0.6).search(new int[] {3}, 4, 8, 0),
          search.search(parts.ids(3), 8, 0),
          "first");
      Tensor other = parts.normal(1, 3, 16);
      model.remember(null, state, other, null);
      compare(
          new Naive(model, other, 0.6).search(new int[] {3, 2}, 4, 8, 0),
          search.search(parts.ids(3, 2), 8, 0),
          "another text");
    }
  }

  /** Finished texts are compared by their scores, those that go on by their probabilities. */
  @Test
  void penaltyPrefersLongTexts() {
    int without = 0;
    int with = 0;
    for (int n = 0; n < 5; n++) {
      DecoderOnlyModel model = parts.model(6);
      DecoderState state = model.newState(arena, 4, 12, 0);
      Tensor prompt = parts.ids(2);
      without +=
          new BeamSearch(model, state, null, arena, 0)
              .search(prompt, 10, 0)
              .getFirst()
              .tokens()
              .length;
      Hypothesis best =
          new BeamSearch(model, state, null, arena, 5).search(prompt, 10, 0).getFirst();
      with += best.tokens().length;
      double penalty = Math.pow((5 + best.tokens().length) / 6.0, 5);
      assertEquals(best.logProbability() / penalty, best.score(), 1e-12);
    }
    assertTrue(without < with, without + " and " + with + " tokens");
  }

  // ---- refusals ------------------------------------------------------------------------------

  @Test
  void refusals() {
    DecoderOnlyModel model = parts.model(6);
    DecoderState state = model.newState(arena, 2, 8, 0);
    for (double bad : new double[] {Double.NaN, -0.1, Double.POSITIVE_INFINITY}) {
      refused(
          "alpha: expected a finite number >= 0, got " + bad,
          () -> new BeamSearch(model, state, null, arena, bad));
    }
    refused(
        "state: expected one of this decoder",
        () -> new BeamSearch(parts.model(6), state, null, arena, 0));
    assertThrows(NullPointerException.class, () -> new BeamSearch(null, state, null, arena, 0));
    assertThrows(NullPointerException.class, () -> new BeamSearch(model, null, null, arena, 0));

    BeamSearch search = new BeamSearch(model, state, null, arena, 0);
    Tensor prompt = parts.ids(1, 2);
    refused("maxTokens: expected 1 or more, got 0", () -> search.search(prompt, 0, 0));
    refused("prompt:", () -> search.search(prompt.reshape(2), 3, 0));
    refused("prompt: expected [1, seq] int32", () -> search.search(prompt.reshape(2, 1), 3, 0));
    refused("prompt:", () -> search.search(Tensor.allocate(arena, DType.INT64, 1, 2), 3, 0));
    refused("prompt:", () -> search.search(Tensor.allocate(arena, DType.INT32, 1, 0), 3, 0));
    refused("prompt[1]: expected 0 .. 5, got 6", () -> search.search(parts.ids(1, 6), 3, 0));
    refused(
        "prompt: expected at most 8 more tokens",
        () -> search.search(parts.ids(0, 0, 0, 0, 0, 0, 0, 0, 0), 3, 0));
    assertThrows(NullPointerException.class, () -> search.search(null, 3, 0));
    assertEquals(2, search.search(prompt, 3, 0).size());
  }

  @Test
  void memoriesThatAreRefused() {
    Transformer model = parts.translator(6);
    DecoderState state = model.newState(arena, 2, 8, 8);
    BeamSearch early = new BeamSearch(model, state, null, arena, 0);
    assertThrows(IllegalStateException.class, () -> early.search(parts.ids(1), 3, 0));
    model.remember(null, state, parts.normal(2, 3, 16), null);
    refused(
        "state: expected one memory that all beams share, got 2",
        () -> new BeamSearch(model, state, null, arena, 0));
    refused(
        "state: expected one memory that all beams share, got 2",
        () -> early.search(parts.ids(1), 3, 0));
  }

  /** The encoding of Parts has 32 positions. */
  @Test
  void endsWithThePositions() {
    DecoderOnlyModel model = parts.model(6);
    DecoderState state = model.newState(arena, 2, 100);
    BeamSearch search = new BeamSearch(model, state, null, arena, 0);
    List<Hypothesis> texts = search.search(parts.ids(1, 2), 99, -1);
    assertEquals(32 - 2 + 1, texts.getFirst().tokens().length);
  }
}
