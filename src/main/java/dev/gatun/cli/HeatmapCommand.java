package dev.gatun.cli;

import dev.gatun.AttentionMap;
import dev.gatun.DType;
import dev.gatun.GatunRuntime;
import dev.gatun.Tensor;
import dev.gatun.WeightFormat;
import dev.gatun.cli.ScoreOptions.Scores;
import dev.gatun.internal.Messages;
import dev.gatun.io.FileOutput;
import dev.gatun.model.EmbeddingModelSpec;
import dev.gatun.model.TextEmbedder;
import dev.gatun.model.Tokenized;
import java.io.IOException;
import java.lang.foreign.Arena;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Locale;
import java.util.Map;
import java.util.Set;
import java.util.concurrent.Callable;
import java.util.stream.IntStream;
import picocli.CommandLine.Command;
import picocli.CommandLine.ITypeConverter;
import picocli.CommandLine.Mixin;
import picocli.CommandLine.Model.CommandSpec;
import picocli.CommandLine.Model.OptionSpec;
import picocli.CommandLine.Option;
import picocli.CommandLine.ParentCommand;
import picocli.CommandLine.Spec;
import picocli.CommandLine.TypeConversionException;

/** {@code gatun heatmap}: what attends to what, as a picture. */
@Command(
    name = "heatmap",
    mixinStandardHelpOptions = true,
    versionProvider = Main.Version.class,
    header = "Draws what attends to what: a page to look around in, or an image.",
    sortOptions = false,
    description = {
      "",
      "Of a text, the weights of each layer and head of a model: gatun heatmap --text 'A cat.'"
          + " --out page.html. Of queries and keys in npy files, as gatun attend takes them, those"
          + " of each head: gatun heatmap --q q.npy --k k.npy --causal bottom-right --out map.png",
      "",
      "A page is one HTML file that needs nothing else, not even a network. An image has a square"
          + " for each weight, and a row of maps for each layer or batch row. More than --size"
          + " queries or keys are drawn together, and the matrix of all weights never exists.",
      ""
    })
final class HeatmapCommand implements Callable<Integer> {
  /** A whole number from 0 on. */
  static final class Index implements ITypeConverter<Integer> {
    @Override
    public Integer convert(String text) {
      if (text.matches("[0-9]{1,9}")) {
        return Integer.parseInt(text);
      }
      throw new TypeConversionException("expected 0 .. 999999999, got '" + text + "'");
    }
  }

  /** How the weights of several queries and keys become one. */
  enum Reduce {
    MEAN,
    MAX;

    @Override
    public String toString() {
      return name().toLowerCase(Locale.ROOT);
    }
  }

  /** Options that say what is drawn of a text. */
  private static final Set<String> OF_TEXTS =
      Set.of("--text", "--model", ModelJars.OPTION, "--weights", "--max-tokens", "--layer");

  /** Options that count for both. */
  private static final Set<String> OF_BOTH =
      Set.of(
          "--out", "--head", "--size", "--reduce", "--threads", "--tier", "--quiet", "--verbose");

  @Option(names = "--text", paramLabel = "TEXT", description = "The text.")
  private String text;

  @Mixin private ModelChoice model;

  @Option(
      names = "--max-tokens",
      paramLabel = "N",
      converter = ModelOptions.Count.class,
      description =
          "What the text is cut to, [CLS] and [SEP] included; what tokenizer.json says without this"
              + " option (minilm: 128), or 512.")
  private Integer maxTokens;

  @Option(
      names = "--layer",
      paramLabel = "L",
      converter = Index.class,
      description = "Only this layer, from 0 on.")
  private Integer layer;

  @Option(names = "--q", paramLabel = "FILE", description = "The queries.")
  private Path q;

  @Option(names = "--k", paramLabel = "FILE", description = "The keys.")
  private Path k;

  @Option(
      names = "--batch",
      paramLabel = "B",
      converter = Index.class,
      description = "Only this row of the batch, from 0 on.")
  private Integer batch;

  @Mixin private ScoreOptions scoring;

  @Mixin private KernelOptions kernels;

  @Option(
      names = "--head",
      paramLabel = "H",
      converter = Index.class,
      description = "Only this head, from 0 on.")
  private Integer head;

  @Option(
      names = "--size",
      paramLabel = "N",
      converter = ModelOptions.Count.class,
      defaultValue = "512",
      description = "The most rows and columns of a map; ${DEFAULT-VALUE} without this option.")
  private int size;

  @Option(
      names = "--reduce",
      paramLabel = "mean|max",
      defaultValue = "mean",
      description =
          "What is drawn of several queries and keys together: the mean of their weights or the"
              + " largest; ${DEFAULT-VALUE} without this option.")
  private Reduce reduce;

  @Option(
      names = "--out",
      required = true,
      paramLabel = "FILE",
      description = "Where the picture goes: a page if it ends in .html, an image if in .png.")
  private Path out;

  @Mixin private Verbosity verbosity;

  @Spec private CommandSpec spec;

  @ParentCommand private Main main;

  private boolean page;

  @Override
  public Integer call() {
    check();
    Streams streams = main.streams();
    try (Progress progress = new Progress(streams, !verbosity.isQuiet(), "drawing " + out);
        Arena arena = Arena.ofShared()) {
      NpyInput queries = text == null ? ScoreOptions.map("--q", q, kernels.layout, arena) : null;
      NpyInput keys = text == null ? ScoreOptions.map("--k", k, kernels.layout, arena) : null;
      EmbeddingModelSpec chosen = text == null ? null : model.spec();
      try (FileOutput output = FileOutput.create(out);
          GatunRuntime runtime = kernels.open()) {
        Heatmaps maps =
            text == null
                ? ofFiles(runtime, queries, keys, arena)
                : ofText(runtime, chosen, progress, arena);
        progress.set("writing " + out);
        byte[] bytes = draw(maps);
        output.write(bytes);
        output.commit();
        progress.beside(() -> streams.out().println(summary(maps, bytes.length)));
      } catch (IOException e) {
        throw CliException.of("--out", out, e);
      }
    }
    return Main.OK;
  }

  private String summary(Heatmaps maps, int bytes) {
    return String.format(
        Locale.ROOT,
        "%s: %d map%s of %d x %d, %.2f MB",
        Messages.line(out.toString()),
        maps.maps(),
        maps.maps() == 1 ? "" : "s",
        maps.mapRows(),
        maps.mapColumns(),
        bytes / 1e6);
  }

  // ---- options -------------------------------------------------------------------------------

  private void check() {
    String name = String.valueOf(out.getFileName()).toLowerCase(Locale.ROOT);
    page = name.endsWith(".html");
    if (!page && !name.endsWith(".png")) {
      throw new CliException("--out " + out + ": expected a name that ends in .html or .png");
    }
    boolean files = q != null || k != null;
    if (text == null && !files) {
      throw new CliException("expected --text, or --q and --k, got neither");
    }
    if (text != null && files) {
      throw new CliException("expected --text, or --q and --k, got both");
    }
    if (files && (q == null || k == null)) {
      throw new CliException("expected --q and --k, got only " + (q == null ? "--k" : "--q"));
    }
    for (OptionSpec given : spec.commandLine().getParseResult().matchedOptions()) {
      String option = given.longestName();
      if (!OF_BOTH.contains(option) && OF_TEXTS.contains(option) != (text != null)) {
        throw new CliException(
            "%s: %s"
                .formatted(
                    option,
                    text != null
                        ? "is for --q and --k; the model says how its attention is computed"
                        : "is for --text"));
      }
    }
    scoring.check();
    if (!page && ModuleLayer.boot().findModule("java.desktop").isEmpty()) {
      throw new CliException(
          "--out %s: an image needs the module java.desktop, which this Java lacks or was not told"
                  .formatted(out)
              + " to use (--add-modules java.desktop); a name that ends in .html needs it not");
    }
    Map<String, Path> inputs = new LinkedHashMap<>();
    inputs.put("--q", q);
    inputs.put("--k", k);
    scoring.addFiles(inputs);
    OutputFiles.refuseSame("--out", out, inputs);
  }

  /** All from 0 on, or the one that was chosen. */
  private static List<Integer> chosen(String option, Integer only, long count) {
    if (only == null) {
      return IntStream.range(0, Math.toIntExact(count)).boxed().toList();
    }
    if (only >= count) {
      throw new CliException("%s: expected 0 .. %d, got %d".formatted(option, count - 1, only));
    }
    return List.of(only);
  }

  private Tensor allocate(
      Arena arena, List<Integer> rows, List<Integer> heads, long seqQ, long seqK) {
    long mapRows = Math.min(size, seqQ);
    long mapColumns = Math.min(size, seqK);
    long maps = (long) rows.size() * heads.size();
    if (maps > 0 && mapRows * mapColumns > HeatmapPage.MOST_WEIGHTS / maps) {
      throw new CliException(
          "--size: expected at most %d weights, got %d maps of %d x %d; choose a %s or a head, or a smaller size"
              .formatted(
                  HeatmapPage.MOST_WEIGHTS,
                  maps,
                  mapRows,
                  mapColumns,
                  text == null ? "batch row" : "layer"));
    }
    return Tensor.allocate(arena, DType.FLOAT32, rows.size(), heads.size(), mapRows, mapColumns);
  }

  // ---- what is drawn -------------------------------------------------------------------------

  private Heatmaps ofText(
      GatunRuntime runtime, EmbeddingModelSpec chosen, Progress progress, Arena arena) {
    progress.set("loading " + chosen);
    try (TextEmbedder embedder = model.load(runtime, chosen)) {
      Tokenized tokenized = tokenize(embedder);
      var layers = embedder.encoder().textEncoder().layers();
      int count = tokenized.count();
      if (count == 0) {
        throw new CliException("--text: expected a text with tokens, got none");
      }
      List<Integer> rows = chosen("--layer", layer, layers.size());
      List<Integer> heads = chosen("--head", head, layers.getFirst().selfAttention().heads());
      Tensor weights = allocate(arena, rows, heads, count, count);
      progress.set("computing " + count + " tokens");
      embedder.attention(
          tokenized,
          (n, attention, queries, keys) -> {
            int row = rows.indexOf(n);
            if (row >= 0) {
              Scores scores = new Scores(null, null, attention.causal(), Changes.of(attention));
              compute(
                  runtime,
                  scores,
                  queries.reshape(1, queries.size(0), queries.size(1), queries.size(2)),
                  keys.reshape(1, keys.size(0), keys.size(1), keys.size(2)),
                  weights.slice(0, row, row + 1));
            }
          });
      List<String> facts = new ArrayList<>();
      facts.add(chosen.toString());
      if (model.weights != WeightFormat.AUTO) {
        facts.add(WeightFacts.word(model.weights) + " weights");
      }
      facts.add(
          "%d layers × %d heads"
              .formatted(layers.size(), layers.getFirst().selfAttention().heads()));
      facts.add(count + " tokens" + cut(tokenized, progress));
      addReduction(facts, weights, count, count);
      List<String> tokens = embedder.tokens(tokenized);
      return new Heatmaps(
          chosen.toString(),
          text,
          facts,
          "layer",
          rows,
          heads,
          weights,
          count,
          count,
          reduce.toString(),
          tokens,
          tokens);
    }
  }

  private Tokenized tokenize(TextEmbedder embedder) {
    try {
      return maxTokens == null ? embedder.tokenize(text) : embedder.tokenize(text, maxTokens);
    } catch (IllegalArgumentException e) {
      throw new CliException(e.getMessage().replace("maxTokens", "--max-tokens"), e);
    }
  }

  /** Nothing is cut silently. */
  private String cut(Tokenized tokenized, Progress progress) {
    if (!tokenized.truncated()) {
      return "";
    }
    if (!verbosity.isQuiet()) {
      progress.note(
          "the text was cut from %d to %d tokens"
              .formatted(tokenized.originalCount(), tokenized.count()));
    }
    return ", cut from " + tokenized.originalCount();
  }

  private Heatmaps ofFiles(GatunRuntime runtime, NpyInput queries, NpyInput keys, Arena arena) {
    ScoreOptions.expectFit(queries, keys, kernels.layout);
    Tensor allQ = kernels.layout.bshd(queries.tensor());
    Tensor allK = kernels.layout.bshd(keys.tensor());
    for (NpyInput input : List.of(queries, keys)) {
      if (input.tensor().elements() == 0) {
        throw input.refused("something to draw", "shape " + input.shape());
      }
    }
    Scores scores = scoring.scores(queries, keys, kernels.layout, arena);
    List<Integer> rows = chosen("--batch", batch, allQ.size(0));
    List<Integer> heads = chosen("--head", head, allQ.size(2));
    Tensor weights = allocate(arena, rows, heads, allQ.size(1), allK.size(1));
    for (int row = 0; row < rows.size(); row++) {
      int b = rows.get(row);
      compute(
          runtime,
          scores.ofBatch(b),
          allQ.slice(0, b, b + 1),
          allK.slice(0, b, b + 1),
          weights.slice(0, row, row + 1));
    }
    List<String> facts = new ArrayList<>();
    facts.add("q " + queries.shape());
    facts.add("k " + keys.shape());
    for (OptionSpec given : spec.commandLine().getParseResult().matchedOptions()) {
      if (!OF_BOTH.contains(given.longestName())
          && !Set.of("--q", "--k").contains(given.longestName())) {
        facts.add(given.longestName() + " " + String.join(" ", given.originalStringValues()));
      }
    }
    addReduction(facts, weights, allQ.size(1), allK.size(1));
    return new Heatmaps(
        q.getFileName() + ", " + k.getFileName(),
        null,
        facts,
        "batch",
        rows,
        heads,
        weights,
        allQ.size(1),
        allK.size(1),
        reduce.toString(),
        null,
        null);
  }

  private void addReduction(List<String> facts, Tensor weights, long seqQ, long seqK) {
    if (weights.size(2) < seqQ || weights.size(3) < seqK) {
      facts.add(
          "%d × %d drawn as %d × %d by the %s"
              .formatted(seqQ, seqK, weights.size(2), weights.size(3), reduce));
    }
  }

  /** The maps of one batch row, of the head that was chosen or of all. */
  private void compute(GatunRuntime runtime, Scores scores, Tensor q, Tensor k, Tensor map) {
    Scores part = scores;
    if (head != null) {
      long group = head / (q.size(2) / k.size(2));
      part = scores.ofHead(head);
      q = q.slice(2, head, head + 1);
      k = k.slice(2, group, group + 1);
    }
    try (Arena passing = Arena.ofConfined()) {
      AttentionMap selection = reduce == Reduce.MAX ? AttentionMap.max() : AttentionMap.mean();
      runtime.attention(part.spec()).map(q, k, map, selection, part.options(passing));
    } catch (IllegalArgumentException e) {
      throw new CliException(e.getMessage(), e);
    }
  }

  private byte[] draw(Heatmaps maps) {
    if (page) {
      return HeatmapPage.bytes(maps);
    }
    if (HeatmapImage.pixels(maps) > HeatmapImage.MOST_PIXELS) {
      throw new CliException(
          "--size: expected an image of at most %d pixels, got %d"
              .formatted(HeatmapImage.MOST_PIXELS, HeatmapImage.pixels(maps)));
    }
    return HeatmapImage.bytes(maps);
  }
}
