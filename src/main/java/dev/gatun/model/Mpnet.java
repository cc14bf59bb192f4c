package dev.gatun.model;

import dev.gatun.Tensor;
import dev.gatun.model.WeightNames.Part;
import dev.gatun.nn.NormOrder;
import dev.gatun.nn.PositionalEncoding;
import dev.gatun.nn.TextEncoder;
import dev.gatun.nn.TransformerEncoder;

/**
 * MPNet (Song et al., 2020): BERT's layers, whose scores have T5's relative biases, one table for
 * all layers; positions counted from behind padding; no token types.
 */
final class Mpnet {
  private static final String LAYER = "encoder.layer.{n}.";
  private static final String BIAS = "encoder.relative_attention_bias.weight";
  private static final int MAX_DISTANCE = 128; // neither this nor padding is taken from config.json
  private static final int PADDING = 1;

  private static final WeightNames NAMES =
      WeightNames.outputMajor()
          .with(Part.QUERY, LAYER + "attention.attn.q.{p}")
          .with(Part.KEY, LAYER + "attention.attn.k.{p}")
          .with(Part.VALUE, LAYER + "attention.attn.v.{p}")
          .with(Part.OUTPUT, LAYER + "attention.attn.o.{p}")
          .with(Part.SELF_NORM, LAYER + "attention.LayerNorm.{p}")
          .with(Part.FIRST, LAYER + "intermediate.dense.{p}")
          .with(Part.SECOND, LAYER + "output.dense.{p}")
          .with(Part.FEED_FORWARD_NORM, LAYER + "output.LayerNorm.{p}")
          .beside(Bert.WORDS, Bert.POSITIONS, Bert.NORM + ".weight", Bert.NORM + ".bias", BIAS)
          // a buffer of 0, 1, 2, …; the heads of pretraining and of tasks
          .beside("embeddings.position_ids", "pooler.*", "lm_head.*", "classifier.*")
          .beside("qa_outputs.*");

  private Mpnet() {}

  static TextEncoder load(Checkpoint checkpoint) {
    Checkpoint scoped = checkpoint.scoped("mpnet.");
    FamilyConfig config = scoped.config();
    config.requireNumber("pad_token_id", PADDING);
    Tensor table = LayerLoader.table(scoped.weights(), BIAS, config.size("num_attention_heads"));
    if (config.size("relative_attention_num_buckets", 32) != table.size(0)) {
      throw config.expected(
          "relative_attention_num_buckets", "%d, the rows of %s".formatted(table.size(0), BIAS));
    }
    EncoderFiles files =
        EncoderFiles.of(
            scoped,
            NAMES,
            NormOrder.POST,
            config.size("num_hidden_layers"),
            "gelu",
            PositionalEncoding.relativePositions(scoped.arena(), table, MAX_DISTANCE, true));
    TransformerEncoder encoder = files.encoder();
    return files.model(files.embedding(encoder.dim(), PADDING), null, encoder);
  }
}
