package dev.gatun.support;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertNotEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import dev.gatun.GatunRuntime;
import dev.gatun.Tensor;
import dev.gatun.support.TorchTransformer.Config;
import dev.gatun.support.TorchTransformer.Mask;
import dev.gatun.support.TorchTransformer.Parameter;
import java.lang.foreign.Arena;
import java.lang.foreign.FunctionDescriptor;
import java.lang.foreign.Linker;
import java.lang.foreign.SymbolLookup;
import java.lang.foreign.ValueLayout;
import java.lang.invoke.MethodHandle;
import java.util.Arrays;
import java.util.List;
import java.util.Map;
import java.util.Random;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;

/** The oracle itself, against a few loops in double that share nothing with it. */
class TorchTest {

  private static final Random RANDOM = new Random(31);

  private static float[] draw(int count) {
    float[] numbers = new float[count];
    for (int i = 0; i < count; i++) {
      numbers[i] = (float) RANDOM.nextGaussian();
    }
    return numbers;
  }

  // ---- functions

  @Test
  void arraysThereAndBack() {
    try (Torch torch = Torch.float32();
        Torch doubles = Torch.float64()) {
      float[] numbers = {1.5f, -0.0f, Float.NaN, Float.NEGATIVE_INFINITY, Float.MIN_VALUE, 6};
      Torch.Array array = torch.array(numbers, 2, 3);
      assertArrayEquals(new long[] {2, 3}, array.shape());
      assertArrayEquals(numbers, array.toFloats());
      assertArrayEquals(
          new float[] {1.5f, Float.NEGATIVE_INFINITY, -0.0f, Float.MIN_VALUE, Float.NaN, 6},
          torch.transpose(array, 0, 1).toFloats());
      assertEquals(0.1, doubles.array(new double[] {0.1}).toDoubles()[0]);
      assertEquals(0.1f, torch.array(new double[] {0.1}).toDoubles()[0]);
      assertArrayEquals(new long[0], torch.array(new float[] {1}).shape());
      assertArrayEquals(new float[0], torch.array(new float[0], 3, 0).toFloats());
      assertEquals("Torch.Array([2] Long)", torch.ids(new int[] {1, 2}, 2).toString());
      assertThrows(IllegalArgumentException.class, () -> torch.array(numbers, 7));
      RuntimeException e = assertThrows(RuntimeException.class, () -> torch.matmul(array, array));
      assertTrue(e.getMessage().contains("(2x3 and 2x3)"), e.getMessage());
    }
  }

  @ParameterizedTest
  @CsvSource({"true, 1e-13", "false, 2e-6"})
  void functions(boolean inDouble, double bound) {
    try (Torch torch = inDouble ? Torch.float64() : Torch.float32()) {
      float[] x = {1, -2, 0.5f, 3, 0, -1};
      Torch.Array a = torch.array(x, 2, 3);
      Torch.Array w = torch.array(new float[] {1, 2, 3, -1, 0, 1}, 2, 3);
      Torch.Array b = torch.array(new float[] {10, 20}, 2);
      near(new double[] {8.5, 19.5, 10, 16}, torch.linear(a, w, b), bound);
      near(new double[] {-1.5, -0.5, 0, -4}, torch.linear(a, w, null), bound);
      near(new double[] {-1.5, -0.5, 0, -4}, torch.matmul(a, torch.transpose(w, 0, 1)), bound);
      near(new double[] {2, 0, 3.5, 2, 0, 0}, torch.add(a, w), bound);
      near(new double[] {1, -4, 1.5, -3, 0, -1}, torch.multiply(a, w), bound);
      near(new double[] {3, 0, 2.5, 5, 2, 1}, torch.add(a, 2), bound);
      near(new double[] {2, -4, 1, 6, 0, -2}, torch.multiply(a, 2), bound);
      near(new double[] {-0.5 / 3, 2.0 / 3}, torch.mean(a, 1), bound);
      near(new double[] {-2, 0.5, 0, -1}, torch.slice(a, 1, 1, 3), bound);
      near(new double[] {0.5, -1}, torch.select(a, 1, 2), bound);
      near(new double[] {1, 3, -2, 0, 0.5, -1}, torch.permute(a, 1, 0), bound);
      near(new double[] {1, -2, 0.5, 3, 0, -1, 1, 2, 3, -1, 0, 1}, torch.concat(0, a, w), bound);
      assertArrayEquals(new long[] {3, 2}, torch.reshape(a, 3, -1).shape());

      double[] relu = new double[6];
      double[] gelu = new double[6];
      double[] geluTanh = new double[6];
      double[] silu = new double[6];
      double[] tanh = new double[6];
      double[] sigmoid = new double[6];
      for (int i = 0; i < 6; i++) {
        relu[i] = Math.max(0, x[i]);
        gelu[i] = gelu(x[i]);
        double inner = Math.sqrt(2 / Math.PI) * (x[i] + 0.044715 * x[i] * x[i] * x[i]);
        geluTanh[i] = 0.5 * x[i] * (1 + Math.tanh(inner));
        sigmoid[i] = 1 / (1 + Math.exp(-x[i]));
        silu[i] = x[i] * sigmoid[i];
        tanh[i] = Math.tanh(x[i]);
      }
      near(relu, torch.relu(a), bound);
      near(gelu, torch.gelu(a), bound);
      near(geluTanh, torch.geluTanh(a), bound);
      near(silu, torch.silu(a), bound);
      near(tanh, torch.tanh(a), bound);
      near(sigmoid, torch.sigmoid(a), bound);

      double sum = Math.exp(1) + Math.exp(-2) + Math.exp(0.5);
      double[] softmax = {Math.exp(1) / sum, Math.exp(-2) / sum, Math.exp(0.5) / sum};
      near(softmax, torch.softmax(torch.slice(a, 0, 0, 1), -1), bound);

      float[] weight = {1, 2, -1};
      float[] bias = {0.5f, 0, 1};
      double mean = -0.5 / 3;
      double variance = (1 + 4 + 0.25) / 3 - mean * mean;
      double[] norm = new double[3];
      double[] rms = new double[3];
      for (int i = 0; i < 3; i++) {
        norm[i] = (x[i] - mean) / Math.sqrt(variance + 0.01) * weight[i] + bias[i];
        rms[i] = x[i] / Math.sqrt((1 + 4 + 0.25) / 3 + 0.01) * weight[i];
      }
      Torch.Array row = torch.select(a, 0, 0);
      Torch.Array three = torch.array(weight, 3);
      near(norm, torch.layerNorm(row, three, torch.array(bias, 3), 0.01), bound);
      near(rms, torch.rmsNorm(row, three, 0.01), bound);

      near(
          new double[] {3, 0, -1, 1, -2, 0.5, 3, 0, -1},
          torch.embedding(a, torch.ids(new int[] {1, 0, 1}, 3)),
          bound);

      // [1, 1, 3, 3] by a kernel of 2 x 2 at stride 2 with one row and column of zeros around.
      float[] image = {1, 2, 3, 4, 5, 6, 7, 8, 9};
      near(
          new double[] {4 * 1 + 1, 3 * 2 + 4 * 3 + 1, 2 * 4 + 4 * 7 + 1, 5 + 12 + 24 + 36 + 1},
          torch.conv2d(
              torch.array(image, 1, 1, 3, 3),
              torch.array(new float[] {1, 2, 3, 4}, 1, 1, 2, 2),
              torch.array(new float[] {1}, 1),
              2,
              1),
          bound);
    }
  }

  @ParameterizedTest
  @CsvSource({
    "4, false, none, NaN",
    "2, false, none, 0.3",
    "1, true, none, NaN",
    "4, false, added, NaN",
    "2, false, boolean, 0.3"
  })
  void attention(int kvHeads, boolean causal, String masked, double scale) {
    int seqQ = 5;
    int seqK = 7;
    int dim = 3;
    double[] q = doubles(draw(2 * 4 * seqQ * dim));
    double[] k = doubles(draw(2 * kvHeads * seqK * dim));
    double[] v = doubles(draw(2 * kvHeads * seqK * dim));
    boolean[] seen = new boolean[seqQ * seqK];
    float[] added = draw(seqQ * seqK);
    for (int i = 0; i < seen.length; i++) {
      seen[i] = i % seqK == 0 || RANDOM.nextBoolean();
    }
    double[] want = new double[q.length];
    for (int bh = 0; bh < 8; bh++) {
      int kv = bh / 4 * kvHeads + bh % 4 / (4 / kvHeads);
      for (int i = 0; i < seqQ; i++) {
        double[] p = new double[seqK];
        double sum = 0;
        for (int j = 0; j < seqK; j++) {
          double score = 0;
          for (int d = 0; d < dim; d++) {
            score += q[(bh * seqQ + i) * dim + d] * k[(kv * seqK + j) * dim + d];
          }
          score *= Double.isNaN(scale) ? 1 / Math.sqrt(dim) : scale;
          score += masked.equals("added") ? added[i * seqK + j] : 0;
          boolean hidden = causal && j > i || masked.equals("boolean") && !seen[i * seqK + j];
          p[j] = hidden ? 0 : Math.exp(score);
          sum += p[j];
        }
        for (int j = 0; j < seqK; j++) {
          for (int d = 0; d < dim; d++) {
            want[(bh * seqQ + i) * dim + d] += p[j] / sum * v[(kv * seqK + j) * dim + d];
          }
        }
      }
    }
    try (Torch torch = Torch.float64()) {
      Torch.Array mask =
          switch (masked) {
            case "added" -> torch.array(added, seqQ, seqK);
            case "boolean" -> torch.booleans(seen, seqQ, seqK);
            default -> null;
          };
      near(
          want,
          torch.attention(
              torch.array(q, 2, 4, seqQ, dim),
              torch.array(k, 2, kvHeads, seqK, dim),
              torch.array(v, 2, kvHeads, seqK, dim),
              mask,
              causal,
              scale),
          1e-13);
    }
  }

  private static void near(double[] want, Torch.Array got, double bound) {
    double[] numbers = got.toDoubles();
    assertEquals(want.length, numbers.length);
    for (int i = 0; i < want.length; i++) {
      double most = bound * Math.max(1, Math.abs(want[i]));
      assertEquals(want[i], numbers[i], most, "element " + i + " of " + got);
    }
  }

  private static double[] doubles(float[] numbers) {
    double[] doubles = new double[numbers.length];
    for (int i = 0; i < numbers.length; i++) {
      doubles[i] = numbers[i];
    }
    return doubles;
  }

  /** By Simpson's rule over the density of the normal distribution. */
  private static double gelu(double x) {
    int steps = 2000;
    double sum = 0;
    for (int i = 0; i <= steps; i++) {
      double t = x * i / steps;
      sum += Math.exp(-t * t / 2) * (i == 0 || i == steps ? 1 : i % 2 == 0 ? 2 : 4);
    }
    return x * (0.5 + sum * x / steps / 3 / Math.sqrt(2 * Math.PI));
  }

  // ---- transformers

  private static final int BATCH = 2;
  private static final int WIDTH = 6;

  /** Layers by loops over [batch][seq][width]. Same rules as in TorchTransformer. */
  private record Hand(Map<String, Parameter> parameters, Config config) {

    double[][][] encode(String prefix, double[][][] x, Mask mask, int layers, boolean finalNorm) {
      double[][][] y = x;
      for (int i = 0; i < layers; i++) {
        String layer = prefix + "layers." + i + ".";
        double[][][] input = before(layer + "norm1", y);
        y = behind(layer + "norm1", y, attend(layer + "self_attn", input, input, mask));
        y = behind(layer + "norm2", y, feedForward(layer, before(layer + "norm2", y)));
      }
      return finalNorm ? norm(prefix + "norm", y) : y;
    }

    double[][][] decode(
        String prefix,
        double[][][] x,
        double[][][] memory,
        Mask mask,
        Mask memoryMask,
        int layers,
        boolean finalNorm) {
      double[][][] y = x;
      for (int i = 0; i < layers; i++) {
        String layer = prefix + "layers." + i + ".";
        double[][][] input = before(layer + "norm1", y);
        y = behind(layer + "norm1", y, attend(layer + "self_attn", input, input, mask));
        input = before(layer + "norm2", y);
        y = behind(layer + "norm2", y, attend(layer + "multihead_attn", input, memory, memoryMask));
        y = behind(layer + "norm3", y, feedForward(layer, before(layer + "norm3", y)));
      }
      return finalNorm ? norm(prefix + "norm", y) : y;
    }

    private double[][][] before(String norm, double[][][] x) {
      return config.normFirst() ? norm(norm, x) : x;
    }

    private double[][][] behind(String norm, double[][][] x, double[][][] y) {
      double[][][] sum = new double[x.length][x[0].length][WIDTH];
      for (int b = 0; b < x.length; b++) {
        for (int s = 0; s < x[b].length; s++) {
          for (int i = 0; i < WIDTH; i++) {
            sum[b][s][i] = x[b][s][i] + y[b][s][i];
          }
        }
      }
      return config.normFirst() ? sum : norm(norm, sum);
    }

    private double[][][] norm(String name, double[][][] x) {
      float[] weight = parameters.get(name + ".weight").numbers();
      float[] bias = parameters.get(name + ".bias").numbers();
      double[][][] y = new double[x.length][x[0].length][WIDTH];
      for (int b = 0; b < x.length; b++) {
        for (int s = 0; s < x[b].length; s++) {
          double mean = Arrays.stream(x[b][s]).average().orElseThrow();
          double variance =
              Arrays.stream(x[b][s]).map(v -> (v - mean) * (v - mean)).average().orElseThrow();
          for (int i = 0; i < WIDTH; i++) {
            y[b][s][i] = (x[b][s][i] - mean) / Math.sqrt(variance + 1e-5) * weight[i] + bias[i];
          }
        }
      }
      return y;
    }

    /** Rows from to before to of a weight [out, in], and of its bias. */
    private double[] linear(String weight, String bias, int from, int to, double[] x) {
      float[] w = parameters.get(weight).numbers();
      float[] b = parameters.get(bias).numbers();
      double[] y = new double[to - from];
      for (int o = from; o < to; o++) {
        y[o - from] = b[o];
        for (int i = 0; i < x.length; i++) {
          y[o - from] += w[o * x.length + i] * x[i];
        }
      }
      return y;
    }

    private double[][][] feedForward(String layer, double[][][] x) {
      double[][][] y = new double[x.length][x[0].length][];
      for (int b = 0; b < x.length; b++) {
        for (int s = 0; s < x[b].length; s++) {
          double[] inner =
              linear(layer + "linear1.weight", layer + "linear1.bias", 0, config.hidden(), x[b][s]);
          for (int i = 0; i < inner.length; i++) {
            inner[i] = config.gelu() ? gelu(inner[i]) : Math.max(0, inner[i]);
          }
          y[b][s] = linear(layer + "linear2.weight", layer + "linear2.bias", 0, WIDTH, inner);
        }
      }
      return y;
    }

    private double[][][] attend(String name, double[][][] x, double[][][] memory, Mask mask) {
      String weight = name + ".in_proj_weight";
      String bias = name + ".in_proj_bias";
      int dim = WIDTH / config.heads();
      double[][][] y = new double[x.length][x[0].length][];
      for (int b = 0; b < x.length; b++) {
        int keys = memory[b].length;
        for (int s = 0; s < x[b].length; s++) {
          double[] q = linear(weight, bias, 0, WIDTH, x[b][s]);
          double[] context = new double[WIDTH];
          for (int head = 0; head < config.heads(); head++) {
            double sum = 0;
            double[] part = new double[dim];
            for (int key = 0; key < keys; key++) {
              if (mask.causal() && key > s
                  || mask.padding() != null && mask.padding()[b * keys + key]) {
                continue;
              }
              double[] k = linear(weight, bias, WIDTH, 2 * WIDTH, memory[b][key]);
              double[] v = linear(weight, bias, 2 * WIDTH, 3 * WIDTH, memory[b][key]);
              double score = 0;
              for (int d = head * dim; d < (head + 1) * dim; d++) {
                score += q[d] * k[d];
              }
              double p = Math.exp(score / Math.sqrt(dim));
              sum += p;
              for (int d = 0; d < dim; d++) {
                part[d] += p * v[head * dim + d];
              }
            }
            for (int d = 0; d < dim; d++) {
              context[head * dim + d] = part[d] / sum;
            }
          }
          y[b][s] = linear(name + ".out_proj.weight", name + ".out_proj.bias", 0, WIDTH, context);
        }
      }
      return y;
    }
  }

  private static double[][][] nested(float[] x, int seq) {
    double[][][] y = new double[BATCH][seq][WIDTH];
    for (int i = 0; i < x.length; i++) {
      y[i / WIDTH / seq][i / WIDTH % seq][i % WIDTH] = x[i];
    }
    return y;
  }

  private static double[] flat(double[][][] x) {
    return Arrays.stream(x).flatMap(Arrays::stream).flatMapToDouble(Arrays::stream).toArray();
  }

  @ParameterizedTest
  @CsvSource({
    "true, false, false, true",
    "true, true, false, false",
    "true, false, true, true",
    "true, true, true, false",
    "false, false, false, true",
    "false, true, true, true"
  })
  void transformers(boolean inDouble, boolean normFirst, boolean gelu, boolean finalNorm) {
    Config config = new Config(WIDTH, 2, 9, gelu, normFirst, finalNorm);
    int seqSrc = 5;
    int seqTgt = 4;
    float[] src = draw(BATCH * seqSrc * WIDTH);
    float[] tgt = draw(BATCH * seqTgt * WIDTH);
    boolean[] padding = Mask.padding(new int[] {3, 5}, seqSrc);
    Mask padded = new Mask(false, padding);
    double bound = inDouble ? 1e-12 : 1e-5;
    try (Torch torch = inDouble ? Torch.float64() : Torch.float32()) {
      Torch.Array s = torch.array(src, BATCH, seqSrc, WIDTH);
      Torch.Array t = torch.array(tgt, BATCH, seqTgt, WIDTH);

      TorchTransformer encoder = TorchTransformer.encoder(torch, config, 2, 1);
      Hand hand = new Hand(encoder.parameters(), config);
      for (Mask mask : List.of(Mask.NONE, Mask.CAUSAL, padded, new Mask(true, padding))) {
        double[][][] want = hand.encode("", nested(src, seqSrc), mask, 2, finalNorm);
        near(flat(want), encoder.encode(s, mask), bound);
      }

      TorchTransformer decoder = TorchTransformer.decoder(torch, config, 2, 2);
      hand = new Hand(decoder.parameters(), config);
      for (boolean[] memoryPadding : new boolean[][] {null, padding}) {
        double[][][] want =
            hand.decode(
                "",
                nested(tgt, seqTgt),
                nested(src, seqSrc),
                Mask.CAUSAL,
                new Mask(false, memoryPadding),
                2,
                finalNorm);
        near(flat(want), decoder.decode(t, s, Mask.CAUSAL, memoryPadding), bound);
      }

      TorchTransformer both = TorchTransformer.transformer(torch, config, 1, 2, 3);
      hand = new Hand(both.parameters(), config);
      double[][][] memory = hand.encode("encoder.", nested(src, seqSrc), padded, 1, true);
      Mask tgtMask = new Mask(true, Mask.padding(new int[] {4, 2}, seqTgt));
      double[][][] want =
          hand.decode("decoder.", nested(tgt, seqTgt), memory, tgtMask, padded, 2, true);
      near(flat(want), both.forward(s, t, padded, tgtMask), bound);
    }
  }

  /** What is composed for norm_first does the same as PyTorch's modules where there are such. */
  @ParameterizedTest
  @CsvSource({"false", "true"})
  void composedLayers(boolean gelu) {
    Config config = new Config(16, 4, 20, gelu, false, true);
    try (Torch torch = Torch.float64()) {
      Torch.Array src = torch.array(draw(2 * 5 * 16), 2, 5, 16);
      Torch.Array tgt = torch.array(draw(2 * 3 * 16), 2, 3, 16);
      Mask padded = new Mask(false, Mask.padding(new int[] {5, 1}, 5));
      TorchTransformer modules = TorchTransformer.encoder(torch, config, 2, 7, false);
      TorchTransformer composed = TorchTransformer.encoder(torch, config, 2, 7, true);
      same(modules, composed);
      near(modules.encode(src, padded).toDoubles(), composed.encode(src, padded), 1e-14);
      modules = TorchTransformer.decoder(torch, config, 2, 7, false);
      composed = TorchTransformer.decoder(torch, config, 2, 7, true);
      same(modules, composed);
      near(
          modules.decode(tgt, src, Mask.CAUSAL, padded.padding()).toDoubles(),
          composed.decode(tgt, src, Mask.CAUSAL, padded.padding()),
          1e-14);
      modules = TorchTransformer.transformer(torch, config, 2, 1, 7, false);
      composed = TorchTransformer.transformer(torch, config, 2, 1, 7, true);
      same(modules, composed);
      near(
          modules.forward(src, tgt, padded, Mask.CAUSAL).toDoubles(),
          composed.forward(src, tgt, padded, Mask.CAUSAL),
          1e-14);
    }
  }

  private static void same(TorchTransformer a, TorchTransformer b) {
    assertEquals(List.copyOf(a.parameters().keySet()), List.copyOf(b.parameters().keySet()));
    a.parameters()
        .forEach(
            (name, parameter) -> {
              assertArrayEquals(parameter.shape(), b.parameters().get(name).shape(), name);
              assertArrayEquals(parameter.numbers(), b.parameters().get(name).numbers(), name);
            });
  }

  @Test
  void parameters() {
    Config config = new Config(8, 2, 12, true, true, true);
    try (Torch torch = Torch.float32()) {
      TorchTransformer model = TorchTransformer.decoder(torch, config, 1, 5);
      assertEquals(
          "[layers.0.self_attn.in_proj_weight, layers.0.self_attn.in_proj_bias,"
              + " layers.0.self_attn.out_proj.weight, layers.0.self_attn.out_proj.bias,"
              + " layers.0.multihead_attn.in_proj_weight, layers.0.multihead_attn.in_proj_bias,"
              + " layers.0.multihead_attn.out_proj.weight, layers.0.multihead_attn.out_proj.bias,"
              + " layers.0.linear1.weight, layers.0.linear1.bias, layers.0.linear2.weight,"
              + " layers.0.linear2.bias, layers.0.norm1.weight, layers.0.norm1.bias,"
              + " layers.0.norm2.weight, layers.0.norm2.bias, layers.0.norm3.weight,"
              + " layers.0.norm3.bias, norm.weight, norm.bias]",
          model.parameters().keySet().toString());
      assertArrayEquals(
          new long[] {24, 8}, model.parameters().get("layers.0.self_attn.in_proj_weight").shape());
      assertArrayEquals(
          new long[] {12, 8}, model.parameters().get("layers.0.linear1.weight").shape());
      same(model, TorchTransformer.decoder(torch, config, 1, 5));
      assertNotEquals(
          model.parameters().get("norm.bias").numbers()[0],
          TorchTransformer.decoder(torch, config, 1, 6).parameters().get("norm.bias").numbers()[0]);

      float[] ones = new float[8];
      Arrays.fill(ones, 1);
      model.set("norm.weight", new float[8]);
      model.set("norm.bias", ones);
      Torch.Array x = torch.array(draw(8), 1, 1, 8);
      assertArrayEquals(ones, model.decode(x, x, Mask.NONE, null).toFloats());
      assertThrows(IllegalArgumentException.class, () -> model.set("norm.weight", new float[7]));
      assertThrows(IllegalArgumentException.class, () -> model.set("norm", new float[8]));
    }
  }

  // ---- beside Gatun's OpenBLAS

  @Test
  void oneJvmWithGatun() throws Throwable {
    int n = 300;
    float[] a = draw(n * n);
    float[] b = draw(n * n);
    try (GatunRuntime runtime = GatunRuntime.builder().threads(2).build();
        Arena arena = Arena.ofConfined()) {
      Tensor left = Tensor.copyOf(arena, a, n, n);
      Tensor right = Tensor.copyOf(arena, b, n, n);
      Tensor product = Tensor.copyOf(arena, new float[n * n], n, n);
      runtime.matMul().multiply(left, right, product);
      float[] before = product.toFloatArray();
      try (Torch torch = Torch.float32();
          Torch doubles = Torch.float64()) {
        float[] theirs = torch.matmul(torch.array(a, n, n), torch.array(b, n, n)).toFloats();
        double[] exact = doubles.matmul(doubles.array(a, n, n), doubles.array(b, n, n)).toDoubles();
        runtime.matMul().multiply(left, right, product);
        assertArrayEquals(before, product.toFloatArray());
        for (int i = 0; i < exact.length; i++) {
          assertEquals(exact[i], theirs[i], 1e-4);
          assertEquals(exact[i], before[i], 1e-4);
        }
        assertEquals(1, org.bytedeco.pytorch.global.torch.get_num_threads());
        assertNotEquals(0, Torch.openBlas().size());
        for (SymbolLookup library : Torch.openBlas()) {
          MethodHandle get =
              Linker.nativeLinker()
                  .downcallHandle(
                      library.findOrThrow("openblas_get_num_threads"),
                      FunctionDescriptor.of(ValueLayout.JAVA_INT));
          assertEquals(1, (int) get.invoke());
        }
      }
    }
  }
}
