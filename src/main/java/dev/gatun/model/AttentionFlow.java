package dev.gatun.model;

import dev.gatun.io.OnnxException;
import dev.gatun.io.OnnxFile.Initializer;
import dev.gatun.io.OnnxFile.Node;
import java.util.Arrays;
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

  /** Orders of dimensions: of a head's rows from a token's, or back; those of keys turned. */
  private static final int[] HEADS = {0, 2, 1, 3};

  private static final int[] TURNED_HEADS = {0, 2, 3, 1};
  private static final int[] UNCHANGED = {0, 1, 2, 3};
  private static final int[][] KNOWN_MOVES = {HEADS, TURNED_HEADS, {0, 1, 3, 2}};

  private final OnnxGraph graph;
  private final String x;
  private final List<String> projections;
  private final Predicate<String> stop;
  private final long headDim;

  /** Of all that has been passed since it was last looked at. */
  private double factor = 1;

  /** Where each dimension comes from, of what was last gone back from. */
  private int[] order = UNCHANGED;

  private boolean ordered;

  /**
   * To follow query, key and value from their projections to where attention ends.
   *
   * @param x what the projections are made of
   */
  AttentionFlow(
      OnnxGraph graph, String x, List<String> projections, Predicate<String> stop, long headDim) {
    this.graph = graph;
    this.x = x;
    this.projections = projections;
    this.stop = stop;
    this.headDim = headDim;
  }

  /** Holds orders of dimensions as well against those of attention: no names vouch for them. */
  AttentionFlow ordered() {
    ordered = true;
    return this;
  }

  /** Refuses all but softmax(QKᵀ/√d)·V. */
  void require(String context) throws OnnxException {
    Node mixed = graph.producer(back(context, "MatMul"));
    requireOrder(context, HEADS);
    Node softmax = graph.producer(back(graph.input(mixed, 0), "Softmax"));
    requireOrder(graph.input(mixed, 0), UNCHANGED);
    requireProjection(mixed, 1, 2, HEADS);
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
    requireOrder(graph.input(softmax, 0), UNCHANGED);
    requireProjection(scores, 0, 0, HEADS);
    requireProjection(scores, 1, 1, TURNED_HEADS);
    double expected = 1 / Math.sqrt(headDim);
    if (!(Math.abs(factor - expected) <= 1e-3 * expected)) {
      throw graph.error(
          "%s: expected scores divided by sqrt(%d), the head size, got them multiplied by %s"
              .formatted(scores, headDim, factor));
    }
  }

  private void requireProjection(Node product, int input, int projection, int... expected)
      throws OnnxException {
    String found = back(graph.input(product, input), "");
    if (!graph.same(found, projections.get(projection))) {
      throw graph.error(
          "%s: expected input %d made of '%s', got '%s'"
              .formatted(product, input, projections.get(projection), found));
    }
    requireOrder(graph.input(product, input), expected);
  }

  /** Goes back to a projection or to what an operator computes. */
  private String back(String start, String operator) throws OnnxException {
    order = UNCHANGED;
    String value = start;
    for (int steps = 0; steps < MOST_STEPS; steps++) {
      Node node = graph.producer(value);
      if (node == null) {
        break;
      }
      if (projections.contains(value) || node.opType().equals(operator)) {
        return value;
      }
      if (ordered && node.opType().equals("Transpose")) {
        order = moved(node);
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

  /** The order before a Transpose, of what comes behind it in an order. */
  private int[] moved(Node transpose) throws OnnxException {
    long[] given = transpose.longsAttribute("perm");
    int[] move = null;
    for (int[] known : KNOWN_MOVES) {
      long[] wide = Arrays.stream(known).asLongStream().toArray();
      // Three dimensions are of a head, whose texts and heads are one.
      long[] joined = {0, known[2] - 1, known[3] - 1};
      boolean swapped = known[1] == 1 && Arrays.equals(given, joined);
      move = Arrays.equals(given, wide) || swapped ? known : move;
    }
    if (move == null) {
      throw graph.error(
          "%s: expected an order of attention, got %s"
              .formatted(transpose, Arrays.toString(given)));
    }
    int[] before = new int[order.length];
    for (int i = 0; i < order.length; i++) {
      before[i] = move[order[i]];
    }
    return before;
  }

  private void requireOrder(String value, int... expected) throws OnnxException {
    if (ordered && !Arrays.equals(order, expected)) {
      throw graph.error(
          "the value '%s': expected the order %s of texts, tokens, heads and elements, got %s"
              .formatted(value, Arrays.toString(expected), Arrays.toString(order)));
    }
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
          for (String input : node.inputs()) {
            if (!graph.same(input, found) && !isNotANumber(input, found)) {
              requireMask(node, input);
            }
          }
          return found;
        }
      }
      default -> {
        // refused below
      }
    }
    throw graph.error("%s: expected plain attention".formatted(node));
  }

  /** Whether rows without a key, which softmax has no numbers for, are told by a value. */
  private boolean isNotANumber(String value, String of) throws OnnxException {
    Node node = graph.producer(value);
    return node != null && node.opType().equals("IsNaN") && graph.same(graph.input(node, 0), of);
  }

  /** Refuses what is made of the layer's values, and what differs between places by itself. */
  private void requireMask(Node user, String mask) throws OnnxException {
    Set<String> ends = new HashSet<>();
    for (Node node : graph.between(mask, stop, ends)) {
      String operator = node.opType();
      if (!BertReader.OF_ATTENTION.contains(operator)
          || operator.equals("MatMul")
          || operator.equals("Softmax")) {
        throw graph.error("%s: expected a mask of %s, got one made by it".formatted(node, user));
      }
      if (operator.equals("Constant")) {
        ends.add(graph.output(node));
      }
    }
    for (String end : ends) {
      Initializer constant = graph.file.describe(end);
      boolean table =
          constant != null
              && (constant.shape().length > 1 || constant.dataType().equals("BOOL"))
              && Arrays.stream(constant.shape()).anyMatch(size -> size != 1);
      if (table || graph.same(end, x) || projections.contains(end)) {
        throw graph.error("%s: expected a mask of texts, got one of '%s'".formatted(user, end));
      }
    }
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
