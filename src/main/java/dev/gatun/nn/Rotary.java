package dev.gatun.nn;

import dev.gatun.Tensor;
import dev.gatun.internal.LayerCall;
import dev.gatun.internal.Matrix;
import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.util.Objects;

/**
 * Tables of the rotary position encoding (Su et al., 2021, RoFormer): the pair i of a query or key
 * at position p is rotated by {@code p · base^(-2i / dim)}. Computed in double, once, into memory
 * of the caller's arena.
 *
 * <p>Immutable; any number of attention layers may share it.
 */
public final class Rotary {

  /** Which elements of a head form the pair i of a rotation over {@code dim} elements. */
  public enum Pairing {
    /** i and i + dim/2: GPT-NeoX's and Hugging Face's LLaMA. */
    HALVES,
    /** 2i and 2i + 1: the paper's, GPT-J's, Meta's LLaMA. */
    ADJACENT
  }

  private final Pairing pairing;
  private final Tensor cos;
  private final Tensor sin;
  private final Matrix cosRows;
  private final Matrix sinRows;

  private Rotary(Pairing pairing, Tensor cos, Tensor sin) {
    this.pairing = pairing;
    this.cos = cos;
    this.sin = sin;
    this.cosRows = Matrix.of(cos.segment(), cos.size(0), cos.size(1), cos.size(1));
    this.sinRows = Matrix.of(sin.segment(), sin.size(0), sin.size(1), sin.size(1));
  }

  /**
   * Computes tables.
   *
   * @param arena where they lie; must stay open as long as they are used
   * @param positions how many, 1 or more
   * @param dim elements of a head that are rotated, even, at most the head dimension; those after
   *     them stay
   * @param base 10,000 in the paper
   * @param pairing which elements are a pair
   * @param scaling how frequencies are stretched
   * @return the tables
   */
  public static Rotary of(
      Arena arena, int positions, int dim, double base, Pairing pairing, RotaryScaling scaling) {
    Objects.requireNonNull(pairing, "pairing");
    if (positions < 1) {
      throw new IllegalArgumentException("positions: expected 1 or more, got " + positions);
    }
    double[] frequencies = frequencies(dim, base, scaling);
    double magnitude =
        scaling instanceof RotaryScaling.Yarn yarn ? 0.1 * Math.log(yarn.factor()) + 1 : 1;
    int half = dim / 2;
    float[] cos = new float[Rows.tableElements("positions", positions, half)];
    float[] sin = new float[cos.length];
    for (int p = 0; p < positions; p++) {
      for (int i = 0; i < half; i++) {
        cos[p * half + i] = (float) (Math.cos(p * frequencies[i]) * magnitude);
        sin[p * half + i] = (float) (Math.sin(p * frequencies[i]) * magnitude);
      }
    }
    return new Rotary(
        pairing,
        Tensor.copyOf(arena, cos, positions, half),
        Tensor.copyOf(arena, sin, positions, half));
  }

  /**
   * Angles that a position rotates each pair by.
   *
   * @param dim elements that are rotated
   * @param base of the geometric series
   * @param scaling how they are stretched
   * @return {@code dim / 2} angles in radians
   */
  public static double[] frequencies(int dim, double base, RotaryScaling scaling) {
    if (dim < 2 || dim % 2 != 0) {
      throw new IllegalArgumentException("dim: expected an even number >= 2, got " + dim);
    }
    if (!(base > 1) || Double.isInfinite(base)) {
      throw new IllegalArgumentException("base: expected a finite number > 1, got " + base);
    }
    Objects.requireNonNull(scaling, "scaling");
    int half = dim / 2;
    double[] frequencies = new double[half];
    double start = base;
    if (scaling instanceof RotaryScaling.Ntk ntk && dim > 2) {
      start = base * Math.pow(ntk.factor(), dim / (dim - 2.0));
    }
    for (int i = 0; i < half; i++) {
      double plain = Math.pow(start, -2.0 * i / dim);
      frequencies[i] =
          switch (scaling) {
            case RotaryScaling.None _, RotaryScaling.Ntk _ -> plain;
            case RotaryScaling.NtkMixed mixed ->
                plain / Math.pow(mixed.factor(), Math.pow((i + 1.0) / half, mixed.power()));
            case RotaryScaling.Linear linear -> plain / linear.factor();
            case RotaryScaling.Yarn yarn -> yarn(yarn, i, dim, base, plain);
            case RotaryScaling.Llama3 llama -> llama3(llama, plain);
          };
    }
    return frequencies;
  }

  private static double yarn(RotaryScaling.Yarn yarn, int i, int dim, double base, double plain) {
    double low = Math.max(Math.floor(pairOfRotations(yarn, yarn.betaFast(), dim, base)), 0);
    double high = Math.min(Math.ceil(pairOfRotations(yarn, yarn.betaSlow(), dim, base)), dim - 1);
    if (low == high) {
      high += 0.001; // as the reference does, against a division by 0
    }
    double ramp = Math.clamp((i - low) / (high - low), 0, 1);
    return plain / yarn.factor() * ramp + plain * (1 - ramp);
  }

  /** The pair, not rounded, that is rotated so often within the original length. */
  private static double pairOfRotations(
      RotaryScaling.Yarn yarn, double rotations, int dim, double base) {
    return dim
        * Math.log(yarn.originalPositions() / (rotations * 2 * Math.PI))
        / (2 * Math.log(base));
  }

  private static double llama3(RotaryScaling.Llama3 llama, double plain) {
    double wavelength = 2 * Math.PI / plain;
    if (wavelength < llama.originalPositions() / llama.high()) {
      return plain;
    }
    if (wavelength > llama.originalPositions() / llama.low()) {
      return plain / llama.factor();
    }
    double smooth =
        (llama.originalPositions() / wavelength - llama.low()) / (llama.high() - llama.low());
    return (1 - smooth) * plain / llama.factor() + smooth * plain;
  }

  /** {@return which elements are a pair} */
  public Pairing pairing() {
    return pairing;
  }

  /** {@return the positions of the tables, rows} */
  public int positions() {
    return (int) cos.size(0);
  }

  /** {@return the elements of a head that are rotated, an even number} */
  public int dim() {
    return (int) (2 * cos.size(1));
  }

  Tensor cos() {
    return cos;
  }

  Tensor sin() {
    return sin;
  }

  /** Rotates the heads of x in place. */
  void run(LayerCall call, Matrix x, long headDim, MemorySegment positionIds) {
    call.rows().rotary(pairing == Pairing.ADJACENT, x, headDim, positionIds, cosRows, sinRows);
  }
}
