package dev.gatun.cli;

import dev.gatun.GatunRuntime;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import picocli.CommandLine.Mixin;
import picocli.CommandLine.Option;

/** The options of commands that run a model with a head of sequence classification. */
final class ClassifierOptions {
  @Option(
      names = "--model",
      paramLabel = "DIR",
      required = true,
      description =
          "A folder with config.json, tokenizer.json and safetensors of BERT, RoBERTa or"
              + " another of the families in docs/families.md, for sequence classification.")
  private Path model;

  @Option(
      names = "--file",
      paramLabel = "FILE",
      description = "Texts, one a line: UTF-8, blank lines count; - for standard input.")
  Path file;

  @Option(names = "--json", description = "Print JSON objects.")
  boolean json;

  @Mixin private FolderOptions options;

  GatunRuntime open() {
    return options.open();
  }

  <T> T load(GatunRuntime runtime, FolderOptions.Loader<T> loader) {
    return options.load(runtime, model, loader);
  }

  /** The lines of --file or of standard input. */
  List<String> lines(Streams streams) {
    Path from = TextLines.fileOrInput(file, streams);
    if (from == null) {
      throw new CliException("expected --file, or lines on standard input, which is a terminal");
    }
    List<String> lines = new ArrayList<>();
    try (TextLines opened = TextLines.open("--file", from, streams)) {
      for (String line = opened.next(); line != null; line = opened.next()) {
        lines.add(line);
      }
    }
    return lines;
  }

  /** Says on standard error what was cut: nothing is cut silently. */
  static void reportCuts(Streams streams, long cuts, int maxTokens) {
    if (cuts > 0) {
      streams
          .err()
          .println(
              "gatun: %d text%s cut to %d tokens".formatted(cuts, cuts == 1 ? "" : "s", maxTokens));
    }
  }
}
