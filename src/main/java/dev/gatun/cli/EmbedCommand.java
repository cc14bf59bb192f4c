package dev.gatun.cli;

import dev.gatun.GatunRuntime;
import dev.gatun.Tensor;
import dev.gatun.model.EmbeddingModelSpec;
import dev.gatun.model.TextEmbedder;
import dev.gatun.model.Tokenized;
import java.io.PrintWriter;
import java.nio.file.Path;
import java.util.List;
import java.util.concurrent.Callable;
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
          + " is 1, with a space between them, or with --json an object {\"text\":…, \"tokens\":n,"
          + " \"truncated\":false, \"vector\":[…]}. A text that is too long is cut; how many were"
          + " is said on standard error, or with --json in the objects. e5-small expects \"query:"
          + " \" or \"passage: \" at the beginning of a text, and it is yours to put it there.",
      "",
      "Without TEXT and --file, texts are read from standard input: echo 'A cat.' | gatun embed",
      ""
    })
final class EmbedCommand implements Callable<Integer> {
  @Parameters(paramLabel = "TEXT", arity = "0..*", description = "Texts.")
  private List<String> texts;

  @Mixin private ModelOptions model;

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
          || model.maxTokens != null) {
        throw new CliException("--demo: expected no other options than --threads and --quiet");
      }
      return new EmbedDemo(streams, verbosity.isQuiet()).run(model) ? Main.OK : Main.FAILED;
    }
    if (texts != null && model.file != null) {
      throw new CliException("expected TEXT or --file, got both");
    }
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
        TextBatches batches = new TextBatches(model, verbosity, embedder, streams, progress);
        PrintWriter out = streams.out();
        batches.run(
            "text",
            from == null ? TextBatches.Source.of(texts) : lines::next,
            total,
            (_, text, tokens, vectors, row) ->
                out.println(
                    json ? json(text, tokens, vectors, row) : TextJson.numbers(vectors, row, ' ')));
        if (!json) {
          batches.reportCuts();
        }
        batches.reportRates();
      }
    }
    return Main.OK;
  }

  private static StringBuilder json(String text, Tokenized tokens, Tensor vectors, int row) {
    StringBuilder line = TextJson.quote(new StringBuilder("{\"text\":"), text);
    line.append(",\"tokens\":").append(tokens.count());
    line.append(",\"truncated\":").append(tokens.truncated());
    return line.append(",\"vector\":[").append(TextJson.numbers(vectors, row, ',')).append("]}");
  }
}
