package dev.gatun.model;

import dev.gatun.io.OnnxException;
import dev.gatun.io.OnnxFile;
import java.lang.foreign.Arena;
import java.util.Objects;

/**
 * The weights of a BERT-family encoder by Hugging Face's names, and the sizes that they have. The
 * tensors live in the arena of whoever made them.
 *
 * @param config the sizes
 * @param weights FLOAT32 (those that are stored as FLOAT16 are converted), with their {@link
 *     Weights#names names}; matrices are {@code [out, in]}, as PyTorch's Linear has them. Of a
 *     quantized file matrices are INT8 and the table of words is UINT8, with their {@link
 *     Weights#scales scales}
 */
public record BertWeights(BertConfig config, Weights weights) {

  /** Refuses what cannot be copied as a whole. */
  public BertWeights {
    Objects.requireNonNull(config, "config");
    if (weights.names().isEmpty()) {
      throw new IllegalArgumentException("weights: expected some that list their names, got none");
    }
  }

  /**
   * Finds the weights in a PyTorch export of BERT, RoBERTa, XLM-RoBERTa, CamemBERT or DistilBERT.
   * They are what the nodes of PyTorch's names use, such as {@code
   * /encoder/layer.0/attention/self/query/MatMul}, behind Identity nodes as well. Where positions
   * begin is read from how the graph makes position ids.
   *
   * <p>Graphs without those names, with a Gelu operator or in half precision are followed from the
   * token ids on instead: look-ups and their sum, layer norms (one operator or their arithmetic),
   * products by MatMul or Gemm (of a matrix that the graph may transpose, queries, keys and values
   * of one product that is split or sliced), attention in parts, exact GELU. FLOAT16 weights are
   * kept in their type, see {@link Weights#stored}. Fused operators of ONNX Runtime's optimizer and
   * GELU by tanh are refused.
   *
   * <p>Products may be those of ONNX Runtime's dynamic quantization: INT8 weights with the zero
   * point 0 and a scale for each output or one for all, tables of UINT8 with one scale and zero
   * point. The weights are read as they are. How the graph quantizes what they are multiplied with,
   * by one scale for a whole tensor, padding included, is not followed: Gatun has one for each row,
   * which is closer to the model before it was quantized.
   *
   * <p>A weight that nothing uses, a node behind the last layer and an output that is something
   * else than the last hidden state are refused. Left alone are the pooler, the heads of
   * pretraining ({@code cls}, {@code lm_head}, DistilBERT's {@code vocab_projector}), and constants
   * that are whole numbers or a single number.
   *
   * @param file the model
   * @param arena gets copies of matrices that the file transposes when it runs, scales, and tables
   *     of positions and token types that are quantized
   * @return the weights, for the most part views of the file
   * @throws OnnxException if a weight is missing, is left over or has another shape or type, or the
   *     graph computes something else than {@link BertConfig} describes; the message names it
   */
  public static BertWeights from(OnnxFile file, Arena arena) throws OnnxException {
    return from(file, arena, null);
  }

  /** The same, held against what else is known about the model, which may be null. */
  static BertWeights from(OnnxFile file, Arena arena, ModelConfig config) throws OnnxException {
    return BertReader.knows(file)
        ? new BertReader(file, arena, config).read()
        : new BertFlow(file, arena, config).read();
  }
}
