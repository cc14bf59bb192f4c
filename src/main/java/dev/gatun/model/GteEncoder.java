package dev.gatun.model;

import dev.gatun.model.WeightNames.Part;
import dev.gatun.nn.PositionalEncoding;
import dev.gatun.nn.Rotary;
import dev.gatun.nn.RotaryScaling;
import dev.gatun.nn.TextEncoder;

/**
 * The encoder of GTE since version 1.5 and of Snowflake's arctic-embed-m-v2.0 (Zhang et al., 2024,
 * mGTE): BERT's post-norm layers with rotary positions and a gated network, {@code (gelu(h₂) ⊙
 * h₁)·down_proj} of {@code [h₁, h₂] = x·up_gate_proj}.
 */
final class GteEncoder {

  private static final String LAYER = "encoder.layer.{n}.";

  private static final WeightNames PACKED =
      names().with(Part.FUSED, LAYER + "attention.qkv_proj.{p}");

  private static final WeightNames SEPARATE =
      names()
          .with(Part.QUERY, LAYER + "attention.q_proj.{p}")
          .with(Part.KEY, LAYER + "attention.k_proj.{p}")
          .with(Part.VALUE, LAYER + "attention.v_proj.{p}");

  private GteEncoder() {}

  private static WeightNames names() {
    return WeightNames.outputMajor()
        .with(Part.OUTPUT, LAYER + "attention.o_proj.{p}")
        .with(Part.SELF_NORM, LAYER + "attn_ln.{p}")
        .with(Part.GATE_AND_FIRST, LAYER + "mlp.up_gate_proj.{p}")
        .with(Part.SECOND, LAYER + "mlp.down_proj.{p}")
        .with(Part.FEED_FORWARD_NORM, LAYER + "mlp_ln.{p}")
        .beside(Bert.WORDS, Bert.TYPES, Bert.NORM + ".weight", Bert.NORM + ".bias")
        // buffers; heads of pretraining and of tasks, never inside the scope
        .beside("embeddings.position_ids", "embeddings.rotary_emb.*")
        .beside("pooler.*", "lm_head.*", "classifier.*");
  }

  static TextEncoder load(Checkpoint checkpoint) {
    FamilyConfig config = checkpoint.config();
    config.requireText("position_embedding_type", "rope");
    config.requireText("layer_norm_type", "layer_norm");
    config.requireFlag("logn_attention_scale", false);
    int hidden = config.size("hidden_size", 768);
    int heads = config.size("num_attention_heads", 12);
    int headSize = GatedEncoders.headSize(config, hidden, "num_attention_heads", heads);
    GatedEncoders.Sizes sizes =
        new GatedEncoders.Sizes(
            config.size("num_hidden_layers", 12),
            heads,
            hidden,
            config.size("vocab_size"),
            config.integer("type_vocab_size", 1),
            config.epsilon("layer_norm_eps", 1e-12));
    Checkpoint scoped = checkpoint.scoped("new.").scoped("gte.");
    boolean packed = config.flag("pack_qkv", true);
    WeightNames names = packed ? PACKED : SEPARATE;
    Part[] attention =
        packed ? new Part[] {Part.FUSED} : new Part[] {Part.QUERY, Part.KEY, Part.VALUE};
    int layers = sizes.layers();
    GatedEncoders.requireBiases(scoped, names, layers, true, attention);
    GatedEncoders.requireBiases(scoped, names, layers, true, Part.OUTPUT, Part.SECOND);
    GatedEncoders.requireBiases(scoped, names, layers, false, Part.GATE_AND_FIRST);
    GatedEncoders.requireInner(scoped, config, names, "intermediate_size");
    return GatedEncoders.postNorm(
        "GTE",
        scoped,
        names,
        sizes,
        PositionalEncoding.rotary(rotary(checkpoint, headSize)),
        config.activation("hidden_act", "gelu"),
        Bert.WORDS,
        Bert.NORM);
  }

  private static Rotary rotary(Checkpoint checkpoint, int headSize) {
    FamilyConfig config = checkpoint.config();
    if (headSize % 2 != 0) {
      throw config.expected("num_attention_heads", "heads of an even size, not " + headSize);
    }
    double base = config.number("rope_theta", 10_000);
    if (!(base > 1) || Double.isInfinite(base)) {
      throw config.expected("rope_theta", "a finite number above 1");
    }
    return Rotary.of(
        checkpoint.arena(),
        config.size("max_position_embeddings", 2048),
        headSize,
        base,
        Rotary.Pairing.HALVES,
        scaling(config));
  }

  private static RotaryScaling scaling(FamilyConfig config) {
    if (!config.has("rope_scaling")) {
      return RotaryScaling.none();
    }
    FamilyConfig scaling = config.below("rope_scaling");
    if (!scaling.text("type", "").equals("ntk")) {
      throw scaling.expected("type", "\"ntk\"");
    }
    double factor = scaling.number("factor", Double.NaN);
    if (!(factor >= 1) || Double.isInfinite(factor)) {
      throw scaling.expected("factor", "a finite number of 1 or more");
    }
    double power = scaling.number("mixed_b", 1);
    if (!(power > 0) || Double.isInfinite(power)) {
      throw scaling.expected("mixed_b", "a finite number above 0");
    }
    return new RotaryScaling.NtkMixed(factor, power);
  }
}
