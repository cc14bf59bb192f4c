package dev.gatun.nn;

import static dev.gatun.nn.Layers.SEED;
import static dev.gatun.nn.Layers.refused;
import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertNull;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import dev.gatun.Causal;
import dev.gatun.DType;
import dev.gatun.Tensor;
import dev.gatun.support.Problem;
import java.lang.foreign.Arena;
import java.math.BigInteger;
import java.util.List;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.EnumSource;
import org.junit.jupiter.params.provider.ValueSource;

/** Encodings by the numbers of their papers, and what they do to attention. */
class PositionalEncodingTest {

  /** A value of at most 1, rounded to float. */
  private static final double ROUNDING = 0x1p-24;

  /** The first number of steps in each of T5's buckets: 32, up to 128 steps, in two directions. */
  private static final int[] ENCODER = {0, 1, 2, 3, 4, 5, 6, 7, 8, 12, 16, 23, 32, 46, 64, 91};

  /** In one direction. */
  private static final int[] DECODER = {
    0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16, 19, 21, 24, 27, 31, 35, 40, 46, 52,
    59, 67, 77, 87, 99, 113
  };

  private final Arena arena = Arena.ofShared();
  private final Parts parts = new Parts(arena, SEED);

  @AfterEach
  void close() {
    arena.close();
  }

  // ---- sinusoidal ----------------------------------------------------------------------------

  @ParameterizedTest
  @ValueSource(ints = {1, 2, 5, 64})
  void sinusoidalIsThePapers(int dim) {
    Tensor table = PositionalEncoding.sinusoidal(arena, 40, dim).table();
    assertArrayEquals(new long[] {40, dim}, table.shape());
    for (int p = 0; p < 40; p++) {
      for (int i = 0; 2 * i < dim; i++) {
        double angle = p * Math.exp(-2.0 * i / dim * Math.log(10_000));
        assertEquals(Math.sin(angle), table.getFloat(p, 2 * i), ROUNDING);
        if (2 * i + 1 < dim) {
          assertEquals(Math.cos(angle), table.getFloat(p, 2 * i + 1), ROUNDING);
        }
      }
    }
  }

  /** Of the base model, from another program. */
  @Test
  void sinusoidalOf512() {
    Tensor row = PositionalEncoding.sinusoidal(arena, 101, 512).table().select(0, 100);
    assertEquals(-0.5063656411097588, row.getFloat(0), ROUNDING);
    assertEquals(0.8623188722876839, row.getFloat(1), ROUNDING);
    assertEquals(0.7975423634034468, row.getFloat(2), ROUNDING);
    assertEquals(-0.6032629431490422, row.getFloat(3), ROUNDING);
    assertEquals(0.8414709848078965, row.getFloat(256), ROUNDING); // sin(100 / 10000^(1/2))
    assertEquals(0.5403023058681398, row.getFloat(257), ROUNDING);
    assertEquals(0.01036614362306455, row.getFloat(510), ROUNDING);
    assertEquals(0.9999462700897414, row.getFloat(511), ROUNDING);
  }

  /** Why the paper chose it: k positions further is one rotation, wherever it begins. */
  @Test
  void sinusoidalTurnsByTheDistance() {
    int dim = 12;
    Tensor table = PositionalEncoding.sinusoidal(arena, 60, dim).table();
    for (int k : new int[] {1, 7, 30}) {
      for (int i = 0; i < dim; i += 2) {
        double sin = Math.sin(k / Math.pow(10_000, (double) i / dim));
        double cos = Math.cos(k / Math.pow(10_000, (double) i / dim));
        for (int p = 0; p + k < 60; p++) {
          double s = table.getFloat(p, i);
          double c = table.getFloat(p, i + 1);
          assertEquals(s * cos + c * sin, table.getFloat(p + k, i), 3 * ROUNDING);
          assertEquals(c * cos - s * sin, table.getFloat(p + k, i + 1), 3 * ROUNDING);
        }
      }
    }
  }

  // ---- slopes --------------------------------------------------------------------------------

  private void assertSlopes(String numbers) {
    String[] want = numbers.split(" ");
    Tensor slopes = PositionalEncoding.alibi(arena, want.length).slopes();
    assertArrayEquals(new long[] {want.length}, slopes.shape());
    for (int h = 0; h < want.length; h++) {
      assertEquals(Float.parseFloat(want[h]), slopes.getFloat(h), "head " + h);
    }
  }

  @Test
  void slopesOfPowersOfTwo() {
    assertSlopes("0.00390625");
    assertSlopes("0.0625 0.00390625");
    assertSlopes("0.5 0.25 0.125 0.0625 0.03125 0.015625 0.0078125 0.00390625");
    assertSlopes(
        "0.70710678118 0.5 0.35355339059 0.25 0.17677669530 0.125 0.08838834765 0.0625"
            + " 0.04419417382 0.03125 0.02209708691 0.015625 0.01104854346 0.0078125"
            + " 0.00552427173 0.00390625");
  }

  /** The next lower power's, then every other one of the next higher. */
  @Test
  void slopesOfOtherNumbers() {
    assertSlopes("0.0625 0.00390625 0.25");
    assertSlopes(
        "0.5 0.25 0.125 0.0625 0.03125 0.015625 0.0078125 0.00390625 0.70710678118"
            + " 0.35355339059 0.17677669530 0.08838834765");
  }

  // ---- buckets -------------------------------------------------------------------------------

  /** The last bucket that begins at this many steps or before. */
  private static int bucket(int[] first, int distance, boolean bidirectional) {
    int steps = bidirectional ? Math.abs(distance) : Math.max(-distance, 0);
    int n = first.length - 1;
    while (first[n] > steps) {
      n--;
    }
    return n + (bidirectional && distance > 0 ? first.length : 0);
  }

  @ParameterizedTest
  @ValueSource(booleans = {true, false})
  void bucketsOfT5(boolean bidirectional) {
    int[] first = bidirectional ? ENCODER : DECODER;
    for (int distance = -1000; distance <= 1000; distance++) {
      assertEquals(
          bucket(first, distance, bidirectional),
          PositionalEncoding.bucket(distance, 32, 128, bidirectional),
          "distance " + distance);
    }
  }

  /**
   * {@code exact + floor(n · log(steps / exact) / log(most / exact))}, n the buckets that are not
   * exact, decided without a logarithm by powers of whole numbers. T5 computes in single precision,
   * which agrees but where a step is a threshold itself: there it may fall short by one. With T5's
   * sizes it does not; with 24 buckets from 24 to 81 steps it does at 24 · (81/24)^(8/24) = 36 and
   * at 54, in PyTorch as here.
   */
  @Test
  void bucketsOfWholeNumbers() {
    int ties = 0;
    for (boolean bidirectional : new boolean[] {true, false}) {
      for (int buckets : new int[] {4, 8, 20, 32, 48, 64}) {
        for (int most : new int[] {33, 50, 64, 81, 100, 128, 256}) {
          int count = bidirectional ? buckets / 2 : buckets;
          int exact = count / 2;
          for (int steps = exact; steps <= most + 2; steps++) {
            // (steps / exact)^n >= (most / exact)^k, both sides times exact^(n + k)
            int n = count - exact;
            int k = 0;
            int order = 1;
            while (k < n && order >= 0) {
              k++;
              order = power(steps, n, exact, k).compareTo(power(most, k, exact, n));
            }
            int want = exact + Math.min(order < 0 ? k - 1 : k, n - 1);
            int got = PositionalEncoding.bucket(-steps, buckets, most, bidirectional);
            String what = "%d steps, %d buckets to %d".formatted(steps, buckets, most);
            int below = want - exact;
            boolean tie = power(steps, n, exact, below).equals(power(most, below, exact, n));
            if (tie && below > 0 && got == want - 1) {
              ties++;
              assertTrue(buckets != 32 || most != 128, what);
            } else {
              assertEquals(want, got, what);
            }
          }
        }
      }
    }
    assertEquals(2, ties);
    assertEquals(24 + 8 - 1, PositionalEncoding.bucket(-36, 48, 81, false));
    assertEquals(24 + 16 - 1, PositionalEncoding.bucket(-54, 48, 81, false));
  }

  private static BigInteger power(int a, int m, int b, int n) {
    return BigInteger.valueOf(a).pow(m).multiply(BigInteger.valueOf(b).pow(n));
  }

  @ParameterizedTest
  @ValueSource(booleans = {true, false})
  void relativeHasABiasForEachDistance(boolean bidirectional) {
    Tensor table = parts.normal(3, 32).transpose(0, 1);
    Tensor biases =
        PositionalEncoding.relativePositions(arena, table, 128, bidirectional).distances();
    assertArrayEquals(new long[] {3, 257}, biases.shape());
    for (int h = 0; h < 3; h++) {
      for (int distance = -128; distance <= 128; distance++) {
        int bucket = bucket(bidirectional ? ENCODER : DECODER, distance, bidirectional);
        assertEquals(table.getFloat(bucket, h), biases.getFloat(h, 128 + distance));
      }
      assertEquals(table.getFloat(bidirectional ? 15 : 31, h), biases.getFloat(h, 0));
      assertEquals(table.getFloat(bidirectional ? 31 : 0, h), biases.getFloat(h, 256));
    }
    float before = biases.getFloat(1, 100);
    table.fill(Float.NaN);
    assertEquals(before, biases.getFloat(1, 100), "a copy");
  }

  // ---- in attention --------------------------------------------------------------------------

  private static Problem problem(Causal causal, int seqQ, int seqK) {
    return new Problem(2, 4, 2, seqQ, seqK, 6, 5).causal(causal);
  }

  @ParameterizedTest
  @EnumSource(Causal.class)
  void alibiInAttention(Causal causal) {
    PositionalEncoding encoding = PositionalEncoding.alibi(arena, 4);
    float[] slopes = {0.25f, 0.0625f, 0.015625f, 0.00390625f};
    for (int[] seq : new int[][] {{9, 9}, {1, 13}, {5, 12}, {12, 5}}) {
      Problem p = problem(causal, seq[0], seq[1]);
      p.slopes = slopes;
      parts.checkAttention(encoding, p, seq[0] == seq[1], _ -> {});
    }
    Problem ragged = problem(causal, 9, 9).keyLengths(4, 9).queryLengths(4, 9);
    ragged.slopes = slopes;
    parts.checkAttention(encoding, ragged, true, _ -> {});
  }

  /** 8 buckets up to 20 steps: 2 exact ones and 2 more in each direction, or 4 and 4 in one. */
  @ParameterizedTest
  @EnumSource(Causal.class)
  void relativeInAttention(Causal causal) {
    for (boolean bidirectional : new boolean[] {true, false}) {
      int[] first = bidirectional ? new int[] {0, 1, 2, 7} : new int[] {0, 1, 2, 3, 4, 6, 9, 14};
      Tensor table = parts.normal(8, 4);
      PositionalEncoding encoding =
          PositionalEncoding.relativePositions(arena, table, 20, bidirectional);
      for (int[] seq : new int[][] {{30, 30}, {1, 31}, {23, 31}, {31, 23}}) {
        Problem p = problem(causal, seq[0], seq[1]);
        p.span = 40; // wider than the encoding's, which shares a bias from 20 steps on
        p.relative = new float[4 * 81];
        for (int h = 0; h < 4; h++) {
          for (int distance = -40; distance <= 40; distance++) {
            p.relative[h * 81 + 40 + distance] =
                table.getFloat(bucket(first, distance, bidirectional), h);
          }
        }
        parts.checkAttention(encoding, p, seq[0] == seq[1], _ -> {});
      }
    }
  }

  // ---- limits and refusals -------------------------------------------------------------------

  @Test
  void positions() {
    Rotary rotary = Rotary.of(arena, 5, 2, 100, Rotary.Pairing.HALVES, RotaryScaling.none());
    Tensor table = parts.normal(7, 4);
    assertEquals(3, PositionalEncoding.sinusoidal(arena, 3, 4).positions());
    assertEquals(7, PositionalEncoding.learned(table).positions());
    assertEquals(5, PositionalEncoding.rotary(rotary).positions());
    for (PositionalEncoding endless :
        new PositionalEncoding[] {
          PositionalEncoding.none(),
          PositionalEncoding.alibi(arena, 2),
          PositionalEncoding.relativePositions(arena, parts.normal(4, 2), 20, true)
        }) {
      assertEquals(Integer.MAX_VALUE, endless.positions());
      assertNull(endless.table());
    }
    TransformerLayer layer =
        new TransformerLayer(
            parts
                .attention(Causal.NONE, 8, 8, 8)
                .positions(PositionalEncoding.rotary(rotary))
                .build(),
            parts.norm(8),
            parts.feedForward(8, 8),
            parts.norm(8));
    TransformerEncoder encoder =
        new TransformerEncoder(parts.runtime, List.of(layer), NormOrder.POST, null);
    Tensor five = parts.zeros(1, 5, 8);
    encoder.forward(null, five, null, five);
    Tensor six = parts.zeros(1, 6, 8);
    refused("x: expected at most 5 positions, got 6", () -> encoder.forward(null, six, null, six));
  }

  @Test
  void refusals() {
    refused("positions, dim:", () -> PositionalEncoding.sinusoidal(arena, 0, 4));
    refused("positions, dim:", () -> PositionalEncoding.sinusoidal(arena, 4, 0));
    refused(
        "positions: expected at most 524287 of 4096 ",
        () -> PositionalEncoding.sinusoidal(arena, 1 << 20, 4096));
    refused("table:", () -> PositionalEncoding.learned(parts.zeros(4)));
    refused("table:", () -> PositionalEncoding.learned(parts.zeros(0, 4)));
    refused("table:", () -> PositionalEncoding.learned(parts.zeros(4, 3).transpose(0, 1)));
    refused(
        "table: expected [positions, dim] float32, contiguous, got [4, 3] int32",
        () -> PositionalEncoding.learned(Tensor.allocate(arena, DType.INT32, 4, 3)));
    assertThrows(NullPointerException.class, () -> PositionalEncoding.learned(null));
    assertThrows(NullPointerException.class, () -> PositionalEncoding.rotary(null));
    refused("heads:", () -> PositionalEncoding.alibi(arena, 0));
    refused("heads:", () -> PositionalEncoding.alibi(arena, -8));
    refused("table:", () -> PositionalEncoding.relativePositions(arena, parts.zeros(8), 20, true));
    refused(
        "table:",
        () ->
            PositionalEncoding.relativePositions(
                arena, Tensor.allocate(arena, DType.INT32, 8, 2), 20, true));
    refused(
        "table: expected [buckets >= 4, heads >= 1] float32, got [3, 2]",
        () -> PositionalEncoding.relativePositions(arena, parts.zeros(3, 2), 20, true));
    refused(
        "table: expected [buckets >= 2, heads >= 1]",
        () -> PositionalEncoding.relativePositions(arena, parts.zeros(1, 2), 20, false));
    refused(
        "maxDistance: expected more than 8 (the exact buckets), got 8",
        () -> PositionalEncoding.relativePositions(arena, parts.zeros(32, 2), 8, true));
    refused(
        "maxDistance: expected more than 16",
        () -> PositionalEncoding.relativePositions(arena, parts.zeros(32, 2), 16, false));
    for (int distance : new int[] {(1 << 20) + 1, 1 << 30, Integer.MAX_VALUE}) {
      refused(
          "maxDistance: expected at most 1048576, got " + distance,
          () -> PositionalEncoding.relativePositions(arena, parts.zeros(8, 2), distance, true));
    }
    refused(
        "table:", () -> PositionalEncoding.relativePositions(arena, parts.zeros(8, 0), 20, true));
    refused("buckets:", () -> PositionalEncoding.bucket(5, 3, 20, true));
    refused("maxDistance:", () -> PositionalEncoding.bucket(5, 8, 4, false));
    assertEquals(7, PositionalEncoding.bucket(Integer.MIN_VALUE, 8, 20, false));
    PositionalEncoding four = PositionalEncoding.alibi(arena, 4);
    refused(
        "positions: expected alibi with 2 heads, got 4",
        () -> parts.attention(Causal.NONE, 8, 8, 8).positions(four).build());
    PositionalEncoding one =
        PositionalEncoding.relativePositions(arena, parts.zeros(8, 1), 20, true);
    refused(
        "positions: expected relative with 2 heads, got 1",
        () -> parts.attention(Causal.NONE, 8, 8, 8).positions(one).build());
    assertThrows(
        NullPointerException.class,
        () -> PositionalEncoding.relativePositions(arena, null, 20, true));
  }
}
