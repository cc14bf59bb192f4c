package dev.gatun.model;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import dev.gatun.Activation;
import dev.gatun.Causal;
import dev.gatun.DType;
import dev.gatun.GatunRuntime;
import dev.gatun.Tensor;
import dev.gatun.io.Npy;
import dev.gatun.io.Safetensors;
import dev.gatun.nn.DecoderState;
import dev.gatun.nn.NormOrder;
import dev.gatun.nn.PositionalEncoding;
import dev.gatun.nn.Rotary;
import dev.gatun.nn.RotaryScaling;
import dev.gatun.nn.Transformer;
import java.io.IOException;
import java.lang.foreign.Arena;
import java.nio.file.Path;
import java.util.Arrays;
import java.util.Map;
import java.util.Random;
import java.util.Set;
import java.util.TreeMap;
import java.util.function.Consumer;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

/** Weights that nothing reads are refused by name, for all families that are loaded by names. */
class UnreadWeightsTest {
  private static final int DIM = 8;
  private static final int WORDS = 9;

  @TempDir private Path folder;

  private final Arena arena = Arena.ofShared();
  private final GatunRuntime runtime = GatunRuntime.builder().threads(1).build();
  private final Random random = new Random(5);
  private final Map<String, Tensor> map = new TreeMap<>();

  @AfterEach
  void close() {
    runtime.close();
    arena.close();
  }

  private void put(String name, long... shape) {
    float[] data = new float[(int) Arrays.stream(shape).reduce(1, (a, b) -> a * b)];
    for (int i = 0; i < data.length; i++) {
      data[i] = (float) random.nextGaussian(0, 0.5);
    }
    map.put(name, Tensor.copyOf(arena, data, shape));
  }

  private void put(String block, Set<String> names, long... shape) {
    names.forEach(name -> put(block + name, shape));
  }

  /** Each of these is refused under its name; without it the model loads. */
  private void checkRefused(Consumer<Weights> family, String... names) {
    family.accept(Weights.of(map));
    for (String name : names) {
      put(name, DIM, DIM);
      String message =
          assertThrows(IllegalArgumentException.class, () -> family.accept(Weights.of(map)))
              .getMessage();
      assertTrue(message.contains(name), message);
      // A lambda cannot list its weights.
      Weights lambda = map::get;
      assertEquals(Set.of(), lambda.names());
      map.remove(name);
    }
  }

  /** None of these is needed. */
  private void checkUnneeded(Consumer<Weights> family, String... names) {
    for (String name : names) {
      put(name, 3);
    }
    family.accept(Weights.of(map));
    map.keySet().removeAll(Set.of(names));
  }

  // ---- families ------------------------------------------------------------------------------

  private void llamaWeights() {
    put("model.embed_tokens.weight", WORDS, DIM);
    put("model.norm.weight", DIM);
    for (int n = 0; n < 2; n++) {
      String block = "model.layers." + n + ".";
      put(block, Set.of("input_layernorm.weight", "post_attention_layernorm.weight"), DIM);
      put(block, Set.of("self_attn.q_proj.weight", "self_attn.o_proj.weight"), DIM, DIM);
      put(block, Set.of("self_attn.k_proj.weight", "self_attn.v_proj.weight"), 4, DIM);
      put(block, Set.of("mlp.gate_proj.weight", "mlp.up_proj.weight"), 12, DIM);
      put(block + "mlp.down_proj.weight", DIM, 12);
    }
  }

  private void llama(Weights weights) {
    Rotary rotary = Rotary.of(arena, 16, 4, 1e4, Rotary.Pairing.HALVES, RotaryScaling.none());
    Llama.of(runtime, weights, 2, 2, 1, rotary, 1e-5f);
  }

  @Test
  void llama() {
    llamaWeights();
    checkRefused(
        this::llama,
        "model.layers.0.self_attn.q_norm.weight",
        "model.layers.1.self_attn.k_norm.weight",
        "model.layers.2.self_attn.q_proj.weight",
        "model.layers.10.mlp.down_proj.weight",
        "model.layers.0.input_layernorm.bias",
        "model.layers.0.pre_feedforward_layernorm.weight",
        "model.layers.0.self_attn.sinks",
        "model.norm.bias",
        "model.embed_positions.weight",
        "lm_head.bias",
        "score.weight");
    checkUnneeded(this::llama, "model.layers.0.self_attn.rotary_emb.inv_freq");
    // Read where they are there: Qwen2's biases, an output of its own.
    put("lm_head.weight", WORDS, DIM);
    put("model.layers.0.self_attn.q_proj.bias", DIM);
    llama(Weights.of(map));
  }

  @Test
  void mistral() {
    llamaWeights();
    Rotary rotary = Rotary.of(arena, 16, 4, 1e4, Rotary.Pairing.HALVES, RotaryScaling.none());
    Consumer<Weights> family = weights -> Mistral.of(runtime, weights, 2, 2, 1, 3, rotary, 1e-5f);
    checkRefused(
        family,
        "model.layers.0.self_attn.q_norm.weight",
        "model.layers.2.self_attn.q_proj.weight",
        "model.layers.0.block_sparse_moe.gate.weight",
        "model.layers.1.self_attn.sinks",
        "model.norm.bias",
        "score.weight");
    checkUnneeded(family, "model.layers.0.self_attn.rotary_emb.inv_freq");
  }

  @Test
  void gemma2() {
    llamaWeights();
    for (int n = 0; n < 2; n++) {
      String block = "model.layers." + n + ".";
      put(block + "pre_feedforward_layernorm.weight", DIM);
      put(block + "post_feedforward_layernorm.weight", DIM);
    }
    Rotary rotary = Rotary.of(arena, 16, 4, 1e4, Rotary.Pairing.HALVES, RotaryScaling.none());
    Gemma2 gemma = new Gemma2(2, 2, 1, 3, 4, 50, 30, 1e-6f);
    Consumer<Weights> family = weights -> gemma.of(runtime, arena, weights, rotary);
    checkRefused(
        family,
        "model.layers.0.self_attn.q_norm.weight", // Gemma 3's
        "model.layers.1.self_attn.k_norm.weight",
        "model.layers.2.mlp.up_proj.weight",
        "model.layers.0.pre_feedforward_layernorm_2.weight",
        "model.layers.0.post_attention_layernorm.bias",
        "model.layers.1.post_feedforward_layernorm.bias",
        "model.norm.bias",
        "lm_head.weight", // of other numbers than the table
        "lm_head.bias",
        "score.weight");
    checkUnneeded(family, "model.layers.0.self_attn.rotary_emb.inv_freq");
    map.put("lm_head.weight", map.get("model.embed_tokens.weight"));
    family.accept(Weights.of(map));
  }

  @Test
  void modernBert() {
    put("embeddings.tok_embeddings.weight", WORDS, DIM);
    put("", Set.of("embeddings.norm.weight", "final_norm.weight"), DIM);
    for (int n = 0; n < 2; n++) {
      String block = "layers." + n + ".";
      put(block + "mlp_norm.weight", DIM);
      put(block + "attn.Wqkv.weight", 3 * DIM, DIM);
      put(block + "attn.Wo.weight", DIM, DIM);
      put(block + "mlp.Wi.weight", 24, DIM);
      put(block + "mlp.Wo.weight", DIM, 12);
    }
    put("layers.1.attn_norm.weight", DIM);
    Rotary rotary = Rotary.of(arena, 16, 4, 1e4, Rotary.Pairing.HALVES, RotaryScaling.none());
    ModernBert modern = new ModernBert(2, 2, 3, 4, 1e-5f);
    Consumer<Weights> family = weights -> modern.of(runtime, weights, rotary, rotary);
    checkRefused(
        family,
        "layers.0.attn_norm.weight", // the first layer has none
        "layers.0.attn_norm.bias",
        "layers.2.attn_norm.weight",
        "layers.1.attn.q_norm.weight",
        "layers.0.mlp.Wg.weight",
        "embeddings.norm.bias",
        "embeddings.position_embeddings.weight",
        "model.layers.0.mlp.Wi.weight",
        "classifier.weight");
    String[] head = {"head.dense.weight", "head.norm.weight", "decoder.weight", "decoder.bias"};
    checkUnneeded(family, head);
    // All of a file with a head has the scope but the head.
    Map<String, Tensor> plain = new TreeMap<>(map);
    map.clear();
    plain.forEach((name, tensor) -> map.put("model." + name, tensor));
    checkRefused(
        family,
        "model.layers.0.attn_norm.weight",
        "model.layers.2.mlp.Wo.weight",
        "model.head.dense.weight",
        "layers.0.mlp.Wi.weight",
        "final_norm.weight",
        "classifier.weight");
    checkUnneeded(family, head);
  }

  @Test
  void filesAreNamed() throws IOException {
    llamaWeights();
    String name = "model.layers.0.self_attn.q_norm.weight";
    put(name, 4);
    Path file = folder.resolve("model.safetensors");
    Safetensors.write(file, map, Map.of());
    String expected = "%s: expected weights that the model reads, got " + name + " [4]";
    Weights mapped = Weights.of(Safetensors.map(file, arena), arena);
    assertEquals(map.keySet(), mapped.names());
    assertEquals(
        expected.formatted(file),
        assertThrows(IllegalArgumentException.class, () -> llama(mapped)).getMessage());
    put("more", 4);
    Path npy = folder.resolve("npy");
    java.nio.file.Files.createDirectories(npy);
    for (Map.Entry<String, Tensor> entry : map.entrySet()) {
      Npy.write(npy.resolve(entry.getKey() + ".npy"), entry.getValue());
    }
    Weights files = Weights.npy(npy, arena);
    assertEquals(map.keySet(), files.names());
    assertEquals(
        expected.formatted(npy) + " and 1 more",
        assertThrows(IllegalArgumentException.class, () -> llama(files)).getMessage());
  }

  @Test
  void gpt2() {
    put("wte.weight", WORDS, DIM);
    put("wpe.weight", 16, DIM);
    put("", Set.of("ln_f.weight", "ln_f.bias", "h.0.ln_1.weight", "h.0.ln_1.bias"), DIM);
    put("h.0.", Set.of("ln_2.weight", "ln_2.bias", "attn.c_proj.bias", "mlp.c_proj.bias"), DIM);
    put("h.0.attn.c_attn.weight", DIM, 3 * DIM);
    put("h.0.attn.c_attn.bias", 3 * DIM);
    put("h.0.attn.c_proj.weight", DIM, DIM);
    put("h.0.mlp.c_fc.weight", DIM, 12);
    put("h.0.mlp.c_fc.bias", 12);
    put("h.0.mlp.c_proj.weight", 12, DIM);
    Consumer<Weights> family = weights -> Gpt2.of(runtime, weights, 1, 2);
    checkRefused(
        family,
        "h.1.ln_1.weight",
        "h.0.crossattention.c_attn.weight",
        "h.0.attn.q_attn.weight",
        "lm_head.bias",
        "lm_head.weight", // of other numbers than the table
        "multiple_choice_head.summary.weight");
    checkUnneeded(family, "h.0.attn.bias", "h.0.attn.masked_bias");
    map.put("lm_head.weight", map.get("wte.weight"));
    family.accept(Weights.of(map));
  }

  @Test
  void distilBert() {
    String block = "transformer.layer.0.";
    put("embeddings.word_embeddings.weight", WORDS, DIM);
    put("embeddings.position_embeddings.weight", 16, DIM);
    put("embeddings.LayerNorm.", Set.of("weight", "bias"), DIM);
    for (String part : new String[] {"q_lin", "k_lin", "v_lin", "out_lin"}) {
      put(block + "attention." + part + ".weight", DIM, DIM);
      put(block + "attention." + part + ".bias", DIM);
    }
    put(block, Set.of("sa_layer_norm.weight", "sa_layer_norm.bias"), DIM);
    put(block, Set.of("output_layer_norm.weight", "output_layer_norm.bias"), DIM);
    put(block + "ffn.lin1.weight", 12, DIM);
    put(block + "ffn.lin1.bias", 12);
    put(block + "ffn.lin2.weight", DIM, 12);
    put(block + "ffn.lin2.bias", DIM);
    Consumer<Weights> family = weights -> DistilBert.of(runtime, weights, 1, 2);
    checkRefused(
        family,
        "embeddings.token_type_embeddings.weight",
        "transformer.layer.1.ffn.lin2.bias",
        block + "attention.q_norm.weight",
        block + "ffn.gate.weight",
        "distilbert.transformer.layer.0.ffn.lin1.weight",
        "pooler.dense.weight",
        "pre_classifier.weight",
        "classifier.weight",
        "qa_outputs.weight");
    String[] head = {
      "vocab_transform.weight",
      "vocab_transform.bias",
      "vocab_layer_norm.weight",
      "vocab_layer_norm.bias",
      "vocab_projector.weight",
      "vocab_projector.bias"
    };
    checkUnneeded(family, head);
    checkUnneeded(family, "embeddings.position_ids");
    // All of a file with a head has the scope but the head.
    Map<String, Tensor> plain = new TreeMap<>(map);
    map.clear();
    plain.forEach((name, tensor) -> map.put("distilbert." + name, tensor));
    checkRefused(
        family,
        "distilbert.transformer.layer.1.ffn.lin2.bias",
        "distilbert.embeddings.token_type_embeddings.weight",
        "distilbert.vocab_projector.weight",
        "transformer.layer.0.ffn.lin1.weight",
        "embeddings.word_embeddings.weight",
        "embeddings.position_ids",
        "classifier.weight");
    checkUnneeded(family, head);
    checkUnneeded(family, "distilbert.embeddings.position_ids");
  }

  @Test
  void bert() {
    put("embeddings.word_embeddings.weight", WORDS, DIM);
    put("embeddings.position_embeddings.weight", 16, DIM);
    put("embeddings.token_type_embeddings.weight", 2, DIM);
    put("embeddings.LayerNorm.", Set.of("weight", "bias"), DIM);
    String block = "encoder.layer.0.";
    for (String part : new String[] {"self.query", "self.key", "self.value", "output.dense"}) {
      put(block + "attention." + part + ".weight", DIM, DIM);
      put(block + "attention." + part + ".bias", DIM);
    }
    put(block, Set.of("attention.output.LayerNorm.weight", "output.LayerNorm.weight"), DIM);
    put(block, Set.of("attention.output.LayerNorm.bias", "output.LayerNorm.bias"), DIM);
    put(block + "intermediate.dense.weight", 12, DIM);
    put(block + "intermediate.dense.bias", 12);
    put(block + "output.dense.weight", DIM, 12);
    put(block + "output.dense.bias", DIM);
    Consumer<Weights> family = weights -> Bert.of(runtime, weights, 1, 2);
    checkRefused(
        family,
        block + "attention.self.distance_embedding.weight",
        "encoder.layer.1.output.dense.bias",
        "encoder.relative_attention_bias.weight",
        "embeddings_project.weight",
        "lm_head.dense.weight",
        "classifier.weight");
    checkUnneeded(
        family,
        "embeddings.position_ids",
        "pooler.dense.weight",
        "pooler.dense.bias",
        "cls.predictions.bias");
    put("embeddings.token_type_embeddings.weight", 1, DIM);
    String message =
        assertThrows(IllegalArgumentException.class, () -> family.accept(Weights.of(map)))
            .getMessage();
    assertTrue(message.contains("RoBERTa"), message);
  }

  private void t5Weights(boolean gated) {
    put("shared.weight", WORDS, DIM);
    for (String side : new String[] {"encoder", "decoder"}) {
      String block = side + ".block.0.layer.";
      put(block + "0.SelfAttention.relative_attention_bias.weight", 32, 2);
      put(block + "0.SelfAttention.", Set.of("q.weight", "k.weight", "v.weight"), DIM, DIM);
      put(block + "0.SelfAttention.o.weight", DIM, DIM);
      put(block + "0.layer_norm.weight", DIM);
      boolean decoder = side.equals("decoder");
      String last = block + (decoder ? "2." : "1.");
      if (decoder) {
        put(block + "1.EncDecAttention.", Set.of("q.weight", "k.weight", "v.weight"), DIM, DIM);
        put(block + "1.EncDecAttention.o.weight", DIM, DIM);
        put(block + "1.layer_norm.weight", DIM);
      }
      put(last + "DenseReluDense." + (gated ? "wi_0" : "wi") + ".weight", 12, DIM);
      if (gated) {
        put(last + "DenseReluDense.wi_1.weight", 12, DIM);
      }
      put(last + "DenseReluDense.wo.weight", DIM, 12);
      put(last + "layer_norm.weight", DIM);
      put(side + ".final_layer_norm.weight", DIM);
    }
  }

  private Transformer t5(Weights weights) {
    return T5.of(runtime, arena, weights, 1, 2);
  }

  private float[] logits(Transformer model) {
    Tensor memory = Tensor.allocate(arena, DType.FLOAT32, 1, 3, DIM);
    model.encode(null, Tensor.copyOf(arena, new int[] {3, 1, 5}, 1, 3), null, memory);
    DecoderState state = model.newState(arena, 1, 4, 4);
    model.remember(null, state, memory, null);
    Tensor out = Tensor.allocate(arena, DType.FLOAT32, 1, WORDS);
    model.next(null, state, Tensor.copyOf(arena, new int[] {2}, 1, 1), null, out);
    return out.toFloatArray();
  }

  @Test
  void t5() {
    t5Weights(false);
    checkRefused(
        this::t5,
        "encoder.block.1.layer.0.SelfAttention.q.weight",
        "decoder.block.1.layer.0.SelfAttention.q.weight",
        "decoder.block.0.layer.2.DenseReluDense.wi_1.weight",
        "encoder.block.0.layer.1.DenseReluDense.wi_2.weight",
        "encoder.block.0.layer.0.layer_norm.bias",
        "encoder.final_layer_norm.bias",
        "encoder.embed_tokens.weight", // of other numbers than the table
        "decoder.embed_tokens.weight",
        "lm_head.bias",
        "classifier.weight");
    checkUnneeded(
        this::t5, "decoder.block.0.layer.1.EncDecAttention.relative_attention_bias.weight");
    // Copies of the table, as files of Hugging Face have them, and a tied output among them.
    float[] want = logits(t5(Weights.of(map)));
    for (String name : new String[] {"encoder.embed_tokens", "decoder.embed_tokens", "lm_head"}) {
      map.put(name + ".weight", map.get("shared.weight"));
    }
    assertArrayEquals(want, logits(t5(Weights.of(map))), "a tied output is scaled");
    put("lm_head.weight", WORDS, DIM);
    assertTrue(!Arrays.equals(want, logits(t5(Weights.of(map)))));
    map.clear();
    t5Weights(true);
    t5(Weights.of(map));
  }

  @Test
  void vit() {
    put("embeddings.patch_embeddings.projection.weight", DIM, 1, 2, 2);
    put("embeddings.patch_embeddings.projection.bias", DIM);
    put("embeddings.cls_token", 1, 1, DIM);
    put("embeddings.position_embeddings", 1, 5, DIM);
    put("layernorm.", Set.of("weight", "bias"), DIM);
    put("classifier.weight", 3, DIM);
    put("classifier.bias", 3);
    String block = "encoder.layer.0.";
    put(block, Set.of("layernorm_before.weight", "layernorm_before.bias"), DIM);
    put(block, Set.of("layernorm_after.weight", "layernorm_after.bias"), DIM);
    String attention = block + "attention.";
    for (String part :
        new String[] {"attention.query", "attention.key", "attention.value", "output.dense"}) {
      put(attention + part + ".weight", DIM, DIM);
      put(attention + part + ".bias", DIM);
    }
    put(block + "intermediate.dense.weight", 12, DIM);
    put(block + "output.dense.weight", DIM, 12);
    Consumer<Weights> family = weights -> Vit.of(runtime, arena, weights, 1, 2, 4, 4);
    checkRefused(
        family,
        "encoder.layer.1.layernorm_before.weight",
        block + "layer_scale1.lambda1",
        "embeddings.register_tokens",
        "embeddings.distillation_token",
        "distillation_classifier.weight");
    checkUnneeded(family, "pooler.dense.weight", "embeddings.mask_token");
  }

  @Test
  void clip() {
    put("text_model.embeddings.token_embedding.weight", WORDS, DIM);
    put("text_model.embeddings.position_embedding.weight", 6, DIM);
    put("vision_model.embeddings.patch_embedding.weight", DIM, 1, 2, 2);
    put("vision_model.embeddings.class_embedding", DIM);
    put("vision_model.embeddings.position_embedding.weight", 5, DIM);
    put("vision_model.", Set.of("pre_layrnorm.weight", "pre_layrnorm.bias"), DIM);
    put("vision_model.", Set.of("post_layernorm.weight", "post_layernorm.bias"), DIM);
    put("text_model.", Set.of("final_layer_norm.weight", "final_layer_norm.bias"), DIM);
    put("", Set.of("text_projection.weight", "visual_projection.weight"), 4, DIM);
    map.put("logit_scale", Tensor.copyOf(arena, new float[] {1}));
    for (String tower : new String[] {"text_model", "vision_model"}) {
      String block = tower + ".encoder.layers.0.";
      put(block, Set.of("layer_norm1.weight", "layer_norm1.bias"), DIM);
      put(block, Set.of("layer_norm2.weight", "layer_norm2.bias"), DIM);
      for (String part : new String[] {"q_proj", "k_proj", "v_proj", "out_proj"}) {
        put(block + "self_attn." + part + ".weight", DIM, DIM);
        put(block + "self_attn." + part + ".bias", DIM);
      }
      put(block + "mlp.fc1.weight", 12, DIM);
      put(block + "mlp.fc2.weight", DIM, 12);
    }
    Consumer<Weights> family = weights -> Clip.of(runtime, arena, weights, 1, 2, 1, 2, 4);
    checkRefused(
        family,
        "text_model.encoder.layers.1.mlp.fc1.weight",
        "vision_model.encoder.layers.0.self_attn.q_norm.weight",
        "vision_model.head.probe",
        "text_model.head.weight",
        "visual_projection.bias",
        "logit_bias");
    checkUnneeded(
        family, "text_model.embeddings.position_ids", "vision_model.embeddings.position_ids");
  }

  // ---- names of one's own --------------------------------------------------------------------

  @Test
  void loadersOfBlocks() {
    String block = "blocks.0.";
    put(block, Set.of("q.weight", "k.weight", "v.weight", "o.weight"), DIM, DIM);
    put(block, Set.of("n.weight", "n.bias", "m.weight", "m.bias"), DIM);
    put(block + "up.weight", 12, DIM);
    put(block + "down.weight", DIM, 12);
    put("something.else", 3);
    Consumer<Weights> loader =
        weights ->
            new LayerLoader(
                    runtime,
                    weights,
                    names(),
                    StackConfig.of(NormOrder.POST, 1, 2, Causal.NONE, Activation.RELU, 1e-5f))
                .encoder();
    checkRefused(loader, "blocks.1.q.weight", "blocks.0.gate.weight", "blocks.0.n.scale");
    put("blocks.0.gate.weight", 12, DIM);
    StackConfig config = StackConfig.of(NormOrder.POST, 1, 2, Causal.NONE, Activation.RELU, 1e-5f);
    WeightNames known = names().beside("blocks.{n}.gate.weight", "some*");
    new LayerLoader(runtime, Weights.of(map), known, config).encoder();
    WeightNames fewer = names().beside("blocks.{n}.gate.weight");
    assertThrows(
        IllegalArgumentException.class,
        () -> new LayerLoader(runtime, Weights.of(map), fewer, config).encoder());
  }

  private static WeightNames names() {
    return WeightNames.outputMajor()
        .with(WeightNames.Part.QUERY, "blocks.{n}.q.{p}")
        .with(WeightNames.Part.KEY, "blocks.{n}.k.{p}")
        .with(WeightNames.Part.VALUE, "blocks.{n}.v.{p}")
        .with(WeightNames.Part.OUTPUT, "blocks.{n}.o.{p}")
        .with(WeightNames.Part.SELF_NORM, "blocks.{n}.n.{p}")
        .with(WeightNames.Part.FEED_FORWARD_NORM, "blocks.{n}.m.{p}")
        .with(WeightNames.Part.FIRST, "blocks.{n}.up.{p}")
        .with(WeightNames.Part.SECOND, "blocks.{n}.down.{p}");
  }

  @Test
  void thePapersTransformer() {
    put("target_embedding.weight", WORDS, DIM);
    for (String side : new String[] {"encoder", "decoder"}) {
      String block = side + ".layers.0.";
      put(block + "self_attn.in_proj_weight", 3 * DIM, DIM);
      put(block + "self_attn.out_proj.weight", DIM, DIM);
      put(block, Set.of("norm1.weight", "norm1.bias", "norm2.weight", "norm2.bias"), DIM);
      put(block + "linear1.weight", 12, DIM);
      put(block + "linear2.weight", DIM, 12);
    }
    put("decoder.layers.0.", Set.of("norm3.weight", "norm3.bias"), DIM);
    put("decoder.layers.0.multihead_attn.in_proj_weight", 3 * DIM, DIM);
    put("decoder.layers.0.multihead_attn.out_proj.weight", DIM, DIM);
    PositionalEncoding positions = PositionalEncoding.sinusoidal(arena, 8, DIM);
    VaswaniTransformer paper = new VaswaniTransformer(1, 2, Activation.RELU, NormOrder.POST);
    checkRefused(
        weights -> paper.of(runtime, weights, positions),
        "encoder.layers.1.norm1.weight",
        "decoder.layers.0.norm4.weight",
        "encoder.layers.0.self_attn.bias_k",
        "positions.weight",
        "generator.weight");
    checkRefused(
        weights -> paper.encoder(runtime, weights, positions), "encoder.layers.0.linear3.weight");
    // An encoder alone may be part of a bigger file.
    put("generator.weight", WORDS, DIM);
    paper.encoder(runtime, Weights.of(map), positions);
  }
}
