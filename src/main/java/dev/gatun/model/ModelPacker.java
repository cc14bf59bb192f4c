package dev.gatun.model;

import dev.gatun.GatunRuntime;
import dev.gatun.WeightFormat;
import dev.gatun.nn.Pooling;
import java.io.IOException;
import java.lang.foreign.Arena;
import java.nio.file.FileSystemException;
import java.nio.file.FileVisitResult;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.SimpleFileVisitor;
import java.nio.file.attribute.BasicFileAttributes;
import java.util.stream.Stream;

/** Writes the folder of a model with packed weights. */
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

  private ModelPacker() {}

  static void pack(GatunRuntime runtime, EmbeddingModelSpec spec, WeightFormat format, Path folder)
      throws IOException {
    requireEmpty(folder);
    try (Arena arena = Arena.ofShared();
        Arena reading = Arena.ofShared()) {
      BertWeights weights = spec.weights(arena, reading);
      Files.createDirectories(folder);
      if (spec.folder() == null) {
        describe(spec, weights.config(), folder);
      } else {
        copyDescription(spec.folder(), folder);
      }
      // Last, so that a folder that is not whole is no model.
      PackedFile.write(runtime, weights, format, folder.resolve(PackedFile.NAME));
    }
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
    boolean cls = spec.pooling() == Pooling.CLS;
    Files.writeString(folder.resolve("modules.json"), MODULES);
    Path pooling = Files.createDirectory(folder.resolve("1_Pooling"));
    Files.writeString(
        pooling.resolve("config.json"), POOLING.formatted(config.hidden(), cls, !cls));
    spec.copyTokenizer(folder.resolve("tokenizer.json"));
  }

  /** All that is there, but for the encoder's own weights in any of their formats. */
  private static void copyDescription(Path from, Path to) throws IOException {
    Files.walkFileTree(
        from,
        new SimpleFileVisitor<>() {
          @Override
          public FileVisitResult preVisitDirectory(Path directory, BasicFileAttributes attributes)
              throws IOException {
            String name = directory.getFileName().toString();
            boolean module = name.matches("\\d+_\\w+");
            if (!directory.equals(from) && !module) {
              return FileVisitResult.SKIP_SUBTREE;
            }
            Files.createDirectories(to.resolve(from.relativize(directory).toString()));
            return FileVisitResult.CONTINUE;
          }

          @Override
          public FileVisitResult visitFile(Path file, BasicFileAttributes attributes)
              throws IOException {
            boolean described = file.toString().endsWith(".json");
            boolean dense = !file.getParent().equals(from) && file.endsWith("model.safetensors");
            if (described || dense) {
              Files.copy(file, to.resolve(from.relativize(file).toString()));
            }
            return FileVisitResult.CONTINUE;
          }
        });
  }
}
