package dev.gatun.model;

import dev.gatun.Activation;
import dev.gatun.model.WeightNames.Part;
import dev.gatun.nn.PositionalEncoding;
import dev.gatun.nn.TextEncoder;

/**
 * JinaBERT (Günther et al., 2023, jina-embeddings-v2): BERT whose scores fall by a head's slope for
 * each position between two tokens, on both sides alike (ALiBi), and whose network is gated, {@code
 * (gelu(h₁) ⊙ h₂)·wo} of {@code [h₁, h₂] = x·gated_layers}.
 */
final class JinaBert {

  private static final String POSITIONS = "position_embedding_type";
  private static final String LAYER = "encoder.layer.{n}.";

  private static final WeightNames NAMES =
      WeightNames.outputMajor()
          .with(Part.QUERY, LAYER + "attention.self.query.{p}")
          .with(Part.KEY, LAYER + "attention.self.key.{p}")
          .with(Part.VALUE, LAYER + "attention.self.value.{p}")
          .with(Part.OUTPUT, LAYER + "attention.output.dense.{p}")
          .with(Part.SELF_NORM, LAYER + "attention.output.LayerNorm.{p}")
          .with(Part.FIRST_AND_GATE, LAYER + "mlp.gated_layers.{p}")
          .with(Part.SECOND, LAYER + "mlp.wo.{p}")
          .with(Part.FEED_FORWARD_NORM, LAYER + "mlp.layernorm.{p}")
          .beside(Bert.WORDS, Bert.TYPES, Bert.NORM + ".weight", Bert.NORM + ".bias")
          // buffers of 0, 1, 2, …; heads of pretraining and of tasks
          .beside("embeddings.position_ids", "embeddings.token_type_ids")
          .beside("pooler.*", "cls.*", "classifier.*");

  private JinaBert() {}

  /** Whether a model that calls itself BERT is this one. */
  static boolean describes(FamilyConfig config) {
    return config.text(POSITIONS, "").equals("alibi") || config.has("feed_forward_type");
  }

  static TextEncoder load(Checkpoint checkpoint) {
    FamilyConfig config = checkpoint.config();
    Checkpoint scoped = checkpoint.scoped("bert.");
    if (!config.text(POSITIONS, "").equals("alibi")) {
      throw config.expected(POSITIONS, "\"alibi\"");
    }
    if (scoped.names().stream().anyMatch(name -> name.contains("layer_norm_q"))) {
      throw new IllegalArgumentException(
          "attention.self.layer_norm_q: expected no norms of queries and keys, which the other"
              + " variant of JinaBERT has (jina-bert-v2-qk-post-norm)");
    }
    config.requireFlag("is_decoder", false);
    config.requireFlag("add_cross_attention", false);
    int hidden = config.size("hidden_size", 768);
    int heads = config.size("num_attention_heads", 12);
    GatedEncoders.headSize(config, hidden, "num_attention_heads", heads);
    GatedEncoders.Sizes sizes =
        new GatedEncoders.Sizes(
            config.size("num_hidden_layers", 12),
            heads,
            hidden,
            config.size("vocab_size"),
            config.size("type_vocab_size", 2),
            config.epsilon("layer_norm_eps", 1e-12));
    int layers = sizes.layers();
    GatedEncoders.requireBiases(
        scoped, NAMES, layers, true, Part.QUERY, Part.KEY, Part.VALUE, Part.OUTPUT, Part.SECOND);
    GatedEncoders.requireBiases(scoped, NAMES, layers, false, Part.FIRST_AND_GATE);
    GatedEncoders.requireInner(scoped, config, NAMES, "intermediate_size");
    return GatedEncoders.postNorm(
        "JinaBert",
        scoped,
        NAMES,
        sizes,
        PositionalEncoding.alibi(checkpoint.arena(), heads),
        activation(config),
        Bert.WORDS,
        Bert.NORM);
  }

  private static Activation activation(FamilyConfig config) {
    return switch (config.text("feed_forward_type", "original")) {
      case "geglu" -> Activation.GELU;
      case "reglu" -> Activation.RELU;
      default -> throw config.expected("feed_forward_type", "geglu or reglu");
    };
  }
}
