package dev.gatun.model;

import dev.gatun.Activation;
import dev.gatun.Causal;
import dev.gatun.GatunRuntime;
import dev.gatun.model.WeightNames.Part;
import dev.gatun.nn.DecoderOnlyModel;
import dev.gatun.nn.Embedding;
import dev.gatun.nn.Linear;
import dev.gatun.nn.NormOrder;
import dev.gatun.nn.PositionalEncoding;
import dev.gatun.nn.TransformerDecoder;

/**
 * GPT-2 (Radford et al., 2019): pre-norm layers, learned positions, GELU by tanh, tied output;
 * Hugging Face's names.
 */
public final class Gpt2 {

  private static final String LAYER = "h.{n}.";

  private static final WeightNames NAMES =
      WeightNames.inputMajor()
          .with(Part.SELF_NORM, LAYER + "ln_1.{p}")
          .with(Part.FUSED, LAYER + "attn.c_attn.{p}")
          .with(Part.OUTPUT, LAYER + "attn.c_proj.{p}")
          .with(Part.FEED_FORWARD_NORM, LAYER + "ln_2.{p}")
          .with(Part.FIRST, LAYER + "mlp.c_fc.{p}")
          .with(Part.SECOND, LAYER + "mlp.c_proj.{p}")
          .with(Part.FINAL_NORM, "ln_f.{p}")
          .beside("wte.weight", "wpe.weight", "lm_head.weight")
          // buffers with the causal mask and what it adds
          .beside(LAYER + "attn.bias", LAYER + "attn.masked_bias");

  private Gpt2() {}

  /**
   * Puts a model together.
   *
   * @param runtime where it runs
   * @param weights must stay open as long as the model is used
   * @param layers how many, 12 in the smallest
   * @param heads of attention, 12 in the smallest
   * @return the model
   * @throws IllegalArgumentException naming the weight that is missing or does not fit, under its
   *     name in the file
   */
  public static DecoderOnlyModel of(GatunRuntime runtime, Weights weights, int layers, int heads) {
    return of(
        runtime,
        weights,
        StackConfig.of(
            NormOrder.PRE, layers, heads, Causal.BOTTOM_RIGHT, Activation.GELU_TANH, 1e-5f));
  }

  /** Of a folder in Hugging Face's layout. */
  static DecoderOnlyModel load(Checkpoint given) {
    FamilyConfig config = given.config();
    config.refuse("quantization_config");
    config.requireFlag("scale_attn_weights", true);
    config.requireFlag("scale_attn_by_inverse_layer_idx", false);
    config.requireFlag("add_cross_attention", false);
    config.requireFlag("tie_word_embeddings", true);
    Checkpoint checkpoint = given.scoped("transformer.");
    int dim = config.size("n_embd", 768);
    int heads = config.size("n_head", 12);
    if (dim % heads != 0) {
      throw config.expected("n_head", "a divisor of %d".formatted(dim));
    }
    requireSize(checkpoint, "vocab_size", "wte.weight", 0, 50257);
    requireSize(checkpoint, "n_embd", "wte.weight", 1, 768);
    requireSize(checkpoint, "n_positions", "wpe.weight", 0, 1024);
    int layers = config.size("n_layer", 12);
    for (int n = 0; n < layers; n++) {
      requireSize(checkpoint, "n_inner", "h.%d.mlp.c_fc.weight".formatted(n), 1, 4 * dim);
    }
    return of(
        checkpoint.runtime(),
        checkpoint.packed(),
        StackConfig.of(
            NormOrder.PRE,
            layers,
            heads,
            Causal.BOTTOM_RIGHT,
            config.activation("activation_function", "gelu_new"),
            config.epsilon("layer_norm_epsilon", 1e-5)));
  }

  private static void requireSize(
      Checkpoint checkpoint, String key, String name, int dimension, int otherwise) {
    long size = LayerLoader.requireMatrix(checkpoint.weights(), name).size(dimension);
    if (checkpoint.config().size(key, otherwise) != size) {
      throw checkpoint.config().expected(key, "%d, as %s has".formatted(size, name));
    }
  }

  private static DecoderOnlyModel of(GatunRuntime runtime, Weights weights, StackConfig config) {
    UnreadWeights.requireSame(weights, "lm_head.weight", "wte.weight");
    TransformerDecoder decoder = new LayerLoader(runtime, weights, NAMES, config).decoder();
    Embedding embedding =
        new Embedding(
            runtime,
            LayerLoader.table(weights, "wte.weight", decoder.dim()),
            1,
            PositionalEncoding.learned(LayerLoader.table(weights, "wpe.weight", decoder.dim())));
    Linear output = LayerLoader.tied(runtime, weights, "wte.weight", embedding);
    return new DecoderOnlyModel("Gpt2", runtime, embedding, decoder, output);
  }
}
