package dev.gatun.model;

import dev.gatun.Activation;
import dev.gatun.AttentionSpec;
import dev.gatun.Causal;
import dev.gatun.GatunRuntime;
import dev.gatun.Tensor;
import dev.gatun.model.WeightNames.Part;
import dev.gatun.nn.Embedding;
import dev.gatun.nn.NormOrder;
import dev.gatun.nn.PositionalEncoding;
import dev.gatun.nn.Transformer;
import dev.gatun.nn.TransformerDecoder;
import dev.gatun.nn.TransformerEncoder;

/**
 * The Transformer of "Attention Is All You Need" (Vaswani et al., 2017) under the names of
 * PyTorch's {@code nn.Transformer}. The paper's base model has 6 layers, 8 heads, rows of 512 and
 * 2048 between, post-norm and ReLU; the sizes of rows come from the weights.
 *
 * @param layers of each side
 * @param heads of attention
 * @param activation ReLU in the paper
 * @param order post-norm in the paper
 */
public record VaswaniTransformer(int layers, int heads, Activation activation, NormOrder order) {

  private static final float EPSILON = 1e-5f;

  /** The base model of table 3. */
  public static final VaswaniTransformer BASE =
      new VaswaniTransformer(6, 8, Activation.RELU, NormOrder.POST);

  private static WeightNames names(Weights weights, String side) {
    String layer = side + ".layers.{n}.";
    boolean decoder = side.equals("decoder");
    WeightNames names =
        WeightNames.outputMajor()
            .with(Part.FUSED, layer + "self_attn.in_proj_{p}")
            .with(Part.OUTPUT, layer + "self_attn.out_proj.{p}")
            .with(Part.SELF_NORM, layer + "norm1.{p}")
            .with(Part.FIRST, layer + "linear1.{p}")
            .with(Part.SECOND, layer + "linear2.{p}")
            .with(Part.FEED_FORWARD_NORM, layer + (decoder ? "norm3.{p}" : "norm2.{p}"));
    if (decoder) {
      names
          .with(Part.CROSS_FUSED, layer + "multihead_attn.in_proj_{p}")
          .with(Part.CROSS_OUTPUT, layer + "multihead_attn.out_proj.{p}")
          .with(Part.CROSS_NORM, layer + "norm2.{p}");
    }
    if (weights.find(side + ".norm.weight") != null) {
      names.with(
          Part.FINAL_NORM, side + ".norm.{p}"); // PyTorch has one even after post-norm layers
    }
    return names;
  }

  private LayerLoader loader(
      GatunRuntime runtime, Weights weights, String side, PositionalEncoding positions) {
    Causal causal = side.equals("decoder") ? Causal.BOTTOM_RIGHT : Causal.NONE;
    AttentionSpec attention = AttentionSpec.builder().causal(causal).build();
    LayerConfig each = new LayerConfig(heads, heads, attention, positions, activation);
    StackConfig config = new StackConfig(layers, order, false, EPSILON, each);
    return new LayerLoader(runtime, weights, names(weights, side), config);
  }

  /**
   * Puts an encoder together.
   *
   * @param runtime where it runs
   * @param weights with names from {@code encoder.layers.0.self_attn.in_proj_weight} on
   * @param positions what attention does with positions
   * @return the layers, and the last norm if there is one
   */
  public TransformerEncoder encoder(
      GatunRuntime runtime, Weights weights, PositionalEncoding positions) {
    return loader(runtime, weights, "encoder", positions).encoder();
  }

  /**
   * Puts a decoder together.
   *
   * @param runtime where it runs
   * @param weights with names from {@code decoder.layers.0.self_attn.in_proj_weight} on
   * @param positions what attention does with positions
   * @return the layers, and the last norm if there is one
   */
  public TransformerDecoder decoder(
      GatunRuntime runtime, Weights weights, PositionalEncoding positions) {
    return loader(runtime, weights, "decoder", positions).decoder();
  }

  /**
   * Puts the whole model together: embeddings times {@code sqrt(dim)}, and an output that shares
   * the table of the target's embedding (section 3.4). Source and target share a table if there is
   * no {@code source_embedding.weight}.
   *
   * @param runtime where it runs
   * @param weights those of encoder and decoder, {@code target_embedding.weight}, maybe {@code
   *     source_embedding.weight} and an untied {@code output.weight}
   * @param positions how order is told; {@link PositionalEncoding#sinusoidal} in the paper
   * @return the model
   * @throws IllegalArgumentException naming the weight that is missing or does not fit, under its
   *     name in the file
   */
  public Transformer of(GatunRuntime runtime, Weights weights, PositionalEncoding positions) {
    UnreadWeights.refuseOthers(
        weights,
        "encoder.layers.*",
        "encoder.norm.*",
        "decoder.layers.*",
        "decoder.norm.*",
        "source_embedding.weight",
        "target_embedding.weight",
        "output.weight",
        "output.bias");
    TransformerEncoder encoder = encoder(runtime, weights, positions);
    TransformerDecoder decoder = decoder(runtime, weights, positions);
    long dim = decoder.dim();
    Tensor table = LayerLoader.table(weights, "target_embedding.weight", dim);
    String sourceName = "source_embedding.weight";
    boolean shared = weights.find(sourceName) == null;
    float factor = (float) Math.sqrt(dim);
    Embedding target = new Embedding(runtime, table, factor, positions);
    return new Transformer(
        "VaswaniTransformer",
        runtime,
        shared
            ? target
            : new Embedding(
                runtime, LayerLoader.table(weights, sourceName, encoder.dim()), factor, positions),
        encoder,
        target,
        decoder,
        weights.find("output.weight") == null
            ? LayerLoader.tied(runtime, weights, "target_embedding.weight", target)
            : LayerLoader.linear(runtime, weights, "output.weight", "output.bias", dim));
  }
}
