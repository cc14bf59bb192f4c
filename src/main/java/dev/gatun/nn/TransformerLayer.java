package dev.gatun.nn;

import dev.gatun.Causal;
import java.util.Objects;

/**
 * One layer of an encoder or a decoder, figure 1 of "Attention Is All You Need": sublayers and the
 * norm of each. Where the norms stand is {@link NormOrder}'s to say.
 *
 * @param selfAttention the first sublayer
 * @param selfNorm its norm
 * @param crossAttention attention over an encoder's output, or null in encoders and decoder-only
 *     models
 * @param crossNorm its norm, or null with it
 * @param feedForward the last sublayer
 * @param feedForwardNorm its norm
 */
public record TransformerLayer(
    MultiHeadAttention selfAttention,
    Norm selfNorm,
    MultiHeadAttention crossAttention,
    Norm crossNorm,
    FeedForward feedForward,
    Norm feedForwardNorm) {

  /** Checks that the sizes of the parts fit. */
  public TransformerLayer {
    Objects.requireNonNull(selfAttention, "selfAttention");
    Objects.requireNonNull(selfNorm, "selfNorm");
    Objects.requireNonNull(feedForward, "feedForward");
    Objects.requireNonNull(feedForwardNorm, "feedForwardNorm");
    if ((crossAttention == null) != (crossNorm == null)) {
      throw new IllegalArgumentException(
          "crossAttention, crossNorm: expected both or neither, got one");
    }
    long dim = selfAttention.in();
    Rows.same("selfAttention.out", dim, selfAttention.out());
    Rows.same("selfAttention.memoryDim", dim, selfAttention.memoryDim());
    Rows.same("selfNorm", dim, selfNorm.dim());
    Rows.same("feedForward.in", dim, feedForward.in());
    Rows.same("feedForward.out", dim, feedForward.out());
    Rows.same("feedForwardNorm", dim, feedForwardNorm.dim());
    if (crossAttention != null) {
      Rows.same("crossAttention.in", dim, crossAttention.in());
      Rows.same("crossAttention.out", dim, crossAttention.out());
      Rows.same("crossNorm", dim, crossNorm.dim());
      checkCross("crossAttention", crossAttention);
    }
  }

  /**
   * A layer without cross-attention.
   *
   * @param selfAttention the first sublayer
   * @param selfNorm its norm
   * @param feedForward the second
   * @param feedForwardNorm its norm
   */
  public TransformerLayer(
      MultiHeadAttention selfAttention,
      Norm selfNorm,
      FeedForward feedForward,
      Norm feedForwardNorm) {
    this(selfAttention, selfNorm, null, null, feedForward, feedForwardNorm);
  }

  /** {@return the size of a row, columns} */
  public long dim() {
    return selfAttention.in();
  }

  /** What attention over another text or over media cannot have. */
  static void checkCross(String name, MultiHeadAttention attention) {
    attention.refusePositions(name, ", as its keys are those of another text");
    if (attention.causal() != Causal.NONE) {
      throw new IllegalArgumentException(
          "%s: expected causal NONE, got %s".formatted(name, attention.causal()));
    }
  }
}
