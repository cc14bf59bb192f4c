package dev.gatun.nn;

import dev.gatun.GatunRuntime;
import dev.gatun.WeightFormat;
import dev.gatun.internal.CellOps.Cell;
import java.lang.foreign.SegmentAllocator;
import java.util.Objects;

/**
 * Long short-term memory (Hochreiter and Schmidhuber 1997, with the forget gate of Gers et al.
 * 2000), as PyTorch's {@code nn.LSTM} computes it: for each row x of a sequence,
 *
 * <pre>
 *   i = σ(W_ii x + b_ii + W_hi h + b_hi)      f = σ(W_if x + b_if + W_hf h + b_hf)
 *   g = tanh(W_ig x + b_ig + W_hg h + b_hg)   o = σ(W_io x + b_io + W_ho h + b_ho)
 *   c' = f ∘ c + i ∘ g                        h' = o ∘ tanh(c')
 * </pre>
 *
 * where blocks of weights are in the order i, f, g, o. Row by row, out is h'. A state is h, then c.
 */
public final class LstmLayer extends RecurrentLayer {

  /**
   * Makes a layer of one direction.
   *
   * @param runtime where it runs
   * @param direction FORWARD or BACKWARD
   * @param weights of four gates: i, f, g, o
   * @throws IllegalArgumentException naming the weight that does not fit
   */
  public LstmLayer(GatunRuntime runtime, Direction direction, RecurrentWeights weights) {
    this(runtime, one(direction), RecurrentPass.of(runtime, "", Cell.LSTM, weights));
  }

  /**
   * Makes a layer of both directions.
   *
   * @param runtime where it runs
   * @param forward of four gates: i, f, g, o
   * @param backward likewise, of the same sizes: those of PyTorch that end in {@code _reverse}
   * @throws IllegalArgumentException naming the weight that does not fit
   */
  public LstmLayer(GatunRuntime runtime, RecurrentWeights forward, RecurrentWeights backward) {
    this(
        runtime,
        Direction.BIDIRECTIONAL,
        RecurrentPass.of(runtime, "forward.", Cell.LSTM, Objects.requireNonNull(forward)),
        RecurrentPass.of(runtime, "backward.", Cell.LSTM, Objects.requireNonNull(backward)));
  }

  private LstmLayer(GatunRuntime runtime, Direction direction, RecurrentPass... passes) {
    super(runtime, direction, passes);
  }

  @Override
  public LstmLayer packed(SegmentAllocator memory, WeightFormat format) {
    return Objects.requireNonNull(format, "format") == WeightFormat.VIEW && !pass(0).isPacked()
        ? this
        : new LstmLayer(runtime(), direction(), packedPasses(memory, format));
  }
}
