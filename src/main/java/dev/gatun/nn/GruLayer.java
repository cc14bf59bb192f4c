package dev.gatun.nn;

import dev.gatun.GatunRuntime;
import dev.gatun.WeightFormat;
import dev.gatun.internal.CellOps.Cell;
import java.lang.foreign.SegmentAllocator;
import java.util.Objects;

/**
 * A layer of gated recurrent units (Cho et al. 2014): for each row x of a sequence,
 *
 * <pre>
 *   r = σ(W_ir x + b_ir + W_hr h + b_hr)      z = σ(W_iz x + b_iz + W_hz h + b_hz)
 * </pre>
 *
 * and then as {@link Reset} says. Blocks of weights are in the order r, z, n. Row by row, out is
 * h'. A state is h.
 */
public final class GruLayer extends RecurrentLayer {

  /** Where the reset gate r stands, and with it which end of z is which. */
  public enum Reset {
    /**
     * As PyTorch's {@code nn.GRU} and cuDNN have it: {@code n = tanh(W_in x + b_in + r ∘ (W_hn h +
     * b_hn))}, {@code h' = (1 − z) ∘ n + z ∘ h}.
     */
    AFTER_PRODUCT,
    /**
     * As the papers have it, here in the form of Bahdanau et al. 2015, appendix A.1.1: {@code n =
     * tanh(W_in x + b_in + W_hn (r ∘ h) + b_hn)}, {@code h' = (1 − z) ∘ h + z ∘ n}. A step has two
     * products that depend on each other. Cho et al. write 1 − z for z.
     */
    BEFORE_PRODUCT
  }

  private final Reset reset;

  /**
   * Makes a layer of one direction.
   *
   * @param runtime where it runs
   * @param direction FORWARD or BACKWARD
   * @param reset which of the two units it is
   * @param weights of three gates: r, z, n
   * @throws IllegalArgumentException naming the weight that does not fit
   */
  public GruLayer(
      GatunRuntime runtime, Direction direction, Reset reset, RecurrentWeights weights) {
    this(runtime, one(direction), reset, RecurrentPass.of(runtime, "", cell(reset), weights));
  }

  /**
   * Makes a layer of both directions.
   *
   * @param runtime where it runs
   * @param reset which of the two units it is
   * @param forward of three gates: r, z, n
   * @param backward likewise, of the same sizes: those of PyTorch that end in {@code _reverse}
   * @throws IllegalArgumentException naming the weight that does not fit
   */
  public GruLayer(
      GatunRuntime runtime, Reset reset, RecurrentWeights forward, RecurrentWeights backward) {
    this(
        runtime,
        Direction.BIDIRECTIONAL,
        reset,
        RecurrentPass.of(runtime, "forward.", cell(reset), Objects.requireNonNull(forward)),
        RecurrentPass.of(runtime, "backward.", cell(reset), Objects.requireNonNull(backward)));
  }

  private GruLayer(
      GatunRuntime runtime, Direction direction, Reset reset, RecurrentPass... passes) {
    super(runtime, direction, passes);
    this.reset = reset;
  }

  static Cell cell(Reset reset) {
    return Objects.requireNonNull(reset, "reset") == Reset.AFTER_PRODUCT
        ? Cell.GRU
        : Cell.GRU_UPDATE;
  }

  /** {@return which of the two units it is} */
  public Reset reset() {
    return reset;
  }

  @Override
  public GruLayer packed(SegmentAllocator memory, WeightFormat format) {
    return Objects.requireNonNull(format, "format") == WeightFormat.VIEW && !pass(0).isPacked()
        ? this
        : new GruLayer(runtime(), direction(), reset, packedPasses(memory, format));
  }
}
