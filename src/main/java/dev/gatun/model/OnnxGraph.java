package dev.gatun.model;

import dev.gatun.DType;
import dev.gatun.Tensor;
import dev.gatun.io.OnnxException;
import dev.gatun.io.OnnxFile;
import dev.gatun.io.OnnxFile.Initializer;
import dev.gatun.io.OnnxFile.Node;
import java.lang.foreign.ValueLayout;
import java.util.ArrayDeque;
import java.util.Arrays;
import java.util.Deque;
import java.util.HashMap;
import java.util.HashSet;
import java.util.List;
import java.util.Map;
import java.util.Set;
import java.util.function.Predicate;

/**
 * The graph of an ONNX file as a reader of weights walks it: values behind Identity nodes, who uses
 * them, and which constants have been read. A value is called by the name of its origin.
 */
final class OnnxGraph {

  /** What computes sizes, and nothing of what is multiplied or added. */
  private static final Set<String> SHAPES = Set.of("Shape", "Size");

  /** TensorProto.DataType. */
  private static final int FLOAT = 1;

  private static final int FLOAT16 = 10;
  private static final Set<String> FLOATS = Set.of("FLOAT", "FLOAT16");

  final OnnxFile file;

  private final Map<String, Set<Node>> consumers = new HashMap<>();

  /** Origins of the constants that have been read. */
  private final Set<String> read = new HashSet<>();

  /** Whether casts from one floating-point type to another count as nothing. */
  private final boolean throughCasts;

  OnnxGraph(OnnxFile file) throws OnnxException {
    this(file, false);
  }

  OnnxGraph(OnnxFile file, boolean throughCasts) throws OnnxException {
    this.file = file;
    this.throughCasts = throughCasts;
    for (Node node : file.nodes()) {
      boolean copy = !node.outputs().isEmpty() && !output(node).equals(node.outputs().getFirst());
      if (!copy) {
        for (String input : node.inputs()) {
          consumers.computeIfAbsent(origin(input), name -> new HashSet<>()).add(node);
        }
      }
    }
  }

  // ---- values --------------------------------------------------------------------------------

  /** Where a value is computed or given, behind Identity nodes and, if they are skipped, casts. */
  String origin(String value) throws OnnxException {
    String name = file.origin(value);
    for (int steps = 0; throughCasts && steps <= file.nodes().size(); steps++) {
      Node node = file.producer(name);
      if (node == null || !node.opType().equals("Cast") || node.inputs().size() != 1) {
        return name;
      }
      long to = node.longAttribute("to", 0);
      String from = file.origin(node.inputs().getFirst());
      Initializer constant = file.describe(from);
      if (to != FLOAT && to != FLOAT16
          || constant != null && !FLOATS.contains(constant.dataType())) {
        return name;
      }
      name = from;
    }
    return name;
  }

  /** The node that computes a value, behind Identity nodes; null if none does. */
  Node producer(String value) throws OnnxException {
    return file.producer(origin(value));
  }

  /** The nodes that use a value, those behind Identity nodes as well. */
  Set<Node> consumers(String value) throws OnnxException {
    return consumers.getOrDefault(origin(value), Set.of());
  }

  boolean same(String one, String other) throws OnnxException {
    return origin(one).equals(origin(other));
  }

  boolean isConstant(String value) throws OnnxException {
    return file.describe(origin(value)) != null;
  }

  /** An input of a node that must be there. */
  String input(Node node, int index) throws OnnxException {
    if (index >= node.inputs().size()) {
      throw error("%s: expected %d inputs or more".formatted(node, index + 1));
    }
    return origin(node.inputs().get(index));
  }

  /** The first output of a node that must have one. */
  String output(Node node) throws OnnxException {
    if (node.outputs().isEmpty() || node.outputs().getFirst().isEmpty()) {
      throw error("%s: expected an output".formatted(node));
    }
    return origin(node.outputs().getFirst());
  }

  /** The other input of a node that has two. */
  String other(Node node, String value) throws OnnxException {
    if (node.inputs().size() == 2) {
      if (same(node.inputs().get(0), value)) {
        return input(node, 1);
      }
      if (same(node.inputs().get(1), value)) {
        return input(node, 0);
      }
    }
    throw error("%s: expected '%s' as one of 2 inputs".formatted(node, value));
  }

  /** The only node that uses a value, which must be an operator. */
  Node consumer(String value, String operator) throws OnnxException {
    Set<Node> nodes = consumers(value);
    if (nodes.size() != 1 || !nodes.iterator().next().opType().equals(operator)) {
      throw error("expected the value '%s' in one %s, got %s".formatted(value, operator, nodes));
    }
    return nodes.iterator().next();
  }

  /** The nodes of an operator that use a value. */
  List<Node> consumers(String value, String operator) throws OnnxException {
    return consumers(value).stream().filter(node -> node.opType().equals(operator)).toList();
  }

  /** Refuses a node that takes something else than is expected. */
  void require(Node node, String value, String expected) throws OnnxException {
    if (!same(value, expected)) {
      throw error("%s: expected the input '%s', got '%s'".formatted(node, expected, value));
    }
  }

  /** The producer of a value, which must have one of some operators. */
  Node producer(String value, String... operators) throws OnnxException {
    Node node = producer(value);
    if (node == null || !Arrays.asList(operators).contains(node.opType())) {
      throw error(
          "expected the value '%s' of %s, got %s"
              .formatted(value, String.join(" or ", operators), node == null ? "none" : node));
    }
    return node;
  }

  /**
   * The nodes on all ways from a value back to where a predicate says stop, and the values at which
   * it stopped. Sizes of values are no way.
   */
  Set<Node> between(String value, Predicate<String> stop, Set<String> stops) throws OnnxException {
    Set<Node> nodes = new HashSet<>();
    Set<String> seen = new HashSet<>();
    Deque<String> open = new ArrayDeque<>(List.of(origin(value)));
    while (!open.isEmpty()) {
      String name = open.pop();
      if (name.isEmpty() || !seen.add(name)) {
        continue;
      }
      if (stop.test(name)) {
        stops.add(name);
        continue;
      }
      Node node = producer(name);
      if (node != null && !SHAPES.contains(node.opType())) {
        nodes.add(node);
        for (String input : node.inputs()) {
          open.push(origin(input));
        }
      }
    }
    return nodes;
  }

  // ---- constants -----------------------------------------------------------------------------

  /**
   * Reads a weight.
   *
   * @param name what the weight is called in PyTorch
   * @param value where the graph has it
   * @param shape a size of -1 may be anything from 1 on
   */
  Tensor weight(String name, String value, int... shape) throws OnnxException {
    return weight(name, value, DType.FLOAT32, shape);
  }

  /** The same, of FLOAT32 or FLOAT16 as it is stored. */
  Tensor floats(String name, String value, int... shape) throws OnnxException {
    Initializer known = file.describe(origin(value));
    boolean half = known != null && known.dataType().equals("FLOAT16");
    return weight(name, value, half ? DType.FLOAT16 : DType.FLOAT32, shape);
  }

  /** The same, of a type. */
  Tensor weight(String name, String value, DType dtype, int... shape) throws OnnxException {
    Initializer known = file.describe(origin(value));
    if (known == null) {
      throw error("no weight %s: the value '%s' is no constant".formatted(name, origin(value)));
    }
    Tensor weight = file.constant(origin(value));
    boolean fits = weight.dtype() == dtype && weight.rank() == shape.length;
    for (int dim = 0; fits && dim < shape.length; dim++) {
      long size = weight.size(dim);
      fits = shape[dim] < 0 ? size > 0 && size <= Integer.MAX_VALUE : size == shape[dim];
    }
    if (!fits) {
      throw error(
          "weight %s: expected %s %s, got %s"
              .formatted(name, Arrays.toString(shape).replace("-1", "any"), dtype, known));
    }
    markRead(value);
    return weight;
  }

  void markRead(String value) throws OnnxException {
    read.add(origin(value));
  }

  boolean isRead(String value) throws OnnxException {
    return read.contains(origin(value));
  }

  /**
   * A constant of one number, or one that is cast to float32; NaN if the value is none, or of
   * another type.
   */
  float number(String value) throws OnnxException {
    Tensor tensor = constant(value, DType.FLOAT32);
    if (tensor != null) {
      return tensor.elements() != 1 ? Float.NaN : tensor.toFloatArray()[0];
    }
    Initializer known = file.describe(origin(value));
    if (known != null && known.dataType().equals("FLOAT16")) {
      Tensor half = file.constant(origin(value));
      return half.elements() != 1
          ? Float.NaN
          : Float.float16ToFloat(half.segment().get(ValueLayout.JAVA_SHORT_UNALIGNED, 0));
    }
    Node node = producer(value);
    if (node != null && node.opType().equals("Constant")) {
      return node.floatAttribute("value_float", Float.NaN);
    }
    if (node == null || !node.opType().equals("Cast") || node.longAttribute("to", 0) != FLOAT) {
      return Float.NaN;
    }
    String given = input(node, 0);
    Node giver = producer(given);
    if (giver != null && giver.opType().equals("Cast")) {
      return Float.NaN;
    }
    long[] whole = wholes(given);
    if (whole != null) {
      return whole.length == 1 ? whole[0] : Float.NaN;
    }
    if (giver != null
        && giver.opType().equals("Constant")
        && giver.longsAttribute("value_int") != null) {
      return giver.longAttribute("value_int", 0);
    }
    double wide = file.doubleConstant(given);
    return Double.isNaN(wide) ? number(given) : (float) wide;
  }

  /** A constant of one whole number, or what is returned otherwise. */
  long whole(String value, long otherwise) throws OnnxException {
    long[] all = wholes(value);
    return all == null || all.length != 1 ? otherwise : all[0];
  }

  /** A constant of whole numbers in their order, null if the value is none. */
  long[] wholes(String value) throws OnnxException {
    Initializer known = file.describe(origin(value));
    if (known == null || !(known.dataType().equals("INT64") || known.dataType().equals("INT32"))) {
      return null;
    }
    return wholes(file.constant(origin(value)));
  }

  /** The elements of INT32 or INT64; null if they are of another type, or too many. */
  static long[] wholes(Tensor tensor) {
    if (tensor.dtype() != DType.INT64 && tensor.dtype() != DType.INT32
        || tensor.elements() > Integer.MAX_VALUE - 8) {
      return null;
    }
    Tensor flat = tensor.reshape(tensor.elements());
    long[] numbers = new long[(int) flat.elements()];
    for (int i = 0; i < numbers.length; i++) {
      numbers[i] = flat.dtype() == DType.INT64 ? flat.getLong(i) : flat.getInt(i);
    }
    return numbers;
  }

  private Tensor constant(String value, DType dtype) throws OnnxException {
    Initializer known = file.describe(origin(value));
    String wanted = dtype == DType.FLOAT32 ? "FLOAT" : "INT64";
    return known == null || !known.dataType().equals(wanted) ? null : file.constant(origin(value));
  }

  OnnxException error(String reason) {
    return new OnnxException(file.source(), reason);
  }
}
