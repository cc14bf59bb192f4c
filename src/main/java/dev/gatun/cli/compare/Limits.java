package dev.gatun.cli.compare;

import java.util.Locale;

/**
 * What a system may take at a length.
 *
 * @param bytes beyond inputs and outputs
 * @param seconds of one call
 */
public record Limits(double bytes, double seconds) {

  /** Why a system is not run, before it is; null if nothing is known against it. */
  String against(double predictedBytes, double predictedSeconds) {
    if (predictedBytes > bytes) {
      return "over %s: its shapes take %s".formatted(memory(bytes), memory(predictedBytes));
    }
    if (predictedSeconds > seconds) {
      return "over %s: about %s, by the length before"
          .formatted(seconds(seconds), seconds(predictedSeconds));
    }
    return null;
  }

  /** The same once it ran. */
  String after(double tookSeconds) {
    return tookSeconds > seconds
        ? "over %s: it took %s".formatted(seconds(seconds), seconds(tookSeconds))
        : null;
  }

  /** Bytes for people. */
  static String memory(double bytes) {
    String[] units = {"B", "KiB", "MiB", "GiB", "TiB", "PiB"};
    int unit = 0;
    while (bytes >= 1024 && unit < units.length - 1) {
      bytes /= 1024;
      unit++;
    }
    return digits(bytes) + " " + units[unit];
  }

  /** A time for people. */
  static String seconds(double seconds) {
    return seconds < 1e-3
        ? digits(seconds * 1e6) + " µs"
        : seconds < 1 ? digits(seconds * 1e3) + " ms" : digits(seconds) + " s";
  }

  /** Three digits, or all before the point. */
  static String digits(double value) {
    double size = Math.abs(value);
    int places = size >= 99.95 ? 0 : size >= 9.995 ? 1 : 2;
    String text = String.format(Locale.ROOT, "%." + places + "f", value);
    return places == 0 ? text : text.replaceAll("\\.?0+$", "");
  }
}
