package dev.gatun.nn;

import dev.gatun.GatunRuntime;
import dev.gatun.Tensor;
import dev.gatun.Workspace;
import dev.gatun.internal.Access;
import dev.gatun.internal.Blocks;
import dev.gatun.internal.SharedMemory;
import java.util.List;
import java.util.Objects;

/**
 * The encoder of "Attention Is All You Need", section 3.1: blocks of self-attention and
 * feed-forward network. With a causal mask in its attention it is a decoder-only model without a
 * cache.
 *
 * <p>Immutable; any number of threads may share it. What a call writes besides out lives in the
 * workspace; warm calls allocate nothing. Lifetime and errors are as for {@link
 * MultiHeadAttention}.
 */
public final class TransformerEncoder {

  private final GatunRuntime runtime;
  private final Stack stack;

  /**
   * Makes an encoder.
   *
   * @param runtime where it runs
   * @param layers its blocks, none with cross-attention
   * @param order where they normalise
   * @param finalNorm applied after the last block, or null
   */
  public TransformerEncoder(
      GatunRuntime runtime, List<TransformerLayer> layers, NormOrder order, Norm finalNorm) {
    this.runtime = Objects.requireNonNull(runtime, "runtime");
    this.stack = new Stack(layers, order, finalNorm, false);
  }

  /** Positions that its layers can tell apart. */
  int positions() {
    return stack.positions();
  }

  /**
   * Refuses a tensor that shares memory with a weight: for models that are put together from layers
   * and write their result last.
   *
   * @param name of the argument, for the message
   * @param output what is going to be written
   * @throws IllegalArgumentException if it shares memory
   */
  public void refuseShared(String name, Tensor output) {
    parameters().refuse(name, output);
  }

  Parameters parameters() {
    return stack.parameters();
  }

  /**
   * Returns the size of a row.
   *
   * @return columns
   */
  public long dim() {
    return stack.dim();
  }

  /**
   * Encodes sequences.
   *
   * @param workspace what the call writes besides out, or null to be lent one
   * @param x {@code [batch, seq, dim]}, contiguous: embeddings with their positions
   * @param lengths {@code [batch]} INT32, or null: rows at and past them are attended to by nobody,
   *     and what out gets there means nothing
   * @param out receives {@code [batch, seq, dim]}, contiguous; may be x itself, but no other part
   *     of its memory, and shares none with lengths and weights
   * @throws IllegalArgumentException naming the argument that does not fit; nothing was written
   */
  public void forward(Workspace workspace, Tensor x, Tensor lengths, Tensor out) {
    TransformerDecoder.checkRows("x", x, dim());
    long batch = x.size(0);
    long seq = x.size(1);
    TransformerDecoder.checkOut(out, batch, seq, dim());
    if (seq > stack.positions()) {
      throw new IllegalArgumentException(
          "x: expected at most %d positions, got %d".formatted(stack.positions(), seq));
    }
    var lens = MultiHeadAttention.lengths("lengths", lengths, batch, seq);
    SharedMemory.refuseUnlessSame("out", out, "x", x);
    SharedMemory.refuse("out", out, "lengths", lengths);
    stack.parameters().refuse("out", out);
    Workspace taken = Access.get().begin(runtime, workspace);
    try {
      Blocks blocks = Access.get().blocks(taken);
      int mark = blocks.mark();
      var own = Indices.copy(blocks, "lengths", lens, batch, 0, seq);
      stack.run(blocks, batch, seq, x.segment(), own, own, null, null, out.segment());
      blocks.giveBackTo(mark);
    } finally {
      Access.get().end(runtime, workspace, taken);
    }
  }
}
