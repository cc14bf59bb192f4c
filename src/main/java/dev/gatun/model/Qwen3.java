package dev.gatun.model;

import dev.gatun.nn.RMSNorm;

/**
 * Qwen 3 (Yang et al., 2025): {@link Llama} with heads of an explicit size and an {@link RMSNorm}
 * of each head of queries and keys before its position; windows as {@link Qwen2} has them.
 */
final class Qwen3 {

  private static final WeightNames NAMES =
      Llama.headNorms(
          Llama.attention(WeightNames.outputMajor())
              .with(
                  WeightNames.Part.FEED_FORWARD_NORM,
                  "model.layers.{n}.post_attention_layernorm.{p}"));

  private Qwen3() {}

  /** Of a folder in Hugging Face's layout. */
  static DecoderStack files(Checkpoint checkpoint) {
    DecoderConfig config = DecoderConfig.of(checkpoint, 128, 1e-6, false);
    config.requireSizes();
    config.requireBiases("attention_bias", DecoderConfig.ATTENTION);
    config.requireBiases("Qwen3", false, DecoderConfig.FEED_FORWARD);
    return new DecoderStack("Qwen3", config, NAMES, Qwen2.stack(config));
  }
}
