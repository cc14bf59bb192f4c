package dev.gatun.nn;

import dev.gatun.DType;
import dev.gatun.GatunRuntime;
import dev.gatun.Tensor;
import dev.gatun.Workspace;
import dev.gatun.internal.Access;
import dev.gatun.internal.Blocks;
import dev.gatun.internal.SharedMemory;
import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.util.Objects;

/**
 * Flamingo's gated cross-attention block (Alayrac et al., 2022, figure 4), which stands between the
 * blocks of a language model and lets it look at images:
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
   * Makes a block.
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
   * Runs the block.
   *
   * @param workspace what the call writes besides out, or null to be lent one
   * @param x {@code [batch, seq, dim]}, contiguous: text
   * @param media {@code [batch, mediaSeq, mediaDim]}, contiguous: what the images have become
   * @param mediaLengths {@code [batch]} INT32, or null; a text with 0 media gets the feed-forward
   *     network only
   * @param out receives {@code [batch, seq, dim]}, contiguous; may be x itself, but no other part
   *     of its memory, and shares none with media, mediaLengths and weights
   * @throws IllegalArgumentException naming the argument that does not fit; nothing was written
   */
  public void forward(
      Workspace workspace, Tensor x, Tensor media, Tensor mediaLengths, Tensor out) {
    long dim = attention.in();
    TransformerDecoder.checkRows("x", x, dim);
    TransformerDecoder.checkRows("media", media, attention.memoryDim());
    long batch = x.size(0);
    long seq = x.size(1);
    long mediaSeq = media.size(1);
    if (media.size(0) != batch) {
      throw Rows.bad("media", "[%d, seq, %d]".formatted(batch, attention.memoryDim()), media);
    }
    TransformerDecoder.checkOut(out, batch, seq, dim);
    MemorySegment lengths =
        MultiHeadAttention.lengths("mediaLengths", mediaLengths, batch, mediaSeq);
    SharedMemory.refuseUnlessSame("out", out, "x", x);
    if (!SharedMemory.same(media, x)) {
      SharedMemory.refuse("out", out, "media", media);
    }
    SharedMemory.refuse("out", out, "mediaLengths", mediaLengths);
    parameters.refuse("out", out);
    Workspace taken = Access.get().begin(runtime, workspace);
    try {
      Blocks blocks = Access.get().blocks(taken);
      int mark = blocks.mark();
      long rows = batch * seq;
      if (rows > 0) {
        lengths = Indices.copy(blocks, "mediaLengths", lengths, batch, 0, mediaSeq);
        long heads = attention.kvHeads();
        MemorySegment normal = blocks.take(rows * dim).segment();
        MemorySegment change = blocks.take(rows * dim).segment();
        MemorySegment sum = blocks.take(rows * dim).segment();
        MemorySegment k = blocks.take(batch * mediaSeq * heads * attention.headDim()).segment();
        MemorySegment v = blocks.take(batch * mediaSeq * heads * attention.headDimV()).segment();
        MemorySegment none = MemorySegment.NULL;
        attentionNorm.run(blocks, rows, x.segment(), none, none, normal);
        attention.project(blocks, batch * mediaSeq, media.segment(), k, v);
        attention.cross(blocks, batch, seq, normal, k, v, batch, mediaSeq, lengths, none, change);
        feedForwardNorm.run(blocks, rows, change, x.segment(), sum, normal);
        feedForward.run(blocks, rows, normal, dim, change, dim);
        // Only the sum is wanted; what the norm gives goes nowhere.
        feedForwardNorm.run(blocks, rows, change, sum, out.segment(), normal);
      }
      blocks.giveBackTo(mark);
    } finally {
      Access.get().end(runtime, workspace, taken);
    }
  }
}
