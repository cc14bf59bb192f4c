package dev.gatun.model;

import dev.gatun.Activation;
import dev.gatun.model.WeightNames.Part;

/**
 * Gemma (Gemma Team, 2024): {@link Llama} with a gated GELU by tanh, heads of an explicit size,
 * embeddings times {@code sqrt(dim)} and norms that multiply by {@code 1 + weight}.
 */
final class Gemma {

  private Gemma() {}

  /** Of a folder in Hugging Face's layout. */
  static DecoderStack files(Checkpoint checkpoint) {
    DecoderConfig config = DecoderConfig.of(checkpoint, 256, 1e-6, true);
    requireModules(config, "Gemma");
    LayerConfig each = config.layer(0, config.rotary(10_000), activation(config.config()));
    return new DecoderStack(
        "Gemma", config, Llama.NAMES, config.stack(each), true, factor(config), 0);
  }

  static void requireModules(DecoderConfig config, String family) {
    config.requireSizes();
    config.requireBiases("attention_bias", DecoderConfig.ATTENTION);
    config.requireBiases(family, false, DecoderConfig.FEED_FORWARD);
  }

  /**
   * What {@code hidden_activation} says. Older files say {@code gelu} in {@code hidden_act}, where
   * the models were trained with its approximation by tanh.
   */
  static Activation activation(FamilyConfig config) {
    String key = config.has("hidden_activation") ? "hidden_activation" : "hidden_act";
    Activation activation = config.activation(key, "gelu_pytorch_tanh");
    return key.equals("hidden_act") && activation == Activation.GELU
        ? Activation.GELU_TANH
        : activation;
  }

  /** Of the embeddings. */
  static float factor(DecoderConfig config) {
    return (float) Math.sqrt(config.dim());
  }

  /** Names of the layers with norms on both sides, of Gemma 2 and 3. */
  static WeightNames sandwich() {
    String layer = "model.layers.{n}.";
    return Llama.attention(WeightNames.outputMajor())
        .with(Part.SELF_OUTPUT_NORM, layer + "post_attention_layernorm.{p}")
        .with(Part.FEED_FORWARD_NORM, layer + "pre_feedforward_layernorm.{p}")
        .with(Part.FEED_FORWARD_OUTPUT_NORM, layer + "post_feedforward_layernorm.{p}");
  }

  /** Of scores, as Gemma 2 and 3 have it. */
  static float scale(FamilyConfig config) {
    double scalar = config.number("query_pre_attn_scalar", 256);
    if (!(scalar > 0)) {
      throw config.expected("query_pre_attn_scalar", "a number above 0");
    }
    return (float) (1 / Math.sqrt(scalar));
  }

  /** A cap of scores or logits, which null switches off: 0. */
  static float softcap(FamilyConfig config, String key, double otherwise) {
    double cap = config.isNull(key) ? 0 : config.number(key, otherwise);
    if (cap != 0 && !(cap >= 0x1p-100 && cap <= 0x1p100)) {
      throw config.expected(key, "null, or a number above 0");
    }
    return (float) cap;
  }
}
