package dev.gatun.cli;

import dev.gatun.GatunRuntime;
import dev.gatun.model.TextClassifier;
import java.util.List;
import java.util.concurrent.Callable;
import picocli.CommandLine.Command;
import picocli.CommandLine.Mixin;
import picocli.CommandLine.Parameters;
import picocli.CommandLine.ParentCommand;

/** {@code gatun classify}: the labels of texts. */
@Command(
    name = "classify",
    mixinStandardHelpOptions = true,
    versionProvider = Main.Version.class,
    header = "Prints the labels that a classifier gives texts.",
    sortOptions = false,
    description = {
      "",
      "Prints the most probable label of each text, as probability, label and text with tabs"
          + " between them; with --json an object with all labels for each text: {\"text\":…,"
          + " \"truncated\":false, \"labels\":[{\"label\":…, \"probability\":0.9}]}. Without TEXT"
          + " and --file, lines are read from standard input.",
      ""
    })
final class ClassifyCommand implements Callable<Integer> {

  @Parameters(paramLabel = "TEXT", arity = "0..*", description = "What to classify.")
  private List<String> texts;

  @Mixin private ClassifierOptions options;

  @ParentCommand private Main main;

  @Override
  public Integer call() {
    Streams streams = main.streams();
    if (texts != null && options.file != null) {
      throw new CliException("expected TEXT or --file, got both");
    }
    List<String> all = texts != null ? texts : options.lines(streams);
    try (GatunRuntime runtime = options.open();
        TextClassifier model = options.load(runtime, TextClassifier::load)) {
      List<List<TextClassifier.Label>> labels = model.classifyAll(all);
      long cuts = 0;
      for (int n = 0; n < all.size(); n++) {
        boolean cut = model.tokenize(all.get(n)).truncated();
        cuts += cut ? 1 : 0;
        if (options.json) {
          streams.out().println(json(all.get(n), cut, labels.get(n)));
        } else {
          TextClassifier.Label best = labels.get(n).getFirst();
          streams.out().println(best.probability() + "\t" + best.name() + "\t" + all.get(n));
        }
      }
      ClassifierOptions.reportCuts(streams, cuts, model.maxTokens());
    }
    return Main.OK;
  }

  private static StringBuilder json(String text, boolean cut, List<TextClassifier.Label> labels) {
    StringBuilder json = TextJson.quote(new StringBuilder("{\"text\":"), text);
    json.append(",\"truncated\":").append(cut).append(",\"labels\":[");
    String separator = "";
    for (TextClassifier.Label label : labels) {
      TextJson.quote(json.append(separator).append("{\"label\":"), label.name());
      json.append(",\"probability\":").append(label.probability()).append('}');
      separator = ",";
    }
    return json.append("]}");
  }
}
