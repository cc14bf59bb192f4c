package dev.gatun.model;

import dev.gatun.internal.Json;
import dev.gatun.io.Safetensors;
import dev.gatun.io.SafetensorsFile;
import java.io.IOException;
import java.lang.foreign.Arena;
import java.nio.file.Files;
import java.nio.file.NotDirectoryException;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Comparator;
import java.util.EnumSet;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Objects;
import java.util.Set;
import java.util.TreeMap;
import java.util.stream.Stream;

/**
 * What is in a model's folder, and which of its files Gatun reads: for looking at. Nothing is
 * loaded, and the headers of safetensors files are all that is read of weights.
 *
 * @param folder that was looked at
 * @param family {@code model_type} of config.json; empty if it says none
 * @param architectures {@code architectures} of config.json
 * @param files all, by their names, those in folders of modules included
 * @param missing what a model's folder needs and this one does not have, with the reason
 * @param packedAs what {@link ModelPacker} has packed its weights as; null if they are not packed
 */
public record FolderInspection(
    Path folder,
    String family,
    List<String> architectures,
    List<FileUse> files,
    List<String> missing,
    Kind packedAs) {

  /**
   * A file.
   *
   * @param name below the folder
   * @param bytes its size
   * @param use what it is read for; empty if it is not read
   * @param tensors of a safetensors file, how many elements are of which type; else empty
   */
  public record FileUse(String name, long bytes, String use, Map<String, Long> tensors) {}

  /** What a folder may be loaded as. */
  public enum Kind {
    /** By {@link TextEmbedder#load}. */
    EMBEDDER,
    /** By {@link LanguageModel#load(dev.gatun.GatunRuntime, Path)}. */
    LANGUAGE_MODEL,
    /** By {@link TextClassifier#load(dev.gatun.GatunRuntime, Path)}. */
    TEXT_CLASSIFIER,
    /** By {@link TokenClassifier#load(dev.gatun.GatunRuntime, Path)}. */
    TOKEN_CLASSIFIER,
    /** By {@link MaskedLanguageModel#load(dev.gatun.GatunRuntime, Path)}. */
    MASKED_LANGUAGE_MODEL,
    /** By {@link Vit#load}. */
    IMAGE_CLASSIFIER,
    /** By {@link Clip#load}. */
    IMAGES_AND_TEXTS;

    /** {@return whether a model of this kind sees images} */
    public boolean ofImages() {
      return this == IMAGE_CLASSIFIER || this == IMAGES_AND_TEXTS;
    }
  }

  /** What architectures of transformers end in. */
  private static final Map<String, Kind> HEADS =
      Map.of(
          "ForSequenceClassification", Kind.TEXT_CLASSIFIER,
          "ForTokenClassification", Kind.TOKEN_CLASSIFIER,
          "ForMaskedLM", Kind.MASKED_LANGUAGE_MODEL);

  private static final String TOKENIZER = "tokenizer.json";
  private static final String USE_OF_WEIGHTS = "weights";
  private static final int DEPTH = 2;

  private static final List<String> WEIGHTS =
      List.of(
          PackedFile.NAME, Checkpoint.WEIGHTS, Checkpoint.INDEX, "model.onnx", "onnx/model.onnx");

  private static final Map<String, String> USES =
      Map.of(
          Checkpoint.CONFIG,
          "family and sizes",
          TOKENIZER,
          "tokenizer",
          "tokenizer_config.json",
          "how texts are cut, held against tokenizer.json",
          "modules.json",
          "what follows the encoder",
          "config_sentence_transformers.json",
          "prompts",
          "generation_config.json",
          "tokens that end a text");

  /**
   * Looks at a folder.
   *
   * @param folder of a model
   * @return what is in it
   * @throws IOException if it is no folder, cannot be read, or a file of it is damaged
   */
  public static FolderInspection of(Path folder) throws IOException {
    Objects.requireNonNull(folder, "folder");
    if (!Files.isDirectory(folder)) {
      throw new NotDirectoryException(folder.toString());
    }
    Path config = folder.resolve(Checkpoint.CONFIG);
    String family = "";
    List<String> architectures = new ArrayList<>();
    if (Files.exists(config)) {
      Json json = Json.read(config);
      family = Descriptions.make(config, json, j -> text(j.find("model_type")));
      architectures = Descriptions.make(config, json, FolderInspection::architectures);
    }
    Map<String, String> uses = uses(folder);
    List<FileUse> files = new ArrayList<>();
    for (String name : names(folder)) {
      files.add(file(folder, name, uses.getOrDefault(name, "")));
    }
    return new FolderInspection(
        folder,
        family,
        List.copyOf(architectures),
        List.copyOf(files),
        missing(folder, family, uses),
        uses.containsKey(PackedFile.NAME) ? packedAs(folder) : null);
  }

  private static Kind packedAs(Path folder) throws IOException {
    try (Arena arena = Arena.ofConfined()) {
      return PackedFile.kind(Safetensors.map(folder.resolve(PackedFile.NAME), arena));
    }
  }

  /**
   * Says what the folder may be loaded as: what it was packed as; or what its family is used for,
   * and its architectures say; or, of an unknown one or none, what its weights' file is read for.
   * Whether it loads is another question.
   *
   * @return at least one
   */
  public Set<Kind> kinds() {
    if (packedAs != null) {
      return EnumSet.of(packedAs);
    }
    Set<Kind> kinds = Families.kinds(family);
    boolean graph = isGraph();
    if (graph || kinds.isEmpty()) {
      kinds.add(Kind.EMBEDDER);
    }
    if (!graph && family.isEmpty()) {
      kinds.add(Kind.LANGUAGE_MODEL); // llama2.c's files come without config.json
    }
    for (Map.Entry<String, Kind> head : HEADS.entrySet()) {
      if (architectures.stream().anyMatch(name -> name.endsWith(head.getKey()))) {
        kinds.add(head.getValue());
      }
    }
    return kinds;
  }

  private boolean isGraph() {
    return files.stream()
        .filter(file -> file.use().equals(USE_OF_WEIGHTS))
        .anyMatch(file -> !file.name().matches("model[-\\w]*\\.safetensors"));
  }

  /**
   * Says which of {@link #kinds} the folder is made for: an embedder if it has modules.json or a
   * graph; else what its head is for, or a language model if it may be one.
   *
   * @return one of the kinds
   */
  public Kind purpose() {
    Set<Kind> kinds = kinds();
    boolean modules = files.stream().anyMatch(file -> file.name().equals("modules.json"));
    if ((modules || packedAs == null && isGraph()) && kinds.contains(Kind.EMBEDDER)) {
      return Kind.EMBEDDER;
    }
    return kinds.stream()
        .filter(kind -> kind != Kind.EMBEDDER)
        .max(Comparator.naturalOrder()) // heads stand behind language models
        .orElse(Kind.EMBEDDER);
  }

  private static String text(Json json) {
    return json.isNull() ? "" : json.string();
  }

  private static List<String> architectures(Json json) {
    Json all = json.find("architectures");
    return all.isNull() ? List.of() : all.elements().stream().map(Json::string).toList();
  }

  private static List<String> names(Path folder) throws IOException {
    try (Stream<Path> paths = Files.walk(folder, DEPTH)) {
      return paths
          .filter(Files::isRegularFile)
          .map(path -> folder.relativize(path).toString().replace('\\', '/'))
          .filter(name -> !name.startsWith("."))
          .sorted()
          .toList();
    }
  }

  private static Map<String, String> uses(Path folder) throws IOException {
    Map<String, String> uses = new LinkedHashMap<>();
    for (String name : USES.keySet()) {
      if (Files.exists(folder.resolve(name))) {
        uses.put(name, USES.get(name));
      }
    }
    TokenizerConfig.sentenceConfig(folder)
        .ifPresent(file -> uses.put(file.getFileName().toString(), "the longest text"));
    for (String name : WEIGHTS) {
      Path file = folder.resolve(name);
      if (Files.exists(file)) {
        uses.put(
            name, name.equals(Checkpoint.INDEX) ? "which file has which weights" : USE_OF_WEIGHTS);
        if (name.equals(Checkpoint.INDEX)) {
          for (String shard : Descriptions.read(file, FolderInspection::shards)) {
            uses.put(shard, USE_OF_WEIGHTS);
          }
        }
        break;
      }
    }
    for (Path module : modules(folder)) {
      String name = folder.relativize(module).toString();
      uses.put(name + "/" + Checkpoint.CONFIG, "module " + name);
      uses.put(name + "/" + Checkpoint.WEIGHTS, "weights of module " + name);
    }
    return uses;
  }

  /** None where something is said that is not done: whoever loads the folder hears what. */
  private static List<Path> modules(Path folder) {
    try {
      return ModelFolder.read(folder).modules();
    } catch (IOException e) {
      return List.of();
    }
  }

  private static List<String> shards(Json index) {
    Json map = index.get("weight_map");
    return map.names().stream().map(name -> map.get(name).string()).distinct().toList();
  }

  private static FileUse file(Path folder, String name, String use) throws IOException {
    Path path = folder.resolve(name);
    Map<String, Long> tensors = new TreeMap<>();
    if (!use.isEmpty() && name.endsWith(".safetensors")) {
      try (Arena arena = Arena.ofConfined()) {
        SafetensorsFile file = Safetensors.map(path, arena);
        for (String tensor : file.names()) {
          long elements = 1;
          for (long size : file.shape(tensor)) {
            elements *= size;
          }
          tensors.merge(file.dtype(tensor), elements, Long::sum);
        }
      }
    }
    return new FileUse(name, Files.size(path), use, tensors);
  }

  private static List<String> missing(Path folder, String family, Map<String, String> uses) {
    List<String> missing = new ArrayList<>();
    if (WEIGHTS.stream().noneMatch(uses::containsKey)) {
      missing.add("weights: one of " + String.join(", ", WEIGHTS));
    }
    boolean reads = !Families.kinds(family).contains(Kind.IMAGE_CLASSIFIER);
    if (reads && !uses.containsKey(TOKENIZER)) {
      missing.add(TOKENIZER + ": how a text becomes tokens");
    }
    boolean packed = uses.containsKey(PackedFile.NAME); // those of a graph say it themselves
    if (Checkpoint.isIn(folder) && !packed && !uses.containsKey(Checkpoint.CONFIG)) {
      missing.add(Checkpoint.CONFIG + ": which family the weights are of");
    }
    return List.copyOf(missing);
  }
}
