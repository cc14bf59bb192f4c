package dev.gatun.nn;

import dev.gatun.GatunRuntime;
import dev.gatun.internal.LinearAttentionCall.Features;

/**
 * Linear attention: the weight of a key is a product of features instead of the exponential of a
 * product, "Transformers are RNNs: Fast Autoregressive Transformers with Linear Attention"
 * (Katharopoulos and others, 2020), equations 4 to 12:
 *
 * <pre>{@code
 * out_i = φ(q_i) S / (φ(q_i) · z)        S = Σ_j φ(k_j) v_jᵀ        z = Σ_j φ(k_j)
 * }</pre>
 *
 * <p>with φ(x) = elu(x) + 1, that is x + 1 above 0 and exp(x) below (equation 7). The sums do not
 * depend on i: time and memory grow with the number of rows, not with its square. It approximates
 * nothing: a model is trained with it. A causal one has S and z as a state, [headDim, headDimV] a
 * head, and a further row takes a time that does not depend on how many there were.
 *
 * <p>There is no factor 1/√headDim, as φ is no exponential. Heads are at most 512 wide.
 */
public final class LinearAttention extends FeatureAttention {

  private static final Parameters NONE = new Parameters.Builder().build();

  private final Features map;

  /**
   * Makes the mechanism with φ(x) = elu(x) + 1.
   *
   * @param runtime where it runs
   * @param causal whether row i sees the keys up to i only; there are as many keys as rows then
   */
  public LinearAttention(GatunRuntime runtime, boolean causal) {
    this(runtime, causal, Features.ELU);
  }

  private LinearAttention(GatunRuntime runtime, boolean causal, Features map) {
    super(runtime, "linear", causal);
    this.map = map;
  }

  /**
   * Makes the mechanism with φ(x) = x: queries and keys are features already.
   *
   * @param runtime where it runs
   * @param causal as in the constructor
   * @return attention whose result is not a number where the weights of a row add up to 0
   */
  public static LinearAttention featuresAsGiven(GatunRuntime runtime, boolean causal) {
    return new LinearAttention(runtime, causal, Features.AS_GIVEN);
  }

  @Override
  Features map() {
    return map;
  }

  @Override
  long features(long headDim) {
    return headDim;
  }

  @Override
  Parameters parameters() {
    return NONE;
  }
}
