package dev.gatun.model;

import dev.gatun.Activation;
import dev.gatun.Causal;
import dev.gatun.nn.NormOrder;
import dev.gatun.nn.PositionalEncoding;
import java.util.Objects;

/**
 * What the blocks of a family are like, apart from their weights: a family is one of these and a
 * {@link WeightNames}.
 *
 * @param layers blocks, 1 or more
 * @param heads query heads
 * @param kvHeads heads of keys and values, a divisor of heads
 * @param causal mask of self-attention: BOTTOM_RIGHT in decoders, usually NONE in encoders
 * @param scale of the scores, or NaN for {@code 1/sqrt(headDim)}
 * @param positions what attention does with positions; an encoding that is added to embeddings does
 *     nothing here
 * @param activation of the feed-forward network
 * @param order where blocks normalise
 * @param rms whether norms are {@link dev.gatun.nn.RMSNorm}
 * @param epsilon of the norms
 */
public record BlockConfig(
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
  public BlockConfig {
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
   * Post-norm blocks with LayerNorm and {@code 1/sqrt(headDim)}: the paper's, BERT's.
   *
   * @param layers blocks
   * @param heads heads
   * @param causal mask of self-attention
   * @param activation of the feed-forward network
   * @param epsilon of the norms
   * @return a configuration without positions in attention
   */
  public static BlockConfig postNorm(
      int layers, int heads, Causal causal, Activation activation, float epsilon) {
    return new BlockConfig(
        layers,
        heads,
        heads,
        causal,
        Float.NaN,
        PositionalEncoding.none(),
        activation,
        NormOrder.POST,
        false,
        epsilon);
  }

  /**
   * Pre-norm blocks with LayerNorm and {@code 1/sqrt(headDim)}: GPT-2's, ViT's, CLIP's.
   *
   * @param layers blocks
   * @param heads heads
   * @param causal mask of self-attention
   * @param activation of the feed-forward network
   * @param epsilon of the norms
   * @return a configuration without positions in attention
   */
  public static BlockConfig preNorm(
      int layers, int heads, Causal causal, Activation activation, float epsilon) {
    return new BlockConfig(
        layers,
        heads,
        heads,
        causal,
        Float.NaN,
        PositionalEncoding.none(),
        activation,
        NormOrder.PRE,
        false,
        epsilon);
  }
}
