package dev.gatun.bench.run;

import dev.gatun.bench.measure.BenchLibrary;
import dev.gatun.bench.measure.Json;
import dev.gatun.bench.measure.Quartiles;
import java.io.IOException;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Locale;
import java.util.Map;
import org.openjdk.jmh.profile.GCProfiler;
import org.openjdk.jmh.results.Result;
import org.openjdk.jmh.results.RunResult;
import org.openjdk.jmh.runner.Runner;
import org.openjdk.jmh.runner.RunnerException;
import org.openjdk.jmh.runner.options.ChainedOptionsBuilder;
import org.openjdk.jmh.runner.options.OptionsBuilder;
import org.openjdk.jmh.runner.options.TimeValue;
import org.openjdk.jmh.util.Statistics;

/** Runs JMH in processes of its own: {@code JmhRun FILE quick|full} writes a JSON array of rows. */
public final class JmhRun {

  private JmhRun() {}

  /**
   * Runs JMH.
   *
   * @param args the file to write, and {@code quick} or {@code full}
   * @throws IOException if the file cannot be written
   * @throws RunnerException if a benchmark fails
   */
  public static void main(String[] args) throws IOException, RunnerException {
    boolean quick = args[1].equals("quick");
    Path folder = Path.of(args[0]).toAbsolutePath().getParent();
    System.err.println("what JMH prints meanwhile: " + folder + "/*Benchmark.txt");
    List<Object> rows = new ArrayList<>(run(options(CallBenchmark.class, folder, quick)));
    ChainedOptionsBuilder attention = options(AttentionBenchmark.class, folder, quick);
    rows.addAll(run(quick ? attention.param("shape", "pre128") : attention));
    Json.write(Path.of(args[0]), rows);
  }

  private static ChainedOptionsBuilder options(Class<?> benchmark, Path folder, boolean quick) {
    ChainedOptionsBuilder options =
        new OptionsBuilder()
            .include("\\b" + benchmark.getSimpleName() + "\\.")
            .addProfiler(GCProfiler.class)
            .shouldFailOnError(true)
            .output(folder.resolve(benchmark.getSimpleName() + ".txt").toString())
            .jvmArgsPrepend("-D%s=%s".formatted(BenchLibrary.PROPERTY, BenchLibrary.file()));
    if (quick) {
      options
          .forks(1)
          .warmupIterations(2)
          .warmupTime(TimeValue.milliseconds(150))
          .measurementIterations(5)
          .measurementTime(TimeValue.milliseconds(100));
    }
    return options;
  }

  private static List<Map<String, Object>> run(ChainedOptionsBuilder options)
      throws RunnerException {
    List<Map<String, Object>> rows = new ArrayList<>();
    for (RunResult result : new Runner(options.build()).run()) {
      Statistics times = result.getPrimaryResult().getStatistics();
      Map<String, Object> row = new LinkedHashMap<>();
      row.put("benchmark", result.getPrimaryResult().getLabel());
      row.put("shape", result.getParams().getParam("shape"));
      row.put("forks", result.getParams().getForks());
      row.put(
          "ns",
          new Quartiles(
                  times.getPercentile(50),
                  times.getPercentile(25),
                  times.getPercentile(75),
                  (int) times.getN())
              .toMap());
      Result<?> bytes = result.getSecondaryResults().get("gc.alloc.rate.norm");
      // the median of iterations: JMH itself allocates in some
      row.put("heapBytesPerCall", bytes == null ? null : bytes.getStatistics().getPercentile(50));
      System.err.printf(
          Locale.ROOT,
          "%-20s %-10s %12.1f ns%n",
          row.get("benchmark"),
          row.get("shape"),
          times.getPercentile(50));
      rows.add(row);
    }
    return rows;
  }
}
