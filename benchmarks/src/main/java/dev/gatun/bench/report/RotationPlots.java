package dev.gatun.bench.report;

import static dev.gatun.bench.report.PlotStyle.doublingAxis;
import static dev.gatun.bench.report.PlotStyle.logAxis;
import static dev.gatun.bench.report.PlotStyle.style;
import static dev.gatun.bench.report.PlotStyle.symbols;
import static dev.gatun.bench.report.PlotStyle.timesAndRatios;
import static dev.gatun.bench.report.Results.number;

import java.io.IOException;
import java.util.List;
import org.jfree.chart.axis.LogAxis;
import org.jfree.chart.axis.NumberAxis;
import org.jfree.chart.axis.NumberTickUnit;
import org.jfree.chart.plot.XYPlot;
import org.jfree.chart.renderer.xy.XYLineAndShapeRenderer;
import org.jfree.data.xy.XYSeries;
import org.jfree.data.xy.XYSeriesCollection;

/** A model in each format beside its peers, and the products of models; one thread. */
final class RotationPlots {
  static final String EMBEDDING_TIMES = "embedding-time";
  static final String EMBEDDING_ACCURACY = "embedding-accuracy";

  /** A model's name follows. */
  static final String PRODUCTS = "products-";

  /** Whom the others are compared with. */
  private static final String REFERENCE = "onnxruntime";

  private static final String TOKENS = "128";

  /** Where a logarithmic axis of 1 − cosine ends. */
  private static final double LEAST_DISTANCE = 1e-8;

  private final PlotFiles files;

  RotationPlots(PlotFiles files) {
    this.files = files;
  }

  /** Those cases that are a number: tokens of one text, or rows. */
  private static List<Integer> numbers(RotationRows rows) {
    return rows.cases().stream()
        .filter(what -> what.matches("\\d+"))
        .map(Integer::valueOf)
        .sorted()
        .toList();
  }

  private static RotationRows.Row timed(RotationRows rows, String family, Object what) {
    RotationRows.Row row = rows.best(family, what.toString(), 1);
    return row == null || row.series() == null ? null : row;
  }

  void embedding(EmbeddingRows embedding) throws IOException {
    lengths(embedding.times());
    accuracy(embedding);
  }

  private void lengths(RotationRows rows) throws IOException {
    XYSeriesCollection times = new XYSeriesCollection();
    XYSeriesCollection ratios = new XYSeriesCollection();
    for (String family : rows.families()) {
      XYSeries time = new XYSeries(family);
      XYSeries ratio = new XYSeries(family);
      for (int tokens : numbers(rows)) {
        RotationRows.Row row = timed(rows, family, tokens);
        RotationRows.Row reference = timed(rows, REFERENCE, tokens);
        if (row != null) {
          time.add(tokens, row.series().nanos().median() * 1e-6);
          if (reference != null) {
            ratio.add(tokens, reference.series().over(row.series()).median());
          }
        }
      }
      if (!time.isEmpty()) {
        times.addSeries(time);
        ratios.addSeries(ratio);
      }
    }
    if (times.getSeriesCount() > 0) {
      files.save(
          EMBEDDING_TIMES,
          "all-MiniLM-L6-v2, one text, one thread: time against length",
          timesAndRatios(
              doublingAxis("tokens", numbers(rows)),
              times,
              ratios,
              "times as fast as ONNX Runtime, fp32",
              3),
          rows);
    }
  }

  private void accuracy(EmbeddingRows embedding) throws IOException {
    XYSeriesCollection data = new XYSeriesCollection();
    for (String family : embedding.times().families()) {
      EmbeddingRows.Accuracy accuracy = embedding.accuracy(family);
      RotationRows.Row row = timed(embedding.times(), family, TOKENS);
      if (accuracy != null && row != null) {
        double millis = row.series().nanos().median() * 1e-6;
        XYSeries series = new XYSeries(family, false);
        series.add(millis, Math.max(LEAST_DISTANCE, accuracy.median()));
        series.add(millis, Math.max(LEAST_DISTANCE, accuracy.worst()));
        data.addSeries(series);
      }
    }
    if (data.getSeriesCount() == 0) {
      return;
    }
    LogAxis x = logAxis("milliseconds for a text of " + TOKENS + " tokens", "0.##");
    x.setBase(2);
    x.setRange(data.getDomainLowerBound(false) / 1.1, data.getDomainUpperBound(false) * 1.1);
    LogAxis y = logAxis("1 − cosine to ONNX Runtime, fp32 (1e-8 or less at the foot)", "0E0");
    y.setRange(LEAST_DISTANCE / 2, Math.max(0.1, data.getRangeUpperBound(false) * 2));
    XYPlot plot =
        new XYPlot(
            data,
            x,
            y,
            style(
                new XYLineAndShapeRenderer(true, true) {
                  @Override
                  public boolean getItemShapeFilled(int series, int item) {
                    return item == 0;
                  }
                },
                data));
    style(plot);
    files.save(
        EMBEDDING_ACCURACY,
        "all-MiniLM-L6-v2, one thread: accuracy against speed (filled: median, hollow: worst text)",
        plot,
        embedding.times());
  }

  void products(String model, RotationRows rows) throws IOException {
    XYSeriesCollection data = new XYSeriesCollection();
    for (String family : rows.families()) {
      XYSeries series = new XYSeries(family);
      for (int count : numbers(rows)) {
        RotationRows.Row row = timed(rows, family, count);
        if (row != null) {
          double operations = number(row.map().get("operations"));
          series.add(count, row.series().share(operations).median() * 100);
        }
      }
      if (!series.isEmpty()) {
        data.addSeries(series);
      }
    }
    if (data.getSeriesCount() == 0) {
      return;
    }
    NumberAxis y = new NumberAxis("% of the peak of the type, measured around it");
    y.setTickUnit(new NumberTickUnit(10));
    y.setRange(0, Math.clamp(data.getRangeUpperBound(false) * 1.05, 105, 130)); // more is a mistake
    style(y);
    XYPlot plot = new XYPlot(data, doublingAxis("rows", numbers(rows)), y, symbols(data, true));
    style(plot);
    files.save(PRODUCTS + model, "Products of %s alone, one thread".formatted(model), plot, rows);
  }
}
