package dev.gatun.model;

import dev.gatun.DType;
import dev.gatun.GatunRuntime;
import dev.gatun.Tensor;
import dev.gatun.WeightFormat;
import dev.gatun.nn.DecoderOnlyModel;
import dev.gatun.nn.PositionalEncoding;
import dev.gatun.nn.Rotary;
import dev.gatun.nn.RotaryScaling;
import dev.gatun.nn.TextEncoder;
import dev.gatun.nn.Transformer;
import dev.gatun.support.Run;
import java.lang.foreign.Arena;
import java.util.Map;
import java.util.Random;
import java.util.TreeMap;

/** A small model of each family, with random weights under the family's names. */
final class SmallModels {

  static final int DIM = 16;
  static final int HIDDEN = 24;
  static final int VOCABULARY = 11;
  static final int LAYERS = 2;
  static final int HEADS = 2;

  final Arena arena;
  final GatunRuntime runtime = Run.runtime(Run.bestTier(), 2);
  private final Random random = new Random(5);
  private Map<String, Tensor> map;

  /** Of the weights of models. */
  WeightFormat format = WeightFormat.VIEW;

  SmallModels(Arena arena) {
    this.arena = arena;
  }

  private Weights weights(Map<String, Tensor> all) {
    return Weights.of(all).packed(arena, format);
  }

  Tensor draw(long... shape) {
    int count = 1;
    for (long size : shape) {
      count = Math.toIntExact(count * size);
    }
    float[] data = new float[count];
    for (int i = 0; i < count; i++) {
      data[i] = (float) (random.nextGaussian() / 4);
    }
    return Tensor.copyOf(arena, data, shape);
  }

  private void put(String name, long... shape) {
    map.put(name, draw(shape));
  }

  private void linear(String name, int out, int in) {
    put(name + ".weight", out, in);
    put(name + ".bias", out);
  }

  private void norm(String name) {
    put(name + ".weight", DIM);
    put(name + ".bias", DIM);
  }

  // ---- weights -------------------------------------------------------------------------------

  /** Encoder and decoder of the paper. */
  Map<String, Tensor> paper() {
    map = new TreeMap<>();
    put("source_embedding.weight", 9, DIM);
    put("target_embedding.weight", VOCABULARY, DIM);
    for (String side : new String[] {"encoder", "decoder"}) {
      for (int n = 0; n < LAYERS; n++) {
        String block = side + ".layers." + n + ".";
        put(block + "self_attn.in_proj_weight", 3 * DIM, DIM);
        put(block + "self_attn.in_proj_bias", 3 * DIM);
        linear(block + "self_attn.out_proj", DIM, DIM);
        if (side.equals("decoder")) {
          put(block + "multihead_attn.in_proj_weight", 3 * DIM, DIM);
          put(block + "multihead_attn.in_proj_bias", 3 * DIM);
          linear(block + "multihead_attn.out_proj", DIM, DIM);
          norm(block + "norm3");
        }
        linear(block + "linear1", HIDDEN, DIM);
        linear(block + "linear2", DIM, HIDDEN);
        norm(block + "norm1");
        norm(block + "norm2");
      }
      norm(side + ".norm");
    }
    return map;
  }

  Map<String, Tensor> llama() {
    map = new TreeMap<>();
    put("model.embed_tokens.weight", VOCABULARY, DIM);
    for (int n = 0; n < LAYERS; n++) {
      String block = "model.layers." + n + ".";
      put(block + "input_layernorm.weight", DIM);
      put(block + "self_attn.q_proj.weight", DIM, DIM);
      put(block + "self_attn.k_proj.weight", DIM / HEADS, DIM);
      put(block + "self_attn.v_proj.weight", DIM / HEADS, DIM);
      put(block + "self_attn.o_proj.weight", DIM, DIM);
      put(block + "post_attention_layernorm.weight", DIM);
      put(block + "mlp.gate_proj.weight", HIDDEN, DIM);
      put(block + "mlp.up_proj.weight", HIDDEN, DIM);
      put(block + "mlp.down_proj.weight", DIM, HIDDEN);
    }
    put("model.norm.weight", DIM);
    put("lm_head.weight", VOCABULARY, DIM);
    return map;
  }

  DecoderOnlyModel llama(Map<String, Tensor> weights) {
    return llama(weights(weights));
  }

  DecoderOnlyModel llama(Weights weights) {
    return Llama.of(runtime, weights, LAYERS, HEADS, 1, rotary(DIM / HEADS, 10_000), 1e-5f);
  }

  private Rotary rotary(int size, double base) {
    return Rotary.of(arena, 16, size, base, Rotary.Pairing.HALVES, RotaryScaling.none());
  }

  /** Under the names of LLaMA. */
  DecoderOnlyModel mistral(Map<String, Tensor> weights) {
    return mistral(weights(weights));
  }

  DecoderOnlyModel mistral(Weights weights) {
    return Mistral.of(runtime, weights, LAYERS, HEADS, 1, 3, rotary(DIM / HEADS, 10_000), 1e-5f);
  }

  /** Heads of 6, which are not dim / heads. */
  Map<String, Tensor> gemma2() {
    map = new TreeMap<>();
    put("model.embed_tokens.weight", VOCABULARY, DIM);
    for (int n = 0; n < LAYERS; n++) {
      String block = "model.layers." + n + ".";
      put(block + "input_layernorm.weight", DIM);
      put(block + "self_attn.q_proj.weight", HEADS * 6, DIM);
      put(block + "self_attn.k_proj.weight", 6, DIM);
      put(block + "self_attn.v_proj.weight", 6, DIM);
      put(block + "self_attn.o_proj.weight", DIM, HEADS * 6);
      put(block + "post_attention_layernorm.weight", DIM);
      put(block + "pre_feedforward_layernorm.weight", DIM);
      put(block + "mlp.gate_proj.weight", HIDDEN, DIM);
      put(block + "mlp.up_proj.weight", HIDDEN, DIM);
      put(block + "mlp.down_proj.weight", DIM, HIDDEN);
      put(block + "post_feedforward_layernorm.weight", DIM);
    }
    put("model.norm.weight", DIM);
    return map;
  }

  DecoderOnlyModel gemma2(Map<String, Tensor> weights) {
    return gemma2(weights(weights));
  }

  DecoderOnlyModel gemma2(Weights weights) {
    return new Gemma2(LAYERS, HEADS, 1, 3, 6, 50, 30, 1e-6f)
        .of(runtime, arena, weights, rotary(6, 10_000));
  }

  Map<String, Tensor> modernBert() {
    map = new TreeMap<>();
    put("embeddings.tok_embeddings.weight", VOCABULARY, DIM);
    put("embeddings.norm.weight", DIM);
    for (int n = 0; n < LAYERS; n++) {
      String block = "layers." + n + ".";
      if (n > 0) {
        put(block + "attn_norm.weight", DIM);
      }
      put(block + "attn.Wqkv.weight", 3 * DIM, DIM);
      put(block + "attn.Wo.weight", DIM, DIM);
      put(block + "mlp_norm.weight", DIM);
      put(block + "mlp.Wi.weight", 2 * HIDDEN, DIM);
      put(block + "mlp.Wo.weight", DIM, HIDDEN);
    }
    put("final_norm.weight", DIM);
    return map;
  }

  TextEncoder modernBert(Map<String, Tensor> weights) {
    return modernBert(weights(weights));
  }

  TextEncoder modernBert(Weights weights) {
    return new ModernBert(LAYERS, HEADS, 3, 4, 1e-5f)
        .of(runtime, weights, rotary(DIM / HEADS, 160_000), rotary(DIM / HEADS, 10_000));
  }

  Map<String, Tensor> gpt2() {
    map = new TreeMap<>();
    put("wte.weight", VOCABULARY, DIM);
    put("wpe.weight", 16, DIM);
    for (int n = 0; n < LAYERS; n++) {
      String block = "h." + n + ".";
      norm(block + "ln_1");
      put(block + "attn.c_attn.weight", DIM, 3 * DIM);
      put(block + "attn.c_attn.bias", 3 * DIM);
      put(block + "attn.c_proj.weight", DIM, DIM);
      put(block + "attn.c_proj.bias", DIM);
      norm(block + "ln_2");
      put(block + "mlp.c_fc.weight", DIM, HIDDEN);
      put(block + "mlp.c_fc.bias", HIDDEN);
      put(block + "mlp.c_proj.weight", HIDDEN, DIM);
      put(block + "mlp.c_proj.bias", DIM);
    }
    norm("ln_f");
    return map;
  }

  DecoderOnlyModel gpt2(Map<String, Tensor> weights) {
    return Gpt2.of(runtime, weights(weights), LAYERS, HEADS);
  }

  Map<String, Tensor> t5() {
    map = new TreeMap<>();
    put("shared.weight", VOCABULARY, DIM);
    for (String side : new String[] {"encoder", "decoder"}) {
      boolean decoder = side.equals("decoder");
      put(side + ".block.0.layer.0.SelfAttention.relative_attention_bias.weight", 8, HEADS);
      for (int n = 0; n < LAYERS; n++) {
        String block = side + ".block." + n + ".layer.";
        attention(block + "0.SelfAttention.");
        put(block + "0.layer_norm.weight", DIM);
        if (decoder) {
          attention(block + "1.EncDecAttention.");
          put(block + "1.layer_norm.weight", DIM);
        }
        String last = block + (decoder ? "2." : "1.");
        put(last + "layer_norm.weight", DIM);
        put(last + "DenseReluDense.wi.weight", HIDDEN, DIM);
        put(last + "DenseReluDense.wo.weight", DIM, HIDDEN);
      }
      put(side + ".final_layer_norm.weight", DIM);
    }
    return map;
  }

  private void attention(String name) {
    for (String part : new String[] {"q", "k", "v", "o"}) {
      put(name + part + ".weight", DIM, DIM);
    }
  }

  Transformer t5(Map<String, Tensor> weights) {
    return T5.of(runtime, arena, weights(weights), LAYERS, HEADS);
  }

  Map<String, Tensor> bert() {
    map = new TreeMap<>();
    put("embeddings.word_embeddings.weight", VOCABULARY, DIM);
    put("embeddings.position_embeddings.weight", 16, DIM);
    put("embeddings.token_type_embeddings.weight", 2, DIM);
    norm("embeddings.LayerNorm");
    for (int n = 0; n < LAYERS; n++) {
      String block = "encoder.layer." + n + ".";
      linear(block + "attention.self.query", DIM, DIM);
      linear(block + "attention.self.key", DIM, DIM);
      linear(block + "attention.self.value", DIM, DIM);
      linear(block + "attention.output.dense", DIM, DIM);
      norm(block + "attention.output.LayerNorm");
      linear(block + "intermediate.dense", HIDDEN, DIM);
      linear(block + "output.dense", DIM, HIDDEN);
      norm(block + "output.LayerNorm");
    }
    return map;
  }

  TextEncoder bert(Map<String, Tensor> weights) {
    return Bert.of(runtime, weights(weights), LAYERS, HEADS);
  }

  Map<String, Tensor> distilBert() {
    map = new TreeMap<>();
    put("embeddings.word_embeddings.weight", VOCABULARY, DIM);
    put("embeddings.position_embeddings.weight", 16, DIM);
    norm("embeddings.LayerNorm");
    for (int n = 0; n < LAYERS; n++) {
      String block = "transformer.layer." + n + ".";
      for (String part : new String[] {"q_lin", "k_lin", "v_lin", "out_lin"}) {
        linear(block + "attention." + part, DIM, DIM);
      }
      norm(block + "sa_layer_norm");
      linear(block + "ffn.lin1", HIDDEN, DIM);
      linear(block + "ffn.lin2", DIM, HIDDEN);
      norm(block + "output_layer_norm");
    }
    return map;
  }

  TextEncoder distilBert(Map<String, Tensor> weights) {
    return DistilBert.of(runtime, weights(weights), LAYERS, HEADS);
  }

  Map<String, Tensor> vit() {
    map = new TreeMap<>();
    put("embeddings.patch_embeddings.projection.weight", DIM, 3, 4, 4);
    put("embeddings.patch_embeddings.projection.bias", DIM);
    put("embeddings.cls_token", 1, 1, DIM);
    put("embeddings.position_embeddings", 1, 5, DIM);
    for (int n = 0; n < LAYERS; n++) {
      String block = "encoder.layer." + n + ".";
      norm(block + "layernorm_before");
      for (String part : new String[] {"query", "key", "value"}) {
        linear(block + "attention.attention." + part, DIM, DIM);
      }
      linear(block + "attention.output.dense", DIM, DIM);
      norm(block + "layernorm_after");
      linear(block + "intermediate.dense", HIDDEN, DIM);
      linear(block + "output.dense", DIM, HIDDEN);
    }
    norm("layernorm");
    linear("classifier", 7, DIM);
    return map;
  }

  Vit vit(Map<String, Tensor> weights) {
    return Vit.of(runtime, arena, weights(weights), LAYERS, HEADS, 8, 8);
  }

  Map<String, Tensor> clip() {
    map = new TreeMap<>();
    put("text_model.embeddings.token_embedding.weight", VOCABULARY, DIM);
    put("text_model.embeddings.position_embedding.weight", 8, DIM);
    put("vision_model.embeddings.patch_embedding.weight", DIM, 3, 4, 4);
    put("vision_model.embeddings.class_embedding", DIM);
    put("vision_model.embeddings.position_embedding.weight", 5, DIM);
    norm("vision_model.pre_layrnorm");
    for (String tower : new String[] {"text_model", "vision_model"}) {
      for (int n = 0; n < LAYERS; n++) {
        String block = tower + ".encoder.layers." + n + ".";
        for (String part : new String[] {"q_proj", "k_proj", "v_proj", "out_proj"}) {
          linear(block + "self_attn." + part, DIM, DIM);
        }
        norm(block + "layer_norm1");
        norm(block + "layer_norm2");
        linear(block + "mlp.fc1", HIDDEN, DIM);
        linear(block + "mlp.fc2", DIM, HIDDEN);
      }
    }
    norm("text_model.final_layer_norm");
    norm("vision_model.post_layernorm");
    put("text_projection.weight", 6, DIM);
    put("visual_projection.weight", 6, DIM);
    put("logit_scale");
    return map;
  }

  Clip clip(Map<String, Tensor> weights) {
    return Clip.of(runtime, arena, weights(weights), LAYERS, HEADS, LAYERS, HEADS, 8);
  }

  PositionalEncoding sinusoidal() {
    return PositionalEncoding.sinusoidal(arena, 16, DIM);
  }

  Tensor zeros(long... shape) {
    return Tensor.allocate(arena, DType.FLOAT32, shape);
  }

  Tensor ids(int batch, int seq) {
    return Tensor.copyOf(
        arena, random.ints((long) batch * seq, 0, VOCABULARY).toArray(), batch, seq);
  }
}
