package dev.gatun.model;

import dev.gatun.DType;
import dev.gatun.Tensor;
import dev.gatun.model.WeightNames.Part;
import dev.gatun.nn.WeightOrder;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;

/**
 * The shapes that the weights of a layer have to have, found from all of them together: each size
 * is what most weights say it is, so that the one that does not fit is blamed under its name in the
 * file, and not the one that happens to be used with it.
 */
final class LayerShapes {

  private static final Part[] NORMS = {
    Part.SELF_NORM,
    Part.SELF_OUTPUT_NORM,
    Part.CROSS_NORM,
    Part.FEED_FORWARD_NORM,
    Part.FEED_FORWARD_OUTPUT_NORM
  };

  /** What multiplies the rows of a layer. */
  private static final Part[] READERS = {
    Part.FUSED,
    Part.QUERY,
    Part.KEY,
    Part.VALUE,
    Part.FIRST,
    Part.FIRST_AND_GATE,
    Part.GATE_AND_FIRST
  };

  private final Weights weights;
  private final WeightNames names;
  private final StackConfig stack;
  private final LayerConfig config;
  private final WeightOrder order;
  private final int layer;

  private LayerShapes(Weights weights, WeightNames names, StackConfig stack, int layer) {
    this.weights = weights;
    this.names = names;
    this.stack = stack;
    this.config = stack.layer(layer);
    this.order = names.order();
    this.layer = layer;
  }

  /**
   * Checks all matrices, biases and norms of a layer.
   *
   * @return the size of its rows
   * @throws IllegalArgumentException naming the weight, its shape and the one expected
   */
  static long check(Weights weights, WeightNames names, StackConfig stack, int layer) {
    LayerShapes shapes = new LayerShapes(weights, names, stack, layer);
    long dim = shapes.dim();
    shapes.checkSelfAttention(dim);
    shapes.checkFeedForward(dim);
    if (names.has(Part.CROSS_OUTPUT)) {
      shapes.checkCrossAttention(dim);
    }
    for (Part norm : NORMS) {
      shapes.checkNorm(norm, dim);
    }
    return dim;
  }

  /** The norm after the last layer, which has rows of a known size. */
  static void checkFinalNorm(Weights weights, WeightNames names, StackConfig stack, long dim) {
    new LayerShapes(weights, names, stack, 0).checkNorm(Part.FINAL_NORM, dim);
  }

  // ---- sizes -----------------------------------------------------------------------------------

  private long dim() {
    List<Long> votes = new ArrayList<>();
    for (Part norm : NORMS) {
      if (names.has(norm, config)) {
        votes.add(length(LayerLoader.require(weights, names.name(norm, layer, "weight"))));
      }
    }
    for (Part part : READERS) {
      voteIn(votes, part, 1);
    }
    for (Part part : new Part[] {Part.OUTPUT, Part.SECOND}) {
      voteOut(votes, part, 1);
    }
    return most(votes);
  }

  private long length(Tensor vector) {
    return vector.rank() == 1 ? vector.size(0) : -1;
  }

  private long in(Part part) {
    return matrix(part).size(order == WeightOrder.IN_OUT ? 0 : 1);
  }

  private long out(Part part) {
    return matrix(part).size(order == WeightOrder.IN_OUT ? 1 : 0);
  }

  private Tensor matrix(Part part) {
    return LayerLoader.requireMatrix(weights, names.name(part, layer, "weight"));
  }

  private void voteIn(List<Long> votes, Part part, long heads) {
    if (names.has(part)) {
      votes.add(in(part) % heads == 0 ? in(part) / heads : -1);
    }
  }

  private void voteOut(List<Long> votes, Part part, long heads) {
    if (names.has(part)) {
      votes.add(out(part) % heads == 0 ? out(part) / heads : -1);
    }
  }

  private void voteBias(List<Long> votes, Part part, long parts) {
    Tensor bias = names.has(part) ? weights.find(names.name(part, layer, "bias")) : null;
    if (bias != null) {
      votes.add(length(bias) % parts == 0 ? length(bias) / parts : -1);
    }
  }

  /** The number that most have named, of equals the first; -1 stands for none. */
  private static long most(List<Long> votes) {
    long best = -1;
    int bestCount = 0;
    for (long vote : votes) {
      int count = 0;
      for (long other : votes) {
        count += vote == other && vote > 0 ? 1 : 0;
      }
      if (count > bestCount) {
        best = vote;
        bestCount = count;
      }
    }
    return best;
  }

  // ---- parts -----------------------------------------------------------------------------------

  private void checkSelfAttention(long dim) {
    if (names.has(Part.FUSED)) {
      checkFused(Part.FUSED, Part.OUTPUT, dim);
    } else {
      checkSeparate(Part.QUERY, Part.KEY, Part.VALUE, Part.OUTPUT, dim, dim);
    }
    if (names.has(Part.QUERY_NORM)) {
      long heads = config.heads() + (names.has(Part.FUSED) ? 2L * config.kvHeads() : 0);
      long headDim = out(names.has(Part.FUSED) ? Part.FUSED : Part.QUERY) / heads;
      checkNorm(Part.QUERY_NORM, headDim);
      checkNorm(Part.KEY_NORM, headDim);
    }
  }

  private void checkCrossAttention(long dim) {
    if (names.has(Part.CROSS_FUSED)) {
      checkFused(Part.CROSS_FUSED, Part.CROSS_OUTPUT, dim);
      return;
    }
    // The encoder's rows may have a size of their own.
    List<Long> votes = new ArrayList<>();
    voteIn(votes, Part.CROSS_KEY, 1);
    voteIn(votes, Part.CROSS_VALUE, 1);
    long memory = votes.contains(dim) ? dim : most(votes);
    checkSeparate(
        Part.CROSS_QUERY, Part.CROSS_KEY, Part.CROSS_VALUE, Part.CROSS_OUTPUT, dim, memory);
  }

  private void checkFused(Part fused, Part output, long dim) {
    long heads = config.heads() + 2L * config.kvHeads();
    List<Long> votes = new ArrayList<>();
    voteOut(votes, fused, heads);
    voteIn(votes, output, config.heads());
    long headDim = votes.getFirst() == votes.getLast() ? votes.getFirst() : -1;
    if (headDim < 0) { // whose heads fill a row of the layer is right
      headDim = votes.contains(dim / config.heads()) ? dim / config.heads() : most(votes);
    }
    if (headDim < 1) {
      throw heads(fused, heads, out(fused));
    }
    checkMatrix(fused, dim, heads * headDim, heads, headDim);
    checkMatrix(output, config.heads() * headDim, dim, config.heads(), headDim);
  }

  private void checkSeparate(Part query, Part key, Part value, Part output, long dim, long memory) {
    int heads = config.heads();
    int kvHeads = config.kvHeads();
    List<Long> keys = new ArrayList<>();
    voteOut(keys, query, heads);
    voteOut(keys, key, kvHeads);
    List<Long> values = new ArrayList<>();
    voteOut(values, value, kvHeads);
    voteIn(values, output, heads);
    List<Long> all = new ArrayList<>(keys);
    all.addAll(values);
    // Keys and values may have different sizes; where two that belong together differ, all vote.
    long headDim = keys.getFirst().equals(keys.getLast()) ? keys.getFirst() : most(all);
    long headDimV = values.getFirst().equals(values.getLast()) ? values.getFirst() : most(all);
    if (headDim < 1 || headDimV < 1) {
      throw heads(query, heads, out(query));
    }
    checkMatrix(query, dim, heads * headDim, heads, headDim);
    checkMatrix(key, memory, kvHeads * headDim, kvHeads, headDim);
    checkMatrix(value, memory, kvHeads * headDimV, kvHeads, headDimV);
    checkMatrix(output, heads * headDimV, dim, heads, headDimV);
  }

  private IllegalArgumentException heads(Part part, long heads, long columns) {
    return new IllegalArgumentException(
        "%s: expected a multiple of %d heads as its out of %s, got %d"
            .formatted(names.name(part, layer, "weight"), heads, order, columns));
  }

  private void checkFeedForward(long dim) {
    List<Long> votes = new ArrayList<>();
    for (int n = 0; n < stack.layers(); n++) { // two matrices alone would be one against one
      LayerShapes other = new LayerShapes(weights, names, stack, n);
      other.voteOut(votes, Part.FIRST, 1);
      other.voteOut(votes, Part.GATE, 1);
      other.voteOut(votes, Part.FIRST_AND_GATE, 2);
      other.voteOut(votes, Part.GATE_AND_FIRST, 2);
      other.voteIn(votes, Part.SECOND, 1);
      other.voteBias(votes, Part.FIRST, 1);
      other.voteBias(votes, Part.GATE, 1);
      other.voteBias(votes, Part.FIRST_AND_GATE, 2);
      other.voteBias(votes, Part.GATE_AND_FIRST, 2);
    }
    long hidden = most(votes);
    if (names.has(Part.FIRST_AND_GATE)) {
      checkMatrix(Part.FIRST_AND_GATE, dim, 2 * hidden, 0, 0);
    } else if (names.has(Part.GATE_AND_FIRST)) {
      checkMatrix(Part.GATE_AND_FIRST, dim, 2 * hidden, 0, 0);
    } else {
      checkMatrix(Part.FIRST, dim, hidden, 0, 0);
    }
    if (names.has(Part.GATE)) {
      checkMatrix(Part.GATE, dim, hidden, 0, 0);
    }
    checkMatrix(Part.SECOND, hidden, dim, 0, 0);
  }

  // ---- checks ----------------------------------------------------------------------------------

  private void checkMatrix(Part part, long in, long out, long heads, long headDim) {
    checkMatrix(
        weights,
        names.name(part, layer, "weight"),
        matrix(part),
        order,
        in,
        out,
        heads == 0 ? "" : " (" + heads + " heads of " + headDim + ")");
    Tensor bias = weights.find(names.name(part, layer, "bias"));
    if (bias != null) {
      checkVector(names.name(part, layer, "bias"), bias, out);
    }
  }

  static void checkMatrix(
      Weights weights,
      String name,
      Tensor tensor,
      WeightOrder order,
      long in,
      long out,
      String detail) {
    boolean inOut = order == WeightOrder.IN_OUT;
    long rows = inOut ? in : out;
    long columns = inOut ? out : in;
    // Packed weights are found in the types that can be packed.
    boolean fits = tensor.dtype() == DType.FLOAT32 || weights instanceof PackedWeights;
    if (fits && tensor.size(0) == rows && tensor.size(1) == columns) {
      return;
    }
    boolean transposed = tensor.size(0) == columns && tensor.size(1) == rows && rows != columns;
    WeightOrder other = inOut ? WeightOrder.OUT_IN : WeightOrder.IN_OUT;
    throw new IllegalArgumentException(
        "%s: expected %s = [%d, %d] float32%s, got %s %s%s"
            .formatted(
                name,
                order,
                rows,
                columns,
                detail,
                Arrays.toString(tensor.shape()),
                tensor.dtype(),
                transposed ? ", which looks like " + other : ""));
  }

  private void checkNorm(Part part, long dim) {
    if (!names.has(part, config)) {
      return;
    }
    String name = names.name(part, layer, "weight");
    checkVector(name, LayerLoader.require(weights, name), dim);
    Tensor bias = stack.rms() ? null : weights.find(names.name(part, layer, "bias"));
    if (bias != null) {
      checkVector(names.name(part, layer, "bias"), bias, dim);
    }
  }

  static void checkVector(String name, Tensor tensor, long size) {
    if (tensor.dtype() != DType.FLOAT32 || tensor.rank() != 1 || tensor.size(0) != size) {
      throw new IllegalArgumentException(
          "%s: expected [%d] float32, got %s %s"
              .formatted(name, size, Arrays.toString(tensor.shape()), tensor.dtype()));
    }
  }
}
