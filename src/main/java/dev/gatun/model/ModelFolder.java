package dev.gatun.model;

import dev.gatun.internal.Json;
import dev.gatun.nn.Pooling;
import java.io.IOException;
import java.nio.file.FileSystemException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.Set;
import java.util.regex.Pattern;
import java.util.stream.Stream;

/**
 * What the files of a sentence-transformers folder say about the way from a text to its vector,
 * apart from weights. Everything in them is either followed or refused.
 *
 * @param config of the encoder, or null if the folder has none or it is a family's to read
 * @param tokenizer what is said about the tokenizer beside its own file
 * @param pooling how rows become one
 * @param steps what follows, in this order
 * @param modules folders of modules that were read, apart from the encoder's
 * @param use what its authors put before texts, and how they compare vectors
 */
record ModelFolder(
    ModelConfig config,
    TokenizerConfig tokenizer,
    PoolingConfig pooling,
    List<Step> steps,
    List<Path> modules,
    SentenceTransformersConfig use) {

  /** What is done with a pooled vector. */
  sealed interface Step {}

  /** Division by the L2 norm. */
  record Normalize() implements Step {}

  /** A linear layer, whose files are in a folder of its own. */
  record Dense(Path folder, DenseConfig config) implements Step {}

  /** Layer normalization, whose files are in a folder of its own. */
  record LayerNorm(Path folder, int dimension) implements Step {}

  static final String MODULES = "modules.json";
  private static final String POOLING = "1_Pooling";
  private static final String CONFIG = "config.json";

  private static final Pattern FOLDER = Pattern.compile("[\\w.-]*");

  private static final String TYPES = "sentence_transformers.models.";

  /** What sentence-transformers calls its modules since version 6; all else is below TYPES. */
  private static final Map<String, String> NEWER_TYPES =
      Map.of(
          "sentence_transformers.base.modules.transformer.Transformer", "Transformer",
          "sentence_transformers.base.modules.dense.Dense", "Dense",
          "sentence_transformers.base.modules.normalize.Normalize", "Normalize",
          "sentence_transformers.sentence_transformer.modules.layer_norm.LayerNorm", "LayerNorm",
          "sentence_transformers.sentence_transformer.modules.normalize.Normalize", "Normalize",
          "sentence_transformers.sentence_transformer.modules.pooling.Pooling", "Pooling");

  /** What is known about a model in a jar. */
  static ModelFolder known(Pooling pooling) {
    return new ModelFolder(
        null,
        TokenizerConfig.NONE,
        new PoolingConfig(List.of(pooling), -1, true),
        List.of(new Normalize()),
        List.of(),
        SentenceTransformersConfig.NONE);
  }

  /** Reads what is there. Throws IOException with the name of a file that says what is not done. */
  static ModelFolder read(Path folder) throws IOException {
    ModelConfig config = Checkpoint.isIn(folder) ? null : ModelConfig.read(folder);
    TokenizerConfig tokenizer = TokenizerConfig.read(folder);
    SentenceTransformersConfig use = SentenceTransformersConfig.read(folder);
    Path modules = folder.resolve(MODULES);
    if (Files.exists(modules)) {
      return Descriptions.read(modules, json -> described(folder, config, tokenizer, use, json));
    }
    refuseUnnamedModules(folder);
    Path pooling = folder.resolve(POOLING).resolve(CONFIG);
    PoolingConfig pooled =
        Files.exists(pooling)
            ? Descriptions.read(pooling, PoolingConfig::read)
            : PoolingConfig.MEAN;
    return new ModelFolder(
        config, tokenizer, pooled, List.of(new Normalize()), List.of(pooling.getParent()), use);
  }

  // ---- modules -------------------------------------------------------------------------------

  private static ModelFolder described(
      Path folder,
      ModelConfig config,
      TokenizerConfig tokenizer,
      SentenceTransformersConfig use,
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
        throw module.find("idx").expected(i + ", its place");
      }
      String type = module.get("type").string();
      Path path = path(folder, module.get("path"));
      String kind = kind(type);
      if (i == 0 && kind.equals("Transformer")) {
        requireRoot(folder, path, module);
      } else if (i == 1 && kind.equals("Pooling")) {
        pooling = Descriptions.read(path.resolve(CONFIG), PoolingConfig::read);
      } else if (i > 1 && kind.equals("Normalize")) {
        steps.add(new Normalize());
      } else if (i > 1 && kind.equals("Dense")) {
        steps.add(new Dense(path, Descriptions.read(path.resolve(CONFIG), DenseConfig::read)));
      } else if (i > 1 && kind.equals("LayerNorm")) {
        steps.add(
            new LayerNorm(path, Descriptions.read(path.resolve(CONFIG), ModelFolder::dimension)));
      } else {
        String expected =
            i == 0 ? "Transformer" : i == 1 ? "Pooling" : "Dense, LayerNorm or Normalize";
        throw module.get("type").expected(TYPES + expected + " in place %d".formatted(i));
      }
      if (i > 0) {
        folders.add(path);
      }
    }
    if (pooling == null) {
      throw modules.expected("a Transformer and a Pooling");
    }
    return new ModelFolder(config, tokenizer, pooling, steps, folders, use);
  }

  /** The class that modules.json names, without its package; all of an unknown one. */
  static String kind(String type) {
    return type.startsWith(TYPES)
        ? type.substring(TYPES.length())
        : NEWER_TYPES.getOrDefault(type, type);
  }

  /** What a LayerNorm module says: the size of what it normalizes. */
  private static int dimension(Json json) {
    json.only(Set.of("dimension"));
    return (int) json.get("dimension").integer(1, Integer.MAX_VALUE);
  }

  static Path path(Path folder, Json path) {
    String text = path.string();
    if (!FOLDER.matcher(text).matches() || text.startsWith(".")) {
      throw path.expected("the name of a folder beside it");
    }
    return folder.resolve(text);
  }

  static void requireRoot(Path folder, Path path, Json module) {
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
}
