package dev.gatun.model;

import dev.gatun.DType;
import dev.gatun.GatunRuntime;
import dev.gatun.Tensor;
import dev.gatun.WeightFormat;
import dev.gatun.internal.Messages;
import dev.gatun.io.Safetensors;
import dev.gatun.io.SafetensorsFile;
import dev.gatun.nn.PackedWeight;
import java.io.IOException;
import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import java.nio.file.FileSystemException;
import java.nio.file.Path;
import java.util.Arrays;
import java.util.LinkedHashMap;
import java.util.Map;
import java.util.Set;
import java.util.TreeMap;
import java.util.TreeSet;

/**
 * A BERT-family encoder whose matrices are packed, in one safetensors file that is used where it is
 * mapped: a process starts in milliseconds, and processes share its pages.
 *
 * <p>Each packed weight is an I64 tensor (its bytes, at a multiple of 64) under the name of its
 * matrix, or the names with {@code +} between them where matrices lie side by side. Tables, norms
 * and biases are F32, a quantized table is U8. Metadata: {@code gatun.packed} (the version of all
 * this), {@code gatun.config} (the numbers of {@link BertConfig}, in its order), {@code shape:NAME}
 * of each matrix, {@code scale:NAME} and {@code zero:NAME} of a quantized table.
 */
final class PackedFile implements Weights {
  static final String NAME = "model.gatun.safetensors";

  private static final String VERSION_KEY = "gatun.packed";
  private static final String VERSION = "1";
  private static final String CONFIG = "gatun.config";
  private static final String SHAPE = "shape:";
  private static final String SCALE = "scale:";
  private static final String ZERO = "zero:";
  private static final int ALIGNMENT = 64;
  private static final int NUMBERS_OF_CONFIG = 11;

  private final Path file;
  private final SafetensorsFile tensors;
  private final Map<String, String> metadata;
  private final Set<String> taken = new TreeSet<>();

  /** One element that stands for a whole matrix, of which only the shape is asked. */
  private final MemorySegment phantom;

  private PackedFile(Path file, SafetensorsFile tensors, Arena arena) {
    this.file = file;
    this.tensors = tensors;
    this.metadata = tensors.metadata();
    this.phantom = arena.allocate(ValueLayout.JAVA_FLOAT);
  }

  // ---- reading ---------------------------------------------------------------------------------

  /**
   * Maps a file.
   *
   * @param arena decides how long it stays mapped
   * @throws IOException if it is no such file; the message names the key
   */
  static BertWeights map(Path file, Arena arena) throws IOException {
    PackedFile packed = new PackedFile(file, Safetensors.map(file, arena), arena);
    String version = packed.metadata.get(VERSION_KEY);
    if (!VERSION.equals(version)) {
      throw packed.error(
          "%s: expected %s, got %s".formatted(VERSION_KEY, VERSION, Messages.quoted(version)));
    }
    return new BertWeights(packed.config(), packed);
  }

  private BertConfig config() throws IOException {
    String text = metadata.getOrDefault(CONFIG, "");
    String[] n = text.split(",", -1);
    try {
      if (n.length == NUMBERS_OF_CONFIG) {
        return new BertConfig(
            Integer.parseInt(n[0]),
            Integer.parseInt(n[1]),
            Integer.parseInt(n[2]),
            Integer.parseInt(n[3]),
            Integer.parseInt(n[4]),
            Integer.parseInt(n[5]),
            Integer.parseInt(n[6]),
            Integer.parseInt(n[7]),
            Float.parseFloat(n[8]),
            Integer.parseInt(n[9]),
            Integer.parseInt(n[10]));
      }
    } catch (IllegalArgumentException e) {
      throw error("%s: %s".formatted(CONFIG, e.getMessage()));
    }
    throw error(
        "%s: expected %d numbers, got %s"
            .formatted(CONFIG, NUMBERS_OF_CONFIG, Messages.quoted(text)));
  }

  private FileSystemException error(String reason) {
    return new FileSystemException(file.toString(), null, reason);
  }

  /** {@link TextEmbedder} says the file. */
  private static IllegalArgumentException refused(String name, String reason) {
    return new IllegalArgumentException("%s: %s".formatted(name, reason));
  }

  /** A matrix by its shape alone, whose one element is 0 and means nothing. */
  @Override
  public Tensor find(String name) {
    String shape = metadata.get(SHAPE + name);
    if (shape != null) {
      String[] sizes = shape.split(",", -1);
      try {
        if (sizes.length != 2) {
          throw new IndexOutOfBoundsException();
        }
        return Tensor.ofStrided(
            phantom,
            DType.FLOAT32,
            new long[] {Integer.parseInt(sizes[0]), Integer.parseInt(sizes[1])},
            new long[] {0, 0});
      } catch (IllegalArgumentException | IndexOutOfBoundsException e) {
        throw refused(SHAPE + name, "expected two sizes, got " + Messages.quoted(shape));
      }
    }
    try {
      return tensors.names().contains(name) && !isPacked(name) ? tensors.stored(name) : null;
    } catch (IOException e) {
      throw refused(name, e.getMessage());
    }
  }

  private boolean isPacked(String name) throws IOException {
    return tensors.dtype(name).equals("I64");
  }

  /**
   * Refuses a format that weights cannot be had in: packed ones and integers are what they are.
   *
   * @throws IllegalArgumentException naming it
   */
  static void requireFormat(Weights weights, WeightFormat format) throws IOException {
    if (weights instanceof PackedFile file) {
      for (String name : file.tensors.names()) {
        if (file.isPacked(name)) {
          WeightFormat own = PackedWeight.of(file.tensors.tensor(name).segment()).format();
          if (format != WeightFormat.AUTO && format != own) {
            throw new IllegalArgumentException(
                "format: expected AUTO or %s, which the weights are packed in, got %s"
                    .formatted(own, format));
          }
          return;
        }
      }
    } else if (format != WeightFormat.AUTO && format != WeightFormat.INT8) {
      for (String name : weights.names()) {
        if (weights.stored(name).dtype() == DType.INT8) {
          throw new IllegalArgumentException(
              "format: expected AUTO or INT8, as the file has int8 weights, got " + format);
        }
      }
    }
  }

  @Override
  public Tensor scales(String name) {
    String text = metadata.get(SCALE + name);
    return text == null
        ? null
        : Tensor.copyOf(Arena.ofAuto(), new float[] {(float) number(SCALE + name, text)}, 1);
  }

  @Override
  public int zeroPoint(String name) {
    String text = metadata.get(ZERO + name);
    double zero = text == null ? 0 : number(ZERO + name, text);
    if (zero != (int) zero || zero < 0 || zero > 255) {
      throw refused(ZERO + name, "expected 0 .. 255, got " + Messages.quoted(text));
    }
    return (int) zero;
  }

  private double number(String key, String text) {
    try {
      return Double.parseDouble(text);
    } catch (NumberFormatException e) {
      throw refused(key, "expected a number, got " + Messages.quoted(text));
    }
  }

  @Override
  public Set<String> names() {
    Set<String> names = new TreeSet<>();
    for (String name : tensors.names()) {
      names.addAll(Arrays.asList(name.split("\\+", -1)));
    }
    return names;
  }

  /** Refuses packed weights that no layer has taken. */
  void refuseUntaken() throws IOException {
    for (String name : tensors.names()) {
      if (isPacked(name) && !taken.contains(name)) {
        throw refused(name, "expected packed weights that the model reads, got others");
      }
    }
  }

  /** A weight that was packed under these names, whose sizes have been asked here. */
  PackedWeight packed(String key, long in, long out) {
    if (!tensors.names().contains(key)) {
      throw refused(key, "expected a packed weight of that name, got none");
    }
    PackedWeight weight;
    try {
      weight = PackedWeight.of(tensors.tensor(key).segment());
    } catch (IOException | IllegalArgumentException e) {
      throw refused(key, e.getMessage());
    }
    taken.add(key);
    if (weight.in() != in || weight.out() != out) {
      throw refused(key, "expected [in, out] = [%d, %d], got %s".formatted(in, out, weight));
    }
    return weight;
  }

  /** What messages call it. */
  @Override
  public String toString() {
    return file.toString();
  }

  // ---- writing ---------------------------------------------------------------------------------

  /**
   * Packs an encoder into a file.
   *
   * @param runtime whose threads pack
   * @param weights of an encoder
   * @param format of its matrices
   * @param file is replaced when the new one is complete
   */
  static void write(GatunRuntime runtime, BertWeights weights, WeightFormat format, Path file)
      throws IOException {
    try (Arena arena = Arena.ofShared()) {
      Map<String, PackedWeight> made = new LinkedHashMap<>();
      PackedWeights packed = new PackedWeights(weights.weights(), new WeightSlab(arena), format);
      packed.record(made);
      Bert.of("packed", runtime, new BertWeights(weights.config(), packed), arena, format);
      Map<String, Tensor> tensors = new TreeMap<>();
      Map<String, String> metadata = new TreeMap<>();
      metadata.put(VERSION_KEY, VERSION);
      metadata.put(CONFIG, text(weights.config()));
      Set<String> matrices = new TreeSet<>();
      made.forEach(
          (key, weight) -> {
            tensors.put(
                key,
                Tensor.of(weight.segment(), DType.INT64, weight.segment().byteSize() / Long.BYTES));
            matrices.addAll(Arrays.asList(key.split("\\+")));
          });
      for (String name : weights.weights().names()) {
        Tensor tensor = weights.weights().find(name);
        if (matrices.contains(name)) {
          metadata.put(SHAPE + name, tensor.size(0) + "," + tensor.size(1));
        } else {
          tensors.put(name, tensor);
          Tensor scale = weights.weights().scales(name);
          if (scale != null) {
            metadata.put(SCALE + name, String.valueOf(scale.toFloatArray()[0]));
            metadata.put(ZERO + name, String.valueOf(weights.weights().zeroPoint(name)));
          }
        }
      }
      Safetensors.write(file, tensors, metadata, ALIGNMENT);
    }
  }

  private static String text(BertConfig c) {
    return "%d,%d,%d,%d,%d,%d,%d,%d,%s,%d,%d"
        .formatted(
            c.layers(),
            c.hidden(),
            c.heads(),
            c.headDim(),
            c.intermediate(),
            c.vocabulary(),
            c.positions(),
            c.tokenTypes(),
            c.layerNormEps(),
            c.firstPosition(),
            c.paddingId());
  }
}
