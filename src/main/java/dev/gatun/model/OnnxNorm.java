package dev.gatun.model;

import dev.gatun.io.OnnxException;
import dev.gatun.io.OnnxFile.Node;
import java.util.Arrays;
import java.util.List;

/** Layer norms of a graph, be they one operator or the arithmetic that older exports have. */
record OnnxNorm(OnnxGraph graph) {

  /**
   * A norm that was found.
   *
   * @param gamma the value of its weight
   * @param beta the value of its bias
   * @param value what it computes
   */
  record Found(String gamma, String beta, float epsilon, String value) {}

  /** The norm that takes a value. */
  Found of(String x) throws OnnxException {
    List<Node> fused = graph.consumers(x, "LayerNormalization");
    if (fused.size() == 1 && graph.same(graph.input(fused.getFirst(), 0), x)) {
      Node node = fused.getFirst();
      long axis = node.longAttribute("axis", -1);
      if (axis != -1 && axis != 2) {
        throw graph.error("%s: expected the axis -1 or 2, got %d".formatted(node, axis));
      }
      return new Found(
          graph.input(node, 1),
          graph.input(node, 2),
          node.floatAttribute("epsilon", 1e-5f),
          graph.output(node));
    }
    List<Node> subs = graph.consumers(x, "Sub");
    if (!fused.isEmpty() || subs.size() != 1) {
      throw graph.error(
          "the value '%s': expected it in one layer norm, got %s".formatted(x, graph.consumers(x)));
    }
    List<Node> divs = graph.consumers(graph.output(subs.getFirst()), "Div");
    if (divs.size() != 1) {
      throw graph.error("%s: expected a layer norm behind it".formatted(subs.getFirst()));
    }
    Node div = divs.getFirst();
    graph.require(div, graph.input(div, 0), graph.output(subs.getFirst()));
    graph.require(subs.getFirst(), graph.input(subs.getFirst(), 0), x);
    Node mul = graph.consumer(graph.output(div), "Mul");
    Node add = graph.consumer(graph.output(mul), "Add");
    return new Found(
        graph.other(mul, graph.output(div)),
        graph.other(add, graph.output(mul)),
        epsilon(div.toString(), div),
        graph.output(add));
  }

  /** Of (x - mean) / sqrt(mean((x - mean)²) + epsilon), all of which is checked. */
  float epsilon(String name, Node div) throws OnnxException {
    String centered = graph.input(div, 0);
    Node sub = graph.producer(centered, "Sub");
    requireMean(graph.input(sub, 1), graph.input(sub, 0));
    Node sum = graph.producer(graph.input(graph.producer(graph.input(div, 1), "Sqrt"), 0), "Add");
    for (int i = 0; i < 2; i++) {
      if (graph.isConstant(graph.input(sum, i))) {
        Node mean = graph.producer(graph.input(sum, 1 - i), "ReduceMean");
        requireRows(mean);
        Node square = graph.producer(graph.input(mean, 0), "Pow", "Mul");
        graph.require(square, graph.input(square, 0), centered);
        boolean twice = graph.same(graph.input(square, 1), centered);
        if (square.opType().equals("Mul") ? !twice : graph.number(graph.input(square, 1)) != 2) {
          throw graph.error("%s: expected the square of '%s'".formatted(square, centered));
        }
        return graph.number(graph.input(sum, i));
      }
    }
    throw graph.error("%s: expected the epsilon as a constant of %s".formatted(name, sum));
  }

  /** Refuses means along anything but rows. */
  private void requireRows(Node mean) throws OnnxException {
    long[] axes =
        mean.inputs().size() > 1 ? graph.wholes(graph.input(mean, 1)) : mean.longsAttribute("axes");
    if (axes != null && (axes.length != 1 || axes[0] != -1 && axes[0] != 2)) {
      throw graph.error(
          "%s: expected the axis -1 or 2, got %s".formatted(mean, Arrays.toString(axes)));
    }
  }

  private void requireMean(String value, String x) throws OnnxException {
    Node mean = graph.producer(value, "ReduceMean");
    graph.require(mean, graph.input(mean, 0), x);
    requireRows(mean);
  }
}
