package dev.gatun.model;

import dev.gatun.model.WeightNames.Part;
import dev.gatun.nn.PositionalEncoding;
import java.util.List;

/**
 * Phi 3 (Abdin et al., 2024), of contexts that need no longrope: {@link Llama} with queries, keys
 * and values in one matrix, gate and first layer in another, and positions of a part of each head
 * if {@code partial_rotary_factor} says so.
 */
final class Phi3 {

  private static final String LAYER = "model.layers.{n}.";
  private static final String FUSED = "self_attn.qkv_proj";
  private static final String FIRST = "mlp.gate_up_proj";

  private static final WeightNames NAMES =
      WeightNames.outputMajor()
          .with(Part.SELF_NORM, LAYER + "input_layernorm.{p}")
          .with(Part.FUSED, LAYER + FUSED + ".{p}")
          .with(Part.OUTPUT, LAYER + "self_attn.o_proj.{p}")
          .with(Part.FEED_FORWARD_NORM, LAYER + "post_attention_layernorm.{p}")
          .with(Part.FIRST_AND_GATE, LAYER + FIRST + ".{p}")
          .with(Part.SECOND, LAYER + "mlp.down_proj.{p}")
          .with(Part.FINAL_NORM, "model.norm.{p}")
          .beside(DecoderConfig.TABLE, DecoderConfig.HEAD);

  private Phi3() {}

  /** Of a folder in Hugging Face's layout. */
  static DecoderStack files(Checkpoint checkpoint) {
    DecoderConfig config = DecoderConfig.of(checkpoint, 0, 1e-5, false);
    FamilyConfig keys = config.config();
    config.requireSizes(
        FUSED,
        (config.heads() + 2L * config.kvHeads()) * config.headDim(),
        FIRST,
        2L * keys.size("intermediate_size"));
    config.requireBiases("Phi3", false, List.of(FUSED, "self_attn.o_proj", FIRST, "mlp.down_proj"));
    PositionalEncoding positions =
        RotaryConfig.of(keys, config.headDim(), 10_000).encoding(checkpoint.arena());
    LayerConfig each = config.layer(config.window(0), positions, config.activation());
    return new DecoderStack("Phi3", config, NAMES, config.stack(each));
  }
}
