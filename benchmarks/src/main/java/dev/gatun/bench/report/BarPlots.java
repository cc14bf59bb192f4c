package dev.gatun.bench.report;

import static dev.gatun.bench.report.PlotStyle.DASHED;
import static dev.gatun.bench.report.PlotStyle.GRAY;
import static dev.gatun.bench.report.PlotStyle.GRID;
import static dev.gatun.bench.report.PlotStyle.INK;
import static dev.gatun.bench.report.PlotStyle.THIN;
import static dev.gatun.bench.report.PlotStyle.color;
import static dev.gatun.bench.report.PlotStyle.font;
import static dev.gatun.bench.report.PlotStyle.style;

import dev.gatun.bench.measure.Shape;
import dev.gatun.bench.peer.PeerSpec;
import java.awt.Color;
import java.awt.Font;
import java.io.IOException;
import java.text.DecimalFormat;
import java.text.DecimalFormatSymbols;
import java.util.ArrayList;
import java.util.List;
import java.util.Locale;
import java.util.OptionalDouble;
import org.jfree.chart.axis.CategoryAxis;
import org.jfree.chart.axis.NumberAxis;
import org.jfree.chart.axis.NumberTickUnit;
import org.jfree.chart.labels.ItemLabelAnchor;
import org.jfree.chart.labels.ItemLabelClip;
import org.jfree.chart.labels.ItemLabelPosition;
import org.jfree.chart.labels.StandardCategoryItemLabelGenerator;
import org.jfree.chart.plot.CategoryPlot;
import org.jfree.chart.plot.ValueMarker;
import org.jfree.chart.renderer.category.BarRenderer;
import org.jfree.chart.renderer.category.StandardBarPainter;
import org.jfree.chart.ui.Layer;
import org.jfree.chart.ui.RectangleAnchor;
import org.jfree.chart.ui.RectangleInsets;
import org.jfree.chart.ui.TextAnchor;
import org.jfree.data.category.DefaultCategoryDataset;

/** Bars by shape: shares of the peak, and causal calls against full ones. */
final class BarPlots {
  private final Results results;
  private final PlotFiles files;

  BarPlots(Results results, PlotFiles files) {
    this.results = results;
    this.files = files;
  }

  void shares(boolean causal, int threads) throws IOException {
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
    files.save(
        "share" + (causal ? "-causal" : "") + (threads == 1 ? "" : "-" + threads + "-threads"),
        "Share of the FMA peak by shape: %s, %s"
            .formatted(
                causal ? "causal" : "no mask", threads == 1 ? "one thread" : threads + " threads"),
        plot,
        threads == 1);
  }

  void causalAgainstFull() throws IOException {
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
    files.save("causal", "Causal against full: one thread", plot, true);
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
    x.setAxisLinePaint(GRAY);
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
      renderer.setSeriesPaint(i, color(data.getRowKey(i)));
      if (data.getRowKey(i).equals(PeerSpec.GATUN)) {
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
}
