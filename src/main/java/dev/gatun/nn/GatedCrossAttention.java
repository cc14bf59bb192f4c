package dev.gatun.nn;

import dev.gatun.DType;
import dev.gatun.GatunRuntime;
import dev.gatun.Tensor;
import dev.gatun.Workspace;
import dev.gatun.internal.LayerCall;
import dev.gatun.internal.LayerCalls;
import dev.gatun.internal.Matrix;
import dev.gatun.internal.Scratch;
import dev.gatun.internal.SequenceRows;
import dev.gatun.internal.SharedMemory;
import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.util.Objects;

/**
 * Flamingo's gated cross-attention layer (Alayrac et al., 2022, figure 4), which stands between the
 * layers of a language model and lets it look at images:
 *
 * <pre>{@code
 * y   = x + tanh(attentionGate) · attention(norm(x), media)
 * out = y + tanh(feedForwardGate) · feedForward(norm(y))
 * }</pre>
 *
 * <p>With both gates 0, as training begins, it changes nothing. {@link #gated} folds the gate into
 * a weight, once.
 *
 * <p>Immutable; any number of threads may share it. Warm calls allocate nothing.
 */
public final class GatedCrossAttention {

  private final GatunRuntime runtime;
  private final MultiHeadAttention attention;
  private final Norm attentionNorm;
  private final FeedForward feedForward;
  private final Norm feedForwardNorm;
  private final Parameters parameters;

  /**
   * Makes a layer.
   *
   * @param runtime where it runs
   * @param attention with separate weights, W_O already {@link #gated}
   * @param attentionNorm of x
   * @param feedForward its second weight already {@link #gated}
   * @param feedForwardNorm of y
   */
  public GatedCrossAttention(
      GatunRuntime runtime,
      MultiHeadAttention attention,
      Norm attentionNorm,
      FeedForward feedForward,
      Norm feedForwardNorm) {
    this.runtime = Objects.requireNonNull(runtime, "runtime");
    this.attention = Objects.requireNonNull(attention, "attention");
    this.attentionNorm = Objects.requireNonNull(attentionNorm, "attentionNorm");
    this.feedForward = Objects.requireNonNull(feedForward, "feedForward");
    this.feedForwardNorm = Objects.requireNonNull(feedForwardNorm, "feedForwardNorm");
    TransformerLayer.checkCross("attention", attention);
    long dim = attention.in();
    Rows.same("attention.out", dim, attention.out());
    Rows.same("attentionNorm", dim, attentionNorm.dim());
    Rows.same("feedForward.in", dim, feedForward.in());
    Rows.same("feedForward.out", dim, feedForward.out());
    Rows.same("feedForwardNorm", dim, feedForwardNorm.dim());
    this.parameters =
        new Parameters.Builder()
            .add("attention", attention.parameters())
            .add("attentionNorm", attentionNorm.parameters())
            .add("feedForward", feedForward.parameters())
            .add("feedForwardNorm", feedForwardNorm.parameters())
            .build();
  }

  /**
   * A weight times the hyperbolic tangent of its gate.
   *
   * @param arena where the product lies
   * @param weight any shape, float32
   * @param gate the number that was trained
   * @return a copy, contiguous
   */
  public static Tensor gated(Arena arena, Tensor weight, float gate) {
    Objects.requireNonNull(weight, "weight");
    if (weight.dtype() != DType.FLOAT32) {
      throw Rows.bad("weight", "float32", weight);
    }
    float[] values = weight.toFloatArray();
    double factor = Math.tanh(gate);
    for (int i = 0; i < values.length; i++) {
      values[i] = (float) (values[i] * factor);
    }
    return Tensor.copyOf(arena, values, weight.shape());
  }

  /**
   * Computes the layer.
   *
   * @param workspace scratch for this call, or null to borrow one
   * @param x {@code [batch, seq, dim]} or {@code [tokens, dim]}, rows evenly spaced: a text
   * @param texts how its rows are divided, or null: all of one length
   * @param media {@code [batch, mediaSeq, mediaDim]} or {@code [tokens, mediaDim]}, rows evenly
   *     spaced: what the images have become
   * @param images how its rows are divided, or null: all of one length; a text without media gets
   *     the feed-forward network only
   * @param out receives {@code [batch, seq, dim]} or {@code [tokens, dim]}, rows evenly spaced; may
   *     be x itself, but no other part of its memory, and shares none with media, sequences and
   *     weights
   * @throws IllegalArgumentException naming the argument that does not fit; nothing was written
   */
  public void forward(
      Workspace workspace, Tensor x, Sequences texts, Tensor media, Sequences images, Tensor out) {
    long dim = attention.in();
    Rows.checkTokens("x", x, dim);
    Rows.checkTokens("media", media, attention.memoryDim());
    Rows.checkLike("out", out, x, dim);
    SharedMemory.refuseUnlessSame("out", out, "x", x);
    if (!SharedMemory.same(media, x)) {
      SharedMemory.refuse("out", out, "media", media);
    }
    Sequences.refuseShared("out", out, texts);
    Sequences.refuseShared("out", out, images);
    parameters.refuse("out", out);
    try (LayerCall call = LayerCalls.begin(runtime, workspace)) {
      SequenceRows rows = Sequences.divide(call, texts, "x", x, x.rank() - 1, MemorySegment.NULL);
      SequenceRows mediaRows =
          Sequences.divide(call, images, "media", media, media.rank() - 1, MemorySegment.NULL);
      if (mediaRows.count() != rows.count()) {
        throw new IllegalArgumentException(
            "media: expected %d sequences as x has, got %d"
                .formatted(rows.count(), mediaRows.count()));
      }
      Matrix in = Sequences.gather(call, rows, Rows.view(call, "x", x));
      Matrix memory = Sequences.gather(call, mediaRows, Rows.view(call, "media", media));
      Matrix to = Rows.view(call, "out", out);
      Matrix computed = Sequences.target(call, rows, to);
      run(call, rows, in, mediaRows, memory, computed);
      Sequences.scatter(rows, computed, to);
    }
  }

  private void run(
      LayerCall call,
      SequenceRows rows,
      Matrix x,
      SequenceRows mediaRows,
      Matrix media,
      Matrix out) {
    if (x.rows() == 0) {
      return;
    }
    Scratch scratch = call.scratch();
    long heads = attention.kvHeads();
    Matrix normed = scratch.matrix(x.rows(), x.columns());
    Matrix sublayerOut = scratch.matrix(x.rows(), x.columns());
    Matrix sum = scratch.matrix(x.rows(), x.columns());
    Matrix k = scratch.matrix(media.rows(), heads * attention.headDim());
    Matrix v = scratch.matrix(media.rows(), heads * attention.headDimV());
    attentionNorm.run(call, x, null, null, normed);
    attention.project(call, media, k, v);
    attention.cross(call, rows, normed, mediaRows, k, v, sublayerOut);
    feedForwardNorm.run(call, sublayerOut, x, sum, normed);
    feedForward.run(call, normed, sublayerOut);
    // Only the sum is wanted; what the norm gives goes nowhere.
    feedForwardNorm.run(call, sublayerOut, sum, out, normed);
  }
}
