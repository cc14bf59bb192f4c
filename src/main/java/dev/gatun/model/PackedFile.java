package dev.gatun.model;

import dev.gatun.DType;
import dev.gatun.Tensor;
import dev.gatun.WeightFormat;
import dev.gatun.internal.Messages;
import dev.gatun.io.Safetensors;
import dev.gatun.io.SafetensorsFile;
import dev.gatun.model.FolderInspection.Kind;
import dev.gatun.nn.PackedWeight;
import java.io.IOException;
import java.io.UncheckedIOException;
import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import java.nio.file.FileSystemException;
import java.nio.file.Path;
import java.util.Map;
import java.util.Set;
import java.util.TreeMap;
import java.util.TreeSet;
import java.util.stream.Collectors;

/**
 * A model whose matrices are packed, in one safetensors file that is used where it is mapped: a
 * process starts in milliseconds, and processes share its pages. A family's own loader reads it, as
 * it reads other files: of a matrix it finds the shape, and when it packs it, the packed weight.
 *
 * <p>Each packed weight is an I64 tensor (its bytes, at a multiple of 64) called {@code packed:}
 * and the name of its matrix, or the names with {@code +} between them where matrices lie side by
 * side, and {@code [from:to]} behind where it is some columns of one. What is used as it is
 * (tables, norms, biases) has its own name and type. Metadata: {@code gatun.packed} (the version of
 * all this), {@code gatun.kind} (what was packed), {@code gatun.format}, {@code shape:NAME} of each
 * matrix, {@code scale:NAME} and {@code zero:NAME} of a quantized table. What config.json says of
 * other models {@code gatun.config} says of one that came from a graph, the numbers of {@link
 * BertConfig} in its order.
 */
final class PackedFile implements Weights {
  static final String NAME = "model.gatun.safetensors";

  private static final String VERSION_KEY = "gatun.packed";
  private static final String VERSION = "2";
  private static final String KIND = "gatun.kind";
  private static final String FORMAT = "gatun.format";
  private static final String CONFIG = "gatun.config";
  private static final String PACKED = "packed:";
  private static final String SHAPE = "shape:";
  private static final String SCALE = "scale:";
  private static final String ZERO = "zero:";
  private static final int ALIGNMENT = 64;
  private static final int NUMBERS_OF_CONFIG = 11;

  private final Path file;
  private final SafetensorsFile tensors;
  private final Map<String, String> metadata;
  private final Set<String> taken = new TreeSet<>();

  /** Those that are converted, once each. */
  private final Weights halves;

  /** One element that stands for a whole matrix, of which only the shape is asked. */
  private final MemorySegment phantom;

  private PackedFile(Path file, SafetensorsFile tensors, Arena arena) {
    this.file = file;
    this.tensors = tensors;
    this.metadata = tensors.metadata();
    this.halves = Weights.of(tensors, arena);
    this.phantom = arena.allocate(ValueLayout.JAVA_FLOAT);
    phantom.set(ValueLayout.JAVA_FLOAT, 0, Float.NaN); // whatever computes with it shows it
  }

  // ---- reading ---------------------------------------------------------------------------------

  /**
   * Maps a file.
   *
   * @param arena decides how long it stays mapped
   * @throws IOException if it is no such file; the message names the key
   */
  static PackedFile map(Path file, Arena arena) throws IOException {
    PackedFile packed = new PackedFile(file, Safetensors.map(file, arena), arena);
    String version = packed.metadata.get(VERSION_KEY);
    if (!VERSION.equals(version)) {
      throw packed.error(
          "%s: expected %s, got %s".formatted(VERSION_KEY, VERSION, Messages.quoted(version)));
    }
    return packed;
  }

  /**
   * The model of a folder with config.json.
   *
   * @throws IOException if the file came from a graph, which config.json may contradict
   */
  PackedFile besideConfig() throws IOException {
    if (metadata.containsKey(CONFIG)) {
      throw error(CONFIG + ": expected none beside config.json, got one");
    }
    return this;
  }

  /** {@return what a file was packed as; null if it does not say one of them} */
  static Kind kind(SafetensorsFile file) {
    String text = file.metadata().get(KIND);
    for (Kind kind : Kind.values()) {
      if (kind.name().equals(text)) {
        return kind;
      }
    }
    return null;
  }

  /** Refuses a file that was packed as something else, which reads other weights. */
  void requireKind(Kind kind) {
    if (kind(tensors) != kind) {
      throw refused(
          KIND,
          "expected %s, got %s, which it was packed as"
              .formatted(kind, Messages.quoted(metadata.get(KIND))));
    }
  }

  /**
   * The encoder of a graph.
   *
   * @throws IOException if it does not say its sizes
   */
  BertWeights encoder() throws IOException {
    return new BertWeights(config(), this);
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

  /** A matrix that is packed has its shape alone, and one element, which is not a number. */
  @Override
  public Tensor find(String name) {
    return find(name, false);
  }

  @Override
  public Tensor stored(String name) {
    return find(name, true);
  }

  private Tensor find(String name, boolean halvesToo) {
    if (!tensors.names().contains(name)) {
      return metadata.containsKey(SHAPE + name) ? shaped(name) : null;
    }
    try {
      Tensor stored = tensors.stored(name);
      boolean converted =
          stored == null
              || !halvesToo
                  && (stored.dtype() == DType.BFLOAT16 || stored.dtype() == DType.FLOAT16);
      return converted ? halves.find(name) : stored;
    } catch (IOException | UncheckedIOException e) {
      throw refused(name, e.getMessage());
    }
  }

  /** Refuses a table, if it is of a file of this kind, of which only the shape is there. */
  static void requireNumbers(Weights weights, String name) {
    PackedFile file = WeightView.find(weights, PackedFile.class);
    String own = WeightView.sourceName(weights, name);
    if (file != null && !file.tensors.names().contains(own)) {
      throw refused(own, "expected a table, got the shape of a matrix that is packed");
    }
  }

  private Tensor shaped(String name) {
    String shape = metadata.get(SHAPE + name);
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

  /**
   * Refuses a format that weights cannot be had in: packed ones and integers are what they are.
   *
   * @throws IllegalArgumentException naming it
   */
  static void requireFormat(Weights weights, WeightFormat format) {
    PackedFile file = WeightView.find(weights, PackedFile.class);
    if (file != null) {
      String own = file.metadata.getOrDefault(FORMAT, WeightFormat.AUTO.name());
      if (format != WeightFormat.AUTO && !format.name().equals(own)) {
        throw new IllegalArgumentException(
            "format: expected AUTO or %s, which the weights are packed in, got %s"
                .formatted(own, format));
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
      if (!name.startsWith(PACKED)) {
        names.add(name);
      }
    }
    for (String key : metadata.keySet()) {
      if (key.startsWith(SHAPE)) {
        names.add(key.substring(SHAPE.length()));
      }
    }
    return names;
  }

  /** Refuses packed weights that no layer has taken. */
  void refuseUntaken() {
    for (String name : tensors.names()) {
      if (name.startsWith(PACKED) && !taken.contains(name)) {
        throw refused(name, "expected packed weights that the model reads, got others");
      }
    }
  }

  /**
   * A weight that was packed under a key.
   *
   * @param key names of matrices, and columns
   * @param in rows that it has to have
   * @param out columns that it has to have
   * @throws IllegalArgumentException naming it, if it is not there or another one
   */
  PackedWeight packed(String key, long in, long out) {
    String name = PACKED + key;
    if (!tensors.names().contains(name)) {
      throw refused(name, "expected a packed weight of that name, got none");
    }
    PackedWeight weight;
    try {
      weight = PackedWeight.of(tensors.tensor(name).segment());
    } catch (IOException | IllegalArgumentException e) {
      throw refused(name, e.getMessage());
    }
    taken.add(name);
    if (weight.in() != in || weight.out() != out) {
      throw refused(name, "expected [in, out] = [%d, %d], got %s".formatted(in, out, weight));
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
   * Writes what a loader has packed and used.
   *
   * @param file is replaced when the new one is complete
   * @param kind of the model
   * @param format that was asked for
   * @param weights as the loader has left them
   * @param sizes of an encoder that came from a graph; null of a model with config.json
   */
  static void write(
      Path file, Kind kind, WeightFormat format, RecordedWeights weights, BertConfig sizes)
      throws IOException {
    Map<String, Tensor> tensors = new TreeMap<>();
    Map<String, String> metadata = new TreeMap<>();
    metadata.put(VERSION_KEY, VERSION);
    metadata.put(KIND, kind.name());
    metadata.put(FORMAT, format(format, weights).name());
    if (sizes != null) {
      metadata.put(CONFIG, text(sizes));
    }
    for (String name : weights.shapes()) {
      Tensor matrix = weights.stored(name);
      metadata.put(SHAPE + name, matrix.size(0) + "," + matrix.size(1));
    }
    for (String name : weights.used()) {
      tensors.put(name, weights.stored(name));
      Tensor scale = weights.scales(name);
      if (scale != null) {
        metadata.put(SCALE + name, String.valueOf(scale.toFloatArray()[0]));
        metadata.put(ZERO + name, String.valueOf(weights.zeroPoint(name)));
      }
    }
    weights
        .packed()
        .forEach(
            (key, weight) -> {
              MemorySegment bytes = weight.segment();
              tensors.put(
                  PACKED + key, Tensor.of(bytes, DType.INT64, bytes.byteSize() / Long.BYTES));
            });
    Safetensors.write(file, tensors, metadata, ALIGNMENT);
  }

  /** What may be asked for later: of AUTO the one that all weights have become. */
  private static WeightFormat format(WeightFormat asked, RecordedWeights weights) {
    Set<WeightFormat> all =
        weights.packed().values().stream().map(PackedWeight::format).collect(Collectors.toSet());
    return asked == WeightFormat.AUTO && all.size() == 1 ? all.iterator().next() : asked;
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
