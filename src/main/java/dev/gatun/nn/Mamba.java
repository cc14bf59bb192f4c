package dev.gatun.nn;

import dev.gatun.DType;
import dev.gatun.GatunRuntime;
import dev.gatun.Tensor;
import dev.gatun.internal.LayerCall;
import dev.gatun.internal.Matrix;
import dev.gatun.internal.SequenceRows;
import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.util.Objects;

/**
 * A selective state-space layer, "Mamba: Linear-Time Sequence Modeling with Selective State Spaces"
 * (Gu and Dao, 2023), section 3.4 and figure 3:
 *
 * <pre>{@code
 * [x, z]     = input(rows)                          two halves of its columns
 * x          = silu(convolution(x))                 each channel by itself, causal
 * [dt, B, C] = projection(x)
 * delta      = softplus(step(dt))
 * h[t]       = exp(delta[t] · A) h[t-1] + delta[t] · B[t] · x[t]      A = -exp(decay)
 * y[t]       = (C[t] · h[t] + skip · x[t]) · silu(z[t])
 * out        = output(y)
 * }</pre>
 *
 * <p>Each row costs the same, whatever came before it: what a sequence remembers has {@code
 * channels · (states + width - 1)} floats. Steps depend on each other, one for each row; channels
 * do not. Weights are those of the published files, under the names of the builder's methods.
 *
 * <p>Immutable; any number of threads may share it, each call with a workspace of its own or a
 * borrowed one. Bits of a row do not depend on threads, nor, with packed weights, on how a sequence
 * is cut into calls. Warm calls allocate nothing. Tensors are not copied: their arenas must stay
 * open as long as the layer is used.
 */
public final class Mamba extends StateSpaceMixer {

  private static final long MOST_STATES = 256;

  private final Linear projection;
  private final Linear step;
  private final long channels;
  private final long states;
  private final long rank;
  private final MemorySegment stepBias;
  private final MemorySegment a;
  private final MemorySegment skip;
  private final Parameters parameters;

  private Mamba(Builder b) {
    super(b.runtime, b.input, b.convolution, b.convolutionBias, b.output);
    this.projection = Objects.requireNonNull(b.projection, "projection");
    this.step = Objects.requireNonNull(b.step, "step");
    Tensor decay = Objects.requireNonNull(b.decay, "decay");
    this.channels = convolvedChannels;
    if (decay.dtype() != DType.FLOAT32
        || decay.rank() != 2
        || decay.size(0) != channels
        || decay.size(1) < 1
        || decay.size(1) > MOST_STATES) {
      throw Rows.bad("decay", "[%d, 1 .. 256] float32".formatted(channels), decay);
    }
    this.states = decay.size(1);
    this.rank = step.in();
    Rows.same("input.out", 2 * channels, input.out());
    Rows.same("projection.in", channels, projection.in());
    Rows.same("projection.out", rank + 2 * states, projection.out());
    Rows.same("step.out", channels, step.out());
    Rows.same("output.in", channels, output.in());
    Rows.same("output.out", input.in(), output.out());
    this.stepBias = Rows.vector("stepBias", b.stepBias, channels);
    this.skip = Rows.vector("skip", Objects.requireNonNull(b.skip, "skip"), channels);
    Tensor negative = negativeExponentials(b.arena, decay);
    this.a = negative.segment();
    this.parameters =
        new Parameters.Builder()
            .add("input", input.parameters())
            .add("convolution", b.convolution.segment())
            .add("convolutionBias", b.convolutionBias)
            .add("projection", projection.parameters())
            .add("step", step.parameters())
            .add("stepBias", b.stepBias)
            .add("decay", negative)
            .add("skip", b.skip)
            .add("output", output.parameters())
            .build();
  }

  private static Tensor negativeExponentials(Arena arena, Tensor decay) {
    float[] values = decay.toFloatArray();
    for (int i = 0; i < values.length; i++) {
      values[i] = (float) -Math.exp(values[i]);
    }
    return Tensor.copyOf(arena, values, decay.shape());
  }

  /**
   * Starts a layer.
   *
   * @param runtime where it runs
   * @param arena gets what is computed of the decays; must stay open as long as the layer is used
   * @return a builder without weights
   */
  public static Builder builder(GatunRuntime runtime, Arena arena) {
    return new Builder(runtime, arena);
  }

  /** Collects the weights of a layer. Matrices are {@code [out, in]}, as the files have them. */
  public static final class Builder {
    private final GatunRuntime runtime;
    private final Arena arena;
    private Linear input;
    private Tensor convolution;
    private Tensor convolutionBias;
    private Linear projection;
    private Linear step;
    private Tensor stepBias;
    private Tensor decay;
    private Tensor skip;
    private Linear output;

    private Builder(GatunRuntime runtime, Arena arena) {
      this.runtime = Objects.requireNonNull(runtime, "runtime");
      this.arena = Objects.requireNonNull(arena, "arena");
    }

    /**
     * Takes {@code in_proj}.
     *
     * @param weight {@code [2 · channels, in]}: of x, then of the gate z
     * @param bias {@code [2 · channels]}, or null
     * @return this
     */
    public Builder input(Tensor weight, Tensor bias) {
      return input(product(runtime, weight, bias));
    }

    /**
     * Takes {@code in_proj}, packed perhaps.
     *
     * @param layer from a row to x and z
     * @return this
     */
    public Builder input(Linear layer) {
      input = plain("input", layer);
      return this;
    }

    /**
     * Takes {@code conv1d}.
     *
     * @param weight {@code [channels, 1, width]}, contiguous, the oldest row first; width 1 … 16
     * @param bias {@code [channels]}, or null
     * @return this
     */
    public Builder convolution(Tensor weight, Tensor bias) {
      convolution = weight;
      convolutionBias = bias;
      return this;
    }

    /**
     * Takes {@code x_proj}.
     *
     * @param weight {@code [rank + 2 · states, channels]}: of dt, B and C
     * @return this
     */
    public Builder projection(Tensor weight) {
      return projection(product(runtime, weight, null));
    }

    /**
     * Takes {@code x_proj}, packed perhaps.
     *
     * @param layer from x to dt, B and C
     * @return this
     */
    public Builder projection(Linear layer) {
      projection = plain("projection", layer);
      return this;
    }

    /**
     * Takes {@code dt_proj}.
     *
     * @param weight {@code [channels, rank]}
     * @param bias {@code [channels]}, or null
     * @return this
     */
    public Builder step(Tensor weight, Tensor bias) {
      return step(product(runtime, weight, null), bias);
    }

    /**
     * Takes {@code dt_proj}, packed perhaps.
     *
     * @param layer from dt to step sizes, without bias
     * @param bias {@code [channels]}, or null
     * @return this
     */
    public Builder step(Linear layer, Tensor bias) {
      step = plain("step", layer);
      stepBias = bias;
      return this;
    }

    /**
     * Takes {@code A_log}.
     *
     * @param logarithms {@code [channels, states]}: A is minus their exponential; 1 … 256 states
     * @return this
     */
    public Builder decay(Tensor logarithms) {
      decay = logarithms;
      return this;
    }

    /**
     * Takes {@code D}.
     *
     * @param factors {@code [channels]}
     * @return this
     */
    public Builder skip(Tensor factors) {
      skip = factors;
      return this;
    }

    /**
     * Takes {@code out_proj}.
     *
     * @param weight {@code [in, channels]}
     * @param bias {@code [in]}, or null
     * @return this
     */
    public Builder output(Tensor weight, Tensor bias) {
      return output(product(runtime, weight, bias));
    }

    /**
     * Takes {@code out_proj}, packed perhaps.
     *
     * @param layer from y to a row
     * @return this
     */
    public Builder output(Linear layer) {
      output = plain("output", layer);
      return this;
    }

    /**
     * Makes the layer.
     *
     * @return the layer
     * @throws IllegalArgumentException naming the weight whose shape does not fit
     * @throws NullPointerException naming a weight that was not given
     */
    public Mamba build() {
      return new Mamba(this);
    }
  }

  // ---- sizes ---------------------------------------------------------------------------------

  /** {@return the channels of the scan, 2 · in in the paper} */
  public long channels() {
    return channels;
  }

  /** {@return the states of a channel, 16 in the paper} */
  public long states() {
    return states;
  }

  @Override
  Parameters parameters() {
    return parameters;
  }

  @Override
  long projected() {
    return 3 * channels + rank + 2 * states;
  }

  @Override
  long contextColumns() {
    return channels;
  }

  @Override
  long stateFloats() {
    return keptFloats() + channels * states;
  }

  // ---- computing -----------------------------------------------------------------------------

  @Override
  void append(
      LayerCall call,
      SequenceRows rows,
      Matrix x,
      Matrix all,
      Matrix context,
      MemorySegment state,
      Matrix out,
      boolean passing) {
    long dt = 3 * channels;
    long b = dt + rank;
    // Columns: x and later delta, z, the convolution, dt, B, C.
    input.append(call, x, all.part(0, 0, 2 * channels), false);
    call.steps().run();
    MemorySegment kept = MemorySegment.NULL;
    MemorySegment sums = MemorySegment.NULL;
    if (state.address() != 0) {
      // A view of its own for each layer: the parts that it has made stay.
      Matrix parts = call.scratch().view(state, rows.count(), stateFloats(), stateFloats());
      kept = parts.part(0, 0, keptFloats()).segment();
      sums = parts.part(1, keptFloats(), channels * states).segment();
    }
    Matrix convolved = all.part(1, 2 * channels, channels);
    convolve(call, rows, all.part(0, 0, channels), kept, stateFloats(), convolved);
    projection.append(call, convolved, all.part(0, dt, rank + 2 * states), false);
    call.steps().run();
    Matrix delta = all.part(2, 0, channels);
    step.append(call, all.part(0, dt, rank), delta, false);
    call.steps().run();
    call.rows()
        .scan()
        .scan(
            rows,
            convolved,
            delta.segment(),
            a,
            all.part(0, b, states).segment(),
            all.part(0, b + states, states).segment(),
            skip,
            stepBias,
            all.part(0, channels, channels).segment(),
            states,
            sums,
            stateFloats(),
            context);
    output.append(call, context, out, passing);
  }
}
