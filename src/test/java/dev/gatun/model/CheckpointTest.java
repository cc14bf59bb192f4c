package dev.gatun.model;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import dev.gatun.GatunRuntime;
import dev.gatun.Tensor;
import dev.gatun.WeightFormat;
import dev.gatun.io.OnnxFile;
import dev.gatun.io.Safetensors;
import java.io.IOException;
import java.io.InputStream;
import java.lang.foreign.Arena;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.TreeMap;
import java.util.function.UnaryOperator;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;
import org.junit.jupiter.params.provider.ValueSource;

/**
 * Folders with safetensors as Hugging Face lays them out. The weights are those of an ONNX file,
 * whose vectors, which other tests hold against other libraries, have to be the same to the bit.
 */
class CheckpointTest {
  private static final String TEXT = "the cat sat on a mat";
  private static final String BERT =
      """
      {"model_type": "bert", "num_hidden_layers": 2, "hidden_size": 8, "num_attention_heads": 2,
       "intermediate_size": 16, "vocab_size": %d, "max_position_embeddings": %d,
       "type_vocab_size": 2, "layer_norm_eps": %s, "hidden_act": "gelu"}
      """;

  @TempDir private Path root;

  private final GatunRuntime runtime = GatunRuntime.builder().threads(1).build();
  private final Arena arena = Arena.ofConfined();
  private Path onnx;
  private Path folder;
  private BertWeights read;
  private Map<String, Tensor> weights;

  @BeforeEach
  void prepare() throws IOException {
    onnx = Files.createDirectory(root.resolve("onnx"));
    folder = Files.createDirectory(root.resolve("folder"));
    copy("bert.onnx", onnx.resolve("model.onnx"));
    copy("tokenizer.json", onnx.resolve("tokenizer.json"));
    take("bert.onnx");
  }

  @AfterEach
  void close() {
    arena.close();
    runtime.close();
  }

  private static void copy(String resource, Path file) throws IOException {
    try (InputStream in = CheckpointTest.class.getResourceAsStream("/folders/" + resource)) {
      Files.write(file, in.readAllBytes());
    }
  }

  /** Reads the weights of a file, and says what config.json has to. */
  private void take(String resource) throws IOException {
    Path file = onnx.resolve("model.onnx");
    copy(resource, file);
    copy("tokenizer.json", folder.resolve("tokenizer.json"));
    read = BertWeights.from(OnnxFile.map(file, arena), arena);
    weights = new TreeMap<>();
    for (String name : read.weights().names()) {
      weights.put(name, read.weights().get(name));
    }
    config(
        BERT.formatted(
            read.config().vocabulary(), read.config().positions(), read.config().layerNormEps()));
  }

  private void config(String json) throws IOException {
    Files.writeString(folder.resolve("config.json"), json);
  }

  private void write() throws IOException {
    write(name -> name);
  }

  private void write(UnaryOperator<String> names) throws IOException {
    Map<String, Tensor> renamed = new TreeMap<>();
    weights.forEach((name, tensor) -> renamed.put(names.apply(name), tensor));
    Safetensors.write(folder.resolve("model.safetensors"), renamed, Map.of("format", "pt"));
  }

  private float[] embed(Path from, WeightFormat format) throws IOException {
    try (TextEmbedder model = TextEmbedder.load(runtime, EmbeddingModelSpec.folder(from), format)) {
      return model.embed(TEXT);
    }
  }

  private void checkSame() throws IOException {
    assertArrayEquals(embed(onnx, WeightFormat.AUTO), embed(folder, WeightFormat.AUTO));
  }

  private String refused() {
    return assertThrows(IOException.class, () -> embed(folder, WeightFormat.AUTO)).getMessage();
  }

  // ---- names and files -----------------------------------------------------------------------

  @ParameterizedTest
  @ValueSource(strings = {"AUTO", "VIEW", "BF16", "INT8"})
  void sameAsOnnx(WeightFormat format) throws IOException {
    write();
    assertArrayEquals(embed(onnx, format), embed(folder, format));
  }

  @Test
  void oldNamesInsideOfAModelWithHeads() throws IOException {
    weights.put("pooler.dense.weight", Tensor.copyOf(arena, new float[64], 8, 8));
    weights.put("pooler.dense.bias", Tensor.copyOf(arena, new float[8], 8));
    write(
        name ->
            "bert."
                + name.replace("LayerNorm.weight", "LayerNorm.gamma")
                    .replace("LayerNorm.bias", "LayerNorm.beta"));
    checkSame();
    weights.put("cls.predictions.bias", Tensor.copyOf(arena, new float[8], 8));
    write(name -> name.startsWith("cls.") ? name : "bert." + name);
    checkSame();
  }

  @Test
  void oneMeaningTwice() throws IOException {
    weights.put("embeddings.LayerNorm.gamma", weights.get("embeddings.LayerNorm.weight"));
    write();
    String message = refused();
    assertTrue(
        message.contains("expected one weight of that meaning, got embeddings.LayerNorm.gamma"),
        message);
  }

  @Test
  void roberta() throws IOException {
    take("roberta.onnx");
    config(
        """
        {"model_type": "xlm-roberta", "num_hidden_layers": 2, "hidden_size": 8,
         "num_attention_heads": 2, "intermediate_size": 16, "vocab_size": %d,
         "max_position_embeddings": %d, "type_vocab_size": %d, "layer_norm_eps": %s,
         "pad_token_id": %d}
        """
            .formatted(
                read.config().vocabulary(),
                read.config().positionRows(),
                read.config().tokenTypes(),
                read.config().layerNormEps(),
                read.config().paddingId()));
    write(name -> "roberta." + name);
    checkSame();
  }

  /** Every third tensor in a file of its own. */
  private void shards(String... extra) throws IOException {
    List<Map<String, Tensor>> files = List.of(new TreeMap<>(), new TreeMap<>(), new TreeMap<>());
    List<String> places = new ArrayList<>(List.of(extra));
    int n = 0;
    for (Map.Entry<String, Tensor> weight : weights.entrySet()) {
      files.get(n % 3).put(weight.getKey(), weight.getValue());
      places.add(
          "\"%s\": \"model-%05d-of-00003.safetensors\"".formatted(weight.getKey(), n++ % 3 + 1));
    }
    for (int i = 0; i < 3; i++) {
      Path file = folder.resolve("model-%05d-of-00003.safetensors".formatted(i + 1));
      Safetensors.write(file, files.get(i), Map.of());
    }
    Files.writeString(
        folder.resolve("model.safetensors.index.json"),
        "{\"metadata\": {\"total_size\": 1}, \"weight_map\": {%s}}"
            .formatted(String.join(", ", places)));
  }

  @Test
  void shardsAreOneModel() throws IOException {
    shards();
    checkSame();
  }

  @ParameterizedTest
  @CsvSource(
      delimiter = ';',
      value = {
        "\"a\": \"../model.safetensors\"; weight_map.a: expected the name of a safetensors file",
        "\"a\": \"none.safetensors\"; weight_map.a: expected a file that is there, got",
        "\"a\": \"model-00001-of-00003.safetensors\"; weight_map.a: expected a file that has the",
        "\"a\": 3; weight_map.a: expected a string, got 3",
      })
  void indexIsNotTrusted(String place, String expected) throws IOException {
    shards(place);
    String message = refused();
    assertTrue(message.contains("model.safetensors.index.json: " + expected), message);
  }

  @Test
  void tensorThatTheIndexLeavesOut() throws IOException {
    shards();
    Path index = folder.resolve("model.safetensors.index.json");
    Files.writeString(
        index, Files.readString(index).replaceFirst("\"embeddings.LayerNorm.bias\": [^,]*,", ""));
    String message = refused();
    assertTrue(
        message.contains("weight_map: expected all tensors of model-00001-of-00003.safetensors"),
        message);
  }

  // ---- what is refused -----------------------------------------------------------------------

  @ParameterizedTest
  @CsvSource(
      delimiter = ';',
      value = {
        "\"bert\"; \"mamba\"; model_type: expected one of ",
        "\"model_type\"; \"type\"; model_type: expected one of ",
        "\"num_hidden_layers\": 2; \"num_hidden_layers\": 1; encoder.layer.1.",
        "\"num_hidden_layers\": 2; \"num_hidden_layers\": 3; encoder.layer.2.",
        "\"num_attention_heads\": 2; \"num_attention_heads\": 3; num_attention_heads: expected a",
        "\"hidden_size\": 8; \"hidden_size\": 16; expected",
        "\"intermediate_size\": 16; \"intermediate_size\": 7; intermediate_size: expected 16",
        "\"type_vocab_size\": 2; \"type_vocab_size\": 1; type_vocab_size: expected 2, the rows of",
        "\"hidden_act\": \"gelu\"; \"hidden_act\": \"mish\"; hidden_act: expected one of gelu",
        "\"hidden_act\"; \"is_decoder\": true, \"hidden_act\"; is_decoder: expected false, got",
        "1.0E-12; -1; layer_norm_eps: expected a finite number above 0, got -1",
      })
  void whatTheConfigurationSaysIsFollowedOrRefused(String from, String to, String expected)
      throws IOException {
    write();
    checkSame();
    Path file = folder.resolve("config.json");
    String json = Files.readString(file);
    String changed = json.replace(from, to);
    assertTrue(!changed.equals(json), json);
    config(changed);
    String message = refused();
    assertTrue(message.startsWith(folder.toString()) && message.contains(expected), message);
  }

  @Test
  void weightThatNothingReads() throws IOException {
    weights.put(
        "encoder.layer.0.attention.self.norm.weight", weights.get("embeddings.LayerNorm.bias"));
    write();
    String message = refused();
    assertEquals(
        folder.resolve("model.safetensors")
            + ": expected weights that the model reads, got"
            + " encoder.layer.0.attention.self.norm.weight [8]",
        message);
  }

  @Test
  void configurationIsNeeded() throws IOException {
    write();
    Files.delete(folder.resolve("config.json"));
    assertEquals(
        folder.resolve("config.json") + ": a folder with safetensors has to have it", refused());
  }

  // ---- packing -------------------------------------------------------------------------------

  @Test
  void packed() throws IOException {
    write(name -> "bert." + name);
    Path packed = root.resolve("packed");
    TextEmbedder.pack(runtime, EmbeddingModelSpec.folder(folder), WeightFormat.INT8, packed);
    assertArrayEquals(embed(onnx, WeightFormat.INT8), embed(packed, WeightFormat.AUTO));
    assertEquals(
        EmbeddingModelSpec.folder(onnx).products(WeightFormat.INT8),
        EmbeddingModelSpec.folder(folder).products(WeightFormat.INT8));
    assertEquals(
        EmbeddingModelSpec.folder(folder).products(WeightFormat.INT8).stream()
            .map(each -> each.name() + each.count() + each.format())
            .toList(),
        EmbeddingModelSpec.folder(packed).products(WeightFormat.AUTO).stream()
            .map(each -> each.name() + each.count() + each.format())
            .toList());
  }
}
