package dev.gatun.nn;

import dev.gatun.Tensor;
import java.util.Objects;

/**
 * In which order a matrix of weights has its two sizes. Shapes tell it only where the sizes differ:
 * a square matrix in the wrong order gives wrong numbers without an error, so say it wherever
 * weights come from a file.
 */
public enum WeightOrder {
  /**
   * A row for each input: {@code x · W} as it is written, and how ONNX's MatMul and GPT-2's Conv1D
   * store it. What constructors without an order take.
   */
  IN_OUT("[in, out]"),
  /** A row for each output: how PyTorch's Linear stores it, and with it most files. */
  OUT_IN("[out, in]");

  private final String text;

  WeightOrder(String text) {
    this.text = text;
  }

  /**
   * Returns the view of a weight that layers take. Nothing is copied.
   *
   * @param weight a matrix in this order
   * @return {@code [in, out]}
   * @throws IllegalArgumentException if the weight is no matrix
   */
  public Tensor toInOut(Tensor weight) {
    return toInOut("weight", weight);
  }

  Tensor toInOut(String name, Tensor weight) {
    Objects.requireNonNull(weight, name);
    if (weight.rank() != 2) {
      throw Rows.bad(name, this + " float32", weight);
    }
    return this == IN_OUT ? weight : weight.transpose(0, 1);
  }

  /** The sizes as messages show them: {@code [in, out]} or {@code [out, in]}. */
  @Override
  public String toString() {
    return text;
  }
}
