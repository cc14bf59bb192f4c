package dev.gatun.cli.compare;

/**
 * What is known of a system at a length.
 *
 * @param system the system
 * @param setting the length, and what holds for all lengths
 * @param missing why it was not run, or not to the end; null if it was
 * @param time of a call; null where missing
 * @param resident bytes by which a call made a process grow beyond inputs and outputs; NaN: not
 *     measured
 * @param error of the output against exact attention's, relative; NaN where there is none
 */
public record Row(
    CompareSystem system,
    Setting setting,
    String missing,
    Quartiles time,
    double resident,
    double error) {

  static Row missing(CompareSystem system, Setting setting, String why) {
    return new Row(system, setting, why, null, Double.NaN, Double.NaN);
  }

  /** {@return whether it was measured} */
  public boolean isThere() {
    return missing == null;
  }
}
