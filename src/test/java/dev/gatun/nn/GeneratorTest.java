package dev.gatun.nn;

import static dev.gatun.nn.Layers.SEED;
import static dev.gatun.nn.Layers.refused;
import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import dev.gatun.DType;
import dev.gatun.Tensor;
import dev.gatun.Workspace;
import java.lang.foreign.Arena;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.Test;

/** When a text ends, and what follows from a seed. */
class GeneratorTest {

  private static final int CAPACITY = 20;

  private final Arena arena = Arena.ofShared();
  private final Parts parts = new Parts(arena, SEED);
  private final DecoderOnlyModel model = parts.model(11);
  private final DecoderState state = model.newState(arena, 1, CAPACITY, 0);
  private final Generator generator = new Generator(model, state, null, arena);
  private final Tensor prompt = parts.ids(1, 2);

  @AfterEach
  void close() {
    arena.close();
  }

  private int[] generate(int most, int end, Sampling sampling) {
    state.reset();
    return generator.generate(prompt, most, end, sampling);
  }

  @Test
  void endStops() {
    Sampling sampling = new Sampling(2, 0, 1, 5);
    int[] all = generate(12, -1, sampling);
    assertEquals(12, all.length);
    for (int end = 0; end < 11; end++) {
      int count = 0;
      while (count < 12 && all[count] != end) {
        count++;
      }
      int[] want = Arrays.copyOf(all, Math.min(count + 1, 12));
      assertArrayEquals(want, generate(12, end, sampling), "end " + end);
      assertEquals(2 + want.length, state.length(0), "the end token is the state's, too");
    }
  }

  @Test
  void mostStops() {
    int[] all = generate(6, -1, Sampling.greedy());
    assertEquals(2 + 6, state.length(0));
    assertArrayEquals(Arrays.copyOf(all, 1), generate(1, -1, Sampling.greedy()));
    assertEquals(2 + 1, state.length(0));
    assertArrayEquals(new int[0], generate(0, -1, Sampling.greedy()));
    assertEquals(2, state.length(0), "the prompt is decoded");
    state.reset();
    assertEquals(
        0,
        generator.generate(
            prompt,
            0,
            Sampling.greedy(),
            _ -> {
              throw new AssertionError("no token was asked for");
            }));
  }

  @Test
  void fullStateStops() {
    int[] all = generate(1000, -1, Sampling.greedy());
    assertEquals(CAPACITY - 2 + 1, all.length); // the last one needs no room
    assertEquals(CAPACITY, state.length(0));
    Tensor one = parts.ids(3);
    refused(
        "prompt: expected at most 0 more tokens",
        () -> generator.generate(one, 1, -1, Sampling.greedy()));
    state.truncate(CAPACITY - 1);
    assertEquals(1, generator.generate(one, 5, -1, Sampling.greedy()).length);
  }

  /** The encoding of Parts has 32 positions. */
  @Test
  void endOfPositionsStops() {
    DecoderState large = model.newState(arena, 1, 100);
    int[] all =
        new Generator(model, large, null, arena)
            .generate(prompt, Integer.MAX_VALUE, -1, Sampling.greedy());
    assertEquals(32 - 2 + 1, all.length);
    assertEquals(32, large.length(0));
  }

  @Test
  void sinkStops() {
    int[] all = generate(6, -1, Sampling.greedy());
    state.reset();
    List<Integer> got = new ArrayList<>();
    int count =
        generator.generate(
            prompt,
            6,
            Sampling.greedy(),
            token -> {
              assertEquals(2 + got.size(), state.length(0), "each is handed over at once");
              got.add(token);
              return got.size() < 3;
            });
    assertEquals(3, count);
    assertArrayEquals(Arrays.copyOf(all, 3), got.stream().mapToInt(token -> token).toArray());
    assertEquals(2 + 3, state.length(0));
  }

  @Test
  void ofAnEncodedText() {
    Transformer translator = parts.translator(11);
    Tensor memory = parts.normal(1, 5, 16);
    DecoderState own = translator.newState(arena, 1, CAPACITY, 8);
    try (Workspace workspace = translator.runtime().newWorkspace()) {
      Generator of = new Generator(translator, own, workspace, arena);
      assertThrows(
          IllegalStateException.class, () -> of.generate(prompt, 5, -1, Sampling.greedy()));
      translator.remember(workspace, own, memory, null);
      int[] tokens = of.generate(prompt, 5, -1, Sampling.greedy());
      int[] all = {1, 2};
      for (int token : tokens) {
        double[] scores = parts.logarithms(translator, memory, all);
        assertEquals(Arrays.stream(scores).max().orElseThrow(), scores[token], 1e-4);
        all = Arrays.copyOf(all, all.length + 1);
        all[all.length - 1] = token;
      }
      assertEquals(7, all.length);
    }
  }

  // ---- drawing -------------------------------------------------------------------------------

  /** So flat that the 11 tokens are as good as equally probable. */
  private static Sampling flat(long seed) {
    return new Sampling(1e6, 0, 1, seed);
  }

  @Test
  void seeds() {
    int[] first = generate(15, -1, flat(1));
    assertArrayEquals(first, generate(15, -1, flat(1)));
    state.reset();
    Generator another = new Generator(model, state, null, arena);
    assertArrayEquals(first, another.generate(prompt, 15, -1, flat(1)));
    for (long seed : new long[] {0, 2, -1, Long.MAX_VALUE}) {
      assertFalse(Arrays.equals(first, generate(15, -1, flat(seed))), "seed " + seed);
    }
    // Each token has a random number of its own.
    assertTrue(Arrays.stream(first).distinct().count() > 4, () -> Arrays.toString(first));
    // Where one token only may be drawn, no seed matters.
    int[] greedy = generate(15, -1, Sampling.greedy());
    assertArrayEquals(greedy, generate(15, -1, new Sampling(1e6, 1, 1, 9)));
    assertArrayEquals(greedy, generate(15, -1, new Sampling(1e6, 0, 1e-9, 9)));
    assertArrayEquals(greedy, generate(15, -1, new Sampling(1e-9, 0, 1, 9)));
    assertArrayEquals(greedy, generate(15, -1, new Sampling(0, 5, 0.5, 9)));
  }

  // ---- refusals ------------------------------------------------------------------------------

  @Test
  void samplingRefusals() {
    for (double bad : new double[] {-1e-9, Double.NaN, Double.POSITIVE_INFINITY}) {
      refused(
          "temperature: expected a finite number >= 0, got " + bad,
          () -> new Sampling(bad, 0, 1, 0));
    }
    refused("topK: expected 0 or more, got -1", () -> new Sampling(1, -1, 1, 0));
    for (double bad : new double[] {0, -0.5, 1.01, Double.NaN}) {
      refused("topP:", () -> new Sampling(1, 0, bad, 0));
    }
    assertEquals(new Sampling(0, 0, 1, 0), Sampling.greedy());
  }

  @Test
  void refusals() {
    refused(
        "state: expected 1 sequence, got 2",
        () -> new Generator(model, model.newState(arena, 2, 8, 0), null, arena));
    refused(
        "state: expected one of this decoder, got another's",
        () -> new Generator(parts.model(11), state, null, arena));
    assertThrows(NullPointerException.class, () -> new Generator(null, state, null, arena));
    assertThrows(NullPointerException.class, () -> new Generator(model, null, null, arena));
    Sampling greedy = Sampling.greedy();
    refused(
        "maxTokens: expected 0 or more, got -1", () -> generator.generate(prompt, -1, -1, greedy));
    refused(
        "prompt: expected 1 sequences as the state has, got 2",
        () -> generator.generate(prompt.reshape(2, 1), 3, -1, greedy));
    refused(
        "prompt:",
        () -> generator.generate(Tensor.allocate(arena, DType.INT32, 1, 0), 3, -1, greedy));
    refused(
        "prompt:",
        () -> generator.generate(Tensor.allocate(arena, DType.INT64, 1, 2), 3, -1, greedy));
    refused(
        "prompt[1]: expected 0 .. 10, got 11",
        () -> generator.generate(parts.ids(1, 11), 3, -1, greedy));
    assertThrows(NullPointerException.class, () -> generator.generate(null, 3, -1, greedy));
    assertThrows(NullPointerException.class, () -> generator.generate(prompt, 3, -1, null));
    assertEquals(0, state.length(0), "a refusal decodes nothing");
    int[] want = generator.generate(prompt, 3, -1, greedy);
    state.reset();
    assertArrayEquals(want, generator.generate(prompt.reshape(2), 3, -1, greedy), "[tokens]");
    state.reset();
    try (Workspace foreign = Layers.runtime(1).newWorkspace()) {
      Generator wrong = new Generator(model, state, foreign, arena);
      refused("workspace:", () -> wrong.generate(prompt, 3, -1, greedy));
    }
  }
}
