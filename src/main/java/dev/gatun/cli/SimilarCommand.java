package dev.gatun.cli;

import dev.gatun.DType;
import dev.gatun.GatunRuntime;
import dev.gatun.Tensor;
import dev.gatun.model.EmbeddingModelSpec;
import dev.gatun.model.TextEmbedder;
import dev.gatun.model.Tokenized;
import java.io.PrintWriter;
import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Comparator;
import java.util.HashMap;
import java.util.List;
import java.util.Locale;
import java.util.Map;
import java.util.PriorityQueue;
import java.util.concurrent.Callable;
import picocli.CommandLine.Command;
import picocli.CommandLine.Mixin;
import picocli.CommandLine.Model.CommandSpec;
import picocli.CommandLine.Option;
import picocli.CommandLine.Parameters;
import picocli.CommandLine.Spec;

/** {@code gatun similar}: the lines of a file that mean most nearly what a query means. */
@Command(
    name = "similar",
    mixinStandardHelpOptions = true,
    versionProvider = Main.Version.class,
    header = "Ranks the lines of a file by the cosine of their vectors with that of a query.",
    sortOptions = false,
    description = {
      "",
      "Prints the best lines, best first, as cosine, line number and text with tabs between them."
          + " Lines of the same cosine keep their order. A text that is too long is cut, which is"
          + " said on standard error. e5-small expects \"query: \" at the beginning of the query"
          + " and \"passage: \" at that of each line, and it is yours to put them there.",
      ""
    })
final class SimilarCommand implements Callable<Integer> {
  private static final int DEFAULT_COUNT = 10;

  private record Line(double cosine, long number, String text) {}

  /** The best first. */
  private static final Comparator<Line> ORDER =
      Comparator.comparingDouble(Line::cosine).reversed().thenComparingLong(Line::number);

  /**
   * The best lines so far. The last place of a cosine depends on the place in a batch: what would
   * shuffle equal lines, so that those get the cosine of the first.
   */
  private static final class Best {
    private final int most;
    private final PriorityQueue<Line> lines = new PriorityQueue<>(ORDER.reversed());
    private final Map<String, Line> first = new HashMap<>();

    Best(int most) {
      this.most = most;
    }

    void add(double cosine, long number, String text) {
      Line equal = first.get(text);
      Line line = new Line(equal == null ? cosine : equal.cosine, number, text);
      first.putIfAbsent(text, line);
      lines.add(line);
      if (lines.size() > most) {
        Line worst = lines.remove();
        first.remove(worst.text, worst); // of equal lines the first is the last to go
      }
    }

    List<Line> ranked() {
      List<Line> ranked = new ArrayList<>(lines);
      ranked.sort(ORDER);
      return ranked;
    }
  }

  @Parameters(paramLabel = "QUERY", description = "What to look for.")
  private String query;

  @Option(
      names = "--file",
      required = true,
      paramLabel = "FILE",
      converter = Converters.File.class,
      description =
          "Texts, one a line: UTF-8, a line ends at \\n and nowhere else, blank lines count.")
  private Path file;

  @Option(
      names = "-k",
      paramLabel = "N",
      converter = ModelOptions.Count.class,
      description = "How many lines to print; 10 without this option.")
  private Integer count;

  @Mixin private ModelOptions model;

  @Spec private CommandSpec spec;

  @Override
  public Integer call() {
    PrintWriter out = spec.commandLine().getOut();
    PrintWriter err = spec.commandLine().getErr();
    Best best = new Best(count == null ? DEFAULT_COUNT : count);
    EmbeddingModelSpec chosen = model.spec();
    try (Progress progress = new Progress(err, "reading " + file)) {
      long total = TextLines.check(file);
      progress.set("loading " + chosen);
      try (GatunRuntime runtime = Runtimes.open(model.threads, null);
          TextEmbedder embedder = model.load(runtime, chosen);
          TextLines lines = TextLines.open(file)) {
        double[] wanted = embedQuery(embedder, err);
        TextBatches.run(
            model,
            embedder,
            lines::next,
            total,
            progress,
            out,
            (number, text, tokens, vectors, row) -> {
              EmbedCommand.reportCut(err, number, tokens);
              best.add(cosine(wanted, vectors, row), number, text);
            });
      }
    }
    for (Line line : best.ranked()) {
      out.printf(Locale.ROOT, "%.4f\t%d\t", line.cosine, line.number);
      out.println(line.text);
    }
    return Main.OK;
  }

  private double[] embedQuery(TextEmbedder embedder, PrintWriter err) {
    Tokenized tokens = model.tokenize(embedder, query);
    if (tokens.truncated()) {
      err.printf(
          "gatun: the query was cut from %d to %d tokens%n",
          tokens.originalCount(), tokens.count());
    }
    try (Arena arena = Arena.ofConfined()) {
      Tensor vector = Tensor.allocate(arena, DType.FLOAT32, 1, embedder.dimension());
      embedder.embed(List.of(tokens), vector);
      double[] wanted = new double[embedder.dimension()];
      for (int i = 0; i < wanted.length; i++) {
        wanted[i] = vector.segment().getAtIndex(ValueLayout.JAVA_FLOAT, i);
      }
      return wanted;
    }
  }

  /** Not all models give vectors of length 1. A vector of zeros is like nothing. */
  private static double cosine(double[] wanted, Tensor vectors, int row) {
    MemorySegment memory = vectors.segment();
    double sum = 0;
    double length = 0;
    double wantedLength = 0;
    for (int i = 0; i < wanted.length; i++) {
      float x = memory.getAtIndex(ValueLayout.JAVA_FLOAT, (long) row * wanted.length + i);
      sum += wanted[i] * x;
      length += (double) x * x;
      wantedLength += wanted[i] * wanted[i];
    }
    return sum == 0 ? 0 : sum / Math.sqrt(length * wantedLength);
  }
}
