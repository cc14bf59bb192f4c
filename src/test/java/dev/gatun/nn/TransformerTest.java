package dev.gatun.nn;

import static dev.gatun.nn.Layers.SEED;
import static dev.gatun.nn.Layers.refused;
import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import dev.gatun.Activation;
import dev.gatun.Causal;
import dev.gatun.DType;
import dev.gatun.GatunRuntime;
import dev.gatun.Tensor;
import java.lang.foreign.Arena;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.HashSet;
import java.util.List;
import java.util.Random;
import java.util.Set;
import java.util.stream.IntStream;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.EnumSource;
import org.junit.jupiter.params.provider.ValueSource;

/**
 * What holds for every Transformer, whatever its weights: steps, caches, positions, and how tokens
 * are chosen.
 */
class TransformerTest {
  private static final int DIM = 24;
  private static final int HEADS = 3;
  private static final int VOCABULARY = 11;

  /**
   * Rows of size 1 after a norm; a step and a pass differ by the rounding of products of other
   * heights.
   */
  private static final double BOUND = 2e-5;

  private final Arena arena = Arena.ofShared();
  private final Parts parts = new Parts(arena, SEED);
  private final Random random = parts.random;
  private final GatunRuntime runtime = parts.runtime;

  @AfterEach
  void close() {
    arena.close();
  }

  private List<TransformerLayer> layers(
      Causal causal, boolean crosses, boolean modern, PositionalEncoding positions) {
    List<TransformerLayer> layers = new ArrayList<>();
    for (int n = 0; n < 3; n++) {
      layers.add(
          new TransformerLayer(
              parts.attention(causal, DIM, HEADS, modern ? 1 : HEADS, positions),
              parts.norm(DIM, modern),
              crosses
                  ? parts.attention(Causal.NONE, DIM, HEADS, HEADS, PositionalEncoding.none())
                  : null,
              crosses ? parts.norm(DIM, modern) : null,
              parts.feedForward(DIM, modern),
              parts.norm(DIM, modern)));
    }
    return layers;
  }

  /** Layers with norms of what sublayers give, the first one without a norm before attention. */
  private List<TransformerLayer> sandwiches(boolean modern, PositionalEncoding positions) {
    List<TransformerLayer> layers = new ArrayList<>();
    for (TransformerLayer layer : layers(Causal.BOTTOM_RIGHT, false, modern, positions)) {
      layers.add(
          new TransformerLayer(
              layer.selfAttention(),
              layers.isEmpty() ? null : layer.selfNorm(),
              parts.norm(DIM, modern),
              null,
              null,
              layer.feedForward(),
              layer.feedForwardNorm(),
              parts.norm(DIM, modern)));
    }
    return layers;
  }

  private PositionalEncoding encoding(String name) {
    return switch (name) {
      case "none" -> PositionalEncoding.none();
      case "rotary" ->
          PositionalEncoding.rotary(
              Rotary.of(arena, 32, 8, 10_000, Rotary.Pairing.HALVES, RotaryScaling.none()));
      case "adjacent" ->
          PositionalEncoding.rotary(
              Rotary.of(arena, 32, 4, 100, Rotary.Pairing.ADJACENT, RotaryScaling.none()));
      case "alibi" -> PositionalEncoding.alibi(arena, HEADS);
      case "relative" ->
          PositionalEncoding.relativePositions(
              arena, Layers.normal(arena, random, 8, HEADS), 20, false);
      case "bidirectional" ->
          PositionalEncoding.relativePositions(
              arena, Layers.normal(arena, random, 8, HEADS), 20, true);
      default -> throw new IllegalArgumentException(name);
    };
  }

  private static void close(float[] want, float[] got, double bound) {
    assertEquals(want.length, got.length);
    for (int i = 0; i < want.length; i++) {
      assertTrue(Math.abs(want[i] - got[i]) <= bound, i + ": " + want[i] + " and " + got[i]);
    }
  }

  // ---- steps

  @ParameterizedTest
  @ValueSource(strings = {"none", "rotary", "adjacent", "alibi", "relative"})
  void stepsAreRowsOfOnePass(String positions) {
    for (NormOrder order : NormOrder.values()) {
      boolean sandwich = order == NormOrder.SANDWICH;
      for (boolean modern : new boolean[] {false, true}) {
        for (boolean crosses : sandwich ? new boolean[] {false} : new boolean[] {false, true}) {
          for (Norm last : new Norm[] {null, parts.norm(DIM, modern)}) {
            PositionalEncoding encoding = encoding(positions);
            List<TransformerLayer> layers =
                sandwich
                    ? sandwiches(modern, encoding)
                    : layers(Causal.BOTTOM_RIGHT, crosses, modern, encoding);
            steps(new TransformerDecoder(runtime, layers, order, last));
          }
        }
      }
    }
  }

  private void steps(TransformerDecoder decoder) {
    int batch = 2;
    int seq = 9;
    Tensor x = Layers.normal(arena, random, batch, seq, DIM);
    Tensor memory = Layers.normal(arena, random, batch, 6, DIM);
    Tensor memoryLengths = Tensor.copyOf(arena, new int[] {6, 3}, 2);
    DecoderState whole = decoder.newState(arena, batch, seq, 7);
    DecoderState parts = decoder.newState(arena, batch, seq, 7);
    if (decoder.hasMemory()) {
      decoder.remember(null, whole, memory, Padded.by(memoryLengths));
      decoder.remember(null, parts, memory, Padded.by(memoryLengths));
    }
    Tensor out = Tensor.allocate(arena, DType.FLOAT32, batch, seq, DIM);
    decoder.step(null, whole, x, null, out);
    int done = 0;
    for (int size : new int[] {4, 1, 1, 3}) {
      Tensor part = Tensor.allocate(arena, DType.FLOAT32, batch, size, DIM);
      part.copyFrom(x.slice(1, done, done + size));
      decoder.step(null, parts, part, null, part);
      close(
          out.slice(1, done, done + size).toFloatArray(), part.toFloatArray(), BOUND * scale(out));
      done += size;
    }
    assertEquals(seq, parts.length(0));
    Tensor more = Tensor.allocate(arena, DType.FLOAT32, batch, 1, DIM);
    refused("x: expected at most 0 more", () -> decoder.step(null, parts, more, null, more));
    assertEquals(seq, parts.length(1));
    // Back to the fifth row, and on from there, over what has been written behind it.
    parts.truncate(5);
    Tensor sixth = Tensor.allocate(arena, DType.FLOAT32, batch, 1, DIM);
    sixth.copyFrom(x.slice(1, 5, 6));
    decoder.step(null, parts, sixth, null, sixth);
    close(out.slice(1, 5, 6).toFloatArray(), sixth.toFloatArray(), BOUND * scale(out));
  }

  private static double scale(Tensor tensor) {
    double most = 1;
    for (float value : tensor.toFloatArray()) {
      most = Math.max(most, Math.abs(value));
    }
    return most;
  }

  /** Each layer's cache has the heads of that layer. */
  @Test
  void layersWithOtherHeads() {
    List<TransformerLayer> layers =
        new ArrayList<>(layers(Causal.BOTTOM_RIGHT, false, false, encoding("alibi")));
    layers.addAll(1, layers(Causal.BOTTOM_RIGHT, false, true, encoding("rotary")));
    steps(new TransformerDecoder(runtime, layers, NormOrder.PRE, parts.norm(DIM, false)));
  }

  @Test
  void promptsOfDifferentLengths() {
    TransformerDecoder decoder =
        new TransformerDecoder(
            runtime,
            layers(Causal.BOTTOM_RIGHT, false, true, encoding("rotary")),
            NormOrder.PRE,
            parts.norm(DIM, true));
    Tensor x = Layers.normal(arena, random, 3, 5, DIM);
    Tensor next = Layers.normal(arena, random, 3, 1, DIM);
    int[] counts = {5, 2, 4};
    DecoderState together = decoder.newState(arena, 3, 6, 0);
    Tensor out = Tensor.allocate(arena, DType.FLOAT32, 3, 5, DIM);
    decoder.step(null, together, x, Padded.by(Tensor.copyOf(arena, counts, 3)), out);
    Tensor after = Tensor.allocate(arena, DType.FLOAT32, 3, 1, DIM);
    decoder.step(null, together, next, null, after);
    for (int b = 0; b < 3; b++) {
      DecoderState alone = decoder.newState(arena, 1, 6, 0);
      Tensor prompt = Tensor.allocate(arena, DType.FLOAT32, 1, counts[b], DIM);
      prompt.copyFrom(x.slice(0, b, b + 1).slice(1, 0, counts[b]));
      decoder.step(null, alone, prompt, null, prompt);
      Tensor one = Tensor.allocate(arena, DType.FLOAT32, 1, 1, DIM);
      one.copyFrom(next.slice(0, b, b + 1));
      decoder.step(null, alone, one, null, one);
      close(one.toFloatArray(), after.slice(0, b, b + 1).toFloatArray(), BOUND * scale(after));
      assertEquals(counts[b] + 1, together.length(b));
    }
  }

  @Test
  void selectMakesCopies() {
    TransformerDecoder decoder =
        new TransformerDecoder(
            runtime,
            layers(Causal.BOTTOM_RIGHT, false, false, encoding("alibi")),
            NormOrder.POST,
            null);
    DecoderState state = decoder.newState(arena, 3, 6, 0);
    Tensor x = Layers.normal(arena, random, 3, 4, DIM);
    Tensor out = Tensor.allocate(arena, DType.FLOAT32, 3, 4, DIM);
    decoder.step(null, state, x, null, out);
    state.select(2, 0, 2);
    Tensor same = Tensor.allocate(arena, DType.FLOAT32, 3, 1, DIM);
    same.fill(0.3f);
    decoder.step(null, state, same, null, same);
    assertArrayEquals(same.select(0, 0).toFloatArray(), same.select(0, 2).toFloatArray());
    assertTrue(!Arrays.equals(same.select(0, 0).toFloatArray(), same.select(0, 1).toFloatArray()));
    assertThrows(IllegalArgumentException.class, () -> state.select(0, 1, 3));
  }

  // ---- order

  /**
   * The pitfall: without positions the order of tokens is invisible, with any of them it is not.
   */
  @ParameterizedTest
  @ValueSource(
      strings = {"none", "rotary", "adjacent", "alibi", "bidirectional", "sinusoidal", "learned"})
  void onlyWithoutPositionsIsAPermutationOfTheInputOneOfTheOutput(String name) {
    boolean added = name.equals("sinusoidal") || name.equals("learned");
    TransformerEncoder encoder =
        new TransformerEncoder(
            runtime,
            layers(Causal.NONE, false, false, encoding(added ? "none" : name)),
            NormOrder.POST,
            null);
    PositionalEncoding table =
        switch (name) {
          case "sinusoidal" -> PositionalEncoding.sinusoidal(arena, 7, DIM);
          case "learned" -> PositionalEncoding.learned(Layers.normal(arena, random, 7, DIM));
          default -> PositionalEncoding.none();
        };
    Embedding embedding =
        new Embedding(runtime, Layers.normal(arena, random, VOCABULARY, DIM), 1, table);
    int[] tokens = {3, 1, 4, 1, 5, 9, 2};
    int[] order = {6, 2, 0, 5, 1, 3, 4};
    int[] moved = IntStream.of(order).map(n -> tokens[n]).toArray();
    float[][] plain = encode(embedding, encoder, tokens);
    float[][] other = encode(embedding, encoder, moved);
    double most = 0;
    for (int n = 0; n < order.length; n++) {
      for (int i = 0; i < DIM; i++) {
        most = Math.max(most, Math.abs(other[n][i] - plain[order[n]][i]));
      }
    }
    System.out.printf("tokens moved, positions %s: rows change by at most %.1e%n", name, most);
    if (name.equals("none")) {
      assertTrue(most <= BOUND, name + ": " + most);
    } else {
      assertTrue(most > 100 * BOUND, name + ": " + most);
    }
  }

  private float[][] encode(Embedding embedding, TransformerEncoder encoder, int[] tokens) {
    Tensor x = Tensor.allocate(arena, DType.FLOAT32, 1, tokens.length, DIM);
    embedding.forward(null, Tensor.copyOf(arena, tokens, 1, tokens.length), null, x);
    encoder.forward(null, x, null, x);
    float[][] rows = new float[tokens.length][];
    for (int n = 0; n < rows.length; n++) {
      rows[n] = x.select(0, 0).select(0, n).toFloatArray();
    }
    return rows;
  }

  // ---- choosing tokens

  private DecoderOnlyModel model(int vocabulary) {
    Embedding embedding =
        new Embedding(
            runtime,
            Layers.normal(arena, random, vocabulary, DIM),
            1,
            PositionalEncoding.sinusoidal(arena, 16, DIM));
    return new DecoderOnlyModel(
        runtime,
        embedding,
        new TransformerDecoder(
            runtime,
            layers(Causal.BOTTOM_RIGHT, false, false, PositionalEncoding.none()),
            NormOrder.PRE,
            parts.norm(DIM, false)),
        new Linear(runtime, Layers.weight(arena, random, DIM, vocabulary), null, Activation.NONE));
  }

  @Test
  void greedyTakesTheBest() {
    DecoderOnlyModel model = model(VOCABULARY);
    Tensor prompt = Tensor.copyOf(arena, new int[] {1, 2}, 1, 2);
    Generator generator = new Generator(model, model.newState(arena, 1, 10, 0), null, arena);
    int[] tokens = generator.generate(prompt, 5, -1, Sampling.greedy());
    assertEquals(5, tokens.length);
    int[] all = {1, 2};
    for (int token : tokens) {
      double[] scores = parts.logarithms(model, null, all);
      assertEquals(Arrays.stream(scores).max().orElseThrow(), scores[token], 1e-5);
      all = Arrays.copyOf(all, all.length + 1);
      all[all.length - 1] = token;
    }
  }

  @Test
  void samplingDrawsFromWhatItSays() {
    DecoderOnlyModel model = model(VOCABULARY);
    double[] scores = parts.logarithms(model, null, 1, 2);
    Integer[] best = IntStream.range(0, VOCABULARY).boxed().toArray(Integer[]::new);
    Arrays.sort(best, (a, b) -> Double.compare(scores[b], scores[a]));
    assertDrawn(model, new Sampling(1.5, 3, 1, 0), scores, 1.5, Arrays.copyOf(best, 3));
    assertDrawn(model, new Sampling(1, 0, 1, 0), scores, 1, best);
    double reached = 0;
    int count = 0;
    while (reached < 0.7) {
      reached += Math.exp(scores[best[count++]]);
    }
    assertDrawn(model, new Sampling(1, 0, 0.7, 0), scores, 1, Arrays.copyOf(best, count));
    assertDrawn(model, new Sampling(1, 1, 0.5, 0), scores, 1, Arrays.copyOf(best, 1));
  }

  /** Frequencies of 4,000 draws within five standard deviations of their probabilities. */
  private void assertDrawn(
      DecoderOnlyModel model,
      Sampling how,
      double[] scores,
      double temperature,
      Integer[] allowed) {
    Tensor prompt = Tensor.copyOf(arena, new int[] {1, 2}, 1, 2);
    DecoderState state = model.newState(arena, 1, 10, 0);
    Generator generator = new Generator(model, state, null, arena);
    int draws = 4000;
    int[] counts = new int[VOCABULARY];
    for (int seed = 0; seed < draws; seed++) {
      state.reset();
      Sampling sampling = new Sampling(how.temperature(), how.topK(), how.topP(), seed);
      counts[generator.generate(prompt, 1, -1, sampling)[0]]++;
    }
    double sum =
        Arrays.stream(allowed).mapToDouble(token -> Math.exp(scores[token] / temperature)).sum();
    Set<Integer> expected = new HashSet<>(List.of(allowed));
    for (int token = 0; token < VOCABULARY; token++) {
      double p = expected.contains(token) ? Math.exp(scores[token] / temperature) / sum : 0;
      assertEquals(
          draws * p, counts[token], 5 * Math.sqrt(draws * p * (1 - p)) + 1e-3, how::toString);
    }
  }

  /**
   * With as many beams as there are texts nothing is left out, so that the best of all is found.
   */
  @ParameterizedTest
  @ValueSource(doubles = {0, 0.6, 2})
  void beamSearchFindsTheBestOfAll(double alpha) {
    int vocabulary = 4;
    int end = 0;
    int most = 3;
    DecoderOnlyModel model = model(vocabulary);
    List<double[]> all = new ArrayList<>(); // score, then tokens
    enumerate(model, new int[] {1}, 0, end, most, alpha, all);
    all.sort((a, b) -> Double.compare(b[0], a[0]));
    Tensor prompt = Tensor.copyOf(arena, new int[] {1}, 1, 1);
    int beams = 27;
    BeamSearch search =
        new BeamSearch(model, model.newState(arena, beams, 8, 0), null, arena, alpha);
    List<BeamSearch.Hypothesis> found = search.search(prompt, most, end);
    for (int n = 0; n < 5; n++) {
      assertEquals(all.get(n)[0], found.get(n).score(), 1e-4);
      assertArrayEquals(tokens(all.get(n)), found.get(n).tokens());
    }
    // One beam finishes the greedy text, or has found a better one before.
    BeamSearch one = new BeamSearch(model, model.newState(arena, 1, 8, 0), null, arena, alpha);
    BeamSearch.Hypothesis single = one.search(prompt, most, end).getFirst();
    int[] greedy =
        new Generator(model, model.newState(arena, 1, 8, 0), null, arena)
            .generate(prompt, most, end, Sampling.greedy());
    assertEquals(score(all, single.tokens()), single.score(), 1e-4);
    assertTrue(single.score() >= score(all, greedy) - 1e-4);
  }

  private static double score(List<double[]> all, int[] tokens) {
    return all.stream()
        .filter(text -> Arrays.equals(tokens(text), tokens))
        .findFirst()
        .orElseThrow()[0];
  }

  private static int[] tokens(double[] text) {
    return Arrays.stream(text).skip(1).mapToInt(token -> (int) token).toArray();
  }

  private void enumerate(
      DecoderOnlyModel model,
      int[] tokens,
      double logarithm,
      int end,
      int left,
      double alpha,
      List<double[]> all) {
    double[] next = parts.logarithms(model, null, tokens);
    for (int token = 0; token < next.length; token++) {
      int[] longer = Arrays.copyOf(tokens, tokens.length + 1);
      longer[tokens.length] = token;
      double sum = logarithm + next[token];
      if (token == end || left == 1) {
        double[] text = new double[longer.length];
        text[0] = sum / Math.pow((5 + longer.length - 1) / 6.0, alpha);
        for (int n = 1; n < longer.length; n++) {
          text[n] = longer[n];
        }
        all.add(text);
      } else {
        enumerate(model, longer, sum, end, left - 1, alpha, all);
      }
    }
  }

  @ParameterizedTest
  @EnumSource(names = {"POST", "PRE"})
  void partsThatDoNotFit(NormOrder order) {
    List<TransformerLayer> causal = layers(Causal.BOTTOM_RIGHT, true, false, encoding("none"));
    assertThrows(
        IllegalArgumentException.class, () -> new TransformerEncoder(runtime, causal, order, null));
    List<TransformerLayer> open = layers(Causal.NONE, false, false, encoding("none"));
    assertThrows(
        IllegalArgumentException.class, () -> new TransformerDecoder(runtime, open, order, null));
    TransformerDecoder decoder = new TransformerDecoder(runtime, causal, order, null);
    DecoderState state = decoder.newState(arena, 1, 2, 3);
    Tensor x = Tensor.allocate(arena, DType.FLOAT32, 1, 1, DIM);
    assertThrows(IllegalStateException.class, () -> decoder.step(null, state, x, null, x));
    refused(
        "memory: expected",
        () ->
            decoder.remember(null, state, Tensor.allocate(arena, DType.FLOAT32, 1, 4, DIM), null));
  }
}
