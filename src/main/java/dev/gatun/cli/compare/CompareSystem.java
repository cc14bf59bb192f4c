package dev.gatun.cli.compare;

import dev.gatun.GatunRuntime;
import java.lang.foreign.Arena;

/** One way from a sequence to outputs that know the whole sequence: a row of the tables. */
public interface CompareSystem {

  /** What a system is to exact attention. */
  enum Kin {
    /** Computes the same. */
    EXACT,
    /** Computes something near it, in less time; has an error. */
    APPROXIMATION,
    /** Computes something else; has none. */
    OTHER
  }

  /** {@return its name, as {@code --systems} has it} */
  String word();

  /** {@return what it is to exact attention} */
  Kin kin();

  /** {@return the formula, or what it leaves out of exact attention} */
  String what();

  /** {@return how many steps have to wait for the one before: 1, or the length for a recurrence} */
  long serialSteps(Setting setting);

  /** {@return the most steps or layers between an input and an output that depends on it} */
  long pathLength(Setting setting);

  /** {@return multiplications and additions by its own formula} */
  double flops(Setting setting);

  /** {@return bytes beyond inputs and outputs that follow from the shapes} */
  double bytes(Setting setting);

  /**
   * Makes what it needs beside inputs and outputs.
   *
   * @param arena owns that
   * @return computes inputs.out
   */
  Runnable prepare(GatunRuntime runtime, Inputs inputs, Arena arena);
}
