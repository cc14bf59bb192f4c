package dev.gatun.model;

import dev.gatun.Activation;
import dev.gatun.AttentionSpec;
import dev.gatun.Causal;
import dev.gatun.GatunRuntime;
import dev.gatun.Tensor;
import dev.gatun.model.WeightNames.Part;
import dev.gatun.nn.DecoderOnlyModel;
import dev.gatun.nn.Embedding;
import dev.gatun.nn.NormOrder;
import dev.gatun.nn.PositionalEncoding;
import dev.gatun.nn.Rotary;
import dev.gatun.nn.TransformerDecoder;

/**
 * LLaMA (Touvron et al., 2023): pre-norm layers with RMSNorm, rotary positions, grouped queries,
 * SwiGLU, no biases; Hugging Face's names.
 */
public final class Llama {

  private static final String LAYER = "model.layers.{n}.";

  static final WeightNames NAMES =
      attention(WeightNames.outputMajor())
          .with(Part.FEED_FORWARD_NORM, LAYER + "post_attention_layernorm.{p}");

  private Llama() {}

  /** What descendants that differ in their norms have in common, from a start of their own. */
  static WeightNames attention(WeightNames start) {
    return start
        .with(Part.SELF_NORM, LAYER + "input_layernorm.{p}")
        .with(Part.QUERY, LAYER + "self_attn.q_proj.{p}")
        .with(Part.KEY, LAYER + "self_attn.k_proj.{p}")
        .with(Part.VALUE, LAYER + "self_attn.v_proj.{p}")
        .with(Part.OUTPUT, LAYER + "self_attn.o_proj.{p}")
        .with(Part.FIRST, LAYER + "mlp.gate_proj.{p}")
        .with(Part.GATE, LAYER + "mlp.up_proj.{p}")
        .with(Part.SECOND, LAYER + "mlp.down_proj.{p}")
        .with(Part.FINAL_NORM, "model.norm.{p}")
        .beside("model.embed_tokens.weight", "lm_head.weight")
        // a buffer with the frequencies of Rotary
        .beside(LAYER + "self_attn.rotary_emb.inv_freq");
  }

  /** Norms of the heads of queries and keys, of Qwen3 and Gemma 3. */
  static WeightNames headNorms(WeightNames names) {
    return names
        .with(Part.QUERY_NORM, LAYER + "self_attn.q_norm.{p}")
        .with(Part.KEY_NORM, LAYER + "self_attn.k_norm.{p}");
  }

  /** Of a folder in Hugging Face's layout. */
  static DecoderStack files(Checkpoint checkpoint) {
    DecoderConfig config = DecoderConfig.of(checkpoint, 0, 1e-6, false);
    config.requireSizes();
    config.requireBiases("attention_bias", DecoderConfig.ATTENTION);
    config.requireBiases("mlp_bias", DecoderConfig.FEED_FORWARD);
    LayerConfig each = config.layer(0, config.rotary(10_000), config.activation());
    return new DecoderStack("Llama", config, NAMES, config.stack(each));
  }

  /**
   * Puts a model together.
   *
   * @param runtime where it runs
   * @param weights must stay open as long as the model is used; the output is tied if there is no
   *     {@code lm_head.weight}
   * @param layers how many
   * @param heads of queries
   * @param kvHeads of keys and values
   * @param rotary sines and cosines of its positions, {@link Rotary.Pairing#HALVES} for weights
   *     under these names
   * @param epsilon of the norms: 1e-6 in the first LLaMA, 1e-5 since
   * @return the model
   * @throws IllegalArgumentException naming the weight that is missing or does not fit, under its
   *     name in the file
   */
  public static DecoderOnlyModel of(
      GatunRuntime runtime,
      Weights weights,
      int layers,
      int heads,
      int kvHeads,
      Rotary rotary,
      float epsilon) {
    AttentionSpec causal = AttentionSpec.builder().causal(Causal.BOTTOM_RIGHT).build();
    return of("Llama", runtime, weights, layers, heads, kvHeads, causal, rotary, epsilon);
  }

  /** The same for a family that differs in its attention. */
  static DecoderOnlyModel of(
      String name,
      GatunRuntime runtime,
      Weights weights,
      int layers,
      int heads,
      int kvHeads,
      AttentionSpec attention,
      Rotary rotary,
      float epsilon) {
    PositionalEncoding positions = PositionalEncoding.rotary(rotary);
    LayerConfig each = new LayerConfig(heads, kvHeads, attention, positions, Activation.SILU);
    StackConfig config = new StackConfig(layers, NormOrder.PRE, true, epsilon, each);
    TransformerDecoder decoder = new LayerLoader(runtime, weights, NAMES, config).decoder();
    Tensor table = LayerLoader.table(weights, "model.embed_tokens.weight", decoder.dim());
    Embedding embedding = new Embedding(runtime, table, 1, PositionalEncoding.none());
    Tensor head = weights.find("lm_head.weight");
    return new DecoderOnlyModel(
        name,
        runtime,
        embedding,
        decoder,
        head == null
            ? LayerLoader.tied(runtime, weights, "model.embed_tokens.weight", embedding)
            : LayerLoader.linear(runtime, weights, "lm_head.weight", null, decoder.dim()));
  }
}
