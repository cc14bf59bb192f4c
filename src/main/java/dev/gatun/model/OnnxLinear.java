package dev.gatun.model;

import dev.gatun.Tensor;
import dev.gatun.io.OnnxException;
import dev.gatun.io.OnnxFile.Node;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.Set;

/**
 * Linear layers of a graph, as MatMul and Add or as Gemm, found by what they take or compute. Gemm
 * takes rows of one dimension, which a Reshape before and one behind make of two.
 */
record OnnxLinear(OnnxGraph graph) {

  /**
   * A layer that was found.
   *
   * @param input what it takes
   * @param weight the value of its matrix
   * @param turned whether the matrix is {@code [out, in]}
   * @param bias the value of its bias
   */
  record Found(String input, String weight, boolean turned, String bias) {}

  /** The layer that computes a value. */
  Found of(String value) throws OnnxException {
    Node behind = graph.producer(value);
    boolean reshaped = behind != null && behind.opType().equals("Reshape");
    Node node =
        reshaped
            ? graph.producer(graph.input(behind, 0), "Gemm")
            : graph.producer(value, "Add", "Gemm");
    String bias;
    boolean turned = false;
    Node product = node;
    if (node.opType().equals("Gemm")) {
      if (node.longAttribute("transA", 0) != 0
          || node.floatAttribute("alpha", 1) != 1
          || node.floatAttribute("beta", 1) != 1) {
        throw graph.error("%s: expected x · W + b without factors".formatted(node));
      }
      bias = graph.input(node, 2);
      turned = node.longAttribute("transB", 0) != 0;
    } else {
      int side = graph.isConstant(graph.input(node, 0)) ? 0 : 1;
      bias = graph.input(node, side);
      product = graph.producer(graph.input(node, 1 - side), "MatMul");
    }
    String weight = graph.input(product, 1);
    Node transpose = graph.producer(weight);
    if (transpose != null && transpose.opType().equals("Transpose")) {
      long[] order = transpose.longsAttribute("perm");
      if (order != null && !Arrays.equals(order, new long[] {1, 0})) {
        throw graph.error(
            "%s: expected the order [1, 0], got %s".formatted(transpose, Arrays.toString(order)));
      }
      turned = !turned;
      weight = graph.input(transpose, 0);
    }
    return new Found(rows(product), weight, turned, bias);
  }

  /** What a product takes, before a Reshape for Gemm. */
  private String rows(Node product) throws OnnxException {
    String input = graph.input(product, 0);
    Node reshape = graph.producer(input);
    return product.opType().equals("Gemm") && reshape != null && reshape.opType().equals("Reshape")
        ? graph.input(reshape, 0)
        : input;
  }

  /** The matrix {@code [out, in]}. */
  Tensor matrix(String name, Found layer, int in, int out) throws OnnxException {
    return layer.turned
        ? graph.floats(name, layer.weight, out, in)
        : graph.floats(name, layer.weight, in, out).transpose(0, 1);
  }

  /** What the layers compute that take a value. */
  List<String> users(String x) throws OnnxException {
    List<String> values = new ArrayList<>();
    for (Node node : graph.file.nodes()) {
      if (!graph.consumers(x).contains(node)) {
        continue;
      }
      if (node.opType().equals("Reshape")) {
        for (Node gemm : graph.consumers(graph.output(node), "Gemm")) {
          values.add(restored(graph.output(gemm)));
        }
      } else if (node.opType().equals("Gemm")) {
        values.add(graph.output(node));
      } else if (node.opType().equals("MatMul")) {
        values.add(graph.output(graph.consumer(graph.output(node), "Add")));
      }
    }
    return values;
  }

  /**
   * Behind the Reshape of a Gemm's rows to three dimensions, if they do not go to heads at once.
   */
  private String restored(String value) throws OnnxException {
    Set<Node> users = graph.consumers(value);
    Node reshape = users.size() == 1 ? users.iterator().next() : null;
    if (reshape == null || !reshape.opType().equals("Reshape")) {
      return value;
    }
    String shape = graph.input(reshape, 1);
    long[] sizes = graph.wholes(shape);
    Node concat = graph.producer(shape);
    boolean three =
        sizes != null
            ? sizes.length == 3
            : concat != null && concat.opType().equals("Concat") && concat.inputs().size() == 3;
    return three ? graph.output(reshape) : value;
  }

  /** Three equal parts of the last dimension, in their order. */
  List<String> thirds(String value, int size) throws OnnxException {
    List<Node> splits = graph.consumers(value, "Split");
    if (splits.size() == 1) {
      Node split = splits.getFirst();
      long[] sizes =
          split.inputs().size() > 1
              ? graph.wholes(graph.input(split, 1))
              : split.longsAttribute("split");
      long axis = split.longAttribute("axis", 0);
      if (split.outputs().size() != 3
          || axis != -1 && axis != 2
          || sizes != null && !Arrays.equals(sizes, new long[] {size, size, size})) {
        throw graph.error(
            "%s: expected three parts of %d along the last axis".formatted(split, size));
      }
      return split.outputs();
    }
    String[] parts = new String[3];
    for (Node slice : graph.consumers(value, "Slice")) {
      long from = graph.whole(graph.input(slice, 1), -1);
      long to = graph.whole(graph.input(slice, 2), -1);
      long axis = graph.whole(graph.input(slice, 3), 0);
      long step = slice.inputs().size() > 4 ? graph.whole(graph.input(slice, 4), 0) : 1;
      int part = (int) (from / size);
      if (from < 0
          || from % size != 0
          || part > 2
          || to != from + size && !(part == 2 && to > from + size)
          || axis != -1 && axis != 2
          || step != 1
          || parts[part] != null) {
        throw graph.error("%s: expected a third of the last axis, %d wide".formatted(slice, size));
      }
      parts[part] = graph.output(slice);
    }
    return Arrays.stream(parts).filter(part -> part != null).toList();
  }
}
