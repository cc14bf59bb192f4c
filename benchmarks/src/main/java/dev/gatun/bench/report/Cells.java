package dev.gatun.bench.report;

import dev.gatun.bench.measure.Point;
import dev.gatun.bench.measure.Quartiles;
import java.util.Locale;
import java.util.OptionalDouble;

/** The cells of a report's tables as text. */
final class Cells {

  /** Marks a number that comes from too few undisturbed pairs. */
  static final String DISTURBED = "~";

  private static final double MEBI = 1 << 20;

  private Cells() {}

  static String mark(boolean disturbed) {
    return disturbed ? DISTURBED : "";
  }

  /** Undisturbed pairs of all. */
  static String pairs(int undisturbed, int pairs) {
    return undisturbed < 0 ? "? of " + pairs : undisturbed + " of " + pairs;
  }

  static String mask(Point point) {
    return point.causal() ? "causal" : "none";
  }

  static String ratio(Quartiles ratio) {
    double median = ratio.median();
    String text = String.format(Locale.ROOT, median < 10 ? "%.2f" : "%.0f", median);
    return median < 1 ? "**" + text + "**" : text;
  }

  static String quartiles(Quartiles ratio) {
    return quartiles(ratio, 3);
  }

  /** How many times as fast; in bold where it is slower. */
  static String fasterThan(Quartiles ratio) {
    return quartiles(ratio, 2);
  }

  private static String quartiles(Quartiles ratio, int digits) {
    String number = "%." + digits + "f";
    String median = String.format(Locale.ROOT, number, ratio.median());
    return String.format(
        Locale.ROOT,
        "%s (" + number + " … " + number + ")",
        ratio.median() < 1 ? "**" + median + "**" : median,
        ratio.q1(),
        ratio.q3());
  }

  static String share(double part) {
    return String.format(Locale.ROOT, part < 0.0995 ? "%.1f %%" : "%.0f %%", part * 100);
  }

  static String percent(double part) {
    return String.format(Locale.ROOT, "%.1f %%", part * 100);
  }

  static String gigaflops(double flopsPerSecond) {
    return String.format(Locale.ROOT, "%.1f", flopsPerSecond * 1e-9);
  }

  static String time(double ns) {
    double size = Math.abs(ns);
    return size < 1e3
        ? String.format(Locale.ROOT, "%.1f ns", ns)
        : size < 1e6
            ? String.format(Locale.ROOT, "%.2f µs", ns * 1e-3)
            : String.format(Locale.ROOT, "%.2f ms", ns * 1e-6);
  }

  static String time(Quartiles ns) {
    return "%s (%s … %s)".formatted(time(ns.median()), time(ns.q1()), time(ns.q3()));
  }

  static String mebibytes(OptionalDouble bytes) {
    return bytes.isEmpty()
        ? "–"
        : String.format(
            Locale.ROOT,
            bytes.getAsDouble() < 10 * MEBI ? "%.1f" : "%.0f",
            bytes.getAsDouble() / MEBI);
  }
}
