package dev.gatun.model;

import dev.gatun.model.WeightNames.Part;
import dev.gatun.nn.NormOrder;
import dev.gatun.nn.PositionalEncoding;
import dev.gatun.nn.TextEncoder;
import dev.gatun.nn.TransformerEncoder;

/**
 * Megatron's BERT (Shoeybi et al., 2019): norms before sublayers and behind the last layer, none
 * behind the embeddings.
 */
final class MegatronBert {
  private static final String LAYER = "encoder.layer.{n}.";

  private static final WeightNames NAMES =
      Bert.names()
          .with(Part.SELF_NORM, LAYER + "attention.ln.{p}")
          .with(Part.FEED_FORWARD_NORM, LAYER + "ln.{p}")
          .with(Part.FINAL_NORM, "encoder.ln.{p}")
          .beside(Bert.WORDS, Bert.POSITIONS, Bert.TYPES)
          // a buffer of 0, 1, 2, …; the heads of pretraining and of tasks
          .beside("embeddings.position_ids", "pooler.*", "cls.*", "classifier.*", "qa_outputs.*");

  private MegatronBert() {}

  static TextEncoder load(Checkpoint checkpoint) {
    Checkpoint scoped = checkpoint.scoped("bert.");
    EncoderFiles files =
        EncoderFiles.of(
            scoped,
            NAMES,
            NormOrder.PRE,
            scoped.config().size("num_hidden_layers"),
            "gelu",
            PositionalEncoding.none());
    TransformerEncoder encoder = files.encoder();
    return files.model(files.embedding(encoder.dim(), -1), null, encoder);
  }
}
