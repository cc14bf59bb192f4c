package dev.gatun.model;

import dev.gatun.Tensor;
import dev.gatun.io.OnnxException;
import dev.gatun.io.OnnxFile;
import java.lang.foreign.Arena;
import java.util.List;

/**
 * The weights of a BERT-family encoder. All are FLOAT32 and contiguous; a matrix has the shape
 * {@code [in, out]}, so that activations {@code [rows, in]} are multiplied by it as it is.
 *
 * <p>The tensors live in the arena of whoever made them.
 *
 * @param config the sizes
 * @param wordEmbeddings {@code [vocabulary, hidden]}
 * @param positionEmbeddings {@code [firstPosition + positions, hidden]}, or more rows
 * @param tokenTypeEmbeddings {@code [tokenTypes, hidden]}, or null if there are none
 * @param embeddingNorm layer norm of their sum
 * @param layers from the first to the last
 */
public record BertWeights(
    BertConfig config,
    Tensor wordEmbeddings,
    Tensor positionEmbeddings,
    Tensor tokenTypeEmbeddings,
    Norm embeddingNorm,
    List<Layer> layers) {

  /**
   * A matrix and its bias.
   *
   * @param weight {@code [in, out]}
   * @param bias {@code [out]}
   */
  public record Linear(Tensor weight, Tensor bias) {}

  /**
   * A layer norm.
   *
   * @param weight {@code [hidden]}
   * @param bias {@code [hidden]}
   */
  public record Norm(Tensor weight, Tensor bias) {}

  /**
   * One layer, in the order of the computation.
   *
   * @param query {@code [hidden, hidden]}
   * @param key {@code [hidden, hidden]}
   * @param value {@code [hidden, hidden]}
   * @param attentionOutput {@code [hidden, hidden]}
   * @param attentionNorm after the first residual
   * @param intermediate {@code [hidden, intermediate]}, before the GELU
   * @param output {@code [intermediate, hidden]}
   * @param outputNorm after the second residual
   */
  public record Layer(
      Linear query,
      Linear key,
      Linear value,
      Linear attentionOutput,
      Norm attentionNorm,
      Linear intermediate,
      Linear output,
      Norm outputNorm) {}

  /** Keeps the list from being changed. */
  public BertWeights {
    layers = List.copyOf(layers);
  }

  /**
   * Finds the weights in a PyTorch export of BERT, RoBERTa, XLM-RoBERTa, CamemBERT or DistilBERT.
   * They are what the nodes of PyTorch's names use, such as {@code
   * /encoder/layer.0/attention/self/query/MatMul}, behind Identity nodes as well. Where positions
   * begin is read from how the graph makes position ids.
   *
   * <p>A weight that nothing uses, a node behind the last layer and an output that is something
   * else than the last hidden state are refused. Left alone are the pooler, the heads of
   * pretraining ({@code cls}, {@code lm_head}, DistilBERT's {@code vocab_projector}), and constants
   * that are whole numbers or a single number.
   *
   * @param file the model
   * @param arena gets copies of matrices that the file transposes when it runs
   * @return the weights, for the most part views of the file
   * @throws OnnxException if a weight is missing, is left over or has another shape or type, or the
   *     graph computes something else than {@link BertConfig} describes; the message names it
   */
  public static BertWeights from(OnnxFile file, Arena arena) throws OnnxException {
    return from(file, arena, null);
  }

  /** The same, held against what else is known about the model, which may be null. */
  static BertWeights from(OnnxFile file, Arena arena, ModelConfig config) throws OnnxException {
    return new BertReader(file, arena, config).read();
  }
}
