package dev.gatun.model;

import dev.gatun.model.Checkpoint.Maker;
import dev.gatun.nn.TextEncoder;

/**
 * What a head stands on: the encoder of a family, and what transformers does there where
 * config.json does not say.
 *
 * @param scope what the encoder's names begin with beside a head
 * @param encoder loads it
 * @param words the table of words, without the scope
 * @param epsilon of the head's norm
 */
record HeadBase(String scope, Maker<TextEncoder> encoder, String words, float epsilon) {

  static HeadBase of(Checkpoint checkpoint) {
    FamilyConfig config = checkpoint.config();
    return switch (config.text("model_type", "")) {
      case "albert" -> like("albert.", Albert::load, config);
      case "electra" -> like("electra.", Electra::load, config);
      case "megatron-bert" -> like("bert.", MegatronBert::load, config);
      case "mpnet" -> like("mpnet.", Mpnet::load, config);
      case "modernbert" ->
          new HeadBase(
              ModernBert.SCOPE,
              ModernBert::load,
              ModernBert.TABLE,
              config.epsilon("norm_eps", ModernBert.EPSILON));
      default ->
          new HeadBase(
              BertFiles.scope(checkpoint), BertFiles::load, Bert.WORDS, BertFiles.epsilon(config));
    };
  }

  private static HeadBase like(String scope, Maker<TextEncoder> encoder, FamilyConfig config) {
    float epsilon = config.epsilon("layer_norm_eps", EncoderFiles.EPSILON);
    return new HeadBase(scope, encoder, Bert.WORDS, epsilon);
  }

  /** The encoder's names without the scope, and those of the head, which stay. */
  Checkpoint withHeads(Checkpoint checkpoint) {
    return checkpoint.scoped(scope);
  }

  TextEncoder load(Checkpoint checkpoint) {
    return encoder.make(checkpoint);
  }
}
