package dev.gatun.model;

import dev.gatun.Activation;
import dev.gatun.Causal;
import dev.gatun.GatunRuntime;
import dev.gatun.Tensor;
import dev.gatun.model.WeightNames.Part;
import dev.gatun.nn.Embedding;
import dev.gatun.nn.FeedForward;
import dev.gatun.nn.LayerNorm;
import dev.gatun.nn.MultiHeadAttention;
import dev.gatun.nn.NormOrder;
import dev.gatun.nn.PositionalEncoding;
import dev.gatun.nn.TextEncoder;
import dev.gatun.nn.TransformerEncoder;
import dev.gatun.nn.TransformerLayer;
import java.lang.foreign.Arena;
import java.util.ArrayList;
import java.util.List;

/** BERT (Devlin et al., 2019) as a configuration of the common layers. */
public final class Bert {

  static final String WORDS = "embeddings.word_embeddings.weight";
  static final String POSITIONS = "embeddings.position_embeddings.weight";
  static final String TYPES = "embeddings.token_type_embeddings.weight";
  static final String NORM = "embeddings.LayerNorm";

  private static final String BLOCK = "encoder.layer.{n}.";

  static final WeightNames NAMES =
      WeightNames.outputMajor()
          .with(Part.QUERY, BLOCK + "attention.self.query.{p}")
          .with(Part.KEY, BLOCK + "attention.self.key.{p}")
          .with(Part.VALUE, BLOCK + "attention.self.value.{p}")
          .with(Part.OUTPUT, BLOCK + "attention.output.dense.{p}")
          .with(Part.SELF_NORM, BLOCK + "attention.output.LayerNorm.{p}")
          .with(Part.FIRST, BLOCK + "intermediate.dense.{p}")
          .with(Part.SECOND, BLOCK + "output.dense.{p}")
          .with(Part.FEED_FORWARD_NORM, BLOCK + "output.LayerNorm.{p}")
          .beside(WORDS, POSITIONS, TYPES, NORM + ".weight", NORM + ".bias")
          // buffers of 0, 1, 2, … and of zeros; heads of pretraining
          .beside("embeddings.position_ids", "embeddings.token_type_ids", "pooler.*", "cls.*");

  private static final float EPSILON = 1e-12f;

  private Bert() {}

  /**
   * Puts a model together from its weights by name, which are used where they lie.
   *
   * @param runtime where it runs
   * @param weights must stay open as long as the model is used
   * @param layers their number
   * @param heads of attention
   * @return embedding and encoder; each text has type 0
   * @throws IllegalArgumentException naming the weight that is missing or does not fit, under its
   *     name in the file
   */
  public static TextEncoder of(GatunRuntime runtime, Weights weights, int layers, int heads) {
    refuseRoberta(weights);
    return of("Bert", runtime, weights, NAMES, "", layers, heads);
  }

  /**
   * The same for a family that differs in its names, and in token types if these are none of them.
   *
   * @param scope what the names of the embeddings begin with
   */
  static TextEncoder of(
      String name,
      GatunRuntime runtime,
      Weights weights,
      WeightNames names,
      String scope,
      int layers,
      int heads) {
    BlockConfig config =
        BlockConfig.of(NormOrder.POST, layers, heads, Causal.NONE, Activation.GELU, EPSILON);
    TransformerEncoder encoder = new BlockLoader(runtime, weights, names, config).encoder();
    long dim = encoder.dim();
    Embedding embedding =
        new Embedding(
            runtime,
            BlockLoader.table(weights, scope + WORDS, dim),
            1,
            PositionalEncoding.learned(BlockLoader.table(weights, scope + POSITIONS, dim)),
            names.knows(scope + TYPES) ? BlockLoader.table(weights, scope + TYPES, dim) : null,
            BlockLoader.layerNorm(runtime, weights, scope + NORM, dim, EPSILON));
    return new TextEncoder(name, runtime, embedding, encoder);
  }

  /** It has the same names, but counts positions from behind that of padding. */
  private static void refuseRoberta(Weights weights) {
    Tensor types = weights.find(TYPES);
    if (types != null && types.rank() == 2 && types.size(0) == 1) {
      throw new IllegalArgumentException(
          TYPES
              + ": expected 2 rows or more as in BERT, got 1 as in RoBERTa, whose positions do not"
              + " begin at 0");
    }
  }

  /**
   * Puts a model together from a copy of its weights, in one piece of memory with huge pages, those
   * of queries, keys and values side by side.
   *
   * @param name of the model in Flight Recorder's events
   * @param runtime where it runs
   * @param weights are read here and not kept: their arena may be closed afterwards
   * @param arena gets the copy, and has to stay open as long as the encoder is used; a shared one
   *     if several threads use it
   * @return embedding and encoder; each text has type 0
   * @throws IllegalArgumentException naming the weight that does not fit the configuration
   */
  public static TextEncoder of(
      String name, GatunRuntime runtime, BertWeights weights, Arena arena) {
    BertConfig config = weights.config();
    if (config.layers() != weights.layers().size()) {
      throw new IllegalArgumentException(
          "weights: expected %d layers, got %d"
              .formatted(config.layers(), weights.layers().size()));
    }
    WeightSlab sizes = new WeightSlab();
    layers(weights, sizes, runtime);
    embedding(weights, sizes, runtime);
    WeightSlab slab = new WeightSlab(arena, sizes);
    List<TransformerLayer> layers = layers(weights, slab, runtime);
    Embedding embedding = embedding(weights, slab, runtime);
    return new TextEncoder(
        name, runtime, embedding, new TransformerEncoder(runtime, layers, NormOrder.POST, null));
  }

  private static Embedding embedding(BertWeights weights, WeightSlab to, GatunRuntime runtime) {
    BertConfig config = weights.config();
    int width = config.hidden();
    Tensor words = to.copy("wordEmbeddings", weights.wordEmbeddings(), config.vocabulary(), width);
    Tensor table = weights.positionEmbeddings();
    if (table.rank() == 2 && table.size(0) > config.positionRows()) {
      table = table.slice(0, 0, config.positionRows()); // rows that no text can have
    }
    Tensor positions = to.copy("positionEmbeddings", table, config.positionRows(), width);
    Tensor types =
        weights.tokenTypeEmbeddings() == null
            ? null
            : to.copy(
                "tokenTypeEmbeddings", weights.tokenTypeEmbeddings(), config.tokenTypes(), width);
    Norms norm = norms("embeddingNorm", weights.embeddingNorm(), width, to);
    return to.isMeasuring()
        ? null
        : new Embedding(
            runtime,
            words,
            1,
            PositionalEncoding.learned(positions, config.firstPosition(), config.paddingId()),
            types,
            new LayerNorm(runtime, norm.gamma, norm.beta, config.layerNormEps()));
  }

  private record Norms(Tensor gamma, Tensor beta) {}

  private static Norms norms(String name, BertWeights.Norm norm, int width, WeightSlab to) {
    return new Norms(
        to.copy(name + ".weight", norm.weight(), width),
        to.copy(name + ".bias", norm.bias(), width));
  }

  private static List<TransformerLayer> layers(
      BertWeights weights, WeightSlab to, GatunRuntime runtime) {
    List<TransformerLayer> layers = new ArrayList<>();
    for (int n = 0; n < weights.layers().size(); n++) {
      TransformerLayer layer =
          layer("layers[%d].".formatted(n), weights.config(), weights.layers().get(n), to, runtime);
      layers.add(layer);
    }
    return layers;
  }

  private static TransformerLayer layer(
      String name,
      BertConfig config,
      BertWeights.Layer layer,
      WeightSlab to,
      GatunRuntime runtime) {
    int width = config.hidden();
    int inner = config.intermediate();
    Tensor fused =
        to.sideBySide(
            name + "query, key, value",
            width,
            layer.query().weight(),
            layer.key().weight(),
            layer.value().weight());
    Tensor fusedBias =
        to.sideBySide(
            name + "query, key, value bias",
            width,
            layer.query().bias(),
            layer.key().bias(),
            layer.value().bias());
    Tensor output =
        to.copy(name + "attentionOutput", layer.attentionOutput().weight(), width, width);
    Tensor outputBias =
        to.copy(name + "attentionOutput.bias", layer.attentionOutput().bias(), width);
    Norms attentionNorm = norms(name + "attentionNorm", layer.attentionNorm(), width, to);
    Tensor first = to.copy(name + "intermediate", layer.intermediate().weight(), width, inner);
    Tensor firstBias = to.copy(name + "intermediate.bias", layer.intermediate().bias(), inner);
    Tensor second = to.copy(name + "output", layer.output().weight(), inner, width);
    Tensor secondBias = to.copy(name + "output.bias", layer.output().bias(), width);
    Norms outputNorm = norms(name + "outputNorm", layer.outputNorm(), width, to);
    if (to.isMeasuring()) {
      return null;
    }
    float epsilon = config.layerNormEps();
    return new TransformerLayer(
        MultiHeadAttention.builder(runtime, config.heads())
            .packed(fused, fusedBias)
            .output(output, outputBias)
            .build(),
        new LayerNorm(runtime, attentionNorm.gamma, attentionNorm.beta, epsilon),
        new FeedForward(runtime, first, firstBias, Activation.GELU, second, secondBias),
        new LayerNorm(runtime, outputNorm.gamma, outputNorm.beta, epsilon));
  }
}
