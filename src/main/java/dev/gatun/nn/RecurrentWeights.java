package dev.gatun.nn;

import dev.gatun.Tensor;
import java.util.Objects;

/**
 * Weights of one direction of a recurrent layer, as PyTorch's {@code nn.LSTM} and {@code nn.GRU}
 * store them: a block of {@code hidden} rows for each gate. Nothing is copied.
 *
 * @param weightIh {@code [gates · hidden, in]}: {@code weight_ih_l0}, of the input
 * @param weightHh {@code [gates · hidden, hidden]}: {@code weight_hh_l0}, of the state
 * @param biasIh {@code [gates · hidden]}: {@code bias_ih_l0}; or null
 * @param biasHh {@code [gates · hidden]}: {@code bias_hh_l0}; or null
 */
public record RecurrentWeights(Tensor weightIh, Tensor weightHh, Tensor biasIh, Tensor biasHh) {

  /** Shapes are checked by the layer that takes them. */
  public RecurrentWeights {
    Objects.requireNonNull(weightIh, "weightIh");
    Objects.requireNonNull(weightHh, "weightHh");
  }
}
