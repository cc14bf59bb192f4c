package dev.gatun.nn;

import dev.gatun.GatunRuntime;
import dev.gatun.Tensor;
import dev.gatun.Workspace;
import dev.gatun.internal.Access;
import dev.gatun.internal.Blocks;
import java.lang.foreign.MemorySegment;
import java.util.Objects;

/**
 * Position-wise feed-forward network, section 3.3 of "Attention Is All You Need": {@code out =
 * activation(x · W1 + b1) · W2 + b2}; or with a gate (Shazeer 2020): {@code out = (activation(x ·
 * W1 + b1) * (x · V + c)) · W2 + b2}, which is SwiGLU with {@link Activation#SILU} and GEGLU with
 * {@link Activation#GELU} or {@link Activation#GELU_TANH}.
 *
 * <p>Immutable; any number of threads may share it. The intermediate rows live in the workspace.
 */
public final class FeedForward {

  private final GatunRuntime runtime;
  private final Linear first;
  private final Linear gate;
  private final Activation gated;
  private final Linear second;

  /**
   * Makes a network.
   *
   * @param runtime where it runs
   * @param w1 {@code [dim, hidden]}, as {@link Linear} takes weights
   * @param b1 {@code [hidden]}, or null
   * @param activation between the two layers
   * @param w2 {@code [hidden, out]}
   * @param b2 {@code [out]}, or null
   */
  public FeedForward(
      GatunRuntime runtime, Tensor w1, Tensor b1, Activation activation, Tensor w2, Tensor b2) {
    this(runtime, w1, b1, activation, null, null, w2, b2);
  }

  /**
   * Makes a network with a gate.
   *
   * @param runtime where it runs
   * @param w1 {@code [dim, hidden]}, as {@link Linear} takes weights
   * @param b1 {@code [hidden]}, or null
   * @param activation of x · W1 + b1
   * @param v {@code [dim, hidden]}, the gate's weight; null: there is no gate
   * @param c {@code [hidden]}, the gate's bias, or null
   * @param w2 {@code [hidden, out]}
   * @param b2 {@code [out]}, or null
   */
  public FeedForward(
      GatunRuntime runtime,
      Tensor w1,
      Tensor b1,
      Activation activation,
      Tensor v,
      Tensor c,
      Tensor w2,
      Tensor b2) {
    this.runtime = Objects.requireNonNull(runtime, "runtime");
    this.gated = Objects.requireNonNull(activation, "activation");
    // With a gate the activation waits for it, so that both are one pass.
    this.first = new Linear(runtime, "w1", w1, "b1", b1, v == null ? activation : Activation.NONE);
    this.gate = v == null ? null : new Linear(runtime, "v", v, "c", c, Activation.NONE);
    if (gate != null && (gate.in() != first.in() || gate.out() != first.out())) {
      throw Rows.bad("v", "[%d, %d] float32".formatted(first.in(), first.out()), v);
    }
    this.second = new Linear(runtime, "w2", w2, "b2", b2, Activation.NONE);
    if (second.in() != first.out()) {
      throw Rows.bad("w2", "[%d, out] float32".formatted(first.out()), w2);
    }
  }

  /**
   * Returns the size of an input row.
   *
   * @return columns of x
   */
  public long in() {
    return first.in();
  }

  /**
   * Returns the size of an output row.
   *
   * @return columns of out
   */
  public long out() {
    return second.out();
  }

  /**
   * Computes the network with a workspace lent by the runtime.
   *
   * @param x {@code [..., dim]}
   * @param out receives {@code [..., out]}; shares no memory with x
   */
  public void forward(Tensor x, Tensor out) {
    forward(null, x, out);
  }

  /**
   * Computes the network.
   *
   * @param workspace what the call writes besides out, or null to be lent one
   * @param x {@code [..., dim]}, rows evenly spaced
   * @param out receives {@code [..., out]}, as many rows; may be x itself
   */
  public void forward(Workspace workspace, Tensor x, Tensor out) {
    long rows = Rows.count("x", x, first.in());
    Rows.checkOutput("out", out, rows, second.out());
    Workspace taken = Access.get().begin(runtime, workspace);
    try {
      run(
          Access.get().blocks(taken),
          rows,
          x.segment(),
          Rows.stride("x", x),
          out.segment(),
          Rows.stride("out", out));
    } finally {
      Access.get().end(runtime, workspace, taken);
    }
  }

  void run(Blocks blocks, long rows, MemorySegment x, long xRow, MemorySegment to, long toRow) {
    int mark = blocks.mark();
    MemorySegment hidden = blocks.take(rows * first.out()).segment();
    long width = first.out();
    first.run(blocks, rows, x, xRow, hidden, width);
    if (gate != null) {
      MemorySegment factor = blocks.take(rows * width).segment();
      gate.run(blocks, rows, x, xRow, factor, width);
      blocks.activation(
          gated, rows, width, hidden, width, MemorySegment.NULL, factor, width, hidden, width);
    }
    second.run(blocks, rows, hidden, width, to, toRow);
    blocks.giveBackTo(mark);
  }
}
