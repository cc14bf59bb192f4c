package dev.gatun.model;

import dev.gatun.AttentionSpec;
import dev.gatun.Causal;
import dev.gatun.GatunRuntime;
import dev.gatun.Tensor;
import dev.gatun.internal.Messages;
import dev.gatun.model.WeightNames.Part;
import dev.gatun.nn.Activation;
import dev.gatun.nn.FeedForward;
import dev.gatun.nn.LayerNorm;
import dev.gatun.nn.Linear;
import dev.gatun.nn.MultiHeadAttention;
import dev.gatun.nn.Norm;
import dev.gatun.nn.PositionalEncoding;
import dev.gatun.nn.RMSNorm;
import dev.gatun.nn.TransformerDecoder;
import dev.gatun.nn.TransformerEncoder;
import dev.gatun.nn.TransformerLayer;
import java.util.ArrayList;
import java.util.List;
import java.util.function.BiFunction;
import java.util.function.Supplier;

/**
 * Blocks of a configuration, with the weights that its names find. Weights are used where they lie,
 * mapped ones included. One that nothing reads is refused, see {@link WeightNames#beside}.
 */
public final class BlockLoader {

  private final GatunRuntime runtime;
  private final Weights weights;
  private final WeightNames names;
  private final BlockConfig config;

  /**
   * Prepares to load.
   *
   * @param runtime where the blocks run
   * @param weights must stay open as long as the blocks are used
   * @param names what they are called
   * @param config what the blocks are like
   */
  public BlockLoader(GatunRuntime runtime, Weights weights, WeightNames names, BlockConfig config) {
    this.runtime = runtime;
    this.weights = weights;
    this.names = names;
    this.config = config;
  }

  /**
   * Loads an encoder.
   *
   * @return blocks without cross-attention, and the last norm if it has a name
   */
  public TransformerEncoder encoder() {
    return new TransformerEncoder(runtime, layers(), config.order(), finalNorm());
  }

  /**
   * Loads a decoder, with cross-attention if it has names.
   *
   * @return blocks, and the last norm if it has a name
   */
  public TransformerDecoder decoder() {
    return new TransformerDecoder(runtime, layers(), config.order(), finalNorm());
  }

  /**
   * Loads blocks.
   *
   * @return as many as the configuration says
   */
  public List<TransformerLayer> layers() {
    names.refuseUnread(weights, config.layers(), config.rms());
    List<TransformerLayer> layers = new ArrayList<>();
    for (int n = 0; n < config.layers(); n++) {
      layers.add(layer(n));
    }
    return layers;
  }

  private TransformerLayer layer(int n) {
    boolean crosses = names.has(Part.CROSS_OUTPUT);
    MultiHeadAttention self = selfAttention(n);
    Norm selfNorm = norm(Part.SELF_NORM, n);
    MultiHeadAttention cross = crosses ? crossAttention(n) : null;
    Norm crossNorm = crosses ? norm(Part.CROSS_NORM, n) : null;
    FeedForward feedForward = feedForward(n);
    Norm last = norm(Part.FEED_FORWARD_NORM, n);
    return named(
        "layers[%d]".formatted(n),
        () -> new TransformerLayer(self, selfNorm, cross, crossNorm, feedForward, last));
  }

  private Norm finalNorm() {
    return names.has(Part.FINAL_NORM) ? norm(Part.FINAL_NORM, 0) : null;
  }

  private MultiHeadAttention.Builder attention(Causal causal, PositionalEncoding positions) {
    AttentionSpec.Builder spec = AttentionSpec.builder().causal(causal);
    if (!Float.isNaN(config.scale())) {
      spec.scale(config.scale());
    }
    return MultiHeadAttention.builder(runtime, config.heads())
        .kvHeads(config.kvHeads())
        .spec(spec.build())
        .positions(positions);
  }

  private MultiHeadAttention selfAttention(int n) {
    MultiHeadAttention.Builder builder = attention(config.causal(), config.positions());
    if (names.has(Part.PACKED)) {
      take(Part.PACKED, n, builder::packed);
    } else {
      take(Part.QUERY, n, builder::query);
      take(Part.KEY, n, builder::key);
      take(Part.VALUE, n, builder::value);
    }
    take(Part.OUTPUT, n, builder::output);
    return named(names.has(Part.PACKED) ? Part.PACKED : Part.QUERY, n, builder::build);
  }

  private MultiHeadAttention crossAttention(int n) {
    MultiHeadAttention.Builder builder = attention(Causal.NONE, PositionalEncoding.none());
    boolean packed = names.has(Part.CROSS_PACKED);
    if (packed) {
      take(Part.CROSS_PACKED, n, (weight, bias) -> split(builder, weight, bias));
    } else {
      take(Part.CROSS_QUERY, n, builder::query);
      take(Part.CROSS_KEY, n, builder::key);
      take(Part.CROSS_VALUE, n, builder::value);
    }
    take(Part.CROSS_OUTPUT, n, builder::output);
    return named(packed ? Part.CROSS_PACKED : Part.CROSS_QUERY, n, builder::build);
  }

  /** Queries and keys are of different rows, so that one product cannot serve both. */
  private MultiHeadAttention.Builder split(
      MultiHeadAttention.Builder builder, Tensor weight, Tensor bias) {
    long heads = config.heads() + 2L * config.kvHeads();
    long columns = weight.size(1);
    if (columns % heads != 0 || bias != null && (bias.rank() != 1 || bias.size(0) != columns)) {
      throw new IllegalArgumentException(
          "expected a multiple of %d columns and a bias of as many, got %d and %s"
              .formatted(heads, columns, bias == null ? "none" : Messages.sizes(bias.shape())));
    }
    long keys = columns / heads * config.heads();
    long values = columns / heads * (config.heads() + config.kvHeads());
    return builder
        .query(weight.slice(1, 0, keys), slice(bias, 0, keys))
        .key(weight.slice(1, keys, values), slice(bias, keys, values))
        .value(weight.slice(1, values, columns), slice(bias, values, columns));
  }

  private static Tensor slice(Tensor bias, long from, long to) {
    return bias == null ? null : bias.slice(0, from, to);
  }

  private FeedForward feedForward(int n) {
    boolean gated = names.has(Part.GATE);
    Tensor first = matrix(Part.FIRST, n);
    Tensor gate = gated ? matrix(Part.GATE, n) : null;
    Tensor second = matrix(Part.SECOND, n);
    return named(
        Part.FIRST,
        n,
        () ->
            new FeedForward(
                runtime,
                first,
                bias(Part.FIRST, n),
                config.activation(),
                gate,
                gated ? bias(Part.GATE, n) : null,
                second,
                bias(Part.SECOND, n)));
  }

  private Norm norm(Part part, int n) {
    Tensor gamma = weights.get(names.name(part, n, "weight"));
    return named(
        part,
        n,
        () ->
            config.rms()
                ? new RMSNorm(runtime, gamma, config.epsilon())
                : new LayerNorm(runtime, gamma, bias(part, n), config.epsilon()));
  }

  /** A matrix and its bias into a builder. */
  private void take(
      Part part, int n, BiFunction<Tensor, Tensor, MultiHeadAttention.Builder> setter) {
    Tensor weight = matrix(part, n);
    named(part, n, () -> setter.apply(weight, bias(part, n)));
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

  /** A layer of its own, whose weight is {@code [out, in]} as PyTorch's Linear has it. */
  static Linear linear(GatunRuntime runtime, Weights weights, String weight, Tensor bias) {
    return new Linear(runtime, weights.matrix(weight).transpose(0, 1), bias, Activation.NONE);
  }

  private Tensor matrix(Part part, int n) {
    String name = names.name(part, n, "weight");
    Tensor tensor = weights.matrix(name);
    return names.isInputMajor() ? tensor : tensor.transpose(0, 1);
  }

  private Tensor bias(Part part, int n) {
    return weights.find(names.name(part, n, "bias"));
  }
}
