package dev.gatun.model;

import dev.gatun.Activation;
import dev.gatun.AttentionSpec;
import dev.gatun.Causal;
import dev.gatun.nn.NormOrder;
import dev.gatun.nn.PositionalEncoding;
import java.util.Objects;
import java.util.function.IntFunction;

/**
 * What the layers of a family are like, apart from their weights: a family is one of these and a
 * {@link WeightNames}.
 *
 * @param layers how many, 1 or more
 * @param order where layers normalize
 * @param rms whether norms are {@link dev.gatun.nn.RMSNorm}
 * @param epsilon of the norms
 * @param layer what layer n is like, 0 the first; gives the same for the same n
 */
public record StackConfig(
    int layers, NormOrder order, boolean rms, float epsilon, IntFunction<LayerConfig> layer) {

  /** Checks what weights do not check. */
  public StackConfig {
    Objects.requireNonNull(order, "order");
    Objects.requireNonNull(layer, "layer");
    if (layers < 1) {
      throw new IllegalArgumentException("layers: expected 1 or more, got " + layers);
    }
  }

  /**
   * Layers that are all alike.
   *
   * @param layers how many, 1 or more
   * @param order where layers normalize
   * @param rms whether norms are {@link dev.gatun.nn.RMSNorm}
   * @param epsilon of the norms
   * @param each what each of them is like
   */
  public StackConfig(int layers, NormOrder order, boolean rms, float epsilon, LayerConfig each) {
    this(layers, order, rms, epsilon, always(each));
  }

  private static IntFunction<LayerConfig> always(LayerConfig each) {
    Objects.requireNonNull(each, "each");
    return n -> each;
  }

  /**
   * Layers that are all alike, with LayerNorm, as many heads of keys as of queries, and {@code
   * 1/sqrt(headDim)}: the paper's and BERT's are post-norm, GPT-2's, ViT's and CLIP's pre-norm.
   *
   * @param order where layers normalize
   * @param layers 1 or more
   * @param heads of queries, keys and values
   * @param causal mask of self-attention
   * @param activation of the feed-forward network
   * @param epsilon of the norms
   * @return a configuration without positions in attention
   */
  public static StackConfig of(
      NormOrder order, int layers, int heads, Causal causal, Activation activation, float epsilon) {
    AttentionSpec attention = AttentionSpec.builder().causal(causal).build();
    PositionalEncoding none = PositionalEncoding.none();
    LayerConfig each = new LayerConfig(heads, heads, attention, none, activation);
    return new StackConfig(layers, order, false, epsilon, each);
  }

  /**
   * Asks what a layer is like.
   *
   * @param n its number, 0 the first
   * @return its configuration
   * @throws IllegalArgumentException if there is none
   */
  public LayerConfig layer(int n) {
    LayerConfig config = layer.apply(n);
    if (config == null) {
      throw new IllegalArgumentException(
          "layer: expected a configuration of layer %d, got none".formatted(n));
    }
    return config;
  }
}
