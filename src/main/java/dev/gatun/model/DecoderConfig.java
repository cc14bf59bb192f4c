package dev.gatun.model;

import dev.gatun.Activation;
import dev.gatun.AttentionSpec;
import dev.gatun.Causal;
import dev.gatun.Tensor;
import dev.gatun.nn.NormOrder;
import dev.gatun.nn.PositionalEncoding;
import dev.gatun.nn.RotaryScaling;
import java.util.List;
import java.util.function.IntFunction;
import java.util.function.IntPredicate;

/**
 * What config.json says of a decoder in the keys that LLaMA's descendants have in common.
 *
 * @param checkpoint whose names begin with {@code model.}, but for {@code lm_head}
 * @param layers how many
 * @param dim of rows
 * @param heads of queries
 * @param kvHeads of keys and values
 * @param headDim elements of a head
 * @param epsilon of the norms
 * @param tied whether the output is the table of the embedding
 */
record DecoderConfig(
    Checkpoint checkpoint,
    int layers,
    int dim,
    int heads,
    int kvHeads,
    int headDim,
    float epsilon,
    boolean tied) {

  static final String TABLE = "model.embed_tokens.weight";
  static final String HEAD = "lm_head.weight";

  private static final String SCOPE = "model.";
  private static final String LAYER = "model.layers.{n}.";
  private static final String TYPES = "layer_types";
  private static final String FULL = "full_attention";
  private static final String SLIDING = "sliding_attention";
  private static final String WINDOW = "sliding_window";

  /** Modules of attention and of the feed-forward network, as LLaMA calls them. */
  static final List<String> ATTENTION =
      List.of("self_attn.q_proj", "self_attn.k_proj", "self_attn.v_proj", "self_attn.o_proj");

  static final List<String> FEED_FORWARD = List.of("mlp.gate_proj", "mlp.up_proj", "mlp.down_proj");

  /**
   * Reads the keys, and compares them with the table of the embedding.
   *
   * @param headDim where nothing is said; 0: as many as divide the rows
   * @param epsilon where nothing is said
   * @param tied where nothing is said
   */
  static DecoderConfig of(Checkpoint given, int headDim, double epsilon, boolean tied) {
    FamilyConfig config = given.config();
    config.refuse("quantization_config");
    config.requireFlag("is_causal", true);
    config.requireFlag("add_cross_attention", false);
    int dim = config.size("hidden_size");
    int heads = config.size("num_attention_heads");
    int kvHeads = config.size("num_key_value_heads", heads);
    if (heads % kvHeads != 0) {
      throw config.expected("num_key_value_heads", "a divisor of %d heads".formatted(heads));
    }
    if (headDim == 0 && !config.has("head_dim") && dim % heads != 0) {
      throw config.expected("num_attention_heads", "a divisor of %d".formatted(dim));
    }
    Checkpoint checkpoint = scoped(given);
    Tensor table = LayerLoader.requireMatrix(checkpoint.weights(), TABLE);
    requireSize(config, "vocab_size", TABLE, table.size(0));
    requireSize(config, "hidden_size", TABLE, table.size(1));
    return new DecoderConfig(
        checkpoint,
        config.size("num_hidden_layers"),
        dim,
        heads,
        kvHeads,
        config.size("head_dim", headDim == 0 ? dim / heads : headDim),
        config.epsilon("rms_norm_eps", epsilon),
        config.flag("tie_word_embeddings", tied));
  }

  /** A file of the layers alone, as embedders have it, gets the names of a decoder. */
  private static Checkpoint scoped(Checkpoint given) {
    return given.has(TABLE)
        ? given
        : given.renamed(name -> name.equals(HEAD) ? name : SCOPE + name);
  }

  private static void requireSize(FamilyConfig config, String key, String name, long size) {
    if (config.size(key) != size) {
      throw config.expected(key, "%d, as %s has".formatted(size, name));
    }
  }

  FamilyConfig config() {
    return checkpoint.config();
  }

  /** Refuses layers whose matrices have other sizes than config.json says. */
  void requireSizes(String queries, long queryRows, String first, long firstRows) {
    for (int n = 0; n < layers; n++) {
      String query = name(n, queries + ".weight");
      if (LayerLoader.requireMatrix(checkpoint.weights(), query).size(0) != queryRows) {
        throw config()
            .expected(
                config().has("head_dim") ? "head_dim" : "num_attention_heads",
                "heads that fill %s; %d heads of %d are %d rows, which has %d"
                    .formatted(
                        query,
                        heads,
                        headDim,
                        queryRows,
                        checkpoint.weights().find(query).size(0)));
      }
      String hidden = name(n, first + ".weight");
      long rows = LayerLoader.requireMatrix(checkpoint.weights(), hidden).size(0);
      if (rows != firstRows) {
        throw config()
            .expected("intermediate_size", "what fills %s, %d rows".formatted(hidden, rows));
      }
    }
  }

  /** The same of layers with the names of LLaMA. */
  void requireSizes() {
    requireSizes(
        ATTENTION.getFirst(),
        (long) heads * headDim,
        FEED_FORWARD.getFirst(),
        config().size("intermediate_size"));
  }

  private static String name(int layer, String module) {
    return LAYER.replace("{n}", Integer.toString(layer)) + module;
  }

  /** Refuses layers without the biases that config.json says, and with others. */
  void requireBiases(String key, boolean biased, List<String> modules) {
    for (int n = 0; n < layers; n++) {
      for (String module : modules) {
        String bias = name(n, module + ".bias");
        if (checkpoint.has(bias) != biased) {
          throw biased
              ? new IllegalArgumentException(
                  "weights: expected %s, as %s says, got none of that name".formatted(bias, key))
              : new IllegalArgumentException(
                  "%s: expected no bias, as %s says, got one".formatted(bias, key));
        }
      }
    }
  }

  /** The same of a key of config.json, which is false where nothing is said. */
  void requireBiases(String key, List<String> modules) {
    requireBiases(key, config().flag(key, false), modules);
  }

  // ---- attention -------------------------------------------------------------------------------

  /** Rotary positions of whole heads. */
  PositionalEncoding rotary(double base) {
    return rotary(RotaryConfig.of(config(), headDim, base));
  }

  /** The same of one type of layers. */
  PositionalEncoding rotary(String type, double base) {
    return rotary(RotaryConfig.of(config(), type, headDim, base));
  }

  /** Those of a base under a key of its own, without scaling. */
  PositionalEncoding plainRotary(String key, double base) {
    double said = config().number(key, base);
    if (!(said > 1) || Double.isInfinite(said)) {
      throw config().expected(key, "a finite number above 1");
    }
    int positions = RotaryConfig.of(config(), headDim, said).positions();
    return rotary(new RotaryConfig(said, headDim, RotaryScaling.none(), positions));
  }

  private PositionalEncoding rotary(RotaryConfig rotary) {
    if (rotary.dim() != headDim) {
      throw config().expected("partial_rotary_factor", "1 in this family");
    }
    return rotary.encoding(checkpoint.arena());
  }

  /**
   * Keys that a row sees: {@code sliding_window}, or 0 for all, where it is null.
   *
   * @param otherwise where nothing is said
   */
  int window(int otherwise) {
    return config().isNull(WINDOW) ? 0 : config().size(WINDOW, otherwise);
  }

  /**
   * Which layers see a window.
   *
   * @param sliding those that do where {@code layer_types} is not there
   */
  boolean[] sliding(IntPredicate sliding) {
    List<String> types = config().texts(TYPES);
    if (types != null && types.size() != layers) {
      throw config().expected(TYPES, "as many elements as num_hidden_layers, %d".formatted(layers));
    }
    boolean[] all = new boolean[layers];
    for (int n = 0; n < layers; n++) {
      String type = types == null ? null : types.get(n);
      if (type != null && !type.equals(FULL) && !type.equals(SLIDING)) {
        throw config().expected(TYPES, FULL + " and " + SLIDING);
      }
      all[n] = type == null ? sliding.test(n) : type.equals(SLIDING);
    }
    return all;
  }

  /** A causal mask; window: keys that a row sees, or 0 for all. */
  static AttentionSpec.Builder causal(int window) {
    return AttentionSpec.builder().causal(Causal.BOTTOM_RIGHT).window(window - 1, -1);
  }

  /** A layer; window: keys that a row sees, or 0 for all. */
  LayerConfig layer(int window, PositionalEncoding positions, Activation activation) {
    return new LayerConfig(heads, kvHeads, causal(window).build(), positions, activation);
  }

  /** The same of a mask and a scale of its own. */
  LayerConfig layer(AttentionSpec attention, PositionalEncoding positions, Activation activation) {
    return new LayerConfig(heads, kvHeads, attention, positions, activation);
  }

  /** Layers that are all alike. */
  StackConfig stack(LayerConfig each) {
    return stack(n -> each);
  }

  /** Layers that may differ. */
  StackConfig stack(IntFunction<LayerConfig> layer) {
    return stack(NormOrder.PRE, layer);
  }

  /** Layers with norms elsewhere. */
  StackConfig stack(NormOrder order, IntFunction<LayerConfig> layer) {
    return new StackConfig(layers, order, true, epsilon, layer);
  }

  /** What {@code hidden_act} says; SiLU where nothing is said. */
  Activation activation() {
    return config().activation("hidden_act", "silu");
  }
}
