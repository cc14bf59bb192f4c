package dev.gatun.io;

import dev.gatun.DType;
import dev.gatun.Tensor;
import dev.gatun.internal.Messages;
import java.io.IOException;
import java.io.InputStream;
import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import java.nio.channels.FileChannel;
import java.nio.channels.FileChannel.MapMode;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.StandardOpenOption;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.Collection;
import java.util.Collections;
import java.util.HashMap;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Objects;

/**
 * The nodes and initializers of an ONNX model, read where they lie. Opening a file reads names and
 * sizes only; the numbers of an initializer become a {@link Tensor} when it is asked for.
 *
 * <p>Read are FLOAT, FLOAT16, INT8, UINT8, INT32 and INT64 data, as raw bytes or as lists of
 * numbers inside the file, or as external data: in a file beside one that {@link #map} opened,
 * which is mapped as well. Other types are refused when they are asked for, and do no harm before;
 * so is external data of a model that is in no folder, in a file of another folder, or of another
 * size than the initializer. Sub graphs, functions and attributes other than those below are passed
 * over.
 *
 * <p>Whatever the bytes are, reading ends and throws nothing but {@link OnnxException}. Memory is
 * only taken for what is really in the file: a name may have 4096 bytes, a tensor 64 dimensions,
 * and a file 2<sup>20</sup> nodes, initializers, names and numbers of attributes together.
 *
 * <p>Any number of threads may use one object, if the arena allows them to.
 */
public final class OnnxFile {
  private static final int MAX_ITEMS = 1 << 20;
  private static final int MAX_RANK = 64;
  private static final int PIECE = 1 << 16;

  /** Longer texts are no words that choose something. */
  private static final int MAX_TEXT_BYTES = 64;

  /** TensorProto.DataType. */
  private static final List<String> DATA_TYPES =
      List.of(
          "UNDEFINED",
          "FLOAT",
          "UINT8",
          "INT8",
          "UINT16",
          "INT16",
          "INT32",
          "INT64",
          "STRING",
          "BOOL",
          "FLOAT16",
          "DOUBLE",
          "UINT32",
          "UINT64",
          "COMPLEX64",
          "COMPLEX128",
          "BFLOAT16",
          "FLOAT8E4M3FN",
          "FLOAT8E4M3FNUZ",
          "FLOAT8E5M2",
          "FLOAT8E5M2FNUZ",
          "UINT4",
          "INT4",
          "FLOAT4E2M1");

  private final MemorySegment data;
  private final String source;
  private final OnnxNumbers numbers;

  private final List<Node> nodes = new ArrayList<>();
  private final Map<String, Node> nodesByName = new HashMap<>();
  private final Map<String, Node> producers = new HashMap<>();
  private final Map<String, Initializer> initializers = new LinkedHashMap<>();
  private final List<String> inputs = new ArrayList<>();
  private final List<String> outputs = new ArrayList<>();
  private int items;

  private OnnxFile(
      MemorySegment data, String source, Arena arena, boolean owned, OnnxExternalData external)
      throws OnnxException {
    this.data = data;
    this.source = source;
    this.numbers = new OnnxNumbers(data, source, arena, owned, external);
    boolean graph = false;
    Wire model = new Wire(data, source, 0, data.byteSize());
    while (model.next()) {
      if (model.field == 7) {
        graph = true;
        readGraph(model.message());
      }
    }
    if (!graph) {
      throw new OnnxException(source, "expected an ONNX model, found no graph in it");
    }
    for (String output : producers.keySet()) {
      if (initializers.containsKey(output)) {
        throw new OnnxException(
            source,
            "the value %s is an initializer and computed as well"
                .formatted(Messages.quoted(output)));
      }
    }
  }

  /**
   * Maps a file. Pages are read when they are touched, and are shared with every other process that
   * maps the file. The file must not be cut short while the arena is open.
   *
   * @param file an ONNX model on the default file system, of any size
   * @param arena gets the mapping, and the copies of what lies badly aligned in it
   * @return the model
   * @throws OnnxException if the file is no regular file or no ONNX model
   * @throws IOException if the file cannot be opened or mapped
   */
  public static OnnxFile map(Path file, Arena arena) throws IOException {
    Objects.requireNonNull(arena, "arena");
    if (Files.exists(file) && !Files.isRegularFile(file)) {
      throw new OnnxException(file.toString(), "expected a regular file");
    }
    try (FileChannel channel = FileChannel.open(file, StandardOpenOption.READ)) {
      MemorySegment data = channel.map(MapMode.READ_ONLY, 0, channel.size(), arena);
      Path folder = file.toAbsolutePath().getParent();
      return new OnnxFile(data, file.toString(), arena, false, new OnnxExternalData(folder, arena));
    } catch (UnsupportedOperationException e) {
      throw new OnnxException(
          file.toString(), "expected a file on the default file system, this cannot be mapped");
    }
  }

  /**
   * Reads a model from a stream into off-heap memory of its own, through a small buffer on the
   * heap. This is the way for a model inside a jar, where it is compressed and cannot be mapped.
   * Nothing is copied a second time: {@link #initializer} moves badly aligned data in place.
   *
   * @param in gives the model; read to its end, not closed
   * @param size how many bytes the stream has
   * @param source what messages call it
   * @param arena gets the memory
   * @return the model
   * @throws OnnxException if the bytes are no ONNX model, or not as many as size says
   * @throws IOException if the stream cannot be read
   */
  public static OnnxFile read(InputStream in, long size, String source, Arena arena)
      throws IOException {
    if (size < 0) {
      throw new IllegalArgumentException("size: expected >= 0, got " + size);
    }
    // As a tensor the memory comes with huge pages, on which 100 MB are touched in no time.
    MemorySegment data =
        Tensor.allocate(arena, DType.INT64, Math.ceilDiv(size, (long) Long.BYTES))
            .segment()
            .asSlice(0, size);
    byte[] buffer = new byte[PIECE];
    long done = 0;
    for (int count; (count = in.read(buffer)) >= 0; done += count) {
      if (count > size - done) {
        throw new OnnxException(source, "expected %d bytes, got more".formatted(size));
      }
      MemorySegment.copy(buffer, 0, data, ValueLayout.JAVA_BYTE, done, count);
    }
    if (done < size) {
      throw new OnnxException(source, "expected %d bytes, got %d".formatted(size, done));
    }
    return new OnnxFile(data, source, arena, true, new OnnxExternalData(null, arena));
  }

  /**
   * Reads a model that lies in memory. Nothing is written to that memory.
   *
   * @param data native or mapped memory with the whole file
   * @param source what messages call it
   * @param arena gets the copies of what lies badly aligned in the memory; the memory has to live
   *     as long as the tensors
   * @return the model
   * @throws OnnxException if the bytes are no ONNX model
   * @throws IllegalArgumentException if the memory is on the Java heap
   */
  public static OnnxFile of(MemorySegment data, String source, Arena arena) throws OnnxException {
    Objects.requireNonNull(source, "source");
    Objects.requireNonNull(arena, "arena");
    if (!data.isNative()) {
      throw new IllegalArgumentException("data: expected native memory, got a heap segment");
    }
    return new OnnxFile(data.asReadOnly(), source, arena, false, new OnnxExternalData(null, arena));
  }

  /** {@return what messages call the file: the path, or the name given} */
  public String source() {
    return source;
  }

  /** {@return all nodes of the graph, unmodifiable, in the order of the file} */
  public List<Node> nodes() {
    return Collections.unmodifiableList(nodes);
  }

  /**
   * Finds a node by its name.
   *
   * @param name as in the file
   * @return the first node of that name, or null if there is none
   */
  public Node node(String name) {
    return nodesByName.get(name);
  }

  /**
   * Finds the node that computes a value.
   *
   * @param output name of the value, an input of another node
   * @return the node, or null if the value is an input of the graph, an initializer or unknown
   */
  public Node producer(String output) {
    return producers.get(output);
  }

  /**
   * {@return the names of the graph's inputs, unmodifiable, in the order of the file; may have
   * names of initializers}
   */
  public List<String> inputs() {
    return Collections.unmodifiableList(inputs);
  }

  /** {@return the names of the graph's outputs, unmodifiable, in the order of the file} */
  public List<String> outputs() {
    return Collections.unmodifiableList(outputs);
  }

  /**
   * Follows Identity nodes, which exporters put between a tensor that several parts share and all
   * but one of its uses.
   *
   * @param value name of a value, an input of a node
   * @return the name of the value that it is a copy of; the same name if it is none
   * @throws OnnxException if Identity nodes lead back to themselves
   */
  public String origin(String value) throws OnnxException {
    String name = value;
    for (int steps = 0; steps <= nodes.size(); steps++) {
      Node producer = producers.get(name);
      if (producer == null
          || !producer.opType.equals("Identity")
          || producer.inputs.size() != 1
          || producer.outputs.size() != 1) {
        return name;
      }
      name = producer.inputs.getFirst();
    }
    throw new OnnxException(
        source,
        "Identity nodes behind %s lead back to themselves".formatted(Messages.quoted(value)));
  }

  /**
   * {@return what is known about all initializers, without their numbers; unmodifiable, in the
   * order of the file}
   */
  public Collection<Initializer> initializers() {
    return Collections.unmodifiableCollection(initializers.values());
  }

  /**
   * Returns the numbers of an initializer: a view of the file where they lie at a multiple of the
   * element size, which in ONNX files is left to chance. Otherwise they are moved by a few bytes
   * within memory that {@link #read} allocated, or copied into the arena once. The tensor is valid
   * as long as the arena, and is the same one at every call.
   *
   * @param name as in the file
   * @return a read-only tensor: FLOAT32, FLOAT16, INT8, UINT8, INT32 or INT64
   * @throws OnnxException if there is none of that name, it is of another type, or its data do not
   *     fit its shape
   */
  public Tensor initializer(String name) throws OnnxException {
    Initializer initializer = initializers.get(name);
    if (initializer == null) {
      throw new OnnxException(source, "no initializer " + Messages.quoted(name));
    }
    return tensor(initializer);
  }

  /**
   * Returns a value that is fixed in the file: an initializer, or the output of a Constant node
   * with a tensor, behind any number of Identity nodes.
   *
   * @param name name of the value, an input of a node
   * @return a tensor as of {@link #initializer}, or null if the value is neither
   * @throws OnnxException if it is of another type, or its data do not fit its shape
   */
  public Tensor constant(String name) throws OnnxException {
    Initializer initializer = describe(name);
    return initializer == null ? null : tensor(initializer);
  }

  /**
   * Returns a value of type DOUBLE that is fixed in the file and is one number.
   *
   * @param name name of the value, an input of a node
   * @return the number, NaN if the value is none
   * @throws OnnxException if Identity nodes lead back to themselves, or the data are broken
   */
  public double doubleConstant(String name) throws OnnxException {
    Initializer initializer = describe(name);
    return initializer == null ? Double.NaN : numbers.readDouble(initializer);
  }

  /**
   * Returns what is known about a value that is fixed in the file, without its numbers.
   *
   * @param name name of the value, an input of a node
   * @return what {@link #constant} returns the numbers of, of any type; null if it returns null
   * @throws OnnxException if Identity nodes lead back to themselves
   */
  public Initializer describe(String name) throws OnnxException {
    String origin = origin(name);
    Initializer initializer = initializers.get(origin);
    if (initializer == null) {
      Node producer = producers.get(origin);
      initializer = producer == null || !producer.opType.equals("Constant") ? null : producer.value;
    }
    return initializer;
  }

  /**
   * Returns the TENSOR attribute {@code value} of a node: what a Constant is, and what
   * ConstantOfShape fills its output with.
   *
   * @param node a node of this file
   * @return a tensor as of {@link #initializer}, or null if the node has none
   * @throws OnnxException if it is of another type, or its data do not fit its shape
   */
  public Tensor value(Node node) throws OnnxException {
    return node.value == null ? null : tensor(node.value);
  }

  // ---- structure -----------------------------------------------------------------------------

  /** One operation of the graph. */
  public static final class Node {
    private String name = "";
    private String opType = "";
    private final List<String> inputs = new ArrayList<>();
    private final List<String> outputs = new ArrayList<>();
    private String domain = "";
    private Map<String, Float> floats = Map.of();
    private Map<String, long[]> longs = Map.of();
    private Map<String, String> texts = Map.of();
    private Initializer value;

    private Node() {}

    /** {@return the name; empty if the file gives none} */
    public String name() {
      return name;
    }

    /** {@return the operator, such as {@code MatMul}} */
    public String opType() {
      return opType;
    }

    /** {@return what defines the operator: empty for ONNX, {@code com.microsoft}} */
    public String domain() {
      return domain;
    }

    /**
     * {@return the names of the values it uses, unmodifiable; an optional input that is absent is
     * empty}
     */
    public List<String> inputs() {
      return Collections.unmodifiableList(inputs);
    }

    /** {@return the names of the values it computes, unmodifiable} */
    public List<String> outputs() {
      return Collections.unmodifiableList(outputs);
    }

    /**
     * Returns a FLOAT attribute.
     *
     * @param attribute its name
     * @param otherwise what to return if there is none
     * @return the number
     */
    public float floatAttribute(String attribute, float otherwise) {
      return floats.getOrDefault(attribute, otherwise);
    }

    /**
     * Returns an INT attribute.
     *
     * @param attribute its name
     * @param otherwise what to return if there is none
     * @return the number
     */
    public long longAttribute(String attribute, long otherwise) {
      long[] numbers = longs.get(attribute);
      return numbers == null || numbers.length != 1 ? otherwise : numbers[0];
    }

    /**
     * Returns an INTS attribute, or an INT attribute as a list of one.
     *
     * @param attribute its name
     * @return a copy, or null if there is none
     */
    public long[] longsAttribute(String attribute) {
      long[] numbers = longs.get(attribute);
      return numbers == null ? null : numbers.clone();
    }

    /**
     * Returns a STRING attribute.
     *
     * @param attribute its name
     * @param otherwise what to return if there is none
     * @return the text
     */
    public String textAttribute(String attribute, String otherwise) {
      return texts.getOrDefault(attribute, otherwise);
    }

    /** Returns operator and name. */
    @Override
    public String toString() {
      return Messages.shortened(opType) + " " + Messages.quoted(name);
    }
  }

  /** Name, type and shape of an initializer. */
  public static final class Initializer {
    private String name = "";
    private long[] shape = new long[4];
    private int rank;
    private Tensor tensor;
    int dataType;
    boolean external;
    final OnnxExternalData.Place place = new OnnxExternalData.Place();

    /** Where its message is in the file. */
    final long start;

    final long end;

    /** Where the raw bytes are, or -1. */
    long raw = -1;

    long rawBytes;

    private Initializer(long start, long end) {
      this.start = start;
      this.end = end;
    }

    /** {@return the name that {@link OnnxFile#initializer} takes} */
    public String name() {
      return name;
    }

    /**
     * {@return the shape as the file has it, unchecked: a copy, outermost dimension first; empty
     * for a single number}
     */
    public long[] shape() {
      return Arrays.copyOf(shape, rank);
    }

    /** {@return the type of the elements as ONNX calls it: {@code FLOAT}} */
    public String dataType() {
      return dataType >= 0 && dataType < DATA_TYPES.size()
          ? DATA_TYPES.get(dataType)
          : "type " + dataType;
    }

    /** Returns name, shape and type. */
    @Override
    public String toString() {
      return "%s %s %s".formatted(Messages.quoted(name), Messages.sizes(shape()), dataType());
    }
  }

  private void readGraph(Wire graph) throws OnnxException {
    while (graph.next()) {
      switch (graph.field) {
        case 1 -> {
          Node node = readNode(graph.message());
          count(graph);
          nodes.add(node);
          nodesByName.putIfAbsent(node.name, node);
          for (String output : node.outputs) {
            // An output that nobody uses may have no name.
            if (!output.isEmpty() && producers.putIfAbsent(output, node) != null) {
              throw graph.error(
                  graph.start, "a second node computes %s".formatted(Messages.quoted(output)));
            }
          }
        }
        case 5 -> {
          Initializer initializer = readTensor(graph.message(), graph.start, graph.length);
          count(graph);
          if (initializers.putIfAbsent(initializer.name, initializer) != null) {
            throw graph.error(
                graph.start, "a second initializer " + Messages.quoted(initializer.name));
          }
        }
        case 11 -> inputs.add(readValueName(graph));
        case 12 -> outputs.add(readValueName(graph));
        default -> {
          // name and documentation of the graph
        }
      }
    }
  }

  private String readValueName(Wire graph) throws OnnxException {
    count(graph);
    String name = "";
    Wire value = graph.message();
    while (value.next()) {
      if (value.field == 1) {
        name = value.expectName();
      }
    }
    return name;
  }

  private Node readNode(Wire wire) throws OnnxException {
    Node node = new Node();
    while (wire.next()) {
      switch (wire.field) {
        case 1 -> {
          count(wire);
          node.inputs.add(wire.expectName());
        }
        case 2 -> {
          count(wire);
          node.outputs.add(wire.expectName());
        }
        case 3 -> node.name = wire.expectName();
        case 4 -> node.opType = wire.expectName();
        case 5 -> readAttribute(wire.message(), node);
        case 7 -> node.domain = wire.expectName();
        default -> {
          // documentation
        }
      }
    }
    return node;
  }

  private void readAttribute(Wire wire, Node node) throws OnnxException {
    String name = "";
    Float number = null;
    long textStart = -1;
    long textBytes = 0;
    Initializer tensor = null;
    List<Long> wholes = new ArrayList<>();
    while (wire.next()) {
      switch (wire.field) {
        case 1 -> name = wire.expectName();
        case 2 -> number = wire.expectFloat();
        case 4 -> {
          wire.expect(Wire.BYTES);
          textStart = wire.start;
          textBytes = wire.length;
        }
        case 3 -> {
          count(wire);
          wholes.add(wire.expectNumber());
        }
        case 8 -> {
          if (wire.type == Wire.BYTES) {
            for (Wire list = wire.message(); list.hasMore(); ) {
              count(wire);
              wholes.add(list.varint());
            }
          } else {
            count(wire);
            wholes.add(wire.expectNumber());
          }
        }
        case 5 -> tensor = readTensor(wire.message(), wire.start, wire.length);
        default -> {
          // types that nobody asks for
        }
      }
    }
    if (number != null) {
      count(wire);
      if (node.floats.isEmpty()) {
        node.floats = new HashMap<>();
      }
      node.floats.put(name, number);
    }
    if (!wholes.isEmpty()) {
      if (node.longs.isEmpty()) {
        node.longs = new HashMap<>();
      }
      node.longs.put(name, wholes.stream().mapToLong(Long::longValue).toArray());
    }
    if (textStart >= 0 && textBytes <= MAX_TEXT_BYTES) {
      count(wire);
      if (node.texts.isEmpty()) {
        node.texts = new HashMap<>();
      }
      byte[] bytes = data.asSlice(textStart, textBytes).toArray(ValueLayout.JAVA_BYTE);
      node.texts.put(name, new String(bytes, StandardCharsets.UTF_8));
    }
    if (tensor != null && name.equals("value")) {
      tensor.name = node.name;
      node.value = tensor;
    }
  }

  private static Initializer readTensor(Wire wire, long start, long length) throws OnnxException {
    Initializer tensor = new Initializer(start, start + length);
    while (wire.next()) {
      switch (wire.field) {
        case 1 -> {
          if (wire.type == Wire.BYTES) {
            for (Wire sizes = wire.message(); sizes.hasMore(); ) {
              addSize(tensor, sizes.varint(), wire);
            }
          } else {
            addSize(tensor, wire.expectNumber(), wire);
          }
        }
        case 2 -> tensor.dataType = (int) wire.expectNumber();
        case 8 -> tensor.name = wire.expectName();
        case 9 -> {
          wire.expect(Wire.BYTES);
          tensor.raw = wire.start;
          tensor.rawBytes = wire.length;
        }
        case 13 -> tensor.place.read(wire.message());
        case 14 -> tensor.external = wire.expectNumber() == 1;
        default -> {
          // lists of numbers are read when they are asked for
        }
      }
    }
    return tensor;
  }

  private static void addSize(Initializer tensor, long size, Wire wire) throws OnnxException {
    if (tensor.rank == MAX_RANK) {
      throw wire.error(
          wire.start, "expected a tensor of at most %d dimensions".formatted(MAX_RANK));
    }
    if (tensor.rank == tensor.shape.length) {
      tensor.shape = Arrays.copyOf(tensor.shape, MAX_RANK);
    }
    tensor.shape[tensor.rank++] = size;
  }

  private void count(Wire wire) throws OnnxException {
    if (++items > MAX_ITEMS) {
      throw wire.error(
          wire.start,
          "expected at most %d nodes, initializers, names and numbers".formatted(MAX_ITEMS));
    }
  }

  // ---- numbers -------------------------------------------------------------------------------

  private synchronized Tensor tensor(Initializer initializer) throws OnnxException {
    if (initializer.tensor == null) {
      initializer.tensor = numbers.read(initializer);
    }
    return initializer.tensor;
  }
}
