package dev.gatun.model;

import dev.gatun.nn.PositionalEncoding;
import java.util.List;

/**
 * SmolLM 3 (Hugging Face, 2025): {@link Llama} without positions in every fourth layer (Yang et
 * al., 2025, "Rope to Nope and Back Again"). SmolLM and SmolLM 2 are {@link Llama}.
 */
final class SmolLm3 {

  private static final String ROTATED = "no_rope_layers";
  private static final String INTERVAL = "no_rope_layer_interval";

  private SmolLm3() {}

  /** Of a folder in Hugging Face's layout. */
  static DecoderStack files(Checkpoint checkpoint) {
    DecoderConfig config = DecoderConfig.of(checkpoint, 0, 1e-6, true);
    config.requireSizes();
    config.requireBiases("attention_bias", DecoderConfig.ATTENTION);
    config.requireBiases("mlp_bias", DecoderConfig.FEED_FORWARD);
    FamilyConfig keys = config.config();
    boolean windows = keys.flag("use_sliding_window", false);
    boolean[] rotated = rotated(config);
    boolean[] sliding = config.sliding(n -> windows && !rotated[n]);
    int window = windows ? config.window(0) : 0;
    PositionalEncoding rotary = config.rotary(2_000_000);
    return new DecoderStack(
        "SmolLm3",
        config,
        Llama.NAMES,
        config.stack(
            n ->
                config.layer(
                    sliding[n] ? window : 0,
                    rotated[n] ? rotary : PositionalEncoding.none(),
                    config.activation())));
  }

  /** Despite its name, {@code no_rope_layers} has a 1 for a layer with positions. */
  private static boolean[] rotated(DecoderConfig config) {
    FamilyConfig keys = config.config();
    List<Integer> said = keys.integers(ROTATED);
    int interval = keys.size(INTERVAL, 4);
    if (said != null && said.size() != config.layers()) {
      throw keys.expected(
          ROTATED, "as many elements as num_hidden_layers, %d".formatted(config.layers()));
    }
    boolean[] rotated = new boolean[config.layers()];
    for (int n = 0; n < rotated.length; n++) {
      rotated[n] = said == null ? (n + 1) % interval != 0 : said.get(n) != 0;
    }
    return rotated;
  }
}
