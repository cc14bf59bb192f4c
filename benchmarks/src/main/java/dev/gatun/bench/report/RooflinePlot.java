package dev.gatun.bench.report;

import static dev.gatun.bench.report.PlotStyle.GRID;
import static dev.gatun.bench.report.PlotStyle.INK;
import static dev.gatun.bench.report.PlotStyle.THIN;
import static dev.gatun.bench.report.PlotStyle.logAxis;
import static dev.gatun.bench.report.PlotStyle.note;
import static dev.gatun.bench.report.PlotStyle.style;
import static dev.gatun.bench.report.PlotStyle.symbols;

import dev.gatun.bench.measure.Point;
import dev.gatun.bench.measure.Shape;
import java.awt.BasicStroke;
import java.io.IOException;
import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.OptionalDouble;
import org.jfree.chart.axis.LogAxis;
import org.jfree.chart.plot.DatasetRenderingOrder;
import org.jfree.chart.plot.ValueMarker;
import org.jfree.chart.plot.XYPlot;
import org.jfree.chart.renderer.xy.XYLineAndShapeRenderer;
import org.jfree.chart.ui.Layer;
import org.jfree.chart.ui.TextAnchor;
import org.jfree.data.xy.XYSeries;
import org.jfree.data.xy.XYSeriesCollection;

/** Rates against flops per byte, under the two roofs. */
final class RooflinePlot {
  private final Results results;
  private final PlotFiles files;

  RooflinePlot(Results results, PlotFiles files) {
    this.results = results;
    this.files = files;
  }

  void roofline() throws IOException {
    if (results.peak(1).isEmpty()) {
      return;
    }
    double peak = results.peak(1).getAsDouble() * 1e-9;
    double read = results.read(1).getAsDouble() * 1e-9;
    Map<String, Double> columns = columns(results.shapes(false, 1));
    double lowest = Double.POSITIVE_INFINITY;
    XYSeriesCollection points = new XYSeriesCollection();
    List<String> names = List.copyOf(results.names());
    for (String peer : names) {
      XYSeries series = new XYSeries(peer);
      double aside = aside(names.indexOf(peer), names.size());
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
    double across = PlotFiles.PLOT_WIDTH / Math.log(right / left);
    double up = PlotFiles.PLOT_HEIGHT / Math.log(y.getUpperBound() / y.getLowerBound());
    note(
            plot,
            "read, %.0f GB/s".formatted(read),
            left * 1.1,
            left * 1.1 * read * 0.94, // below the line: Gatun's points are on it
            TextAnchor.TOP_LEFT,
            INK)
        .setRotationAngle(-Math.atan2(up, across));
    files.save("roofline", "Roofline: no mask, one thread", plot, true);
  }

  /** Peers stand beside each other, so that equal ones are seen; Gatun is in the middle. */
  private static double aside(int place, int peers) {
    return place == 0 ? 1 : Math.pow(1.013, place - peers / 2.0);
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
}
