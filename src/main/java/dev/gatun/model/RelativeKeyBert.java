package dev.gatun.model;

import dev.gatun.Tensor;
import dev.gatun.nn.NormOrder;
import dev.gatun.nn.PositionalEncoding;
import dev.gatun.nn.TextEncoder;
import dev.gatun.nn.TransformerEncoder;
import java.util.Set;

/**
 * BERT or RoBERTa with {@code position_embedding_type} {@code relative_key} or {@code
 * relative_key_query}: keys of distances (Shaw et al., 2018; Huang et al., 2020) in each layer, in
 * place of positions that are added to embeddings.
 */
final class RelativeKeyBert {
  private static final String OF_QUERIES_AND_KEYS = "relative_key_query";

  /** What {@link #load} follows. */
  static final Set<String> TYPES = Set.of("relative_key", OF_QUERIES_AND_KEYS);

  private static final String KEYS = "encoder.layer.{n}.attention.self.distance_embedding.weight";

  private static final WeightNames NAMES =
      Bert.names()
          .beside(Bert.WORDS, Bert.TYPES, Bert.NORM + ".weight", Bert.NORM + ".bias", KEYS)
          // a table that files have and nothing reads; buffers; a head of pretraining
          .beside(Bert.POSITIONS, "embeddings.position_ids", "embeddings.token_type_ids")
          .beside("pooler.*");

  private RelativeKeyBert() {}

  /** Loads it from weights without prefix and heads. */
  static TextEncoder load(Checkpoint scoped, double epsilon) {
    FamilyConfig config = scoped.config();
    EncoderFiles files =
        EncoderFiles.of(
            scoped,
            NAMES,
            NormOrder.POST,
            config.size("num_hidden_layers"),
            "gelu",
            epsilon,
            n -> keys(scoped, KEYS.replace("{n}", Integer.toString(n))));
    TransformerEncoder encoder = files.encoder();
    return files.model(files.embedding(encoder.dim(), PositionalEncoding.none()), null, encoder);
  }

  private static PositionalEncoding keys(Checkpoint scoped, String name) {
    FamilyConfig config = scoped.config();
    long headDim = config.size("hidden_size") / config.size("num_attention_heads");
    Tensor table = LayerLoader.table(scoped.weights(), name, headDim);
    if (table.size(0) != 2L * config.size("max_position_embeddings") - 1) {
      throw config.expected(
          "max_position_embeddings",
          "half of 1 + %d, the rows of %s".formatted(table.size(0), name));
    }
    boolean ofKeys = config.text("position_embedding_type", "").equals(OF_QUERIES_AND_KEYS);
    return PositionalEncoding.relativeKeys(scoped.arena(), table, ofKeys);
  }
}
