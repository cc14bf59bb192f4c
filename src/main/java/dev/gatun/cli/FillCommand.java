package dev.gatun.cli;

import dev.gatun.GatunRuntime;
import dev.gatun.model.Fill;
import dev.gatun.model.MaskedLanguageModel;
import java.io.PrintWriter;
import java.nio.file.Path;
import java.util.List;
import java.util.Locale;
import java.util.concurrent.Callable;
import picocli.CommandLine.Command;
import picocli.CommandLine.Mixin;
import picocli.CommandLine.Option;
import picocli.CommandLine.Parameters;
import picocli.CommandLine.ParentCommand;

/** {@code gatun fill}: from a text with masks to the tokens that may stand there. */
@Command(
    name = "fill",
    mixinStandardHelpOptions = true,
    versionProvider = Main.Version.class,
    header = "Fills the masks of a text with a masked language model.",
    sortOptions = false,
    description = {
      "",
      "Prints the likeliest tokens for each mask of TEXT, a line each: probability, token, and the"
          + " text with it, between tabs; \\n and \\ are escaped. An empty line stands between two"
          + " masks. With --json each mask gets a line, an array of objects {\"token\":…, \"id\":n,"
          + " \"probability\":p, \"text\":…}.",
      "",
    })
final class FillCommand implements Callable<Integer> {

  @Parameters(
      paramLabel = "TEXT",
      description = "With the mask of the model, [MASK] or <mask>, once or more.")
  private String text;

  @Option(
      names = "--model",
      paramLabel = "DIR",
      required = true,
      description =
          "A folder with config.json, tokenizer.json and safetensors of BERT, RoBERTa or the like,"
              + " with the head of masked language modeling.")
  private Path model;

  @Option(
      names = "--top",
      paramLabel = "K",
      converter = ModelOptions.Count.class,
      defaultValue = "5",
      description = "Tokens for each mask; ${DEFAULT-VALUE} without this option.")
  private int top;

  @Option(names = "--json", description = "Print a JSON array for each mask.")
  private boolean json;

  @Mixin private FolderOptions options;

  @ParentCommand private Main main;

  @Override
  public Integer call() {
    PrintWriter out = main.streams().out();
    try (GatunRuntime runtime = options.open();
        MaskedLanguageModel loaded = options.load(runtime, model, MaskedLanguageModel::load)) {
      List<List<Fill>> masks = fill(loaded);
      for (int n = 0; n < masks.size(); n++) {
        if (json) {
          out.println(json(masks.get(n)));
        } else {
          if (n > 0) {
            out.println();
          }
          masks.get(n).forEach(each -> out.println(line(each)));
        }
      }
    }
    return Main.OK;
  }

  private List<List<Fill>> fill(MaskedLanguageModel loaded) {
    try {
      return loaded.fill(text, top);
    } catch (IllegalArgumentException e) {
      throw new CliException(
          e.getMessage().replaceFirst("^text:", "TEXT:").replaceFirst("^k:", "--top:"), e);
    }
  }

  private static String line(Fill fill) {
    return "%s\t%s\t%s"
        .formatted(
            String.format(Locale.ROOT, "%.4f", fill.probability()),
            escaped(fill.token()),
            escaped(fill.text()));
  }

  private static String escaped(String text) {
    return text.replace("\\", "\\\\").replace("\n", "\\n");
  }

  private static StringBuilder json(List<Fill> fills) {
    StringBuilder line = new StringBuilder("[");
    for (Fill fill : fills) {
      line.append(line.length() > 1 ? "," : "");
      TextJson.quote(line.append("{\"token\":"), fill.token());
      line.append(",\"id\":").append(fill.id());
      line.append(",\"probability\":").append(fill.probability());
      TextJson.quote(line.append(",\"text\":"), fill.text()).append('}');
    }
    return line.append(']');
  }
}
