package dev.gatun.model;

import java.util.List;

/**
 * Qwen 2 and 2.5 (Yang et al., 2024): {@link Llama} with biases of queries, keys and values, and,
 * if {@code use_sliding_window} says so, a window in the layers from {@code max_window_layers} on.
 */
final class Qwen2 {

  private Qwen2() {}

  /** Of a folder in Hugging Face's layout. */
  static DecoderStack files(Checkpoint checkpoint) {
    DecoderConfig config = DecoderConfig.of(checkpoint, 0, 1e-6, false);
    config.requireSizes();
    List<String> attention = DecoderConfig.ATTENTION;
    config.requireBiases("Qwen2", true, attention.subList(0, 3));
    config.requireBiases("Qwen2", false, attention.subList(3, 4));
    config.requireBiases("Qwen2", false, DecoderConfig.FEED_FORWARD);
    return new DecoderStack("Qwen2", config, Llama.NAMES, stack(config));
  }

  /** Layers of which the last ones may have a window. */
  static StackConfig stack(DecoderConfig config) {
    FamilyConfig keys = config.config();
    boolean windows = keys.flag("use_sliding_window", false);
    int first = keys.integer("max_window_layers", 28);
    boolean[] sliding = config.sliding(n -> n >= first);
    var positions = config.rotary(10_000);
    LayerConfig global = config.layer(0, positions, config.activation());
    LayerConfig local =
        windows ? config.layer(config.window(4096), positions, config.activation()) : global;
    return config.stack(n -> sliding[n] ? local : global);
  }
}
