package dev.gatun.model;

import dev.gatun.Activation;
import dev.gatun.Causal;
import dev.gatun.DType;
import dev.gatun.GatunRuntime;
import dev.gatun.Tensor;
import dev.gatun.WeightFormat;
import dev.gatun.internal.Messages;
import dev.gatun.model.WeightNames.Part;
import dev.gatun.nn.Embedding;
import dev.gatun.nn.LayerNorm;
import dev.gatun.nn.NormOrder;
import dev.gatun.nn.PositionalEncoding;
import dev.gatun.nn.QuantizedTable;
import dev.gatun.nn.TextEncoder;
import dev.gatun.nn.TransformerEncoder;
import java.lang.foreign.Arena;

/** BERT (Devlin et al., 2019) as a configuration of the common layers. */
public final class Bert {

  static final String WORDS = "embeddings.word_embeddings.weight";
  static final String POSITIONS = "embeddings.position_embeddings.weight";
  static final String TYPES = "embeddings.token_type_embeddings.weight";
  static final String NORM = "embeddings.LayerNorm";

  private static final String BLOCK = "encoder.layer.{n}.";

  static final WeightNames NAMES =
      names()
          .beside(WORDS, POSITIONS, TYPES, NORM + ".weight", NORM + ".bias")
          // buffers of 0, 1, 2, … and of zeros; heads of pretraining
          .beside("embeddings.position_ids", "embeddings.token_type_ids", "pooler.*", "cls.*");

  private static final float EPSILON = 1e-12f;

  private Bert() {}

  /** Those of layers, with nothing beside them yet, for families that have them as well. */
  static WeightNames names() {
    return WeightNames.outputMajor()
        .with(Part.QUERY, BLOCK + "attention.self.query.{p}")
        .with(Part.KEY, BLOCK + "attention.self.key.{p}")
        .with(Part.VALUE, BLOCK + "attention.self.value.{p}")
        .with(Part.OUTPUT, BLOCK + "attention.output.dense.{p}")
        .with(Part.SELF_NORM, BLOCK + "attention.output.LayerNorm.{p}")
        .with(Part.FIRST, BLOCK + "intermediate.dense.{p}")
        .with(Part.SECOND, BLOCK + "output.dense.{p}")
        .with(Part.FEED_FORWARD_NORM, BLOCK + "output.LayerNorm.{p}");
  }

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

  /** The same for a family that differs in its names, whose embeddings' begin with the scope. */
  static TextEncoder of(
      String name,
      GatunRuntime runtime,
      Weights weights,
      WeightNames names,
      String scope,
      int layers,
      int heads) {
    StackConfig config =
        StackConfig.of(NormOrder.POST, layers, heads, Causal.NONE, Activation.GELU, EPSILON);
    LayerLoader loader = new LayerLoader(runtime, weights, names, config);
    TransformerEncoder encoder = loader.encoder();
    PositionalEncoding positions =
        PositionalEncoding.learned(loader.table(scope + POSITIONS, encoder.dim()));
    return new TextEncoder(
        name,
        runtime,
        embedding(runtime, weights, null, loader, scope, positions, encoder.dim()),
        encoder);
  }

  /**
   * Token types if the family has them, and the norm.
   *
   * @param arena gets a copy of a table that is quantized; null if it is used where it lies
   */
  private static Embedding embedding(
      GatunRuntime runtime,
      Weights weights,
      Arena arena,
      LayerLoader loader,
      String scope,
      PositionalEncoding positions,
      long dim) {
    String words = scope + WORDS;
    if (weights.scales(words) != null) {
      QuantizedTable table = quantized(weights, words, dim, arena);
      Tensor types = types(loader, scope, dim);
      LayerNorm norm = loader.layerNorm(scope + NORM, dim);
      return new Embedding(runtime, table, 1, positions, types, norm);
    }
    return new Embedding(
        runtime,
        loader.table(words, dim),
        1,
        positions,
        types(loader, scope, dim),
        loader.layerNorm(scope + NORM, dim));
  }

  private static Tensor types(LayerLoader loader, String scope, long dim) {
    return loader.knows(scope + TYPES) ? loader.table(scope + TYPES, dim) : null;
  }

  private static QuantizedTable quantized(Weights weights, String name, long dim, Arena arena) {
    Tensor table = weights.get(name);
    Tensor scale = weights.scales(name);
    if (table.dtype() != DType.UINT8 || table.rank() != 2 || table.size(1) != dim) {
      throw new IllegalArgumentException(
          "%s: expected [rows, %d] uint8 for a table with a scale, got %s %s"
              .formatted(name, dim, Messages.sizes(table.shape()), table.dtype()));
    }
    if (scale.dtype() != DType.FLOAT32 || scale.elements() != 1) {
      throw new IllegalArgumentException(
          "%s: expected one scale as float32, got %s %s"
              .formatted(name, Messages.sizes(scale.shape()), scale.dtype()));
    }
    Tensor numbers = table;
    if (arena != null) {
      numbers = Tensor.allocate(arena, DType.UINT8, table.shape());
      numbers.copyFrom(table);
    }
    try {
      return new QuantizedTable(numbers, scale.toFloatArray()[0], weights.zeroPoint(name));
    } catch (IllegalArgumentException e) {
      throw new IllegalArgumentException(name + ": " + e.getMessage(), e);
    }
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
    return of(name, runtime, weights, arena, WeightFormat.VIEW);
  }

  /**
   * The same with packed weights.
   *
   * @param name of the model in Flight Recorder's events
   * @param runtime where it runs
   * @param weights are read here and not kept
   * @param arena gets what is packed and copied
   * @param format of the matrices; tables, norms and biases stay floats
   * @return embedding and encoder; each text has type 0
   * @throws IllegalArgumentException naming the weight that does not fit the configuration
   */
  public static TextEncoder of(
      String name, GatunRuntime runtime, BertWeights weights, Arena arena, WeightFormat format) {
    return of(name, runtime, weights, Activation.GELU, arena, format);
  }

  /** The same with another activation in the feed-forward networks. */
  static TextEncoder of(
      String name,
      GatunRuntime runtime,
      BertWeights weights,
      Activation activation,
      Arena arena,
      WeightFormat format) {
    BertConfig sizes = weights.config();
    StackConfig config =
        StackConfig.of(
            NormOrder.POST,
            sizes.layers(),
            sizes.heads(),
            Causal.NONE,
            activation,
            sizes.layerNormEps());
    WeightNames names = sizes.tokenTypes() == 0 ? DistilBert.NAMES : NAMES;
    // What is mapped stays where it is.
    boolean mapped = WeightView.find(weights.weights(), PackedFile.class) != null;
    LayerLoader loader =
        new LayerLoader(runtime, weights.weights().packed(arena, format), names, config);
    loader.requireBiases();
    if (!mapped) {
      loader.copyTo(arena);
    }
    TransformerEncoder encoder = loader.encoder();
    int width = sizes.hidden();
    requireRows(weights, WORDS, sizes.vocabulary());
    requireRows(weights, POSITIONS, sizes.positionRows());
    // Rows behind are of positions that no text can have.
    Tensor table = loader.table(POSITIONS, width).slice(0, 0, sizes.positionRows());
    PositionalEncoding positions =
        PositionalEncoding.learned(table, sizes.firstPosition(), sizes.paddingId());
    return new TextEncoder(
        name,
        runtime,
        embedding(runtime, weights.weights(), mapped ? null : arena, loader, "", positions, width),
        encoder);
  }

  private static void requireRows(BertWeights weights, String name, long rows) {
    Tensor table =
        weights.weights().scales(name) == null
            ? LayerLoader.table(weights.weights(), name, weights.config().hidden())
            : weights.weights().matrix(name);
    if (table.size(0) < rows) {
      throw new IllegalArgumentException(
          "%s: expected %d rows or more, got %d".formatted(name, rows, table.size(0)));
    }
  }
}
