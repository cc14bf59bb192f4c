package dev.gatun.nn;

import dev.gatun.Activation;
import dev.gatun.Causal;
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
import java.lang.foreign.MemorySegment;
import java.util.Objects;

/**
 * What {@link Mamba} and {@link Mamba2} have in common: a product, a causal convolution of each
 * channel by itself, a recurrence, and a product.
 */
abstract class StateSpaceMixer extends SequenceMixer {

  private static final long MOST_WIDTH = 16;

  final GatunRuntime runtime;
  final Linear input;
  final Linear output;

  /** Channels of the convolution. */
  final long convolvedChannels;

  private final long width;
  private final MemorySegment kernel;
  private final MemorySegment kernelBias;

  /** Of products, and of a convolution {@code [channels, 1, width]} with its bias or null. */
  StateSpaceMixer(GatunRuntime runtime, Linear input, Tensor weight, Tensor bias, Linear output) {
    this.runtime = runtime;
    this.input = Objects.requireNonNull(input, "input");
    this.output = Objects.requireNonNull(output, "output");
    Objects.requireNonNull(weight, "convolution");
    if (weight.dtype() != DType.FLOAT32
        || weight.rank() != 3
        || weight.size(0) < 1
        || weight.size(1) != 1
        || weight.size(2) < 1
        || weight.size(2) > MOST_WIDTH
        || !weight.isContiguous()) {
      throw Rows.bad("convolution", "[channels, 1, 1 .. 16] float32, contiguous", weight);
    }
    this.convolvedChannels = weight.size(0);
    this.width = weight.size(2);
    this.kernel = weight.segment();
    this.kernelBias = Rows.vector("convolutionBias", bias, convolvedChannels);
  }

  /** A product as the files have it. */
  static Linear product(GatunRuntime runtime, Tensor weight, Tensor bias) {
    return new Linear(runtime, WeightOrder.OUT_IN, weight, bias, Activation.NONE);
  }

  /** Refuses an activation, which nothing here asks for. */
  static Linear plain(String name, Linear layer) {
    if (Objects.requireNonNull(layer, name).activation() != Activation.NONE) {
      throw new IllegalArgumentException(
          "%s: expected a layer without activation, got %s".formatted(name, layer.activation()));
    }
    return layer;
  }

  @Override
  public final long in() {
    return input.in();
  }

  @Override
  public final long out() {
    return output.out();
  }

  @Override
  final Causal causal() {
    return Causal.BOTTOM_RIGHT;
  }

  /** Floats of a sequence's state that are the convolution's. */
  final long keptFloats() {
    return (width - 1) * convolvedChannels;
  }

  @Override
  public final void forward(Workspace workspace, Tensor x, Sequences sequences, Tensor out) {
    Objects.requireNonNull(x, "x");
    input.checkRow("x", "input", x);
    Rows.checkTokens("x", x, in());
    Rows.checkLike("out", out, x, out());
    SharedMemory.refuseUnlessSame("out", out, "x", x);
    Sequences.refuseShared("out", out, sequences);
    parameters().refuse("out", out);
    try (LayerCall call = LayerCalls.begin(runtime, workspace)) {
      SequenceRows rows =
          Sequences.divide(call, sequences, "x", x, x.rank() - 1, MemorySegment.NULL);
      Matrix in = Sequences.gather(call, rows, Rows.view(call, "x", x));
      Matrix to = Rows.view(call, "out", out);
      Matrix computed = Sequences.target(call, rows, to);
      Scratch scratch = call.scratch();
      Matrix all = scratch.matrix(in.rows(), projected());
      Matrix context = scratch.matrix(in.rows(), contextColumns());
      append(call, rows, in, all, context, MemorySegment.NULL, computed, false);
      call.steps().run();
      Sequences.scatter(rows, computed, to);
    }
  }

  /** The convolution, with SiLU; kept is its state of the first sequence, or NULL. */
  final void convolve(
      LayerCall call, SequenceRows rows, Matrix x, MemorySegment kept, long keptRow, Matrix out) {
    call.rows()
        .scan()
        .convolution(rows, x, kernel, kernelBias, width, Activation.SILU, kept, keptRow, out);
  }
}
