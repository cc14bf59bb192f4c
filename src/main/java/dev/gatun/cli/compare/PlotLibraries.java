package dev.gatun.cli.compare;

/**
 * Whether there is what {@link Plots} needs: apart from it, since the JVM looks for JFreeChart when
 * it verifies that class.
 */
public final class PlotLibraries {
  private PlotLibraries() {}

  /** {@return why plots cannot be drawn; null if they can} */
  public static String missing() {
    if (ModuleLayer.boot().findModule("java.desktop").isEmpty()) {
      return "the module java.desktop, which this Java lacks or was not told to use"
          + " (--add-modules java.desktop)";
    }
    Module own = PlotLibraries.class.getModule();
    if (own.isNamed()) { // the jars lie on the class path, which a module does not read by itself
      own.addReads(PlotLibraries.class.getClassLoader().getUnnamedModule());
    }
    for (String name :
        new String[] {"org.jfree.chart.JFreeChart", "org.apache.batik.svggen.SVGGraphics2D"}) {
      try {
        Class.forName(name, false, PlotLibraries.class.getClassLoader());
      } catch (ClassNotFoundException e) {
        return "org.jfree:jfreechart and org.apache.xmlgraphics:batik-svggen on the class path";
      }
    }
    return null;
  }
}
