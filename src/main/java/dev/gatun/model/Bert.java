package dev.gatun.model;

import dev.gatun.Causal;
import dev.gatun.DType;
import dev.gatun.GatunRuntime;
import dev.gatun.Tensor;
import dev.gatun.Workspace;
import dev.gatun.internal.ModelEvent;
import dev.gatun.internal.SharedMemory;
import dev.gatun.model.WeightNames.Part;
import dev.gatun.nn.Activation;
import dev.gatun.nn.Embedding;
import dev.gatun.nn.PositionalEncoding;
import dev.gatun.nn.TransformerEncoder;

/**
 * BERT (Devlin et al., 2019) as a configuration of the common blocks, under Hugging Face's names.
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
   * @throws IllegalArgumentException naming the weight that is missing or does not fit, under its
   *     name in the file
   */
  public static Bert of(GatunRuntime runtime, Weights weights, int layers, int heads) {
    refuseRoberta(weights);
    float epsilon = 1e-12f;
    BlockConfig config = BlockConfig.postNorm(layers, heads, Causal.NONE, Activation.GELU, epsilon);
    TransformerEncoder encoder = new BlockLoader(runtime, weights, NAMES, config).encoder();
    long dim = encoder.dim();
    String name = "embeddings.";
    Embedding embedding =
        new Embedding(
            runtime,
            BlockLoader.table(weights, name + "word_embeddings.weight", dim),
            1,
            PositionalEncoding.learned(
                BlockLoader.table(weights, name + "position_embeddings.weight", dim)),
            BlockLoader.table(weights, name + "token_type_embeddings.weight", dim),
            BlockLoader.layerNorm(runtime, weights, name + "LayerNorm", dim, epsilon));
    return new Bert(embedding, encoder);
  }

  /**
   * Computes the last hidden state of texts, each of type 0.
   *
   * @param workspace what the call writes besides hidden, or null to be lent one
   * @param ids {@code [batch, seq]} INT32, contiguous
   * @param lengths {@code [batch]} INT32, or null: tokens of each text; what hidden gets past them
   *     means nothing
   * @param hidden receives {@code [batch, seq, dim]}, contiguous; shares no memory with ids,
   *     lengths and weights
   * @throws IllegalArgumentException naming the argument that does not fit; nothing was written
   */
  public void forward(Workspace workspace, Tensor ids, Tensor lengths, Tensor hidden) {
    Arguments.check("ids", ids, DType.INT32, -1, -1);
    long tokens = checkLengths(lengths, ids.size(0), ids.size(1));
    encoder.refuseShared("hidden", hidden);
    SharedMemory.refuse("hidden", hidden, "lengths", lengths);
    ModelEvent event = ModelEvent.start();
    embedding.forward(workspace, ids, hidden);
    encoder.forward(workspace, hidden, lengths, hidden);
    ModelEvent.finish(event, "Bert", (int) ids.size(0), tokens);
  }

  /** Before anything is written; returns the tokens of all texts. */
  private static long checkLengths(Tensor lengths, long batch, long seq) {
    if (lengths == null) {
      return batch * seq;
    }
    Arguments.check("lengths", lengths, DType.INT32, batch);
    long sum = 0;
    for (long b = 0; b < batch; b++) {
      int length = lengths.getInt(b);
      if (length < 0 || length > seq) {
        throw new IllegalArgumentException(
            "lengths[%d]: expected 0 .. %d, got %d".formatted(b, seq, length));
      }
      sum += length;
    }
    return sum;
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
