package dev.gatun.cli;

import dev.gatun.GatunRuntime;
import dev.gatun.Tensor;
import dev.gatun.model.EmbeddingModelSpec;
import dev.gatun.model.TextEmbedder;
import dev.gatun.model.Tokenized;
import java.io.PrintWriter;
import java.lang.foreign.ValueLayout;
import java.nio.charset.CharsetEncoder;
import java.nio.file.Path;
import java.util.List;
import java.util.concurrent.Callable;
import picocli.CommandLine.Command;
import picocli.CommandLine.Mixin;
import picocli.CommandLine.Model.CommandSpec;
import picocli.CommandLine.Option;
import picocli.CommandLine.Parameters;
import picocli.CommandLine.Spec;

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
          + " \"truncated\":false, \"vector\":[…]}. A text that is too long is cut; that is said on"
          + " standard error, or with --json in the object. e5-small expects \"query: \" or"
          + " \"passage: \" at the beginning of a text, and it is yours to put it there.",
      ""
    })
final class EmbedCommand implements Callable<Integer> {
  @Parameters(paramLabel = "TEXT", arity = "0..*", description = "Texts.")
  private List<String> texts;

  @Option(
      names = "--file",
      paramLabel = "FILE",
      converter = Converters.File.class,
      description =
          "Texts, one a line: UTF-8, a line ends at \\n and nowhere else, blank lines count.")
  private Path file;

  @Mixin private ModelOptions model;

  @Option(names = "--json", description = "Print a JSON object for each text.")
  private boolean json;

  @Option(
      names = "--demo",
      description =
          "Embed a few sentences with minilm: their similarities, the time of each beside ONNX"
              + " Runtime's, and the heap bytes of a call.")
  private boolean demo;

  @Spec private CommandSpec spec;

  @Override
  public Integer call() {
    PrintWriter out = spec.commandLine().getOut();
    PrintWriter err = spec.commandLine().getErr();
    if (demo) {
      if (texts != null || file != null || json || model.model != null || model.maxTokens != null) {
        throw new CliException("--demo: expected no other option than --threads");
      }
      return new EmbedDemo(out, err).run(model) ? Main.OK : Main.FAILED;
    }
    if (texts != null && file != null) {
      throw new CliException("expected TEXT or --file, came both");
    }
    if (texts == null && file == null) {
      throw new CliException("expected TEXT or --file, came neither");
    }
    EmbeddingModelSpec chosen = model.spec();
    try (Progress progress = new Progress(err, "reading " + file)) {
      long total = file == null ? texts.size() : TextLines.check(file);
      progress.set("loading " + chosen);
      try (GatunRuntime runtime = Runtimes.open(model.threads, null);
          TextEmbedder embedder = model.load(runtime, chosen);
          TextLines lines = file == null ? null : TextLines.open(file)) {
        TextBatches.Source source = file == null ? TextBatches.Source.of(texts) : lines::next;
        TextBatches.run(
            model,
            embedder,
            source,
            total,
            progress,
            out,
            (number, text, tokens, vectors, row) -> {
              if (json) {
                out.println(json(text, tokens, vectors, row));
              } else {
                reportCut(err, number, tokens);
                out.println(numbers(vectors, row, ' '));
              }
            });
      }
    }
    return Main.OK;
  }

  /** Nothing is cut silently. */
  static void reportCut(PrintWriter err, long number, Tokenized tokens) {
    if (tokens.truncated()) {
      err.printf(
          "gatun: text %d was cut from %d to %d tokens%n",
          number, tokens.originalCount(), tokens.count());
    }
  }

  private static StringBuilder numbers(Tensor vectors, int row, char separator) {
    int dimension = Math.toIntExact(vectors.size(1));
    StringBuilder line = new StringBuilder(13 * dimension);
    for (int i = 0; i < dimension; i++) {
      if (i > 0) {
        line.append(separator);
      }
      line.append(vectors.segment().getAtIndex(ValueLayout.JAVA_FLOAT, (long) row * dimension + i));
    }
    return line;
  }

  private static StringBuilder json(String text, Tokenized tokens, Tensor vectors, int row) {
    StringBuilder line = new StringBuilder("{\"text\":");
    quote(line, text);
    line.append(",\"tokens\":").append(tokens.count());
    line.append(",\"truncated\":").append(tokens.truncated());
    return line.append(",\"vector\":[").append(numbers(vectors, row, ',')).append("]}");
  }

  /** What standard output cannot hold is escaped, not replaced. */
  private static void quote(StringBuilder to, String text) {
    CharsetEncoder encoder = System.out.charset().newEncoder();
    to.append('"');
    for (int i = 0; i < text.length(); ) {
      int c = text.codePointAt(i);
      int count = Character.charCount(c);
      if (c == '"' || c == '\\') {
        to.append('\\').append((char) c);
      } else if (c >= ' ' && c <= '~'
          || c > '\u00a0' && encoder.canEncode(text.substring(i, i + count))) {
        to.appendCodePoint(c);
      } else {
        for (int n = i; n < i + count; n++) {
          to.append("\\u%04x".formatted((int) text.charAt(n)));
        }
      }
      i += count;
    }
    to.append('"');
  }
}
