package dev.gatun.nn;

import static dev.gatun.nn.Layers.SEED;
import static dev.gatun.nn.Layers.refused;

import dev.gatun.Activation;
import dev.gatun.Tensor;
import dev.gatun.support.Run;
import java.lang.foreign.Arena;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.Test;

/** Types of tokens beside their ids, and the heads that models of pairs of texts have. */
class TokenTypesTest {
  private static final int DIM = 12;
  private static final int TOKENS = 7;
  private static final int[] ID_NUMBERS = {3, 0, 8, 6, 1, 5, 2};
  private static final int[] TYPE_NUMBERS = {0, 0, 2, 1, 0, 2, 1};

  /** Three floats of up to 5 are added, or products of some 12 of them. */
  private static final double BOUND = 1e-5;

  private final Arena arena = Arena.ofShared();
  private final Parts parts = new Parts(arena, SEED);
  private final Tensor table = parts.normal(9, DIM);
  private final Tensor types = parts.normal(3, DIM);
  private final Tensor ids = ints(ID_NUMBERS);
  private final Tensor typeIds = ints(TYPE_NUMBERS);
  private final Tensor offsets = ints(0, 4, 7);

  @AfterEach
  void close() {
    arena.close();
  }

  private Tensor ints(int... numbers) {
    return Tensor.copyOf(arena, numbers, numbers.length);
  }

  private Embedding embedding(PositionalEncoding encoding, Tensor types) {
    return new Embedding(parts.runtime, table, 1, encoding, types, null);
  }

  private TextEncoder encoder() {
    return new TextEncoder(
        "types",
        parts.runtime,
        embedding(PositionalEncoding.learned(parts.normal(8, DIM)), types),
        parts.encoder(DIM));
  }

  @Test
  void eachTokenGetsTheRowOfItsType() {
    Tensor positions = parts.normal(8, DIM);
    for (Tensor places : new Tensor[] {null, positions}) {
      Embedding embedding =
          embedding(
              places == null ? PositionalEncoding.none() : PositionalEncoding.learned(places),
              types);
      Tensor out = parts.zeros(TOKENS, DIM);
      embedding.forward(null, ids, typeIds, Sequences.ragged(offsets), out);
      double[] want = new double[TOKENS * DIM];
      for (int n = 0; n < TOKENS; n++) {
        for (int i = 0; i < DIM; i++) {
          want[n * DIM + i] =
              (double) table.getFloat(ID_NUMBERS[n], i)
                  + types.getFloat(TYPE_NUMBERS[n], i)
                  + (places == null ? 0 : places.getFloat(n < 4 ? n : n - 4, i));
        }
      }
      Layers.checkClose(want, out.toFloatArray(), BOUND);
    }
  }

  @Test
  void noneIsRowZero() {
    TextEncoder encoder = encoder();
    Tensor without = parts.zeros(TOKENS, DIM);
    Tensor zeros = parts.zeros(TOKENS, DIM);
    encoder.forward(null, ids, Sequences.ragged(offsets), without);
    encoder.forward(null, ids, ints(0, 0, 0, 0, 0, 0, 0), Sequences.ragged(offsets), zeros);
    Run.checkSameBits(without.toFloatArray(), zeros.toFloatArray(), "row 0");
  }

  @Test
  void classifierIsItsLayersOnFirstTokens() {
    TextEncoder encoder = encoder();
    Tensor w1 = parts.matrix(DIM, 5);
    Tensor w2 = parts.matrix(5, 3);
    Tensor b1 = parts.normal(5);
    Tensor b2 = parts.normal(3);
    SequenceClassifier model =
        new SequenceClassifier(
            encoder,
            new Linear(parts.runtime, w1, b1, Activation.NONE),
            true,
            new Linear(parts.runtime, w2, b2, Activation.NONE));
    Tensor hidden = parts.zeros(TOKENS, DIM);
    encoder.forward(null, ids, typeIds, Sequences.ragged(offsets), hidden);
    double[] first = new double[2 * DIM];
    for (int i = 0; i < DIM; i++) {
      first[i] = hidden.getFloat(0, i);
      first[DIM + i] = hidden.getFloat(4, i);
    }
    double[] pooled = Layers.linear(first, w1, b1, Activation.NONE);
    for (int i = 0; i < pooled.length; i++) {
      pooled[i] = Math.tanh(pooled[i]);
    }
    Tensor out = parts.zeros(2, 3);
    model.forward(null, ids, typeIds, Sequences.ragged(offsets), out);
    Layers.checkClose(Layers.linear(pooled, w2, b2, Activation.NONE), out.toFloatArray(), BOUND);
  }

  @Test
  void scorerIsItsLayersOnAllTokens() {
    TextEncoder encoder = encoder();
    Tensor w1 = parts.matrix(DIM, 5);
    Tensor w2 = parts.matrix(5, 9);
    Tensor b1 = parts.normal(5);
    Tensor b2 = parts.normal(9);
    Tensor gamma = parts.normal(5);
    Tensor beta = parts.normal(5);
    TokenScorer model =
        new TokenScorer(
            encoder,
            new Linear(parts.runtime, w1, b1, Activation.GELU),
            new LayerNorm(parts.runtime, gamma, beta, 1e-3f),
            new Linear(parts.runtime, w2, b2, Activation.NONE));
    Tensor hidden = parts.zeros(TOKENS, DIM);
    encoder.forward(null, ids, typeIds, Sequences.ragged(offsets), hidden);
    double[] rows = Layers.linear(Layers.doubles(hidden), w1, b1, Activation.GELU);
    Parts.normalize(rows, gamma, beta, 1e-3);
    Tensor out = parts.zeros(TOKENS, 9);
    model.forward(null, ids, typeIds, Sequences.ragged(offsets), out);
    Layers.checkClose(Layers.linear(rows, w2, b2, Activation.NONE), out.toFloatArray(), 1e-4);
  }

  @Test
  void refusals() {
    Embedding plain = embedding(PositionalEncoding.none(), null);
    Embedding typed = embedding(PositionalEncoding.none(), types);
    Tensor out = parts.zeros(TOKENS, DIM);
    refused("typeIds: expected null", () -> plain.forward(null, ids, typeIds, null, out));
    refused(
        "typeIds[2]: expected 0 .. 2, got 3",
        () -> typed.forward(null, ids, ints(0, 0, 3, 0, 0, 0, 0), null, out));
    refused("typeIds: expected [7] int32", () -> typed.forward(null, ids, ints(0), null, out));
  }
}
