package dev.gatun.cli;

import dev.gatun.Attention;
import dev.gatun.AttentionOptions;
import dev.gatun.DType;
import dev.gatun.GatunRuntime;
import dev.gatun.RuntimeInfo;
import dev.gatun.Tensor;
import dev.gatun.Workspace;
import dev.gatun.cli.ReferenceAttention.Comparison;
import dev.gatun.cli.ReferenceAttention.Problem;
import dev.gatun.cli.ReferenceAttention.Worst;
import dev.gatun.cli.ScoreOptions.Scores;
import dev.gatun.internal.Messages;
import dev.gatun.io.NpyOutput;
import java.io.IOException;
import java.io.PrintWriter;
import java.lang.foreign.Arena;
import java.nio.file.Path;
import java.time.Duration;
import java.util.Arrays;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Locale;
import java.util.Map;
import java.util.concurrent.Callable;
import picocli.CommandLine.Command;
import picocli.CommandLine.Mixin;
import picocli.CommandLine.Model.CommandSpec;
import picocli.CommandLine.Option;
import picocli.CommandLine.Spec;

/**
 * {@code gatun attend}: attention from files to files. Everything is checked before anything is
 * computed.
 */
@Command(
    name = "attend",
    mixinStandardHelpOptions = true,
    versionProvider = Main.Version.class,
    header = "Computes softmax(scale * Q * K^T) * V from npy files.",
    sortOptions = false,
    description = {
      "",
      "Q, K and V are NumPy float32 arrays in C order, [batch, seq, heads, headDim] or, with"
          + " --layout bhsd, [batch, heads, seq, headDim]. K and V may have fewer heads (a divisor)"
          + " and another seq than Q, V another headDim. Inputs are mapped, not read: a file that"
          + " another process cuts short meanwhile ends this one. Outputs appear when they are"
          + " complete, or not at all.",
      ""
    })
final class AttendCommand implements Callable<Integer> {
  /** Calls are timed for so long, and at least so often. */
  private static final long TIMED_NANOS = 500_000_000;

  private static final int LEAST_CALLS = 3;

  /** The library measures no longer. */
  private static final long MOST_PEAK_NANOS = 10_000_000_000L;

  @Option(names = "--q", required = true, paramLabel = "FILE", description = "The queries.")
  private Path q;

  @Option(names = "--k", required = true, paramLabel = "FILE", description = "The keys.")
  private Path k;

  @Option(names = "--v", required = true, paramLabel = "FILE", description = "The values.")
  private Path v;

  @Option(
      names = "--out",
      required = true,
      paramLabel = "FILE",
      description = "Where the result goes, float32 in the layout of Q.")
  private Path out;

  @Option(
      names = "--lse",
      paramLabel = "FILE",
      description =
          "Where the logarithm of each row's sum of exponentials goes, float32 [batch, heads, seq]"
              + " in either layout.")
  private Path lse;

  @Mixin private ScoreOptions scoring;

  @Mixin private KernelOptions kernels;

  @Option(
      names = "--expect",
      paramLabel = "FILE",
      description =
          "Compare the result with this array; exit code 1 if it differs by more than the"
              + " tolerance.")
  private Path expect;

  @Option(
      names = "--tolerance",
      paramLabel = "T",
      converter = Converters.Tolerance.class,
      description = "The greatest difference that --expect accepts; 1e-5 without this option.")
  private Double tolerance;

  @Option(
      names = "--reference",
      description =
          "Compute the same in double precision, in Java, and compare; exit code 1 if the error is"
              + " above the bound that gatun.h promises for any numbers.")
  private boolean reference;

  @Option(
      names = "--stats",
      description =
          "Print the time of a call, its rate (2 operations for each multiplication that causal"
              + " mask, lengths, window, segments and blocks leave) and its share of the rate that"
              + " independent FMAs reach on one core at the same time, times the threads.")
  private boolean stats;

  @Spec private CommandSpec spec;

  private NpyInput queries;
  private NpyInput keys;
  private NpyInput values;
  private NpyInput expected;

  @Override
  public Integer call() throws IOException {
    if (tolerance != null && expect == null) {
      throw new CliException("--tolerance needs --expect");
    }
    scoring.check();
    refuseSameFiles();
    try (Arena arena = Arena.ofShared()) {
      mapInputs(arena);
      Scores scores = scoring.scores(queries, keys, kernels.layout, arena);
      Problem problem =
          new Problem(
              kernels.layout.bshd(queries.tensor()),
              kernels.layout.bshd(keys.tensor()),
              kernels.layout.bshd(values.tensor()),
              scores.keyLengths(),
              scores.queryLengths(),
              scores.causal(),
              scores.spec().scale(),
              scores.changes());
      try (GatunRuntime runtime = kernels.open();
          NpyOutput outFile = create("--out", out);
          NpyOutput lseFile = lse == null ? null : create("--lse", lse)) {
        return attend(problem, scores, runtime, outFile, lseFile, arena);
      }
    }
  }

  private int attend(
      Problem problem,
      Scores scores,
      GatunRuntime runtime,
      NpyOutput outFile,
      NpyOutput lseFile,
      Arena arena) {
    Tensor q = problem.q();
    long[] shape = kernels.layout.shape(q.size(0), q.size(1), q.size(2), problem.v().size(3));
    Tensor result = Tensor.allocate(arena, DType.FLOAT32, shape);
    Tensor sums =
        lse == null && !reference
            ? null
            : Tensor.allocate(arena, DType.FLOAT32, q.size(0), q.size(2), q.size(1));
    Attention attention = runtime.attention(scores.spec());
    AttentionOptions options = scores.options(arena).lse(sums);
    Timing timing;
    try (Workspace workspace = runtime.newWorkspace()) {
      Runnable call =
          () ->
              attention.forward(
                  workspace, q, problem.k(), problem.v(), kernels.layout.bshd(result), options);
      long start = System.nanoTime();
      call.run();
      timing = stats ? Timing.measure(call, System.nanoTime() - start, runtime) : null;
    } catch (IllegalArgumentException e) {
      throw new CliException(e.getMessage(), e);
    }
    write("--out", out, () -> outFile.write(result));
    if (lseFile != null) {
      write("--lse", lse, () -> lseFile.write(sums));
    }
    write("--out", out, outFile::commit);
    if (lseFile != null) {
      write("--lse", lse, lseFile::commit);
    }
    PrintWriter text = spec.commandLine().getOut();
    print(text, result, sums, runtime.info());
    if (timing != null) {
      timing.print(text, problem, runtime.threads());
    }
    boolean passed = expected == null || printExpected(text, result);
    passed &= !reference || printReference(text, problem, result, sums);
    return passed ? Main.OK : Main.FAILED;
  }

  // ---- checks

  private void refuseSameFiles() {
    Map<String, Path> files = new LinkedHashMap<>();
    files.put("--q", q);
    files.put("--k", k);
    files.put("--v", v);
    scoring.addFiles(files);
    files.put("--expect", expect);
    files.put("--out", out);
    for (String output : lse == null ? List.of("--out") : List.of("--out", "--lse")) {
      Path file = output.equals("--out") ? out : lse;
      OutputFiles.refuseSame(output, file, files);
    }
  }

  private void mapInputs(Arena arena) {
    queries = ScoreOptions.map("--q", q, kernels.layout, arena);
    keys = ScoreOptions.map("--k", k, kernels.layout, arena);
    values = ScoreOptions.map("--v", v, kernels.layout, arena);
    ScoreOptions.expectFit(queries, keys, kernels.layout);
    values.expectSame(0, "batch", keys);
    values.expectSame(kernels.layout.seq, "seq", keys);
    values.expectSame(kernels.layout.heads, "heads", keys);
    if (expect != null) {
      expected = NpyInput.map("--expect", expect, arena);
      expected.expectType(DType.FLOAT32);
      expected.expectRank(4, kernels.layout.text);
      for (int dim = 0; dim < 3; dim++) {
        expected.expectSame(
            dim, dim == 0 ? "batch" : dim == kernels.layout.seq ? "seq" : "heads", queries);
      }
      expected.expectSame(3, "headDim", values);
    }
  }

  // ---- outputs

  private static NpyOutput create(String option, Path file) {
    try {
      return NpyOutput.create(file);
    } catch (IOException e) {
      throw CliException.of(option, file, e);
    }
  }

  private interface Step {
    void run() throws IOException;
  }

  private static void write(String option, Path file, Step step) {
    try {
      step.run();
    } catch (IOException e) {
      throw CliException.of(option, file, e);
    }
  }

  private void print(PrintWriter text, Tensor result, Tensor sums, RuntimeInfo info) {
    text.printf("q          %s float32%n", queries.shape());
    text.printf("k          %s float32%n", keys.shape());
    text.printf("v          %s float32%n", values.shape());
    text.printf(
        "out        %s float32 in %s%n",
        Messages.sizes(result.shape()), Messages.line(out.toString()));
    if (lse != null) {
      text.printf(
          "lse        %s float32 in %s%n",
          Messages.sizes(sums.shape()), Messages.line(lse.toString()));
    }
    String reason = kernels.reason(info);
    text.printf("kernels    %s (%s), %d threads%n", info.tier(), reason, info.threads());
  }

  private boolean printExpected(PrintWriter text, Tensor result) {
    double accepted = tolerance == null ? 1e-5 : tolerance;
    Difference difference = Difference.between(result, expected.tensor());
    boolean passed = difference.worst() <= accepted;
    text.printf(
        Locale.ROOT,
        "expect     worst difference %.3g%s, tolerance %.3g: %s%n",
        difference.worst(),
        difference.where(),
        accepted,
        verdict(passed));
    return passed;
  }

  private boolean printReference(PrintWriter text, Problem problem, Tensor result, Tensor sums) {
    ReferenceAttention.Output output =
        new ReferenceAttention.Output(kernels.layout.bshd(result), sums);
    Comparison comparison =
        ReferenceAttention.compare(problem, ReferenceAttention.anyData(problem), List.of(output))
            .getFirst();
    printWorst(text, "out", comparison.out);
    printWorst(text, "lse", comparison.lse);
    if (comparison.skippedRows > 0) {
      text.printf(
          "reference  %d rows not compared: products or sums may overflow float32%n",
          comparison.skippedRows);
    }
    return comparison.passed();
  }

  private static void printWorst(PrintWriter text, String name, Worst worst) {
    boolean passed = worst.ratio <= 1;
    text.printf(
        Locale.ROOT,
        "reference  %s: worst error %.3g, worst error over its bound %.3g%s: %s%n",
        name,
        worst.error,
        worst.ratio,
        passed ? "" : " at [batch, seq, head, element] " + Messages.sizes(worst.index),
        verdict(passed));
  }

  private static String verdict(boolean passed) {
    return passed ? "pass" : "FAIL";
  }

  /**
   * How long calls took, and what one core could do before and after them, each for as long as the
   * calls took.
   */
  private record Timing(double seconds, int calls, double peakBefore, double peakAfter) {

    static Timing measure(Runnable call, long firstNanos, GatunRuntime runtime) {
      long span = Math.max(TIMED_NANOS, LEAST_CALLS * firstNanos);
      Duration window = Duration.ofNanos(Math.min(span, MOST_PEAK_NANOS));
      double before = runtime.peakFlops(window);
      long[] nanos = new long[1024];
      int calls = 0;
      long start = System.nanoTime();
      long last = start;
      while (calls < LEAST_CALLS || last - start < TIMED_NANOS) {
        call.run();
        long now = System.nanoTime();
        if (calls == nanos.length) {
          nanos = Arrays.copyOf(nanos, 2 * calls);
        }
        nanos[calls++] = now - last;
        last = now;
      }
      double after = runtime.peakFlops(window);
      Arrays.sort(nanos, 0, calls);
      return new Timing(nanos[calls / 2] * 1e-9, calls, before, after);
    }

    void print(PrintWriter text, Problem problem, int threads) {
      double flops =
          2.0 * problem.pairs() * problem.q().size(2) * (problem.q().size(3) + problem.v().size(3));
      double peak = threads * (peakBefore + peakAfter) / 2;
      text.printf(
          Locale.ROOT,
          "time       %.3f ms, median of %d calls after one to warm up%n",
          seconds * 1e3,
          calls);
      text.printf(
          Locale.ROOT,
          "rate       %.1f GFLOP/s, %.1f %% of the FMA peak (%d x %.1f GFLOP/s before, %.1f"
              + " after)%n",
          flops / seconds * 1e-9,
          100 * flops / seconds / peak,
          threads,
          peakBefore * 1e-9,
          peakAfter * 1e-9);
    }
  }
}
