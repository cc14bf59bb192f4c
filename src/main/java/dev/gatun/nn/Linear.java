package dev.gatun.nn;

import dev.gatun.Activation;
import dev.gatun.DType;
import dev.gatun.GatunRuntime;
import dev.gatun.Tensor;
import dev.gatun.WeightFormat;
import dev.gatun.Workspace;
import dev.gatun.internal.LayerCall;
import dev.gatun.internal.LayerCalls;
import dev.gatun.internal.Matrix;
import dev.gatun.internal.SharedMemory;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.SegmentAllocator;
import java.util.Arrays;
import java.util.Objects;

/**
 * A linear layer, {@code out = activation(x · W + b)}, in blocks over the runtime's threads, bias
 * and activation on each block while it is in the cache.
 *
 * <p>The weight is either a view or packed. A view is {@code [in, out]}, row-major as ONNX stores
 * it, or the {@code transpose(0, 1)} of a row-major {@code [out, in]} as PyTorch stores it; {@link
 * WeightOrder} gives the order its name. It is not copied: it may be mapped from a file, and its
 * arena must stay open as long as the layer is used. OpenBLAS multiplies it, which packs it anew in
 * each call. A {@link PackedWeight} is multiplied by kernels of our own, in its {@link
 * WeightFormat}.
 *
 * <p>Immutable; any number of threads may share it, each call with a workspace of its own or a
 * borrowed one. Bits do not depend on the number of threads and, with a packed weight, on other
 * rows. Warm calls allocate nothing.
 */
public final class Linear {

  private final GatunRuntime runtime;
  private final Activation activation;
  private final long in;
  private final long out;
  private final Tensor weight;
  private final PackedWeight packed;
  private final Tensor bias;
  private final Matrix weightRows;
  private final boolean transposed;
  private final MemorySegment biasRow;
  private final Parameters parameters;

  /**
   * Makes a layer of a weight {@code [in, out]}. A square one in the other order cannot be told
   * from it: {@link #Linear(GatunRuntime, WeightOrder, Tensor, Tensor, Activation)} says the order.
   *
   * @param runtime where it runs
   * @param weight {@code [in, out]}, see above
   * @param bias {@code [out]}, or null
   * @param activation applied to each element of the result
   * @throws IllegalArgumentException naming the parameter whose shape or strides do not fit
   */
  public Linear(GatunRuntime runtime, Tensor weight, Tensor bias, Activation activation) {
    this(runtime, "weight", weight, "bias", bias, activation);
  }

  /**
   * Makes a layer of a weight in either order.
   *
   * @param runtime where it runs
   * @param order of the weight: {@link WeightOrder#OUT_IN} for a file of PyTorch's
   * @param weight {@code [in, out]} or {@code [out, in]}, rows contiguous
   * @param bias {@code [out]}, or null
   * @param activation applied to each element of the result
   * @throws IllegalArgumentException naming the parameter whose shape or strides do not fit
   */
  public Linear(
      GatunRuntime runtime, WeightOrder order, Tensor weight, Tensor bias, Activation activation) {
    this(runtime, order.toInOut("weight", weight), bias, activation);
  }

  /** The same, under the names that another layer's parameters have. */
  Linear(
      GatunRuntime runtime,
      String weightName,
      Tensor weight,
      String biasName,
      Tensor bias,
      Activation activation) {
    this.runtime = Objects.requireNonNull(runtime, "runtime");
    Objects.requireNonNull(weight, weightName);
    this.activation = Objects.requireNonNull(activation, "activation");
    if (weight.dtype() != DType.FLOAT32
        || weight.rank() != 2
        || weight.size(0) < 1
        || weight.size(1) < 1) {
      throw Rows.bad(weightName, "[in, out] float32", weight);
    }
    this.in = weight.size(0);
    this.out = weight.size(1);
    this.transposed = weight.stride(1) != 1 && out > 1;
    if (transposed
        ? weight.stride(0) != 1 && in > 1 || weight.stride(1) < in
        : weight.stride(0) < out && in > 1) {
      throw Rows.bad(weightName, "a row-major matrix or the transpose of one", weight);
    }
    long stride = transposed ? weight.stride(1) : in > 1 ? weight.stride(0) : out;
    this.weight = weight;
    this.packed = null;
    this.bias = bias;
    this.weightRows = Matrix.of(weight.segment(), in, out, stride);
    if (bias != null && in != out && bias.rank() == 1 && bias.size(0) == in) {
      throw new IllegalArgumentException(
          "%s: expected [%d] float32, as %s is [in, out] = [%d, %d], got [%d]; if the weight is [out, in], give its transpose(0, 1)"
              .formatted(biasName, out, weightName, in, out, in));
    }
    this.biasRow = Rows.vector(biasName, bias, out);
    this.parameters = new Parameters.Builder().add(weightName, weight).add(biasName, bias).build();
  }

  /**
   * Makes a layer of a packed weight.
   *
   * @param runtime where it runs
   * @param weight {@code [in, out]}
   * @param bias {@code [out]}, or null
   * @param activation applied to each element of the result
   * @throws IllegalArgumentException if the bias does not fit
   */
  public Linear(GatunRuntime runtime, PackedWeight weight, Tensor bias, Activation activation) {
    this.runtime = Objects.requireNonNull(runtime, "runtime");
    this.packed = Objects.requireNonNull(weight, "weight");
    this.activation = Objects.requireNonNull(activation, "activation");
    this.in = weight.in();
    this.out = weight.out();
    this.weight = null;
    this.weightRows = null;
    this.transposed = false;
    this.bias = bias;
    this.biasRow = Rows.vector("bias", bias, out);
    this.parameters =
        new Parameters.Builder().add("weight", weight.segment()).add("bias", bias).build();
  }

  /**
   * The same layer with its weight packed.
   *
   * @param memory gives the memory of the packed weight, an {@link java.lang.foreign.Arena} for
   *     example; the bias stays where it is
   * @param format what the weight becomes; VIEW changes nothing
   * @return a new layer, or this one if nothing is to be changed
   * @throws IllegalArgumentException if the weight is packed in another format already
   */
  public Linear packed(SegmentAllocator memory, WeightFormat format) {
    if (Objects.requireNonNull(format, "format") == WeightFormat.VIEW && packed == null) {
      return this;
    }
    if (packed != null) {
      if (format == packed.format() || format == WeightFormat.AUTO) {
        return this;
      }
      throw new IllegalArgumentException(
          "format: expected %s, as the weight is packed already, got %s"
              .formatted(packed.format(), format));
    }
    return new Linear(
        runtime, PackedWeight.pack(runtime, memory, format, weight), bias, activation);
  }

  /** {@return how the weight is stored: VIEW, or what it is packed as} */
  public WeightFormat format() {
    return packed == null ? WeightFormat.VIEW : packed.format();
  }

  /**
   * Refuses a tensor that shares memory with the weight or the bias: for models that are put
   * together from layers and write their result last.
   *
   * @param name of the argument, for the message
   * @param output what is going to be written
   * @throws IllegalArgumentException if it shares memory
   */
  public void refuseShared(String name, Tensor output) {
    parameters().refuse(name, output);
  }

  Parameters parameters() {
    return parameters;
  }

  /** Elements of a row of x, of which another number may mean that the weight is transposed. */
  void checkRow(String name, String weightName, Tensor x) {
    Objects.requireNonNull(x, name);
    int rank = x.rank();
    if (in != out && rank > 0 && x.size(rank - 1) == out) {
      throw new IllegalArgumentException(
          "%s: expected [..., %d] float32, as %s is [in, out] = [%d, %d], got %s%s"
              .formatted(
                  name,
                  in,
                  weightName,
                  in,
                  out,
                  Arrays.toString(x.shape()),
                  packed != null ? "" : "; if the weight is [out, in], give its transpose(0, 1)"));
    }
  }

  /** {@return the size of an input row, columns of x} */
  public long in() {
    return in;
  }

  /** {@return the size of an output row, columns of out} */
  public long out() {
    return out;
  }

  /**
   * Computes the layer with borrowed scratch.
   *
   * @param x {@code [..., in]}
   * @param out receives {@code [..., out]}; shares no memory with x, weight or bias
   */
  public void forward(Tensor x, Tensor out) {
    forward(null, x, out);
  }

  /**
   * Computes the layer.
   *
   * @param workspace scratch for this call, or null to borrow one
   * @param x {@code [..., in]}, rows evenly spaced
   * @param out receives {@code [..., out]}, as many rows; shares no memory with x, weight or bias
   * @throws IllegalArgumentException naming the argument that does not fit; nothing was written
   */
  public void forward(Workspace workspace, Tensor x, Tensor out) {
    checkRow("x", "weight", x);
    long rows = Rows.count("x", x, in);
    Rows.checkOutput("out", out, rows, this.out);
    SharedMemory.refuse("out", out, "x", x);
    parameters.refuse("out", out);
    try (LayerCall call = LayerCalls.begin(runtime, workspace)) {
      run(call, Rows.view(call, "x", x), Rows.view(call, "out", out));
    }
  }

  boolean isPacked() {
    return packed != null;
  }

  Activation activation() {
    return activation;
  }

  /** The layer of a view with another activation. */
  Linear with(Activation other) {
    return new Linear(runtime, weight, bias, other);
  }

  /** The layer of some of the columns of a view. */
  Linear columns(long from, long to) {
    Tensor some = bias == null ? null : bias.slice(0, from, to);
    return new Linear(runtime, weight.slice(1, from, to), some, activation);
  }

  void run(LayerCall call, Matrix x, Matrix to) {
    append(call, x, to, false);
    call.steps().run();
  }

  /**
   * The same as one of the call's steps, or at once after those that wait if the weight is a view.
   *
   * @param passing whether nobody needs {@code to} after the steps
   */
  void append(LayerCall call, Matrix x, Matrix to, boolean passing) {
    if (packed != null) {
      appendGated(call, x, null, to, passing);
    } else {
      call.steps().runSoFar();
      call.rows().linear(x, weightRows, transposed, biasRow, activation, to);
    }
  }

  /** {@code to = activation(x · W + b) · gate} with a packed weight; the gate may be null. */
  void appendGated(LayerCall call, Matrix x, Matrix gate, Matrix to, boolean passing) {
    call.steps()
        .linear(x, packed.segment(), packed.format(), biasRow, activation, gate, to, passing);
  }
}
