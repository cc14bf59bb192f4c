package dev.gatun.model;

import dev.gatun.DType;
import dev.gatun.Tensor;
import dev.gatun.io.OnnxException;
import dev.gatun.io.OnnxFile;
import dev.gatun.io.OnnxFile.Node;
import dev.gatun.model.WeightNames.Part;
import java.lang.foreign.Arena;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.HashSet;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Set;
import java.util.function.Predicate;

/**
 * Finds the weights and sizes of an encoder in the graph that PyTorch exports. Nodes are found by
 * their names, which are PyTorch's; weights are what those nodes use. That each node takes what the
 * one before has made is checked, and at the end that nothing is left over.
 */
final class BertReader {
  /** Families by the names of their modules: the first one whose query the graph has. */
  private static final List<WeightNames> FAMILIES = List.of(Bert.NAMES, DistilBert.NAMES);

  /** What attention is exported as, masks and shapes included; nothing with a weight. */
  static final Set<String> OF_ATTENTION =
      Set.of(
          "Add",
          "And",
          "Cast",
          "Concat",
          "Constant",
          "ConstantOfShape",
          "Div",
          "Equal",
          "Expand",
          "Gather",
          "IsNaN",
          "MatMul",
          "Mul",
          "Not",
          "Reshape",
          "Slice",
          "Softmax",
          "Sqrt",
          "Squeeze",
          "Sub",
          "Transpose",
          "Unsqueeze",
          "Where");

  private static final Set<String> OF_GELU = Set.of("Add", "Constant", "Div", "Erf", "Mul");

  /** The numbers of x/2 · (1 + erf(x/√2)). */
  private static final double[] NUMBERS_OF_GELU = {Math.sqrt(2), Math.sqrt(0.5), 1, 0.5};

  /** What products are called in their modules, as PyTorch exports them and once quantized. */
  private static final String PRODUCT = "MatMul";

  private static final String QUANTIZED_PRODUCT = "MatMul_quant";

  private final OnnxGraph graph;
  private final Arena arena;
  private final ModelConfig config;

  /** What the encoder is called inside a bigger model: "", or "/bert" in names of nodes. */
  private String scope;

  private WeightNames names;

  private int hidden;
  private int intermediate = -1;
  private long headDim;
  private float eps = Float.NaN;

  /** What has been read, by Hugging Face's names. */
  private final Map<String, Tensor> weights = new LinkedHashMap<>();

  /** Of those that are quantized. */
  private final Map<String, Tensor> scales = new LinkedHashMap<>();

  private final Map<String, Integer> zeroPoints = new LinkedHashMap<>();
  private final OnnxQuantized quantized;

  /**
   * Prepares to read.
   *
   * @param file the model
   * @param arena gets copies of matrices that the file transposes when it runs
   * @param config what else is known about the model, or null
   */
  BertReader(OnnxFile file, Arena arena, ModelConfig config) throws OnnxException {
    this.graph = new OnnxGraph(file);
    this.quantized = new OnnxQuantized(graph, arena);
    this.arena = arena;
    this.config = config;
    findEncoder();
  }

  /** Whether a graph has the names of PyTorch's TorchScript export, in types that are read here. */
  static boolean knows(OnnxFile file) {
    boolean named = false;
    for (Node node : file.nodes()) {
      if (node.opType().equals("Gelu")) {
        return false;
      }
      for (WeightNames family : FAMILIES) {
        for (Part part : List.of(Part.QUERY, Part.KEY)) { // one may be missing, and is then named
          String module = "/" + path(family.module(part, 0)) + "/";
          named |= node.name().endsWith(module + PRODUCT);
          named |= node.name().endsWith(module + QUANTIZED_PRODUCT);
        }
      }
    }
    return named
        && file.initializers().stream().noneMatch(known -> known.dataType().equals("FLOAT16"));
  }

  private void findEncoder() throws OnnxException {
    List<String> queries = new ArrayList<>();
    for (WeightNames family : FAMILIES) {
      String query = "/" + path(family.module(Part.QUERY, 0)) + "/";
      for (Node node : graph.file.nodes()) {
        for (String product : List.of(PRODUCT, QUANTIZED_PRODUCT)) {
          if (node.name().endsWith(query + product)) {
            scope = node.name().substring(0, node.name().lastIndexOf(query));
            names = family;
            return;
          }
        }
      }
      queries.add(query + PRODUCT);
    }
    throw graph.error(
        "expected a BERT encoder as PyTorch exports it, found no node "
            + String.join(" or ", queries));
  }

  BertWeights read() throws OnnxException {
    BertEmbeddings embeddings =
        new BertEmbeddings(graph, quantized, arena, scope, names.knows(Bert.TYPES), config);
    hidden = (int) embeddings.words.size(1);
    weights.put(Bert.WORDS, embeddings.words);
    if (embeddings.quantizedWords != null) {
      scales.put(
          Bert.WORDS, Tensor.copyOf(arena, new float[] {embeddings.quantizedWords.scale()}, 1));
      zeroPoints.put(Bert.WORDS, embeddings.quantizedWords.zeroPoint());
    }
    weights.put(Bert.POSITIONS, embeddings.positions);
    if (embeddings.tokenTypes != null) {
      weights.put(Bert.TYPES, embeddings.tokenTypes);
    }
    String x = norm(Bert.NORM, null);
    embeddings.requireSum(normalized(Bert.NORM));
    Set<String> states = new HashSet<>(Set.of(x));
    int layers = 0;
    while (product(names.module(Part.QUERY, layers)) != null) {
      x = readLayer(layers++, x);
      states.add(x);
    }
    String stack = names.module(Part.QUERY, 0).split("\\.")[0];
    new OnnxLeftovers(graph, scope + "/" + stack).refuse(x, states);
    BertConfig sizes = embeddings.sizes(layers, (int) headDim, intermediate, eps);
    if (config != null) {
      config.require(sizes, embeddings.positions.size(0), false);
    }
    return new BertWeights(sizes, new QuantizedWeights(weights, scales, zeroPoints));
  }

  /** Returns the value that the layer computes. */
  private String readLayer(int n, String x) throws OnnxException {
    String query = linear(names.module(Part.QUERY, n), x, hidden, hidden);
    String key = linear(names.module(Part.KEY, n), x, hidden, hidden);
    String value = linear(names.module(Part.VALUE, n), x, hidden, hidden);
    String attention = parent(names.module(Part.QUERY, n));
    readHeads(attention, query);
    String projection = names.module(Part.OUTPUT, n);
    String context = inputOf(projection);
    requireAttention(attention, x, context, List.of(query, key, value));
    String output = linear(projection, context, hidden, hidden);
    String attended = norm(names.module(Part.SELF_NORM, n), residual(output, x));
    String first = linear(names.module(Part.FIRST, n), attended, hidden, intermediate);
    intermediate = (int) weights.get(names.name(Part.FIRST, n, "weight")).size(0);
    String activated = inputOf(names.module(Part.SECOND, n));
    requireGelu(parent(names.module(Part.FIRST, n)), activated, first);
    String second = linear(names.module(Part.SECOND, n), activated, intermediate, hidden);
    return norm(names.module(Part.FEED_FORWARD_NORM, n), residual(second, attended));
  }

  // ---- linear layers and norms ---------------------------------------------------------------

  /** A product of a module, be it quantized or not; null if there is none. */
  private Node product(String name) {
    Node product = node(name, PRODUCT);
    return product != null ? product : node(name, QUANTIZED_PRODUCT);
  }

  private Node requireProduct(String name) throws OnnxException {
    Node product = product(name);
    if (product == null) {
      throw graph.error(
          "no node %s, whose second input is the weight %s"
              .formatted(nodeName(name, PRODUCT), name));
    }
    if (!isQuantized(product) && !product.opType().equals(PRODUCT)) {
      throw graph.error("%s: expected MatMul or MatMulInteger".formatted(product));
    }
    if (!isQuantized(product) && product.inputs().size() != 2) {
      throw graph.error("%s: expected 2 inputs, got %s".formatted(product, product.inputs()));
    }
    return product;
  }

  private static boolean isQuantized(Node product) {
    return product.opType().equals("MatMulInteger");
  }

  private String inputOf(String name) throws OnnxException {
    Node product = requireProduct(name);
    return isQuantized(product) ? quantized.inputOf(product) : graph.input(product, 0);
  }

  /** Reads a layer of x, and returns the value that it computes. */
  private String linear(String name, String x, int in, int out) throws OnnxException {
    Node product = requireProduct(name);
    graph.require(product, inputOf(name), x);
    Tensor weight;
    String value;
    if (isQuantized(product)) {
      OnnxQuantized.Product read = quantized.product(name + ".weight", product, in, out);
      scales.put(name + ".weight", read.scales());
      weight = read.weight();
      value = read.value();
    } else {
      weight = floats(name, graph.input(product, 1), in, out);
      value = graph.output(product);
    }
    Node add = node(name, "Add");
    if (add == null) {
      throw graph.error(
          "no node %s, which adds the weight %s.bias".formatted(nodeName(name, "Add"), name));
    }
    String bias = graph.other(add, value);
    weights.put(name + ".weight", weight.transpose(0, 1));
    weights.put(name + ".bias", graph.weight(name + ".bias", bias, (int) weight.size(1)));
    return graph.output(add);
  }

  /** A matrix {@code [in, out]}, which the graph may transpose. */
  private Tensor floats(String name, String value, int in, int out) throws OnnxException {
    Node transpose = graph.producer(value);
    if (transpose == null || !transpose.opType().equals("Transpose")) {
      return graph.weight(name + ".weight", value, in, out);
    }
    long[] order = transpose.longsAttribute("perm");
    if (order != null && !Arrays.equals(order, new long[] {1, 0})) {
      throw graph.error(
          "%s: expected the order [1, 0], got %s".formatted(transpose, Arrays.toString(order)));
    }
    Tensor turned = graph.weight(name + ".weight", graph.input(transpose, 0), out, in);
    Tensor weight = Tensor.allocate(arena, DType.FLOAT32, turned.size(1), turned.size(0));
    weight.copyFrom(turned.transpose(0, 1));
    return weight.asReadOnly();
  }

  /** The value that adds x to the output of a layer, which nothing else uses. */
  private String residual(String layer, String x) throws OnnxException {
    Node add = graph.consumer(layer, "Add");
    graph.require(add, graph.other(add, layer), x);
    return graph.output(add);
  }

  /** What a norm takes. */
  private String normalized(String name) throws OnnxException {
    Node fused = node(name, "LayerNormalization");
    if (fused != null) {
      return graph.input(fused, 0);
    }
    Node mul = normNode(name, "Mul");
    Node div = graph.producer(graph.other(mul, normWeight(mul)), "Div");
    return graph.input(graph.producer(graph.input(div, 0), "Sub"), 0);
  }

  private String normWeight(Node mul) throws OnnxException {
    for (String input : mul.inputs()) {
      Node node = graph.producer(input);
      if (node == null || node.opType().equals("Constant")) {
        return graph.file.origin(input);
      }
    }
    throw graph.error("%s: expected a weight as one input".formatted(mul));
  }

  private Node normNode(String name, String operation) throws OnnxException {
    Node node = node(name, operation);
    if (node == null) {
      throw graph.error(
          "%s: expected a layer norm, found no node %s".formatted(name, nodeName(name, operation)));
    }
    return node;
  }

  /** Reads a norm of x, which is null if it is looked at elsewhere. */
  private String norm(String name, String x) throws OnnxException {
    Node fused = node(name, "LayerNormalization");
    String gamma;
    String beta;
    String value;
    float epsilon;
    if (fused != null) {
      gamma = graph.input(fused, 1);
      beta = graph.input(fused, 2);
      value = graph.output(fused);
      epsilon = fused.floatAttribute("epsilon", 1e-5f);
      long axis = fused.longAttribute("axis", -1);
      if (axis != -1 && axis != 2) {
        throw graph.error("%s: expected the axis -1 or 2, got %d".formatted(fused, axis));
      }
    } else {
      Node mul = normNode(name, "Mul");
      gamma = normWeight(mul);
      Node shift = normNode(name, "Add_1");
      beta = graph.other(shift, graph.output(mul));
      value = graph.output(shift);
      epsilon = new OnnxNorm(graph).epsilon(name, graph.producer(graph.other(mul, gamma), "Div"));
    }
    String input = normalized(name);
    if (x != null) {
      graph.require(fused != null ? fused : node(name, "Mul"), input, x);
    }
    if (!(epsilon > 0) || Float.isInfinite(epsilon)) {
      throw graph.error(
          "%s: expected an epsilon that is finite and above 0, got %s".formatted(name, epsilon));
    }
    if (Float.isNaN(eps)) {
      eps = epsilon;
    } else if (eps != epsilon) {
      throw graph.error(
          "%s: expected the epsilon %s as elsewhere, got %s".formatted(name, eps, epsilon));
    }
    weights.put(name + ".weight", graph.weight(name + ".weight", gamma, hidden));
    weights.put(name + ".bias", graph.weight(name + ".bias", beta, hidden));
    return value;
  }

  // ---- attention and GELU --------------------------------------------------------------------

  private void requireAttention(
      String attention, String x, String context, List<String> projections) throws OnnxException {
    String scope = nodeName(attention, "");
    Set<String> reached = new HashSet<>();
    int products = 0;
    int softmax = 0;
    Set<Node> nodes = graph.between(context, stop(projections, scope), reached);
    for (Node node : nodes) {
      if (!OF_ATTENTION.contains(node.opType())) {
        throw graph.error("%s: expected plain attention below %s".formatted(node, scope));
      }
      products += node.opType().equals("MatMul") ? 1 : 0;
      softmax += node.opType().equals("Softmax") ? 1 : 0;
      if (node.opType().equals("Mul") || node.opType().equals("Div")) {
        requireNumbers(node, numbersOfScores());
      }
    }
    if (products != 2 || softmax != 1 || !reached.containsAll(projections)) {
      throw graph.error(
          ("expected softmax(QKᵀ)·V of the layer's query, key and value below %s, got %d products"
                  + " and %d softmax")
              .formatted(scope, products, softmax));
    }
    new AttentionFlow(graph, x, projections, stop(projections, scope), headDim).require(context);
  }

  /** The scale, its square root where queries and keys are scaled both, and what these divide. */
  private double[] numbersOfScores() {
    double root = Math.sqrt(headDim);
    return new double[] {root, 1 / root, Math.sqrt(root), 1 / Math.sqrt(root), 1};
  }

  /** Ends at the projections, and at what is made elsewhere: masks and sizes. */
  private Predicate<String> stop(List<String> projections, String scope) {
    return value -> {
      Node node = graph.file.producer(value);
      return projections.contains(value)
          || node == null
          || !node.name().startsWith(scope) && !node.opType().equals("Constant");
    };
  }

  private void requireGelu(String network, String value, String x) throws OnnxException {
    String scope = nodeName(network, "");
    Set<String> reached = new HashSet<>();
    boolean erf = false;
    for (Node node : graph.between(value, x::equals, reached)) {
      if (!OF_GELU.contains(node.opType())) {
        throw graph.error("expected an exact GELU, got %s".formatted(node));
      }
      erf |= node.opType().equals("Erf");
      requireNumbers(node, NUMBERS_OF_GELU);
      requireRead(node, x);
    }
    if (!erf || reached.isEmpty()) {
      throw graph.error("expected an exact GELU, found no Erf below %s".formatted(scope));
    }
  }

  /** Refuses a node of a GELU with an input that is no layer's output and no number. */
  private void requireRead(Node node, String x) throws OnnxException {
    for (String input : node.inputs()) {
      Node producer = graph.producer(input);
      boolean computed = producer != null && !producer.opType().equals("Constant");
      if (!computed && !graph.same(input, x) && Float.isNaN(graph.number(input))) {
        throw graph.error(
            "%s: expected the layer's output or one number as float32, got '%s'"
                .formatted(node, input));
      }
    }
  }

  /** Refuses a node with another constant number. */
  private void requireNumbers(Node node, double... expected) throws OnnxException {
    for (String input : node.inputs()) {
      float number = graph.number(input);
      boolean known = Float.isNaN(number);
      for (double one : expected) {
        known |= Math.abs(number - one) <= 1e-3 * one;
      }
      if (!known) {
        throw graph.error(
            "%s: expected one of the numbers %s, got %s"
                .formatted(node, Arrays.toString(expected), number));
      }
    }
  }

  /**
   * Reads the width of a head from the shape that the query is given, which is one constant or is
   * put together of constants; from the divisor of the scores where that is computed.
   */
  private void readHeads(String attention, String query) throws OnnxException {
    long[] tail = queryShape(graph, query);
    Node div = node(attention, "Div");
    float divisor =
        div == null || div.inputs().size() != 2 ? Float.NaN : graph.number(div.inputs().get(1));
    long size = tail[1] > 0 ? tail[1] : tail[0] > 0 ? hidden / tail[0] : -1;
    if (size < 0 && divisor > 0) {
      size = Math.round((double) divisor * divisor);
    }
    if (size <= 0
        || size > hidden
        || hidden % size != 0
        || tail[0] > 0 && tail[0] != hidden / size
        || headDim > 0 && headDim != size) {
      throw graph.error(
          "cannot tell the number of heads: hidden size %d, query shape […, %d, %d], divisor of"
                  .formatted(hidden, tail[0], tail[1])
              + " the scores %s, in %s".formatted(divisor, attention));
    }
    if (divisor > 0 && Math.abs(divisor * divisor - size) > 1e-3 * size) {
      throw graph.error(
          "expected scores divided by sqrt(%d), the head size, got %s".formatted(size, divisor));
    }
    headDim = size;
  }

  /** Number and width of heads, -1 for what is not fixed. */
  static long[] queryShape(OnnxGraph graph, String query) throws OnnxException {
    long[] unknown = {-1, -1};
    for (Node reshape : graph.consumers(query)) {
      if (reshape.opType().equals("Reshape") && reshape.inputs().size() == 2) {
        String value = graph.input(reshape, 1);
        long[] shape = graph.wholes(value);
        if (shape != null) {
          return shape.length == 4 ? new long[] {shape[2], shape[3]} : unknown;
        }
        Node concat = graph.producer(value);
        if (concat != null && concat.opType().equals("Concat") && concat.inputs().size() == 4) {
          return new long[] {
            graph.whole(graph.input(concat, 2), -1), graph.whole(graph.input(concat, 3), -1)
          };
        }
      }
    }
    return unknown;
  }

  // ---- names ---------------------------------------------------------------------------------

  private Node node(String name, String operation) {
    return graph.file.node(nodeName(name, operation));
  }

  /** {@code encoder.layer.0.output} is {@code /encoder/layer.0/output} in names of nodes. */
  private String nodeName(String name, String operation) {
    return "%s/%s/%s".formatted(scope, path(name), operation);
  }

  private static String path(String name) {
    return name.replaceAll("\\.(?!\\d)", "/");
  }

  /** The module that a module is part of. */
  private static String parent(String name) {
    return name.substring(0, name.lastIndexOf('.'));
  }
}
