package dev.gatun.nn;

import dev.gatun.DType;
import dev.gatun.GatunRuntime;
import dev.gatun.Tensor;
import dev.gatun.Workspace;
import dev.gatun.internal.LayerCall;
import dev.gatun.internal.LayerCalls;
import dev.gatun.internal.Matrix;
import dev.gatun.internal.SharedMemory;
import java.lang.foreign.MemorySegment;
import java.util.Objects;

/**
 * Normalization of rows, with the residual connection that comes before it in the same pass.
 *
 * <p>Immutable; any number of threads may share it. Parameters are not copied, and their arena must
 * stay open. Warm calls allocate nothing.
 */
public abstract sealed class Norm permits LayerNorm, RMSNorm {

  private final GatunRuntime runtime;
  private final boolean rms;
  private final long dim;
  private final MemorySegment gamma;
  private final MemorySegment beta;
  private final float epsilon;
  private final Parameters parameters;

  Norm(GatunRuntime runtime, boolean rms, Tensor gamma, Tensor beta, float epsilon) {
    this.runtime = Objects.requireNonNull(runtime, "runtime");
    this.rms = rms;
    Objects.requireNonNull(gamma, "gamma");
    if (gamma.dtype() != DType.FLOAT32 || gamma.rank() != 1 || gamma.size(0) < 1) {
      throw Rows.bad("gamma", "[dim] float32", gamma);
    }
    this.dim = gamma.size(0);
    this.gamma = Rows.vector("gamma", gamma, dim);
    this.beta = Rows.vector("beta", beta, dim);
    if (!(epsilon >= 0) || Float.isInfinite(epsilon)) {
      throw new IllegalArgumentException("epsilon: expected a finite number >= 0, got " + epsilon);
    }
    this.epsilon = epsilon;
    this.parameters = new Parameters.Builder().add("gamma", gamma).add("beta", beta).build();
  }

  Parameters parameters() {
    return parameters;
  }

  /** {@return the size of a row, columns} */
  public long dim() {
    return dim;
  }

  /**
   * Normalizes rows.
   *
   * @param x {@code [..., dim]}
   * @param out receives {@code [..., dim]}; may be x
   */
  public void forward(Tensor x, Tensor out) {
    forward(null, x, null, null, out);
  }

  /**
   * Adds a residual and normalizes: with {@link LayerNorm} the post-norm step of the paper, {@code
   * LayerNorm(x + Sublayer(x))}.
   *
   * @param workspace scratch for this call, or null to borrow one
   * @param x {@code [..., dim]}
   * @param residual {@code [..., dim]}, as many rows, or null
   * @param sum receives x + residual, or null; may be x or residual itself, and shares no memory
   *     with out
   * @param out receives the normalized rows; may be x or residual itself. Neither output may be
   *     another part of their memory, or share any with gamma and beta
   * @throws IllegalArgumentException naming the argument that does not fit; nothing was written
   */
  public void forward(Workspace workspace, Tensor x, Tensor residual, Tensor sum, Tensor out) {
    long rows = Rows.count("x", x, dim);
    Rows.checkOutput("out", out, rows, dim);
    if (residual != null) {
      Rows.check("residual", residual, rows, dim);
    }
    if (sum != null) {
      Rows.checkOutput("sum", sum, rows, dim);
      SharedMemory.refuseUnlessSame("sum", sum, "x", x);
      SharedMemory.refuseUnlessSame("sum", sum, "residual", residual);
      parameters.refuse("sum", sum);
    }
    SharedMemory.refuseUnlessSame("out", out, "x", x);
    SharedMemory.refuseUnlessSame("out", out, "residual", residual);
    SharedMemory.refuse("out", out, "sum", sum);
    parameters.refuse("out", out);
    try (LayerCall call = LayerCalls.begin(runtime, workspace)) {
      run(
          call,
          Rows.view(call, "x", x),
          residual == null ? null : Rows.view(call, "residual", residual),
          sum == null ? null : Rows.view(call, "sum", sum),
          Rows.view(call, "out", out));
    }
  }

  /** Residual and sum may be null, sum and out may be residual. */
  void run(LayerCall call, Matrix x, Matrix residual, Matrix sum, Matrix out) {
    append(call, x, residual, sum, out, false);
    call.steps().run();
  }

  /** The same as one of the call's steps; passing: nobody needs out after them. */
  void append(LayerCall call, Matrix x, Matrix residual, Matrix sum, Matrix out, boolean passing) {
    call.steps().norm(rms, epsilon, x, residual, gamma, beta, sum, out, passing);
  }
}
