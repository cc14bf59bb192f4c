package dev.gatun.cli;

/**
 * Colors for weights from 0 to the largest: 256 steps of equal lightness in Oklab (Ottosson, 2020),
 * so that equal differences look equal, while the hue goes from one end to the other.
 */
enum ColorScale {
  /** On paper: near white, over green and blue, to indigo. */
  LIGHT(0.985, 0.32, 108, 285),

  /** On black: indigo, over blue and green, to yellow, much as viridis does. */
  DARK(0.19, 0.94, 290, 102);

  static final int STEPS = 256;

  private static final double MOST_CHROMA = 0.125;

  private final int[] table = new int[STEPS];

  ColorScale(double firstLightness, double lastLightness, double firstHue, double lastHue) {
    for (int n = 0; n < STEPS; n++) {
      double t = n / (STEPS - 1.0);
      double hue = Math.toRadians(firstHue + t * (lastHue - firstHue));
      double lightness = firstLightness + t * (lastLightness - firstLightness);
      double chroma = MOST_CHROMA * Math.sin(Math.PI / 2 * Math.min(1, 0.1 + 2.2 * t));
      double[] rgb = linear(lightness, chroma, hue);
      while (!isColor(rgb)) { // as much chroma as a screen has at this lightness and hue
        chroma -= 0.001;
        rgb = linear(lightness, chroma, hue);
      }
      table[n] = gamma(rgb[0]) << 16 | gamma(rgb[1]) << 8 | gamma(rgb[2]);
    }
  }

  /** Red, green and blue, 8 bits each. */
  int rgb(int step) {
    return table[step];
  }

  /** The color of a weight; square roots, so that small weights show as well. */
  int rgb(float weight, float largest) {
    return table[Math.min(STEPS - 1, (int) Math.round((STEPS - 1) * Math.sqrt(weight / largest)))];
  }

  /** All steps, six hexadecimal digits each. */
  String hex() {
    StringBuilder text = new StringBuilder(6 * STEPS);
    for (int color : table) {
      text.append("%06x".formatted(color));
    }
    return text.toString();
  }

  private static double[] linear(double lightness, double chroma, double hue) {
    double a = chroma * Math.cos(hue);
    double b = chroma * Math.sin(hue);
    double l = Math.pow(lightness + 0.3963377774 * a + 0.2158037573 * b, 3);
    double m = Math.pow(lightness - 0.1055613458 * a - 0.0638541728 * b, 3);
    double s = Math.pow(lightness - 0.0894841775 * a - 1.2914855480 * b, 3);
    return new double[] {
      4.0767416621 * l - 3.3077115913 * m + 0.2309699292 * s,
      -1.2684380046 * l + 2.6097574011 * m - 0.3413193965 * s,
      -0.0041960863 * l - 0.7034186147 * m + 1.7076147010 * s
    };
  }

  private static boolean isColor(double[] rgb) {
    for (double channel : rgb) {
      if (channel < -1e-4 || channel > 1 + 1e-4) {
        return false;
      }
    }
    return true;
  }

  private static int gamma(double linear) {
    double value = Math.clamp(linear, 0, 1);
    double encoded = value <= 0.0031308 ? 12.92 * value : 1.055 * Math.pow(value, 1 / 2.4) - 0.055;
    return (int) Math.round(255 * encoded);
  }
}
