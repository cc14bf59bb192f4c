package dev.gatun.model;

import dev.gatun.Activation;
import dev.gatun.AttentionSpec;
import dev.gatun.Tensor;
import dev.gatun.model.WeightNames.Part;
import dev.gatun.nn.Embedding;
import dev.gatun.nn.Linear;
import dev.gatun.nn.Norm;
import dev.gatun.nn.NormOrder;
import dev.gatun.nn.PositionalEncoding;
import dev.gatun.nn.TextEncoder;
import dev.gatun.nn.TransformerEncoder;
import java.util.List;
import java.util.function.IntFunction;
import java.util.stream.IntStream;

/**
 * What encoders like BERT have in common as Hugging Face's files have them: the keys of
 * config.json, layers that are all alike with every bias, and embeddings under BERT's names. A
 * family says what it is by its {@link WeightNames}, and by the few keys of its own.
 */
final class EncoderFiles {
  static final double EPSILON = 1e-12; // of transformers, where config.json does not say

  private final Checkpoint checkpoint;
  private final FamilyConfig config;
  private final Weights weights;
  private final WeightNames names;
  private final LayerLoader loader;

  private EncoderFiles(
      Checkpoint checkpoint, Weights weights, WeightNames names, LayerLoader loader) {
    this.checkpoint = checkpoint;
    this.config = checkpoint.config();
    this.weights = weights;
    this.names = names;
    this.loader = loader;
  }

  /**
   * Reads what layers are like.
   *
   * @param checkpoint scoped
   * @param names of everything that a file may have
   * @param order where layers normalize
   * @param distinct how many layers have weights of their own
   * @param activation where config.json does not say
   * @param positions what attention does with them
   */
  static EncoderFiles of(
      Checkpoint checkpoint,
      WeightNames names,
      NormOrder order,
      int distinct,
      String activation,
      PositionalEncoding positions) {
    checkpoint.config().requireText("position_embedding_type", "absolute");
    return of(checkpoint, names, order, distinct, activation, EPSILON, n -> positions);
  }

  /** The same of layers that have positions of their own, whose type the family has looked at. */
  static EncoderFiles of(
      Checkpoint checkpoint,
      WeightNames names,
      NormOrder order,
      int distinct,
      String activation,
      double epsilon,
      IntFunction<PositionalEncoding> positions) {
    FamilyConfig config = checkpoint.config();
    config.requireFlag("is_decoder", false);
    config.requireFlag("add_cross_attention", false);
    int hidden = config.size("hidden_size");
    int heads = config.size("num_attention_heads");
    if (hidden % heads != 0) {
      throw config.expected("num_attention_heads", "a divisor of %d".formatted(hidden));
    }
    Activation each = config.activation("hidden_act", activation);
    List<LayerConfig> layers =
        IntStream.range(0, distinct)
            .mapToObj(
                n ->
                    new LayerConfig(
                        heads, heads, AttentionSpec.standard(), positions.apply(n), each))
            .toList();
    float added = config.epsilon("layer_norm_eps", epsilon);
    StackConfig stack = new StackConfig(distinct, order, false, added, layers::get);
    Weights packed = checkpoint.packed();
    LayerLoader loader = new LayerLoader(checkpoint.runtime(), packed, names, stack);
    if (names.has(Part.FINAL_NORM)) {
      LayerLoader.require(packed, names.name(Part.FINAL_NORM, 0, "bias"));
    }
    return new EncoderFiles(checkpoint, packed, names, loader.requireBiases());
  }

  /** The layers, of the sizes that config.json says. */
  TransformerEncoder encoder() {
    TransformerEncoder encoder = loader.encoder();
    requireSize("hidden_size", encoder.dim());
    Tensor first = checkpoint.weights().matrix(names.name(Part.FIRST, 0, "weight"));
    requireSize("intermediate_size", first.size(0));
    return encoder;
  }

  /**
   * Embeddings under BERT's names, with those of token types and a norm if the names have them.
   *
   * @param width of a row
   * @param padding the token that positions are counted behind, as RoBERTa does; -1: from 0
   */
  Embedding embedding(long width, int padding) {
    Tensor rows = table("max_position_embeddings", Bert.POSITIONS, width);
    if (rows.size(0) <= padding + 1) {
      throw config.expected("max_position_embeddings", "more than %d".formatted(padding + 1));
    }
    return embedding(width, PositionalEncoding.learned(rows, padding + 1, padding));
  }

  /** The same with other positions, none of the table. */
  Embedding embedding(long width, PositionalEncoding positions) {
    Tensor words = table("vocab_size", Bert.WORDS, width);
    Tensor types = loader.knows(Bert.TYPES) ? table("type_vocab_size", Bert.TYPES, width) : null;
    Norm norm = loader.knows(Bert.NORM + ".weight") ? loader.layerNorm(Bert.NORM, width) : null;
    return new Embedding(checkpoint.runtime(), words, 1, positions, types, norm);
  }

  private Tensor table(String key, String name, long width) {
    Tensor table = loader.table(name, width);
    requireSize(key, table.size(0));
    return table;
  }

  /** Refuses a size, if it is said, that is not the weights'. */
  private void requireSize(String key, long size) {
    if (config.has(key) && config.size(key) != size) {
      throw config.expected(key, "%d, as the weights have it".formatted(size));
    }
  }

  /** A linear layer of its own, with a bias. */
  Linear linear(String name, long in, long out) {
    Linear layer =
        LayerLoader.linear(checkpoint.runtime(), weights, name + ".weight", name + ".bias", in);
    if (layer.out() != out) {
      throw new IllegalArgumentException(
          "%s.weight: expected [%d, %d], got %d rows".formatted(name, out, in, layer.out()));
    }
    LayerLoader.require(weights, name + ".bias");
    return layer;
  }

  /**
   * Puts the model together.
   *
   * @param projection of embeddings to hidden states, or null
   */
  TextEncoder model(Embedding embedding, Linear projection, TransformerEncoder encoder) {
    String name = checkpoint.folder().toString();
    return new TextEncoder(name, checkpoint.runtime(), embedding, projection, encoder);
  }
}
