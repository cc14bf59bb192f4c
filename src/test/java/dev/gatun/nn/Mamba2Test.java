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
import dev.gatun.support.TorchMamba2;
import java.lang.foreign.Arena;
import java.util.List;
import java.util.Map;
import java.util.Random;
import java.util.TreeMap;
import java.util.function.UnaryOperator;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;

/**
 * {@link Mamba2} against the recurrence of the paper in double and against PyTorch's functions in
 * float64, its sequences, states and refusals.
 */
class Mamba2Test {

  private static final int DIM = 20;
  private static final int HEADS = 6;
  private static final int HEAD_DIM = 7;
  private static final int CHANNELS = HEADS * HEAD_DIM;
  private static final int GROUPS = 3;
  private static final int STATES = 5;
  private static final int CONVOLVED = CHANNELS + 2 * GROUPS * STATES;
  private static final int ALL = CHANNELS + CONVOLVED + HEADS;
  private static final int WIDTH = 4;
  private static final float EPSILON = 1e-5f;

  /** Of max|reference|: a step of 42 products, exponentials and sums, each rounded. */
  private static final double BOUND = 1e-5;

  private final Arena arena = Arena.ofShared();
  private final GatunRuntime runtime = Layers.runtime(2);
  private final Random random = new Random(6);
  private final Map<String, Tensor> weights = new TreeMap<>();

  @AfterEach
  void close() {
    arena.close();
  }

  private void draw(String name, double deviation, double mean, long... shape) {
    Tensor tensor = Tensor.allocate(arena, DType.FLOAT32, shape);
    float[] values = new float[(int) tensor.elements()];
    for (int i = 0; i < values.length; i++) {
      values[i] = (float) (mean + deviation * random.nextGaussian());
    }
    tensor.copyFrom(values);
    weights.put(name, tensor);
  }

  private void draw(int groups, boolean biased) {
    int convolved = CHANNELS + 2 * groups * STATES;
    int all = CHANNELS + convolved + HEADS;
    draw("in_proj.weight", 1 / Math.sqrt(DIM), 0, all, DIM);
    draw("conv1d.weight", 0.5, 0, convolved, 1, WIDTH);
    draw("conv1d.bias", 0.2, 0, convolved);
    draw("dt_bias", 0.5, -1, HEADS);
    draw("A_log", 0.7, 0.5, HEADS);
    draw("D", 0.3, 1, HEADS);
    draw("norm.weight", 0.2, 1, CHANNELS);
    draw("out_proj.weight", 1 / Math.sqrt(CHANNELS), 0, DIM, CHANNELS);
    if (biased) {
      draw("in_proj.bias", 0.2, 0, all);
      draw("out_proj.bias", 0.2, 0, DIM);
    }
  }

  private Mamba2.Builder builder() {
    return Mamba2.builder(runtime)
        .groups(GROUPS)
        .input(weights.get("in_proj.weight"), weights.get("in_proj.bias"))
        .convolution(weights.get("conv1d.weight"), weights.get("conv1d.bias"))
        .stepBias(weights.get("dt_bias"))
        .decay(weights.get("A_log"))
        .skip(weights.get("D"))
        .norm(weights.get("norm.weight"), EPSILON)
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

  private Mamba2 packed() {
    return builder()
        .input(packed("in_proj", WeightFormat.FP32))
        .output(packed("out_proj", WeightFormat.FP32))
        .build();
  }

  private Tensor forward(Mamba2 mamba, Tensor x, Sequences sequences) {
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

  // ---- the formula ---------------------------------------------------------------------------

  private double at(String name, int index) {
    Tensor tensor = weights.get(name);
    return tensor == null ? 0 : tensor.toFloatArray()[index];
  }

  private double[] product(String name, double[] x) {
    float[] weight = weights.get(name + ".weight").toFloatArray();
    double[] out = new double[weight.length / x.length];
    for (int o = 0; o < out.length; o++) {
      out[o] = at(name + ".bias", o);
      for (int i = 0; i < x.length; i++) {
        out[o] += weight[o * x.length + i] * x[i];
      }
    }
    return out;
  }

  private static double silu(double x) {
    return x / (1 + Math.exp(-x));
  }

  /** One sequence after the other, one row after the other, in double. */
  private double[] recurrence(Tensor x, int groups, double least, double most) {
    int seq = (int) x.size(1);
    float[] rows = x.toFloatArray();
    double[] out = new double[rows.length];
    for (int first = 0; first < rows.length; first += seq * DIM) {
      double[][] seen = new double[seq][];
      double[][][] h = new double[HEADS][HEAD_DIM][STATES];
      for (int t = 0; t < seq; t++) {
        double[] row = new double[DIM];
        for (int i = 0; i < DIM; i++) {
          row[i] = rows[first + t * DIM + i];
        }
        seen[t] = product("in_proj", row);
        double[] result = product("out_proj", gated(t, seen, h, groups, least, most));
        System.arraycopy(result, 0, out, first + t * DIM, DIM);
      }
    }
    return out;
  }

  /** What the last product multiplies, of a row whose projections were seen last. */
  private double[] gated(
      int t, double[][] seen, double[][][] h, int groups, double least, double most) {
    int convolved = CHANNELS + 2 * groups * STATES;
    double[] u = new double[convolved];
    for (int i = 0; i < convolved; i++) {
      double sum = at("conv1d.bias", i);
      for (int w = 0; w < WIDTH; w++) {
        int row = t - WIDTH + 1 + w;
        sum += row < 0 ? 0 : at("conv1d.weight", i * WIDTH + w) * seen[row][CHANNELS + i];
      }
      u[i] = silu(sum);
    }
    double[] y = new double[CHANNELS];
    double squares = 0;
    for (int n = 0; n < HEADS; n++) {
      double dt = seen[t][CHANNELS + convolved + n] + at("dt_bias", n);
      double delta = Math.clamp(Math.log1p(Math.exp(dt)), least, most);
      double decay = Math.exp(delta * -Math.exp(at("A_log", n)));
      int b = CHANNELS + n / (HEADS / groups) * STATES;
      int c = b + groups * STATES;
      for (int p = 0; p < HEAD_DIM; p++) {
        int channel = n * HEAD_DIM + p;
        double sum = at("D", n) * u[channel];
        for (int s = 0; s < STATES; s++) {
          h[n][p][s] = decay * h[n][p][s] + delta * u[channel] * u[b + s];
          sum += u[c + s] * h[n][p][s];
        }
        y[channel] = sum * silu(seen[t][channel]);
        squares += y[channel] * y[channel];
      }
    }
    for (int i = 0; i < CHANNELS; i++) {
      y[i] *= at("norm.weight", i) / Math.sqrt(squares / CHANNELS + EPSILON);
    }
    return y;
  }

  private double[] pytorch(Tensor x, int groups, boolean biased, double least, double most) {
    try (Torch torch = Torch.float64()) {
      TorchMamba2 mamba = new TorchMamba2(torch, DIM, HEADS, HEAD_DIM, groups, STATES, WIDTH);
      mamba.least = least;
      mamba.most = most;
      return mamba
          .mix(
              (name, deviation, mean, shape) -> {
                assertArrayEquals(shape, weights.get(name).shape());
                return torch.array(weights.get(name).toFloatArray(), shape);
              },
              torch.array(x.toFloatArray(), x.shape()),
              biased,
              true)
          .toDoubles();
    }
  }

  /** Rows of two chunks of the kernel and a tail, in any number of groups; steps with limits. */
  @ParameterizedTest
  @CsvSource({"1, false, 0, Infinity", "3, true, 0, Infinity", "6, false, 0.25, 0.5"})
  void equalsTheRecurrenceAndPyTorch(int groups, boolean biased, float least, float most) {
    draw(groups, biased);
    Tensor x = Layers.normal(arena, random, 2, 141, DIM);
    double[] want = recurrence(x, groups, least, most);
    Mamba2.Builder builder = builder().groups(groups).stepLimits(least, most);
    Mamba2 mamba = builder.build();
    assertEquals(DIM, mamba.in());
    assertEquals(DIM, mamba.out());
    assertEquals(HEADS, mamba.heads());
    assertEquals(HEAD_DIM, mamba.headDim());
    assertEquals(CHANNELS, mamba.channels());
    assertEquals(STATES, mamba.states());
    assertEquals(groups, mamba.groups());
    float[] got = forward(mamba, x, null).toFloatArray();
    near("Mamba-2, recurrence in double", want, got, BOUND);
    near("Mamba-2, PyTorch", pytorch(x, groups, biased, least, most), got, BOUND);
    builder.input(packed("in_proj", WeightFormat.FP32));
    builder.output(packed("out_proj", WeightFormat.FP32));
    near("Mamba-2, packed", want, forward(builder.build(), x, null).toFloatArray(), BOUND);
    builder.input(packed("in_proj", WeightFormat.BF16));
    builder.output(packed("out_proj", WeightFormat.BF16));
    near("Mamba-2, bf16", want, forward(builder.build(), x, null).toFloatArray(), 0.05);
  }

  // ---- sequences and states ------------------------------------------------------------------

  /** Ragged, padded and even; in place; one thread or two: rows have the same bits. */
  @Test
  void sequencesAreApart() {
    draw(GROUPS, false);
    Tensor x = Layers.normal(arena, random, 2, 9, DIM);
    Mamba2 mamba = packed();
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

  private TransformerDecoder decoder() {
    draw("norm", 0.1, 1, DIM);
    Norm norm = new RMSNorm(runtime, weights.get("norm"), EPSILON);
    TransformerLayer layer = new TransformerLayer(packed(), norm);
    return new TransformerDecoder(runtime, List.of(layer, layer), NormOrder.PRE, norm);
  }

  private float[] step(TransformerDecoder decoder, DecoderState state, Tensor x) {
    Tensor out = Tensor.allocate(arena, DType.FLOAT32, x.shape());
    out.copyFrom(x);
    decoder.step(null, state, out, null, out);
    return out.toFloatArray();
  }

  /** A stack of two layers in a decoder: chunks of any lengths, and rows, are those of one pass. */
  @Test
  void chunksAreOnePass() {
    draw(GROUPS, true);
    Tensor x = Layers.normal(arena, random, 2, 83, DIM);
    TransformerDecoder decoder = decoder();
    Tensor whole =
        Tensor.copyOf(arena, step(decoder, decoder.newState(arena, 2, 83, 0), x), x.shape());
    DecoderState state = decoder.newState(arena, 2, 83, 0);
    double most = 0;
    int[] ends = {1, 6, 76, 77, 78, 79, 80, 83};
    for (int n = 0, begin = 0; n < ends.length; begin = ends[n++]) {
      float[] part = step(decoder, state, x.slice(1, begin, ends[n]));
      Tensor same = Tensor.allocate(arena, DType.FLOAT32, 2, ends[n] - begin, DIM);
      same.copyFrom(whole.slice(1, begin, ends[n]));
      most = Math.max(most, Difference.share(same.toFloatArray(), part));
    }
    System.out.printf("Mamba-2, chunks against one pass: %.1e of the greatest element%n", most);
    assertTrue(most <= BOUND, "chunks differ from one pass by " + most);
  }

  /** Sequences of a state change places, are forgotten, and go on in a copy: to the bit. */
  @Test
  void statesAreThoseOfTheirSequences() {
    draw(GROUPS, false);
    TransformerDecoder decoder = decoder();
    Tensor x = Layers.normal(arena, random, 3, 5, DIM);
    Tensor more = Layers.normal(arena, random, 3, 1, DIM);
    DecoderState state = decoder.newState(arena, 3, 8, 0);
    step(decoder, state, x);
    DecoderState fork = decoder.newState(arena, 3, 8, 0);
    fork.copyFrom(state);
    float[] want = step(decoder, state, more);
    fork.select(2, 2, 0);
    Tensor moved = Tensor.allocate(arena, DType.FLOAT32, 3, 1, DIM);
    int[] sources = {2, 2, 0};
    for (int n = 0; n < 3; n++) {
      moved.select(0, n).copyFrom(more.select(0, sources[n]));
    }
    float[] got = step(decoder, fork, moved);
    for (int i = 0; i < got.length; i++) {
      assertEquals(want[sources[i / DIM] * DIM + i % DIM], got[i], "sequence " + i / DIM);
    }
    fork.reset();
    step(decoder, fork, x);
    assertArrayEquals(want, step(decoder, fork, more));
  }

  @Test
  void example() {
    draw(1, false);
    Tensor x = Layers.normal(arena, random, 1, 12, DIM);
    // example: mamba2
    Mamba2 mamba =
        Mamba2.builder(runtime)
            .input(weights.get("in_proj.weight"), null)
            .convolution(weights.get("conv1d.weight"), weights.get("conv1d.bias"))
            .stepBias(weights.get("dt_bias"))
            .decay(weights.get("A_log"))
            .skip(weights.get("D"))
            .norm(weights.get("norm.weight"), 1e-5f)
            .output(weights.get("out_proj.weight"), null)
            .build();
    Tensor out = Tensor.allocate(arena, DType.FLOAT32, 1, 12, DIM); // batch, seq, dim
    mamba.forward(null, x, null, out);
    // end
    double[] want = recurrence(x, 1, 0, Double.POSITIVE_INFINITY);
    near("Mamba-2, the page's", want, out.toFloatArray(), BOUND);
  }

  // ---- what is refused -----------------------------------------------------------------------

  private void refused(String name, UnaryOperator<Mamba2.Builder> change) {
    IllegalArgumentException e =
        assertThrows(
            IllegalArgumentException.class, () -> change.apply(builder()).build(), () -> name);
    assertTrue(e.getMessage().matches("(?s)" + name + ": expected .*, got .*"), e.getMessage());
  }

  private Tensor zeros(long... shape) {
    return Tensor.allocate(arena, DType.FLOAT32, shape);
  }

  @Test
  void refusesWhatDoesNotFit() {
    draw(GROUPS, false);
    refused("input.out", b -> b.input(zeros(ALL - 1, DIM), null));
    refused("convolution", b -> b.convolution(zeros(CONVOLVED, WIDTH), null));
    refused("convolution", b -> b.convolution(zeros(CONVOLVED, 1, 17), null));
    refused("convolution", b -> b.convolution(zeros(CONVOLVED + 1, 1, WIDTH), null));
    refused("convolution", b -> b.convolution(zeros(CHANNELS, 1, WIDTH), null));
    refused("convolution", b -> b.convolution(zeros(CHANNELS - 6, 1, WIDTH), null));
    refused("convolution", b -> b.convolution(zeros(CHANNELS + 6 * 513, 1, WIDTH), null));
    refused(
        "convolutionBias", b -> b.convolution(weights.get("conv1d.weight"), zeros(CONVOLVED + 1)));
    refused("groups", b -> b.groups(0));
    refused("groups", b -> b.groups(4));
    refused("stepBias", b -> b.stepBias(zeros(HEADS - 1)));
    refused("least", b -> b.stepLimits(-1, 1));
    refused("least", b -> b.stepLimits(Float.NaN, 1));
    refused("most", b -> b.stepLimits(1, 0.5f));
    refused("decay", b -> b.decay(zeros(HEADS, 1)));
    refused("decay", b -> b.decay(Tensor.allocate(arena, DType.INT32, HEADS)));
    refused("skip", b -> b.skip(zeros(CHANNELS)));
    refused("norm", b -> b.norm(zeros(CHANNELS - 1), EPSILON));
    refused("epsilon", b -> b.norm(zeros(CHANNELS), -1));
    refused("output.in", b -> b.output(zeros(DIM, CHANNELS + 1), null));
    refused("output.in", b -> b.output(zeros(DIM, HEADS * 513), null));
    refused("output.out", b -> b.output(zeros(DIM + 1, CHANNELS), null));
    Mamba2 mamba = builder().build();
    Tensor x = zeros(1, 2, DIM);
    for (String name : List.of("x", "out")) {
      Tensor wrong = zeros(1, 2, DIM + 1);
      Tensor in = name.equals("x") ? wrong : x;
      Tensor out = name.equals("x") ? x : wrong;
      IllegalArgumentException e =
          assertThrows(IllegalArgumentException.class, () -> mamba.forward(null, in, null, out));
      assertTrue(e.getMessage().startsWith(name + ": expected "), e.getMessage());
    }
    Tensor bias = weights.get("conv1d.weight");
    Tensor inside = Tensor.of(bias.segment(), DType.FLOAT32, 1, 2, DIM);
    assertThrows(IllegalArgumentException.class, () -> mamba.forward(null, x, null, inside));
    assertThrows(NullPointerException.class, () -> Mamba2.builder(runtime).build());
    for (String missing : List.of("stepBias", "decay", "skip")) {
      Mamba2.Builder builder = builder();
      switch (missing) {
        case "stepBias" -> builder.stepBias(null);
        case "decay" -> builder.decay(null);
        default -> builder.skip(null);
      }
      assertEquals(missing, assertThrows(NullPointerException.class, builder::build).getMessage());
    }
    Linear active = new Linear(runtime, zeros(DIM, ALL), null, Activation.SILU);
    assertThrows(IllegalArgumentException.class, () -> builder().input(active));
  }
}
