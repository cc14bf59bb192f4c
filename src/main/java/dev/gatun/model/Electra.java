package dev.gatun.model;

import dev.gatun.nn.Linear;
import dev.gatun.nn.NormOrder;
import dev.gatun.nn.PositionalEncoding;
import dev.gatun.nn.TextEncoder;
import dev.gatun.nn.TransformerEncoder;

/**
 * ELECTRA (Clark et al., 2020): BERT's layers and names; where embeddings are narrower than hidden
 * states, a projection behind their norm.
 */
final class Electra {
  private static final String PROJECTION = "embeddings_project";

  private static final WeightNames NAMES = names();

  private static final WeightNames PROJECTED =
      names().beside(PROJECTION + ".weight", PROJECTION + ".bias");

  private Electra() {}

  private static WeightNames names() {
    return Bert.names()
        .beside(Bert.WORDS, Bert.POSITIONS, Bert.TYPES, Bert.NORM + ".weight", Bert.NORM + ".bias")
        // buffers of 0, 1, 2, … and of zeros; the heads of pretraining and of tasks
        .beside("embeddings.position_ids", "embeddings.token_type_ids")
        .beside("discriminator_predictions.*", "generator_predictions.*", "generator_lm_head.*")
        .beside("classifier.*", "qa_outputs.*");
  }

  static TextEncoder load(Checkpoint checkpoint) {
    Checkpoint scoped = checkpoint.scoped("electra.");
    FamilyConfig config = scoped.config();
    int width = config.size("embedding_size", 128);
    boolean projected = width != config.size("hidden_size");
    EncoderFiles files =
        EncoderFiles.of(
            scoped,
            projected ? PROJECTED : NAMES,
            NormOrder.POST,
            config.size("num_hidden_layers"),
            "gelu",
            PositionalEncoding.none());
    TransformerEncoder encoder = files.encoder();
    Linear projection = projected ? files.linear(PROJECTION, width, encoder.dim()) : null;
    return files.model(files.embedding(width, -1), projection, encoder);
  }
}
