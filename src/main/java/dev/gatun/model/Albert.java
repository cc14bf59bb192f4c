package dev.gatun.model;

import dev.gatun.model.WeightNames.Part;
import dev.gatun.nn.Linear;
import dev.gatun.nn.NormOrder;
import dev.gatun.nn.PositionalEncoding;
import dev.gatun.nn.TextEncoder;
import dev.gatun.nn.TransformerEncoder;
import dev.gatun.nn.TransformerLayer;
import java.util.List;
import java.util.stream.IntStream;

/**
 * ALBERT (Lan et al., 2020): BERT's layers, of which those of a group share their weights, and
 * embeddings that are projected to hidden states.
 */
final class Albert {
  private static final String LAYER = "encoder.albert_layer_groups.{n}.albert_layers.0.";
  private static final String PROJECTION = "encoder.embedding_hidden_mapping_in";

  private static final WeightNames NAMES =
      WeightNames.outputMajor()
          .with(Part.QUERY, LAYER + "attention.query.{p}")
          .with(Part.KEY, LAYER + "attention.key.{p}")
          .with(Part.VALUE, LAYER + "attention.value.{p}")
          .with(Part.OUTPUT, LAYER + "attention.dense.{p}")
          .with(Part.SELF_NORM, LAYER + "attention.LayerNorm.{p}")
          .with(Part.FIRST, LAYER + "ffn.{p}")
          .with(Part.SECOND, LAYER + "ffn_output.{p}")
          .with(Part.FEED_FORWARD_NORM, LAYER + "full_layer_layer_norm.{p}")
          .beside(Bert.WORDS, Bert.POSITIONS, Bert.TYPES)
          .beside(Bert.NORM + ".weight", Bert.NORM + ".bias")
          .beside(PROJECTION + ".weight", PROJECTION + ".bias")
          // buffers of 0, 1, 2, … and of zeros; the heads of pretraining and of tasks
          .beside("embeddings.position_ids", "embeddings.token_type_ids", "pooler.*")
          .beside("predictions.*", "sop_classifier.*", "classifier.*", "qa_outputs.*");

  private Albert() {}

  static TextEncoder load(Checkpoint checkpoint) {
    Checkpoint scoped = checkpoint.scoped("albert.");
    FamilyConfig config = scoped.config();
    config.requireNumber("inner_group_num", 1);
    int layers = config.size("num_hidden_layers");
    int groups = config.size("num_hidden_groups", 1);
    if (layers % groups != 0) {
      throw config.expected("num_hidden_groups", "a divisor of %d, the layers".formatted(layers));
    }
    EncoderFiles files =
        EncoderFiles.of(
            scoped, NAMES, NormOrder.POST, groups, "gelu_new", PositionalEncoding.none());
    TransformerEncoder distinct = files.encoder();
    // One object for all layers of a group, so that its weights are packed once.
    List<TransformerLayer> shared =
        IntStream.range(0, layers)
            .mapToObj(n -> distinct.layers().get(n / (layers / groups)))
            .toList();
    TransformerEncoder encoder =
        new TransformerEncoder(scoped.runtime(), shared, NormOrder.POST, null);
    int width = config.size("embedding_size", 128);
    Linear projection = files.linear(PROJECTION, width, encoder.dim());
    return files.model(files.embedding(width, -1), projection, encoder);
  }
}
