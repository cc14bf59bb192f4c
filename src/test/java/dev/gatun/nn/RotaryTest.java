package dev.gatun.nn;

import static dev.gatun.nn.Layers.SEED;
import static dev.gatun.nn.Layers.refused;
import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import dev.gatun.Causal;
import dev.gatun.DType;
import dev.gatun.Tensor;
import dev.gatun.nn.Rotary.Pairing;
import dev.gatun.support.Placement;
import dev.gatun.support.Problem;
import java.lang.foreign.Arena;
import java.util.List;
import java.util.stream.Stream;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.EnumSource;
import org.junit.jupiter.params.provider.MethodSource;

/** Frequencies by the formulas and numbers of the papers, and what they turn. */
class RotaryTest {

  private final Arena arena = Arena.ofShared();
  private final Parts parts = new Parts(arena, SEED);

  @AfterEach
  void close() {
    arena.close();
  }

  // ---- frequencies ---------------------------------------------------------------------------

  static Stream<RotaryScaling> scalings() {
    return Stream.of(
        RotaryScaling.none(),
        new RotaryScaling.Linear(4),
        new RotaryScaling.Ntk(4),
        new RotaryScaling.NtkMixed(4, 1),
        new RotaryScaling.NtkMixed(4, 0.625),
        new RotaryScaling.Yarn(16, 4096),
        new RotaryScaling.Yarn(4, 600, 20, 3),
        new RotaryScaling.Yarn(2, 1_000_000), // with small bases every pair turns often
        new RotaryScaling.Yarn(2, 7), // the first turns once, the others do not
        new RotaryScaling.Llama3(8, 1, 4, 8192),
        new RotaryScaling.Llama3(32, 2, 3, 500));
  }

  /** By how often a pair turns in the original length, where that matters. */
  private static double formula(int i, int dim, double base, RotaryScaling scaling) {
    double plain = 1 / Math.pow(base, 2.0 * i / dim);
    return switch (scaling) {
      case RotaryScaling.None _ -> plain;
      case RotaryScaling.Linear linear -> plain / linear.factor();
      case RotaryScaling.NtkMixed mixed ->
          plain
              * Math.exp(-Math.log(mixed.factor()) * Math.pow(2.0 * (i + 1) / dim, mixed.power()));
      case RotaryScaling.Ntk ntk -> plain * Math.pow(ntk.factor(), -2.0 * i / (dim - 2));
      case RotaryScaling.Yarn yarn -> {
        // From the last pair with betaFast turns or more to the first with betaSlow or fewer,
        // which Hugging Face looks for up to dim - 1.
        int low = 0;
        while (low + 1 < dim && turns(low + 1, dim, base, yarn) >= yarn.betaFast()) {
          low++;
        }
        int high = 0;
        while (high < dim - 1 && turns(high, dim, base, yarn) > yarn.betaSlow()) {
          high++;
        }
        double ramp = low == high ? (i > low ? 1 : 0) : (double) (i - low) / (high - low);
        double share = Math.min(1, Math.max(0, ramp));
        yield plain * (1 - share) + plain / yarn.factor() * share;
      }
      case RotaryScaling.Llama3 llama -> {
        double turns = llama.originalPositions() * plain / (2 * Math.PI);
        double share = (turns - llama.low()) / (llama.high() - llama.low());
        double bounded = Math.min(1, Math.max(0, share));
        yield plain * bounded + plain / llama.factor() * (1 - bounded);
      }
    };
  }

  private static double turns(int i, int dim, double base, RotaryScaling.Yarn yarn) {
    return yarn.originalPositions() / Math.pow(base, 2.0 * i / dim) / (2 * Math.PI);
  }

  @ParameterizedTest
  @MethodSource("scalings")
  void formulas(RotaryScaling scaling) {
    for (int dim : new int[] {4, 30, 64, 128}) {
      for (double base : new double[] {100, 10_000, 500_000}) {
        double[] got = Rotary.frequencies(dim, base, scaling);
        assertEquals(dim / 2, got.length);
        for (int i = 0; i < got.length; i++) {
          double want = formula(i, dim, base, scaling);
          assertEquals(want, got[i], 1e-12 * want, "pair %d of %d".formatted(i, dim));
        }
      }
    }
  }

  /** Pairs and their frequencies, of heads of 128. */
  private static void assertPairs(String want, double base, RotaryScaling scaling) {
    double[] got = Rotary.frequencies(128, base, scaling);
    for (String pair : want.split(" ")) {
      int i = Integer.parseInt(pair.substring(0, pair.indexOf('=')));
      double frequency = Double.parseDouble(pair.substring(pair.indexOf('=') + 1));
      assertEquals(frequency, got[i], 1e-12 * frequency, "pair " + i);
    }
  }

  /** By NumPy. */
  @Test
  void numbersOfPublishedModels() {
    // LLaMA, then with four times the positions.
    assertPairs(
        "0=1 1=0.8659643233600653 32=0.01 63=0.00011547819846894582", 10_000, RotaryScaling.none());
    assertPairs(
        "0=0.25 1=0.21649108084001634 32=0.0025 63=2.8869549617236455e-05",
        10_000,
        new RotaryScaling.Linear(4));
    assertPairs(
        "0=1 1=0.8471171851512068 32=0.004945289840680367 63=2.8869549617236452e-05",
        10_000,
        new RotaryScaling.Ntk(4));
    // YaRN's LLaMA 2 of 64k: a ramp from pair 20 to pair 46. Qwen 2.5 of 128k: from 23 to 40.
    assertPairs(
        "1=0.8659643233600653 20=0.056234132519034905 21=0.046940859997959404"
            + " 30=0.00852684377296741 45=0.00015177160473182487 46=8.334508951020775e-05"
            + " 63=7.217387404309114e-06",
        10_000,
        new RotaryScaling.Yarn(16, 4096));
    assertPairs(
        "1=0.8058421877614819 23=0.006978305848598663 24=0.005375321490790102"
            + " 30=0.0010643609812470017 39=6.490394320837029e-05 40=4.445698525097307e-05"
            + " 63=3.102344401879299e-07",
        1_000_000,
        new RotaryScaling.Yarn(4, 32_768, 32, 1));
    // Llama 3.1: pairs 29 to 34 have wavelengths of 2048 to 8192.
    assertPairs(
        "1=0.8146172338565447 20=0.016560440080994446 28=0.0032114459947525913"
            + " 29=0.002166570763503359 31=0.0008567514129196324 33=0.00031269375038406517"
            + " 34=0.00017850781276799638 35=9.556212353964683e-05 63=3.068925988914511e-07",
        500_000,
        new RotaryScaling.Llama3(8, 1, 4, 8192));
  }

  // ---- tables --------------------------------------------------------------------------------

  @ParameterizedTest
  @MethodSource("scalings")
  void tablesHoldTheAngles(RotaryScaling scaling) {
    Rotary rotary = Rotary.of(arena, 300, 12, 10_000, Pairing.HALVES, scaling);
    assertEquals(300, rotary.positions());
    assertEquals(12, rotary.dim());
    assertEquals(Pairing.HALVES, rotary.pairing());
    assertArrayEquals(new long[] {300, 6}, rotary.cos().shape());
    // YaRN's attention factor, 0.1 ln(factor) + 1.
    double magnitude =
        scaling instanceof RotaryScaling.Yarn yarn
            ? switch ((int) yarn.factor()) {
              case 2 -> 1.0693147180559945;
              case 4 -> 1.138629436111989;
              default -> 1.2772588722239782;
            }
            : 1;
    for (int p = 0; p < 300; p++) {
      for (int i = 0; i < 6; i++) {
        double angle = p * formula(i, 12, 10_000, scaling);
        assertEquals(magnitude * Math.cos(angle), rotary.cos().getFloat(p, i), 1e-7);
        assertEquals(magnitude * Math.sin(angle), rotary.sin().getFloat(p, i), 1e-7);
      }
    }
  }

  // ---- what is turned ------------------------------------------------------------------------

  /** Turns heads of rows in place, from position {@code at} of each sequence on. */
  private static void turn(
      float[] rows, int seq, int heads, int headDim, int dim, double base, Pairing pairing) {
    for (int row = 0; row < rows.length / (heads * headDim); row++) {
      for (int h = 0; h < heads; h++) {
        int head = (row * heads + h) * headDim;
        for (int i = 0; i < dim / 2; i++) {
          int a = head + (pairing == Pairing.HALVES ? i : 2 * i);
          int b = head + (pairing == Pairing.HALVES ? i + dim / 2 : 2 * i + 1);
          double angle = row % seq / Math.pow(base, 2.0 * i / dim);
          double x = rows[a];
          double y = rows[b];
          rows[a] = (float) (x * Math.cos(angle) - y * Math.sin(angle));
          rows[b] = (float) (y * Math.cos(angle) + x * Math.sin(angle));
        }
      }
    }
  }

  /**
   * Keys and values of x, as a decoder's cache has them: both weights are the identity.
   *
   * @return {@code [batch, seq, 2, dim / 2]} each
   */
  private TensorCache cached(Rotary rotary, Tensor x, int... steps) {
    int dim = (int) x.size(2);
    Tensor identity = parts.zeros(dim, dim);
    for (int i = 0; i < dim; i++) {
      identity.setFloat(1, i, i);
    }
    TransformerLayer layer =
        new TransformerLayer(
            parts
                .attention(Causal.BOTTOM_RIGHT, dim, dim, dim)
                .positions(PositionalEncoding.rotary(rotary))
                .key(identity, null)
                .value(identity, null)
                .build(),
            parts.norm(dim),
            parts.feedForward(dim, dim),
            parts.norm(dim));
    TransformerDecoder decoder =
        new TransformerDecoder(parts.runtime, List.of(layer), NormOrder.POST, null);
    int batch = (int) x.size(0);
    int seq = (int) x.size(1);
    TensorCache cache = new TensorCache(arena, 1, batch, seq, 2, dim / 2, dim / 2);
    DecoderState state = decoder.newState(arena, cache, 0);
    int done = 0;
    for (int step : steps) {
      Tensor part = parts.zeros(batch, step, dim);
      part.copyFrom(x.slice(1, done, done + step));
      decoder.step(null, state, part, null, part);
      done += step;
    }
    return cache;
  }

  /** Elements after dim and values stay to the bit. */
  @ParameterizedTest
  @EnumSource(Pairing.class)
  void pairsOfKeysAreTurned(Pairing pairing) {
    for (int dim : new int[] {2, 6, 8}) {
      Rotary rotary = Rotary.of(arena, 20, dim, 100, pairing, RotaryScaling.none());
      Tensor x = parts.normal(2, 9, 16);
      TensorCache cache = cached(rotary, x, 4, 1, 4);
      float[] want = x.toFloatArray();
      turn(want, 9, 2, 8, dim, 100, pairing);
      float[] got = cache.keys(0).toFloatArray();
      float[] before = x.toFloatArray();
      for (int n = 0; n < got.length; n++) {
        if (n % 8 < dim) {
          assertEquals(want[n], got[n], 1e-6, "element " + n);
        } else {
          assertEquals(before[n], got[n], "element " + n);
        }
      }
      assertArrayEquals(before, cache.values(0).toFloatArray());
    }
  }

  @ParameterizedTest
  @EnumSource(Pairing.class)
  void inAttention(Pairing pairing) {
    for (int dim : new int[] {4, 10}) {
      PositionalEncoding encoding =
          PositionalEncoding.rotary(Rotary.of(arena, 20, dim, 1000, pairing, RotaryScaling.none()));
      for (Causal causal : Causal.values()) {
        for (int[] seq : new int[][] {{9, 9}, {1, 13}, {5, 12}, {12, 5}}) {
          parts.checkAttention(
              encoding,
              new Problem(2, 4, 2, seq[0], seq[1], 10, 7).causal(causal),
              seq[0] == seq[1],
              p -> {
                turn(p.q, p.seqQ, 4, 10, dim, 1000, pairing);
                turn(p.k, p.seqK, 2, 10, dim, 1000, pairing);
              });
        }
      }
    }
  }

  /** The point of it: a score of a query and a key depends on their distance alone. */
  @ParameterizedTest
  @EnumSource(Pairing.class)
  void scoresDependOnTheDistance(Pairing pairing) {
    int seq = 40;
    Rotary rotary = Rotary.of(arena, seq, 8, 1000, pairing, new RotaryScaling.Yarn(4, 100));
    Tensor x = parts.zeros(2, seq, 16);
    for (int b = 0; b < 2; b++) {
      float[] same = Layers.draw(parts.random, 16, 1);
      for (int s = 0; s < seq; s++) {
        x.select(0, b).select(0, s).copyFrom(same);
      }
    }
    Tensor keys = cached(rotary, x, seq).keys(0);
    double[] scores = new double[2 * seq - 1]; // of each distance, from position 0
    for (int n = 0; n < seq; n++) {
      scores[seq - 1 + n] = dot(keys, n, 0);
      scores[seq - 1 - n] = dot(keys, 0, n);
    }
    for (int q = 0; q < seq; q++) {
      for (int k = 0; k < seq; k++) {
        assertEquals(scores[seq - 1 + q - k], dot(keys, q, k), 1e-5, q + " and " + k);
      }
    }
    double most = Stream.of(1, 2, 5).mapToDouble(n -> scores[seq - 1 + n]).max().orElseThrow();
    assertTrue(Math.abs(most - scores[seq - 1]) > 0.01, "distances are told apart");
  }

  private static double dot(Tensor keys, int a, int b) {
    double sum = 0;
    for (int i = 0; i < 8; i++) {
      sum += (double) keys.getFloat(0, a, 0, i) * keys.getFloat(1, b, 0, i);
    }
    return sum;
  }

  // ---- refusals ------------------------------------------------------------------------------

  private Rotary of(int positions, int dim, double base) {
    return Rotary.of(arena, positions, dim, base, Pairing.HALVES, RotaryScaling.none());
  }

  @Test
  void refusals() {
    refused("positions:", () -> of(0, 4, 100));
    refused("positions: expected at most 16777215 of 128 ", () -> of(1 << 25, 256, 100));
    for (int dim : new int[] {0, -2, 1, 7}) {
      refused("dim: expected an even number >= 2, got " + dim, () -> of(3, dim, 100));
    }
    for (double bad : new double[] {1, 0, -5, Double.NaN, Double.POSITIVE_INFINITY}) {
      refused("base:", () -> of(3, 4, bad));
    }
    for (double bad : new double[] {0.99, 0, -2, Double.NaN, Double.POSITIVE_INFINITY}) {
      refused("factor:", () -> new RotaryScaling.Linear(bad));
      refused("factor:", () -> new RotaryScaling.Ntk(bad));
      refused("factor:", () -> new RotaryScaling.NtkMixed(bad, 1));
      refused("factor:", () -> new RotaryScaling.Yarn(bad, 100));
      refused("factor:", () -> new RotaryScaling.Llama3(bad, 1, 4, 100));
    }
    refused("originalPositions:", () -> new RotaryScaling.Yarn(2, 0));
    refused("originalPositions:", () -> new RotaryScaling.Llama3(2, 1, 4, -1));
    refused("betaFast, betaSlow:", () -> new RotaryScaling.Yarn(2, 100, 1, 1));
    refused("betaFast, betaSlow:", () -> new RotaryScaling.Yarn(2, 100, 32, 0));
    refused("betaFast, betaSlow:", () -> new RotaryScaling.Yarn(2, 100, Double.NaN, 1));
    refused("low, high:", () -> new RotaryScaling.Llama3(2, 4, 4, 100));
    refused("low, high:", () -> new RotaryScaling.Llama3(2, 0, 4, 100));
    refused("low, high:", () -> new RotaryScaling.Llama3(2, 1, Double.NaN, 100));
    refused("dim:", () -> Rotary.frequencies(5, 100, RotaryScaling.none()));
    refused("base:", () -> Rotary.frequencies(4, 1, RotaryScaling.none()));
    refused(
        "positions: expected rotary of at most 4 elements (a head), got 6",
        () ->
            parts
                .attention(Causal.NONE, 8, 8, 8)
                .positions(PositionalEncoding.rotary(of(5, 6, 100)))
                .build());
    assertThrows(
        NullPointerException.class, () -> Rotary.of(arena, 3, 4, 100, null, RotaryScaling.none()));
    assertThrows(
        NullPointerException.class, () -> Rotary.of(arena, 3, 4, 100, Pairing.HALVES, null));
  }

  @Test
  void positionsEnd() {
    MultiHeadAttention attention =
        parts
            .attention(Causal.NONE, 8, 8, 8)
            .positions(PositionalEncoding.rotary(of(5, 4, 100)))
            .build();
    Placement.Placed placed = Placement.BSHD.empty(arena, 1, 5, 1, 8);
    Tensor out = Layers.sequences(placed);
    Tensor five = parts.zeros(1, 5, 8);
    Tensor six = parts.zeros(1, 6, 8);
    String most = ": expected at most 5 positions, got 6";
    refused("memory" + most, () -> attention.forward(null, five, null, six, null, out));
    refused(
        "x" + most, () -> attention.forward(six, Tensor.allocate(arena, DType.FLOAT32, 1, 6, 8)));
    placed.checkUntouched();
    attention.forward(five, out);
  }
}
