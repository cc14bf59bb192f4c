package dev.gatun.model;

import dev.gatun.GatunRuntime;
import dev.gatun.Tensor;
import dev.gatun.WeightFormat;
import dev.gatun.io.Safetensors;
import dev.gatun.io.SafetensorsFile;
import dev.gatun.nn.LayerNorm;
import dev.gatun.nn.Linear;
import dev.gatun.nn.SentenceEncoder;
import dev.gatun.nn.SentenceEncoder.Step;
import dev.gatun.nn.TextEncoder;
import dev.gatun.nn.WeightOrder;
import java.io.IOException;
import java.lang.foreign.Arena;
import java.nio.file.FileSystemException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.Set;

/** Loads what stands between the last hidden state and a vector. */
final class VectorHead {
  static final String WEIGHTS = "model.safetensors";
  private static final String PICKLE = "pytorch_model.bin";
  static final String WEIGHT = "linear.weight";
  private static final String BIAS = "linear.bias";
  private static final String GAMMA = "norm.weight";
  private static final String BETA = "norm.bias";
  private static final float EPSILON = 1e-5f;

  private VectorHead() {}

  /** Puts a model together of an encoder and what a folder does with its last hidden state. */
  static SentenceEncoder load(
      TextEncoder encoder, ModelFolder folder, Arena arena, WeightFormat format)
      throws IOException {
    if (folder.pooling().width() >= 0 && folder.pooling().width() != encoder.dim()) {
      throw new FileSystemException(
          encoder.name(),
          null,
          "word_embedding_dimension of the Pooling module: expected %d, the hidden size, got %d"
              .formatted(encoder.dim(), folder.pooling().width()));
    }
    List<Step> steps = new ArrayList<>();
    long size = encoder.dim() * folder.pooling().poolings().size();
    for (ModelFolder.Step step : folder.steps()) {
      switch (step) {
        case ModelFolder.Normalize normalize -> steps.add(new SentenceEncoder.Normalize());
        case ModelFolder.Dense dense -> {
          SentenceEncoder.Dense loaded = load(encoder.runtime(), dense, size, arena);
          // One row a text: nothing would be gained by fewer bits.
          WeightFormat packed = format == WeightFormat.VIEW ? WeightFormat.VIEW : WeightFormat.AUTO;
          steps.add(
              new SentenceEncoder.Dense(loaded.linear().packed(arena, packed), loaded.squash()));
          size = dense.config().out();
        }
        case ModelFolder.LayerNorm layer ->
            steps.add(
                new SentenceEncoder.Normalization(load(encoder.runtime(), layer, size, arena)));
      }
    }
    return new SentenceEncoder(encoder, folder.pooling().poolings(), steps);
  }

  private static SentenceEncoder.Dense load(
      GatunRuntime runtime, ModelFolder.Dense dense, long in, Arena arena) throws IOException {
    DenseConfig config = dense.config();
    if (config.in() != in) {
      throw new FileSystemException(
          dense.folder().resolve("config.json").toString(),
          null,
          "in_features: expected %d, what is before it, got %d".formatted(in, config.in()));
    }
    Path file = weights(dense.folder());
    try (Arena reading = Arena.ofConfined()) {
      SafetensorsFile weights = Safetensors.map(file, reading);
      requireNames(file, weights, config.bias() ? Set.of(WEIGHT, BIAS) : Set.of(WEIGHT));
      Tensor weight = copy(file, weights, WEIGHT, arena, config.out(), in);
      Tensor bias = config.bias() ? copy(file, weights, BIAS, arena, config.out()) : null;
      Linear linear = new Linear(runtime, WeightOrder.OUT_IN, weight, bias, config.activation());
      return new SentenceEncoder.Dense(linear, config.squash());
    }
  }

  /** Elements of its weights are those of torch.nn.LayerNorm, whose epsilon nobody changes. */
  private static LayerNorm load(
      GatunRuntime runtime, ModelFolder.LayerNorm layer, long size, Arena arena)
      throws IOException {
    if (layer.dimension() != size) {
      throw new FileSystemException(
          layer.folder().resolve("config.json").toString(),
          null,
          "dimension: expected %d, what is before it, got %d".formatted(size, layer.dimension()));
    }
    Path file = weights(layer.folder());
    try (Arena reading = Arena.ofConfined()) {
      SafetensorsFile weights = Safetensors.map(file, reading);
      requireNames(file, weights, Set.of(GAMMA, BETA));
      Tensor gamma = copy(file, weights, GAMMA, arena, size);
      Tensor beta = copy(file, weights, BETA, arena, size);
      return new LayerNorm(runtime, gamma, beta, EPSILON);
    }
  }

  private static Path weights(Path folder) throws FileSystemException {
    Path file = folder.resolve(WEIGHTS);
    if (!Files.exists(file) && Files.exists(folder.resolve(PICKLE))) {
      throw new FileSystemException(
          folder.resolve(PICKLE).toString(),
          null,
          "expected %s instead: a pickle is a program, which Gatun does not run"
              .formatted(WEIGHTS));
    }
    return file;
  }

  private static void requireNames(Path file, SafetensorsFile weights, Set<String> expected)
      throws FileSystemException {
    if (!weights.names().equals(expected)) {
      throw new FileSystemException(
          file.toString(),
          null,
          "expected the tensors %s, got %s".formatted(expected, weights.names()));
    }
  }

  private static Tensor copy(
      Path file, SafetensorsFile weights, String name, Arena arena, long... shape)
      throws IOException {
    if (!Arrays.equals(weights.shape(name), shape)
        || !Set.of("F32", "F16", "BF16", "F64").contains(weights.dtype(name))) {
      throw new FileSystemException(
          file.toString(),
          null,
          "%s: expected %s floats, got %s %s"
              .formatted(
                  name,
                  Arrays.toString(shape),
                  Arrays.toString(weights.shape(name)),
                  weights.dtype(name)));
    }
    return weights.tensor(name, arena);
  }
}
