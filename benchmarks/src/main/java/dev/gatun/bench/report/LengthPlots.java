package dev.gatun.bench.report;

import static dev.gatun.bench.report.PlotStyle.doublingAxis;
import static dev.gatun.bench.report.PlotStyle.logAxis;
import static dev.gatun.bench.report.PlotStyle.style;
import static dev.gatun.bench.report.PlotStyle.symbols;
import static dev.gatun.bench.report.PlotStyle.timesAndRatios;
import static dev.gatun.bench.report.PlotStyle.widen;

import dev.gatun.bench.measure.Shape;
import dev.gatun.bench.peer.PeerSpec;
import java.io.IOException;
import java.util.Collection;
import java.util.OptionalDouble;
import java.util.TreeSet;
import org.jfree.chart.axis.LogAxis;
import org.jfree.chart.plot.XYPlot;
import org.jfree.data.xy.XYSeries;
import org.jfree.data.xy.XYSeriesCollection;

/** Lines against length: times, and memory. */
final class LengthPlots {
  private static final String LENGTH = "queries and keys";

  private static final double MEBI = 1 << 20;

  /** Where a logarithmic axis of MiB ends. */
  private static final double LEAST_MEBI = 0.1;

  private final Results results;
  private final PlotFiles files;

  LengthPlots(Results results, PlotFiles files) {
    this.results = results;
    this.files = files;
  }

  void times(boolean causal) throws IOException {
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
        if (peer.equals(PeerSpec.GATUN)) {
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
      LogAxis x = doublingAxis(LENGTH, results.lengths().stream().map(Shape::seqQ).toList());
      files.save(
          causal ? "time-causal" : "time",
          "Time against length: 4 heads of 64, %s, one thread"
              .formatted(causal ? "causal" : "no mask"),
          timesAndRatios(x, times, ratios, "time / Gatun's", 2),
          true);
    }
  }

  void memory() throws IOException {
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
    XYPlot plot = new XYPlot(data, doublingAxis(LENGTH, lengths), y, symbols(data, true));
    style(plot);
    files.save(
        "memory",
        "Memory against length: 4 heads of 64, no mask (onnxruntime-gqa: causal)",
        plot,
        true);
  }
}
