package dev.gatun.nn;

import dev.gatun.GatunRuntime;
import dev.gatun.Tensor;
import dev.gatun.Workspace;
import dev.gatun.internal.LayerCall;
import dev.gatun.internal.LayerCalls;
import dev.gatun.internal.Matrix;
import dev.gatun.internal.SequenceRows;
import dev.gatun.internal.SharedMemory;
import java.lang.foreign.MemorySegment;
import java.util.List;
import java.util.Objects;

/**
 * The encoder of "Attention Is All You Need", section 3.1: layers of self-attention and
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
   * @param layers in the order in which they run, none with cross-attention
   * @param order where they normalize
   * @param finalNorm applied after the last layer, or null
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

  /** {@return the size of a row, columns} */
  public long dim() {
    return stack.dim();
  }

  /**
   * Encodes sequences of one length, with borrowed scratch.
   *
   * @param x as of {@link #forward(Workspace, Tensor, Sequences, Tensor)}
   * @param out as there
   */
  public void forward(Tensor x, Tensor out) {
    forward(null, x, null, out);
  }

  /**
   * Encodes sequences of different lengths, with borrowed scratch.
   *
   * @param x as of {@link #forward(Workspace, Tensor, Sequences, Tensor)}
   * @param sequences how the rows are divided
   * @param out as there
   */
  public void forward(Tensor x, Sequences sequences, Tensor out) {
    forward(null, x, Objects.requireNonNull(sequences, "sequences"), out);
  }

  /**
   * Encodes sequences.
   *
   * @param workspace scratch for this call, or null to borrow one
   * @param x {@code [batch, seq, dim]} or {@code [tokens, dim]}, rows evenly spaced
   * @param sequences how the rows are divided, or null: all of one length
   * @param out receives {@code [batch, seq, dim]} or {@code [tokens, dim]}, rows evenly spaced; may
   *     be x itself, but no other part of its memory, and shares none with sequences and weights
   * @throws IllegalArgumentException naming the argument that does not fit; nothing was written
   */
  public void forward(Workspace workspace, Tensor x, Sequences sequences, Tensor out) {
    Rows.checkTokens("x", x, dim());
    Rows.checkLike("out", out, x, dim());
    SharedMemory.refuseUnlessSame("out", out, "x", x);
    Sequences.refuseShared("out", out, sequences);
    stack.parameters().refuse("out", out);
    try (LayerCall call = LayerCalls.begin(runtime, workspace)) {
      SequenceRows rows =
          Sequences.divide(call, sequences, "x", x, x.rank() - 1, MemorySegment.NULL);
      checkPositions("x", rows);
      Matrix in = Sequences.gather(call, rows, Rows.view(call, "x", x));
      Matrix to = Rows.view(call, "out", out);
      Matrix computed = Sequences.target(call, rows, to);
      run(call, rows, in, computed);
      Sequences.scatter(rows, computed, to);
    }
  }

  /** {@return the layers, in the order in which they run; cannot be changed} */
  public List<TransformerLayer> layers() {
    return stack.layers();
  }

  /** Describes the encoder on one line. */
  @Override
  public String toString() {
    return "%d layers of %d, %d heads"
        .formatted(stack.size(), dim(), stack.layer(0).selfAttention().heads());
  }

  void checkPositions(String name, SequenceRows rows) {
    Sequences.checkPositions(name, rows, MemorySegment.NULL, stack.positions());
  }

  void run(LayerCall call, SequenceRows rows, Matrix in, Matrix out) {
    run(call, rows, in, null, out);
  }

  /** The same, before a listener; null: there is none. */
  void run(LayerCall call, SequenceRows rows, Matrix in, AttentionListener listener, Matrix out) {
    stack.run(call, rows, in, null, listener, out);
  }
}
