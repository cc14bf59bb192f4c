package dev.gatun.cli;

import dev.gatun.GatunRuntime;
import dev.gatun.model.Generation;
import dev.gatun.model.GenerationOptions;
import dev.gatun.model.LanguageModel;
import dev.gatun.nn.Sampling;
import java.io.PrintWriter;
import java.nio.file.Path;
import java.time.Duration;
import java.util.ArrayList;
import java.util.List;
import java.util.Locale;
import java.util.concurrent.Callable;
import picocli.CommandLine.Command;
import picocli.CommandLine.Mixin;
import picocli.CommandLine.Option;
import picocli.CommandLine.Parameters;
import picocli.CommandLine.ParentCommand;

/** {@code gatun generate}: from a prompt to the text that goes on. */
@Command(
    name = "generate",
    mixinStandardHelpOptions = true,
    versionProvider = Main.Version.class,
    header = "Continues a text with a language model.",
    sortOptions = false,
    description = {
      "",
      "Prints the text after PROMPT as it is generated, without the prompt, or with --json an"
          + " object {\"prompt\":…, \"text\":…, \"promptTokens\":n, \"tokens\":n,"
          + " \"reason\":\"LENGTH\"} when it is complete. With --file each line is a prompt; all"
          + " are continued together, and each gets a line with its text, in which \\n"
          + " and \\ are escaped. Without options the best token is taken always. Tokens per second"
          + " are said on standard error.",
      "",
    })
final class GenerateCommand implements Callable<Integer> {

  @Parameters(paramLabel = "PROMPT", arity = "0..1", description = "The text to continue.")
  private String prompt;

  @Option(
      names = "--model",
      paramLabel = "DIR",
      required = true,
      description =
          "A folder with config.json, tokenizer.json and safetensors of a decoder, or with a model"
              + " and its vocabulary in llama2.c's format.")
  private Path model;

  @Option(
      names = "--file",
      paramLabel = "FILE",
      description = "Prompts, one a line; - for standard input.")
  private Path file;

  @Option(
      names = "--max-tokens",
      paramLabel = "N",
      converter = ModelOptions.Count.class,
      defaultValue = "256",
      description = "Tokens to generate at most; ${DEFAULT-VALUE} without this option.")
  private int maxTokens;

  @Option(
      names = "--temperature",
      paramLabel = "T",
      defaultValue = "0",
      description = "How freely tokens are drawn; 0, as without this option: the best always.")
  private double temperature;

  @Option(
      names = "--top-k",
      paramLabel = "K",
      defaultValue = "0",
      description = "Draw from the K best tokens only; 0: from all.")
  private int topK;

  @Option(
      names = "--top-p",
      paramLabel = "P",
      defaultValue = "1",
      description = "Draw from the fewest best tokens that have the probability P together.")
  private double topP;

  @Option(
      names = "--seed",
      paramLabel = "N",
      defaultValue = "0",
      description = "Of what is drawn: the same seed gives the same text.")
  private long seed;

  @Option(
      names = "--stop",
      paramLabel = "TEXT",
      description = "End before this text; may be given several times.")
  private List<String> stops = List.of();

  @Option(names = "--json", description = "Print a JSON object for each prompt.")
  private boolean json;

  @Mixin private FolderOptions loading;

  @Mixin private Verbosity verbosity;

  @ParentCommand private Main main;

  @Override
  public Integer call() {
    Streams streams = main.streams();
    if ((prompt == null) == (file == null)) {
      throw new CliException(
          "expected PROMPT or --file, got " + (prompt == null ? "neither" : "both"));
    }
    GenerationOptions options = options();
    List<String> prompts = file == null ? List.of(prompt) : lines(streams);
    try (GatunRuntime runtime = loading.open();
        LanguageModel loaded = loading.load(runtime, model, LanguageModel::load)) {
      List<Generation> texts =
          file == null
              ? List.of(one(loaded, options, streams.out()))
              : all(loaded, options, prompts);
      for (int n = 0; n < texts.size(); n++) {
        if (json) {
          streams.out().println(json(prompts.get(n), texts.get(n)));
        } else if (file != null) {
          streams.out().println(texts.get(n).text().replace("\\", "\\\\").replace("\n", "\\n"));
        }
      }
      if (!verbosity.isQuiet() && !texts.isEmpty()) {
        streams.err().println(rates(texts));
      }
    }
    return Main.OK;
  }

  private GenerationOptions options() {
    try {
      Sampling sampling = new Sampling(temperature, topK, topP, seed);
      return new GenerationOptions(maxTokens, sampling, stops, List.of());
    } catch (IllegalArgumentException e) {
      String message = e.getMessage();
      throw new CliException(
          message
              .replaceFirst("^temperature", "--temperature")
              .replaceFirst("^topK", "--top-k")
              .replaceFirst("^topP", "--top-p")
              .replaceFirst("^stops", "--stop"),
          e);
    }
  }

  private List<String> lines(Streams streams) {
    TextLines.check("--file", file, streams);
    List<String> lines = new ArrayList<>();
    try (TextLines from = TextLines.open("--file", file, streams)) {
      for (String line = from.next(); line != null; line = from.next()) {
        lines.add(line);
      }
    }
    return lines;
  }

  private Generation one(LanguageModel loaded, GenerationOptions options, PrintWriter out) {
    checkPrompt(loaded, "PROMPT", prompt);
    Generation text =
        loaded.generate(
            prompt,
            options,
            piece -> {
              if (!json) {
                out.print(piece);
                out.flush();
              }
              return !out.checkError();
            });
    if (!json) {
      out.println();
    }
    return text;
  }

  private static List<Generation> all(
      LanguageModel loaded, GenerationOptions options, List<String> prompts) {
    for (int n = 0; n < prompts.size(); n++) {
      checkPrompt(loaded, "--file, line " + (n + 1), prompts.get(n));
    }
    return loaded.generate(prompts, options);
  }

  private static void checkPrompt(LanguageModel loaded, String name, String prompt) {
    try {
      loaded.tokenize(prompt);
    } catch (IllegalArgumentException e) {
      throw new CliException(e.getMessage().replaceFirst("^prompt", name), e);
    }
  }

  private static StringBuilder json(String prompt, Generation text) {
    StringBuilder line = TextJson.quote(new StringBuilder("{\"prompt\":"), prompt);
    TextJson.quote(line.append(",\"text\":"), text.text());
    line.append(",\"promptTokens\":").append(text.promptTokens());
    line.append(",\"tokens\":").append(text.tokens().size());
    return line.append(",\"reason\":\"").append(text.reason()).append("\"}");
  }

  /** The first token of each text is the prompts' time, the others are those of decoding. */
  private static String rates(List<Generation> texts) {
    long prompts = texts.stream().mapToLong(Generation::promptTokens).sum();
    long tokens = texts.stream().mapToLong(text -> text.tokens().size()).sum();
    Duration prefill = texts.getFirst().prefill();
    Duration decoding =
        texts.stream().map(Generation::decoding).max(Duration::compareTo).orElseThrow();
    return "prompt: %d tokens, %s; text: %d tokens, %s"
        .formatted(
            prompts,
            rate(prompts, prefill),
            tokens,
            rate(Math.max(0, tokens - texts.size()), decoding));
  }

  private static String rate(long tokens, Duration time) {
    return time.isZero()
        ? "no time"
        : String.format(Locale.ROOT, "%.1f tokens/s", tokens * 1e9 / time.toNanos());
  }
}
