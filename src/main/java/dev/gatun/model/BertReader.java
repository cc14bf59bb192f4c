package dev.gatun.model;

import dev.gatun.DType;
import dev.gatun.Tensor;
import dev.gatun.internal.Messages;
import dev.gatun.io.OnnxException;
import dev.gatun.io.OnnxFile;
import dev.gatun.io.OnnxFile.Node;
import dev.gatun.model.BertWeights.Layer;
import dev.gatun.model.BertWeights.Linear;
import dev.gatun.model.BertWeights.Norm;
import java.lang.foreign.Arena;
import java.lang.foreign.ValueLayout;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;

/** Finds the weights and sizes of an encoder in the graph that PyTorch exports. */
final class BertReader {
  private static final String FIRST_QUERY = "/encoder/layer.0/attention/self/query/MatMul";

  private final OnnxFile file;
  private final Arena arena;

  /** What the encoder is called inside a bigger model: "", or "/bert" in names of nodes. */
  private final String prefix;

  private final String weightPrefix;
  private int hidden;
  private float eps = Float.NaN;

  BertReader(OnnxFile file, Arena arena) throws OnnxException {
    this.file = file;
    this.arena = arena;
    this.prefix = prefix();
    this.weightPrefix = prefix.isEmpty() ? "" : prefix.substring(1).replace('/', '.') + ".";
  }

  private String prefix() throws OnnxException {
    for (Node node : file.nodes()) {
      if (node.name().endsWith(FIRST_QUERY)) {
        return node.name().substring(0, node.name().length() - FIRST_QUERY.length());
      }
    }
    throw error(
        "expected a BERT encoder as PyTorch exports it, found no node %s".formatted(FIRST_QUERY));
  }

  BertWeights read() throws OnnxException {
    Tensor words = weight("embeddings.word_embeddings.weight", -1, -1);
    hidden = Math.toIntExact(words.size(1));
    Tensor positions = weight("embeddings.position_embeddings.weight", -1, hidden);
    Tensor types = weight("embeddings.token_type_embeddings.weight", -1, hidden);
    Norm embeddingNorm = norm("embeddings.LayerNorm");
    int headDim = headDim();
    int intermediate = -1;
    List<Layer> layers = new ArrayList<>();
    String name = "encoder.layer.0.";
    while (node(name + "attention.self.query", "MatMul") != null) {
      Layer layer = readLayer(name, intermediate);
      intermediate = Math.toIntExact(layer.intermediate().weight().size(1));
      layers.add(layer);
      name = "encoder.layer.%d.".formatted(layers.size());
    }
    BertConfig config =
        new BertConfig(
            layers.size(),
            hidden,
            hidden / headDim,
            headDim,
            intermediate,
            Math.toIntExact(words.size(0)),
            Math.toIntExact(positions.size(0)),
            Math.toIntExact(types.size(0)),
            eps);
    return new BertWeights(config, words, positions, types, embeddingNorm, layers);
  }

  private Layer readLayer(String name, int intermediate) throws OnnxException {
    requireErf(name);
    return new Layer(
        linear(name + "attention.self.query", hidden, hidden),
        linear(name + "attention.self.key", hidden, hidden),
        linear(name + "attention.self.value", hidden, hidden),
        linear(name + "attention.output.dense", hidden, hidden),
        norm(name + "attention.output.LayerNorm"),
        linear(name + "intermediate.dense", hidden, intermediate),
        linear(name + "output.dense", intermediate, hidden),
        norm(name + "output.LayerNorm"));
  }

  private Linear linear(String name, int in, int out) throws OnnxException {
    Node product = node(name, "MatMul");
    if (product == null) {
      throw error(
          "no node %s, whose second input is the weight %s"
              .formatted(nodeName(name, "MatMul"), name));
    }
    if (product.inputs().size() != 2) {
      throw error("%s: expected 2 inputs, got %s".formatted(product, product.inputs()));
    }
    String input = product.inputs().get(1);
    Node transpose = file.producer(input);
    boolean transposed = transpose != null && transpose.opType().equals("Transpose");
    Tensor weight = file.constant(transposed ? transpose.inputs().getFirst() : input);
    if (weight == null) {
      throw error(
          "%s: expected a weight as second input, %s is computed"
              .formatted(product, Messages.quoted(input)));
    }
    if (transposed) {
      Tensor turned = Tensor.allocate(arena, DType.FLOAT32, weight.size(1), weight.size(0));
      turned.copyFrom(weight.transpose(0, 1));
      weight = turned.asReadOnly();
    }
    check(name + ".weight", weight, in, out);
    return new Linear(weight, weight(name + ".bias", Math.toIntExact(weight.size(1))));
  }

  private Norm norm(String name) throws OnnxException {
    Node add = node(name, "Add");
    Node fused = node(name, "LayerNormalization");
    float value = Float.NaN;
    if (fused != null) {
      value = fused.floatAttribute("epsilon", 1e-5f);
    } else if (add != null && add.inputs().size() == 2) {
      value = number(add.inputs().get(1));
    }
    if (Float.isNaN(value)) {
      throw error(
          "%s: expected the epsilon as a constant of node %s"
              .formatted(name, nodeName(name, "Add")));
    }
    if (Float.isNaN(eps)) {
      eps = value;
    } else if (eps != value) {
      throw error("%s: expected the epsilon %s as elsewhere, got %s".formatted(name, eps, value));
    }
    return new Norm(weight(name + ".weight", hidden), weight(name + ".bias", hidden));
  }

  private void requireErf(String layer) throws OnnxException {
    String start = nodeName(layer + "intermediate", "");
    for (Node node : file.nodes()) {
      if (node.opType().equals("Erf") && node.name().startsWith(start)) {
        return;
      }
    }
    throw error("expected an exact GELU, found no Erf below %s".formatted(start));
  }

  /**
   * Reads the width of a head from the shape that the query is given, which is one constant or is
   * put together of constants; from the divisor of the scores where that is computed.
   */
  private int headDim() throws OnnxException {
    long[] tail = queryShape();
    float divisor = scoreDivisor();
    long headDim = tail[1] > 0 ? tail[1] : tail[0] > 0 ? hidden / tail[0] : -1;
    if (headDim < 0 && divisor > 0) {
      headDim = Math.round(divisor * divisor);
    }
    if (headDim <= 0
        || headDim > hidden
        || hidden % headDim != 0
        || tail[0] > 0 && tail[0] * headDim != hidden) {
      throw error(
          "cannot tell the number of heads: hidden size %d, query shape […, %d, %d], divisor of"
                  .formatted(hidden, tail[0], tail[1])
              + " the scores %s".formatted(divisor));
    }
    if (divisor > 0 && Math.abs(divisor * divisor - headDim) > 1e-3 * headDim) {
      throw error(
          "expected scores divided by sqrt(%d), the head size, got %s".formatted(headDim, divisor));
    }
    return (int) headDim;
  }

  /** Number and width of heads, -1 for what is not fixed. */
  private long[] queryShape() throws OnnxException {
    long[] unknown = {-1, -1};
    Node add = node("encoder.layer.0.attention.self.query", "Add");
    Node reshape = add == null ? null : consumer(add, "Reshape");
    if (reshape == null || reshape.inputs().size() != 2) {
      return unknown;
    }
    Tensor shape = file.constant(reshape.inputs().get(1));
    if (shape != null) {
      return shape.dtype() == DType.INT64 && shape.rank() == 1 && shape.size(0) == 4
          ? new long[] {shape.getLong(2), shape.getLong(3)}
          : unknown;
    }
    Node concat = file.producer(reshape.inputs().get(1));
    if (concat == null || !concat.opType().equals("Concat") || concat.inputs().size() != 4) {
      return unknown;
    }
    return new long[] {size(concat.inputs().get(2)), size(concat.inputs().get(3))};
  }

  private Node consumer(Node producer, String opType) {
    for (Node node : file.nodes()) {
      if (node.opType().equals(opType)
          && !node.inputs().isEmpty()
          && producer.outputs().contains(node.inputs().getFirst())) {
        return node;
      }
    }
    return null;
  }

  /** What the scores are divided by, NaN if that is not one constant. */
  private float scoreDivisor() throws OnnxException {
    Node div = node("encoder.layer.0.attention.self", "Div");
    return div == null || div.inputs().size() != 2 ? Float.NaN : number(div.inputs().get(1));
  }

  private float number(String name) throws OnnxException {
    Tensor tensor = file.constant(name);
    return tensor == null || tensor.dtype() != DType.FLOAT32 || tensor.elements() != 1
        ? Float.NaN
        : tensor.segment().get(ValueLayout.JAVA_FLOAT, 0);
  }

  private long size(String name) throws OnnxException {
    Tensor tensor = file.constant(name);
    return tensor == null || tensor.dtype() != DType.INT64 || tensor.elements() != 1
        ? -1
        : tensor.segment().get(ValueLayout.JAVA_LONG, 0);
  }

  // ---- names and checks ----------------------------------------------------------------------

  private Node node(String name, String operation) {
    return file.node(nodeName(name, operation));
  }

  /** {@code encoder.layer.0.output} is {@code /encoder/layer.0/output} in names of nodes. */
  private String nodeName(String name, String operation) {
    return "%s/%s/%s".formatted(prefix, name.replaceAll("\\.(?!\\d)", "/"), operation);
  }

  /** A weight that has its PyTorch name; a size of -1 may be anything. */
  private Tensor weight(String name, int... shape) throws OnnxException {
    String full = weightPrefix + name;
    if (!file.hasInitializer(full)) {
      throw error("no weight " + full);
    }
    Tensor weight = file.initializer(full);
    check(full, weight, shape);
    return weight;
  }

  private void check(String name, Tensor weight, int... shape) throws OnnxException {
    boolean fits = weight.dtype() == DType.FLOAT32 && weight.rank() == shape.length;
    for (int dim = 0; fits && dim < shape.length; dim++) {
      long size = weight.size(dim);
      fits = shape[dim] < 0 ? size > 0 && size <= Integer.MAX_VALUE : size == shape[dim];
    }
    if (!fits) {
      throw error(
          "weight %s: expected %s float32, got %s %s"
              .formatted(
                  name,
                  Arrays.toString(shape).replace("-1", "any"),
                  Messages.sizes(weight.shape()),
                  weight.dtype()));
    }
  }

  private OnnxException error(String reason) {
    return new OnnxException(file.source(), reason);
  }
}
