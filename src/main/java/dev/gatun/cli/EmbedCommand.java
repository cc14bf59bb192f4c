package dev.gatun.cli;

import dev.gatun.GatunRuntime;
import dev.gatun.model.EmbeddingModelSpec;
import dev.gatun.model.EmbeddingQuantizer;
import dev.gatun.model.OnTooLong;
import dev.gatun.model.TextEmbedder;
import dev.gatun.model.TextTokens;
import java.io.PrintWriter;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.concurrent.Callable;
import picocli.CommandLine.ArgGroup;
import picocli.CommandLine.Command;
import picocli.CommandLine.Mixin;
import picocli.CommandLine.Option;
import picocli.CommandLine.Parameters;
import picocli.CommandLine.ParentCommand;

/** {@code gatun embed}: from texts to vectors. */
@Command(
    name = "embed",
    mixinStandardHelpOptions = true,
    versionProvider = Main.Version.class,
    header = "Turns texts into vectors whose dot product says how much they mean the same.",
    sortOptions = false,
    description = {
      "",
      "Prints one line for each text, in the order given: the numbers of its vector, whose length"
          + " is 1 for most models, with a space between them, or with --json an object"
          + " {\"text\":…, \"tokens\":n, \"truncated\":false, \"vector\":[…]}, with"
          + " \"chunks\":n behind truncated for --on-too-long chunk. A text that is too long is"
          + " cut, unless an option says otherwise; how many were is said on standard error, or"
          + " with --json in the objects. e5-small and others are worse without --query or"
          + " --passage.",
      "",
      "Without TEXT and --file, texts are read from standard input: echo 'A cat.' | gatun embed",
      ""
    })
final class EmbedCommand implements Callable<Integer> {
  @Parameters(paramLabel = "TEXT", arity = "0..*", description = "Texts.")
  private List<String> texts;

  @Mixin private ModelOptions model;

  /** One of the two. */
  private static final class Prompt {
    @Option(
        names = "--query",
        description =
            "Put the model's prompt for what is searched for before each text (e5-small: \"query:"
                + " \"); nothing if it has none.")
    private boolean query;

    @Option(
        names = "--passage",
        description = "The same with the prompt for what is found (e5-small: \"passage: \").")
    private boolean passage;
  }

  @ArgGroup(exclusive = true, multiplicity = "0..1")
  private Prompt prompt;

  @Option(
      names = "--output-type",
      paramLabel = "TYPE",
      description =
          "float32 (without this option); int8 or uint8, for each number of a vector from its"
              + " least to its greatest value in these texts, which are all kept in memory until"
              + " then, so that bytes of other texts are not comparable; binary or ubinary, a bit"
              + " for each number that is greater than 0, eight in a byte.")
  private OutputType type;

  @Option(names = "--json", description = "Print a JSON object for each text.")
  private boolean json;

  @Option(
      names = "--demo",
      description =
          "Embed a few sentences with minilm: their similarities, the time of each beside ONNX"
              + " Runtime's, and the heap bytes of a call.")
  private boolean demo;

  @Mixin private Verbosity verbosity;

  @ParentCommand private Main main;

  @Override
  public Integer call() {
    Streams streams = main.streams();
    if (demo) {
      if (texts != null
          || model.file != null
          || json
          || verbosity.isVerbose()
          || model.model != null
          || model.changesVectors()
          || prompt != null
          || type != null) {
        throw new CliException("--demo: expected no other options than --threads and --quiet");
      }
      return new EmbedDemo(streams, verbosity.isQuiet()).run(model) ? Main.OK : Main.FAILED;
    }
    if (texts != null && model.file != null) {
      throw new CliException("expected TEXT or --file, got both");
    }
    model.check();
    Path from = texts == null ? TextLines.fileOrInput(model.file, streams) : null;
    if (texts == null && from == null) {
      throw new CliException(
          "expected TEXT or --file, got neither, and standard input is a terminal; for example"
              + " gatun embed 'A cat.', gatun embed --file texts.txt, echo 'A cat.' | gatun embed");
    }
    EmbeddingModelSpec chosen = model.spec();
    try (Progress progress = new Progress(streams, !verbosity.isQuiet(), "reading " + from)) {
      long total = from == null ? texts.size() : TextLines.check("--file", from, streams);
      progress.set("loading " + chosen);
      try (GatunRuntime runtime = model.open();
          TextEmbedder embedder = model.load(runtime, chosen);
          TextLines lines = from == null ? null : TextLines.open("--file", from, streams)) {
        OutputType printed = type == null ? OutputType.FLOAT32 : type;
        printed.require(model.dimensions(embedder));
        TextBatches batches = new TextBatches(model, verbosity, embedder, streams, progress);
        PrintWriter out = streams.out();
        List<Held> held = new ArrayList<>();
        EmbeddingQuantizer quantizer = printed.isRanged() ? null : printed.quantizer();
        batches.run(
            "text",
            prompt(chosen),
            from == null ? TextBatches.Source.of(texts) : lines::next,
            total,
            (_, text, tokens, vector) -> {
              Held one = new Held(text, tokens, vector);
              if (printed.isRanged()) {
                held.add(one);
              } else {
                out.println(line(one, printed, quantizer));
              }
            });
        if (!held.isEmpty()) {
          progress.beside(() -> print(held, printed, out));
        }
        if (!json) {
          batches.reportCuts();
        }
        batches.reportRates();
      }
    }
    return Main.OK;
  }

  /** Null for what the model says. */
  private String prompt(EmbeddingModelSpec chosen) {
    if (prompt == null) {
      return null;
    }
    return prompt.query ? chosen.queryPrefix() : chosen.passagePrefix();
  }

  private void print(List<Held> held, OutputType printed, PrintWriter out) {
    EmbeddingQuantizer quantizer;
    try {
      quantizer = printed.quantizer(held.stream().map(Held::vector).toArray(float[][]::new));
    } catch (IllegalArgumentException e) {
      throw new CliException("--output-type %s: %s".formatted(printed, e.getMessage()), e);
    }
    for (Held one : held) {
      out.println(line(one, printed, quantizer));
    }
  }

  /** A text with its vector. */
  private record Held(String text, TextTokens tokens, float[] vector) {}

  private StringBuilder line(Held one, OutputType printed, EmbeddingQuantizer quantizer) {
    char separator = json ? ',' : ' ';
    StringBuilder numbers =
        quantizer == null
            ? TextJson.numbers(separator, one.vector)
            : printed.numbers(quantizer.quantize(one.vector), separator);
    if (!json) {
      return numbers;
    }
    StringBuilder line = TextJson.quote(new StringBuilder("{\"text\":"), one.text);
    line.append(",\"tokens\":").append(one.tokens.count());
    line.append(",\"truncated\":").append(one.tokens.truncated());
    if (model.onTooLong == OnTooLong.CHUNK) {
      line.append(",\"chunks\":").append(one.tokens.chunks());
    }
    return line.append(",\"vector\":[").append(numbers).append("]}");
  }
}
