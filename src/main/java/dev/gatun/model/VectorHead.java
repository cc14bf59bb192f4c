package dev.gatun.model;

import dev.gatun.DType;
import dev.gatun.Tensor;
import dev.gatun.internal.Blocks;
import dev.gatun.io.Safetensors;
import dev.gatun.io.SafetensorsFile;
import dev.gatun.nn.Activation;
import java.io.IOException;
import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import java.nio.file.FileSystemException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Arrays;
import java.util.Set;

/** From the last hidden state to vectors: pooling and what follows it. */
final class VectorHead {
  private static final String WEIGHTS = "model.safetensors";
  private static final String PICKLE = "pytorch_model.bin";
  private static final String WEIGHT = "linear.weight";
  private static final String BIAS = "linear.bias";

  /** A linear layer; weight {@code [out, in]}, row-major. */
  private record Dense(
      int in, int out, MemorySegment weight, MemorySegment bias, Activation f, boolean tanh) {}

  private final boolean first;
  private final int width;

  /** Whether the pooled vector is divided by its norm before anything else. */
  private final boolean unitPooled;

  /** Each is followed by a division by the norm where unit says so. */
  private final Dense[] layers;

  private final boolean[] unit;
  private final int dimension;

  /**
   * Loads the weights.
   *
   * @param name of the model, for messages
   * @param folder what is done
   * @param width of the hidden state
   * @param arena gets the weights
   */
  VectorHead(String name, ModelFolder folder, int width, Arena arena) throws IOException {
    if (folder.width() >= 0 && folder.width() != width) {
      throw new FileSystemException(
          name,
          null,
          "word_embedding_dimension of the Pooling module: expected %d, the hidden size, got %d"
              .formatted(width, folder.width()));
    }
    this.first = folder.pooling() == Pooling.CLS;
    this.width = width;
    this.layers =
        new Dense
            [(int) folder.steps().stream().filter(ModelFolder.Dense.class::isInstance).count()];
    this.unit = new boolean[layers.length];
    boolean pooled = false;
    int count = 0;
    int size = width;
    for (ModelFolder.Step step : folder.steps()) {
      switch (step) {
        case ModelFolder.Normalize normalize -> {
          if (count == 0) {
            pooled = true;
          } else {
            unit[count - 1] = true;
          }
        }
        case ModelFolder.Dense dense -> {
          layers[count++] = load(dense, size, arena);
          size = dense.config().out();
        }
      }
    }
    this.unitPooled = pooled;
    this.dimension = size;
  }

  private static Dense load(ModelFolder.Dense dense, int in, Arena arena) throws IOException {
    DenseConfig config = dense.config();
    if (config.in() != in) {
      throw new FileSystemException(
          dense.folder().resolve("config.json").toString(),
          null,
          "in_features: expected %d, what is before it, got %d".formatted(in, config.in()));
    }
    Path file = dense.folder().resolve(WEIGHTS);
    if (!Files.exists(file) && Files.exists(dense.folder().resolve(PICKLE))) {
      throw new FileSystemException(
          dense.folder().resolve(PICKLE).toString(),
          null,
          "expected %s instead: a pickle is a program, which Gatun does not run"
              .formatted(WEIGHTS));
    }
    try (Arena reading = Arena.ofConfined()) {
      SafetensorsFile weights = Safetensors.map(file, reading);
      Set<String> expected = config.bias() ? Set.of(WEIGHT, BIAS) : Set.of(WEIGHT);
      if (!weights.names().equals(expected)) {
        throw new FileSystemException(
            file.toString(),
            null,
            "expected the tensors %s, got %s".formatted(expected, weights.names()));
      }
      return new Dense(
          in,
          config.out(),
          copy(file, weights, WEIGHT, arena, config.out(), in),
          config.bias() ? copy(file, weights, BIAS, arena, config.out()) : MemorySegment.NULL,
          config.activation(),
          config.tanh());
    }
  }

  private static MemorySegment copy(
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
    Tensor tensor = weights.tensor(name, arena);
    assert tensor.dtype() == DType.FLOAT32;
    return tensor.segment();
  }

  /** Elements of a vector. */
  int dimension() {
    return dimension;
  }

  /** Whether the last step divides by the norm. */
  boolean isUnit() {
    return layers.length == 0 ? unitPooled : unit[layers.length - 1];
  }

  /**
   * Computes vectors.
   *
   * @param hidden {@code [total, width]}
   * @param offsets {@code [texts + 1]} int32
   * @param out receives {@code [texts, dimension]}
   * @param outRow elements between its rows
   */
  void run(
      Blocks blocks,
      MemorySegment hidden,
      MemorySegment offsets,
      long texts,
      MemorySegment out,
      long outRow) {
    if (layers.length == 0) {
      blocks.pool(first, unitPooled, texts, width, hidden, width, offsets, out, outRow);
      return;
    }
    int mark = blocks.mark();
    MemorySegment x = blocks.take(texts * width).segment();
    blocks.pool(first, unitPooled, texts, width, hidden, width, offsets, x, width);
    for (int n = 0; n < layers.length; n++) {
      boolean last = n + 1 == layers.length;
      MemorySegment y = last ? out : blocks.take(texts * layers[n].out).segment();
      long row = last ? outRow : layers[n].out;
      run(blocks, layers[n], unit[n], x, texts, y, row);
      x = y;
    }
    blocks.giveBackTo(mark);
  }

  private static void run(
      Blocks blocks,
      Dense layer,
      boolean unit,
      MemorySegment x,
      long texts,
      MemorySegment y,
      long row) {
    if (texts == 0) {
      return;
    }
    // Dense rows are few: one a text.
    MemorySegment sum = unit ? blocks.take(texts * layer.out).segment() : y;
    long sumRow = unit ? layer.out : row;
    blocks.linear(
        texts,
        layer.in,
        layer.out,
        x,
        layer.in,
        layer.weight,
        layer.in,
        true,
        layer.bias,
        layer.f,
        sum,
        sumRow);
    if (layer.tanh) {
      tanh(sum, texts, layer.out, sumRow);
    }
    if (unit) {
      MemorySegment places = blocks.take(texts + 1).segment();
      for (int n = 0; n <= texts; n++) {
        places.setAtIndex(ValueLayout.JAVA_INT, n, n);
      }
      blocks.pool(true, true, texts, layer.out, sum, sumRow, places, y, row);
    }
  }

  private static void tanh(MemorySegment rows, long texts, int columns, long row) {
    for (long n = 0; n < texts; n++) {
      for (long i = n * row; i < n * row + columns; i++) {
        float x = rows.getAtIndex(ValueLayout.JAVA_FLOAT, i);
        rows.setAtIndex(ValueLayout.JAVA_FLOAT, i, (float) Math.tanh(x));
      }
    }
  }
}
