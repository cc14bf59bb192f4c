package dev.gatun.model;

import dev.gatun.GatunRuntime;
import dev.gatun.WeightFormat;
import dev.gatun.internal.ExitHook;
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
import java.util.concurrent.ThreadLocalRandom;
import java.util.stream.Stream;

/**
 * Writes the folder of a model with packed weights: beside its place, under a name of its own, and
 * when it is whole and has been loaded once it is renamed. Until then nothing is in its place, and
 * the end of the JVM, by a signal too, deletes it.
 */
final class ModelPacker {

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

  static void pack(GatunRuntime runtime, EmbeddingModelSpec spec, WeightFormat format, Path to)
      throws IOException {
    Path folder = to.toAbsolutePath();
    requireEmpty(to);
    try (Arena arena = Arena.ofShared();
        Arena reading = Arena.ofShared()) {
      BertWeights weights = spec.weights(arena, reading);
      if (format == WeightFormat.VIEW) {
        throw new IllegalArgumentException("format: expected one that is packed, got VIEW");
      }
      PackedFile.requireFormat(weights.weights(), format);
      byte[] name = new byte[8];
      ThreadLocalRandom.current().nextBytes(name);
      Path temporary =
          folder.resolveSibling(
              ".%s-%s".formatted(folder.getFileName(), HexFormat.of().formatHex(name)));
      try (ExitHook _ = ExitHook.add("gatun-temporary-folder", () -> delete(temporary))) {
        place(runtime, spec, weights, format, temporary, folder);
      } catch (IOException e) {
        throw said(e, to, temporary);
      }
    }
  }

  private static void place(
      GatunRuntime runtime,
      EmbeddingModelSpec spec,
      BertWeights weights,
      WeightFormat format,
      Path temporary,
      Path folder)
      throws IOException {
    try {
      write(runtime, spec, weights, format, temporary);
      TextEmbedder.load(runtime, EmbeddingModelSpec.folder(temporary)).close();
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

  private static void write(
      GatunRuntime runtime,
      EmbeddingModelSpec spec,
      BertWeights weights,
      WeightFormat format,
      Path folder)
      throws IOException {
    Files.createDirectories(folder);
    if (spec.folder() == null) {
      describe(spec, weights.config(), folder);
    } else {
      copyDescription(spec, folder);
    }
    PackedFile.write(runtime, weights, format, folder.resolve(PackedFile.NAME));
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

  /** The descriptions beside the encoder's weights, and what the folders of modules have. */
  private static void copyDescription(EmbeddingModelSpec spec, Path to) throws IOException {
    Path from = spec.folder().toAbsolutePath();
    try (Stream<Path> files = Files.list(from)) {
      for (Path file : files.toList()) {
        if (file.getFileName().toString().endsWith(".json") && Files.isRegularFile(file)) {
          Files.copy(file, to.resolve(file.getFileName()));
        }
      }
    }
    for (Path module : spec.described().modules()) {
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
