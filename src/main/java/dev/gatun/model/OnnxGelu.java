package dev.gatun.model;

import dev.gatun.io.OnnxException;
import dev.gatun.io.OnnxFile.Node;
import java.util.HashMap;
import java.util.HashSet;
import java.util.Map;
import java.util.Set;

/** Exact GELU of a graph: the operator, or arithmetic that gives its numbers. */
record OnnxGelu(OnnxGraph graph) {
  private static final double[] SAMPLES = {-3, -2.2, -1, -0.4, 0, 0.7, 1.5, 2.3, 4};

  /** Above what constants in half precision lose, below what tanh differs by. */
  private static final double TOLERANCE = 2e-4;

  /** What is activated to give a value. */
  String inputOf(String value) throws OnnxException {
    Node node = graph.producer(value, "Gelu", "Mul");
    if (node.opType().equals("Gelu")) {
      String approximate = node.textAttribute("approximate", "none");
      if (!approximate.equals("none") || node.inputs().size() != 1) {
        throw graph.error("%s: expected an exact GELU, got '%s'".formatted(node, approximate));
      }
      return graph.input(node, 0);
    }
    Set<String> ends = new HashSet<>();
    Set<Node> nodes = graph.between(value, this::isNoArithmetic, ends);
    ends.removeIf(this::isNumber);
    if (ends.size() != 1) {
      throw graph.error("%s: expected an exact GELU of one value, got %s".formatted(node, ends));
    }
    String x = ends.iterator().next();
    // The product's bias is added before; that sum is what is activated.
    for (Node add : nodes) {
      if (add.opType().equals("Add") && add.inputs().contains(x)) {
        x = graph.output(add);
      }
    }
    for (double sample : SAMPLES) {
      Map<String, Double> known = new HashMap<>();
      known.put(x, sample);
      double expected = 0.5 * sample * (1 + erf(sample / Math.sqrt(2)));
      double actual = evaluate(value, known);
      if (!(Math.abs(actual - expected) <= TOLERANCE)) {
        throw graph.error(
            "%s: expected an exact GELU, which is %s of %s, got %s"
                .formatted(node, expected, sample, actual));
      }
    }
    return x;
  }

  private boolean isNoArithmetic(String value) {
    Node node = graph.file.producer(value);
    return node == null || !Set.of("Add", "Div", "Erf", "Mul", "Sub").contains(node.opType());
  }

  private boolean isNumber(String value) {
    try {
      return graph.isConstant(value) || !Float.isNaN(graph.number(value));
    } catch (OnnxException e) {
      return false;
    }
  }

  private double evaluate(String value, Map<String, Double> known) throws OnnxException {
    Double done = known.get(graph.origin(value));
    if (done != null) {
      return done;
    }
    known.put(graph.origin(value), Double.NaN); // should it lead back to itself
    double number = graph.number(value);
    Node node = graph.producer(value);
    if (Double.isNaN(number) && node != null && !isNoArithmetic(graph.origin(value))) {
      double a = evaluate(graph.input(node, 0), known);
      double b = node.opType().equals("Erf") ? 0 : evaluate(graph.input(node, 1), known);
      number =
          switch (node.opType()) {
            case "Add" -> a + b;
            case "Sub" -> a - b;
            case "Mul" -> a * b;
            case "Div" -> a / b;
            default -> erf(a);
          };
    }
    known.put(graph.origin(value), number);
    return number;
  }

  /** Abramowitz and Stegun 7.1.26, to 1.5e-7. */
  private static double erf(double x) {
    double t = 1 / (1 + 0.3275911 * Math.abs(x));
    double y =
        ((((1.061405429 * t - 1.453152027) * t + 1.421413741) * t - 0.284496736) * t + 0.254829592)
            * t;
    return Math.signum(x) * (1 - y * Math.exp(-x * x));
  }
}
