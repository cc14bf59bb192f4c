package dev.gatun.model;

import dev.gatun.internal.Json;
import dev.gatun.nn.Pooling;
import java.io.IOException;
import java.nio.file.FileSystemException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Set;
import java.util.stream.Stream;

/**
 * What the files of a sentence-transformers folder say about the way from a text to its vector,
 * apart from weights. Everything in them is either followed or refused.
 *
 * @param config of the encoder, or null if the folder has none or it is a family's to read
 * @param tokenizer what is said about the tokenizer beside its own file
 * @param pooling how rows become one
 * @param width that pooling expects of a row, or -1
 * @param steps what follows, in this order
 * @param modules folders of modules that were read, apart from the encoder's
 * @param prompts what its authors put before queries and passages, by those names
 */
record ModelFolder(
    ModelConfig config,
    TokenizerConfig tokenizer,
    Pooling pooling,
    int width,
    List<Step> steps,
    List<Path> modules,
    Map<String, String> prompts) {

  /** What is done with a pooled vector. */
  sealed interface Step {}

  /** Division by the L2 norm. */
  record Normalize() implements Step {}

  /** A linear layer, whose files are in a folder of its own. */
  record Dense(Path folder, DenseConfig config) implements Step {}

  private static final String MODULES = "modules.json";
  private static final String POOLING = "1_Pooling";
  private static final String CONFIG = "config.json";

  private static final String SENTENCE_TRANSFORMERS = "config_sentence_transformers.json";
  private static final String TYPES = "sentence_transformers.models.";

  /** What sentence-transformers calls its modules since version 6; all else is below TYPES. */
  private static final Map<String, String> NEWER_TYPES =
      Map.of(
          "sentence_transformers.base.modules.transformer.Transformer", "Transformer",
          "sentence_transformers.base.modules.dense.Dense", "Dense",
          "sentence_transformers.base.modules.normalize.Normalize", "Normalize",
          "sentence_transformers.sentence_transformer.modules.normalize.Normalize", "Normalize",
          "sentence_transformers.sentence_transformer.modules.pooling.Pooling", "Pooling");

  /** Keys of pooling, with what a file that has no such key means by it. */
  private static final String MODE = "pooling_mode_";

  private static final Set<String> MODES =
      Set.of(
          "cls_token",
          "mean_tokens",
          "max_tokens",
          "mean_sqrt_len_tokens",
          "weightedmean_tokens",
          "lasttoken");

  /** What is known about a model in a jar. */
  static ModelFolder known(Pooling pooling) {
    return new ModelFolder(
        null, TokenizerConfig.NONE, pooling, -1, List.of(new Normalize()), List.of(), Map.of());
  }

  /** Reads what is there. Throws IOException with the name of a file that says what is not done. */
  static ModelFolder read(Path folder) throws IOException {
    ModelConfig config = Checkpoint.isIn(folder) ? null : ModelConfig.read(folder);
    TokenizerConfig tokenizer = TokenizerConfig.read(folder);
    Map<String, String> prompts = prompts(folder);
    Path modules = folder.resolve(MODULES);
    if (Files.exists(modules)) {
      return Descriptions.read(
          modules, json -> described(folder, config, tokenizer, prompts, json));
    }
    refuseUnnamedModules(folder);
    Path pooling = folder.resolve(POOLING).resolve(CONFIG);
    PoolingConfig pooled =
        Files.exists(pooling)
            ? Descriptions.read(pooling, PoolingConfig::read)
            : new PoolingConfig(Pooling.MEAN, -1);
    return new ModelFolder(
        config,
        tokenizer,
        pooled.pooling,
        pooled.width,
        List.of(new Normalize()),
        List.of(pooling.getParent()),
        prompts);
  }

  // ---- modules -------------------------------------------------------------------------------

  private static ModelFolder described(
      Path folder,
      ModelConfig config,
      TokenizerConfig tokenizer,
      Map<String, String> prompts,
      Json modules)
      throws IOException {
    List<Json> all = modules.elements();
    PoolingConfig pooling = null;
    List<Step> steps = new ArrayList<>();
    List<Path> folders = new ArrayList<>();
    for (int i = 0; i < all.size(); i++) {
      Json module = all.get(i);
      module.only(Set.of("idx", "name", "path", "type"));
      if (!module.find("idx").isNull()
          && module.find("idx").integer(Integer.MIN_VALUE, Integer.MAX_VALUE) != i) {
        throw module.find("idx").expected("%d, its place".formatted(i));
      }
      String type = module.get("type").string();
      Path path = path(folder, module.get("path"));
      String kind =
          type.startsWith(TYPES)
              ? type.substring(TYPES.length())
              : NEWER_TYPES.getOrDefault(type, type);
      if (i == 0 && kind.equals("Transformer")) {
        requireRoot(folder, path, module);
      } else if (i == 1 && kind.equals("Pooling")) {
        pooling = Descriptions.read(path.resolve(CONFIG), PoolingConfig::read);
      } else if (i > 1 && kind.equals("Normalize")) {
        steps.add(new Normalize());
      } else if (i > 1 && kind.equals("Dense")) {
        steps.add(new Dense(path, Descriptions.read(path.resolve(CONFIG), DenseConfig::read)));
      } else {
        String expected = i == 0 ? "Transformer" : i == 1 ? "Pooling" : "Dense or Normalize";
        throw module.get("type").expected(TYPES + expected + " in place %d".formatted(i));
      }
      if (i > 0) {
        folders.add(path);
      }
    }
    if (pooling == null) {
      throw modules.expected("a Transformer and a Pooling");
    }
    return new ModelFolder(
        config, tokenizer, pooling.pooling, pooling.width, steps, folders, prompts);
  }

  private static Path path(Path folder, Json path) {
    String text = path.string();
    if (!text.matches("[\\w.-]*") || text.startsWith(".")) {
      throw path.expected("the name of a folder beside it");
    }
    return folder.resolve(text);
  }

  private static void requireRoot(Path folder, Path path, Json module) {
    if (!path.equals(folder.resolve(""))) {
      throw module.get("path").expected("\"\": the encoder's files beside modules.json");
    }
  }

  /** Nothing says what they are for, and the vector would be another one with them. */
  private static void refuseUnnamedModules(Path folder) throws IOException {
    try (Stream<Path> files = Files.list(folder)) {
      for (Path file : files.toList()) {
        String name = file.getFileName().toString();
        if (name.matches("\\d+_\\w+")
            && !name.equals(POOLING)
            && !name.endsWith("_Normalize")
            && Files.isDirectory(file)) {
          throw new FileSystemException(
              file.toString(),
              null,
              "expected a %s beside it that says what the module is for".formatted(MODULES));
        }
      }
    }
  }

  /** What a Pooling module says: its mode, and the size of a row or -1. */
  private record PoolingConfig(Pooling pooling, int width) {
    private static final String WIDTH = "word_embedding_dimension";
    private static final String NEWER_MODE = "pooling_mode";
    private static final String NEWER_WIDTH = "embedding_dimension";

    static PoolingConfig read(Json json) {
      json.find("include_prompt").boolOr(false); // of prompts, which requireNoPrompt looks at
      if (json.names().contains(NEWER_MODE)) {
        return readNewer(json);
      }
      List<String> modes = new ArrayList<>();
      for (String key : json.names()) {
        Json value = json.find(key);
        if (key.startsWith(MODE) && MODES.contains(key.substring(MODE.length()))) {
          if (value.bool()) {
            modes.add(key.substring(MODE.length()));
          }
        } else if (!Set.of(WIDTH, "include_prompt").contains(key)) {
          throw new IllegalArgumentException(
              "%s: expected the keys of a Pooling module, got %s".formatted(key, value));
        }
      }
      if (!json.names().contains(MODE + "mean_tokens")) {
        modes.add("mean_tokens"); // what sentence-transformers does where nothing is said
      }
      return new PoolingConfig(
          switch (String.join("+", modes)) {
            case "mean_tokens" -> Pooling.MEAN;
            case "cls_token" -> Pooling.CLS;
            default ->
                throw new IllegalArgumentException(
                    "pooling_mode: expected mean_tokens or cls_token, got " + modes);
          },
          width(json, WIDTH));
    }

    /** As version 6 writes it: one key for the mode, and another name for the width. */
    private static PoolingConfig readNewer(Json json) {
      json.only(Set.of(NEWER_MODE, NEWER_WIDTH, "include_prompt"));
      Json mode = json.get(NEWER_MODE);
      Pooling pooling =
          switch (mode.string()) {
            case "mean" -> Pooling.MEAN;
            case "cls" -> Pooling.CLS;
            default -> throw mode.expected("\"mean\" or \"cls\"");
          };
      return new PoolingConfig(pooling, width(json, NEWER_WIDTH));
    }

    private static int width(Json json, String key) {
      Json width = json.find(key);
      return width.isNull() ? -1 : (int) width.integer(1, Integer.MAX_VALUE);
    }
  }

  // ---- prompts -------------------------------------------------------------------------------

  /**
   * Texts are embedded as they are given: a prompt that is put before each of them is refused.
   * Returns those that have a name.
   */
  private static Map<String, String> prompts(Path folder) throws IOException {
    Path file = folder.resolve(SENTENCE_TRANSFORMERS);
    Map<String, String> prompts = new LinkedHashMap<>();
    if (Files.exists(file)) {
      Descriptions.read(
          file,
          json -> {
            json.only(
                Set.of(
                    "__version__",
                    "model_type",
                    "prompts",
                    "default_prompt_name",
                    "similarity_fn_name"));
            Json type = json.find("model_type");
            if (!type.isNull() && !type.string().equals("SentenceTransformer")) {
              throw type.expected("\"SentenceTransformer\"");
            }
            Json name = json.find("default_prompt_name");
            if (!name.isNull()) {
              Json prompt = json.get("prompts").get(name.string());
              if (!prompt.string().isEmpty()) {
                throw name.expected("null: Gatun puts no prompt before texts");
              }
            }
            Json named = json.find("prompts");
            if (!named.isNull()) {
              named.forEach((key, prompt) -> prompts.put(key, prompt.string()));
            }
            return null;
          });
    }
    return prompts;
  }

  /** The first prompt that has one of some names, or none. */
  String prompt(String... names) {
    for (String name : names) {
      String prompt = prompts.get(name);
      if (prompt != null) {
        return prompt;
      }
    }
    return "";
  }
}
