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
 * activation(x · W1 + b1) · W2 + b2}.
 *
 * <p>Immutable; any number of threads may share it. The intermediate rows live in the workspace.
 */
public final class FeedForward {

  private final GatunRuntime runtime;
  private final Linear first;
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
    this.runtime = Objects.requireNonNull(runtime, "runtime");
    this.first = new Linear(runtime, "w1", w1, "b1", b1, activation);
    this.second = new Linear(runtime, "w2", w2, "b2", b2, Activation.NONE);
    if (second.in() != first.out()) {
      throw Rows.bad("w2", "[%d, out] float32".formatted(first.out()), w2);
    }
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
    first.run(blocks, rows, x, xRow, hidden, first.out());
    second.run(blocks, rows, hidden, first.out(), to, toRow);
    blocks.giveBackTo(mark);
  }
}
