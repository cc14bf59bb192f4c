package dev.gatun.model;

import dev.gatun.Activation;
import dev.gatun.AttentionSpec;
import dev.gatun.Tensor;
import dev.gatun.model.WeightNames.Part;
import dev.gatun.nn.Embedding;
import dev.gatun.nn.LayerNorm;
import dev.gatun.nn.NormOrder;
import dev.gatun.nn.PositionalEncoding;
import dev.gatun.nn.TextEncoder;
import dev.gatun.nn.TransformerEncoder;

/**
 * What encoders with gated networks have in common as Hugging Face's files have them, and checks of
 * sizes and biases that other families do as well.
 */
final class GatedEncoders {

  private GatedEncoders() {}

  /** Sizes that config.json and weights have to agree on, and what layers are like. */
  record Sizes(int layers, int heads, int hidden, long vocabulary, int types, float epsilon) {}

  /**
   * An encoder of post-norm layers that are all alike, behind an embedding with a norm and, of more
   * than 0 types, a table of those: BERT's, of other positions and another network.
   *
   * @param name of the model in Flight Recorder's events
   * @param checkpoint under the names that names have
   * @param words the table of the vocabulary
   * @param norm of the embedding, without {@code .weight}
   */
  static TextEncoder postNorm(
      String name,
      Checkpoint checkpoint,
      WeightNames names,
      Sizes sizes,
      PositionalEncoding positions,
      Activation activation,
      String words,
      String norm) {
    requireRows(checkpoint, words, "vocab_size", sizes.vocabulary());
    if (sizes.types() > 0 || checkpoint.has(Bert.TYPES)) {
      requireRows(checkpoint, Bert.TYPES, "type_vocab_size", sizes.types());
    }
    AttentionSpec attention = AttentionSpec.builder().build();
    LayerConfig each =
        new LayerConfig(sizes.heads(), sizes.heads(), attention, positions, activation);
    StackConfig config =
        new StackConfig(sizes.layers(), NormOrder.POST, false, sizes.epsilon(), each);
    LayerLoader loader = new LayerLoader(checkpoint.runtime(), checkpoint.packed(), names, config);
    TransformerEncoder encoder = loader.encoder();
    LayerNorm last = loader.layerNorm(norm, sizes.hidden());
    return new TextEncoder(
        name,
        checkpoint.runtime(),
        new Embedding(
            checkpoint.runtime(),
            loader.table(words, sizes.hidden()),
            1,
            PositionalEncoding.none(),
            sizes.types() > 0 ? loader.table(Bert.TYPES, sizes.hidden()) : null,
            last),
        encoder);
  }

  /** {@return the size of a head, which rows are divided into without a rest} */
  static int headSize(FamilyConfig config, int hidden, String key, int heads) {
    if (hidden % heads != 0) {
      throw config.expected(key, "a divisor of %d".formatted(hidden));
    }
    return hidden / heads;
  }

  /** Refuses a table that has not as many rows as config.json says. */
  static void requireRows(Checkpoint checkpoint, String name, String key, long rows) {
    Tensor table = LayerLoader.requireMatrix(checkpoint.weights(), name);
    if (table.size(0) != rows) {
      throw checkpoint.config().expected(key, "%d, the rows of %s".formatted(table.size(0), name));
    }
  }

  /** Refuses a width of the feed-forward network, if it is said, that is not the weights'. */
  static void requireInner(
      Checkpoint checkpoint, FamilyConfig config, WeightNames names, String key) {
    String name = names.name(Part.SECOND, 0, "weight");
    long inner = LayerLoader.requireMatrix(checkpoint.weights(), name).size(1);
    if (config.has(key) && config.size(key) != inner) {
      throw config.expected(key, "%d, the columns of %s".formatted(inner, name));
    }
  }

  /** Refuses layers of which a part has no bias though its family has, or the other way round. */
  static void requireBiases(
      Checkpoint checkpoint, WeightNames names, int layers, boolean biased, Part... parts) {
    for (int n = 0; n < layers; n++) {
      for (Part part : parts) {
        String name = names.name(part, n, "bias");
        if (checkpoint.has(name) != biased) {
          throw new IllegalArgumentException(
              "%s: expected %s, got %s"
                  .formatted(name, biased ? "a bias" : "no bias", biased ? "none" : "one"));
        }
      }
    }
  }
}
