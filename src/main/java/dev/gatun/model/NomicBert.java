package dev.gatun.model;

import dev.gatun.Activation;
import dev.gatun.model.WeightNames.Part;
import dev.gatun.nn.PositionalEncoding;
import dev.gatun.nn.Rotary;
import dev.gatun.nn.RotaryScaling;
import dev.gatun.nn.TextEncoder;

/**
 * NomicBERT (Nussbaum et al., 2024): BERT's post-norm layers with rotary positions and a gated
 * network, {@code (silu(x·fc12) ⊙ x·fc11)·fc2}; the names and the config.json of nomic-embed-text.
 */
final class NomicBert {

  private static final String NORM = "emb_ln";
  private static final String LAYER = "encoder.layers.{n}.";

  private static final WeightNames NAMES =
      WeightNames.outputMajor()
          .with(Part.FUSED, LAYER + "attn.Wqkv.{p}")
          .with(Part.OUTPUT, LAYER + "attn.out_proj.{p}")
          .with(Part.SELF_NORM, LAYER + "norm1.{p}")
          .with(Part.FIRST, LAYER + "mlp.fc12.{p}")
          .with(Part.GATE, LAYER + "mlp.fc11.{p}")
          .with(Part.SECOND, LAYER + "mlp.fc2.{p}")
          .with(Part.FEED_FORWARD_NORM, LAYER + "norm2.{p}")
          .beside(Bert.WORDS, Bert.TYPES, NORM + ".weight", NORM + ".bias")
          // a buffer; heads of pretraining
          .beside(LAYER + "attn.rotary_emb.inv_freq", "pooler.*", "cls.*");

  private NomicBert() {}

  static TextEncoder load(Checkpoint checkpoint) {
    FamilyConfig config = checkpoint.config();
    for (String key :
        new String[] {
          "prenorm",
          "causal",
          "parallel_block",
          "use_rms_norm",
          "scale_attn_by_inverse_layer_idx",
          "add_cross_attention"
        }) {
      config.requireFlag(key, false);
    }
    config.requireFlag("scale_attn_weights", true);
    config.requireNumber("moe_every_n_layers", 0);
    if (config.has("rotary_emb_scale_base")) {
      throw config.expected("rotary_emb_scale_base", "null");
    }
    int hidden = config.size("n_embd", 768);
    int heads = config.size("n_head", 12);
    int headSize = GatedEncoders.headSize(config, hidden, "n_head", heads);
    config.requireNumber("num_heads_kv", heads);
    int multiple = config.size("pad_vocab_size_multiple", 1);
    long vocabulary = Math.ceilDiv((long) config.size("vocab_size"), multiple) * multiple;
    GatedEncoders.Sizes sizes =
        new GatedEncoders.Sizes(
            config.size("n_layer", 12),
            heads,
            hidden,
            vocabulary,
            config.integer("type_vocab_size", 2),
            config.epsilon("layer_norm_epsilon", 1e-5));
    Checkpoint scoped = checkpoint.scoped("bert.");
    biases(scoped, sizes.layers(), "qkv_proj_bias", Part.FUSED, Part.OUTPUT);
    biases(scoped, sizes.layers(), "mlp_fc1_bias", Part.FIRST, Part.GATE);
    biases(scoped, sizes.layers(), "mlp_fc2_bias", Part.SECOND);
    return GatedEncoders.postNorm(
        "NomicBert",
        scoped,
        NAMES,
        sizes,
        PositionalEncoding.rotary(rotary(checkpoint, headSize)),
        activation(config),
        Bert.WORDS,
        NORM);
  }

  private static void biases(Checkpoint checkpoint, int layers, String key, Part... parts) {
    boolean biased = checkpoint.config().flag(key, true);
    GatedEncoders.requireBiases(checkpoint, NAMES, layers, biased, parts);
  }

  private static Activation activation(FamilyConfig config) {
    return switch (config.text("activation_function", "gelu_new")) {
      case "swiglu" -> Activation.SILU;
      case "geglu" -> Activation.GELU;
      default -> throw config.expected("activation_function", "swiglu or geglu");
    };
  }

  private static Rotary rotary(Checkpoint checkpoint, int headSize) {
    FamilyConfig config = checkpoint.config();
    double fraction = config.number("rotary_emb_fraction", 0);
    int turned = (int) (headSize * fraction);
    if (!(fraction > 0) || fraction > 1 || turned < 2 || turned % 2 != 0) {
      throw config.expected(
          "rotary_emb_fraction", "an even share of the %d elements of a head".formatted(headSize));
    }
    double base = config.number("rotary_emb_base", 10_000);
    if (!(base > 1) || Double.isInfinite(base)) {
      throw config.expected("rotary_emb_base", "a finite number above 1");
    }
    int positions = config.size("n_positions", 1024);
    if (config.has("rotary_scaling_factor")) {
      // Then the base depends on the longest text of a batch, but up to this length it does not.
      positions = Math.min(positions, config.size("max_trained_positions", 2048));
    }
    return Rotary.of(
        checkpoint.arena(),
        positions,
        turned,
        base,
        config.flag("rotary_emb_interleaved", false)
            ? Rotary.Pairing.ADJACENT
            : Rotary.Pairing.HALVES,
        RotaryScaling.none());
  }
}
