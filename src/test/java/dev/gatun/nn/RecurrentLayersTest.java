package dev.gatun.nn;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import dev.gatun.DType;
import dev.gatun.GatunRuntime;
import dev.gatun.Tensor;
import dev.gatun.WeightFormat;
import dev.gatun.nn.GruLayer.Reset;
import dev.gatun.nn.Recurrence.Kind;
import dev.gatun.nn.RecurrentLayer.Direction;
import dev.gatun.support.Allocations;
import dev.gatun.support.Difference;
import dev.gatun.support.Torch;
import java.io.IOException;
import java.lang.foreign.Arena;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.Random;
import org.bytedeco.pytorch.TensorVector;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;

/** LSTM and GRU layers against PyTorch's own modules and against their formulas in double. */
class RecurrentLayersTest {

  /** A share of the greatest element: a state passes through some ten steps of float32. */
  private static final double BOUND = 1e-5;

  private static final int IN = 19;
  private static final int HIDDEN = 37;
  private static final int[] LENGTHS = {5, 11, 0, 11, 1, 7};

  private final Arena arena = Arena.ofShared();
  private final GatunRuntime runtime = Layers.runtime(2);
  private final Random random = new Random(Layers.SEED);

  @AfterEach
  void close() {
    arena.close();
  }

  // ---- layers --------------------------------------------------------------------------------

  private Tensor drawn(double deviation, long... shape) {
    int count = (int) Arrays.stream(shape).reduce(1, (a, b) -> a * b);
    return Tensor.copyOf(arena, Layers.draw(random, count, deviation), shape);
  }

  /** As nn.LSTM draws them, but twice as large, so that gates open and close. */
  private RecurrentWeights weights(Kind kind, int in, int hidden) {
    double deviation = 1.2 / Math.sqrt(hidden);
    int rows = kind.gates * hidden;
    return new RecurrentWeights(
        drawn(deviation, rows, in),
        drawn(deviation, rows, hidden),
        drawn(deviation, rows),
        drawn(deviation, rows));
  }

  private RecurrentLayer layer(Kind kind, Direction direction, RecurrentWeights... weights) {
    Reset reset = kind == Kind.GRU ? Reset.AFTER_PRODUCT : Reset.BEFORE_PRODUCT;
    if (direction == Direction.BIDIRECTIONAL) {
      return kind == Kind.LSTM
          ? new LstmLayer(runtime, weights[0], weights[1])
          : new GruLayer(runtime, reset, weights[0], weights[1]);
    }
    return kind == Kind.LSTM
        ? new LstmLayer(runtime, direction, weights[0])
        : new GruLayer(runtime, direction, reset, weights[0]);
  }

  private static int[] offsets() {
    int[] offsets = new int[LENGTHS.length + 1];
    for (int n = 0; n < LENGTHS.length; n++) {
      offsets[n + 1] = offsets[n] + LENGTHS[n];
    }
    return offsets;
  }

  private static float[] flat(double[][] rows) {
    int columns = rows[0].length;
    float[] flat = new float[rows.length * columns];
    for (int n = 0; n < flat.length; n++) {
      flat[n] = (float) rows[n / columns][n % columns];
    }
    return flat;
  }

  private static void close(String what, float[] want, float[] got) {
    double share = Difference.share(want, got);
    System.out.printf("%s: differs by at most %.1e of the greatest element%n", what, share);
    assertTrue(share <= BOUND, what + ": " + share + " of the greatest element");
  }

  // ---- the formulas in double ----------------------------------------------------------------

  /** Sequences of different lengths, from a state to a state, ragged and padded. */
  @ParameterizedTest
  @CsvSource({
    "LSTM, FORWARD, VIEW", "LSTM, BACKWARD, FP32", "LSTM, BIDIRECTIONAL, FP32",
    "GRU, FORWARD, FP32", "GRU, BACKWARD, VIEW", "GRU, BIDIRECTIONAL, VIEW",
    "PAPER, FORWARD, VIEW", "PAPER, BACKWARD, FP32", "PAPER, BIDIRECTIONAL, FP32",
  })
  void formulas(Kind kind, Direction direction, WeightFormat format) {
    boolean both = direction == Direction.BIDIRECTIONAL;
    RecurrentWeights[] weights = {weights(kind, IN, HIDDEN), weights(kind, IN, HIDDEN)};
    RecurrentLayer layer = layer(kind, direction, weights).packed(arena, format);
    int[] offsets = offsets();
    int tokens = offsets[LENGTHS.length];
    int size = kind.stateSize(HIDDEN);
    int directions = both ? 2 : 1;
    assertEquals(directions * size, layer.stateSize());
    Tensor x = drawn(1, tokens, IN);
    Tensor first = drawn(0.7, LENGTHS.length, layer.stateSize());
    double[][] rows = Recurrence.rows(x);
    double[][] want = new double[tokens][directions * HIDDEN];
    double[][] wantState = Recurrence.rows(first);
    for (int d = 0; d < directions; d++) {
      Recurrence reference = new Recurrence(kind, weights[d]);
      for (int n = 0; n < LENGTHS.length; n++) {
        double[] state = Arrays.copyOfRange(wantState[n], d * size, (d + 1) * size);
        boolean backward = direction == Direction.BACKWARD || d == 1;
        double[][] out =
            reference.run(Arrays.copyOfRange(rows, offsets[n], offsets[n + 1]), backward, state);
        System.arraycopy(state, 0, wantState[n], d * size, size);
        for (int row = 0; row < out.length; row++) {
          System.arraycopy(out[row], 0, want[offsets[n] + row], d * HIDDEN, HIDDEN);
        }
      }
    }
    Sequences ragged = Sequences.ragged(Tensor.copyOf(arena, offsets, offsets.length));
    Tensor out = Tensor.allocate(arena, DType.FLOAT32, tokens, layer.out());
    Tensor last = Tensor.allocate(arena, DType.FLOAT32, LENGTHS.length, layer.stateSize());
    layer.forward(null, x, ragged, first, last, out);
    String what = "%s %s %s".formatted(kind, direction, format);
    close(what, flat(want), out.toFloatArray());
    close(what + ", states", flat(wantState), last.toFloatArray());

    Tensor padded = Tensor.allocate(arena, DType.FLOAT32, LENGTHS.length, 12, IN);
    padded.fill(Float.NaN);
    for (int n = 0; n < LENGTHS.length; n++) {
      if (LENGTHS[n] > 0) {
        padded
            .select(0, n)
            .slice(0, 0, LENGTHS[n])
            .copyFrom(x.slice(0, offsets[n], offsets[n + 1]));
      }
    }
    Tensor lengths = Tensor.copyOf(arena, LENGTHS, LENGTHS.length);
    Tensor wide = Tensor.allocate(arena, DType.FLOAT32, LENGTHS.length, 12, layer.out());
    layer.forward(null, padded, Sequences.padded(lengths), first, first, wide);
    assertArrayEquals(last.toFloatArray(), first.toFloatArray(), "states of padded sequences");
    for (int n = 0; n < LENGTHS.length; n++) {
      for (int row = 0; row < 12; row++) {
        for (int i = 0; i < layer.out(); i++) {
          float expected = row < LENGTHS[n] ? out.getFloat(offsets[n] + row, i) : 0;
          assertEquals(expected, wide.getFloat(n, row, i));
        }
      }
    }
  }

  // ---- PyTorch -------------------------------------------------------------------------------

  private static TensorVector vector(Torch torch, List<Tensor> tensors) {
    return new TensorVector(
        tensors.stream()
            .map(t -> torch.array(t.toFloatArray(), t.shape()).tensor())
            .toArray(org.bytedeco.pytorch.Tensor[]::new));
  }

  /** nn.LSTM and nn.GRU as they are, two layers deep, from states of zeros. */
  @ParameterizedTest
  @CsvSource({"LSTM, false", "LSTM, true", "GRU, false", "GRU, true"})
  void modules(Kind kind, boolean both) {
    int batch = 3;
    int seq = 9;
    int directions = both ? 2 : 1;
    Direction direction = both ? Direction.BIDIRECTIONAL : Direction.FORWARD;
    List<Tensor> parameters = new ArrayList<>();
    List<RecurrentLayer> layers = new ArrayList<>();
    for (int n = 0; n < 2; n++) {
      int in = n == 0 ? IN : directions * HIDDEN;
      RecurrentWeights[] w = {weights(kind, in, HIDDEN), weights(kind, in, HIDDEN)};
      for (int d = 0; d < directions; d++) {
        parameters.addAll(
            List.of(w[d].weightIh(), w[d].weightHh(), w[d].biasIh(), w[d].biasHh()));
      }
      layers.add(layer(kind, direction, w));
    }
    Tensor x = drawn(1, batch, seq, IN);
    float[] want;
    try (Torch torch = Torch.float32()) {
      TensorVector all = vector(torch, parameters);
      org.bytedeco.pytorch.Tensor in = torch.array(x.toFloatArray(), x.shape()).tensor();
      Tensor zeros = Tensor.allocate(arena, DType.FLOAT32, 2 * directions, batch, HIDDEN);
      TensorVector states = vector(torch, List.of(zeros, zeros));
      org.bytedeco.pytorch.Tensor out =
          kind == Kind.LSTM
              ? org.bytedeco.pytorch.global.torch.lstm(
                      in, states, all, true, 2, 0, false, both, true)
                  .get0()
              : org.bytedeco.pytorch.global.torch.gru(
                      in, states.get(0), all, true, 2, 0, false, both, true)
                  .get0();
      want = torch.array(out).toFloats();
    }
    Tensor between = Tensor.allocate(arena, DType.FLOAT32, batch, seq, directions * HIDDEN);
    layers.get(0).forward(null, x, null, between);
    layers.get(1).forward(null, between, null, between); // in place
    close("nn.%s%s".formatted(kind, both ? ", both ways" : ""), want, between.toFloatArray());
  }

  // ---- steps and neighbors -------------------------------------------------------------------

  /** Packed weights: a sequence has, among others and step by step, the bits that it has alone. */
  @ParameterizedTest
  @CsvSource({"LSTM, FP32", "LSTM, BF16", "GRU, FP32", "GRU, INT8", "PAPER, FP32", "PAPER, Q8_0"})
  void bits(Kind kind, WeightFormat format) {
    int hidden = 64;
    RecurrentWeights weights = weights(kind, 32, hidden);
    RecurrentLayer layer = layer(kind, Direction.FORWARD, weights).packed(arena, format);
    int[] offsets = offsets();
    int tokens = offsets[LENGTHS.length];
    Tensor x = drawn(1, tokens, 32);
    Tensor out = Tensor.allocate(arena, DType.FLOAT32, tokens, hidden);
    Tensor last = Tensor.allocate(arena, DType.FLOAT32, LENGTHS.length, layer.stateSize());
    Sequences ragged = Sequences.ragged(Tensor.copyOf(arena, offsets, offsets.length));
    layer.forward(null, x, ragged, null, last, out);
    for (int n = 0; n < LENGTHS.length; n++) {
      if (LENGTHS[n] == 0) {
        continue;
      }
      Tensor rows = x.slice(0, offsets[n], offsets[n + 1]);
      Tensor alone = Tensor.allocate(arena, DType.FLOAT32, LENGTHS[n], hidden);
      layer.forward(null, rows, null, alone);
      float[] want = out.slice(0, offsets[n], offsets[n + 1]).toFloatArray();
      assertArrayEquals(want, alone.toFloatArray(), "sequence %d alone".formatted(n));
      Tensor state = Tensor.allocate(arena, DType.FLOAT32, 1, layer.stateSize());
      for (int row = 0; row < LENGTHS[n]; row++) {
        layer.step(null, rows.slice(0, row, row + 1), state, alone.slice(0, row, row + 1));
      }
      assertArrayEquals(want, alone.toFloatArray(), "sequence %d step by step".formatted(n));
      assertArrayEquals(last.slice(0, n, n + 1).toFloatArray(), state.toFloatArray());
    }
  }

  @Test
  void example() {
    RecurrentWeights weights = weights(Kind.LSTM, 32, 64);
    Tensor x = drawn(1, 2, 9, 32);
    // example: recurrent
    LstmLayer layer =
        new LstmLayer(runtime, Direction.FORWARD, weights).packed(arena, WeightFormat.FP32);
    Tensor out = Tensor.allocate(arena, DType.FLOAT32, 2, 9, 64); // batch, seq, hidden
    layer.forward(null, x, null, out); // all rows
    Tensor state = Tensor.allocate(arena, DType.FLOAT32, 2, layer.stateSize()); // h, then c
    Tensor row = Tensor.allocate(arena, DType.FLOAT32, 2, 64);
    layer.step(null, x.select(1, 0), state, row); // one row of each sequence
    // end
    assertArrayEquals(out.select(1, 0).toFloatArray(), row.toFloatArray());
  }

  /** In place of self-attention in a decoder: steps are rows of one pass. */
  @Test
  void mixers() {
    int dim = 32;
    Tensor vector = drawn(1, dim);
    List<TransformerLayer> layers = new ArrayList<>();
    for (Kind kind : Kind.values()) {
      RecurrentLayer mixer = layer(kind, Direction.FORWARD, weights(kind, dim, dim));
      Norm norm = new LayerNorm(runtime, vector, vector, 1e-5f);
      layers.add(new TransformerLayer(mixer.packed(arena, WeightFormat.FP32), norm));
    }
    TransformerDecoder decoder = new TransformerDecoder(runtime, layers, NormOrder.PRE, null);
    Tensor x = drawn(1, 2, 6, dim);
    Tensor out = Tensor.allocate(arena, DType.FLOAT32, 2, 6, dim);
    DecoderState state = decoder.newState(arena, 2, 6, 0);
    decoder.step(null, state, x, null, out);
    state.reset();
    Tensor row = Tensor.allocate(arena, DType.FLOAT32, 2, 1, dim);
    for (int n = 0; n < 6; n++) {
      row.copyFrom(x.slice(1, n, n + 1));
      decoder.step(null, state, row, null, row);
      assertArrayEquals(out.slice(1, n, n + 1).toFloatArray(), row.toFloatArray(), "row " + n);
    }
    RecurrentLayer backward = layer(Kind.GRU, Direction.BACKWARD, weights(Kind.GRU, dim, dim));
    Norm norm = new LayerNorm(runtime, vector, vector, 1e-5f);
    List<TransformerLayer> wrong = List.of(new TransformerLayer(backward, norm));
    assertThrows(
        IllegalArgumentException.class,
        () -> new TransformerDecoder(runtime, wrong, NormOrder.PRE, null));
  }

  @Test
  void noBytesOnTheHeap() throws IOException, InterruptedException {
    long bytes = Allocations.heapBytes("recurrent-garbage");
    assertTrue(bytes < 0.01 * 300, bytes + " bytes in 300 rounds");
  }

  // ---- refused -------------------------------------------------------------------------------

  private static void refused(String message, Runnable call) {
    IllegalArgumentException e = assertThrows(IllegalArgumentException.class, call::run);
    assertTrue(e.getMessage().contains(message), e.getMessage());
  }

  @Test
  void refused() {
    RecurrentWeights w = weights(Kind.LSTM, IN, HIDDEN);
    refused(
        "direction: expected FORWARD or BACKWARD",
        () -> new LstmLayer(runtime, Direction.BIDIRECTIONAL, w));
    refused(
        "weightHh: expected [111, 37]",
        () -> new GruLayer(runtime, Direction.FORWARD, Reset.AFTER_PRODUCT, w));
    refused(
        "weightIh: expected [148, in]",
        () ->
            new LstmLayer(
                runtime,
                Direction.FORWARD,
                new RecurrentWeights(drawn(1, 147, IN), w.weightHh(), null, null)));
    refused(
        "biasIh: expected [148]",
        () ->
            new LstmLayer(
                runtime,
                Direction.FORWARD,
                new RecurrentWeights(w.weightIh(), w.weightHh(), drawn(1, 147), null)));
    refused(
        "backward.weightHh: hidden size: expected 37, got 36",
        () -> new LstmLayer(runtime, w, weights(Kind.LSTM, IN, 36)));
    refused(
        "backward.biasHh: expected [148]",
        () ->
            new LstmLayer(
                runtime,
                w,
                new RecurrentWeights(w.weightIh(), w.weightHh(), null, drawn(1, 148, 1))));

    LstmLayer layer = new LstmLayer(runtime, Direction.FORWARD, w);
    LstmLayer backward = new LstmLayer(runtime, Direction.BACKWARD, w);
    Tensor x = drawn(1, 2, 3, IN);
    Tensor out = Tensor.allocate(arena, DType.FLOAT32, 2, 3, HIDDEN);
    Tensor state = drawn(1, 2, 2 * HIDDEN);
    out.fill(7);
    refused("x: expected", () -> layer.forward(null, drawn(1, 2, 3, IN + 1), null, out));
    refused("out: expected", () -> layer.forward(null, x, null, drawn(1, 2, 2, HIDDEN)));
    refused(
        "first: expected [2, 74]",
        () -> layer.forward(null, x, null, drawn(1, 3, 2 * HIDDEN), null, out));
    refused(
        "last: expected [2, 74]",
        () -> layer.forward(null, x, null, null, drawn(1, 2, HIDDEN), out));
    refused("out: ", () -> layer.forward(null, x, null, out.reshape(1, 222).slice(1, 0, 148).reshape(2, 74), null, out));
    refused(
        "out: ",
        () -> layer.forward(null, x, null, w.biasIh().slice(0, 0, 111).reshape(1, 3, HIDDEN)));
    refused("state: expected [2, 74]", () -> layer.step(null, x.select(1, 0), drawn(1, 1, 74), out.select(1, 0)));
    assertThrows(
        IllegalStateException.class,
        () -> backward.step(null, x.select(1, 0), state, out.select(1, 0)));
    for (float element : out.toFloatArray()) {
      assertEquals(7, element, "a call that was refused has written");
    }
    layer.forward(null, x, null, state, state, out);
  }
}
