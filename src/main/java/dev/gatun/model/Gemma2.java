package dev.gatun.model;

import dev.gatun.Activation;
import dev.gatun.AttentionSpec;
import dev.gatun.Causal;
import dev.gatun.GatunRuntime;
import dev.gatun.Tensor;
import dev.gatun.nn.DecoderOnlyModel;
import dev.gatun.nn.Embedding;
import dev.gatun.nn.NormOrder;
import dev.gatun.nn.PositionalEncoding;
import dev.gatun.nn.Rotary;
import dev.gatun.nn.TransformerDecoder;
import java.lang.foreign.Arena;

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

  private static final WeightNames NAMES = Gemma.sandwich();

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
    Weights raised = DecoderStack.raised(arena, weights, NAMES, layers);
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

  /** Of a folder in Hugging Face's layout. */
  static DecoderStack files(Checkpoint checkpoint) {
    DecoderConfig config = DecoderConfig.of(checkpoint, 256, 1e-6, true);
    FamilyConfig keys = config.config();
    Gemma.requireModules(config, "Gemma2");
    boolean[] sliding = config.sliding(n -> n % 2 == 0);
    PositionalEncoding positions = config.rotary(10_000);
    AttentionSpec global =
        DecoderConfig.causal(0)
            .scale(Gemma.scale(keys))
            .softcap(Gemma.softcap(keys, "attn_logit_softcapping", 50))
            .build();
    AttentionSpec local = global.toBuilder().window(config.window(4096) - 1, -1).build();
    Activation activation = Gemma.activation(keys);
    return new DecoderStack(
        "Gemma2",
        config,
        NAMES,
        config.stack(
            NormOrder.SANDWICH,
            n -> config.layer(sliding[n] ? local : global, positions, activation)),
        true,
        Gemma.factor(config),
        Gemma.softcap(keys, "final_logit_softcapping", 30));
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
}
