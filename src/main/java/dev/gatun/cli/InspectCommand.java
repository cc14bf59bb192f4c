package dev.gatun.cli;

import com.fasterxml.jackson.jr.ob.JSON;
import dev.gatun.GatunRuntime;
import dev.gatun.WeightFormat;
import dev.gatun.internal.Messages;
import dev.gatun.model.Clip;
import dev.gatun.model.EmbeddingModelSpec;
import dev.gatun.model.FolderInspection;
import dev.gatun.model.FolderInspection.FileUse;
import dev.gatun.model.FolderInspection.Kind;
import dev.gatun.model.LanguageModel;
import dev.gatun.model.MaskedLanguageModel;
import dev.gatun.model.TextClassifier;
import dev.gatun.model.TextEmbedder;
import dev.gatun.model.TokenClassifier;
import dev.gatun.model.Vit;
import java.io.IOException;
import java.io.PrintWriter;
import java.lang.foreign.Arena;
import java.nio.file.NotDirectoryException;
import java.nio.file.Path;
import java.util.EnumMap;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Locale;
import java.util.Map;
import java.util.concurrent.Callable;
import java.util.stream.Collectors;
import picocli.CommandLine.Command;
import picocli.CommandLine.Mixin;
import picocli.CommandLine.Option;
import picocli.CommandLine.Parameters;
import picocli.CommandLine.ParentCommand;

/** {@code gatun inspect}: what is in a model's folder, and whether it loads. */
@Command(
    name = "inspect",
    mixinStandardHelpOptions = true,
    versionProvider = Main.Version.class,
    header = "Says what is in a model's folder, which files are read, and whether it loads.",
    sortOptions = false,
    description = {
      "",
      "Prints the family, a line for each file (name, size, what it is read for, how many numbers"
          + " of which type), what is missing, and what the folder loads as, which is tried. If it"
          + " loads as nothing, standard error says why, and the exit code is 2.",
      "",
      "With --json it is one object: folder, family, architectures, files, missing, loads,"
          + " refusals.",
      ""
    })
final class InspectCommand implements Callable<Integer> {
  /** What a kind is called. */
  private static final Map<Kind, String> NAMES =
      new EnumMap<>(
          Map.of(
              Kind.EMBEDDER, "an embedder",
              Kind.LANGUAGE_MODEL, "a language model",
              Kind.TEXT_CLASSIFIER, "a classifier of texts",
              Kind.TOKEN_CLASSIFIER, "a classifier of tokens",
              Kind.MASKED_LANGUAGE_MODEL, "a masked language model",
              Kind.IMAGE_CLASSIFIER, "a classifier of images",
              Kind.IMAGES_AND_TEXTS, "a model that compares images and texts"));

  @Parameters(paramLabel = "DIR", description = "A model's folder.")
  private Path folder;

  @Option(names = "--json", description = "Print a JSON object.")
  private boolean json;

  @Mixin private ThreadsOption threads;

  @ParentCommand private Main main;

  @Override
  public Integer call() throws IOException {
    FolderInspection found;
    try {
      found = FolderInspection.of(folder);
    } catch (NotDirectoryException e) {
      throw new CliException("DIR " + folder + ": expected a folder", e);
    } catch (IOException e) {
      throw new CliException("DIR " + ModelChoice.reason(e), e);
    }
    Map<Kind, Map<String, Object>> loads = new EnumMap<>(Kind.class);
    Map<Kind, String> refusals = new EnumMap<>(Kind.class);
    try (GatunRuntime runtime = threads.open()) {
      for (Kind kind : found.kinds()) {
        try {
          loads.put(kind, load(runtime, kind));
        } catch (IOException e) {
          refusals.put(kind, ModelChoice.reason(e));
        } catch (IllegalArgumentException e) {
          refusals.put(kind, e.getMessage());
        }
      }
    }
    PrintWriter out = main.streams().out();
    if (json) {
      out.println(
          JSON.std.with(JSON.Feature.PRETTY_PRINT_OUTPUT).asString(facts(found, loads, refusals)));
    } else {
      print(out, found, loads);
      if (!loads.isEmpty()) { // otherwise they are what is said last
        refusals.forEach((kind, reason) -> row(out, "not", NAMES.get(kind) + ": " + reason));
      }
    }
    if (loads.isEmpty()) {
      throw new CliException(
          refusals.entrySet().stream()
              .map(no -> "not %s: %s".formatted(NAMES.get(no.getKey()), no.getValue()))
              .collect(Collectors.joining("; ")));
    }
    return Main.OK;
  }

  // ---- loading

  /** Loads the folder, and says what came out. */
  private Map<String, Object> load(GatunRuntime runtime, Kind kind) throws IOException {
    return switch (kind) {
      case EMBEDDER -> embedder(runtime);
      case LANGUAGE_MODEL -> languageModel(runtime);
      case TEXT_CLASSIFIER -> {
        try (TextClassifier model = TextClassifier.load(runtime, folder)) {
          yield labels(model.labels(), model.maxTokens());
        }
      }
      case TOKEN_CLASSIFIER -> {
        try (TokenClassifier model = TokenClassifier.load(runtime, folder)) {
          yield labels(model.labels(), model.maxTokens());
        }
      }
      case MASKED_LANGUAGE_MODEL -> {
        try (MaskedLanguageModel model = MaskedLanguageModel.load(runtime, folder)) {
          yield Map.of("mask", model.mask(), "maxTokens", model.maxTokens());
        }
      }
      case IMAGE_CLASSIFIER -> {
        try (Arena arena = Arena.ofShared()) {
          Vit.load(runtime, folder, arena, WeightFormat.AUTO);
          yield Map.of("class", "Vit");
        }
      }
      case IMAGES_AND_TEXTS -> {
        try (Arena arena = Arena.ofShared()) {
          Clip.load(runtime, folder, arena, WeightFormat.AUTO);
          yield Map.of("class", "Clip");
        }
      }
    };
  }

  private static Map<String, Object> labels(List<String> labels, int maxTokens) {
    return Map.of("labels", labels, "maxTokens", maxTokens);
  }

  private Map<String, Object> embedder(GatunRuntime runtime) throws IOException {
    EmbeddingModelSpec spec = EmbeddingModelSpec.folder(folder);
    try (TextEmbedder model = TextEmbedder.load(runtime, spec)) {
      Map<String, Object> facts = new LinkedHashMap<>();
      facts.put("dimensions", model.dimension());
      facts.put("maxTokens", model.maxTokens());
      facts.put("pooling", spec.poolings().stream().map(InspectCommand::word).toList());
      facts.put("normalized", spec.isNormalized());
      facts.put("similarity", word(spec.similarity()));
      facts.put("prompt", spec.defaultPrompt());
      facts.put("queryPrompt", spec.queryPrefix());
      facts.put("passagePrompt", spec.passagePrefix());
      return facts;
    }
  }

  private Map<String, Object> languageModel(GatunRuntime runtime) throws IOException {
    try (LanguageModel model = LanguageModel.load(runtime, folder)) {
      Map<String, Object> facts = new LinkedHashMap<>();
      facts.put("vocabulary", model.decoder().vocabulary());
      facts.put("positions", model.decoder().positions());
      facts.put("endTokens", model.endTokens());
      return facts;
    }
  }

  static String word(Enum<?> value) {
    return value.name().toLowerCase(Locale.ROOT).replace('_', '-');
  }

  // ---- what is printed

  private static Map<String, Object> facts(
      FolderInspection found, Map<Kind, Map<String, Object>> loads, Map<Kind, String> refusals) {
    Map<String, Object> facts = new LinkedHashMap<>();
    facts.put("folder", found.folder().toString());
    facts.put("family", found.family());
    facts.put("architectures", found.architectures());
    facts.put("files", found.files().stream().map(InspectCommand::facts).toList());
    facts.put("missing", found.missing());
    facts.put("loads", words(loads));
    facts.put("refusals", words(refusals));
    return facts;
  }

  private static Map<String, Object> facts(FileUse file) {
    Map<String, Object> facts = new LinkedHashMap<>();
    facts.put("name", file.name());
    facts.put("bytes", file.bytes());
    facts.put("use", file.use());
    facts.put("tensors", file.tensors());
    return facts;
  }

  private static Map<String, Object> words(Map<Kind, ?> kinds) {
    Map<String, Object> words = new LinkedHashMap<>();
    kinds.forEach((kind, value) -> words.put(word(kind), value));
    return words;
  }

  private static void print(
      PrintWriter out, FolderInspection found, Map<Kind, Map<String, Object>> loads) {
    row(
        out,
        "family",
        (found.family().isEmpty() ? "unknown" : found.family())
            + (found.architectures().isEmpty()
                ? ""
                : " (" + String.join(", ", found.architectures()) + ")"));
    int width = found.files().stream().mapToInt(file -> file.name().length()).max().orElse(1);
    for (FileUse file : found.files()) {
      row(
          out,
          "file",
          String.format(
              Locale.ROOT,
              "%-" + width + "s %9.2f MB  %s%s",
              file.name(),
              file.bytes() / 1e6,
              file.use().isEmpty() ? "not read" : file.use(),
              file.tensors().entrySet().stream()
                  .map(type -> ", %s x %d".formatted(type.getKey(), type.getValue()))
                  .collect(Collectors.joining())));
    }
    found.missing().forEach(missing -> row(out, "missing", missing));
    loads.forEach(
        (kind, facts) -> row(out, "loads as", NAMES.get(kind) + ": " + sentence(kind, facts)));
  }

  /** One line whatever a file is called. */
  private static void row(PrintWriter out, String name, String text) {
    out.printf("%-9s %s%n", name, Messages.line(text));
  }

  private static String sentence(Kind kind, Map<String, Object> facts) {
    return switch (kind) {
      case EMBEDDER ->
          "%s dimensions, max %s tokens, pooling %s, similarity %s%s"
              .formatted(
                  facts.get("dimensions"),
                  facts.get("maxTokens"),
                  ((List<?>) facts.get("pooling"))
                      .stream().map(String::valueOf).collect(Collectors.joining(" and ")),
                  facts.get("similarity"),
                  Boolean.TRUE.equals(facts.get("normalized")) ? ", length 1" : "");
      case LANGUAGE_MODEL ->
          "%s tokens in the vocabulary, %s positions, ends at %s"
              .formatted(facts.get("vocabulary"), facts.get("positions"), facts.get("endTokens"));
      case TEXT_CLASSIFIER, TOKEN_CLASSIFIER ->
          "labels %s, max %s tokens".formatted(facts.get("labels"), facts.get("maxTokens"));
      case MASKED_LANGUAGE_MODEL ->
          "the mask is %s, max %s tokens".formatted(facts.get("mask"), facts.get("maxTokens"));
      case IMAGE_CLASSIFIER, IMAGES_AND_TEXTS -> "dev.gatun.model." + facts.get("class");
    };
  }
}
