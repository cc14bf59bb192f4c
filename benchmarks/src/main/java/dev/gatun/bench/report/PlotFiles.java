package dev.gatun.bench.report;

import static dev.gatun.bench.report.PlotStyle.GRAY;
import static dev.gatun.bench.report.PlotStyle.INK;
import static dev.gatun.bench.report.PlotStyle.font;

import java.awt.Color;
import java.awt.Font;
import java.awt.Graphics2D;
import java.awt.geom.Rectangle2D;
import java.awt.image.BufferedImage;
import java.io.IOException;
import java.io.Writer;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import javax.imageio.ImageIO;
import javax.xml.parsers.DocumentBuilderFactory;
import javax.xml.parsers.ParserConfigurationException;
import org.apache.batik.svggen.SVGGraphics2D;
import org.jfree.chart.JFreeChart;
import org.jfree.chart.block.BlockBorder;
import org.jfree.chart.plot.Plot;
import org.jfree.chart.title.LegendTitle;
import org.jfree.chart.title.TextTitle;
import org.jfree.chart.ui.HorizontalAlignment;
import org.jfree.chart.ui.RectangleEdge;
import org.jfree.chart.ui.RectangleInsets;
import org.w3c.dom.Document;
import org.w3c.dom.Element;

/** Writes each plot with title and legend as PNG and as SVG. */
final class PlotFiles {
  private static final int WIDTH = 1200;
  private static final int HEIGHT = 800;

  /** About what axes and legend leave of it. */
  static final double PLOT_WIDTH = 1090;

  static final double PLOT_HEIGHT = 650;

  private static final String SVG = "http://www.w3.org/2000/svg";

  private final Results results;
  private final Path folder;
  private final List<Plots.Picture> pictures = new ArrayList<>();

  PlotFiles(Results results, Path folder) {
    this.results = results;
    this.folder = folder;
  }

  /** The pictures that were written so far. */
  List<Plots.Picture> pictures() {
    return pictures;
  }

  /** A plot of the comparison of peers. */
  void save(String name, String title, Plot plot, boolean atTop) throws IOException {
    List<Results.Row> rows = results.peers();
    long disturbed = rows.stream().filter(row -> row.isThere() && row.isDisturbed()).count();
    save(name, title, plot, atTop, disturbed, rows.size());
  }

  /** A plot of contestants in turn, which its section shows. */
  void save(String name, String title, Plot plot, RotationRows rows) throws IOException {
    save(name, title, plot, false, rows.disturbed(), rows.count());
  }

  private void save(String name, String title, Plot plot, boolean atTop, long disturbed, long rows)
      throws IOException {
    JFreeChart chart = new JFreeChart(title, font(Font.BOLD, 20), plot, true);
    chart.setBackgroundPaint(Color.WHITE);
    chart.setPadding(new RectangleInsets(12, 12, 12, 24));
    TextTitle heading = chart.getTitle();
    heading.setPaint(INK);
    heading.setHorizontalAlignment(HorizontalAlignment.LEFT);
    heading.setPadding(0, 8, 2, 0);
    TextTitle where = new TextTitle(where(disturbed, rows), font(Font.PLAIN, 14));
    where.setPaint(GRAY);
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
    pictures.add(new Plots.Picture(name, title, atTop));
  }

  /** Machine, commit and day, as far as the results say. */
  private String where(long disturbed, long rows) {
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
    if (disturbed > 0) {
      parts.add("%d of %d rows disturbed".formatted(disturbed, rows));
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
