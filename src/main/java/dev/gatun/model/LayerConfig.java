package dev.gatun.model;

import dev.gatun.Activation;
import dev.gatun.Causal;
import dev.gatun.nn.NormOrder;
import dev.gatun.nn.PositionalEncoding;
import java.util.Objects;

/**
 * What the layers of a family are like, apart from their weights: a family is one of these and a
 * {@link WeightNames}.
 *
 * @param layers how many, 1 or more
 * @param heads query heads
 * @param kvHeads heads of keys and values, a divisor of heads
 * @param causal mask of self-attention: BOTTOM_RIGHT in decoders, usually NONE in encoders
 * @param scale of the scores, or NaN for {@code 1/sqrt(headDim)}
 * @param positions what attention does with positions; an encoding that is added to embeddings does
 *     nothing here
 * @param activation of the feed-forward network
 * @param order where layers normalize
 * @param rms whether norms are {@link dev.gatun.nn.RMSNorm}
 * @param epsilon of the norms
 */
public record LayerConfig(
    int layers,
    int heads,
    int kvHeads,
    Causal causal,
    float scale,
    PositionalEncoding positions,
    Activation activation,
    NormOrder order,
    boolean rms,
    float epsilon) {

  /** Checks what weights do not check. */
  public LayerConfig {
    Objects.requireNonNull(causal, "causal");
    Objects.requireNonNull(positions, "positions");
    Objects.requireNonNull(activation, "activation");
    Objects.requireNonNull(order, "order");
    if (layers < 1) {
      throw new IllegalArgumentException("layers: expected 1 or more, got " + layers);
    }
    if (heads < 1) {
      throw new IllegalArgumentException("heads: expected 1 or more, got " + heads);
    }
    if (kvHeads < 1 || heads % kvHeads != 0) {
      throw new IllegalArgumentException(
          "kvHeads: expected a divisor of %d heads, got %d".formatted(heads, kvHeads));
    }
  }

  /**
   * With LayerNorm, as many heads of keys as of queries, and {@code 1/sqrt(headDim)}: the paper's
   * and BERT's are post-norm, GPT-2's, ViT's and CLIP's pre-norm.
   *
   * @param order where layers normalize
   * @param layers 1 or more
   * @param heads of queries, keys and values
   * @param causal mask of self-attention
   * @param activation of the feed-forward network
   * @param epsilon of the norms
   * @return a configuration without positions in attention
   */
  public static LayerConfig of(
      NormOrder order, int layers, int heads, Causal causal, Activation activation, float epsilon) {
    PositionalEncoding none = PositionalEncoding.none();
    return new LayerConfig(
        layers, heads, heads, causal, Float.NaN, none, activation, order, false, epsilon);
  }
}
