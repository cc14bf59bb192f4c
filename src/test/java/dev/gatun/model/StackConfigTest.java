package dev.gatun.model;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import dev.gatun.Activation;
import dev.gatun.AttentionSpec;
import dev.gatun.Causal;
import dev.gatun.GatunRuntime;
import dev.gatun.Tensor;
import dev.gatun.model.WeightNames.Part;
import dev.gatun.nn.FeedForward;
import dev.gatun.nn.LayerNorm;
import dev.gatun.nn.MultiHeadAttention;
import dev.gatun.nn.NormOrder;
import dev.gatun.nn.PositionalEncoding;
import dev.gatun.nn.TransformerEncoder;
import dev.gatun.nn.TransformerLayer;
import dev.gatun.nn.WeightOrder;
import java.lang.foreign.Arena;
import java.util.List;
import java.util.Map;
import java.util.TreeMap;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.function.Executable;

/** Layers that differ from each other in everything that a configuration says. */
class StackConfigTest {
  private static final int DIM = SmallModels.DIM;

  private final Arena arena = Arena.ofShared();
  private final SmallModels models = new SmallModels(arena);
  private final GatunRuntime runtime = models.runtime;

  @AfterEach
  void close() {
    arena.close();
  }

  private static void refused(String start, Executable executable) {
    String message = assertThrows(IllegalArgumentException.class, executable).getMessage();
    assertTrue(message.startsWith(start), message);
  }

  @Test
  void numbers() {
    PositionalEncoding none = PositionalEncoding.none();
    LayerConfig each = new LayerConfig(2, 1, AttentionSpec.standard(), none, Activation.RELU);
    refused(
        "layers: expected 1 or more, got 0",
        () -> new StackConfig(0, NormOrder.PRE, true, 1e-5f, each));
    StackConfig gap = new StackConfig(3, NormOrder.PRE, true, 1e-5f, n -> n == 1 ? null : each);
    assertEquals(each, gap.layer(2));
    refused("layer: expected a configuration of layer 1, got none", () -> gap.layer(1));
    refused("slidingWindow: expected 1", () -> new Gemma2(1, 2, 1, 0, 4, 50, 30, 1e-6f));
    refused("queryScalar: expected a", () -> new Gemma2(1, 2, 1, 3, 0, 50, 30, 1e-6f));
    refused("queryScalar: expected a", () -> new Gemma2(1, 2, 1, 3, Float.NaN, 50, 30, 1e-6f));
    refused("globalEvery: expected 1", () -> new ModernBert(1, 2, 0, 4, 1e-5f));
    refused("localAttention: expected 1", () -> new ModernBert(1, 2, 3, 0, 1e-5f));
    Weights weights = Weights.of(models.llama());
    refused(
        "slidingWindow: expected 0", () -> Mistral.of(runtime, weights, 2, 2, 1, -1, null, 1e-5f));
  }

  private Map<String, Tensor> weights() {
    Map<String, Tensor> map = new TreeMap<>();
    for (int n = 0; n < 2; n++) {
      String layer = n + ".";
      int keys = n == 0 ? DIM : DIM / 4; // one of four heads
      map.put(layer + "q.weight", models.draw(DIM, DIM));
      map.put(layer + "k.weight", models.draw(keys, DIM));
      map.put(layer + "v.weight", models.draw(keys, DIM));
      map.put(layer + "o.weight", models.draw(DIM, DIM));
      map.put(layer + "n.weight", models.draw(DIM));
      map.put(layer + "m.weight", models.draw(DIM));
      map.put(layer + "up.weight", models.draw(24, DIM));
      map.put(layer + "down.weight", models.draw(DIM, 24));
    }
    return map;
  }

  /** As they are loaded, and put together by hand. */
  @Test
  void eachLayerIsWhatItsConfigurationSays() {
    Map<String, Tensor> map = weights();
    WeightNames names =
        WeightNames.outputMajor()
            .with(Part.QUERY, "{n}.q.{p}")
            .with(Part.KEY, "{n}.k.{p}")
            .with(Part.VALUE, "{n}.v.{p}")
            .with(Part.OUTPUT, "{n}.o.{p}")
            .with(Part.SELF_NORM, "{n}.n.{p}")
            .with(Part.FEED_FORWARD_NORM, "{n}.m.{p}")
            .with(Part.FIRST, "{n}.up.{p}")
            .with(Part.SECOND, "{n}.down.{p}");
    LayerConfig[] configs = {
      new LayerConfig(
          2,
          2,
          AttentionSpec.builder().window(1, 2).softcap(2).build(),
          PositionalEncoding.none(),
          Activation.RELU),
      new LayerConfig(
          4,
          1,
          AttentionSpec.builder().causal(Causal.BOTTOM_RIGHT).scale(0.3f).build(),
          PositionalEncoding.alibi(arena, 4),
          Activation.SILU)
    };
    StackConfig config = new StackConfig(2, NormOrder.POST, false, 1e-5f, n -> configs[n]);
    TransformerEncoder loaded = new LayerLoader(runtime, Weights.of(map), names, config).encoder();
    TransformerEncoder byHand =
        new TransformerEncoder(
            runtime,
            List.of(layer(map, "0.", configs[0]), layer(map, "1.", configs[1])),
            NormOrder.POST,
            null);
    Tensor x = models.draw(2, 7, DIM);
    Tensor want = models.zeros(2, 7, DIM);
    Tensor got = models.zeros(2, 7, DIM);
    byHand.forward(x, want);
    loaded.forward(x, got);
    assertArrayEquals(want.toFloatArray(), got.toFloatArray());

    // Heads of the other layer do not fit.
    StackConfig exchanged = new StackConfig(2, NormOrder.POST, false, 1e-5f, n -> configs[1 - n]);
    refused(
        "0.k.weight: expected [out, in] = [4, 16] float32 (1 heads of 4), got [16, 16]",
        () -> new LayerLoader(runtime, Weights.of(map), names, exchanged).encoder());
  }

  private TransformerLayer layer(Map<String, Tensor> map, String name, LayerConfig config) {
    MultiHeadAttention attention =
        MultiHeadAttention.builder(runtime, config.heads())
            .kvHeads(config.kvHeads())
            .spec(config.attention())
            .positions(config.positions())
            .order(WeightOrder.OUT_IN)
            .query(map.get(name + "q.weight"), null)
            .key(map.get(name + "k.weight"), null)
            .value(map.get(name + "v.weight"), null)
            .output(map.get(name + "o.weight"), null)
            .build();
    FeedForward feedForward =
        new FeedForward(
            runtime,
            WeightOrder.OUT_IN,
            map.get(name + "up.weight"),
            null,
            config.activation(),
            null,
            null,
            map.get(name + "down.weight"),
            null);
    return new TransformerLayer(
        attention,
        new LayerNorm(runtime, map.get(name + "n.weight"), null, 1e-5f),
        feedForward,
        new LayerNorm(runtime, map.get(name + "m.weight"), null, 1e-5f));
  }
}
