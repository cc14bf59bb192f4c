package dev.gatun.bench;

import java.awt.BasicStroke;
import java.awt.Color;
import java.awt.Font;
import java.awt.Graphics2D;
import java.awt.Polygon;
import java.awt.Stroke;
import java.awt.font.FontRenderContext;
import java.awt.geom.Ellipse2D;
import java.awt.geom.Rectangle2D;
import java.awt.image.BufferedImage;
import java.io.IOException;
import java.io.Writer;
import java.nio.file.Files;
import java.nio.file.Path;
import java.text.DecimalFormat;
import java.text.DecimalFormatSymbols;
import java.util.ArrayList;
import java.util.Collection;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Locale;
import java.util.Map;
import java.util.OptionalDouble;
import java.util.TreeSet;
import javax.imageio.ImageIO;
import javax.xml.parsers.DocumentBuilderFactory;
import javax.xml.parsers.ParserConfigurationException;
import org.apache.batik.svggen.SVGGraphics2D;
import org.jfree.chart.JFreeChart;
import org.jfree.chart.annotations.XYTextAnnotation;
import org.jfree.chart.axis.CategoryAxis;
import org.jfree.chart.axis.LogAxis;
import org.jfree.chart.axis.NumberAxis;
import org.jfree.chart.axis.NumberTickUnit;
import org.jfree.chart.axis.ValueAxis;
import org.jfree.chart.block.BlockBorder;
import org.jfree.chart.labels.ItemLabelAnchor;
import org.jfree.chart.labels.ItemLabelClip;
import org.jfree.chart.labels.ItemLabelPosition;
import org.jfree.chart.labels.StandardCategoryItemLabelGenerator;
import org.jfree.chart.plot.CategoryPlot;
import org.jfree.chart.plot.CombinedDomainXYPlot;
import org.jfree.chart.plot.DatasetRenderingOrder;
import org.jfree.chart.plot.Plot;
import org.jfree.chart.plot.ValueMarker;
import org.jfree.chart.plot.XYPlot;
import org.jfree.chart.renderer.category.BarRenderer;
import org.jfree.chart.renderer.category.StandardBarPainter;
import org.jfree.chart.renderer.xy.XYLineAndShapeRenderer;
import org.jfree.chart.text.TextUtils;
import org.jfree.chart.title.LegendTitle;
import org.jfree.chart.title.TextTitle;
import org.jfree.chart.ui.HorizontalAlignment;
import org.jfree.chart.ui.Layer;
import org.jfree.chart.ui.RectangleAnchor;
import org.jfree.chart.ui.RectangleEdge;
import org.jfree.chart.ui.RectangleInsets;
import org.jfree.chart.ui.TextAnchor;
import org.jfree.data.category.DefaultCategoryDataset;
import org.jfree.data.xy.XYSeries;
import org.jfree.data.xy.XYSeriesCollection;
import org.w3c.dom.Document;
import org.w3c.dom.Element;

/** Draws results, each picture as PNG and as SVG: {@code Plots RESULTS FOLDER}. */
public final class Plots {
  private static final int WIDTH = 1200;
  private static final int HEIGHT = 800;

  /** About what axes and legend leave of it. */
  private static final double PLOT_WIDTH = 1090;

  private static final double PLOT_HEIGHT = 650;

  private static final double MEBI = 1 << 20;

  /** Where a logarithmic axis of MiB ends. */
  private static final double LEAST_MEBI = 0.1;

  private static final String SVG = "http://www.w3.org/2000/svg";

  private static final Color INK = new Color(0x222222);
  private static final Color GREY = new Color(0x777777);
  private static final Color GRID = new Color(0xe3e3e3);
  private static final Stroke THIN = new BasicStroke(1);
  private static final Stroke DASHED =
      new BasicStroke(
          1.5f, BasicStroke.CAP_BUTT, BasicStroke.JOIN_MITER, 10, new float[] {6, 4}, 0);

  /** Told apart by those who see few colours, too: lightness differs, and so do the symbols. */
  private static final Map<String, Color> COLOURS = new LinkedHashMap<>();

  static {
    COLOURS.put(Contender.GATUN, new Color(0xc1121f));
    COLOURS.put("onnxruntime-mha", new Color(0x1f4e9c));
    COLOURS.put("onnxruntime-attention", new Color(0x4aa3df));
    COLOURS.put("onnxruntime-gqa", new Color(0x17becf));
    COLOURS.put("pytorch", new Color(0x1b7f4b));
    COLOURS.put("djl-pytorch", new Color(0x8ccf7e));
    COLOURS.put("openblas", new Color(0xe69f00));
    COLOURS.put("java-vector", new Color(0x8e5ea2));
    COLOURS.put("java-scalar", new Color(0x999999));
  }

  /**
   * A picture that was written.
   *
   * @param name of its files, without .png and .svg
   * @param title what it shows
   * @param inReport whether the report shows it
   */
  record Picture(String name, String title, boolean inReport) {}

  private final Results results;
  private final Path folder;
  private final List<Picture> pictures = new ArrayList<>();

  private Plots(Results results, Path folder) {
    this.results = results;
    this.folder = folder;
  }

  /**
   * Draws results.
   *
   * @param args the JSON file, and the folder for the pictures
   * @throws IOException if a file cannot be read or written
   */
  public static void main(String[] args) throws IOException {
    Path folder = Files.createDirectories(Path.of(args[1]));
    List<Picture> pictures = write(new Results((Map<?, ?>) Json.read(Path.of(args[0]))), folder);
    pictures.forEach(picture -> System.err.println(folder.resolve(picture.name + ".svg")));
    if (pictures.isEmpty()) {
      System.exit(1);
    }
  }

  /** Draws all that the results have numbers for; nothing where the JDK finds no fonts. */
  static List<Picture> write(Results results, Path folder) throws IOException {
    System.setProperty("java.awt.headless", "true");
    TextUtils.setUseDrawRotatedStringWorkaround(false); // it turns letters into paths
    if (!hasFonts()) {
      System.err.println("plots: none, as the JDK finds no fonts; install fontconfig and a font");
      return List.of();
    }
    Plots plots = new Plots(results, folder);
    plots.draw();
    return plots.pictures;
  }

  /** Whether text can be drawn: without fontconfig, or without a font, the JDK throws. */
  static boolean hasFonts() {
    try {
      FontRenderContext context = new FontRenderContext(null, true, true);
      return font(Font.PLAIN, 14).getStringBounds("M", context).getWidth() > 0;
    } catch (RuntimeException | Error e) {
      return false;
    }
  }

  private void draw() throws IOException {
    for (int causal = 0; causal < 2; causal++) {
      for (int threads = 1; threads <= 2; threads++) {
        if (!results.shapes(causal == 1, threads).isEmpty()) {
          if (causal == 0 && threads == 1) {
            roofline();
          }
          shares(causal == 1, threads);
        }
      }
    }
    if (!results.lengths().isEmpty()) {
      times(false);
      times(true);
    }
    if (!results.shapes(true, 1).isEmpty()) {
      causalAgainstFull();
    }
    if (!results.memoryLengths().isEmpty()) {
      memory();
    }
  }

  // ---- pictures ------------------------------------------------------------------------------

  private void roofline() throws IOException {
    if (results.peak(1).isEmpty()) {
      return;
    }
    double peak = results.peak(1).getAsDouble() * 1e-9;
    double read = results.read(1).getAsDouble() * 1e-9;
    Map<String, Double> columns = columns(results.shapes(false, 1));
    double lowest = Double.POSITIVE_INFINITY;
    XYSeriesCollection points = new XYSeriesCollection();
    for (String peer : results.names()) {
      XYSeries series = new XYSeries(peer);
      double aside = aside(peer);
      for (Shape shape : results.shapes(false, 1)) {
        OptionalDouble ns = results.ns(peer, shape, false, 1);
        if (ns.isPresent()) {
          double rate = new Point(shape, false, Point.Layout.BHSD, 1).flops() / ns.getAsDouble();
          series.add(columns.get(shape.name()) * aside, rate);
          lowest = Math.min(lowest, rate);
        }
      }
      if (!series.isEmpty()) {
        points.addSeries(series);
      }
    }
    double left = columns.values().stream().mapToDouble(x -> x).min().orElseThrow() / 2;
    double right = columns.values().stream().mapToDouble(x -> x).max().orElseThrow() * 2;
    XYSeries roof = new XYSeries("roof");
    roof.add(left, Math.min(peak, left * read));
    if (left < peak / read && peak / read < right) {
      roof.add(peak / read, peak);
    }
    roof.add(right, Math.min(peak, right * read));

    LogAxis x = logAxis("flops per byte of queries, keys, values and result", "0.##");
    x.setBase(4);
    x.setRange(left, right);
    LogAxis y = logAxis("GFLOP/s", "0.###");
    y.setRange(Math.min(lowest, left * read) / 1.6, peak * 4);
    XYPlot plot = new XYPlot(points, x, y, symbols(points, false));
    plot.setDataset(1, new XYSeriesCollection(roof));
    XYLineAndShapeRenderer line = new XYLineAndShapeRenderer(true, false);
    line.setSeriesPaint(0, INK);
    line.setSeriesStroke(0, new BasicStroke(2.5f));
    line.setSeriesVisibleInLegend(0, false);
    plot.setRenderer(1, line);
    plot.setDatasetRenderingOrder(DatasetRenderingOrder.REVERSE);
    style(plot);
    columns.forEach(
        (shape, at) -> {
          ValueMarker guide = new ValueMarker(at, GRID, THIN);
          plot.addDomainMarker(guide, Layer.BACKGROUND);
          note(plot, shape, at, peak * 3.8, TextAnchor.CENTER_RIGHT, INK)
              .setRotationAngle(-Math.PI / 2);
        });
    plot.setDomainGridlinesVisible(false);
    double knee = Math.max(left, peak / read);
    note(
        plot,
        "FMA peak, %.0f GFLOP/s".formatted(peak),
        knee * 1.1,
        peak * 1.06,
        TextAnchor.BOTTOM_LEFT,
        INK);
    double across = PLOT_WIDTH / Math.log(right / left);
    double up = PLOT_HEIGHT / Math.log(y.getUpperBound() / y.getLowerBound());
    note(
            plot,
            "read, %.0f GB/s".formatted(read),
            left * 1.1,
            left * 1.1 * read * 0.94, // below the line: Gatun's points are on it
            TextAnchor.TOP_LEFT,
            INK)
        .setRotationAngle(-Math.atan2(up, across));
    save("roofline", "Roofline: no mask, one thread", plot, true);
  }

  /** Peers stand beside each other, so that equal ones are seen; Gatun is in the middle. */
  private static double aside(String peer) {
    int place = List.copyOf(COLOURS.keySet()).indexOf(peer);
    return place <= 0 ? 1 : Math.pow(1.013, place - COLOURS.size() / 2.0);
  }

  /** Where a shape is drawn: its flops per byte, moved aside a little where two would coincide. */
  private static Map<String, Double> columns(List<Shape> shapes) {
    Map<Long, List<String>> groups = new LinkedHashMap<>();
    Map<String, Double> columns = new LinkedHashMap<>();
    for (Shape shape : shapes) {
      Point point = Point.of(shape);
      double intensity = point.flops() / point.bytes();
      columns.put(shape.name(), intensity);
      long near = Math.round(Math.log(intensity) / Math.log(1.25));
      groups.computeIfAbsent(near, each -> new ArrayList<>()).add(shape.name());
    }
    for (List<String> group : groups.values()) {
      for (int i = 0; i < group.size(); i++) {
        double aside = Math.pow(1.2, i - (group.size() - 1) / 2.0);
        columns.computeIfPresent(group.get(i), (shape, at) -> at * aside);
      }
    }
    return columns;
  }

  private void shares(boolean causal, int threads) throws IOException {
    DefaultCategoryDataset data = new DefaultCategoryDataset();
    double most = 0;
    for (String peer : results.names()) {
      for (Shape shape : results.shapes(causal, threads)) {
        OptionalDouble share = results.shareOfPeak(peer, shape, causal, threads);
        data.addValue(share.isPresent() ? share.getAsDouble() * 100 : null, peer, shape.name());
        most = Math.max(most, share.orElse(0) * 100);
      }
    }
    CategoryPlot plot = bars(data, "% of the FMA peak measured around it", "0", 10);
    plot.getRangeAxis().setRange(0, Math.clamp(most * 1.05, 105, 130)); // more is a mistake
    save(
        "share" + (causal ? "-causal" : "") + (threads == 1 ? "" : "-" + threads + "-threads"),
        "Share of the FMA peak by shape: %s, %s"
            .formatted(
                causal ? "causal" : "no mask", threads == 1 ? "one thread" : threads + " threads"),
        plot,
        threads == 1);
  }

  private void causalAgainstFull() throws IOException {
    DefaultCategoryDataset data = new DefaultCategoryDataset();
    double most = 0;
    for (String peer : results.names()) {
      for (Shape shape : results.shapes(true, 1)) {
        OptionalDouble causal = results.ns(peer, shape, true, 1);
        OptionalDouble full = results.ns(peer, shape, false, 1);
        Double ratio = null;
        if (causal.isPresent() && full.isPresent()) {
          ratio = causal.getAsDouble() / full.getAsDouble();
          most = Math.max(most, ratio);
        }
        data.addValue(ratio, peer, shape.name());
      }
    }
    CategoryPlot plot = bars(data, "time of a causal call / time without a mask", "0.00", 0.25);
    plot.getRangeAxis().setRange(0, Math.clamp(most * 1.1, 1.3, 3));
    plot.getDomainAxis().setUpperMargin(0.1); // for the words beside the lines
    marker(plot, 1, "mask not used");
    marker(plot, 0.5, "half the time");
    save("causal", "Causal against full: one thread", plot, true);
  }

  private static void marker(CategoryPlot plot, double value, String text) {
    ValueMarker marker = new ValueMarker(value, INK, DASHED);
    marker.setLabel(text);
    marker.setLabelFont(font(Font.PLAIN, 14));
    marker.setLabelPaint(INK);
    marker.setLabelBackgroundColor(new Color(255, 255, 255, 200));
    marker.setLabelAnchor(RectangleAnchor.TOP_RIGHT);
    marker.setLabelTextAnchor(TextAnchor.BOTTOM_RIGHT);
    plot.addRangeMarker(marker, Layer.FOREGROUND);
  }

  private void times(boolean causal) throws IOException {
    XYSeriesCollection times = new XYSeriesCollection();
    XYSeriesCollection ratios = new XYSeriesCollection();
    for (String peer : results.names()) {
      XYSeries time = new XYSeries(peer);
      XYSeries ratio = new XYSeries(peer);
      for (Shape shape : results.lengths()) {
        OptionalDouble ns = results.ns(peer, shape, causal, 1);
        if (ns.isPresent()) {
          time.add(shape.seqQ(), ns.getAsDouble() * 1e-6);
        }
        Results.Row row = results.row(peer, shape, causal, 1);
        if (peer.equals(Contender.GATUN)) {
          ratio.add(shape.seqQ(), 1);
        } else if (row != null && row.isThere()) {
          ratio.add(shape.seqQ(), row.ratio().median());
        }
      }
      if (!time.isEmpty()) {
        times.addSeries(time);
        ratios.addSeries(ratio);
      }
    }
    if (times.getSeriesCount() > 0) {
      LogAxis x = lengthAxis(results.lengths().stream().map(each -> each.seqQ()).toList());
      LogAxis above = logAxis("milliseconds", "0.###");
      LogAxis below = logAxis("time / Gatun's", "0.##");
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
      plot.add(upper, 3);
      plot.add(lower, 2);
      save(
          causal ? "time-causal" : "time",
          "Time against length: 4 heads of 64, %s, one thread"
              .formatted(causal ? "causal" : "no mask"),
          plot,
          true);
    }
  }

  private void memory() throws IOException {
    XYSeriesCollection data = new XYSeriesCollection();
    Collection<Integer> lengths = new TreeSet<>(results.memoryLengths());
    for (String peer : results.memoryPeers()) {
      boolean causal = results.isAlwaysCausal(peer);
      XYSeries series = new XYSeries(peer);
      for (int length : lengths) {
        OptionalDouble growth = results.growth(peer, length, causal);
        if (growth.isPresent()) {
          series.add(length, Math.max(LEAST_MEBI, growth.getAsDouble() / MEBI));
        }
      }
      if (!series.isEmpty()) {
        data.addSeries(series);
      }
    }
    LogAxis y =
        logAxis(
            "MiB by which a call makes the process grow (%s or less at the foot)"
                .formatted(LEAST_MEBI),
            "0.###");
    widen(y, data, 1.6);
    XYPlot plot = new XYPlot(data, lengthAxis(lengths), y, symbols(data, true));
    style(plot);
    save(
        "memory",
        "Memory against length: 4 heads of 64, no mask (onnxruntime-gqa: causal)",
        plot,
        true);
  }

  // ---- style ---------------------------------------------------------------------------------

  private static Font font(int style, int size) {
    return new Font(Font.SANS_SERIF, style, size);
  }

  private static Color colour(Comparable<?> peer) {
    return COLOURS.getOrDefault(peer.toString(), INK);
  }

  /** A symbol of a peer's own; Gatun's is the biggest. */
  private static java.awt.Shape symbol(Comparable<?> peer) {
    int place = List.copyOf(COLOURS.keySet()).indexOf(peer.toString());
    return switch (place) {
      case 0 -> new Ellipse2D.Double(-7, -7, 14, 14);
      case 1, 4 -> new Rectangle2D.Double(-5, -5, 10, 10);
      case 2, 5 -> new Polygon(new int[] {0, 6, 0, -6}, new int[] {-7, 0, 7, 0}, 4);
      case 3, 6 -> new Polygon(new int[] {0, 6, -6}, new int[] {-6, 5, 5}, 3);
      case 7 -> new Polygon(new int[] {0, 6, -6}, new int[] {6, -5, -5}, 3);
      default -> new Ellipse2D.Double(-4, -4, 8, 8);
    };
  }

  private static XYLineAndShapeRenderer symbols(XYSeriesCollection data, boolean lines) {
    XYLineAndShapeRenderer renderer = new XYLineAndShapeRenderer(lines, true);
    for (int i = 0; i < data.getSeriesCount(); i++) {
      Comparable<?> peer = data.getSeriesKey(i);
      renderer.setSeriesPaint(i, colour(peer));
      renderer.setSeriesShape(i, symbol(peer));
      renderer.setSeriesStroke(i, new BasicStroke(peer.equals(Contender.GATUN) ? 3.5f : 2));
    }
    return renderer;
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

  private static LogAxis lengthAxis(Collection<Integer> lengths) {
    LogAxis axis = logAxis("queries and keys", "0");
    axis.setBase(2);
    double first = lengths.iterator().next();
    double last = first;
    for (int length : lengths) {
      last = length;
    }
    axis.setRange(first / 1.15, last * 1.15);
    return axis;
  }

  private static void widen(LogAxis axis, XYSeriesCollection data, double factor) {
    double least = data.getRangeLowerBound(false);
    double most = data.getRangeUpperBound(false);
    if (least > 0) {
      axis.setRange(least / factor, most * factor);
    }
  }

  private static void style(ValueAxis axis) {
    axis.setLabelFont(font(Font.PLAIN, 16));
    axis.setTickLabelFont(font(Font.PLAIN, 14));
    axis.setLabelPaint(INK);
    axis.setTickLabelPaint(INK);
    axis.setAxisLinePaint(GREY);
    axis.setTickMarkPaint(GREY);
  }

  private static void style(XYPlot plot) {
    plot.setBackgroundPaint(Color.WHITE);
    plot.setOutlineVisible(false);
    plot.setDomainGridlinePaint(GRID);
    plot.setRangeGridlinePaint(GRID);
    plot.setDomainGridlineStroke(THIN);
    plot.setRangeGridlineStroke(THIN);
    plot.setAxisOffset(RectangleInsets.ZERO_INSETS);
  }

  private static XYTextAnnotation note(
      XYPlot plot, String text, double x, double y, TextAnchor anchor, Color colour) {
    XYTextAnnotation note = new XYTextAnnotation(text, x, y);
    note.setFont(font(Font.PLAIN, 15));
    note.setPaint(colour);
    note.setTextAnchor(anchor);
    note.setRotationAnchor(anchor);
    plot.addAnnotation(note);
    return note;
  }

  /** Groups of bars; those of Gatun have their value written in them. */
  private static CategoryPlot bars(
      DefaultCategoryDataset data, String label, String format, double unit) {
    for (Comparable<?> peer : List.copyOf(rows(data))) {
      if (isEmpty(data, peer)) {
        data.removeRow(peer);
      }
    }
    CategoryAxis x = new CategoryAxis();
    x.setTickLabelFont(font(Font.PLAIN, 15));
    x.setTickLabelPaint(INK);
    x.setAxisLinePaint(GREY);
    x.setCategoryMargin(0.16);
    x.setLowerMargin(0.01);
    x.setUpperMargin(0.01);
    DecimalFormat number = new DecimalFormat(format, DecimalFormatSymbols.getInstance(Locale.ROOT));
    NumberAxis y = new NumberAxis(label);
    y.setTickUnit(new NumberTickUnit(unit, number));
    style(y);
    BarRenderer renderer = new BarRenderer();
    renderer.setBarPainter(new StandardBarPainter());
    renderer.setShadowVisible(false);
    renderer.setItemMargin(0);
    renderer.setDrawBarOutline(false);
    for (int i = 0; i < data.getRowCount(); i++) {
      renderer.setSeriesPaint(i, colour(data.getRowKey(i)));
      if (data.getRowKey(i).equals(Contender.GATUN)) {
        renderer.setSeriesItemLabelGenerator(
            i, new StandardCategoryItemLabelGenerator("{2}", number));
        renderer.setSeriesItemLabelsVisible(i, true);
        renderer.setSeriesItemLabelFont(i, font(Font.BOLD, 11));
        renderer.setSeriesItemLabelPaint(i, Color.WHITE);
        // upright in the bar: beside it the next ones would hide it
        ItemLabelPosition inside =
            new ItemLabelPosition(
                ItemLabelAnchor.INSIDE12,
                TextAnchor.CENTER_RIGHT,
                TextAnchor.CENTER_RIGHT,
                -Math.PI / 2,
                ItemLabelClip.NONE);
        renderer.setSeriesPositiveItemLabelPosition(i, inside);
        renderer.setPositiveItemLabelPositionFallback(inside);
      }
    }
    CategoryPlot plot = new CategoryPlot(data, x, y, renderer);
    plot.setBackgroundPaint(Color.WHITE);
    plot.setOutlineVisible(false);
    plot.setRangeGridlinePaint(GRID);
    plot.setRangeGridlineStroke(THIN);
    plot.setAxisOffset(RectangleInsets.ZERO_INSETS);
    return plot;
  }

  private static List<Comparable<?>> rows(DefaultCategoryDataset data) {
    List<Comparable<?>> keys = new ArrayList<>();
    for (Object key : data.getRowKeys()) {
      keys.add((Comparable<?>) key);
    }
    return keys;
  }

  private static boolean isEmpty(DefaultCategoryDataset data, Comparable<?> row) {
    for (int column = 0; column < data.getColumnCount(); column++) {
      if (data.getValue(row, data.getColumnKey(column)) != null) {
        return false;
      }
    }
    return true;
  }

  private void save(String name, String title, Plot plot, boolean inReport) throws IOException {
    JFreeChart chart = new JFreeChart(title, font(Font.BOLD, 20), plot, true);
    chart.setBackgroundPaint(Color.WHITE);
    chart.setPadding(new RectangleInsets(12, 12, 12, 24));
    TextTitle heading = chart.getTitle();
    heading.setPaint(INK);
    heading.setHorizontalAlignment(HorizontalAlignment.LEFT);
    heading.setPadding(0, 8, 2, 0);
    TextTitle where = new TextTitle(where(), font(Font.PLAIN, 14));
    where.setPaint(GREY);
    where.setHorizontalAlignment(HorizontalAlignment.LEFT);
    where.setPadding(0, 8, 10, 0);
    chart.addSubtitle(where);
    LegendTitle legend = chart.getLegend();
    legend.setItemFont(font(Font.PLAIN, 14));
    legend.setItemPaint(INK);
    legend.setFrame(BlockBorder.NONE);
    legend.setPosition(RectangleEdge.BOTTOM);
    legend.setItemLabelPadding(new RectangleInsets(3, 3, 3, 10));
    png(chart, folder.resolve(name + ".png"));
    svg(chart, folder.resolve(name + ".svg"));
    pictures.add(new Picture(name, title, inReport));
  }

  /** Machine, commit and day, as far as the results say. */
  private String where() {
    Map<?, ?> environment = (Map<?, ?>) results.get("environment");
    List<String> parts = new ArrayList<>();
    for (String name : List.of("cpu", "tier", "commit", "date")) {
      if (environment.get(name) != null) {
        String text = environment.get(name).toString();
        parts.add(
            switch (name) {
              case "commit" -> "commit " + text.replaceAll("(?<=^[0-9a-f]{7})[0-9a-f]+", "");
              case "date" -> text.substring(0, Math.min(text.length(), 10));
              default -> text;
            });
      }
    }
    if ("quick".equals(results.get("mode"))) {
      parts.add("quick run");
    }
    long disturbed =
        results.peers().stream().filter(row -> row.isThere() && row.isDisturbed()).count();
    if (disturbed > 0) {
      parts.add("%d of %d rows disturbed".formatted(disturbed, results.peers().size()));
    }
    return String.join(", ", parts);
  }

  private static void png(JFreeChart chart, Path file) throws IOException {
    BufferedImage image = new BufferedImage(WIDTH, HEIGHT, BufferedImage.TYPE_INT_RGB);
    Graphics2D graphics = image.createGraphics();
    chart.draw(graphics, new Rectangle2D.Double(0, 0, WIDTH, HEIGHT));
    graphics.dispose();
    ImageIO.write(image, "png", file.toFile());
  }

  private static void svg(JFreeChart chart, Path file) throws IOException {
    Document document;
    try {
      document =
          DocumentBuilderFactory.newInstance()
              .newDocumentBuilder()
              .getDOMImplementation()
              .createDocument(SVG, "svg", null);
    } catch (ParserConfigurationException e) {
      throw new IOException(e);
    }
    SVGGraphics2D graphics = new SVGGraphics2D(document);
    chart.draw(graphics, new Rectangle2D.Double(0, 0, WIDTH, HEIGHT));
    Element root = graphics.getRoot();
    root.setAttribute("width", Integer.toString(WIDTH));
    root.setAttribute("height", Integer.toString(HEIGHT));
    root.setAttribute("viewBox", "0 0 %d %d".formatted(WIDTH, HEIGHT)); // pages show it smaller
    try (Writer writer = Files.newBufferedWriter(file)) {
      graphics.stream(root, writer, false, false);
    }
  }
}
