package dev.gatun.model;

import dev.gatun.AttentionSpec;
import dev.gatun.Causal;
import dev.gatun.GatunRuntime;
import dev.gatun.Tensor;
import dev.gatun.model.WeightNames.Part;
import dev.gatun.nn.FeedForward;
import dev.gatun.nn.LayerNorm;
import dev.gatun.nn.MultiHeadAttention;
import dev.gatun.nn.Norm;
import dev.gatun.nn.PositionalEncoding;
import dev.gatun.nn.RMSNorm;
import dev.gatun.nn.TransformerDecoder;
import dev.gatun.nn.TransformerEncoder;
import dev.gatun.nn.TransformerLayer;
import java.util.ArrayList;
import java.util.List;

/**
 * Blocks of a configuration, with the weights that its names find. Weights are used where they lie,
 * mapped ones included.
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
    List<TransformerLayer> layers = new ArrayList<>();
    for (int n = 0; n < config.layers(); n++) {
      boolean crosses = names.has(Part.CROSS_OUTPUT);
      layers.add(
          new TransformerLayer(
              selfAttention(n),
              norm(Part.SELF_NORM, n),
              crosses ? crossAttention(n) : null,
              crosses ? norm(Part.CROSS_NORM, n) : null,
              feedForward(n),
              norm(Part.FEED_FORWARD_NORM, n)));
    }
    return layers;
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
      builder.packed(matrix(Part.PACKED, n), bias(Part.PACKED, n));
    } else {
      builder
          .query(matrix(Part.QUERY, n), bias(Part.QUERY, n))
          .key(matrix(Part.KEY, n), bias(Part.KEY, n))
          .value(matrix(Part.VALUE, n), bias(Part.VALUE, n));
    }
    return builder.output(matrix(Part.OUTPUT, n), bias(Part.OUTPUT, n)).build();
  }

  private MultiHeadAttention crossAttention(int n) {
    MultiHeadAttention.Builder builder = attention(Causal.NONE, PositionalEncoding.none());
    if (names.has(Part.CROSS_PACKED)) {
      // Queries and keys are of different rows, so that one product cannot serve both.
      Tensor all = matrix(Part.CROSS_PACKED, n);
      Tensor bias = bias(Part.CROSS_PACKED, n);
      builder
          .query(third(all, 1, 0), third(bias, 0, 0))
          .key(third(all, 1, 1), third(bias, 0, 1))
          .value(third(all, 1, 2), third(bias, 0, 2));
    } else {
      builder
          .query(matrix(Part.CROSS_QUERY, n), bias(Part.CROSS_QUERY, n))
          .key(matrix(Part.CROSS_KEY, n), bias(Part.CROSS_KEY, n))
          .value(matrix(Part.CROSS_VALUE, n), bias(Part.CROSS_VALUE, n));
    }
    return builder.output(matrix(Part.CROSS_OUTPUT, n), bias(Part.CROSS_OUTPUT, n)).build();
  }

  private static Tensor third(Tensor all, int dim, int n) {
    if (all == null) {
      return null;
    }
    long size = all.size(dim) / 3;
    return all.slice(dim, n * size, (n + 1) * size);
  }

  private FeedForward feedForward(int n) {
    boolean gated = names.has(Part.GATE);
    return new FeedForward(
        runtime,
        matrix(Part.FIRST, n),
        bias(Part.FIRST, n),
        config.activation(),
        gated ? matrix(Part.GATE, n) : null,
        gated ? bias(Part.GATE, n) : null,
        matrix(Part.SECOND, n),
        bias(Part.SECOND, n));
  }

  private Norm norm(Part part, int n) {
    Tensor gamma = weights.get(names.name(part, n, "weight"));
    return config.rms()
        ? new RMSNorm(runtime, gamma, config.epsilon())
        : new LayerNorm(runtime, gamma, bias(part, n), config.epsilon());
  }

  private Tensor matrix(Part part, int n) {
    Tensor tensor = weights.get(names.name(part, n, "weight"));
    return names.isInputMajor() ? tensor : tensor.transpose(0, 1);
  }

  private Tensor bias(Part part, int n) {
    return weights.find(names.name(part, n, "bias"));
  }
}
