package dev.gatun.bench.report;

import dev.gatun.bench.peer.PeerSpec;
import java.awt.BasicStroke;
import java.awt.Color;
import java.awt.Font;
import java.awt.Polygon;
import java.awt.Stroke;
import java.awt.geom.Ellipse2D;
import java.awt.geom.Rectangle2D;
import java.text.DecimalFormat;
import java.text.DecimalFormatSymbols;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Locale;
import java.util.Map;
import org.jfree.chart.annotations.XYTextAnnotation;
import org.jfree.chart.axis.LogAxis;
import org.jfree.chart.axis.NumberTickUnit;
import org.jfree.chart.axis.ValueAxis;
import org.jfree.chart.plot.XYPlot;
import org.jfree.chart.renderer.xy.XYLineAndShapeRenderer;
import org.jfree.chart.ui.RectangleInsets;
import org.jfree.chart.ui.TextAnchor;
import org.jfree.data.xy.XYSeriesCollection;

/** What the plots have in common: type, colors, symbols, axes and notes. */
final class PlotStyle {
  static final Color INK = new Color(0x222222);
  static final Color GRAY = new Color(0x777777);
  static final Color GRID = new Color(0xe3e3e3);
  static final Stroke THIN = new BasicStroke(1);
  static final Stroke DASHED =
      new BasicStroke(
          1.5f, BasicStroke.CAP_BUTT, BasicStroke.JOIN_MITER, 10, new float[] {6, 4}, 0);

  /** Told apart by those who see few colors, too: lightness differs, and so do the symbols. */
  private static final Map<String, Color> COLORS = new LinkedHashMap<>();

  static {
    COLORS.put(PeerSpec.GATUN, new Color(0xc1121f));
    COLORS.put("onnxruntime-mha", new Color(0x1f4e9c));
    COLORS.put("onnxruntime-attention", new Color(0x4aa3df));
    COLORS.put("onnxruntime-gqa", new Color(0x17becf));
    COLORS.put("pytorch", new Color(0x1b7f4b));
    COLORS.put("djl-pytorch", new Color(0x8ccf7e));
    COLORS.put("openblas", new Color(0xe69f00));
    COLORS.put("java-vector", new Color(0x8e5ea2));
    COLORS.put("java-scalar", new Color(0x999999));
  }

  private PlotStyle() {}

  static Font font(int style, int size) {
    return new Font(Font.SANS_SERIF, style, size);
  }

  static Color color(Comparable<?> peer) {
    return COLORS.getOrDefault(peer.toString(), INK);
  }

  /** A symbol of a peer's own; Gatun's is the biggest. */
  private static java.awt.Shape symbol(Comparable<?> peer) {
    int place = List.copyOf(COLORS.keySet()).indexOf(peer.toString());
    return switch (place) {
      case 0 -> new Ellipse2D.Double(-7, -7, 14, 14);
      case 1, 4 -> new Rectangle2D.Double(-5, -5, 10, 10);
      case 2, 5 -> new Polygon(new int[] {0, 6, 0, -6}, new int[] {-7, 0, 7, 0}, 4);
      case 3, 6 -> new Polygon(new int[] {0, 6, -6}, new int[] {-6, 5, 5}, 3);
      case 7 -> new Polygon(new int[] {0, 6, -6}, new int[] {6, -5, -5}, 3);
      default -> new Ellipse2D.Double(-4, -4, 8, 8);
    };
  }

  /** Peers stand beside each other, so that equal ones are seen; Gatun is in the middle. */
  static double aside(String peer) {
    int place = List.copyOf(COLORS.keySet()).indexOf(peer);
    return place <= 0 ? 1 : Math.pow(1.013, place - COLORS.size() / 2.0);
  }

  static XYLineAndShapeRenderer symbols(XYSeriesCollection data, boolean lines) {
    XYLineAndShapeRenderer renderer = new XYLineAndShapeRenderer(lines, true);
    for (int i = 0; i < data.getSeriesCount(); i++) {
      Comparable<?> peer = data.getSeriesKey(i);
      renderer.setSeriesPaint(i, color(peer));
      renderer.setSeriesShape(i, symbol(peer));
      renderer.setSeriesStroke(i, new BasicStroke(peer.equals(PeerSpec.GATUN) ? 3.5f : 2));
    }
    return renderer;
  }

  static LogAxis logAxis(String label, String format) {
    LogAxis axis = new LogAxis(label);
    axis.setNumberFormatOverride(
        new DecimalFormat(format, DecimalFormatSymbols.getInstance(Locale.ROOT)));
    axis.setTickUnit(new NumberTickUnit(1));
    axis.setMinorTickMarksVisible(false);
    style(axis);
    return axis;
  }

  static void style(ValueAxis axis) {
    axis.setLabelFont(font(Font.PLAIN, 16));
    axis.setTickLabelFont(font(Font.PLAIN, 14));
    axis.setLabelPaint(INK);
    axis.setTickLabelPaint(INK);
    axis.setAxisLinePaint(GRAY);
    axis.setTickMarkPaint(GRAY);
  }

  static void style(XYPlot plot) {
    plot.setBackgroundPaint(Color.WHITE);
    plot.setOutlineVisible(false);
    plot.setDomainGridlinePaint(GRID);
    plot.setRangeGridlinePaint(GRID);
    plot.setDomainGridlineStroke(THIN);
    plot.setRangeGridlineStroke(THIN);
    plot.setAxisOffset(RectangleInsets.ZERO_INSETS);
  }

  static XYTextAnnotation note(
      XYPlot plot, String text, double x, double y, TextAnchor anchor, Color color) {
    XYTextAnnotation note = new XYTextAnnotation(text, x, y);
    note.setFont(font(Font.PLAIN, 15));
    note.setPaint(color);
    note.setTextAnchor(anchor);
    note.setRotationAnchor(anchor);
    plot.addAnnotation(note);
    return note;
  }
}
