package dev.gatun.model;

import dev.gatun.GatunRuntime;
import dev.gatun.WeightFormat;
import dev.gatun.internal.ExitHook;
import dev.gatun.model.FolderInspection.Kind;
import dev.gatun.nn.Pooling;
import java.io.IOException;
import java.lang.foreign.Arena;
import java.nio.file.FileSystemException;
import java.nio.file.Files;
import java.nio.file.NoSuchFileException;
import java.nio.file.Path;
import java.nio.file.StandardCopyOption;
import java.util.Comparator;
import java.util.HexFormat;
import java.util.List;
import java.util.Objects;
import java.util.concurrent.ThreadLocalRandom;
import java.util.stream.Stream;

/**
 * Writes models with packed weights into folders of their own, which the same classes load: {@code
 * model.gatun.safetensors}, config.json and tokenizer.json as they are, and what else the model's
 * folder says in files of JSON. The file is mapped and used where it lies, so that a process starts
 * without packing, and all that have it mapped share its pages. The same file serves every CPU.
 *
 * {@snippet :
 * ModelPacker.pack(
 *     runtime, Path.of("Qwen3-0.6B"), Kind.LANGUAGE_MODEL, WeightFormat.INT8, Path.of("qwen-int8"));
 * LanguageModel model = LanguageModel.load(runtime, Path.of("qwen-int8"));
 * }
 *
 * <p>Scores and vectors are those of the model that was packed, loaded in that format, to the bit.
 * What a model of that kind does not read is left out: a folder that was packed as one kind is not
 * loaded as another. Models of images are not packed.
 *
 * <p>The new folder is written beside its place, under a name of its own, and when it is whole and
 * has been loaded once it is renamed. Until then nothing is in its place, and the end of the JVM,
 * by a signal too, deletes it. Needed is the memory of the packed weights.
 */
public final class ModelPacker {

  /** What a folder in a jar's place says, as sentence-transformers writes it. */
  private static final String MODULES =
      """
      [
        {"idx": 0, "name": "0", "path": "", "type": "sentence_transformers.models.Transformer"},
        {"idx": 1, "name": "1", "path": "1_Pooling", "type": "sentence_transformers.models.Pooling"},
        {"idx": 2, "name": "2", "path": "2_Normalize", "type": "sentence_transformers.models.Normalize"}
      ]
      """;

  private static final String POOLING =
      """
      {
        "word_embedding_dimension": %d,
        "pooling_mode_cls_token": %s,
        "pooling_mode_mean_tokens": %s
      }
      """;

  private static final String PROMPTS =
      """
      {
        "prompts": {"query": "%s", "passage": "%s"},
        "default_prompt_name": null
      }
      """;

  /** What the folder of a module has. */
  private static final List<String> OF_MODULES = List.of("config.json", "model.safetensors");

  private ModelPacker() {}

  /**
   * Packs a model.
   *
   * @param runtime whose threads pack
   * @param model its folder, of one of the families that docs/families.md lists
   * @param kind what it will be loaded as; not one of images
   * @param format of its matrices; not VIEW
   * @param folder where to; does not exist yet, or is empty
   * @throws IOException if something cannot be read or written, the model is not what it should be,
   *     or the folder is not empty; then nothing is in its place
   * @throws IllegalArgumentException if kind or format do not fit the model
   */
  public static void pack(
      GatunRuntime runtime, Path model, Kind kind, WeightFormat format, Path folder)
      throws IOException {
    Objects.requireNonNull(model, "model");
    if (Objects.requireNonNull(kind, "kind").ofImages()) {
      throw new IllegalArgumentException("kind: expected a model of texts, got " + kind);
    }
    if (kind == Kind.EMBEDDER) {
      pack(runtime, EmbeddingModelSpec.folder(model), format, folder);
      return;
    }
    require(runtime, format, folder);
    place(
        folder,
        to -> {
          write(runtime, model, kind, format, to);
          load(runtime, kind, to);
        });
  }

  static void pack(GatunRuntime runtime, EmbeddingModelSpec spec, WeightFormat format, Path folder)
      throws IOException {
    require(runtime, format, folder);
    place(
        folder,
        to -> {
          if (spec.isCheckpoint()) {
            write(runtime, spec.folder(), Kind.EMBEDDER, format, to);
          } else {
            writeGraph(runtime, spec, format, to);
          }
          load(runtime, Kind.EMBEDDER, to);
        });
  }

  private static void require(GatunRuntime runtime, WeightFormat format, Path folder)
      throws IOException {
    Objects.requireNonNull(runtime, "runtime");
    Objects.requireNonNull(format, "format");
    requireEmpty(Objects.requireNonNull(folder, "folder"));
    if (format == WeightFormat.VIEW) {
      throw new IllegalArgumentException("format: expected one that is packed, got VIEW");
    }
  }

  /** Writes a model that has config.json into a folder that is there. */
  static void write(GatunRuntime runtime, Path model, Kind kind, WeightFormat format, Path to)
      throws IOException {
    try (Arena arena = Arena.ofShared()) {
      Checkpoint checkpoint = Checkpoint.open(model, runtime, arena, format);
      RecordedWeights weights = new RecordedWeights(checkpoint.weights());
      Checkpoint recorded = checkpoint.with(weights);
      switch (kind) {
        case EMBEDDER -> Families.encoder(recorded);
        case LANGUAGE_MODEL -> Families.decoder(recorded);
        case TEXT_CLASSIFIER -> Families.classifier(recorded);
        case TOKEN_CLASSIFIER -> Families.tokenClassifier(recorded);
        case MASKED_LANGUAGE_MODEL -> Families.masked(recorded);
        case IMAGE_CLASSIFIER, IMAGES_AND_TEXTS -> throw new AssertionError(kind);
      }
      List<Path> modules =
          kind == Kind.EMBEDDER
              ? ModelFolder.read(model).modules()
              : HeadDescription.modules(model);
      copyDescription(model, modules, true, to);
      PackedFile.write(to.resolve(PackedFile.NAME), kind, format, weights, null);
    }
  }

  /** The same of BERT and its like in a graph, which says itself what it is. */
  private static void writeGraph(
      GatunRuntime runtime, EmbeddingModelSpec spec, WeightFormat format, Path to)
      throws IOException {
    try (Arena arena = Arena.ofShared()) {
      BertWeights graph = spec.weights(arena, arena, format);
      BertConfig sizes = graph.config();
      RecordedWeights weights = new RecordedWeights(graph.weights());
      Bert.of("packed", runtime, new BertWeights(sizes, weights), arena, format);
      if (spec.folder() == null) {
        describe(spec, sizes, to);
      } else {
        copyDescription(spec.folder(), spec.described().modules(), false, to);
      }
      PackedFile.write(to.resolve(PackedFile.NAME), Kind.EMBEDDER, format, weights, sizes);
    }
  }

  /** Loads a folder as it will be, and closes the model. */
  private static void load(GatunRuntime runtime, Kind kind, Path folder) throws IOException {
    switch (kind) {
      case EMBEDDER -> TextEmbedder.load(runtime, EmbeddingModelSpec.folder(folder)).close();
      case LANGUAGE_MODEL -> LanguageModel.load(runtime, folder).close();
      // what classifiers and rerankers have in common
      case TEXT_CLASSIFIER -> ClassifierModel.load(runtime, folder, WeightFormat.AUTO).close();
      case TOKEN_CLASSIFIER -> TokenClassifier.load(runtime, folder).close();
      case MASKED_LANGUAGE_MODEL -> MaskedLanguageModel.load(runtime, folder).close();
      case IMAGE_CLASSIFIER, IMAGES_AND_TEXTS -> throw new AssertionError(kind);
    }
  }

  /** What is written into a folder. */
  @FunctionalInterface
  private interface Filling {
    void fill(Path folder) throws IOException;
  }

  private static void place(Path to, Filling filling) throws IOException {
    Path folder = to.toAbsolutePath();
    byte[] name = new byte[8];
    ThreadLocalRandom.current().nextBytes(name);
    Path temporary =
        folder.resolveSibling(
            ".%s-%s".formatted(folder.getFileName(), HexFormat.of().formatHex(name)));
    try (ExitHook _ = ExitHook.add("gatun-temporary-folder", () -> delete(temporary))) {
      fill(temporary, folder, filling);
    } catch (IOException e) {
      throw said(e, to, temporary);
    }
  }

  private static void fill(Path temporary, Path folder, Filling filling) throws IOException {
    try {
      Files.createDirectories(temporary);
      filling.fill(temporary);
      Files.move(temporary, folder, StandardCopyOption.REPLACE_EXISTING);
    } finally {
      delete(temporary);
    }
  }

  /** What went wrong, under the name that the folder would have had. */
  private static IOException said(IOException e, Path to, Path temporary) {
    if (!(e instanceof FileSystemException f) || f.getFile() == null) {
      return e;
    }
    String reason =
        f.getReason() != null
            ? f.getReason()
            : f instanceof NoSuchFileException ? "no such folder" : f.getClass().getSimpleName();
    String file = f.getFile();
    boolean ours = file.startsWith(temporary.toString());
    return ours || file.equals(to.toAbsolutePath().toString())
        ? new FileSystemException(to.toString(), null, reason)
        : e;
  }

  private static void requireEmpty(Path folder) throws IOException {
    if (!Files.exists(folder)) {
      return;
    }
    if (!Files.isDirectory(folder)) {
      throw new FileSystemException(folder.toString(), null, "expected a folder, got a file");
    }
    try (Stream<Path> files = Files.list(folder)) {
      if (files.findAny().isPresent()) {
        throw new FileSystemException(
            folder.toString(), null, "expected no folder or an empty one, got one with files");
      }
    }
  }

  private static void describe(EmbeddingModelSpec spec, BertConfig config, Path folder)
      throws IOException {
    boolean cls = spec.poolings().contains(Pooling.CLS);
    Files.writeString(folder.resolve("modules.json"), MODULES);
    Path pooling = Files.createDirectory(folder.resolve("1_Pooling"));
    Files.writeString(
        pooling.resolve("config.json"), POOLING.formatted(config.hidden(), cls, !cls));
    if (!spec.queryPrefix().isEmpty() || !spec.passagePrefix().isEmpty()) {
      Files.writeString(
          folder.resolve("config_sentence_transformers.json"),
          PROMPTS.formatted(spec.queryPrefix(), spec.passagePrefix()));
    }
    spec.copyTokenizer(folder.resolve("tokenizer.json"));
  }

  /**
   * The descriptions beside the weights, and what the folders of modules have.
   *
   * @param configured whether config.json says what the weights are of; a graph's is not copied,
   *     which has been held against the graph
   */
  private static void copyDescription(Path model, List<Path> modules, boolean configured, Path to)
      throws IOException {
    try (Stream<Path> files = Files.list(model.toAbsolutePath())) {
      for (Path file : files.toList()) {
        String name = file.getFileName().toString();
        boolean read =
            name.endsWith(".json")
                && !name.equals(Checkpoint.INDEX)
                && (configured || !name.equals(Checkpoint.CONFIG));
        if (read && Files.isRegularFile(file)) {
          Files.copy(file, to.resolve(name));
        }
      }
    }
    for (Path module : modules) {
      Path path = module.toAbsolutePath();
      Path copy = to.resolve(path.getFileName());
      for (String name : OF_MODULES) {
        if (Files.exists(path.resolve(name))) {
          Files.createDirectories(copy);
          Files.copy(path.resolve(name), copy.resolve(name));
        }
      }
    }
  }

  private static void delete(Path folder) {
    if (!Files.exists(folder)) {
      return;
    }
    try (Stream<Path> files = Files.walk(folder)) {
      files.sorted(Comparator.reverseOrder()).forEach(file -> file.toFile().delete());
    } catch (IOException e) {
      // What cannot be deleted stays, under a name that says what it is.
    }
  }
}
