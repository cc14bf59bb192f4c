package dev.gatun.bench.report;

import static dev.gatun.bench.report.PlotStyle.logAxis;
import static dev.gatun.bench.report.PlotStyle.style;
import static dev.gatun.bench.report.PlotStyle.symbols;

import dev.gatun.bench.measure.Shape;
import dev.gatun.bench.peer.PeerSpec;
import java.io.IOException;
import java.util.Collection;
import java.util.OptionalDouble;
import java.util.TreeSet;
import org.jfree.chart.axis.LogAxis;
import org.jfree.chart.axis.NumberTickUnit;
import org.jfree.chart.plot.CombinedDomainXYPlot;
import org.jfree.chart.plot.XYPlot;
import org.jfree.chart.renderer.xy.XYLineAndShapeRenderer;
import org.jfree.data.xy.XYSeries;
import org.jfree.data.xy.XYSeriesCollection;

/** Lines against length: times, and memory. */
final class LengthPlots {
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
      files.save(
          causal ? "time-causal" : "time",
          "Time against length: 4 heads of 64, %s, one thread"
              .formatted(causal ? "causal" : "no mask"),
          plot,
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
    XYPlot plot = new XYPlot(data, lengthAxis(lengths), y, symbols(data, true));
    style(plot);
    files.save(
        "memory",
        "Memory against length: 4 heads of 64, no mask (onnxruntime-gqa: causal)",
        plot,
        true);
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
}
