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
import dev.gatun.nn.TextEncoder;
import dev.gatun.nn.Transformer;
import dev.gatun.nn.TransformerEncoder;
import java.lang.foreign.Arena;
import java.util.HashMap;
import java.util.Map;

/**
 * T5 (Raffel et al., 2020): encoder and decoder of pre-norm layers with RMSNorm, relative position
 * biases, scores that are not scaled, no biases; ReLU in version 1.0, a gated GELU in 1.1; Hugging
 * Face's names.
 */
public final class T5 {

  private static final int MAX_DISTANCE = 128;
  private static final float EPSILON = 1e-6f;
  private static final String NETWORK = "feed_forward_proj";
  private static final String GATED = "gated-";
  private static final String TABLE = "shared.weight";
  private static final String EMBEDDING = "encoder.embed_tokens.weight";
  private static final String BIASES =
      "encoder.block.0.layer.0.SelfAttention.relative_attention_bias.weight";

  private T5() {}

  private static WeightNames names(boolean decoder, boolean gated) {
    String side = decoder ? "decoder." : "encoder.";
    String layer = side + "block.{n}.layer.";
    String last = layer + (decoder ? "2." : "1.");
    WeightNames names =
        WeightNames.outputMajor()
            .with(Part.SELF_NORM, layer + "0.layer_norm.{p}")
            .with(Part.QUERY, layer + "0.SelfAttention.q.{p}")
            .with(Part.KEY, layer + "0.SelfAttention.k.{p}")
            .with(Part.VALUE, layer + "0.SelfAttention.v.{p}")
            .with(Part.OUTPUT, layer + "0.SelfAttention.o.{p}")
            .with(Part.FEED_FORWARD_NORM, last + "layer_norm.{p}")
            .with(Part.FIRST, last + "DenseReluDense." + (gated ? "wi_0" : "wi") + ".{p}")
            .with(Part.SECOND, last + "DenseReluDense.wo.{p}")
            .with(Part.FINAL_NORM, side + "final_layer_norm.{p}");
    String bias = ".block.0.layer.%d.%s.relative_attention_bias.weight";
    names
        .beside("shared.weight", "lm_head.weight", side + "embed_tokens.weight")
        .beside((decoder ? "encoder" : "decoder") + ".*")
        .beside((decoder ? "decoder" : "encoder") + bias.formatted(0, "SelfAttention"))
        // of early files, and never used: cross-attention has no positions
        .beside("decoder" + bias.formatted(1, "EncDecAttention"));
    if (gated) {
      names.with(Part.GATE, last + "DenseReluDense.wi_1.{p}");
    }
    if (decoder) {
      names
          .with(Part.CROSS_NORM, layer + "1.layer_norm.{p}")
          .with(Part.CROSS_QUERY, layer + "1.EncDecAttention.q.{p}")
          .with(Part.CROSS_KEY, layer + "1.EncDecAttention.k.{p}")
          .with(Part.CROSS_VALUE, layer + "1.EncDecAttention.v.{p}")
          .with(Part.CROSS_OUTPUT, layer + "1.EncDecAttention.o.{p}");
    }
    return names;
  }

  /**
   * Puts a model together. Version 1.1 is known by its {@code wi_1}. Without an {@code
   * lm_head.weight}, or if that has the numbers of {@code shared.weight}, the output is tied, and
   * the hidden state is divided by {@code sqrt(dim)} before it, which is done to a copy of the last
   * norm's weight.
   *
   * @param runtime where it runs
   * @param arena where position biases and that copy lie
   * @param weights must stay open as long as the model is used
   * @param layers of each side
   * @param heads of attention
   * @return the model
   * @throws IllegalArgumentException naming the weight that is missing or does not fit, under its
   *     name in the file
   */
  public static Transformer of(
      GatunRuntime runtime, Arena arena, Weights weights, int layers, int heads) {
    UnreadWeights.requireSame(weights, "encoder.embed_tokens.weight", "shared.weight");
    UnreadWeights.requireSame(weights, "decoder.embed_tokens.weight", "shared.weight");
    boolean gated = weights.find("encoder.block.0.layer.1.DenseReluDense.wi_1.weight") != null;
    TransformerEncoder encoder =
        loader(runtime, arena, weights, layers, heads, false, gated).encoder();
    long dim = encoder.dim();
    Embedding embedding =
        new Embedding(
            runtime,
            LayerLoader.table(weights, "shared.weight", dim),
            1,
            PositionalEncoding.none());
    boolean tied = untied(weights) == null;
    Map<String, Tensor> scaled = new HashMap<>();
    if (tied) {
      String name = "decoder.final_layer_norm.weight";
      Tensor norm = LayerLoader.require(weights, name);
      LayerShapes.checkVector(name, norm, dim);
      float[] gamma = norm.toFloatArray();
      for (int i = 0; i < gamma.length; i++) {
        gamma[i] = (float) (gamma[i] / Math.sqrt(gamma.length));
      }
      scaled.put(name, Tensor.copyOf(arena, gamma, gamma.length));
    }
    Weights all = UnreadWeights.replaced(weights, scaled);
    return new Transformer(
        "T5",
        runtime,
        embedding,
        encoder,
        embedding,
        loader(runtime, arena, all, layers, heads, true, gated).decoder(),
        tied
            ? LayerLoader.tied(runtime, weights, "shared.weight", embedding)
            : LayerLoader.linear(runtime, weights, "lm_head.weight", null, dim));
  }

  /** The encoder alone, of a folder of Hugging Face's: sentence-t5, or a whole model's. */
  static TextEncoder load(Checkpoint checkpoint) {
    FamilyConfig config = checkpoint.config();
    int layers = config.size("num_layers", 6);
    int heads = config.size("num_heads", 8);
    int dim = config.size("d_model", 512);
    String network = config.text(NETWORK, "relu");
    boolean gated = network.startsWith(GATED);
    Activation activation = activation(config, gated ? network.substring(GATED.length()) : network);
    Checkpoint encoder = checkpoint.renamed(name -> name.startsWith("decoder.") ? null : name);
    String table = encoder.has(TABLE) ? TABLE : EMBEDDING;
    UnreadWeights.requireSame(encoder.weights(), EMBEDDING, table);
    GatedEncoders.requireRows(encoder, table, "vocab_size", config.size("vocab_size", 32_128));
    GatedEncoders.requireRows(
        encoder,
        BIASES,
        "relative_attention_num_buckets",
        config.size("relative_attention_num_buckets", 32));
    if (LayerLoader.requireMatrix(encoder.weights(), BIASES).size(1) != heads) {
      throw config.expected("num_heads", "the columns of " + BIASES);
    }
    WeightNames names = names(false, gated);
    GatedEncoders.requireInner(encoder, config, names, "d_ff");
    Weights weights = encoder.packed();
    Tensor biases = LayerLoader.table(weights, BIASES, heads);
    int farthest = config.size("relative_attention_max_distance", MAX_DISTANCE);
    LayerConfig each = layer(checkpoint.arena(), heads, biases, farthest, false, activation);
    StackConfig stack =
        new StackConfig(
            layers, NormOrder.PRE, true, config.epsilon("layer_norm_epsilon", EPSILON), each);
    LayerLoader loader = new LayerLoader(checkpoint.runtime(), weights, names, stack);
    TransformerEncoder stacked = loader.encoder();
    if (stacked.dim() != dim) {
      throw config.expected("d_model", "%d as the layers have it".formatted(stacked.dim()));
    }
    Embedding embedding =
        new Embedding(checkpoint.runtime(), loader.table(table, dim), 1, PositionalEncoding.none());
    return new TextEncoder("T5", checkpoint.runtime(), embedding, stacked);
  }

  /** What transformers makes of the word in {@code feed_forward_proj}. */
  private static Activation activation(FamilyConfig config, String name) {
    return switch (name) {
      case "relu" -> Activation.RELU;
      // of "gated-gelu" alone, which transformers reads as gelu_new
      case "gelu" ->
          config.text(NETWORK, "").startsWith(GATED) ? Activation.GELU_TANH : Activation.GELU;
      case "gelu_new" -> Activation.GELU_TANH;
      case "silu" -> Activation.SILU;
      default -> throw config.expected(NETWORK, "relu, gelu, gelu_new or silu, gated- or not");
    };
  }

  /** The output's own weight, null if it is tied: some files have it though it is. */
  private static Tensor untied(Weights weights) {
    Tensor head = weights.find("lm_head.weight");
    Tensor table = weights.find("shared.weight");
    return head != null && table != null && UnreadWeights.same(head, table) ? null : head;
  }

  private static LayerLoader loader(
      GatunRuntime runtime,
      Arena arena,
      Weights weights,
      int layers,
      int heads,
      boolean decoder,
      boolean gated) {
    // Only the first layer has the biases; all share them.
    Tensor table =
        LayerLoader.table(
            weights,
            (decoder ? "decoder" : "encoder")
                + ".block.0.layer.0.SelfAttention.relative_attention_bias.weight",
            heads);
    Activation activation = gated ? Activation.GELU_TANH : Activation.RELU;
    LayerConfig each = layer(arena, heads, table, MAX_DISTANCE, decoder, activation);
    StackConfig config = new StackConfig(layers, NormOrder.PRE, true, EPSILON, each);
    return new LayerLoader(runtime, weights, names(decoder, gated), config);
  }

  private static LayerConfig layer(
      Arena arena,
      int heads,
      Tensor biases,
      int maxDistance,
      boolean decoder,
      Activation activation) {
    AttentionSpec attention =
        AttentionSpec.builder()
            .causal(decoder ? Causal.BOTTOM_RIGHT : Causal.NONE)
            .scale(1)
            .build();
    return new LayerConfig(
        heads,
        heads,
        attention,
        PositionalEncoding.relativePositions(arena, biases, maxDistance, !decoder),
        activation);
  }
}
