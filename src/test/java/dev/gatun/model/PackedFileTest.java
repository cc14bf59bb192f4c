package dev.gatun.model;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import dev.gatun.GatunRuntime;
import dev.gatun.Tensor;
import dev.gatun.WeightFormat;
import dev.gatun.io.Safetensors;
import dev.gatun.io.SafetensorsFile;
import dev.gatun.nn.Pooling;
import java.io.IOException;
import java.lang.foreign.Arena;
import java.nio.file.FileSystemException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import java.util.Map;
import java.util.Random;
import java.util.TreeMap;
import java.util.function.BiConsumer;
import java.util.stream.Stream;
import org.junit.jupiter.api.AfterAll;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;

/** Models that are packed into a file of their own. */
class PackedFileTest {
  private static final String TEXT = "A cat is sleeping in the sun.";
  private static final String QUERY = "encoder.layer.0.attention.self.query.weight";
  private static final String FUSED =
      "packed:"
          + QUERY
          + "+"
          + QUERY.replace("query", "key")
          + "+"
          + QUERY.replace("query", "value");

  private static GatunRuntime runtime;

  @TempDir static Path shared;

  @TempDir Path folder;

  @BeforeAll
  static void pack() throws IOException {
    runtime = GatunRuntime.builder().threads(2).build();
    TextEmbedder.pack(
        runtime, EmbeddingModelSpec.MINILM_Q, WeightFormat.AUTO, shared.resolve("model"));
  }

  @AfterAll
  static void close() {
    runtime.close();
  }

  private static float[] embed(EmbeddingModelSpec spec, WeightFormat format) throws IOException {
    try (TextEmbedder model = TextEmbedder.load(runtime, spec, format)) {
      return model.embed(TEXT);
    }
  }

  private static EmbeddingModelSpec packed() throws IOException {
    return EmbeddingModelSpec.folder(shared.resolve("model"));
  }

  // ---- the same model --------------------------------------------------------------------------

  @ParameterizedTest
  @CsvSource({"minilm, FP32", "minilm, BF16", "minilm, INT8", "bge-small-q, AUTO"})
  void isTheModelThatWasPacked(String name, WeightFormat format) throws IOException {
    EmbeddingModelSpec spec = EmbeddingModelSpec.of(name);
    Path to = folder.resolve("new");
    TextEmbedder.pack(runtime, spec, format, to);
    EmbeddingModelSpec read = EmbeddingModelSpec.of(to.toString());
    assertEquals(spec.poolings(), read.poolings());
    assertEquals(List.of(name.equals("minilm") ? Pooling.MEAN : Pooling.CLS), read.poolings());
    assertTrue(read.isNormalized());
    assertArrayEquals(embed(spec, format), embed(read, WeightFormat.AUTO));
    if (format != WeightFormat.AUTO) {
      assertArrayEquals(embed(spec, format), embed(read, format));
    }
    try (TextEmbedder first = TextEmbedder.load(runtime, spec, format);
        TextEmbedder second = TextEmbedder.load(runtime, read)) {
      assertEquals(first.maxTokens(), second.maxTokens());
    }
  }

  /** Its memory beyond the file is little, and the file needs no more than the weights. */
  @Test
  void theFileIsSmall() throws IOException {
    long bytes = Files.size(shared.resolve("model").resolve(PackedFile.NAME));
    assertTrue(bytes < 23_600_000, bytes + " bytes");
  }

  // ---- refusals --------------------------------------------------------------------------------

  @Test
  void formats() throws IOException {
    refused(
        "format: expected AUTO or INT8, which the weights are packed in",
        () -> embed(packed(), WeightFormat.BF16));
    refused(
        "format: expected AUTO or INT8, as the file has int8 weights",
        () -> embed(EmbeddingModelSpec.MINILM_Q, WeightFormat.BF16));
    refused("format: expected AUTO or INT8", () -> embed(packed(), WeightFormat.VIEW));
    refused(
        "format: expected one that is packed, got VIEW",
        () ->
            TextEmbedder.pack(
                runtime, EmbeddingModelSpec.MINILM, WeightFormat.VIEW, folder.resolve("view")));
    refused(
        "packed weights instead",
        () -> {
          try (Arena arena = Arena.ofConfined()) {
            packed().openModel(arena);
          }
        });
  }

  @Test
  void onlyIntoAnEmptyFolder() throws IOException {
    Files.writeString(folder.resolve("a file"), "");
    refused("expected no folder or an empty one", () -> packInto(folder));
    refused("expected a folder, got a file", () -> packInto(folder.resolve("a file")));
    assertArrayEquals(new byte[0], Files.readAllBytes(folder.resolve("a file")));
  }

  /** Whatever goes wrong, there is nothing in the folder's place, and nothing beside it. */
  @Test
  void nothingIsLeftBehind() throws IOException {
    Path to = folder.resolve("new");
    refused(
        "format: expected AUTO or INT8",
        () -> TextEmbedder.pack(runtime, EmbeddingModelSpec.MINILM_Q, WeightFormat.BF16, to));
    refused(
        "format: expected one that is packed",
        () -> TextEmbedder.pack(runtime, EmbeddingModelSpec.MINILM, WeightFormat.VIEW, to));
    GatunRuntime closed = GatunRuntime.builder().threads(1).build();
    closed.close();
    assertThrows(
        IllegalStateException.class,
        () -> TextEmbedder.pack(closed, EmbeddingModelSpec.MINILM_Q, WeightFormat.AUTO, to));
    Path broken = copyOf("broken");
    Files.writeString(broken.resolve("tokenizer.json"), "{}");
    refused(
        "",
        () -> TextEmbedder.pack(runtime, EmbeddingModelSpec.folder(broken), WeightFormat.AUTO, to));
    Path file = Files.writeString(folder.resolve("file"), "");
    refused("x", () -> packInto(file.resolve("x")));
    try (Stream<Path> left = Files.list(folder)) {
      assertEquals(2, left.count());
    }
    Files.createDirectory(to);
    packInto(to);
    assertArrayEquals(
        embed(packed(), WeightFormat.AUTO),
        embed(EmbeddingModelSpec.folder(to), WeightFormat.AUTO));
  }

  /** Links are followed, and what is packed may lie inside of the model. */
  @Test
  void linksAndFoldersInside() throws IOException {
    Path model = copyOf("model");
    Path pooling = folder.resolve("elsewhere");
    Files.move(model.resolve("1_Pooling"), pooling);
    Files.createSymbolicLink(model.resolve("1_Pooling"), pooling);
    Files.delete(model.resolve("modules.json"));
    Files.writeString(
        pooling.resolve("config.json"),
        Files.readString(pooling.resolve("config.json"))
            .replace("\"pooling_mode_cls_token\": false", "\"pooling_mode_cls_token\": true")
            .replace("\"pooling_mode_mean_tokens\": true", "\"pooling_mode_mean_tokens\": false"));
    Path link = Files.createSymbolicLink(folder.resolve("link"), model);
    EmbeddingModelSpec spec = EmbeddingModelSpec.folder(link);
    assertEquals(List.of(Pooling.CLS), spec.poolings());
    Path inside = model.resolve("9_inside");
    TextEmbedder.pack(runtime, spec, WeightFormat.AUTO, folder.resolve("new"));
    TextEmbedder.pack(runtime, spec, WeightFormat.AUTO, inside);
    for (Path made : new Path[] {folder.resolve("new"), inside}) {
      assertArrayEquals(
          embed(spec, WeightFormat.AUTO),
          embed(EmbeddingModelSpec.folder(made), WeightFormat.AUTO));
    }
  }

  @Test
  void prefixesAreKept() throws IOException {
    Path to = folder.resolve("e5");
    TextEmbedder.pack(runtime, EmbeddingModelSpec.E5_SMALL_Q, WeightFormat.AUTO, to);
    EmbeddingModelSpec read = EmbeddingModelSpec.folder(to);
    assertEquals("query: ", read.queryPrefix());
    assertEquals("passage: ", read.passagePrefix());
    assertEquals("", packed().queryPrefix());
  }

  private Path copyOf(String name) throws IOException {
    Path to = folder.resolve(name);
    copyFolder(to);
    Files.copy(shared.resolve("model").resolve(PackedFile.NAME), to.resolve(PackedFile.NAME));
    return to;
  }

  private static void packInto(Path to) throws IOException {
    TextEmbedder.pack(runtime, EmbeddingModelSpec.MINILM_Q, WeightFormat.AUTO, to);
  }

  /** What the file says is checked, and the one that is wrong is named. */
  @Test
  void changedFiles() throws IOException {
    change("gatun.packed: expected 2, got '1'", (_, texts) -> texts.put("gatun.packed", "1"));
    change(
        "gatun.config: expected 11 numbers, got '6'", (_, texts) -> texts.put("gatun.config", "6"));
    change(
        "gatun.config: hidden",
        (_, texts) ->
            texts.put("gatun.config", texts.get("gatun.config").replaceFirst(",384,", ",385,")));
    change(
        "gatun.config: For input string",
        (_, texts) ->
            texts.put("gatun.config", texts.get("gatun.config").replaceFirst(",384,", ",x,")));
    change(
        "shape:" + QUERY + ": expected two sizes, got '384'",
        (_, texts) -> texts.put("shape:" + QUERY, "384"));
    change(QUERY + ": expected", (_, texts) -> texts.put("shape:" + QUERY, "385,384"));
    change(QUERY, (_, texts) -> texts.remove("shape:" + QUERY));
    change(FUSED + ": expected a packed weight", (tensors, _) -> tensors.remove(FUSED));
    change(
        FUSED + ": expected [in, out] = [384, 1152]",
        (tensors, _) ->
            tensors.put(FUSED, tensors.get("packed:encoder.layer.0.output.dense.weight")));
    change(
        FUSED + ": packed",
        (tensors, _) -> tensors.put(FUSED, tensors.get(FUSED).slice(0, 0, 1000)));
    change(
        "embeddings.LayerNorm.weight",
        (tensors, _) -> tensors.remove("embeddings.LayerNorm.weight"));
    change(
        "scale:embeddings.word_embeddings.weight: expected a number, got 'x'",
        (_, texts) -> texts.put("scale:embeddings.word_embeddings.weight", "x"));
    change(
        "embeddings.word_embeddings.weight",
        (_, texts) -> texts.remove("scale:embeddings.word_embeddings.weight"));
    change(
        "encoder.layer.2.attention.self.key.bias",
        (tensors, _) -> tensors.remove("encoder.layer.2.attention.self.key.bias"));
    change(
        "encoder.layer.2.output.LayerNorm.bias",
        (tensors, _) -> tensors.remove("encoder.layer.2.output.LayerNorm.bias"));
    change(
        "zero:embeddings.word_embeddings.weight: expected 0 .. 255, got '3.7'",
        (_, texts) -> texts.put("zero:embeddings.word_embeddings.weight", "3.7"));
    change(
        "expected two sizes, got '384,384,1'",
        (_, texts) -> texts.put("shape:" + QUERY, "384,384,1"));
    for (String stray : new String[] {"packed:+", "packed:" + QUERY}) {
      change(
          "that the model reads, got",
          (tensors, _) ->
              tensors.put(stray, tensors.get("packed:encoder.layer.0.output.dense.weight")));
    }
    change(
        "encoder.layer.9.output.dense.weight",
        (tensors, _) ->
            tensors.put(
                "packed:encoder.layer.9.output.dense.weight",
                tensors.get("packed:encoder.layer.0.output.dense.weight")));
  }

  private void change(String expected, BiConsumer<Map<String, Tensor>, Map<String, String>> change)
      throws IOException {
    Path to = folder.resolve("changed");
    copyFolder(to);
    try (Arena arena = Arena.ofShared()) {
      SafetensorsFile file =
          Safetensors.map(shared.resolve("model").resolve(PackedFile.NAME), arena);
      Map<String, Tensor> tensors = new TreeMap<>();
      for (String name : file.names()) {
        tensors.put(name, file.stored(name));
      }
      Map<String, String> texts = new TreeMap<>(file.metadata());
      change.accept(tensors, texts);
      Safetensors.write(to.resolve(PackedFile.NAME), tensors, texts, 64);
    }
    FileSystemException e =
        assertThrows(
            FileSystemException.class,
            () -> embed(EmbeddingModelSpec.folder(to), WeightFormat.AUTO));
    assertEquals(to.resolve(PackedFile.NAME).toString(), e.getFile());
    assertTrue(e.getReason().contains(expected), e.getReason());
  }

  private static void copyFolder(Path to) throws IOException {
    Path from = shared.resolve("model");
    Files.createDirectories(to.resolve("1_Pooling"));
    for (String name : new String[] {"tokenizer.json", "modules.json", "1_Pooling/config.json"}) {
      if (!Files.exists(to.resolve(name))) {
        Files.copy(from.resolve(name), to.resolve(name));
      }
    }
  }

  /** Bytes that change anywhere, headers above all, never end the JVM. */
  @Test
  void damagedFiles() throws IOException {
    Random random = new Random(3);
    Path to = folder.resolve("damaged");
    copyFolder(to);
    byte[] bytes = Files.readAllBytes(shared.resolve("model").resolve(PackedFile.NAME));
    int header = 24_000;
    for (int n = 0; n < 60; n++) {
      byte[] damaged = bytes.clone();
      for (int i = 0; i < 1 + n % 3; i++) {
        int at = random.nextInt(n % 2 == 0 ? header : bytes.length);
        damaged[at] ^= (byte) (1 << random.nextInt(8));
      }
      Files.write(to.resolve(PackedFile.NAME), damaged);
      try {
        embed(EmbeddingModelSpec.folder(to), WeightFormat.AUTO);
      } catch (IOException | IllegalArgumentException e) {
        assertTrue(e.getMessage().length() > 10, e.toString());
      }
    }
  }

  /** Something that is refused. */
  private interface Call {
    void run() throws IOException;
  }

  private static void refused(String text, Call call) {
    Exception e = assertThrows(Exception.class, call::run);
    assertTrue(
        e instanceof IllegalArgumentException || e instanceof FileSystemException, e.toString());
    assertTrue(e.getMessage().contains(text), e.getMessage());
  }
}
