package dev.gatun.nn;

import static org.junit.jupiter.api.Assertions.assertTrue;

import dev.gatun.Activation;
import dev.gatun.AttentionSpec;
import dev.gatun.Causal;
import dev.gatun.DType;
import dev.gatun.GatunRuntime;
import dev.gatun.Tensor;
import dev.gatun.support.Difference;
import dev.gatun.support.Torch;
import dev.gatun.support.Torch.Array;
import java.lang.foreign.Arena;
import java.util.Random;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;
import org.junit.jupiter.params.provider.EnumSource;
import org.junit.jupiter.params.provider.ValueSource;

/** Each block by itself against PyTorch's functions in float64. */
class PyTorchLayersTest {

  /** A share of the greatest element: some tens of roundings of 6e-8, most of which cancel. */
  private static final double BOUND = 2e-6;

  private static final int DIM = 64;
  private static final int HEADS = 4;
  private static final int SEQ = 37;

  private final Arena arena = Arena.ofShared();
  private final GatunRuntime runtime = Layers.runtime(2);
  private final Random random = new Random(Layers.SEED);
  private final Torch torch = Torch.float64();

  @AfterEach
  void close() {
    torch.close();
    arena.close();
  }

  private Array array(Tensor tensor) {
    return torch.array(tensor.toFloatArray(), tensor.shape());
  }

  private Array linear(Array x, Tensor weight, Tensor bias) {
    Array product = torch.matmul(x, array(weight));
    return bias == null ? product : torch.add(product, array(bias));
  }

  private Tensor rows(long... shape) {
    return Layers.normal(arena, random, shape);
  }

  private static void check(String what, Array want, Tensor got) {
    double share = Difference.share(want.toDoubles(), got.toFloatArray());
    System.out.printf(
        "%s: differs from PyTorch in float64 by at most %.1e of the greatest element%n",
        what, share);
    assertTrue(share <= BOUND, what + ": " + share);
  }

  @Test
  void embeddingAndTiedOutput() {
    Tensor table = rows(50, DIM);
    Tensor positions = rows(SEQ, DIM);
    int[] ids = random.ints(SEQ, 0, 50).toArray();
    Embedding embedding = new Embedding(runtime, table, 8, PositionalEncoding.learned(positions));
    Tensor out = Tensor.allocate(arena, DType.FLOAT32, 1, SEQ, DIM);
    embedding.forward(null, Tensor.copyOf(arena, ids, 1, SEQ), null, out);
    Array want =
        torch.add(
            torch.multiply(torch.embedding(array(table), torch.ids(ids, 1, SEQ)), 8),
            array(positions));
    check("embedding", want, out);
    Tensor logits = Tensor.allocate(arena, DType.FLOAT32, 1, SEQ, 50);
    embedding.output().forward(null, out, logits);
    check("tied output", torch.linear(array(out), array(table), null), logits);
  }

  @Test
  void sinusoidalPositions() {
    PositionalEncoding encoding = PositionalEncoding.sinusoidal(arena, 512, DIM);
    double[] want = new double[512 * DIM];
    for (int p = 0; p < 512; p++) {
      for (int i = 0; i < DIM / 2; i++) {
        double angle = p * Math.exp(-2.0 * i / DIM * Math.log(10000));
        want[p * DIM + 2 * i] = Math.sin(angle);
        want[p * DIM + 2 * i + 1] = Math.cos(angle);
      }
    }
    check("sinusoidal", torch.array(want, 512, DIM), encoding.table());
  }

  @Test
  void norms() {
    Tensor x = rows(SEQ, DIM);
    Tensor gamma = rows(DIM);
    Tensor beta = rows(DIM);
    Tensor out = Tensor.allocate(arena, DType.FLOAT32, SEQ, DIM);
    new LayerNorm(runtime, gamma, beta, 1e-5f).forward(null, x, null, null, out);
    check("LayerNorm", torch.layerNorm(array(x), array(gamma), array(beta), 1e-5f), out);
    new RMSNorm(runtime, gamma, 1e-5f).forward(null, x, null, null, out);
    check("RMSNorm", torch.rmsNorm(array(x), array(gamma), 1e-5f), out);
  }

  private Array activate(Activation kind, Array x) {
    return switch (kind) {
      case NONE -> x;
      case RELU -> torch.relu(x);
      case GELU -> torch.gelu(x);
      case GELU_TANH -> torch.geluTanh(x);
      case SILU -> torch.silu(x);
      case QUICK_GELU -> torch.multiply(x, torch.sigmoid(torch.multiply(x, 1.702f)));
    };
  }

  /** With a gate: SILU is SwiGLU, GELU is GEGLU, RELU is ReGLU. */
  @ParameterizedTest
  @EnumSource(Activation.class)
  void feedForward(Activation kind) {
    Tensor w1 = Layers.weight(arena, random, DIM, 160);
    Tensor gate = Layers.weight(arena, random, DIM, 160);
    Tensor w2 = Layers.weight(arena, random, 160, DIM);
    Tensor b1 = rows(160);
    Tensor bGate = rows(160);
    Tensor b2 = rows(DIM);
    Tensor x = rows(SEQ, DIM);
    Tensor out = Tensor.allocate(arena, DType.FLOAT32, SEQ, DIM);
    Array inner = activate(kind, linear(array(x), w1, b1));
    new FeedForward(runtime, w1, b1, kind, w2, b2).forward(null, x, out);
    check("FeedForward " + kind, linear(inner, w2, b2), out);
    new FeedForward(runtime, w1, b1, kind, gate, bGate, w2, b2).forward(null, x, out);
    Array gated = torch.multiply(inner, linear(array(x), gate, bGate));
    check("FeedForward " + kind + ", gated", linear(gated, w2, b2), out);
  }

  private Array heads(Array x, long heads) {
    long[] shape = x.shape();
    return torch.transpose(torch.reshape(x, shape[0], shape[1], heads, shape[2] / heads), 1, 2);
  }

  private static final double NEVER = Double.NEGATIVE_INFINITY;

  /** [1, heads, seq, seq] that are added to scores. */
  private Array biases(String name, Tensor table) {
    double[] biases = new double[HEADS * SEQ * SEQ];
    for (int h = 0; h < HEADS; h++) {
      for (int i = 0; i < SEQ; i++) {
        for (int j = 0; j < SEQ; j++) {
          // 4 heads have the slopes 1/4, 1/16, 1/64, 1/256
          double bias =
              switch (name) {
                case "alibi" -> -Math.abs(i - j) / Math.pow(4, h + 1);
                case "relative" ->
                    table.getFloat(PositionalEncoding.bucket(j - i, 16, 20, false), h);
                default -> 0;
              };
          biases[(h * SEQ + i) * SEQ + j] = j > i ? NEVER : bias;
        }
      }
    }
    return torch.array(biases, 1, HEADS, SEQ, SEQ);
  }

  /** The second half of each head's pairs, or every second element, turned by position. */
  private Array turn(Array x, Rotary.Pairing pairing) {
    long count = x.shape()[1];
    int size = DIM / HEADS;
    boolean halves = pairing == Rotary.Pairing.HALVES;
    double[] in = x.toDoubles();
    double[] out = in.clone();
    for (int h = 0; h < count; h++) {
      for (int p = 0; p < SEQ; p++) {
        for (int i = 0; i < size / 2; i++) {
          double angle = p * Math.exp(-2.0 * i / size * Math.log(100));
          int row = (h * SEQ + p) * size;
          int a = row + (halves ? i : 2 * i);
          int b = row + (halves ? i + size / 2 : 2 * i + 1);
          out[a] = in[a] * Math.cos(angle) - in[b] * Math.sin(angle);
          out[b] = in[b] * Math.cos(angle) + in[a] * Math.sin(angle);
        }
      }
    }
    return torch.array(out, x.shape());
  }

  /** Multi-head attention under a causal mask; 2 heads of keys and values for 4 of queries. */
  @ParameterizedTest
  @ValueSource(strings = {"none", "alibi", "relative", "HALVES", "ADJACENT"})
  void attention(String name) {
    Tensor wq = Layers.weight(arena, random, DIM, DIM);
    Tensor wk = Layers.weight(arena, random, DIM, DIM / 2);
    Tensor wv = Layers.weight(arena, random, DIM, DIM / 2);
    Tensor wo = Layers.weight(arena, random, DIM, DIM);
    Tensor table = rows(16, HEADS);
    PositionalEncoding positions =
        switch (name) {
          case "none" -> PositionalEncoding.none();
          case "alibi" -> PositionalEncoding.alibi(arena, HEADS);
          case "relative" -> PositionalEncoding.relativePositions(arena, table, 20, false);
          default ->
              PositionalEncoding.rotary(
                  Rotary.of(
                      arena,
                      SEQ,
                      DIM / HEADS,
                      100,
                      Rotary.Pairing.valueOf(name),
                      RotaryScaling.none()));
        };
    MultiHeadAttention attention =
        MultiHeadAttention.builder(runtime, HEADS)
            .kvHeads(2)
            .spec(AttentionSpec.builder().causal(Causal.BOTTOM_RIGHT).build())
            .positions(positions)
            .query(wq, null)
            .key(wk, null)
            .value(wv, null)
            .output(wo, null)
            .build();
    Tensor x = rows(1, SEQ, DIM);
    Tensor out = Tensor.allocate(arena, DType.FLOAT32, 1, SEQ, DIM);
    attention.forward(null, x, null, out);
    Array q = heads(linear(array(x), wq, null), HEADS);
    Array k = heads(linear(array(x), wk, null), 2);
    Array v = heads(linear(array(x), wv, null), 2);
    if (positions.rotary() != null) {
      q = turn(q, positions.rotary().pairing());
      k = turn(k, positions.rotary().pairing());
    }
    Array context = torch.attention(q, k, v, biases(name, table), false, Double.NaN);
    context = torch.reshape(torch.transpose(context, 1, 2), 1, SEQ, DIM);
    check("attention, positions " + name, linear(context, wo, null), out);
  }

  /** The paper's formula itself: one head, softmax(QKᵀ/√d_k)·V. */
  @ParameterizedTest
  @CsvSource({"16, false", "64, true", "128, false"})
  void scaledDotProduct(int size, boolean causal) {
    Tensor q = rows(1, SEQ, 1, size);
    Tensor k = rows(1, SEQ, 1, size);
    Tensor v = rows(1, SEQ, 1, size);
    Tensor out = Tensor.allocate(arena, DType.FLOAT32, 1, SEQ, 1, size);
    AttentionSpec spec =
        AttentionSpec.builder().causal(causal ? Causal.BOTTOM_RIGHT : Causal.NONE).build();
    runtime.attention(spec).forward(q, k, v, out);
    Array scores =
        torch.multiply(
            torch.matmul(
                torch.reshape(array(q), SEQ, size),
                torch.transpose(torch.reshape(array(k), SEQ, size), 0, 1)),
            1 / Math.sqrt(size));
    if (causal) {
      double[] mask = new double[SEQ * SEQ];
      for (int i = 0; i < mask.length; i++) {
        mask[i] = i % SEQ > i / SEQ ? NEVER : 0;
      }
      scores = torch.add(scores, torch.array(mask, SEQ, SEQ));
    }
    Array want = torch.matmul(torch.softmax(scores, -1), torch.reshape(array(v), SEQ, size));
    check("softmax(QK'/sqrt d)V, d " + size, want, out);
  }
}
