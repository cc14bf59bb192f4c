package dev.gatun.model;

import dev.gatun.io.OnnxException;
import dev.gatun.io.OnnxFile.Node;
import java.util.HashSet;
import java.util.List;
import java.util.Set;
import java.util.function.Predicate;

/**
 * Follows attention in a graph from its context back to the projections: which of them is used
 * where, and what the scores are multiplied by on all ways together.
 */
final class AttentionFlow {

  /** What gives its first input on, in another shape, order or precision. */
  private static final Set<String> MOVES =
      Set.of("Reshape", "Transpose", "Squeeze", "Unsqueeze", "Cast", "Expand");

  private static final int MOST_STEPS = 64;

  private final OnnxGraph graph;
  private final List<String> projections;
  private final Predicate<String> stop;
  private final long headDim;

  /** Of all that has been passed since it was last looked at. */
  private double factor = 1;

  /** To follow query, key and value from their projections to where attention ends. */
  AttentionFlow(OnnxGraph graph, List<String> projections, Predicate<String> stop, long headDim) {
    this.graph = graph;
    this.projections = projections;
    this.stop = stop;
    this.headDim = headDim;
  }

  /** Refuses all but softmax(QKᵀ/√d)·V. */
  void require(String context) throws OnnxException {
    Node mixed = graph.producer(back(context, "MatMul"));
    Node softmax = graph.producer(back(graph.input(mixed, 0), "Softmax"));
    requireProjection(mixed, 1, 2);
    if (Math.abs(factor - 1) > 1e-3) {
      throw graph.error("%s: expected no factor but that of the scores".formatted(mixed));
    }
    long axis = softmax.longAttribute("axis", -1);
    if (axis != -1 && axis != 3) {
      throw graph.error(
          "%s: expected the axis -1 or 3, the keys of a row, got %d".formatted(softmax, axis));
    }
    factor = 1;
    Node scores = graph.producer(back(graph.input(softmax, 0), "MatMul"));
    requireProjection(scores, 0, 0);
    requireProjection(scores, 1, 1);
    double expected = 1 / Math.sqrt(headDim);
    if (!(Math.abs(factor - expected) <= 1e-3 * expected)) {
      throw graph.error(
          "%s: expected scores divided by sqrt(%d), the head size, got them multiplied by %s"
              .formatted(scores, headDim, factor));
    }
  }

  private void requireProjection(Node product, int input, int projection) throws OnnxException {
    String found = back(graph.input(product, input), "");
    if (!graph.same(found, projections.get(projection))) {
      throw graph.error(
          "%s: expected input %d made of '%s', got '%s'"
              .formatted(product, input, projections.get(projection), found));
    }
  }

  /** Goes back to a projection or to what an operator computes. */
  private String back(String start, String operator) throws OnnxException {
    String value = start;
    for (int steps = 0; steps < MOST_STEPS; steps++) {
      Node node = graph.producer(value);
      if (node == null) {
        break;
      }
      if (projections.contains(value) || node.opType().equals(operator)) {
        return value;
      }
      if (MOVES.contains(node.opType())) {
        value = graph.input(node, 0);
      } else {
        value = through(node, operator);
      }
    }
    throw graph.error(
        "the value '%s': expected what %s computes, moved or scaled"
            .formatted(start, operator.isEmpty() ? "a projection" : operator));
  }

  private String through(Node node, String operator) throws OnnxException {
    switch (node.opType()) {
      case "Mul", "Div" -> {
        boolean div = node.opType().equals("Div");
        for (int i = 1; i >= (div ? 1 : 0); i--) {
          double number = number(graph.input(node, i), 0);
          if (!Double.isNaN(number)) {
            factor = div ? factor / number : factor * number;
            return graph.input(node, 1 - i);
          }
        }
        throw graph.error("%s: expected a number that is known as one input".formatted(node));
      }
      case "Add", "Where" -> { // a mask
        String found = null;
        for (int i = node.opType().equals("Where") ? 1 : 0; i < node.inputs().size(); i++) {
          String input = graph.input(node, i);
          if (leadsTo(input, operator)) {
            if (found != null) {
              throw graph.error("%s: expected scores and a mask".formatted(node));
            }
            found = input;
          }
        }
        if (found != null) {
          return found;
        }
      }
      default -> {
        // refused below
      }
    }
    throw graph.error("%s: expected plain attention".formatted(node));
  }

  private boolean leadsTo(String value, String operator) throws OnnxException {
    return graph.between(value, stop, new HashSet<>()).stream()
        .anyMatch(node -> node.opType().equals(operator));
  }

  // ---- numbers -------------------------------------------------------------------------------

  /** A constant, or what is computed of constants and the size of a head; NaN if it is neither. */
  private double number(String value, int depth) throws OnnxException {
    double constant = graph.number(value);
    Node node = graph.producer(value);
    if (!Double.isNaN(constant) || node == null || depth == MOST_STEPS) {
      return constant;
    }
    return switch (node.opType()) {
      case "Sqrt" -> Math.sqrt(number(graph.input(node, 0), depth + 1));
      case "Div" ->
          number(graph.input(node, 0), depth + 1) / number(graph.input(node, 1), depth + 1);
      case "Mul" -> {
        double left = number(graph.input(node, 0), depth + 1);
        // NaN is most often the first, and a graph may double the ways at each node.
        yield Double.isNaN(left) ? left : left * number(graph.input(node, 1), depth + 1);
      }
      case "Cast", "Squeeze", "Unsqueeze" -> number(graph.input(node, 0), depth + 1);
      case "Gather", "Slice" -> {
        Node shape = graph.producer(graph.input(node, 0));
        long[] index = graph.wholes(graph.input(node, 1));
        boolean last = index != null && index.length == 1 && (index[0] == -1 || index[0] == 3);
        yield last
                && shape != null
                && shape.opType().equals("Shape")
                && shape.longAttribute("start", 0) == 0
                && !projections.contains(graph.input(shape, 0))
            ? headDim
            : Double.NaN;
      }
      default -> Double.NaN;
    };
  }
}
