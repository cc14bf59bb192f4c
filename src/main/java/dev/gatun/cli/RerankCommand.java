package dev.gatun.cli;

import dev.gatun.GatunRuntime;
import dev.gatun.model.CrossEncoder;
import java.util.List;
import java.util.concurrent.Callable;
import picocli.CommandLine.Command;
import picocli.CommandLine.Mixin;
import picocli.CommandLine.Parameters;
import picocli.CommandLine.ParentCommand;

/** {@code gatun rerank}: the lines of a file, sorted by how well they fit a query. */
@Command(
    name = "rerank",
    mixinStandardHelpOptions = true,
    versionProvider = Main.Version.class,
    header = "Sorts the lines of a file by the scores that a cross-encoder gives them.",
    sortOptions = false,
    description = {
      "",
      "Prints all lines, best first, as score, line number and text with tabs between them; with"
          + " --json an object {\"query\":…, \"results\":[{\"score\":0.8, \"line\":3,"
          + " \"text\":…}]}. Without --file, lines are read from standard input.",
      ""
    })
final class RerankCommand implements Callable<Integer> {

  @Parameters(paramLabel = "QUERY", description = "What the lines are to fit.")
  private String query;

  @Mixin private ClassifierOptions options;

  @ParentCommand private Main main;

  @Override
  public Integer call() {
    Streams streams = main.streams();
    List<String> lines = options.lines(streams);
    try (GatunRuntime runtime = options.open();
        CrossEncoder model = options.load(runtime, CrossEncoder::load)) {
      List<CrossEncoder.Ranked> ranked = model.rank(query, lines);
      if (options.json) {
        streams.out().println(json(lines, ranked));
      } else {
        for (CrossEncoder.Ranked line : ranked) {
          streams.out().print(line.score() + "\t" + (line.index() + 1) + "\t");
          streams.out().println(lines.get(line.index()));
        }
      }
      long cuts = lines.stream().filter(line -> model.tokenize(query, line).truncated()).count();
      ClassifierOptions.reportCuts(streams, cuts, model.maxTokens());
    }
    return Main.OK;
  }

  private StringBuilder json(List<String> lines, List<CrossEncoder.Ranked> ranked) {
    StringBuilder json = TextJson.quote(new StringBuilder("{\"query\":"), query);
    json.append(",\"results\":[");
    String separator = "";
    for (CrossEncoder.Ranked line : ranked) {
      json.append(separator).append("{\"score\":").append(line.score());
      json.append(",\"line\":").append(line.index() + 1).append(",\"text\":");
      TextJson.quote(json, lines.get(line.index())).append('}');
      separator = ",";
    }
    return json.append("]}");
  }
}
