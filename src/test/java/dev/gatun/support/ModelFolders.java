package dev.gatun.support;

import dev.gatun.DType;
import dev.gatun.Tensor;
import dev.gatun.io.Safetensors;
import java.io.IOException;
import java.lang.foreign.Arena;
import java.lang.foreign.ValueLayout;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.StringJoiner;
import java.util.TreeMap;
import java.util.function.UnaryOperator;

/**
 * A folder as Hugging Face's Hub has them: config.json, model.safetensors or several such files
 * with their index, and tokenizer.json.
 *
 * {@snippet :
 * ModelFolders.of("{\"model_type\": \"bert\", …}", weights)
 *     .prefixed("bert.")
 *     .as(DType.BFLOAT16)
 *     .shards(2)
 *     .write(folder);
 * }
 */
public final class ModelFolders {
  private final String config;
  private final Map<String, Tensor> weights;
  private DType dtype = DType.FLOAT32;
  private int shards = 1;
  private String tokenizer;

  private ModelFolders(String config, Map<String, Tensor> weights) {
    this.config = config;
    this.weights = new TreeMap<>(weights);
  }

  /** Starts with the text of config.json, and FLOAT32 weights under the names of the file. */
  public static ModelFolders of(String config, Map<String, Tensor> weights) {
    return new ModelFolders(config, weights);
  }

  /** Puts a text before all names that are there so far. */
  public ModelFolders prefixed(String prefix) {
    return named(name -> prefix + name);
  }

  /** Gives new names to those that are there so far. */
  public ModelFolders named(UnaryOperator<String> renaming) {
    Map<String, Tensor> old = new TreeMap<>(weights);
    weights.clear();
    old.forEach((name, tensor) -> weights.put(renaming.apply(name), tensor));
    return this;
  }

  /** Norms' weights and biases under the names that they had before 2019: gamma and beta. */
  public ModelFolders withOldNorms() {
    return named(
        name ->
            name.replaceAll("LayerNorm\\.weight$", "LayerNorm.gamma")
                .replaceAll("LayerNorm\\.bias$", "LayerNorm.beta"));
  }

  /** Adds a weight, as it is. */
  public ModelFolders with(String name, Tensor tensor) {
    weights.put(name, tensor);
    return this;
  }

  /** The type in which FLOAT32 weights are stored. */
  public ModelFolders as(DType type) {
    dtype = type;
    return this;
  }

  /** The number of files that the weights are spread over; of more than 1 with an index. */
  public ModelFolders shards(int count) {
    shards = count;
    return this;
  }

  /** The text of tokenizer.json, as {@link TokenizerFiles} has them. */
  public ModelFolders tokenizer(String json) {
    tokenizer = json;
    return this;
  }

  /** Writes the files into a folder, which is made if it is not there. */
  public Path write(Path folder) throws IOException {
    Files.createDirectories(folder);
    Files.writeString(folder.resolve("config.json"), config);
    if (tokenizer != null) {
      Files.writeString(folder.resolve("tokenizer.json"), tokenizer);
    }
    try (Arena arena = Arena.ofConfined()) {
      Map<String, Tensor> stored = new TreeMap<>();
      weights.forEach((name, tensor) -> stored.put(name, converted(arena, tensor)));
      if (shards == 1) {
        Safetensors.write(folder.resolve("model.safetensors"), stored, Map.of("format", "pt"));
      } else {
        writeShards(folder, stored);
      }
    }
    return folder;
  }

  private void writeShards(Path folder, Map<String, Tensor> stored) throws IOException {
    List<Map<String, Tensor>> files = new ArrayList<>();
    for (int n = 0; n < shards; n++) {
      files.add(new TreeMap<>());
    }
    StringJoiner map = new StringJoiner(", ", "{", "}");
    int next = 0;
    long bytes = 0;
    for (Map.Entry<String, Tensor> weight : stored.entrySet()) {
      int shard = next++ % shards;
      files.get(shard).put(weight.getKey(), weight.getValue());
      map.add("\"%s\": \"%s\"".formatted(weight.getKey(), file(shard)));
      bytes += weight.getValue().elements() * weight.getValue().dtype().byteSize();
    }
    for (int n = 0; n < shards; n++) {
      Safetensors.write(folder.resolve(file(n)), files.get(n), Map.of("format", "pt"));
    }
    Files.writeString(
        folder.resolve("model.safetensors.index.json"),
        "{\"metadata\": {\"total_size\": %d}, \"weight_map\": %s}".formatted(bytes, map));
  }

  private String file(int shard) {
    return "model-%05d-of-%05d.safetensors".formatted(shard + 1, shards);
  }

  private Tensor converted(Arena arena, Tensor tensor) {
    if (tensor.dtype() != DType.FLOAT32 || dtype == DType.FLOAT32) {
      return tensor;
    }
    Tensor half = Tensor.allocate(arena, dtype, tensor.shape());
    float[] values = tensor.toFloatArray();
    for (int i = 0; i < values.length; i++) {
      short bits =
          dtype == DType.FLOAT16
              ? Float.floatToFloat16(values[i])
              : (short) (Float.floatToRawIntBits(values[i]) >>> Short.SIZE);
      half.segment().setAtIndex(ValueLayout.JAVA_SHORT, i, bits);
    }
    return half;
  }

  /**
   * The number nearest to 0 between it and this one that FLOAT32, BFLOAT16 and FLOAT16 hold alike,
   * so that a model has the same weights in a file of each.
   */
  public static float inAllTypes(float value) {
    float coarse = Float.intBitsToFloat(Float.floatToRawIntBits(value) & 0xFFFF_0000);
    return Math.abs(coarse) < 0x1p-14f ? 0 : coarse;
  }
}
