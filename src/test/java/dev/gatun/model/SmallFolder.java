package dev.gatun.model;

import dev.gatun.GatunRuntime;
import dev.gatun.WeightFormat;
import dev.gatun.io.OnnxFile;
import dev.gatun.support.ReferenceBert;
import java.io.IOException;
import java.io.InputStream;
import java.lang.foreign.Arena;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;

/**
 * A folder of sentence-transformers: an encoder of 2 layers, 8 wide, with 64 positions, a tokenizer
 * of 20 words, and what a test writes beside them.
 */
final class SmallFolder {
  static final int WIDTH = 8;

  final Path path;

  SmallFolder(Path path) throws IOException {
    this.path = path;
    copy("bert.onnx", "model.onnx");
    copy("tokenizer.json", "tokenizer.json");
  }

  void copy(String resource, String file) throws IOException {
    Path to = path.resolve(file);
    Files.createDirectories(to.getParent());
    try (InputStream in = SmallFolder.class.getResourceAsStream("/folders/" + resource)) {
      Files.write(to, in.readAllBytes());
    }
  }

  void write(String file, String text) throws IOException {
    Path to = path.resolve(file);
    Files.createDirectories(to.getParent());
    Files.writeString(to, text);
  }

  /** Writes modules.json: a Transformer, and what follows it. */
  void modules(String... kinds) throws IOException {
    List<String> modules = new ArrayList<>();
    for (int i = 0; i <= kinds.length; i++) {
      String kind = i == 0 ? "Transformer" : kinds[i - 1];
      modules.add(
          "{\"idx\": %d, \"name\": \"%d\", \"path\": \"%s\", \"type\": \"sentence_transformers.models.%s\"}"
              .formatted(i, i, i == 0 ? "" : i + "_" + kind, kind));
    }
    write("modules.json", modules.toString());
  }

  /** Writes a Pooling as it is since version 6. */
  void pooling(String modes, boolean includePrompt) throws IOException {
    write(
        "1_Pooling/config.json",
        "{\"embedding_dimension\": 8, \"pooling_mode\": %s, \"include_prompt\": %b}"
            .formatted(modes, includePrompt));
  }

  EmbeddingModelSpec spec() throws IOException {
    return EmbeddingModelSpec.folder(path);
  }

  TextEmbedder load(GatunRuntime runtime) throws IOException {
    return TextEmbedder.load(runtime, spec());
  }

  TextEmbedder load(GatunRuntime runtime, WeightFormat format) throws IOException {
    return TextEmbedder.load(runtime, spec(), format);
  }

  /** The last hidden state of tokens, in double. */
  double[][] states(int... ids) throws IOException {
    try (Arena arena = Arena.ofConfined()) {
      OnnxFile file = OnnxFile.map(path.resolve("model.onnx"), arena);
      return new ReferenceBert(BertWeights.from(file, arena)).forward(ids);
    }
  }

  int[] ids(String text) throws IOException {
    return Tokenizer.load(path.resolve("tokenizer.json")).encode(text, 1000).ids();
  }
}
