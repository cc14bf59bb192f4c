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
import java.util.Collection;
import java.util.Collections;
import java.util.HashMap;
import java.util.Locale;
import java.util.Map;
import org.jfree.chart.annotations.XYTextAnnotation;
import org.jfree.chart.axis.LogAxis;
import org.jfree.chart.axis.NumberTickUnit;
import org.jfree.chart.axis.ValueAxis;
import org.jfree.chart.plot.CombinedDomainXYPlot;
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

  private static final java.awt.Shape CIRCLE = new Ellipse2D.Double(-4, -4, 8, 8);
  private static final java.awt.Shape BIG_CIRCLE = new Ellipse2D.Double(-7, -7, 14, 14);
  private static final java.awt.Shape SQUARE = new Rectangle2D.Double(-5, -5, 10, 10);
  private static final java.awt.Shape DIAMOND =
      new Polygon(new int[] {0, 6, 0, -6}, new int[] {-7, 0, 7, 0}, 4);
  private static final java.awt.Shape UP =
      new Polygon(new int[] {0, 6, -6}, new int[] {-6, 5, 5}, 3);
  private static final java.awt.Shape DOWN =
      new Polygon(new int[] {0, 6, -6}, new int[] {6, -5, -5}, 3);

  private record Look(Color color, java.awt.Shape symbol) {}

  /** Told apart by those who see few colors, too: lightness differs, and so do the symbols. */
  private static final Map<String, Look> LOOKS = new HashMap<>();

  private static void look(String peer, int color, java.awt.Shape symbol) {
    LOOKS.put(peer, new Look(new Color(color), symbol));
  }

  static {
    look(PeerSpec.GATUN, 0xc1121f, BIG_CIRCLE);
    look("onnxruntime-mha", 0x1f4e9c, SQUARE);
    look("onnxruntime-attention", 0x4aa3df, DIAMOND);
    look("onnxruntime-gqa", 0x17becf, UP);
    look("pytorch", 0x1b7f4b, SQUARE);
    look("djl-pytorch", 0x8ccf7e, DIAMOND);
    look("openblas", 0xe69f00, UP);
    look("java-vector", 0x8e5ea2, DOWN);
    look("java-scalar", 0x999999, CIRCLE);
    // whole models, by formats of weights: a program has a hue, a format a symbol
    look("gatun VIEW", 0x7f4a4a, DOWN);
    look("gatun FP32", 0x8a0b16, BIG_CIRCLE);
    look("gatun BF16", 0xc1121f, SQUARE);
    look("gatun INT8", 0xff5a4d, DIAMOND);
    look("gatun -q", 0xff9e80, UP);
    look("onnxruntime", 0x1f4e9c, CIRCLE);
    look("onnxruntime-q", 0x4aa3df, UP);
    look("langchain4j", 0x1b7f4b, CIRCLE);
    look("langchain4j-q", 0x8ccf7e, UP);
    look("llama.cpp", 0xa36a00, CIRCLE);
    look("llama.cpp Q8_0", 0xe6b800, DIAMOND);
    // products, by their types
    look("gatun F32", 0x8a0b16, BIG_CIRCLE);
    look("openblas F32", 0xe69f00, CIRCLE);
    look("mkl F32", 0x1f4e9c, CIRCLE);
    look("mkl BF16", 0x3b82c4, SQUARE);
    look("mkl INT8", 0x7fc4f0, DIAMOND);
    look("onednn F32", 0x0f5c34, CIRCLE);
    look("onednn BF16", 0x2f9e63, SQUARE);
    look("onednn INT8", 0x8ccf7e, DIAMOND);
  }

  private PlotStyle() {}

  static Font font(int style, int size) {
    return new Font(Font.SANS_SERIF, style, size);
  }

  static Color color(Comparable<?> peer) {
    return look(peer).color;
  }

  private static Look look(Comparable<?> peer) {
    return LOOKS.getOrDefault(peer.toString(), new Look(INK, CIRCLE));
  }

  static XYLineAndShapeRenderer symbols(XYSeriesCollection data, boolean lines) {
    return style(new XYLineAndShapeRenderer(lines, true), data);
  }

  /** Colors, symbols and lines by the names of the series; Gatun's lines are the thickest. */
  static XYLineAndShapeRenderer style(XYLineAndShapeRenderer renderer, XYSeriesCollection data) {
    for (int i = 0; i < data.getSeriesCount(); i++) {
      Comparable<?> peer = data.getSeriesKey(i);
      Look look = look(peer);
      renderer.setSeriesPaint(i, look.color);
      renderer.setSeriesShape(i, look.symbol);
      boolean own = peer.toString().startsWith(PeerSpec.GATUN);
      renderer.setSeriesStroke(i, new BasicStroke(own ? 3.5f : 2));
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

  /** An axis of lengths or of rows, from the first to the last. */
  static LogAxis doublingAxis(String label, Collection<Integer> values) {
    LogAxis axis = logAxis(label, "0");
    axis.setBase(2);
    axis.setRange(Collections.min(values) / 1.15, Collections.max(values) * 1.15);
    return axis;
  }

  static void widen(LogAxis axis, XYSeriesCollection data, double factor) {
    double least = data.getRangeLowerBound(false);
    double most = data.getRangeUpperBound(false);
    if (least > 0) {
      axis.setRange(least / factor, most * factor);
    }
  }

  /** Times, and below them how they compare, in a plot of so many parts of the height. */
  static CombinedDomainXYPlot timesAndRatios(
      LogAxis x, XYSeriesCollection times, XYSeriesCollection ratios, String label, int parts) {
    LogAxis above = logAxis("milliseconds", "0.###");
    LogAxis below = logAxis(label, "0.##");
    below.setBase(2);
    if (ratios.getRangeUpperBound(false) < 8) {
      below.setTickUnit(new NumberTickUnit(0.5));
    }
    widen(above, times, 1.5);
    widen(below, ratios, 1.3);
    XYPlot upper = new XYPlot(times, null, above, symbols(times, true));
    XYLineAndShapeRenderer lines = symbols(ratios, true);
    lines.setDefaultSeriesVisibleInLegend(false);
    XYPlot lower = new XYPlot(ratios, null, below, lines);
    style(upper);
    style(lower);
    CombinedDomainXYPlot plot = new CombinedDomainXYPlot(x);
    plot.setGap(18);
    plot.add(upper, 5 - parts);
    plot.add(lower, parts);
    return plot;
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
