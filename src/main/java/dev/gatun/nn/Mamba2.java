package dev.gatun.nn;

import dev.gatun.Activation;
import dev.gatun.GatunRuntime;
import dev.gatun.Tensor;
import dev.gatun.internal.LayerCall;
import dev.gatun.internal.LinearAttentionCall;
import dev.gatun.internal.LinearAttentionCall.Features;
import dev.gatun.internal.Matrix;
import dev.gatun.internal.Native;
import dev.gatun.internal.SequenceRows;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import java.util.Objects;

/**
 * A state-space layer with a scalar decay for each head, "Transformers are SSMs: Generalized Models
 * and Efficient Algorithms Through Structured State Space Duality" (Dao and Gu, 2024), equation 16
 * and section 7.1:
 *
 * <pre>{@code
 * [z, xBC, dt] = input(rows)
 * [x, B, C]    = silu(convolution(xBC))              each channel by itself, causal
 * delta        = clamp(softplus(dt + stepBias))      one for each head, within the limits
 * h[t]         = exp(delta[t] · a) h[t-1] + delta[t] · x[t] B[t]ᵀ      a = -exp(decay)
 * y[t]         = h[t] C[t] + skip · x[t]
 * out          = output(norm(y · silu(z)))
 * }</pre>
 *
 * <p>x has {@code heads · headDim} channels; each head has a state of {@code [headDim, states]}.
 * Heads lie in groups, one after the other, and those of a group have the same B and C of {@code
 * states} each, as heads of attention share keys: C is the query, B the key, x the value of a
 * linear attention whose sums decay. So that is what computes it, by chunks of products where there
 * are many rows. The norm is one over all channels, however many groups there are, as in
 * transformers and in {@code mamba2_simple.py} of the authors; their {@code mamba2.py} has one for
 * each group.
 *
 * <p>Each row costs the same, whatever came before it: what a sequence remembers has {@code heads ·
 * states · (headDim + 2) + (width - 1) · (channels + 2 · groups · states)} floats. Weights are
 * those of the published files, under the names of the builder's methods.
 *
 * <p>Immutable; any number of threads may share it, each call with a workspace of its own or a
 * borrowed one. Bits of a row do not depend on threads and, with packed weights, on other
 * sequences; a sequence that is cut into calls has those of one call within rounding. Warm calls
 * allocate nothing. Tensors are not copied, but for the decays: their arenas must stay open as long
 * as the layer is used.
 */
public final class Mamba2 extends StateSpaceMixer {

  /** From here on a float's softplus is the float itself. */
  private static final float LINEAR_FROM = 20;

  private final int heads;
  private final int groups;
  private final long headDim;
  private final long states;
  private final long channels;
  private final float leastStep;
  private final float mostStep;
  private final MemorySegment stepBias;
  private final float[] a;
  private final MemorySegment skip;
  private final Norm norm;
  private final Parameters parameters;

  private Mamba2(Builder b) {
    super(b.runtime, b.input, b.convolution, b.convolutionBias, b.output);
    this.groups = b.groups;
    Tensor decay = Objects.requireNonNull(b.decay, "decay");
    if (decay.rank() != 1 || decay.size(0) < 1 || decay.size(0) > Integer.MAX_VALUE) {
      throw Rows.bad("decay", "[heads] float32", decay);
    }
    this.heads = (int) decay.size(0);
    Rows.vector("decay", decay, heads);
    if (heads % groups != 0) {
      throw new IllegalArgumentException(
          "groups: expected a divisor of %d heads, got %d".formatted(heads, groups));
    }
    this.channels = output.in();
    this.headDim = channels / heads;
    if (channels % heads != 0 || headDim > Native.Abi.MAX_HEAD_DIM) {
      throw new IllegalArgumentException(
          "output.in: expected %d heads of 1 .. %d, got %d"
              .formatted(heads, Native.Abi.MAX_HEAD_DIM, channels));
    }
    long both = convolvedChannels - channels;
    this.states = both / (2L * groups);
    if (both < 1 || both % (2L * groups) != 0 || states > Native.Abi.MAX_HEAD_DIM) {
      throw Rows.bad(
          "convolution",
          "[%d + 2 · %d · states, 1, width], states 1 .. %d"
              .formatted(channels, groups, Native.Abi.MAX_HEAD_DIM),
          b.convolution);
    }
    Rows.same("input.out", channels + convolvedChannels + heads, input.out());
    Rows.same("output.out", input.in(), output.out());
    this.norm = Objects.requireNonNull(b.norm, "norm");
    Rows.same("norm", channels, norm.dim());
    this.leastStep = b.leastStep;
    this.mostStep = b.mostStep;
    this.stepBias = Rows.vector("stepBias", Objects.requireNonNull(b.stepBias, "stepBias"), heads);
    this.skip = Rows.vector("skip", Objects.requireNonNull(b.skip, "skip"), heads);
    this.a = decay.toFloatArray();
    for (int n = 0; n < heads; n++) {
      a[n] = (float) -Math.exp(a[n]);
    }
    this.parameters =
        new Parameters.Builder()
            .add("input", input.parameters())
            .add("convolution", b.convolution.segment())
            .add("convolutionBias", b.convolutionBias)
            .add("stepBias", b.stepBias)
            .add("skip", b.skip)
            .add("norm", norm)
            .add("output", output.parameters())
            .build();
  }

  /**
   * Starts a layer of one group, whose steps have no limits.
   *
   * @param runtime where it runs
   * @return a builder without weights
   */
  public static Builder builder(GatunRuntime runtime) {
    return new Builder(runtime);
  }

  /** Collects the weights of a layer. Matrices are {@code [out, in]}, as the files have them. */
  public static final class Builder {
    private final GatunRuntime runtime;
    private int groups = 1;
    private Linear input;
    private Tensor convolution;
    private Tensor convolutionBias;
    private Tensor stepBias;
    private float leastStep;
    private float mostStep = Float.POSITIVE_INFINITY;
    private Tensor decay;
    private Tensor skip;
    private Norm norm;
    private Linear output;

    private Builder(GatunRuntime runtime) {
      this.runtime = Objects.requireNonNull(runtime, "runtime");
    }

    /**
     * Sets {@code n_groups}.
     *
     * @param count groups of heads with a B and a C of their own, a divisor of the heads
     * @return this
     */
    public Builder groups(int count) {
      if (count < 1) {
        throw new IllegalArgumentException("groups: expected 1 or more, got " + count);
      }
      groups = count;
      return this;
    }

    /**
     * Takes {@code in_proj}.
     *
     * @param weight {@code [2 · channels + 2 · groups · states + heads, in]}: of z, x, B, C and dt
     * @param bias a vector of as many, or null
     * @return this
     */
    public Builder input(Tensor weight, Tensor bias) {
      return input(product(runtime, weight, bias));
    }

    /**
     * Takes {@code in_proj}, packed perhaps.
     *
     * @param layer from a row to z, x, B, C and dt
     * @return this
     */
    public Builder input(Linear layer) {
      input = plain("input", layer);
      return this;
    }

    /**
     * Takes {@code conv1d}.
     *
     * @param weight {@code [channels + 2 · groups · states, 1, width]}, contiguous, the oldest row
     *     first; width 1 … 16, states 1 … 512
     * @param bias {@code [channels + 2 · groups · states]}, or null
     * @return this
     */
    public Builder convolution(Tensor weight, Tensor bias) {
      convolution = weight;
      convolutionBias = bias;
      return this;
    }

    /**
     * Takes {@code dt_bias}.
     *
     * @param bias {@code [heads]}
     * @return this
     */
    public Builder stepBias(Tensor bias) {
      stepBias = bias;
      return this;
    }

    /**
     * Sets {@code time_step_limit}.
     *
     * @param least of a step, 0 or more and finite
     * @param most of a step, no less than that; may be infinite
     * @return this
     */
    public Builder stepLimits(float least, float most) {
      if (!(least >= 0) || Float.isInfinite(least)) {
        throw new IllegalArgumentException(
            "least: expected a finite number of 0 or more, got " + least);
      }
      if (!(most >= least)) {
        throw new IllegalArgumentException(
            "most: expected no less than %s, got %s".formatted(least, most));
      }
      leastStep = least;
      mostStep = most;
      return this;
    }

    /**
     * Takes {@code A_log}, which is copied.
     *
     * @param logarithms {@code [heads]}: a is minus their exponential
     * @return this
     */
    public Builder decay(Tensor logarithms) {
      decay = logarithms;
      return this;
    }

    /**
     * Takes {@code D}.
     *
     * @param factors {@code [heads]}
     * @return this
     */
    public Builder skip(Tensor factors) {
      skip = factors;
      return this;
    }

    /**
     * Takes {@code norm}.
     *
     * @param gamma {@code [channels]}
     * @param epsilon added to the mean square, 0 or more and finite
     * @return this
     */
    public Builder norm(Tensor gamma, float epsilon) {
      norm = new RMSNorm(runtime, gamma, epsilon);
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
     * @param layer from what the norm gives to a row
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
    public Mamba2 build() {
      return new Mamba2(this);
    }
  }

  // ---- sizes ---------------------------------------------------------------------------------

  /** {@return the heads of the recurrence} */
  @Override
  public int heads() {
    return heads;
  }

  /** {@return the channels of a head, 64 in the paper} */
  public long headDim() {
    return headDim;
  }

  /** {@return the channels of all heads, 2 · in in the paper} */
  public long channels() {
    return channels;
  }

  /** {@return the states of a channel, 64 or 128 in the paper} */
  public long states() {
    return states;
  }

  /** {@return the groups of heads with a B and a C of their own} */
  public int groups() {
    return groups;
  }

  @Override
  Parameters parameters() {
    return parameters;
  }

  @Override
  long projected() {
    return channels + 2 * convolvedChannels + heads;
  }

  @Override
  long contextColumns() {
    return channels;
  }

  @Override
  long stateFloats() {
    return keptFloats() + heads * states * (headDim + 2);
  }

  /** Linear attention wants the states of all sequences without gaps. */
  @Override
  long apartFloats() {
    return keptFloats();
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
    long dt = channels + convolvedChannels;
    long mixed = dt + heads;
    // Columns: z, what is convolved and later delta · x, dt and later decays, the convolution.
    input.append(call, x, all.part(0, 0, mixed), false);
    call.steps().run();
    MemorySegment kept = MemorySegment.NULL;
    MemorySegment sums = MemorySegment.NULL;
    if (state.address() != 0) {
      // A view of its own for each layer: the parts that it has made stay.
      long floats = rows.count() * stateFloats();
      long first = rows.count() * keptFloats();
      Matrix parts = call.scratch().view(state, 1, floats, floats);
      kept = parts.part(0, 0, first).segment();
      sums = parts.part(1, first, floats - first).segment();
    }
    convolve(
        call,
        rows,
        all.part(0, channels, convolvedChannels),
        kept,
        keptFloats(),
        all.part(1, mixed, convolvedChannels));
    takeSteps(all, dt, mixed);
    recur(call, rows, all, dt, mixed, sums, context);
    addSkipped(all, mixed, context);
    Matrix z = all.part(0, 0, channels);
    call.rows().activation(Activation.SILU, z, MemorySegment.NULL, context, context);
    norm.append(call, context, null, null, context, true);
    output.append(call, context, out, passing);
  }

  /** Makes decays of dt, and delta · x where that was which has been convolved. */
  private void takeSteps(Matrix all, long dt, long mixed) {
    MemorySegment memory = all.segment();
    for (long r = 0; r < all.rows(); r++) {
      long row = r * all.stride();
      for (int h = 0; h < heads; h++) {
        long at = row + dt + h;
        float delta =
            step(
                memory.getAtIndex(ValueLayout.JAVA_FLOAT, at)
                    + stepBias.getAtIndex(ValueLayout.JAVA_FLOAT, h));
        memory.setAtIndex(ValueLayout.JAVA_FLOAT, at, delta * a[h]);
        long from = row + mixed + h * headDim;
        long to = row + channels + h * headDim;
        for (long i = 0; i < headDim; i++) {
          float x = memory.getAtIndex(ValueLayout.JAVA_FLOAT, from + i);
          memory.setAtIndex(ValueLayout.JAVA_FLOAT, to + i, delta * x);
        }
      }
    }
  }

  private float step(float dt) {
    float delta = dt > LINEAR_FROM ? dt : (float) Math.log1p(Math.exp(dt));
    return Math.min(Math.max(delta, leastStep), mostStep);
  }

  /** The recurrence: C are queries, B keys, delta · x values. */
  private void recur(
      LayerCall call,
      SequenceRows rows,
      Matrix all,
      long dt,
      long mixed,
      MemorySegment sums,
      Matrix context) {
    long sequence = rows.sequenceStep() * all.stride();
    long row = rows.rowStep() * all.stride();
    long contextRow = rows.rowStep() * context.stride();
    MemorySegment values = all.part(0, channels, channels).segment();
    MemorySegment decays = all.part(0, dt, heads).segment();
    MemorySegment keys = all.part(1, mixed + channels, groups * states).segment();
    MemorySegment queries =
        all.part(2, mixed + channels + groups * states, groups * states).segment();
    LinearAttentionCall attention =
        call.rows()
            .linearAttention()
            .describe(
                Features.AS_GIVEN,
                true,
                rows.count(),
                heads,
                rows.longest(),
                rows.longest(),
                states,
                headDim,
                states)
            .heads(groups, groups, heads)
            .unnormalized()
            .strideQ(sequence, row, states)
            .strideK(sequence, row, states)
            .strideV(sequence, row, headDim)
            .strideOut(rows.sequenceStep() * context.stride(), contextRow, headDim)
            .logDecay(decays, sequence, row, 1)
            .state(sums);
    if (rows.offsets() != null) {
      attention.ragged(rows.offsets(), null);
    }
    attention.run(queries, keys, values, context.segment());
  }

  private void addSkipped(Matrix all, long mixed, Matrix context) {
    MemorySegment memory = all.segment();
    MemorySegment y = context.segment();
    for (long r = 0; r < all.rows(); r++) {
      for (int h = 0; h < heads; h++) {
        float factor = skip.getAtIndex(ValueLayout.JAVA_FLOAT, h);
        long from = r * all.stride() + mixed + h * headDim;
        long to = r * context.stride() + h * headDim;
        for (long i = 0; i < headDim; i++) {
          float more = factor * memory.getAtIndex(ValueLayout.JAVA_FLOAT, from + i);
          y.setAtIndex(
              ValueLayout.JAVA_FLOAT, to + i, y.getAtIndex(ValueLayout.JAVA_FLOAT, to + i) + more);
        }
      }
    }
  }
}
