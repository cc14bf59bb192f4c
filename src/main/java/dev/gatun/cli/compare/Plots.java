package dev.gatun.cli.compare;

import java.awt.BasicStroke;
import java.awt.Color;
import java.awt.Font;
import java.awt.Graphics2D;
import java.awt.Polygon;
import java.awt.Shape;
import java.awt.geom.Ellipse2D;
import java.awt.geom.Rectangle2D;
import java.awt.image.BufferedImage;
import java.io.ByteArrayOutputStream;
import java.io.IOException;
import java.io.OutputStreamWriter;
import java.io.Writer;
import java.nio.charset.StandardCharsets;
import java.text.DecimalFormat;
import java.text.DecimalFormatSymbols;
import java.util.LinkedHashMap;
import java.util.Locale;
import java.util.Map;
import java.util.function.ToDoubleFunction;
import javax.imageio.ImageIO;
import javax.imageio.ImageWriter;
import javax.imageio.stream.MemoryCacheImageOutputStream;
import javax.xml.parsers.DocumentBuilderFactory;
import javax.xml.parsers.ParserConfigurationException;
import org.apache.batik.svggen.SVGGraphics2D;
import org.jfree.chart.JFreeChart;
import org.jfree.chart.axis.LogAxis;
import org.jfree.chart.axis.NumberAxis;
import org.jfree.chart.axis.NumberTickUnit;
import org.jfree.chart.axis.ValueAxis;
import org.jfree.chart.block.BlockBorder;
import org.jfree.chart.plot.CombinedDomainXYPlot;
import org.jfree.chart.plot.Plot;
import org.jfree.chart.plot.XYPlot;
import org.jfree.chart.renderer.xy.XYLineAndShapeRenderer;
import org.jfree.chart.title.LegendTitle;
import org.jfree.chart.title.TextTitle;
import org.jfree.chart.ui.HorizontalAlignment;
import org.jfree.chart.ui.RectangleInsets;
import org.jfree.data.xy.XYSeries;
import org.jfree.data.xy.XYSeriesCollection;
import org.w3c.dom.Document;
import org.w3c.dom.Element;

/**
 * A report as pictures, by JFreeChart and, as SVG, by Batik: optional jars, and the JDK's module
 * java.desktop.
 */
public final class Plots {
  private static final int WIDTH = 1200;
  private static final int HEIGHT = 1300;
  private static final int LOWER = 760;
  private static final double MEBI = 1 << 20;

  /** Where a logarithmic axis of MiB ends. */
  private static final double LEAST_MEBI = 0.1;

  private static final Color INK = new Color(0x222222);
  private static final Color GRAY = new Color(0x777777);
  private static final Color GRID = new Color(0xe3e3e3);

  /**
   * One for each system, kin of like hue: Okabe and Ito's colors, which those tell apart who see
   * few, and more.
   */
  private static final int[] COLORS = {
    0xc1121f, 0x000000, 0x999999, 0xe69f00, 0x8c510a, 0x009e73, 0x0072b2, 0x56b4e9, 0x5f7a1f,
    0x6a3d9a, 0xb39ddb, 0xcc79a7, 0xf4a6c0
  };

  private static final Shape[] SYMBOLS = {
    new Ellipse2D.Double(-5, -5, 10, 10),
    new Rectangle2D.Double(-4.5, -4.5, 9, 9),
    new Polygon(new int[] {0, 6, 0, -6}, new int[] {-7, 0, 7, 0}, 4),
    new Polygon(new int[] {0, 6, -6}, new int[] {-6, 5, 5}, 3),
    new Polygon(new int[] {0, 6, -6}, new int[] {6, -5, -5}, 3)
  };

  private final Report report;
  private final Map<String, byte[]> files = new LinkedHashMap<>();

  private Plots(Report report) {
    this.report = report;
  }

  /**
   * Draws all.
   *
   * @param report what was measured
   * @return names of files and what is in them
   * @throws IOException never, as all are drawn in memory
   */
  public static Map<String, byte[]> of(Report report) throws IOException {
    Plots plots = new Plots(report);
    plots.comparison();
    plots.saturation();
    return plots.files;
  }

  private void comparison() throws IOException {
    LogAxis length = logAxis("queries and keys", "0");
    length.setBase(2);
    length.setRange(
        report.lengths().getFirst() / 1.15, Math.max(2, report.lengths().getLast()) * 1.15);
    CombinedDomainXYPlot plot = new CombinedDomainXYPlot(length);
    plot.setGap(16);
    plot.add(panel("milliseconds", row -> row.time().median() * 1e-6, true), 4);
    plot.add(
        panel(
            "MiB beyond inputs and outputs",
            row -> Math.max(LEAST_MEBI, row.resident() / MEBI),
            false),
        3);
    plot.add(panel("relative error of approximations", Plots::error, false), 3);
    save(Report.COMPARISON, "Attention and its relatives, by length", plot, HEIGHT);
  }

  /** What an approximation leaves out; the rest has roundings or none. */
  private static double error(Row row) {
    return row.system().kin() == CompareSystem.Kin.APPROXIMATION && row.error() > 0
        ? row.error()
        : Double.NaN;
  }

  private XYPlot panel(String label, ToDoubleFunction<Row> value, boolean legend) {
    XYSeriesCollection data = new XYSeriesCollection();
    XYLineAndShapeRenderer renderer = new XYLineAndShapeRenderer(true, true);
    renderer.setDefaultSeriesVisibleInLegend(legend);
    for (int n = 0; n < report.systems.size(); n++) {
      CompareSystem system = report.systems.get(n);
      XYSeries series = new XYSeries(system.word());
      for (Row row : report.there(system)) {
        double y = value.applyAsDouble(row);
        if (!Double.isNaN(y)) {
          series.add(row.setting().length(), y);
        }
      }
      int at = data.getSeriesCount();
      data.addSeries(series);
      look(renderer, at, Systems.all().indexOf(system));
    }
    LogAxis axis = logAxis(label, "0.######");
    double least = data.getRangeLowerBound(false);
    if (least > 0) {
      axis.setRange(least / 1.6, data.getRangeUpperBound(false) * 1.6);
    }
    return style(new XYPlot(data, null, axis, renderer));
  }

  private static void look(XYLineAndShapeRenderer renderer, int series, int number) {
    renderer.setSeriesPaint(series, new Color(COLORS[number]));
    renderer.setSeriesShape(series, SYMBOLS[number % SYMBOLS.length]);
    renderer.setSeriesStroke(series, new BasicStroke(number == 0 ? 3.5f : 2));
  }

  private void saturation() throws IOException {
    LogAxis dim = logAxis("head dimension", "0");
    dim.setBase(2);
    dim.setRange(
        report.saturation[0].headDim() / 1.15,
        report.saturation[report.saturation.length - 1].headDim() * 1.15);
    NumberAxis entropy = new NumberAxis("entropy, nats");
    style(entropy);
    LogAxis gradient = logAxis("gradient norm, median", "0.######");
    CombinedDomainXYPlot plot = new CombinedDomainXYPlot(dim);
    plot.setGap(16);
    plot.add(pair(entropy, Saturation::entropy, Saturation::unscaledEntropy, true), 1);
    plot.add(pair(gradient, Saturation::gradient, Saturation::unscaledGradient, false), 1);
    save(Report.SATURATION, "The softmax with and without the scale 1/√d", plot, LOWER);
  }

  private XYPlot pair(
      ValueAxis axis,
      ToDoubleFunction<Saturation> scaled,
      ToDoubleFunction<Saturation> unscaled,
      boolean legend) {
    XYSeries with = new XYSeries("with 1/√d");
    XYSeries without = new XYSeries("without");
    for (Saturation row : report.saturation) {
      with.add(row.headDim(), scaled.applyAsDouble(row));
      without.add(row.headDim(), unscaled.applyAsDouble(row));
    }
    XYSeriesCollection data = new XYSeriesCollection(with);
    data.addSeries(without);
    XYLineAndShapeRenderer renderer = new XYLineAndShapeRenderer(true, true);
    renderer.setDefaultSeriesVisibleInLegend(legend);
    look(renderer, 0, 0);
    look(renderer, 1, 2);
    return style(new XYPlot(data, null, axis, renderer));
  }

  // ---- how it looks ----------------------------------------------------------------------------

  private static Font font(int style, int size) {
    return new Font(Font.SANS_SERIF, style, size);
  }

  private static LogAxis logAxis(String label, String format) {
    LogAxis axis = new LogAxis(label);
    axis.setNumberFormatOverride(
        new DecimalFormat(format, DecimalFormatSymbols.getInstance(Locale.ROOT)));
    axis.setTickUnit(new NumberTickUnit(1));
    axis.setMinorTickMarksVisible(false);
    style(axis);
    return axis;
  }

  private static void style(ValueAxis axis) {
    axis.setLabelFont(font(Font.PLAIN, 16));
    axis.setTickLabelFont(font(Font.PLAIN, 14));
    axis.setLabelPaint(INK);
    axis.setTickLabelPaint(INK);
    axis.setAxisLinePaint(GRAY);
    axis.setTickMarkPaint(GRAY);
  }

  private static XYPlot style(XYPlot plot) {
    plot.setBackgroundPaint(Color.WHITE);
    plot.setOutlineVisible(false);
    plot.setDomainGridlinePaint(GRID);
    plot.setRangeGridlinePaint(GRID);
    plot.setAxisOffset(RectangleInsets.ZERO_INSETS);
    return plot;
  }

  private void save(String name, String title, Plot plot, int height) throws IOException {
    JFreeChart chart = new JFreeChart(title, font(Font.BOLD, 20), plot, true);
    chart.setBackgroundPaint(Color.WHITE);
    chart.setPadding(new RectangleInsets(12, 12, 12, 24));
    TextTitle heading = chart.getTitle();
    heading.setPaint(INK);
    heading.setHorizontalAlignment(HorizontalAlignment.LEFT);
    TextTitle where = new TextTitle(report.machine(), font(Font.PLAIN, 14));
    where.setPaint(GRAY);
    where.setHorizontalAlignment(HorizontalAlignment.LEFT);
    where.setPadding(0, 0, 10, 0);
    chart.addSubtitle(where);
    LegendTitle legend = chart.getLegend();
    legend.setItemFont(font(Font.PLAIN, 14));
    legend.setItemPaint(INK);
    legend.setFrame(BlockBorder.NONE);
    files.put(name + ".png", png(chart, height));
    files.put(name + ".svg", svg(chart, height));
  }

  private static byte[] png(JFreeChart chart, int height) throws IOException {
    BufferedImage image = new BufferedImage(WIDTH, height, BufferedImage.TYPE_INT_RGB);
    Graphics2D graphics = image.createGraphics();
    chart.draw(graphics, new Rectangle2D.Double(0, 0, WIDTH, height));
    graphics.dispose();
    ByteArrayOutputStream bytes = new ByteArrayOutputStream();
    ImageWriter writer = ImageIO.getImageWritersByFormatName("png").next();
    // Not ImageIO.write, which keeps a file of its own on the disk.
    try (MemoryCacheImageOutputStream out = new MemoryCacheImageOutputStream(bytes)) {
      writer.setOutput(out);
      writer.write(image);
    } finally {
      writer.dispose();
    }
    return bytes.toByteArray();
  }

  private static byte[] svg(JFreeChart chart, int height) throws IOException {
    Document document;
    try {
      document =
          DocumentBuilderFactory.newInstance()
              .newDocumentBuilder()
              .getDOMImplementation()
              .createDocument("http://www.w3.org/2000/svg", "svg", null);
    } catch (ParserConfigurationException e) {
      throw new IOException(e);
    }
    SVGGraphics2D graphics = new SVGGraphics2D(document);
    chart.draw(graphics, new Rectangle2D.Double(0, 0, WIDTH, height));
    Element root = graphics.getRoot();
    root.setAttribute("width", Integer.toString(WIDTH));
    root.setAttribute("height", Integer.toString(height));
    root.setAttribute("viewBox", "0 0 %d %d".formatted(WIDTH, height)); // pages show it smaller
    ByteArrayOutputStream bytes = new ByteArrayOutputStream();
    try (Writer writer = new OutputStreamWriter(bytes, StandardCharsets.UTF_8)) {
      graphics.stream(root, writer, false, false);
    }
    return bytes.toByteArray();
  }
}
