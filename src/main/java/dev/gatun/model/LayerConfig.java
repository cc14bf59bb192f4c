package dev.gatun.model;

import dev.gatun.Activation;
import dev.gatun.AttentionSpec;
import dev.gatun.Causal;
import dev.gatun.nn.PositionalEncoding;
import java.util.Objects;

/**
 * What one layer of a family is like, apart from its weights, which say the sizes of rows, heads
 * and the feed-forward network. Layers of one {@link StackConfig} may differ in all of it.
 *
 * @param heads query heads
 * @param kvHeads heads of keys and values, a divisor of heads
 * @param attention mask, window, scale and softcap of self-attention: causal BOTTOM_RIGHT in
 *     decoders, usually NONE in encoders. Cross-attention has its scale and its softcap alone
 * @param positions what self-attention does with positions; an encoding that is added to embeddings
 *     does nothing here
 * @param activation of the feed-forward network
 * @param selfNorm whether self-attention has a norm; false only in the first layer of a stack that
 *     gets rows that are normalized already
 */
public record LayerConfig(
    int heads,
    int kvHeads,
    AttentionSpec attention,
    PositionalEncoding positions,
    Activation activation,
    boolean selfNorm) {

  /** Checks what weights do not check. */
  public LayerConfig {
    Objects.requireNonNull(attention, "attention");
    Objects.requireNonNull(positions, "positions");
    Objects.requireNonNull(activation, "activation");
    if (heads < 1) {
      throw new IllegalArgumentException("heads: expected 1 or more, got " + heads);
    }
    if (kvHeads < 1 || heads % kvHeads != 0) {
      throw new IllegalArgumentException(
          "kvHeads: expected a divisor of %d heads, got %d".formatted(heads, kvHeads));
    }
  }

  /**
   * With a norm of self-attention.
   *
   * @param heads query heads
   * @param kvHeads heads of keys and values, a divisor of heads
   * @param attention mask, window, scale and softcap of self-attention
   * @param positions what self-attention does with positions
   * @param activation of the feed-forward network
   */
  public LayerConfig(
      int heads,
      int kvHeads,
      AttentionSpec attention,
      PositionalEncoding positions,
      Activation activation) {
    this(heads, kvHeads, attention, positions, activation, true);
  }

  /** What remains for attention over another text, whose keys have no places among the rows. */
  AttentionSpec crossAttention() {
    return attention.toBuilder()
        .causal(Causal.NONE)
        .globalTokens(0)
        .window(-1, -1)
        .alibiSlopes(null)
        .relativePositions(null)
        .sinks(null)
        .build();
  }
}
