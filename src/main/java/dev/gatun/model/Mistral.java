package dev.gatun.model;

import dev.gatun.AttentionSpec;
import dev.gatun.Causal;
import dev.gatun.GatunRuntime;
import dev.gatun.nn.DecoderOnlyModel;
import dev.gatun.nn.Rotary;

/**
 * Mistral (Jiang et al., 2023): {@link Llama} with a sliding window, under the same names. A cache
 * keeps all tokens; keys that no row sees any more are not read.
 */
public final class Mistral {

  private Mistral() {}

  /** Of a folder in Hugging Face's layout; no window where {@code sliding_window} is null. */
  static DecoderStack files(Checkpoint checkpoint) {
    DecoderConfig config = DecoderConfig.of(checkpoint, 0, 1e-6, false);
    config.requireSizes();
    config.requireBiases("Mistral", false, DecoderConfig.ATTENTION);
    config.requireBiases("Mistral", false, DecoderConfig.FEED_FORWARD);
    LayerConfig each =
        config.layer(config.window(4096), config.rotary(10_000), config.activation());
    return new DecoderStack("Mistral", config, Llama.NAMES, config.stack(each));
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
   * @param slidingWindow keys that a row sees, its own among them: 4096 in the first version; 0 for
   *     all, as later versions have it, whose config.json has none
   * @param rotary sines and cosines of its positions, {@link Rotary.Pairing#HALVES}
   * @param epsilon of the norms, 1e-5
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
      int slidingWindow,
      Rotary rotary,
      float epsilon) {
    if (slidingWindow < 0) {
      throw new IllegalArgumentException("slidingWindow: expected 0 or more, got " + slidingWindow);
    }
    AttentionSpec attention =
        AttentionSpec.builder().causal(Causal.BOTTOM_RIGHT).window(slidingWindow - 1, -1).build();
    return Llama.of(
        "Mistral", runtime, weights, layers, heads, kvHeads, attention, rotary, epsilon);
  }
}
