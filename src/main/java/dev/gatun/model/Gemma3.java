package dev.gatun.model;

import dev.gatun.internal.Json;
import dev.gatun.nn.NormOrder;
import dev.gatun.nn.PositionalEncoding;

/**
 * The text model of Gemma 3 (Gemma Team, 2025): {@link Gemma2} with norms of the heads of queries
 * and keys in place of capped scores, a window in five of six layers, and there rotary positions of
 * another base.
 */
final class Gemma3 {

  private static final WeightNames NAMES = Llama.headNorms(Gemma.sandwich());

  private static final String TEXT = "text_config";

  /**
   * What transformers takes where a text_config does not say; those of released models are short.
   */
  private static final Json DEFAULTS =
      Json.parse(
          """
          {"vocab_size": 262208, "hidden_size": 2304, "intermediate_size": 9216,
          "num_hidden_layers": 26, "num_attention_heads": 8, "num_key_value_heads": 4,
          "head_dim": 256, "query_pre_attn_scalar": 256, "sliding_window": 4096,
          "max_position_embeddings": 131072}
          """);

  /** Of a model that sees images too: what texts do without. */
  private static final String VISION = "(model\\.)?(vision_tower|multi_modal_projector)\\..*";

  private Gemma3() {}

  /**
   * Of a folder of a model that sees images too, the part that reads texts, under its names before
   * and since transformers 4.52.
   */
  static DecoderStack textOf(Checkpoint checkpoint) {
    FamilyConfig whole = checkpoint.config();
    if (!whole.json().find(TEXT).isObject()) {
      throw whole.expected(TEXT, "an object");
    }
    whole.requireFlag("tie_word_embeddings", true);
    whole.refuse("quantization_config");
    FamilyConfig text = whole.below(TEXT);
    text.requireText("model_type", "gemma3_text");
    Checkpoint named = checkpoint.renamed(Gemma3::ofText);
    return files(
        new Checkpoint(
            named.folder(),
            named.runtime(),
            text.or(DEFAULTS),
            named.weights(),
            named.arena(),
            named.format()));
  }

  private static String ofText(String name) {
    return name.matches(VISION)
        ? null
        : name.replaceFirst("^language_model\\.", "")
            .replaceFirst("^model\\.language_model\\.", "model.");
  }

  /** Of a folder in Hugging Face's layout. */
  static DecoderStack files(Checkpoint checkpoint) {
    DecoderConfig config = DecoderConfig.of(checkpoint, 256, 1e-6, true);
    FamilyConfig keys = config.config();
    keys.requireFlag("use_bidirectional_attention", false);
    Gemma.requireModules(config, "Gemma3");
    int every =
        keys.size(
            keys.has("_sliding_window_pattern")
                ? "_sliding_window_pattern"
                : "sliding_window_pattern",
            6);
    boolean[] sliding = config.sliding(n -> (n + 1) % every != 0);
    LayerConfig local = layer(config, config.window(4096), local(config));
    LayerConfig global = layer(config, 0, config.rotary("full_attention", 1_000_000));
    return new DecoderStack(
        "Gemma3",
        config,
        NAMES,
        config.stack(NormOrder.SANDWICH, n -> sliding[n] ? local : global),
        true,
        Gemma.factor(config),
        Gemma.softcap(keys, "final_logit_softcapping", 0));
  }

  /** Positions of layers with a window, which nothing scales where they have a key of their own. */
  private static PositionalEncoding local(DecoderConfig config) {
    return config.config().has("rope_parameters")
        ? config.rotary("sliding_attention", 10_000)
        : config.plainRotary("rope_local_base_freq", 10_000);
  }

  private static LayerConfig layer(DecoderConfig config, int window, PositionalEncoding positions) {
    FamilyConfig keys = config.config();
    return config.layer(
        DecoderConfig.causal(window)
            .scale(Gemma.scale(keys))
            .softcap(Gemma.softcap(keys, "attn_logit_softcapping", 0))
            .build(),
        positions,
        Gemma.activation(keys));
  }
}
