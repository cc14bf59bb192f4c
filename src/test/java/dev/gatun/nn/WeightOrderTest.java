package dev.gatun.nn;

import static dev.gatun.nn.Layers.SEED;
import static dev.gatun.nn.Layers.refused;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;

import dev.gatun.Activation;
import dev.gatun.Tensor;
import dev.gatun.support.Run;
import java.lang.foreign.Arena;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.Test;

/** The order of a weight's sizes is said by name, and a weight in the other one is told so. */
class WeightOrderTest {

  private static final WeightOrder OUT_IN = WeightOrder.OUT_IN;

  private final Arena arena = Arena.ofShared();
  private final Parts parts = new Parts(arena, SEED);

  @AfterEach
  void close() {
    arena.close();
  }

  private float[] run(Linear layer, Tensor x) {
    Tensor out = parts.zeros(x.size(0), layer.out());
    layer.forward(x, out);
    return out.toFloatArray();
  }

  /** The same weight in both orders, a square one, too. */
  @Test
  void bothOrdersAreOneLayer() {
    for (int out : new int[] {8, 5}) {
      Tensor weight = parts.matrix(8, out);
      Tensor turned = parts.zeros(out, 8);
      turned.copyFrom(weight.transpose(0, 1));
      Tensor x = parts.normal(3, 8);
      Tensor bias = parts.normal(out);
      float[] want = run(new Linear(parts.runtime, weight, bias, Activation.GELU), x);
      Linear same = new Linear(parts.runtime, WeightOrder.IN_OUT, weight, bias, Activation.GELU);
      Run.checkSameBits(want, run(same, x), "in, out");
      Linear other = new Linear(parts.runtime, OUT_IN, turned, bias, Activation.GELU);
      Layers.checkClose(
          Layers.linear(Layers.doubles(x), weight, bias, Activation.GELU), run(other, x), 1e-5);
    }
  }

  @Test
  void networksAndAttention() {
    Tensor x = parts.normal(1, 3, 8);
    Tensor want = parts.zeros(1, 3, 8);
    Tensor got = parts.zeros(1, 3, 8);
    Tensor[] w = new Tensor[4];
    for (int n = 0; n < 4; n++) {
      w[n] = parts.matrix(8, 8);
    }
    new FeedForward(parts.runtime, w[0], null, Activation.SILU, w[1], null, w[2], null)
        .forward(x, want);
    new FeedForward(
            parts.runtime,
            OUT_IN,
            w[0].transpose(0, 1),
            null,
            Activation.SILU,
            w[1].transpose(0, 1),
            null,
            w[2].transpose(0, 1),
            null)
        .forward(x, got);
    Run.checkSameBits(want.toFloatArray(), got.toFloatArray(), "network");
    MultiHeadAttention.builder(parts.runtime, 2)
        .query(w[0], null)
        .key(w[1], null)
        .value(w[2], null)
        .output(w[3], null)
        .build()
        .forward(x, want);
    MultiHeadAttention.builder(parts.runtime, 2)
        .order(OUT_IN)
        .query(w[0].transpose(0, 1), null)
        .key(w[1].transpose(0, 1), null)
        .value(w[2].transpose(0, 1), null)
        .order(WeightOrder.IN_OUT)
        .output(w[3], null)
        .build()
        .forward(x, got);
    Run.checkSameBits(want.toFloatArray(), got.toFloatArray(), "attention");
  }

  @Test
  void turnedWeightsAreNamed() {
    Tensor weight = parts.matrix(5, 8); // of 8 inputs and 5 outputs, as PyTorch has it
    refused(
        "bias: expected [8] float32, as weight is [in, out] = [5, 8], got [5]; if the weight is"
            + " [out, in], give its transpose(0, 1)",
        () -> new Linear(parts.runtime, weight, parts.normal(5), Activation.NONE));
    Linear layer = new Linear(parts.runtime, weight, null, Activation.NONE);
    refused(
        "x: expected [..., 5] float32, as weight is [in, out] = [5, 8], got [3, 8]; if the weight"
            + " is [out, in], give its transpose(0, 1)",
        () -> layer.forward(parts.normal(3, 8), parts.zeros(3, 5)));
    Tensor w1 = parts.matrix(8, 20);
    Tensor w2 = parts.matrix(20, 8);
    refused(
        "w2: expected [20, out] float32 ([hidden, out], as w1 is [dim, hidden] = [8, 20]), got [8,"
            + " 20]; one of them looks like [out, in]",
        () -> new FeedForward(parts.runtime, w1, null, Activation.RELU, w1, null));
    refused(
        "w2: expected [8, out] float32 ([hidden, out], as w1 is [dim, hidden] = [20, 8]), got [20,"
            + " 5]; w1 looks like [out, in]",
        () -> new FeedForward(parts.runtime, w2, null, Activation.RELU, parts.matrix(20, 5), null));
    FeedForward both = new FeedForward(parts.runtime, w2, null, Activation.RELU, w1, null);
    refused(
        "x: expected [..., 20] float32, as w1 is [in, out] = [20, 8], got [3, 8]",
        () -> both.forward(parts.normal(3, 8), parts.zeros(3, 20)));
    Tensor square = parts.matrix(16, 16);
    MultiHeadAttention.Builder builder =
        MultiHeadAttention.builder(parts.runtime, 2).kvHeads(1).query(square, null);
    builder.value(parts.matrix(16, 8), null).output(square, null);
    builder.key(parts.matrix(8, 16), null);
    refused(
        "key: expected 8 columns (1 heads of 8), got 16; the weight looks like [out, in]",
        builder::build);
    refused(
        "key: expected [out, in] float32",
        () ->
            MultiHeadAttention.builder(parts.runtime, 2).order(OUT_IN).key(parts.normal(8), null));
    refused(
        "w1: expected [out, in]",
        () ->
            new FeedForward(
                parts.runtime,
                OUT_IN,
                parts.normal(8),
                null,
                Activation.RELU,
                null,
                null,
                square,
                null));
  }

  @Test
  void theOrderItself() {
    assertEquals("[in, out]", WeightOrder.IN_OUT.toString());
    assertEquals("[out, in]", OUT_IN.toString());
    Tensor weight = parts.matrix(3, 4);
    assertEquals(weight, WeightOrder.IN_OUT.toInOut(weight));
    assertEquals(4, OUT_IN.toInOut(weight).size(0));
    refused("weight: expected [out, in]", () -> OUT_IN.toInOut(parts.normal(3)));
    assertThrows(NullPointerException.class, () -> OUT_IN.toInOut(null));
    assertThrows(
        NullPointerException.class, () -> MultiHeadAttention.builder(parts.runtime, 2).order(null));
  }
}
