package dev.gatun.cli;

import dev.gatun.GatunRuntime;
import dev.gatun.model.EmbeddingModelSpec;
import dev.gatun.model.Similarity;
import dev.gatun.model.TextEmbedder;
import java.io.PrintWriter;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.Locale;
import java.util.concurrent.Callable;
import picocli.CommandLine.Command;
import picocli.CommandLine.Mixin;
import picocli.CommandLine.Option;
import picocli.CommandLine.Parameters;
import picocli.CommandLine.ParentCommand;

/** {@code gatun similar}: the lines of a file that mean most nearly what queries mean. */
@Command(
    name = "similar",
    mixinStandardHelpOptions = true,
    versionProvider = Main.Version.class,
    header = "Ranks the lines of a file by how similar their vectors are to those of queries.",
    sortOptions = false,
    description = {
      "",
      "Prints the best lines, best first, as score, line number and text with tabs between them."
          + " Vectors are compared as the model's authors do it: by their cosine, unless a folder"
          + " says dot, euclidean or manhattan, where distances are negative. Lines of the same"
          + " score keep their order. With several QUERY or with --queries the number of the query"
          + " comes first, from 1 on; the lines are embedded once for all of them. With --json"
          + " there is an object for each query: {\"query\":…, \"truncated\":false,"
          + " \"results\":[{\"cosine\":0.8, \"line\":3, \"text\":…}]}, or with dot, euclidean or"
          + " manhattan in place of cosine.",
      "",
      "A text that is too long is cut, unless an option says otherwise; how many were is said on"
          + " standard error. e5-small and others are worse without --query and --passage.",
      "",
      "Without --file, lines are read from standard input: gatun similar 'a cat' <texts.txt",
      ""
    })
final class SimilarCommand implements Callable<Integer> {
  private static final int DEFAULT_COUNT = 10;

  /** A query, and what was found for it. */
  private static final class Search {
    final String query;
    final boolean truncated;
    final float[] wanted;
    final BestLines best;

    Search(String query, boolean truncated, int most, float... wanted) {
      this.query = query;
      this.truncated = truncated;
      this.wanted = wanted;
      this.best = new BestLines(most);
    }
  }

  @Parameters(paramLabel = "QUERY", arity = "0..*", description = "What to look for.")
  private List<String> queries;

  @Option(
      names = "--queries",
      paramLabel = "FILE",
      description = "Queries, one a line as in --file, instead of QUERY; - for standard input.")
  private Path queriesFile;

  @Option(
      names = "-k",
      paramLabel = "N",
      converter = ModelOptions.Count.class,
      description = "How many lines to print for a query; 10 without this option.")
  private Integer count;

  @Mixin private ModelOptions model;

  @Option(
      names = "--query",
      description =
          "Put the model's prompt for what is searched for before each query (e5-small: \"query:"
              + " \"); nothing if it has none.")
  private boolean queryPrompt;

  @Option(
      names = "--passage",
      description =
          "Put the model's prompt for what is found before each line (e5-small: \"passage: \").")
  private boolean passagePrompt;

  @Option(names = "--json", description = "Print a JSON object for each query.")
  private boolean json;

  @Mixin private Verbosity verbosity;

  @ParentCommand private Main main;

  @Override
  public Integer call() {
    Streams streams = main.streams();
    if ((queries == null) == (queriesFile == null)) {
      throw new CliException(
          "expected QUERY or --queries, got " + (queries == null ? "neither" : "both"));
    }
    Path from = TextLines.fileOrInput(model.file, streams);
    if (from == null) {
      throw new CliException(
          "expected --file, or lines on standard input, which is a terminal; for example"
              + " gatun similar 'a cat' --file texts.txt");
    }
    if (queriesFile != null
        && TextLines.isStandardInput(queriesFile)
        && TextLines.isStandardInput(from)) {
      throw new CliException(
          "--queries and --file: expected one of them from standard input, got both");
    }
    model.check();
    List<Search> searches = new ArrayList<>();
    EmbeddingModelSpec chosen = model.spec();
    Similarity similarity = chosen.similarity();
    try (Progress progress = new Progress(streams, !verbosity.isQuiet(), "reading " + from)) {
      long total = TextLines.check("--file", from, streams);
      List<String> wanted = queries != null ? queries : readQueries(streams);
      progress.set("loading " + chosen);
      try (GatunRuntime runtime = model.open();
          TextEmbedder embedder = model.load(runtime, chosen);
          TextLines lines = TextLines.open("--file", from, streams)) {
        TextBatches batches = new TextBatches(model, verbosity, embedder, streams, progress);
        batches.run(
            "query",
            queryPrompt ? chosen.queryPrefix() : null,
            TextBatches.Source.of(wanted),
            wanted.size(),
            (_, text, tokens, vector) ->
                searches.add(
                    new Search(
                        text, tokens.truncated(), count == null ? DEFAULT_COUNT : count, vector)));
        batches.run(
            "text",
            passagePrompt ? chosen.passagePrefix() : null,
            lines::next,
            total,
            (number, text, _, vector) -> {
              for (Search search : searches) {
                search.best.add(similarity.score(search.wanted, vector), number, text);
              }
            });
        progress.beside(() -> print(streams.out(), searches, similarity));
        batches.reportCuts();
        batches.reportRates();
      }
    }
    return Main.OK;
  }

  private List<String> readQueries(Streams streams) {
    List<String> read = new ArrayList<>();
    try (TextLines lines = TextLines.open("--queries", queriesFile, streams)) {
      for (String line = lines.next(); line != null; line = lines.next()) {
        read.add(line);
      }
    }
    return read;
  }

  private void print(PrintWriter out, List<Search> searches, Similarity similarity) {
    for (int n = 0; n < searches.size(); n++) {
      Search search = searches.get(n);
      if (json) {
        out.println(json(search, similarity));
        continue;
      }
      for (BestLines.Line line : search.best.ranked()) {
        if (queriesFile != null || queries.size() > 1) {
          out.print((n + 1) + "\t");
        }
        out.printf(Locale.ROOT, "%.4f\t%d\t", line.score(), line.number());
        out.println(line.text());
      }
    }
  }

  private static StringBuilder json(Search search, Similarity similarity) {
    StringBuilder line = TextJson.quote(new StringBuilder("{\"query\":"), search.query);
    line.append(",\"truncated\":").append(search.truncated).append(",\"results\":[");
    String separator = "";
    for (BestLines.Line found : search.best.ranked()) {
      line.append(separator).append("{\"").append(similarity.name().toLowerCase(Locale.ROOT));
      line.append("\":").append((float) found.score());
      line.append(",\"line\":").append(found.number()).append(",\"text\":");
      TextJson.quote(line, found.text()).append('}');
      separator = ",";
    }
    return line.append("]}");
  }
}
