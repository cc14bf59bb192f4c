package dev.gatun.nn;

import dev.gatun.Activation;
import dev.gatun.GatunRuntime;
import dev.gatun.Tensor;
import dev.gatun.Workspace;
import dev.gatun.internal.LayerCall;
import dev.gatun.internal.LayerCalls;
import dev.gatun.internal.Matrix;
import dev.gatun.internal.Scratch;
import dev.gatun.internal.SharedMemory;
import java.lang.foreign.MemorySegment;
import java.util.Arrays;
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
  private final String firstName;
  private final Linear first;
  private final Linear gate;
  private final Activation gated;
  private final Linear second;
  private final Parameters parameters;

  /**
   * Makes a network of weights {@code [in, out]}. A square one in the other order cannot be told
   * from it: {@linkplain #FeedForward(GatunRuntime, WeightOrder, Tensor, Tensor, Activation,
   * Tensor, Tensor, Tensor, Tensor) another constructor} says the order.
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
    this.firstName = "w1";
    this.gated = Objects.requireNonNull(activation, "activation");
    // With a gate the activation waits for it, so that both are one pass.
    this.first = new Linear(runtime, "w1", w1, "b1", b1, v == null ? activation : Activation.NONE);
    this.gate = v == null ? null : new Linear(runtime, "v", v, "c", c, Activation.NONE);
    if (gate != null && (gate.in() != first.in() || gate.out() != first.out())) {
      throw Rows.bad("v", "[%d, %d] float32".formatted(first.in(), first.out()), v);
    }
    this.second = new Linear(runtime, "w2", w2, "b2", b2, Activation.NONE);
    if (second.in() != first.out()) {
      boolean firstTransposed = second.in() == first.in();
      boolean secondTransposed = second.out() == first.out();
      String transposed =
          firstTransposed
              ? secondTransposed ? "one of them" : "w1"
              : secondTransposed ? "w2" : null;
      throw new IllegalArgumentException(
          "w2: expected [%d, out] float32 ([hidden, out], as w1 is [dim, hidden] = [%d, %d]), got %s%s"
              .formatted(
                  first.out(),
                  first.in(),
                  first.out(),
                  Arrays.toString(w2.shape()),
                  transposed == null
                      ? ""
                      : "; %s looks like [out, in]: give its transpose(0, 1)"
                          .formatted(transposed)));
    }
    Parameters.Builder all = new Parameters.Builder().add("w1", w1).add("b1", b1);
    this.parameters = all.add("v", v).add("c", c).add("w2", w2).add("b2", b2).build();
  }

  /**
   * Makes a network of weights in either order.
   *
   * @param runtime where it runs
   * @param order of all weights: {@link WeightOrder#OUT_IN} for a file of PyTorch's
   * @param w1 {@code [dim, hidden]} or {@code [hidden, dim]}
   * @param b1 {@code [hidden]}, or null
   * @param activation of x · W1 + b1
   * @param v as w1, the gate's weight; null: there is no gate
   * @param c {@code [hidden]}, the gate's bias, or null
   * @param w2 {@code [hidden, out]} or {@code [out, hidden]}
   * @param b2 {@code [out]}, or null
   */
  public FeedForward(
      GatunRuntime runtime,
      WeightOrder order,
      Tensor w1,
      Tensor b1,
      Activation activation,
      Tensor v,
      Tensor c,
      Tensor w2,
      Tensor b2) {
    this(
        runtime,
        order.toInOut("w1", w1),
        b1,
        activation,
        v == null ? null : order.toInOut("v", v),
        c,
        order.toInOut("w2", w2),
        b2);
  }

  /**
   * Makes a network of layers, whose weights may be packed.
   *
   * @param runtime where it runs
   * @param first {@code [dim, hidden]}, with the activation
   * @param gate {@code [dim, hidden]} without one, packed or not as first is; null: there is no
   *     gate
   * @param second {@code [hidden, out]}
   * @throws IllegalArgumentException naming the layer that does not fit
   */
  public FeedForward(GatunRuntime runtime, Linear first, Linear gate, Linear second) {
    this.runtime = Objects.requireNonNull(runtime, "runtime");
    Objects.requireNonNull(first, "first");
    Objects.requireNonNull(second, "second");
    this.firstName = "first";
    this.gated = first.activation();
    this.first = gate != null && !first.isPacked() ? first.with(Activation.NONE) : first;
    this.gate = gate;
    this.second = second;
    if (gate != null) {
      if (gate.activation() != Activation.NONE) {
        throw new IllegalArgumentException(
            "gate: expected the activation NONE, got " + gate.activation());
      }
      Rows.same("gate.in", first.in(), gate.in());
      Rows.same("gate.out", first.out(), gate.out());
    }
    Rows.same("second.in", first.out(), second.in());
    Parameters.Builder all = new Parameters.Builder().add("first", first.parameters());
    if (gate != null) {
      all.add("gate", gate.parameters());
    }
    this.parameters = all.add("second", second.parameters()).build();
  }

  Parameters parameters() {
    return parameters;
  }

  /** {@return the size of an input row, columns of x} */
  public long in() {
    return first.in();
  }

  /** {@return the size of an output row, columns of out} */
  public long out() {
    return second.out();
  }

  /**
   * Computes the network with borrowed scratch.
   *
   * @param x {@code [..., dim]}
   * @param out receives {@code [..., out]}; may be x itself
   */
  public void forward(Tensor x, Tensor out) {
    forward(null, x, out);
  }

  /**
   * Computes the network.
   *
   * @param workspace scratch for this call, or null to borrow one
   * @param x {@code [..., dim]}, rows evenly spaced
   * @param out receives {@code [..., out]}, as many rows; may be x itself, but no other part of its
   *     memory, and shares none with weights and biases
   * @throws IllegalArgumentException naming the argument that does not fit; nothing was written
   */
  public void forward(Workspace workspace, Tensor x, Tensor out) {
    first.checkRow("x", firstName, x);
    long rows = Rows.count("x", x, first.in());
    Rows.checkOutput("out", out, rows, second.out());
    SharedMemory.refuseUnlessSame("out", out, "x", x);
    parameters.refuse("out", out);
    try (LayerCall call = LayerCalls.begin(runtime, workspace)) {
      run(call, Rows.view(call, "x", x), Rows.view(call, "out", out));
    }
  }

  /** Columns of the rows between the two layers. */
  long hidden() {
    return first.out();
  }

  void run(LayerCall call, Matrix x, Matrix to) {
    Scratch scratch = call.scratch();
    long mark = scratch.mark();
    append(call, x, scratch.matrix(x.rows(), first.out()), to, false);
    call.steps().run();
    scratch.release(mark);
  }

  /**
   * The same as some of the call's steps.
   *
   * @param hidden {@code [rows, hidden()]} for what is between the two layers
   * @param passing whether nobody needs {@code to} after the steps
   */
  void append(LayerCall call, Matrix x, Matrix hidden, Matrix to, boolean passing) {
    if (gate == null) {
      first.append(call, x, hidden, true);
    } else if (first.isPacked()) {
      gate.append(call, x, hidden, true);
      first.appendGated(call, x, hidden, hidden, true);
    } else {
      Scratch scratch = call.scratch();
      long mark = scratch.mark();
      Matrix factor = scratch.matrix(x.rows(), first.out());
      gate.append(call, x, factor, false);
      first.append(call, x, hidden, false); // a view: all that waits is done
      call.rows().activation(gated, hidden, MemorySegment.NULL, factor, hidden);
      scratch.release(mark);
    }
    second.append(call, hidden, to, passing);
  }
}
