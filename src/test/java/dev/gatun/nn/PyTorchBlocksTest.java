package dev.gatun.nn;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import dev.gatun.Activation;
import dev.gatun.DType;
import dev.gatun.GatunRuntime;
import dev.gatun.Tensor;
import dev.gatun.support.Difference;
import dev.gatun.support.Torch;
import dev.gatun.support.Torch.Array;
import java.lang.foreign.Arena;
import java.util.ArrayList;
import java.util.List;
import java.util.Random;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.Test;

/** Flamingo's block and attention over tables, against the same in PyTorch's functions. */
class PyTorchBlocksTest {
  /** A share of the greatest element: float32 rounds on both sides. */
  private static final double BOUND = 1e-4;

  private final Arena arena = Arena.ofShared();
  private final GatunRuntime runtime = Layers.runtime(2);
  private final Random random = new Random(Layers.SEED);
  private final Torch torch = Torch.float32();

  @AfterEach
  void close() {
    torch.close();
    arena.close();
  }

  private Array array(Tensor tensor) {
    return torch.array(tensor.toFloatArray(), tensor.shape());
  }

  private Array product(Array x, Tensor weight) {
    return torch.matmul(x, array(weight));
  }

  private static void check(Array want, Tensor got) {
    double share = Difference.share(want.toFloats(), got.toFloatArray());
    System.out.printf("differs from PyTorch by at most %.1e of the greatest element%n", share);
    assertTrue(share <= BOUND, share + " of the greatest element");
  }

  private Array heads(Array x, int heads) {
    long[] shape = x.shape();
    return torch.transpose(torch.reshape(x, shape[0], shape[1], heads, shape[2] / heads), 1, 2);
  }

  private Array attention(Array x, Array memory, int heads, Tensor... weights) {
    Array q = heads(product(x, weights[0]), heads);
    Array k = heads(product(memory, weights[1]), heads);
    Array v = heads(product(memory, weights[2]), heads);
    Array context = torch.transpose(torch.attention(q, k, v, null, false, Double.NaN), 1, 2);
    long[] shape = context.shape();
    return product(torch.reshape(context, shape[0], shape[1], shape[2] * shape[3]), weights[3]);
  }

  @Test
  void flamingo() {
    int dim = 24;
    int mediaDim = 18;
    int heads = 4;
    int inner = 32;
    float attentionGate = 0.7f;
    float feedForwardGate = -0.4f;
    Tensor wq = Layers.weight(arena, random, dim, inner);
    Tensor wk = Layers.weight(arena, random, mediaDim, inner);
    Tensor wv = Layers.weight(arena, random, mediaDim, inner);
    Tensor wo = Layers.weight(arena, random, inner, dim);
    Tensor w1 = Layers.weight(arena, random, dim, 4 * dim);
    Tensor w2 = Layers.weight(arena, random, 4 * dim, dim);
    Tensor[] vectors = new Tensor[4];
    for (int n = 0; n < 4; n++) {
      vectors[n] = Layers.normal(arena, random, dim);
    }
    Tensor x = Layers.normal(arena, random, 2, 7, dim);
    Tensor media = Layers.normal(arena, random, 2, 5, mediaDim);

    Array t = array(x);
    Array h = torch.layerNorm(t, array(vectors[0]), array(vectors[1]), 1e-5);
    h = attention(h, array(media), heads, wq, wk, wv, wo);
    t = torch.add(t, torch.multiply(h, Math.tanh(attentionGate)));
    h = torch.layerNorm(t, array(vectors[2]), array(vectors[3]), 1e-5);
    h = product(torch.gelu(product(h, w1)), w2);
    t = torch.add(t, torch.multiply(h, Math.tanh(feedForwardGate)));

    Tensor out = Tensor.allocate(arena, DType.FLOAT32, 2, 7, dim);
    Norm[] norms = {
      new LayerNorm(runtime, vectors[0], vectors[1], 1e-5f),
      new LayerNorm(runtime, vectors[2], vectors[3], 1e-5f)
    };
    // example: flamingo
    MultiHeadAttention attention =
        MultiHeadAttention.builder(runtime, heads)
            .query(wq, null)
            .key(wk, null)
            .value(wv, null)
            .output(GatedCrossAttention.gated(arena, wo, attentionGate), null)
            .build();
    Tensor gated = GatedCrossAttention.gated(arena, w2, feedForwardGate);
    FeedForward network = new FeedForward(runtime, w1, null, Activation.GELU, gated, null);
    GatedCrossAttention block =
        new GatedCrossAttention(runtime, attention, norms[0], network, norms[1]);
    block.forward(null, x, null, media, null, out);
    // end
    check(t, out);
  }

  /** As training begins. */
  @Test
  void flamingoWithClosedGates() {
    Tensor[] w = new Tensor[6];
    for (int n = 0; n < w.length; n++) {
      w[n] = Layers.weight(arena, random, 24, 24);
    }
    Norm norm =
        new LayerNorm(
            runtime, Layers.normal(arena, random, 24), Layers.normal(arena, random, 24), 1e-5f);
    GatedCrossAttention block =
        new GatedCrossAttention(
            runtime,
            MultiHeadAttention.builder(runtime, 4)
                .query(w[0], null)
                .key(w[1], null)
                .value(w[2], null)
                .output(GatedCrossAttention.gated(arena, w[3], 0), null)
                .build(),
            norm,
            new FeedForward(
                runtime,
                w[4],
                null,
                Activation.GELU,
                GatedCrossAttention.gated(arena, w[5], 0),
                null),
            norm);
    Tensor x = Layers.normal(arena, random, 2, 7, 24);
    Tensor out = Tensor.allocate(arena, DType.FLOAT32, 2, 7, 24);
    block.forward(null, x, null, Layers.normal(arena, random, 2, 5, 24), null, out);
    assertArrayEquals(x.toFloatArray(), out.toFloatArray());
  }

  @Test
  void table() {
    int dim = 24;
    int heads = 3;
    int rows = 8;
    int columns = 5;
    int known = 6;
    Tensor x = Layers.normal(arena, random, rows, columns, dim);
    Array t = array(x);
    List<TableTransformer.Layer> layers = new ArrayList<>();
    for (int n = 0; n < 2; n++) {
      Tensor[][] w = new Tensor[2][4];
      MultiHeadAttention[] attention = new MultiHeadAttention[2];
      for (int i = 0; i < 2; i++) {
        for (int j = 0; j < 4; j++) {
          w[i][j] = Layers.weight(arena, random, dim, dim);
        }
        attention[i] =
            MultiHeadAttention.builder(runtime, heads)
                .query(w[i][0], null)
                .key(w[i][1], null)
                .value(w[i][2], null)
                .output(w[i][3], null)
                .build();
      }
      Tensor w1 = Layers.weight(arena, random, dim, 60);
      Tensor w2 = Layers.weight(arena, random, 60, dim);
      Tensor[] g = new Tensor[6];
      for (int i = 0; i < 6; i++) {
        g[i] = Layers.normal(arena, random, dim);
      }
      layers.add(
          new TableTransformer.Layer(
              attention[0],
              new LayerNorm(runtime, g[0], g[1], 1e-5f),
              attention[1],
              new LayerNorm(runtime, g[2], g[3], 1e-5f),
              new FeedForward(runtime, w1, null, Activation.GELU, w2, null),
              new LayerNorm(runtime, g[4], g[5], 1e-5f)));
      t = norm(torch.add(t, attention(t, t, heads, w[0])), g[0], g[1]);
      Array turned = torch.transpose(t, 0, 1); // [columns, rows, dim]
      Array items = attention(turned, torch.slice(turned, 1, 0, known), heads, w[1]);
      t = norm(torch.add(t, torch.transpose(items, 0, 1)), g[2], g[3]);
      t = norm(torch.add(t, product(torch.gelu(product(t, w1)), w2)), g[4], g[5]);
    }
    // example: table
    TableTransformer model = new TableTransformer(runtime, layers);
    Tensor out = Tensor.allocate(arena, DType.FLOAT32, rows, columns, dim);
    model.forward(null, x, known, out); // rows from known on are to be predicted
    // end
    check(t, out);
  }

  private Array norm(Array x, Tensor gamma, Tensor beta) {
    return torch.layerNorm(x, array(gamma), array(beta), 1e-5);
  }
}
