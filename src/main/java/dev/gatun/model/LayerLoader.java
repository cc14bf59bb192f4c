package dev.gatun.model;

import dev.gatun.Activation;
import dev.gatun.AttentionSpec;
import dev.gatun.DType;
import dev.gatun.GatunRuntime;
import dev.gatun.Tensor;
import dev.gatun.WeightFormat;
import dev.gatun.internal.Messages;
import dev.gatun.model.WeightNames.Part;
import dev.gatun.nn.Embedding;
import dev.gatun.nn.FeedForward;
import dev.gatun.nn.LayerNorm;
import dev.gatun.nn.Linear;
import dev.gatun.nn.MultiHeadAttention;
import dev.gatun.nn.Norm;
import dev.gatun.nn.PackedWeight;
import dev.gatun.nn.PatchEmbedding;
import dev.gatun.nn.PositionalEncoding;
import dev.gatun.nn.RMSNorm;
import dev.gatun.nn.TransformerDecoder;
import dev.gatun.nn.TransformerEncoder;
import dev.gatun.nn.TransformerLayer;
import dev.gatun.nn.WeightOrder;
import java.lang.foreign.Arena;
import java.util.ArrayList;
import java.util.List;
import java.util.function.BiFunction;
import java.util.function.Function;
import java.util.function.Supplier;

/**
 * Layers of a configuration, with the weights that its names find. Weights are used where they lie,
 * mapped ones included. One that nothing reads is refused, see {@link WeightNames#beside}.
 */
public final class LayerLoader {

  private final GatunRuntime runtime;
  private final Weights weights;
  private final WeightNames names;
  private final StackConfig config;

  /** Null: weights are used where they lie. */
  private WeightSlab slab;

  /**
   * Prepares to load.
   *
   * @param runtime where the layers run
   * @param weights must stay open as long as the layers are used
   * @param names what they are called
   * @param config what the layers are like
   */
  public LayerLoader(GatunRuntime runtime, Weights weights, WeightNames names, StackConfig config) {
    this.runtime = runtime;
    this.weights = weights;
    this.names = names;
    this.config = config;
  }

  /**
   * Has all weights copied that are loaded, blocks, tables and norms, into one piece of memory;
   * those of queries, keys and values of self-attention side by side.
   */
  LayerLoader copyTo(Arena arena) {
    slab = weights instanceof PackedWeights packed ? packed.memory() : new WeightSlab(arena);
    return this;
  }

  /** Refuses weights of a family that has every bias, of which one is missing. */
  LayerLoader requireBiases() {
    for (int n = 0; n < config.layers(); n++) {
      for (Part part : Part.values()) {
        if (names.has(part) && part != Part.FINAL_NORM) {
          require(weights, names.name(part, n, "bias"));
        }
      }
    }
    return this;
  }

  private Tensor placed(Tensor weight) {
    return slab == null ? weight : slab.copy(weight);
  }

  /**
   * Loads an encoder.
   *
   * @return layers without cross-attention, and the last norm if it has a name
   * @throws IllegalArgumentException naming the weight that is missing or does not fit
   */
  public TransformerEncoder encoder() {
    List<TransformerLayer> layers = layers();
    return new TransformerEncoder(runtime, layers, config.order(), finalNorm(layers));
  }

  /**
   * Loads a decoder, with cross-attention if it has names.
   *
   * @return layers, and the last norm if it has a name
   * @throws IllegalArgumentException naming the weight that is missing or does not fit
   */
  public TransformerDecoder decoder() {
    List<TransformerLayer> layers = layers();
    return new TransformerDecoder(runtime, layers, config.order(), finalNorm(layers));
  }

  /**
   * Loads layers.
   *
   * @return as many as the configuration says
   * @throws IllegalArgumentException naming the weight that is missing or does not fit
   */
  public List<TransformerLayer> layers() {
    for (int n = 0; n < config.layers(); n++) {
      LayerShapes.check(weights, names, config, n);
    }
    names.refuseUnread(weights, config);
    List<TransformerLayer> layers = new ArrayList<>();
    for (int n = 0; n < config.layers(); n++) {
      layers.add(layer(n));
    }
    return layers;
  }

  private TransformerLayer layer(int n) {
    boolean crosses = names.has(Part.CROSS_OUTPUT);
    MultiHeadAttention self = selfAttention(n);
    Norm selfNorm = config.layer(n).selfNorm() ? norm(Part.SELF_NORM, n) : null;
    Norm selfOutputNorm = optionalNorm(Part.SELF_OUTPUT_NORM, n);
    MultiHeadAttention cross = crosses ? crossAttention(n) : null;
    Norm crossNorm = crosses ? norm(Part.CROSS_NORM, n) : null;
    FeedForward feedForward = feedForward(n);
    Norm last = norm(Part.FEED_FORWARD_NORM, n);
    Norm lastOutput = optionalNorm(Part.FEED_FORWARD_OUTPUT_NORM, n);
    return named(
        "layers[" + n + "]",
        () ->
            new TransformerLayer(
                self, selfNorm, selfOutputNorm, cross, crossNorm, feedForward, last, lastOutput));
  }

  private Norm optionalNorm(Part part, int n) {
    return names.has(part) ? norm(part, n) : null;
  }

  private Norm finalNorm(List<TransformerLayer> layers) {
    LayerShapes.checkFinalNorm(weights, names, config, layers.getFirst().dim());
    return optionalNorm(Part.FINAL_NORM, 0);
  }

  private MultiHeadAttention.Builder attention(
      LayerConfig layer, AttentionSpec spec, PositionalEncoding positions) {
    return MultiHeadAttention.builder(runtime, layer.heads())
        .kvHeads(layer.kvHeads())
        .spec(spec)
        .positions(positions);
  }

  private MultiHeadAttention selfAttention(int n) {
    LayerConfig layer = config.layer(n);
    MultiHeadAttention.Builder builder = attention(layer, layer.attention(), layer.positions());
    if (names.has(Part.FUSED)) {
      take(Part.FUSED, n, builder::fused, builder::fused);
    } else if (weights instanceof PackedWeights packed && fits(n)) {
      named(Part.QUERY, n, () -> builder.fused(packSideBySide(packed, n)));
    } else if (slab != null && !(weights instanceof PackedWeights)) {
      named(Part.QUERY, n, () -> takeSideBySide(builder, n));
    } else {
      take(Part.QUERY, n, builder::query, builder::query);
      take(Part.KEY, n, builder::key, builder::key);
      take(Part.VALUE, n, builder::value, builder::value);
    }
    take(Part.OUTPUT, n, builder::output, builder::output);
    if (names.has(Part.QUERY_NORM)) {
      builder.headNorms(norm(Part.QUERY_NORM, n), norm(Part.KEY_NORM, n));
    }
    return named(names.has(Part.FUSED) ? Part.FUSED : Part.QUERY, n, builder::build);
  }

  private MultiHeadAttention.Builder takeSideBySide(MultiHeadAttention.Builder builder, int n) {
    Part[] parts = {Part.QUERY, Part.KEY, Part.VALUE};
    Tensor[] matrices = new Tensor[parts.length];
    Tensor[] biases = new Tensor[parts.length];
    for (int i = 0; i < parts.length; i++) {
      matrices[i] = matrix(parts[i], n);
      biases[i] = require(weights, names.name(parts[i], n, "bias"));
    }
    return builder.fused(slab.sideBySide(matrices), slab.sideBySide(biases));
  }

  /** Whether queries, keys and values may be one product: heads of one size. */
  private boolean fits(int n) {
    LayerConfig layer = config.layer(n);
    long queries = matrix(Part.QUERY, n).size(1) / layer.heads();
    return queries == matrix(Part.KEY, n).size(1) / layer.kvHeads()
        && queries == matrix(Part.VALUE, n).size(1) / layer.kvHeads();
  }

  private Linear packSideBySide(PackedWeights packed, int n) {
    Part[] parts = {Part.QUERY, Part.KEY, Part.VALUE};
    Tensor[] matrices = new Tensor[parts.length];
    String[] weightNames = new String[parts.length];
    long[] columns = new long[parts.length];
    for (int i = 0; i < parts.length; i++) {
      matrices[i] = matrix(parts[i], n);
      columns[i] = matrices[i].size(1);
      weightNames[i] = names.name(parts[i], n, "weight");
    }
    Tensor[] biases = new Tensor[parts.length];
    boolean biased = false;
    for (int i = 0; i < parts.length; i++) {
      biases[i] = weights.find(names.name(parts[i], n, "bias"));
      biased |= biases[i] != null;
    }
    for (int i = 0; i < parts.length && biased; i++) {
      if (biases[i] == null) {
        biases[i] = packed.memory().zeros(columns[i]);
      }
    }
    return new Linear(
        runtime,
        packed.pack(runtime, weightNames, matrices),
        biased ? packed.memory().sideBySide(biases) : null,
        Activation.NONE);
  }

  private MultiHeadAttention crossAttention(int n) {
    LayerConfig layer = config.layer(n);
    MultiHeadAttention.Builder builder =
        attention(layer, layer.crossAttention(), PositionalEncoding.none());
    boolean fused = names.has(Part.CROSS_FUSED);
    if (fused) {
      named(
          Part.CROSS_FUSED,
          n,
          () -> split(builder, n, matrix(Part.CROSS_FUSED, n), bias(Part.CROSS_FUSED, n)));
    } else {
      take(Part.CROSS_QUERY, n, builder::query, builder::query);
      take(Part.CROSS_KEY, n, builder::key, builder::key);
      take(Part.CROSS_VALUE, n, builder::value, builder::value);
    }
    take(Part.CROSS_OUTPUT, n, builder::output, builder::output);
    return named(fused ? Part.CROSS_FUSED : Part.CROSS_QUERY, n, builder::build);
  }

  /** Queries and keys are of different rows, so that one product cannot serve both. */
  private MultiHeadAttention.Builder split(
      MultiHeadAttention.Builder builder, int n, Tensor weight, Tensor bias) {
    LayerConfig layer = config.layer(n);
    long heads = layer.heads() + 2L * layer.kvHeads();
    long columns = weight.size(1);
    if (columns % heads != 0 || bias != null && (bias.rank() != 1 || bias.size(0) != columns)) {
      throw new IllegalArgumentException(
          "expected a multiple of %d columns and a bias of as many, got %d and %s"
              .formatted(heads, columns, bias == null ? "none" : Messages.sizes(bias.shape())));
    }
    long keys = columns / heads * layer.heads();
    long values = columns / heads * (layer.heads() + layer.kvHeads());
    String name = names.name(Part.CROSS_FUSED, n, "weight");
    Product all = new Product(name, "", weight, bias);
    return builder
        .query(linear(all.columns(0, keys)))
        .key(linear(all.columns(keys, values)))
        .value(linear(all.columns(values, columns)));
  }

  private Linear linear(Product product) {
    return linear(runtime, weights, product, Activation.NONE);
  }

  /** A layer of a matrix {@code [in, out]}, which is packed if weights are, or a view. */
  private static Linear linear(
      GatunRuntime runtime, Weights weights, Product product, Activation activation) {
    return weights instanceof PackedWeights packed
        ? new Linear(runtime, product.packed(runtime, packed), product.bias, activation)
        : new Linear(runtime, product.matrix, product.bias, activation);
  }

  /**
   * A matrix {@code [in, out]} and its bias or null.
   *
   * @param name of the matrix in the file
   * @param part which columns of it these are; empty: all
   */
  private record Product(String name, String part, Tensor matrix, Tensor bias) {
    Product columns(long from, long to) {
      return new Product(
          name,
          "[%d:%d]".formatted(from, to),
          matrix.slice(1, from, to),
          bias == null ? null : bias.slice(0, from, to));
    }

    PackedWeight packed(GatunRuntime runtime, PackedWeights weights) {
      return weights.pack(runtime, new String[] {name}, part, new Tensor[] {matrix});
    }
  }

  private Product product(Part part, int n) {
    return new Product(names.name(part, n, "weight"), "", matrix(part, n), bias(part, n));
  }

  /** Half of the outputs of the first layer and its gate, 0 the half that is stored first. */
  private Product half(Part part, int n, int number) {
    Product both = product(part, n);
    long hidden = both.matrix.size(1) / 2;
    long from = number * hidden;
    return both.columns(from, from + hidden);
  }

  private FeedForward feedForward(int n) {
    boolean gateFirst = names.has(Part.GATE_AND_FIRST);
    Product first;
    Product gate;
    if (gateFirst || names.has(Part.FIRST_AND_GATE)) {
      Part both = gateFirst ? Part.GATE_AND_FIRST : Part.FIRST_AND_GATE;
      first = half(both, n, gateFirst ? 1 : 0);
      gate = half(both, n, gateFirst ? 0 : 1);
    } else {
      first = product(Part.FIRST, n);
      gate = names.has(Part.GATE) ? product(Part.GATE, n) : null;
    }
    Product second = product(Part.SECOND, n);
    Activation activation = config.layer(n).activation();
    if (weights instanceof PackedWeights) {
      Linear packedFirst = packed(first, activation);
      Linear packedGate = gate == null ? null : packed(gate, Activation.NONE);
      Linear packedSecond = packed(second, Activation.NONE);
      return named(
          first.name, () -> new FeedForward(runtime, packedFirst, packedGate, packedSecond));
    }
    Tensor w1 = placed(first.matrix);
    Tensor v = gate == null ? null : placed(gate.matrix);
    Tensor c = gate == null ? null : gate.bias;
    Tensor w2 = placed(second.matrix);
    return named(
        first.name,
        () -> new FeedForward(runtime, w1, first.bias, activation, v, c, w2, second.bias));
  }

  private Norm norm(Part part, int n) {
    Tensor gamma = placed(require(weights, names.name(part, n, "weight")));
    return named(
        part,
        n,
        () ->
            config.rms()
                ? new RMSNorm(runtime, gamma, config.epsilon())
                : new LayerNorm(runtime, gamma, bias(part, n), config.epsilon()));
  }

  /** A matrix and its bias into a builder, packed if weights are. */
  private void take(
      Part part,
      int n,
      BiFunction<Tensor, Tensor, MultiHeadAttention.Builder> setter,
      Function<Linear, MultiHeadAttention.Builder> packedSetter) {
    if (weights instanceof PackedWeights) {
      Linear layer = packed(product(part, n), Activation.NONE);
      named(part, n, () -> packedSetter.apply(layer));
    } else {
      Tensor weight = placed(matrix(part, n));
      named(part, n, () -> setter.apply(weight, bias(part, n)));
    }
  }

  private Linear packed(Product product, Activation activation) {
    return named(product.name, () -> linear(runtime, weights, product, activation));
  }

  /** What is wrong with a weight is said under its name in the file. */
  private <T> T named(Part part, int n, Supplier<T> maker) {
    return named(names.name(part, n, "weight"), maker);
  }

  private static <T> T named(String name, Supplier<T> maker) {
    try {
      return maker.get();
    } catch (IllegalArgumentException e) {
      throw new IllegalArgumentException(name + ": " + e.getMessage(), e);
    }
  }

  /** A layer of its own for rows of a known size; its weight is {@code [out, in]}, as PyTorch's. */
  static Linear linear(GatunRuntime runtime, Weights weights, String weight, String bias, long in) {
    return linear(runtime, weights, weight, bias, in, Activation.NONE);
  }

  /** The same with an activation. */
  static Linear linear(
      GatunRuntime runtime,
      Weights weights,
      String weight,
      String bias,
      long in,
      Activation activation) {
    Tensor matrix = requireMatrix(weights, weight);
    boolean transposed = matrix.size(0) == in;
    long out = transposed && matrix.size(1) != in ? matrix.size(1) : matrix.size(0);
    LayerShapes.checkMatrix(weights, weight, matrix, WeightOrder.OUT_IN, in, out, "");
    Tensor vector = bias == null ? null : weights.find(bias);
    if (vector != null) {
      LayerShapes.checkVector(bias, vector, out);
    }
    Product product = new Product(weight, "", matrix.transpose(0, 1), vector);
    return named(weight, () -> linear(runtime, weights, product, activation));
  }

  /** The projection to logits by the table of the embedding (Press and Wolf 2017). */
  static Linear tied(GatunRuntime runtime, Weights weights, String table, Embedding embedding) {
    if (!(weights instanceof PackedWeights)) {
      return embedding.output();
    }
    Tensor inOut = requireMatrix(weights, table).transpose(0, 1);
    Product product = new Product(table, "", inOut, null);
    return named(table, () -> linear(runtime, weights, product, Activation.NONE));
  }

  /** A table of embeddings or positions, with rows of a size that is known. */
  static Tensor table(Weights weights, String name, long dim) {
    Tensor table = require(floats(weights), name);
    RecordedWeights.table(weights, name);
    PackedFile.requireNumbers(weights, name);
    if (table.dtype() != DType.FLOAT32 || table.rank() != 2 || table.size(1) != dim) {
      throw new IllegalArgumentException(
          "%s: expected [rows, %d] float32, got %s %s"
              .formatted(name, dim, Messages.sizes(table.shape()), table.dtype()));
    }
    return table;
  }

  /** Where matrices are found as they are used unpacked. */
  private static Weights floats(Weights weights) {
    return weights instanceof PackedWeights packed ? packed.weights() : weights;
  }

  Tensor table(String name, long dim) {
    return placed(table(weights, name, dim));
  }

  /** Whether the family has such a weight outside of its blocks. */
  boolean knows(String name) {
    return names.knows(name);
  }

  /** What a weight becomes that was made float where it was read: AUTO asks the file. */
  private static WeightFormat format(PackedWeights packed, String name) {
    Tensor stored = packed.format() == WeightFormat.AUTO ? packed.stored(name) : null;
    return stored != null && (stored.dtype() == DType.BFLOAT16 || stored.dtype() == DType.FLOAT16)
        ? WeightFormat.of(stored.dtype())
        : packed.format();
  }

  /** Patches of images as rows of a known size; the bias may be missing. */
  static PatchEmbedding patches(
      GatunRuntime runtime,
      Arena arena,
      Weights weights,
      int height,
      int width,
      long dim,
      String projection,
      String classToken,
      String positions,
      Norm norm) {
    Tensor weight = require(floats(weights), projection + ".weight");
    Arguments.check(projection + ".weight", weight, DType.FLOAT32, dim, -1, -1, -1);
    Tensor bias = weights.find(projection + ".bias");
    if (bias != null) {
      LayerShapes.checkVector(projection + ".bias", bias, dim);
    }
    Tensor token = require(floats(weights), classToken);
    if (token.dtype() != DType.FLOAT32 || token.elements() != dim) {
      throw new IllegalArgumentException(
          "%s: expected %d elements float32, got %s %s"
              .formatted(classToken, dim, Messages.sizes(token.shape()), token.dtype()));
    }
    Tensor positionTable = require(floats(weights), positions);
    PatchEmbedding patches =
        named(
            projection + ".weight, " + positions,
            () ->
                new PatchEmbedding(
                    runtime, arena, height, width, weight, bias, token, positionTable, norm));
    return weights instanceof PackedWeights packed
        ? patches.packed(packed.memory(), format(packed, projection + ".weight"))
        : patches;
  }

  /** A norm of its own, of rows of a known size. */
  static LayerNorm layerNorm(
      GatunRuntime runtime, Weights weights, String name, long dim, float epsilon) {
    return layerNorm(
        runtime,
        name,
        vector(weights, name + ".weight", dim),
        vector(weights, name + ".bias", dim),
        epsilon);
  }

  /** The same without a bias. */
  static LayerNorm layerNormWithoutBias(
      GatunRuntime runtime, Weights weights, String name, long dim, float epsilon) {
    return layerNorm(runtime, name, vector(weights, name + ".weight", dim), null, epsilon);
  }

  LayerNorm layerNorm(String name, long dim) {
    return layerNorm(
        runtime,
        name,
        placed(vector(weights, name + ".weight", dim)),
        placed(vector(weights, name + ".bias", dim)),
        config.epsilon());
  }

  /** A norm that has no bias. */
  LayerNorm layerNormWithoutBias(String name, long dim) {
    Tensor gamma = placed(vector(weights, name + ".weight", dim));
    return layerNorm(runtime, name, gamma, null, config.epsilon());
  }

  private static LayerNorm layerNorm(
      GatunRuntime runtime, String name, Tensor gamma, Tensor beta, float epsilon) {
    return named(name + ".weight", () -> new LayerNorm(runtime, gamma, beta, epsilon));
  }

  private static Tensor vector(Weights weights, String name, long dim) {
    Tensor vector = require(weights, name);
    LayerShapes.checkVector(name, vector, dim);
    return vector;
  }

  /** A weight that must be there, whoever has implemented the interface. */
  static Tensor require(Weights weights, String name) {
    Tensor tensor = weights.find(name);
    if (tensor == null) {
      throw new IllegalArgumentException(
          "weights: expected " + Messages.shortened(name) + ", got none of that name");
    }
    return tensor;
  }

  /** The same, of two dimensions. */
  static Tensor requireMatrix(Weights weights, String name) {
    Tensor tensor = require(weights, name);
    if (tensor.rank() != 2) {
      throw new IllegalArgumentException(
          "weights: expected a matrix %s, got shape %s"
              .formatted(Messages.shortened(name), Messages.sizes(tensor.shape())));
    }
    return tensor;
  }

  private Tensor matrix(Part part, int n) {
    return names.order().toInOut(requireMatrix(weights, names.name(part, n, "weight")));
  }

  private Tensor bias(Part part, int n) {
    return placed(weights.find(names.name(part, n, "bias")));
  }
}
