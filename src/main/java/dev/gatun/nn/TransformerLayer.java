package dev.gatun.nn;

import dev.gatun.Causal;
import java.util.Objects;

/**
 * One layer of an encoder or a decoder, figure 1 of "Attention Is All You Need": sublayers and the
 * norm of each. Where the norms stand is {@link NormOrder}'s to say.
 *
 * @param selfAttention the first sublayer: {@link MultiHeadAttention}, or what stands in its place
 * @param selfNorm its norm; null where the rows that the first layer of a stack gets are normalized
 *     already, as ModernBERT's embeddings are
 * @param selfOutputNorm of what it gives, under {@link NormOrder#SANDWICH}; null under another
 *     order
 * @param crossAttention attention over an encoder's output, or null in encoders and decoder-only
 *     models
 * @param crossNorm its norm, or null with it
 * @param feedForward the last sublayer; null in layers that have none, as Mamba's
 * @param feedForwardNorm its norm, or null with it
 * @param feedForwardOutputNorm of what it gives; null where selfOutputNorm is
 */
public record TransformerLayer(
    SequenceMixer selfAttention,
    Norm selfNorm,
    Norm selfOutputNorm,
    MultiHeadAttention crossAttention,
    Norm crossNorm,
    FeedForward feedForward,
    Norm feedForwardNorm,
    Norm feedForwardOutputNorm) {

  /** Checks that the sizes of the parts fit. */
  public TransformerLayer {
    Objects.requireNonNull(selfAttention, "selfAttention");
    if ((feedForward == null) != (feedForwardNorm == null)) {
      throw new IllegalArgumentException(
          "feedForward, feedForwardNorm: expected both or neither, got one");
    }
    if (feedForward == null && (crossAttention != null || selfOutputNorm != null)) {
      throw new IllegalArgumentException(
          "feedForward: expected one beside cross-attention or selfOutputNorm, got null");
    }
    if ((selfOutputNorm == null) != (feedForwardOutputNorm == null)) {
      throw new IllegalArgumentException(
          "selfOutputNorm, feedForwardOutputNorm: expected both or neither, got one");
    }
    if ((crossAttention == null) != (crossNorm == null)) {
      throw new IllegalArgumentException(
          "crossAttention, crossNorm: expected both or neither, got one");
    }
    long dim = selfAttention.in();
    Rows.same("selfAttention.out", dim, selfAttention.out());
    if (selfAttention instanceof MultiHeadAttention attention) {
      Rows.same("selfAttention.memoryDim", dim, attention.memoryDim());
    }
    checkNorm("selfNorm", dim, selfNorm);
    checkNorm("selfOutputNorm", dim, selfOutputNorm);
    if (feedForward != null) {
      Rows.same("feedForward.in", dim, feedForward.in());
      Rows.same("feedForward.out", dim, feedForward.out());
    }
    checkNorm("feedForwardNorm", dim, feedForwardNorm);
    checkNorm("feedForwardOutputNorm", dim, feedForwardOutputNorm);
    if (crossAttention != null) {
      Rows.same("crossAttention.in", dim, crossAttention.in());
      Rows.same("crossAttention.out", dim, crossAttention.out());
      checkNorm("crossNorm", dim, crossNorm);
      checkCross("crossAttention", crossAttention);
    }
  }

  private static void checkNorm(String name, long dim, Norm norm) {
    if (norm != null) {
      Rows.same(name, dim, norm.dim());
    }
  }

  /**
   * A layer with one norm for each sublayer.
   *
   * @param selfAttention the first sublayer
   * @param selfNorm its norm
   * @param crossAttention attention over an encoder's output, or null
   * @param crossNorm its norm, or null with it
   * @param feedForward the last sublayer
   * @param feedForwardNorm its norm
   */
  public TransformerLayer(
      SequenceMixer selfAttention,
      Norm selfNorm,
      MultiHeadAttention crossAttention,
      Norm crossNorm,
      FeedForward feedForward,
      Norm feedForwardNorm) {
    this(
        selfAttention,
        Objects.requireNonNull(selfNorm, "selfNorm"),
        null,
        crossAttention,
        crossNorm,
        Objects.requireNonNull(feedForward, "feedForward"),
        Objects.requireNonNull(feedForwardNorm, "feedForwardNorm"),
        null);
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
      SequenceMixer selfAttention, Norm selfNorm, FeedForward feedForward, Norm feedForwardNorm) {
    this(selfAttention, selfNorm, null, null, feedForward, feedForwardNorm);
  }

  /**
   * A layer with nothing but its first sublayer, as Mamba's.
   *
   * @param selfAttention the sublayer
   * @param selfNorm its norm
   */
  public TransformerLayer(SequenceMixer selfAttention, Norm selfNorm) {
    this(
        selfAttention,
        Objects.requireNonNull(selfNorm, "selfNorm"),
        null,
        null,
        null,
        null,
        null,
        null);
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
