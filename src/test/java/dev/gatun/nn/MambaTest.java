package dev.gatun.nn;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import dev.gatun.Activation;
import dev.gatun.DType;
import dev.gatun.GatunRuntime;
import dev.gatun.Tensor;
import dev.gatun.WeightFormat;
import dev.gatun.Workspace;
import dev.gatun.support.Difference;
import dev.gatun.support.Torch;
import dev.gatun.support.TorchMamba;
import java.lang.foreign.Arena;
import java.util.List;
import java.util.Map;
import java.util.Random;
import java.util.TreeMap;
import java.util.function.UnaryOperator;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.ValueSource;

/** {@link Mamba} against PyTorch's functions in float64, its sequences, states and refusals. */
class MambaTest {

  private static final int DIM = 20;
  private static final int CHANNELS = 40;
  private static final int STATES = 6;
  private static final int RANK = 3;
  private static final int WIDTH = 4;

  /** Of max|reference|: a step of 40 products, exponentials and sums, each rounded. */
  private static final double BOUND = 1e-5;

  private final Arena arena = Arena.ofShared();
  private final GatunRuntime runtime = Layers.runtime(2);
  private final Random random = new Random(5);
  private final Map<String, Tensor> weights = new TreeMap<>();

  @AfterEach
  void close() {
    arena.close();
  }

  private Tensor weight(String name, double deviation, double mean, long... shape) {
    return weights.computeIfAbsent(
        name,
        n -> {
          Tensor tensor = Tensor.allocate(arena, DType.FLOAT32, shape);
          float[] values = new float[(int) tensor.elements()];
          for (int i = 0; i < values.length; i++) {
            values[i] = (float) (mean + deviation * random.nextGaussian());
          }
          tensor.copyFrom(values);
          return tensor;
        });
  }

  /** What PyTorch says of x [batch, seq, DIM], with weights that it draws. */
  private double[] expected(Tensor x, boolean biased) {
    try (Torch torch = Torch.float64()) {
      TorchMamba mamba = new TorchMamba(torch, DIM, CHANNELS, STATES, RANK, WIDTH);
      return mamba
          .mix(
              (name, deviation, mean, shape) ->
                  torch.array(weight(name, deviation, mean, shape).toFloatArray(), shape),
              torch.array(x.toFloatArray(), x.shape()),
              biased,
              true)
          .toDoubles();
    }
  }

  private Mamba.Builder builder() {
    return Mamba.builder(runtime, arena)
        .input(weights.get("in_proj.weight"), weights.get("in_proj.bias"))
        .convolution(weights.get("conv1d.weight"), weights.get("conv1d.bias"))
        .projection(weights.get("x_proj.weight"))
        .step(weights.get("dt_proj.weight"), weights.get("dt_proj.bias"))
        .decay(weights.get("A_log"))
        .skip(weights.get("D"))
        .output(weights.get("out_proj.weight"), weights.get("out_proj.bias"));
  }

  private Linear packed(String name, WeightFormat format) {
    return new Linear(
            runtime,
            WeightOrder.OUT_IN,
            weights.get(name + ".weight"),
            weights.get(name + ".bias"),
            Activation.NONE)
        .packed(arena, format);
  }

  private Tensor forward(Mamba mamba, Tensor x, Sequences sequences) {
    Tensor out = Tensor.allocate(arena, DType.FLOAT32, x.shape());
    out.fill(Float.NaN);
    mamba.forward(null, x, sequences, out);
    return out;
  }

  private static void near(String what, double[] want, float[] got, double bound) {
    double most = 0;
    double error = 0;
    for (int i = 0; i < want.length; i++) {
      most = Math.max(most, Math.abs(want[i]));
      error = Math.max(error, Math.abs(want[i] - got[i]));
    }
    System.out.printf("%s: %.1e of the greatest element%n", what, error / most);
    assertTrue(error <= bound * most, what + ": " + error / most);
  }

  @ParameterizedTest
  @ValueSource(booleans = {false, true})
  void equalsPyTorch(boolean biased) {
    Tensor x = Layers.normal(arena, random, 3, 40, DIM);
    double[] want = expected(x, biased);
    Mamba mamba = builder().build();
    assertEquals(DIM, mamba.in());
    assertEquals(DIM, mamba.out());
    assertEquals(CHANNELS, mamba.channels());
    assertEquals(STATES, mamba.states());
    assertEquals(0, mamba.heads());
    near("Mamba", want, forward(mamba, x, null).toFloatArray(), BOUND);
    Mamba packed =
        builder()
            .input(packed("in_proj", WeightFormat.FP32))
            .projection(packed("x_proj", WeightFormat.FP32))
            .output(packed("out_proj", WeightFormat.FP32))
            .build();
    near("Mamba, packed", want, forward(packed, x, null).toFloatArray(), BOUND);
    Mamba small =
        builder()
            .input(packed("in_proj", WeightFormat.BF16))
            .output(packed("out_proj", WeightFormat.BF16))
            .build();
    near("Mamba, bf16", want, forward(small, x, null).toFloatArray(), 0.03);
  }

  /** Ragged, padded and even; in place; one thread or two: rows have the same bits. */
  @Test
  void sequencesAreApart() {
    Tensor x = Layers.normal(arena, random, 2, 9, DIM);
    expected(x, false);
    Mamba mamba =
        builder()
            .input(packed("in_proj", WeightFormat.FP32))
            .projection(packed("x_proj", WeightFormat.FP32))
            .step(
                new Linear(
                        runtime,
                        WeightOrder.OUT_IN,
                        weights.get("dt_proj.weight"),
                        null,
                        Activation.NONE)
                    .packed(arena, WeightFormat.FP32),
                weights.get("dt_proj.bias"))
            .output(packed("out_proj", WeightFormat.FP32))
            .build();
    float[] whole = forward(mamba, x, null).toFloatArray();
    int[] lengths = {9, 4};
    x.slice(0, 1, 2).slice(1, 4, 9).fill(Float.NaN);
    float[] padded =
        forward(mamba, x, Sequences.padded(Tensor.copyOf(arena, lengths, 2))).toFloatArray();
    for (int i = 0; i < padded.length; i++) {
      int row = i / DIM;
      assertEquals(row < 9 + 4 ? whole[i] : 0, padded[i], "row " + row);
    }
    Tensor rows = Tensor.copyOf(arena, new float[13 * DIM], 13, DIM);
    rows.slice(0, 0, 9).copyFrom(x.select(0, 0));
    rows.slice(0, 9, 13).copyFrom(x.select(0, 1).slice(0, 0, 4));
    Sequences ragged = Sequences.ragged(Tensor.copyOf(arena, new int[] {0, 9, 13}, 3));
    float[] apart = forward(mamba, rows, ragged).toFloatArray();
    for (int i = 0; i < apart.length; i++) {
      assertEquals(whole[i], apart[i]);
    }
    try (Workspace workspace = runtime.newWorkspace()) {
      mamba.forward(workspace, rows, ragged, rows);
    }
    assertArrayEquals(apart, rows.toFloatArray());
  }

  /** A stack of two layers in a decoder: chunks of any lengths are rows of one pass. */
  @Test
  void chunksAreOnePass() {
    Tensor x = Layers.normal(arena, random, 2, 12, DIM);
    expected(x, true);
    Mamba mamba =
        builder()
            .input(packed("in_proj", WeightFormat.FP32))
            .output(packed("out_proj", WeightFormat.FP32))
            .build();
    Norm norm = new RMSNorm(runtime, weight("norm", 0.1, 1, DIM), 1e-5f);
    TransformerLayer layer = new TransformerLayer(mamba, norm);
    TransformerDecoder decoder =
        new TransformerDecoder(runtime, List.of(layer, layer), NormOrder.PRE, norm);
    Tensor whole = Tensor.allocate(arena, DType.FLOAT32, x.shape());
    decoder.step(null, decoder.newState(arena, 2, 12, 0), x, null, whole);
    DecoderState state = decoder.newState(arena, 2, 12, 0);
    for (int[] chunk : new int[][] {{0, 1}, {1, 6}, {6, 8}, {8, 12}}) {
      Tensor part = Tensor.allocate(arena, DType.FLOAT32, 2, chunk[1] - chunk[0], DIM);
      part.copyFrom(x.slice(1, chunk[0], chunk[1]));
      decoder.step(null, state, part, null, part);
      Tensor same = Tensor.allocate(arena, DType.FLOAT32, part.shape());
      same.copyFrom(whole.slice(1, chunk[0], chunk[1]));
      double share = Difference.share(same.toFloatArray(), part.toFloatArray());
      assertTrue(share <= BOUND, "rows from " + chunk[0] + ": " + share);
    }
  }

  /** Beams: what each sequence goes on with is the state of another. */
  @Test
  void sequencesChangePlaces() {
    Tensor x = Layers.normal(arena, random, 2, 3, DIM);
    expected(x, false);
    Norm norm = new RMSNorm(runtime, weight("norm", 0.1, 1, DIM), 1e-5f);
    TransformerDecoder decoder =
        new TransformerDecoder(
            runtime, List.of(new TransformerLayer(builder().build(), norm)), NormOrder.PRE, norm);
    DecoderState state = decoder.newState(arena, 2, 4, 0);
    Tensor out = zeros(2, 3, DIM);
    decoder.step(null, state, x, null, out);
    DecoderState other = decoder.newState(arena, 2, 4, 0);
    other.copyFrom(state);
    other.select(1, 0);
    Tensor same = Layers.normal(arena, random, 1, DIM);
    Tensor next = zeros(2, 1, DIM);
    next.select(0, 0).copyFrom(same);
    next.select(0, 1).copyFrom(same);
    Tensor want = zeros(2, 1, DIM);
    decoder.step(null, state, next, null, want);
    decoder.step(null, other, next, null, next);
    assertArrayEquals(want.select(0, 0).toFloatArray(), next.select(0, 1).toFloatArray());
    assertArrayEquals(want.select(0, 1).toFloatArray(), next.select(0, 0).toFloatArray());
  }

  @Test
  void example() {
    Tensor x = Layers.normal(arena, random, 1, 12, DIM);
    double[] want = expected(x, false);
    // example: mamba
    Mamba mamba =
        Mamba.builder(runtime, arena)
            .input(weights.get("in_proj.weight"), null)
            .convolution(weights.get("conv1d.weight"), weights.get("conv1d.bias"))
            .projection(weights.get("x_proj.weight"))
            .step(weights.get("dt_proj.weight"), weights.get("dt_proj.bias"))
            .decay(weights.get("A_log"))
            .skip(weights.get("D"))
            .output(weights.get("out_proj.weight"), null)
            .build();
    Tensor out = Tensor.allocate(arena, DType.FLOAT32, 1, 12, DIM); // batch, seq, dim
    mamba.forward(null, x, null, out);
    // end
    near("Mamba, the page's", want, out.toFloatArray(), BOUND);
  }

  private void refused(String name, UnaryOperator<Mamba.Builder> change) {
    Mamba.Builder builder = change.apply(builder());
    IllegalArgumentException e =
        assertThrows(IllegalArgumentException.class, builder::build, () -> name);
    assertTrue(e.getMessage().startsWith(name + ": expected "), e.getMessage());
  }

  private Tensor zeros(long... shape) {
    return Tensor.allocate(arena, DType.FLOAT32, shape);
  }

  @Test
  void refusesWhatDoesNotFit() {
    Tensor x = Layers.normal(arena, random, 1, 2, DIM);
    expected(x, false);
    refused("input.out", b -> b.input(zeros(2 * CHANNELS - 2, DIM), null));
    refused("convolution", b -> b.convolution(zeros(CHANNELS, WIDTH), null));
    refused("convolution", b -> b.convolution(zeros(CHANNELS, 1, 17), null));
    refused("convolutionBias", b -> b.convolution(zeros(CHANNELS, 1, 4), zeros(CHANNELS + 1)));
    refused("decay", b -> b.decay(zeros(CHANNELS)));
    refused("decay", b -> b.decay(zeros(CHANNELS + 1, STATES)));
    refused("decay", b -> b.decay(zeros(CHANNELS, 257)));
    refused("projection.in", b -> b.projection(zeros(RANK + 2 * STATES, CHANNELS - 1)));
    refused("projection.out", b -> b.projection(zeros(RANK + STATES, CHANNELS)));
    refused("step.out", b -> b.step(zeros(CHANNELS + 1, RANK), null));
    refused("stepBias", b -> b.step(zeros(CHANNELS, RANK), zeros(1)));
    refused("skip", b -> b.skip(zeros(CHANNELS, 1)));
    refused("output.in", b -> b.output(zeros(DIM, CHANNELS + 1), null));
    refused("output.out", b -> b.output(zeros(DIM + 1, CHANNELS), null));
    for (String name : List.of("x", "out")) {
      Tensor wrong = zeros(1, 2, DIM + 1);
      Mamba mamba = builder().build();
      IllegalArgumentException e =
          assertThrows(
              IllegalArgumentException.class,
              () ->
                  mamba.forward(
                      null, name.equals("x") ? wrong : x, null, name.equals("x") ? x : wrong));
      assertTrue(e.getMessage().startsWith(name + ": expected "), e.getMessage());
    }
    Mamba mamba = builder().build();
    Tensor skip = weights.get("D");
    Tensor inside = Tensor.of(skip.segment(), DType.FLOAT32, 1, 2, DIM);
    assertThrows(IllegalArgumentException.class, () -> mamba.forward(null, x, null, inside));
    assertThrows(NullPointerException.class, () -> Mamba.builder(runtime, arena).build());
    Linear active = new Linear(runtime, zeros(DIM, 2 * CHANNELS), null, Activation.SILU);
    assertThrows(IllegalArgumentException.class, () -> builder().input(active));
  }
}
