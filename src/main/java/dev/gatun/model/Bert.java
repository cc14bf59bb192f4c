package dev.gatun.model;

import dev.gatun.Causal;
import dev.gatun.GatunRuntime;
import dev.gatun.Tensor;
import dev.gatun.model.WeightNames.Part;
import dev.gatun.nn.Activation;
import dev.gatun.nn.Embedding;
import dev.gatun.nn.LayerNorm;
import dev.gatun.nn.PositionalEncoding;
import dev.gatun.nn.TransformerEncoder;

/**
 * BERT (Devlin et al. 2019) as a configuration of the common blocks, under Hugging Face's names.
 * {@link BertEncoder} is the same for packed texts of different lengths, with its weights copied
 * side by side.
 *
 * @param embedding tokens, learned positions and type 0, normalised
 * @param encoder post-norm blocks
 */
public record Bert(Embedding embedding, TransformerEncoder encoder) {

  private static final String BLOCK = "encoder.layer.{n}.";

  private static final WeightNames NAMES =
      WeightNames.outputMajor()
          .with(Part.QUERY, BLOCK + "attention.self.query.{p}")
          .with(Part.KEY, BLOCK + "attention.self.key.{p}")
          .with(Part.VALUE, BLOCK + "attention.self.value.{p}")
          .with(Part.OUTPUT, BLOCK + "attention.output.dense.{p}")
          .with(Part.SELF_NORM, BLOCK + "attention.output.LayerNorm.{p}")
          .with(Part.FIRST, BLOCK + "intermediate.dense.{p}")
          .with(Part.SECOND, BLOCK + "output.dense.{p}")
          .with(Part.FEED_FORWARD_NORM, BLOCK + "output.LayerNorm.{p}")
          .beside("embeddings.word_embeddings.weight", "embeddings.position_embeddings.weight")
          .beside("embeddings.token_type_embeddings.weight")
          .beside("embeddings.LayerNorm.weight", "embeddings.LayerNorm.bias")
          // buffers of 0, 1, 2, … and of zeros; heads of pretraining
          .beside("embeddings.position_ids", "embeddings.token_type_ids", "pooler.*", "cls.*");

  /**
   * Puts a model together.
   *
   * @param runtime where it runs
   * @param weights must stay open as long as the model is used
   * @param layers blocks
   * @param heads of attention
   * @return embedding and encoder
   */
  public static Bert of(GatunRuntime runtime, Weights weights, int layers, int heads) {
    refuseRoberta(weights);
    float epsilon = 1e-12f;
    Embedding embedding =
        new Embedding(
            runtime,
            weights.get("embeddings.word_embeddings.weight"),
            1,
            PositionalEncoding.learned(weights.get("embeddings.position_embeddings.weight")),
            weights.get("embeddings.token_type_embeddings.weight"),
            new LayerNorm(
                runtime,
                weights.get("embeddings.LayerNorm.weight"),
                weights.get("embeddings.LayerNorm.bias"),
                epsilon));
    BlockConfig config = BlockConfig.postNorm(layers, heads, Causal.NONE, Activation.GELU, epsilon);
    return new Bert(embedding, new BlockLoader(runtime, weights, NAMES, config).encoder());
  }

  /** It has the same names, but counts positions from behind that of padding. */
  private static void refuseRoberta(Weights weights) {
    String name = "embeddings.token_type_embeddings.weight";
    Tensor types = weights.find(name);
    if (types != null && types.rank() == 2 && types.size(0) == 1) {
      throw new IllegalArgumentException(
          name
              + ": expected 2 rows or more as in BERT, got 1 as in RoBERTa, whose positions do not"
              + " begin at 0");
    }
  }
}
