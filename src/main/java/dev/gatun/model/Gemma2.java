package dev.gatun.model;

import dev.gatun.Activation;
import dev.gatun.AttentionSpec;
import dev.gatun.Causal;
import dev.gatun.DType;
import dev.gatun.GatunRuntime;
import dev.gatun.Tensor;
import dev.gatun.model.WeightNames.Part;
import dev.gatun.nn.DecoderOnlyModel;
import dev.gatun.nn.Embedding;
import dev.gatun.nn.NormOrder;
import dev.gatun.nn.PositionalEncoding;
import dev.gatun.nn.Rotary;
import dev.gatun.nn.TransformerDecoder;
import java.lang.foreign.Arena;
import java.util.HashMap;
import java.util.Map;

/**
 * Gemma 2 (Gemma Team, 2024): norms before and behind each sublayer, a sliding window in every
 * other layer beginning with the first, capped scores and logits, grouped queries, rotary
 * positions, a gated GELU by tanh, embeddings times {@code sqrt(dim)}, tied output, no biases;
 * Hugging Face's names.
 *
 * <p>Its norms multiply by {@code 1 + weight}, which is added once, to copies of the weights: the
 * same float that Hugging Face's model adds in each call, so that nothing else is rounded. The
 * factor of embeddings is {@code sqrt(dim)} as a float; a model that runs in bfloat16 there rounds
 * it to that.
 *
 * @param layers how many, {@code num_hidden_layers} of config.json: 26 in the 2B model
 * @param heads of queries, {@code num_attention_heads}
 * @param kvHeads of keys and values, {@code num_key_value_heads}
 * @param slidingWindow keys that a row sees in layers 0, 2, 4, …, its own among them: 4096
 * @param queryScalar scores are divided by its root, {@code query_pre_attn_scalar}: 256 in the 2B
 *     and 9B models, 144 in the 27B model
 * @param attentionSoftcap of scores, {@code attn_logit_softcapping}: 50; 0 for none
 * @param logitSoftcap of logits, {@code final_logit_softcapping}: 30; 0 for none
 * @param epsilon of the norms, {@code rms_norm_eps}: 1e-6
 */
public record Gemma2(
    int layers,
    int heads,
    int kvHeads,
    int slidingWindow,
    float queryScalar,
    float attentionSoftcap,
    float logitSoftcap,
    float epsilon) {

  private static final String TABLE = "model.embed_tokens.weight";
  private static final String LAYER = "model.layers.{n}.";

  private static final WeightNames NAMES =
      WeightNames.outputMajor()
          .with(Part.SELF_NORM, LAYER + "input_layernorm.{p}")
          .with(Part.QUERY, LAYER + "self_attn.q_proj.{p}")
          .with(Part.KEY, LAYER + "self_attn.k_proj.{p}")
          .with(Part.VALUE, LAYER + "self_attn.v_proj.{p}")
          .with(Part.OUTPUT, LAYER + "self_attn.o_proj.{p}")
          .with(Part.SELF_OUTPUT_NORM, LAYER + "post_attention_layernorm.{p}")
          .with(Part.FEED_FORWARD_NORM, LAYER + "pre_feedforward_layernorm.{p}")
          .with(Part.FIRST, LAYER + "mlp.gate_proj.{p}")
          .with(Part.GATE, LAYER + "mlp.up_proj.{p}")
          .with(Part.SECOND, LAYER + "mlp.down_proj.{p}")
          .with(Part.FEED_FORWARD_OUTPUT_NORM, LAYER + "post_feedforward_layernorm.{p}")
          .with(Part.FINAL_NORM, "model.norm.{p}")
          .beside(TABLE, "lm_head.weight")
          // a buffer with the frequencies of Rotary
          .beside(LAYER + "self_attn.rotary_emb.inv_freq");

  private static final Part[] NORMS = {
    Part.SELF_NORM, Part.SELF_OUTPUT_NORM, Part.FEED_FORWARD_NORM, Part.FEED_FORWARD_OUTPUT_NORM
  };

  /** Checks what neither weights nor layers check. */
  public Gemma2 {
    if (slidingWindow < 1) {
      throw new IllegalArgumentException("slidingWindow: expected 1 or more, got " + slidingWindow);
    }
    if (!(queryScalar > 0) || Float.isInfinite(queryScalar)) {
      throw new IllegalArgumentException(
          "queryScalar: expected a finite number above 0, got " + queryScalar);
    }
  }

  /**
   * Puts a model together.
   *
   * @param runtime where it runs
   * @param arena where the weights of the norms lie, with 1 added
   * @param weights must stay open as long as the model is used
   * @param rotary sines and cosines of its positions, {@link Rotary.Pairing#HALVES}, of the base
   *     10,000
   * @return the model
   * @throws IllegalArgumentException naming the weight that is missing or does not fit, under its
   *     name in the file
   */
  public DecoderOnlyModel of(GatunRuntime runtime, Arena arena, Weights weights, Rotary rotary) {
    UnreadWeights.requireSame(weights, "lm_head.weight", TABLE);
    LayerConfig local = layer(rotary, slidingWindow - 1);
    LayerConfig global = layer(rotary, -1);
    StackConfig config =
        new StackConfig(
            layers, NormOrder.SANDWICH, true, epsilon, n -> n % 2 == 0 ? local : global);
    Weights raised = UnreadWeights.replaced(weights, raised(arena, weights));
    TransformerDecoder decoder = new LayerLoader(runtime, raised, NAMES, config).decoder();
    Tensor table = LayerLoader.table(weights, TABLE, decoder.dim());
    float factor = (float) Math.sqrt(decoder.dim());
    Embedding embedding = new Embedding(runtime, table, factor, PositionalEncoding.none());
    return new DecoderOnlyModel(
        "Gemma2",
        runtime,
        embedding,
        decoder,
        LayerLoader.tied(runtime, weights, TABLE, embedding),
        logitSoftcap);
  }

  private LayerConfig layer(Rotary rotary, int left) {
    AttentionSpec attention =
        AttentionSpec.builder()
            .causal(Causal.BOTTOM_RIGHT)
            .scale((float) (1 / Math.sqrt(queryScalar)))
            .softcap(attentionSoftcap)
            .window(left, -1)
            .build();
    PositionalEncoding positions = PositionalEncoding.rotary(rotary);
    return new LayerConfig(heads, kvHeads, attention, positions, Activation.GELU_TANH);
  }

  /** The weights of all norms, each with 1 added. */
  private Map<String, Tensor> raised(Arena arena, Weights weights) {
    Map<String, Tensor> raised = new HashMap<>();
    for (int n = 0; n < layers; n++) {
      for (Part norm : NORMS) {
        raise(arena, weights, NAMES.name(norm, n, "weight"), raised);
      }
    }
    raise(arena, weights, NAMES.name(Part.FINAL_NORM, 0, "weight"), raised);
    return raised;
  }

  private static void raise(Arena arena, Weights weights, String name, Map<String, Tensor> raised) {
    Tensor weight = LayerLoader.require(weights, name);
    if (weight.dtype() != DType.FLOAT32) {
      return; // the loader says what it expects
    }
    float[] gamma = weight.toFloatArray();
    for (int i = 0; i < gamma.length; i++) {
      gamma[i] += 1;
    }
    raised.put(name, Tensor.copyOf(arena, gamma, weight.shape()));
  }
}
