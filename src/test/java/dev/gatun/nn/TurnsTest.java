package dev.gatun.nn;

import static dev.gatun.nn.Layers.SEED;
import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertSame;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import dev.gatun.Activation;
import dev.gatun.Causal;
import dev.gatun.Tensor;
import java.lang.foreign.Arena;
import java.util.ArrayList;
import java.util.List;
import java.util.concurrent.CountDownLatch;
import java.util.concurrent.atomic.AtomicInteger;
import java.util.concurrent.atomic.AtomicReference;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.Timeout;
import org.junit.jupiter.api.function.Executable;

/**
 * What a state has after a turn, scores that nothing can be chosen by, and states that are in use.
 */
@Timeout(60)
class TurnsTest {

  private static final int VOCABULARY = 11;

  private final Arena arena = Arena.ofShared();
  private final Parts parts = new Parts(arena, SEED);
  private final DecoderOnlyModel model = parts.model(VOCABULARY);
  private final DecoderState state = model.newState(arena, 1, 24);
  private final Generator generator = new Generator(model, state, null, arena);

  @AfterEach
  void close() {
    arena.close();
  }

  // ---- turns -----------------------------------------------------------------------------------

  /** What comes next after a state, and after all tokens in one pass. */
  private void sameAsOnePass(DecoderState after, int... tokens) {
    assertEquals(tokens.length, after.length(0));
    DecoderState fresh = model.newState(arena, 1, 24);
    Tensor want = parts.zeros(1, VOCABULARY);
    Tensor got = parts.zeros(1, VOCABULARY);
    int[] all = java.util.Arrays.copyOf(tokens, tokens.length + 1);
    all[tokens.length] = 4;
    model.next(null, fresh, parts.ids(all), null, want);
    model.next(null, after, parts.ids(4), null, got);
    Layers.checkClose(Layers.doubles(want), got.toFloatArray(), 2e-5);
  }

  private static int[] join(int[]... parts) {
    return java.util.Arrays.stream(parts).flatMapToInt(java.util.Arrays::stream).toArray();
  }

  @Test
  void twoTurnsAreOnePass() {
    for (Sampling sampling : new Sampling[] {Sampling.greedy(), new Sampling(2, 5, 0.9, 3)}) {
      state.reset();
      int[] prompt = {1, 2, 3};
      int[] first = generator.generate(parts.ids(prompt), 4, -1, sampling);
      assertEquals(4, first.length);
      assertEquals(7, state.length(0), "3 of the prompt and 4 of the answer");
      int[] again = {5, 6};
      int[] second = generator.generate(parts.ids(again), 3, -1, sampling);
      sameAsOnePass(state, join(prompt, first, again, second));
    }
  }

  @Test
  void theEndTokenIsOfTheTurn() {
    int[] all = generator.generate(parts.ids(1, 2), 8, -1, new Sampling(2, 0, 1, 5));
    state.reset();
    int end = all[3];
    int[] tokens = generator.generate(parts.ids(1, 2), 8, end, new Sampling(2, 0, 1, 5));
    assertEquals(end, tokens[tokens.length - 1]);
    sameAsOnePass(state, join(new int[] {1, 2}, tokens));
  }

  @Test
  void aSinkThatStopsOrThrows() {
    for (boolean throwing : new boolean[] {false, true}) {
      for (int after : new int[] {1, 3}) {
        state.reset();
        List<Integer> got = new ArrayList<>();
        IllegalCallerException mine = new IllegalCallerException("mine");
        Executable turn =
            () ->
                generator.generate(
                    parts.ids(1, 2),
                    6,
                    Sampling.greedy(),
                    token -> {
                      got.add(token);
                      if (throwing && got.size() == after) {
                        throw mine;
                      }
                      return got.size() < after;
                    });
        if (throwing) {
          assertSame(mine, assertThrows(IllegalCallerException.class, turn));
        } else {
          try {
            turn.execute();
          } catch (Throwable e) {
            throw new AssertionError(e);
          }
        }
        assertEquals(after, got.size());
        sameAsOnePass(
            state, join(new int[] {1, 2}, got.stream().mapToInt(token -> token).toArray()));
      }
    }
  }

  /** The state has room for the prompt and 3 more: 4 tokens come, and the last has no place. */
  @Test
  void theLastTokenOfAFullState() {
    DecoderState small = model.newState(arena, 1, 5);
    int[] tokens =
        new Generator(model, small, null, arena)
            .generate(parts.ids(1, 2), 9, -1, Sampling.greedy());
    assertEquals(4, tokens.length);
    assertEquals(5, small.length(0));
  }

  @Test
  void aBeamSearchLeavesNothing() {
    DecoderState beams = model.newState(arena, 3, 24);
    BeamSearch search = new BeamSearch(model, beams, null, arena, 0.6);
    search.search(parts.ids(1, 2), 5, 0);
    for (int n = 0; n < 3; n++) {
      assertEquals(0, beams.length(n));
    }
    assertThrows(IllegalArgumentException.class, () -> search.search(parts.ids(1, 99), 5, 0));
    assertEquals(0, beams.length(0));
  }

  // ---- scores
  // ------------------------------------------------------------------------------------

  /** A model whose logits are the bias of its output, whatever its tokens are. */
  private DecoderOnlyModel scoring(float... scores) {
    Tensor bias = Tensor.copyOf(arena, scores, scores.length);
    return new DecoderOnlyModel(
        parts.runtime,
        new Embedding(parts.runtime, parts.normal(scores.length, 16), 1, PositionalEncoding.none()),
        new TransformerDecoder(
            parts.runtime,
            List.of(parts.layer(Causal.BOTTOM_RIGHT, 16, false)),
            NormOrder.PRE,
            null),
        new Linear(parts.runtime, parts.zeros(16, scores.length), bias, Activation.NONE));
  }

  private static final float NO = Float.NEGATIVE_INFINITY;

  private static final Sampling[] SAMPLINGS = {
    Sampling.greedy(),
    new Sampling(1, 0, 1, 1),
    new Sampling(1, 3, 1, 1),
    new Sampling(1, 0, 0.5, 1),
    new Sampling(1, 3, 0.9, 1)
  };

  private void refusedScores(String message, float... scores) {
    DecoderOnlyModel bad = scoring(scores);
    DecoderState own = bad.newState(arena, 1, 8);
    Generator of = new Generator(bad, own, null, arena);
    for (Sampling sampling : SAMPLINGS) {
      own.reset();
      Executable turn = () -> of.generate(parts.ids(0, 1), 3, -1, sampling);
      String got = assertThrows(IllegalStateException.class, turn).getMessage();
      assertEquals("logits of sequence 0, step 0: " + message, got);
      assertEquals(2, own.length(0), "the prompt");
    }
    BeamSearch search = new BeamSearch(bad, bad.newState(arena, 2, 8), null, arena, 0);
    Executable found = () -> search.search(parts.ids(0, 1), 3, -1);
    assertEquals(
        "logits of beam 0, step 0: " + message,
        assertThrows(IllegalStateException.class, found).getMessage());
  }

  @Test
  void scoresThatAreRefused() {
    refusedScores("expected scores below infinity, got NaN for token 2", 0, 1, Float.NaN, 3);
    refusedScores("expected scores below infinity, got NaN for token 0", Float.NaN, 1, 2, 3);
    refusedScores(
        "expected scores below infinity, got Infinity for token 3",
        0,
        NO,
        0,
        Float.POSITIVE_INFINITY);
    refusedScores(
        "expected a score above -Infinity, got -Infinity for all 4 tokens", NO, NO, NO, NO);
  }

  /** Tokens of −∞ never come: not as the last that is left after rounding, nor as a beam. */
  @Test
  void maskedTokensNeverCome() {
    DecoderOnlyModel masked = scoring(NO, 0.3f, NO, 0.1f, NO, 0.2f, NO);
    DecoderState own = masked.newState(arena, 1, 12);
    Generator of = new Generator(masked, own, null, arena);
    for (int seed = 0; seed < 50; seed++) {
      for (Sampling s : SAMPLINGS) {
        own.reset();
        Sampling sampling = new Sampling(s.temperature(), s.topK() * 2, s.topP(), seed);
        for (int token : of.generate(parts.ids(1), 10, -1, sampling)) {
          assertEquals(1, token % 2, "token " + token);
        }
      }
    }
    // More beams than tokens that can come.
    DecoderOnlyModel one = scoring(NO, NO, 1, NO);
    BeamSearch search = new BeamSearch(one, one.newState(arena, 3, 8), null, arena, 0);
    List<BeamSearch.Hypothesis> texts = search.search(parts.ids(2), 3, -1);
    assertEquals(1, texts.size());
    assertArrayEquals(new int[] {2, 2, 2}, texts.getFirst().tokens());
    assertEquals(0, texts.getFirst().logProbability(), 1e-6);
  }

  // ---- one call at a time
  // ------------------------------------------------------------------------

  private static void inUse(Executable call) {
    String message = assertThrows(IllegalStateException.class, call).getMessage();
    assertTrue(message.contains("is in use by another call"), message);
  }

  /**
   * While a turn waits in its sink, nothing else may use the state, of this thread or another's.
   */
  @Test
  void duringATurnTheStateIsInUse() throws InterruptedException {
    CountDownLatch handed = new CountDownLatch(1);
    CountDownLatch goOn = new CountDownLatch(1);
    AtomicReference<int[]> got = new AtomicReference<>();
    int[] want = generator.generate(parts.ids(1, 2), 5, -1, Sampling.greedy());
    state.reset();
    Thread turn =
        new Thread(
            () -> {
              List<Integer> tokens = new ArrayList<>();
              generator.generate(
                  parts.ids(1, 2),
                  5,
                  Sampling.greedy(),
                  token -> {
                    tokens.add(token);
                    handed.countDown();
                    try {
                      goOn.await();
                    } catch (InterruptedException e) {
                      throw new AssertionError(e);
                    }
                    return true;
                  });
              got.set(tokens.stream().mapToInt(token -> token).toArray());
            });
    turn.start();
    handed.await();
    Tensor logits = parts.zeros(1, VOCABULARY);
    Tensor token = parts.ids(3);
    inUse(() -> model.next(null, state, token, null, logits));
    inUse(() -> model.forward(null, state, token, null, logits.reshape(1, 1, VOCABULARY)));
    inUse(() -> generator.generate(token, 1, -1, Sampling.greedy()));
    inUse(() -> new Generator(model, state, null, arena).generate(token, 1, -1, Sampling.greedy()));
    inUse(() -> new BeamSearch(model, state, null, arena, 0).search(token, 1, -1));
    inUse(
        () ->
            model.decoder().step(null, state, parts.normal(1, 1, 16), null, parts.zeros(1, 1, 16)));
    inUse(state::reset);
    inUse(() -> state.truncate(1));
    inUse(() -> state.select(0));
    assertEquals(2, state.length(0), "reading is allowed");
    goOn.countDown();
    turn.join();
    assertArrayEquals(want, got.get());
    assertEquals(7, state.length(0));
    state.reset();
  }

  @Test
  void aSinkCannotChangeTheState() {
    inUse(
        () ->
            generator.generate(
                parts.ids(1, 2),
                5,
                Sampling.greedy(),
                token -> {
                  state.reset();
                  return true;
                }));
    assertEquals(3, state.length(0), "the token that was handed over is there");
    state.reset();
  }

  /** Each call is done or refused; none is lost. */
  @Test
  void noTokenIsLost() throws InterruptedException {
    DecoderOnlyModel large = parts.model(50);
    DecoderState shared = large.newState(arena, 1, 32);
    AtomicInteger done = new AtomicInteger();
    AtomicInteger refused = new AtomicInteger();
    AtomicReference<Throwable> failure = new AtomicReference<>();
    for (int round = 0; round < 40; round++) {
      shared.reset();
      done.set(0);
      CountDownLatch start = new CountDownLatch(1);
      Thread[] threads = new Thread[4];
      for (int t = 0; t < threads.length; t++) {
        Tensor logits = parts.zeros(1, 50);
        Tensor token = parts.ids(t);
        threads[t] =
            new Thread(
                () -> {
                  try {
                    start.await();
                    for (int n = 0; n < 8; n++) {
                      try {
                        large.next(null, shared, token, null, logits);
                        done.incrementAndGet();
                      } catch (IllegalStateException e) {
                        refused.incrementAndGet();
                      }
                    }
                  } catch (Throwable e) {
                    failure.set(e);
                  }
                });
        threads[t].start();
      }
      start.countDown();
      for (Thread thread : threads) {
        thread.join();
      }
      assertSame(null, failure.get());
      assertEquals(done.get(), shared.length(0), "round " + round);
    }
  }

  /** Two states over one cache: their threads may take turns, but not meet. */
  @Test
  void aCacheIsUsedByOneCallAtATime() {
    TensorCache cache = new TensorCache(arena, 2, 1, 12, 2, 8, 8);
    DecoderState one = model.decoder().newState(arena, cache, 0);
    DecoderState other = model.decoder().newState(arena, cache, 0);
    Generator of = new Generator(model, one, null, arena);
    Tensor logits = parts.zeros(1, VOCABULARY);
    inUse(
        () ->
            of.generate(
                parts.ids(1, 2),
                5,
                Sampling.greedy(),
                token -> {
                  inUse(() -> cache.select(new int[] {0}, 1));
                  model.next(null, other, parts.ids(3), null, logits);
                  return true;
                }));
    assertEquals(0, other.length(0));
    model.next(null, other, parts.ids(3), null, logits); // later it is free again
    cache.select(new int[] {0}, 1);
  }
}
