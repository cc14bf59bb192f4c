package dev.gatun.model;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import dev.gatun.DType;
import dev.gatun.GatunRuntime;
import dev.gatun.Tensor;
import dev.gatun.WeightFormat;
import dev.gatun.io.Safetensors;
import dev.gatun.io.SafetensorsFile;
import dev.gatun.model.FolderInspection.Kind;
import dev.gatun.support.ChildJvm;
import dev.gatun.support.MaskedFolder;
import dev.gatun.support.ModelFolders;
import dev.gatun.support.TokenizerFiles;
import java.io.IOException;
import java.nio.file.FileSystemException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Arrays;
import java.util.List;
import java.util.Map;
import java.util.Set;
import java.util.TreeMap;
import java.util.TreeSet;
import java.util.function.BiConsumer;
import java.util.stream.Collectors;
import java.util.stream.Stream;
import org.junit.jupiter.api.Test;

/**
 * Folders that {@link ModelPacker} writes of models with config.json: what is in them, and what is
 * refused. That each family has the same bits in them is a part of the tests of the families.
 */
class PackedFoldersTest extends PyTorchModels {
  private static final String TABLE = "model.embed_tokens.weight";
  private static final String HEAD = "lm_head.weight";
  private static final String TEXT = "the cat  sat";

  private final PyTorchDecoder torchDecoder = new PyTorchDecoder(this);

  /**
   * Queries, keys and values of which one is some columns of a matrix, in two shards of 16 bits.
   */
  private Path phi(Map<String, Tensor> more) throws IOException {
    torchDecoder.fused = true;
    torchDecoder.tied = true;
    torchDecoder.logits(ids(4, torchDecoder.vocabulary), 2);
    made.putAll(more);
    String tokenizer =
        TokenizerFiles.modernBert()
            .replace(
                "\"decoder\":null",
                "\"decoder\":{\"type\":\"ByteLevel\",\"add_prefix_space\":false,"
                    + "\"trim_offsets\":true,\"use_regex\":true}");
    Path model =
        ModelFolders.of(torchDecoder.config("phi3", ""), made)
            .as(DType.BFLOAT16)
            .shards(2)
            .tokenizer(tokenizer)
            .write(folder.resolve("model"));
    Files.writeString(model.resolve("generation_config.json"), "{\"eos_token_id\": 7}");
    Files.writeString(model.resolve("README.md"), "# A model");
    return model;
  }

  private Path packed(WeightFormat format) throws IOException {
    Path to = folder.resolve("packed");
    ModelPacker.pack(runtime, folder.resolve("model"), Kind.LANGUAGE_MODEL, format, to);
    return to;
  }

  private static Set<String> names(Path path) throws IOException {
    try (Stream<Path> files = Files.list(path)) {
      return files
          .map(file -> file.getFileName().toString())
          .collect(Collectors.toCollection(TreeSet::new));
    }
  }

  // ---- what is in a folder ---------------------------------------------------------------------

  @Test
  void languageModel() throws IOException {
    Path model = phi(Map.of());
    Path packed = packed(WeightFormat.INT8);
    assertEquals(
        Set.of("config.json", "generation_config.json", "tokenizer.json", PackedFile.NAME),
        names(packed));
    for (WeightFormat format : new WeightFormat[] {WeightFormat.AUTO, WeightFormat.INT8}) {
      try (LanguageModel first = LanguageModel.load(runtime, model, WeightFormat.INT8);
          LanguageModel second = LanguageModel.load(runtime, packed, format)) {
        assertEquals(
            first.generate(TEXT, GenerationOptions.of(12)).tokens(),
            second.generate(TEXT, GenerationOptions.of(12)).tokens());
        assertEquals(first.endTokens(), second.endTokens());
      }
    }
    SafetensorsFile file = Safetensors.map(packed.resolve(PackedFile.NAME), arena);
    assertEquals("BF16", file.dtype(TABLE));
    String both = "packed:model.layers.0.mlp.gate_up_proj.weight";
    assertTrue(file.names().containsAll(Set.of(both + "[0:50]", both + "[50:100]")));
    assertTrue(file.names().contains("packed:" + TABLE));
    FolderInspection found = FolderInspection.of(packed);
    assertEquals(Kind.LANGUAGE_MODEL, found.packedAs());
    assertEquals(Set.of(Kind.LANGUAGE_MODEL), found.kinds());
    assertEquals(List.of(), found.missing());
    // Packed again, it is the same file.
    Path again = folder.resolve("again");
    ModelPacker.pack(runtime, packed, Kind.LANGUAGE_MODEL, WeightFormat.AUTO, again);
    assertEquals(
        -1, Files.mismatch(packed.resolve(PackedFile.NAME), again.resolve(PackedFile.NAME)));
  }

  /** A table that a file has twice is compared when it is packed, and not kept twice. */
  @Test
  void duplicates() throws IOException {
    phi(Map.of());
    Path model = phi(Map.of(HEAD, made.get(TABLE)));
    SafetensorsFile file =
        Safetensors.map(packed(WeightFormat.FP32).resolve(PackedFile.NAME), arena);
    assertTrue(!file.names().contains(HEAD) && !file.metadata().containsKey("shape:" + HEAD));
    Path other = folder.resolve("other");
    made.put(HEAD, normal(1, made.get(TABLE).shape()));
    ModelFolders.of(Files.readString(model.resolve("config.json")), made).write(model);
    Files.delete(model.resolve(Checkpoint.INDEX));
    refused(
        HEAD + ": expected the numbers of " + TABLE,
        () -> ModelPacker.pack(runtime, model, Kind.LANGUAGE_MODEL, WeightFormat.FP32, other));
    assertEquals(Set.of("model", "packed"), names(folder));
  }

  @Test
  void maskedLanguageModel() throws IOException {
    Path model = MaskedFolder.write(folder.resolve("model"));
    Map<String, Tensor> all = new TreeMap<>();
    SafetensorsFile file = Safetensors.map(model.resolve(Checkpoint.WEIGHTS), arena);
    for (String name : file.names()) {
      all.put(name, file.tensor(name));
    }
    String decoder = "cls.predictions.decoder.";
    all.put(decoder + "weight", all.get("bert.embeddings.word_embeddings.weight"));
    all.put(decoder + "bias", all.get("cls.predictions.bias"));
    ModelFolders.of(Files.readString(model.resolve("config.json")), all)
        .tokenizer(MaskedFolder.tokenizer("[MASK]"))
        .write(folder.resolve("more"));
    Path packed = folder.resolve("packed");
    ModelPacker.pack(
        runtime, folder.resolve("more"), Kind.MASKED_LANGUAGE_MODEL, WeightFormat.BF16, packed);
    SafetensorsFile made = Safetensors.map(packed.resolve(PackedFile.NAME), arena);
    assertTrue(!made.names().contains("cls.predictions.bias"));
    assertTrue(!made.names().contains(decoder + "weight"));
    String text = "the [MASK] of france is [MASK].";
    try (MaskedLanguageModel first = MaskedLanguageModel.load(runtime, model, WeightFormat.BF16);
        MaskedLanguageModel second = MaskedLanguageModel.load(runtime, packed)) {
      assertEquals(first.fill(text, 9), second.fill(text, 9));
    }
    refused("gatun.kind: expected EMBEDDER", () -> embedder(packed));
  }

  private void embedder(Path path) throws IOException {
    TextEmbedder.load(runtime, EmbeddingModelSpec.folder(path)).close();
  }

  @Test
  void noOpenBlas() throws IOException, InterruptedException {
    phi(Map.of());
    String out =
        ChildJvm.onClassPath()
            .withoutOpenBlas()
            .onClassPathToo("ai/djl/huggingface/tokenizers/jni/TokenizersLibrary.class")
            .onClassPathToo("com/fasterxml/jackson/core/JsonFactory.class")
            .main(Main.class)
            .run(packed(WeightFormat.INT8).toString())
            .expectSuccess();
    assertEquals("3", out);
  }

  /** What runs without OpenBLAS. */
  public static final class Main {
    private Main() {}

    /** Goes on with a text. */
    public static void main(String... arguments) throws IOException {
      try (GatunRuntime runtime = GatunRuntime.create();
          LanguageModel model = LanguageModel.load(runtime, Path.of(arguments[0]))) {
        System.out.print(model.generate(TEXT, GenerationOptions.of(3)).tokens().size());
      }
    }
  }

  // ---- refusals --------------------------------------------------------------------------------

  @Test
  void otherKindsAndFormats() throws IOException {
    Path model = phi(Map.of());
    Path packed = packed(WeightFormat.INT8);
    for (WeightFormat format :
        new WeightFormat[] {WeightFormat.FP32, WeightFormat.BF16, WeightFormat.VIEW}) {
      refused(
          "format: expected AUTO or INT8, which the weights are packed in, got " + format,
          () -> LanguageModel.load(runtime, packed, format).close());
    }
    refused(
        "gatun.kind: expected MASKED_LANGUAGE_MODEL, got 'LANGUAGE_MODEL'",
        () -> MaskedLanguageModel.load(runtime, packed).close());
    refused("gatun.kind: expected EMBEDDER, got 'LANGUAGE_MODEL'", () -> embedder(packed));
    Path to = folder.resolve("to");
    refused(
        "kind: expected a model of texts, got IMAGE_CLASSIFIER",
        () -> ModelPacker.pack(runtime, model, Kind.IMAGE_CLASSIFIER, WeightFormat.INT8, to));
    refused(
        "format: expected one that is packed, got VIEW",
        () -> ModelPacker.pack(runtime, model, Kind.LANGUAGE_MODEL, WeightFormat.VIEW, to));
    refused(
        "model_type: expected one of albert, bert",
        () -> ModelPacker.pack(runtime, model, Kind.EMBEDDER, WeightFormat.INT8, to));
    refused(
        "expected no folder or an empty one",
        () -> ModelPacker.pack(runtime, model, Kind.LANGUAGE_MODEL, WeightFormat.INT8, packed));
    // The tokenizer is read last of all.
    Files.writeString(model.resolve("tokenizer.json"), "{}");
    refused("", () -> ModelPacker.pack(runtime, model, Kind.LANGUAGE_MODEL, WeightFormat.INT8, to));
    assertEquals(Set.of("model", "packed"), names(folder));
  }

  /** What the file says is checked, and the one that is wrong is named. */
  @Test
  void changedFiles() throws IOException {
    phi(Map.of());
    Path packed = packed(WeightFormat.FP32);
    Files.copy(packed.resolve(PackedFile.NAME), folder.resolve("good"));
    String down = "model.layers.1.mlp.down_proj.weight";
    String up = "packed:model.layers.1.mlp.gate_up_proj.weight[0:50]";
    change("gatun.packed: expected 2, got '1'", (_, texts) -> texts.put("gatun.packed", "1"));
    change("gatun.packed: expected 2, got null", (_, texts) -> texts.remove("gatun.packed"));
    change("gatun.config: expected none", (_, texts) -> texts.put("gatun.config", "1"));
    change("gatun.kind: expected LANGUAGE_MODEL", (_, texts) -> texts.remove("gatun.kind"));
    change("expected " + down + ", got none", (_, texts) -> texts.remove("shape:" + down));
    change(down + ": expected", (_, texts) -> texts.put("shape:" + down, "36,51"));
    change("two sizes, got '36'", (_, texts) -> texts.put("shape:" + down, "36"));
    change("two sizes, got '-1,50'", (_, texts) -> texts.put("shape:" + down, "-1,50"));
    change(up + ": expected a packed weight", (tensors, _) -> tensors.remove(up));
    change(
        up + ": expected [in, out] = [36, 50]",
        (tensors, _) -> tensors.put(up, tensors.get("packed:" + down)));
    change(up + ": packed", (tensors, _) -> tensors.put(up, tensors.get(up).slice(0, 0, 40)));
    change("packed:" + TABLE, (tensors, _) -> tensors.remove("packed:" + TABLE));
    change("model.norm.weight", (tensors, _) -> tensors.remove("model.norm.weight"));
    change(
        "packed:more: expected packed weights that the model reads",
        (tensors, _) -> tensors.put("packed:more", tensors.get(up)));
    change("model.layers.7.x", (_, texts) -> texts.put("shape:model.layers.7.x", "36,50"));
    // A table of which only the shape is left is no table.
    change(
        TABLE + ": expected a table, got the shape",
        (tensors, texts) -> {
          tensors.remove(TABLE);
          texts.put("shape:" + TABLE, "59,36");
        });
    change(
        HEAD + ": expected the numbers of " + TABLE,
        (_, texts) -> texts.put("shape:" + HEAD, "59,36"));
  }

  private void change(String expected, BiConsumer<Map<String, Tensor>, Map<String, String>> change)
      throws IOException {
    Path packed = folder.resolve("packed");
    SafetensorsFile file = Safetensors.map(folder.resolve("good"), arena);
    Map<String, Tensor> tensors = new TreeMap<>();
    for (String name : file.names()) {
      tensors.put(name, file.stored(name));
    }
    Map<String, String> texts = new TreeMap<>(file.metadata());
    change.accept(tensors, texts);
    Safetensors.write(packed.resolve(PackedFile.NAME), tensors, texts, 64);
    FileSystemException e =
        assertThrows(
            FileSystemException.class, () -> LanguageModel.load(runtime, packed), expected);
    assertEquals(packed.resolve(PackedFile.NAME).toString(), e.getFile());
    assertTrue(e.getReason().contains(expected), e.getReason());
  }

  /** Whatever computes with a matrix that is not there gets no numbers. */
  @Test
  void shapesAreNoNumbers() throws IOException {
    phi(Map.of());
    PackedFile file = PackedFile.map(packed(WeightFormat.FP32).resolve(PackedFile.NAME), arena);
    float[] numbers = file.find("model.layers.0.mlp.down_proj.weight").toFloatArray();
    float[] none = new float[36 * 50];
    Arrays.fill(none, Float.NaN);
    assertArrayEquals(none, numbers);
  }

  /** Something that is refused. */
  private interface Call {
    void run() throws IOException;
  }

  private static void refused(String text, Call call) {
    Exception e = assertThrows(Exception.class, call::run);
    assertTrue(e instanceof IllegalArgumentException || e instanceof IOException, e.toString());
    assertTrue(e.getMessage().contains(text), e.getMessage());
  }
}
