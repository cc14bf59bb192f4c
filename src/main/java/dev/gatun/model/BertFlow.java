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

/**
 * Finds the weights and sizes of an encoder by what its graph computes, whatever nodes are called:
 * from the look-ups of token ids on, layer by layer, each of which is followed back from its
 * residual to the state before. For exports without PyTorch's names, and such as {@link BertReader}
 * does not know.
 */
final class BertFlow {
  private static final int[][] ORDERS = {
    {0, 1, 2}, {0, 2, 1}, {1, 0, 2}, {1, 2, 0}, {2, 0, 1}, {2, 1, 0}
  };

  private final OnnxGraph graph;
  private final Arena arena;
  private final ModelConfig config;
  private final OnnxLinear linears;
  private final Map<String, Tensor> weights = new LinkedHashMap<>();
  private WeightNames names;
  private int hidden;
  private int intermediate = -1;
  private long headDim;
  private float eps = Float.NaN;

  BertFlow(OnnxFile file, Arena arena, ModelConfig config) throws OnnxException {
    this.graph = new OnnxGraph(file, true);
    this.linears = new OnnxLinear(graph);
    this.arena = arena;
    this.config = config;
  }

  BertWeights read() throws OnnxException {
    Node[] tables = tables();
    BertEmbeddings embeddings =
        new BertEmbeddings(
            graph, new OnnxQuantized(graph, arena), arena, tables[0], tables[1], tables[2], config);
    names = tables[2] == null ? DistilBert.NAMES : Bert.NAMES;
    hidden = (int) embeddings.words.size(1);
    weights.put(Bert.WORDS, embeddings.words);
    weights.put(Bert.POSITIONS, embeddings.positions);
    if (embeddings.tokenTypes != null) {
      weights.put(Bert.TYPES, embeddings.tokenTypes);
    }
    Set<String> terms = new HashSet<>();
    String sum = graph.output(tables[0]);
    List<Node> adds;
    while (graph.consumers(sum, "LayerNormalization").isEmpty()
        && graph.consumers(sum, "Sub").isEmpty()
        && (adds = graph.consumers(sum, "Add")).size() == 1
        && !terms.contains(graph.output(adds.getFirst()))) {
      sum = graph.output(adds.getFirst());
      terms.add(sum);
    }
    embeddings.requireSum(sum);
    String x = norm(Bert.NORM, sum);
    Set<String> states = new HashSet<>(Set.of(x));
    int layers = 0;
    for (Node residual; (residual = residual(x)) != null; layers++) {
      x = readLayer(layers, x, residual);
      states.add(x);
    }
    if (layers == 0) {
      throw graph.error(
          "expected layers of an encoder behind the value '%s', got none".formatted(x));
    }
    OnnxLeftovers leftovers = new OnnxLeftovers(graph, "the encoder");
    leftovers.findPooler(x);
    leftovers.refuse(x, states);
    BertConfig sizes = embeddings.sizes(layers, (int) headDim, intermediate, eps);
    if (config != null) {
      boolean half = weights.values().stream().anyMatch(w -> w.dtype() == DType.FLOAT16);
      config.require(sizes, embeddings.positions.size(0), half);
    }
    return new BertWeights(sizes, new StoredWeights(weights, arena));
  }

  // ---- embeddings ----------------------------------------------------------------------------

  /** The look-ups of words, positions and, or null, token types. */
  private Node[] tables() throws OnnxException {
    Node[] tables = new Node[3];
    for (Node node : graph.file.nodes()) {
      if (!node.opType().equals("Gather") || node.inputs().size() != 2) {
        continue;
      }
      OnnxFile.Initializer table = graph.file.describe(graph.input(node, 0));
      if (table == null || table.shape().length != 2 || !table.dataType().startsWith("FLOAT")) {
        continue;
      }
      if (node.longAttribute("axis", 0) != 0) {
        throw graph.error("%s: expected rows of a table".formatted(node));
      }
      int kind = kind(BertEmbeddings.behindCopies(graph, graph.input(node, 1)));
      if (tables[kind] != null) {
        throw graph.error(
            "expected one table each of words, positions and token types, got %s and %s"
                .formatted(tables[kind], node));
      }
      tables[kind] = node;
    }
    if (tables[0] == null || tables[1] == null) {
      throw graph.error(
          "expected a BERT encoder as PyTorch exports it, found no node %s, and no Gather of token"
                  .formatted("/encoder/layer.0/attention/self/query/MatMul")
              + " ids and positions in tables of floats");
    }
    return tables;
  }

  private int kind(String ids) throws OnnxException {
    Node producer = graph.producer(ids);
    long[] fixed = graph.wholes(ids);
    if (producer == null && fixed == null) {
      return ids.contains("position") ? 1 : ids.contains("type") || ids.contains("segment") ? 2 : 0;
    }
    boolean zeros =
        fixed != null
            ? fixed.length > 1 && Arrays.stream(fixed).allMatch(id -> id == 0)
            : producer.opType().equals("ConstantOfShape");
    return zeros ? 2 : 1;
  }

  // ---- layers --------------------------------------------------------------------------------

  /** Where a state is added to what is made of it; null behind the last layer. */
  private Node residual(String x) throws OnnxException {
    List<Node> adds = graph.consumers(x, "Add");
    if (adds.size() > 1) {
      throw graph.error("the value '%s': expected one residual, got %s".formatted(x, adds));
    }
    return adds.isEmpty() ? null : adds.getFirst();
  }

  private String readLayer(int n, String x, Node residual) throws OnnxException {
    OnnxLinear.Found output = linears.of(graph.other(residual, x));
    put(Part.OUTPUT, n, output, hidden, hidden);
    readAttention(n, x, output.input());
    String attended = norm(names.module(Part.SELF_NORM, n), graph.output(residual));
    Node second = residual(attended);
    if (second == null) {
      throw graph.error("the value '%s': expected a residual behind it".formatted(attended));
    }
    OnnxLinear.Found last = linears.of(graph.other(second, attended));
    String made = new OnnxGelu(graph).inputOf(last.input());
    OnnxLinear.Found first = linears.of(made);
    if (!graph.same(first.input(), attended)) {
      throw graph.error(
          "the value '%s': expected it made of '%s', got '%s'"
              .formatted(made, attended, first.input()));
    }
    put(Part.FIRST, n, first, hidden, intermediate);
    intermediate = (int) weights.get(names.name(Part.FIRST, n, "weight")).size(0);
    put(Part.SECOND, n, last, intermediate, hidden);
    return norm(names.module(Part.FEED_FORWARD_NORM, n), graph.output(second));
  }

  private void put(Part part, int n, OnnxLinear.Found linear, int in, int out)
      throws OnnxException {
    weights.put(
        names.name(part, n, "weight"),
        linears.matrix(names.name(part, n, "weight"), linear, in, out));
    int width = (int) weights.get(names.name(part, n, "weight")).size(0);
    weights.put(
        names.name(part, n, "bias"),
        graph.floats(names.name(part, n, "bias"), linear.bias(), width));
  }

  private void readAttention(int n, String x, String context) throws OnnxException {
    List<String> found = linears.users(x);
    List<String> projections = found;
    boolean merged = found.size() == 1;
    if (merged) {
      projections = linears.thirds(found.getFirst(), hidden);
    }
    if (projections.size() != 3) {
      throw graph.error(
          "the value '%s': expected a query, a key and a value of it, got %s"
              .formatted(x, projections));
    }
    OnnxException reason = null;
    for (int[] order : ORDERS) {
      List<String> turn = new ArrayList<>();
      for (int part : order) {
        turn.add(projections.get(part));
      }
      long[] shape = BertReader.queryShape(graph, turn.getFirst());
      long size = shape[1] > 0 ? shape[1] : shape[0] > 0 ? hidden / shape[0] : -1;
      if (size <= 0 || hidden % size != 0 || headDim > 0 && headDim != size) {
        throw graph.error(
            "cannot tell the number of heads: hidden size %d, query shape […, %d, %d] of '%s'"
                .formatted(hidden, shape[0], shape[1], turn.getFirst()));
      }
      try {
        new AttentionFlow(
                graph,
                x,
                turn,
                value ->
                    turn.contains(value) || value.equals(x) || graph.file.producer(value) == null,
                size)
            .ordered()
            .require(context);
      } catch (OnnxException e) {
        reason = reason == null ? e : reason;
        continue;
      }
      headDim = size;
      Part[] parts = {Part.QUERY, Part.KEY, Part.VALUE};
      for (int i = 0; i < 3; i++) {
        if (merged) {
          putThird(parts[i], n, linears.of(found.getFirst()), order[i]);
        } else {
          put(parts[i], n, linears.of(turn.get(i)), hidden, hidden);
        }
      }
      return;
    }
    throw reason;
  }

  private void putThird(Part part, int n, OnnxLinear.Found linear, int third) throws OnnxException {
    String name = names.name(part, n, "weight");
    Tensor all = linears.matrix(name, linear, hidden, 3 * hidden);
    long from = (long) third * hidden;
    weights.put(name, all.slice(0, from, from + hidden));
    String bias = names.name(part, n, "bias");
    weights.put(bias, graph.floats(bias, linear.bias(), 3 * hidden).slice(0, from, from + hidden));
  }

  private String norm(String name, String x) throws OnnxException {
    OnnxNorm.Found found = new OnnxNorm(graph).of(x);
    float epsilon = found.epsilon();
    if (!(epsilon > 0) || Float.isInfinite(epsilon)) {
      throw graph.error(
          "%s: expected an epsilon that is finite and above 0, got %s".formatted(name, epsilon));
    }
    if (!Float.isNaN(eps) && eps != epsilon) {
      throw graph.error(
          "%s: expected the epsilon %s as elsewhere, got %s".formatted(name, eps, epsilon));
    }
    eps = epsilon;
    weights.put(name + ".weight", graph.floats(name + ".weight", found.gamma(), hidden));
    weights.put(name + ".bias", graph.floats(name + ".bias", found.beta(), hidden));
    return found.value();
  }
}
