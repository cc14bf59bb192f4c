package dev.gatun.model;

import dev.gatun.Activation;
import dev.gatun.WeightFormat;
import dev.gatun.internal.Json;
import dev.gatun.nn.Linear;
import dev.gatun.nn.SequenceClassifier;
import dev.gatun.nn.TextEncoder;
import dev.gatun.nn.TokenScorer;
import java.util.ArrayList;
import java.util.List;
import java.util.Set;

/**
 * Encoders with the heads of Hugging Face's {@code …ForSequenceClassification}: what lies between
 * the first token's state and the scores, under the names that each family has for it; and of
 * {@code …ForTokenClassification}.
 */
final class ClassifierFiles {

  private static final String OF_SEQUENCES = "ForSequenceClassification";
  private static final String OF_TOKENS = "ForTokenClassification";
  private static final String CLASSIFIER = "classifier";

  private ClassifierFiles() {}

  /** The pooler, whose activation is the hyperbolic tangent, then one layer. */
  static SequenceClassifier bert(Checkpoint checkpoint) {
    return load(checkpoint, "pooler.dense", Activation.NONE, true, CLASSIFIER);
  }

  /** A dense layer of its own in the pooler's place, which such a file may have in vain. */
  static SequenceClassifier roberta(Checkpoint checkpoint) {
    return load(checkpoint, "classifier.dense", Activation.NONE, true, "classifier.out_proj");
  }

  /** The same with GELU in the place of the hyperbolic tangent, whatever its layers have. */
  static SequenceClassifier electra(Checkpoint checkpoint) {
    return load(checkpoint, "classifier.dense", Activation.GELU, false, "classifier.out_proj");
  }

  /** BERT's under another name. */
  static SequenceClassifier albert(Checkpoint checkpoint) {
    return load(checkpoint, "pooler", Activation.NONE, true, CLASSIFIER);
  }

  /** A dense layer with ReLU. */
  static SequenceClassifier distilbert(Checkpoint checkpoint) {
    return load(checkpoint, "pre_classifier", Activation.RELU, false, CLASSIFIER);
  }

  /** One layer behind each token's state, in all families but ModernBERT. */
  static TokenScorer tokens(Checkpoint checkpoint) {
    requireArchitecture(checkpoint.config(), OF_TOKENS);
    HeadBase base = HeadBase.of(checkpoint);
    Weights weights = base.withHeads(checkpoint).packed();
    // Before the encoder, which takes longer: most folders that are refused have no head.
    LayerLoader.requireMatrix(weights, CLASSIFIER + ".weight");
    UnreadWeights.refuse(
        weights,
        ClassifierFiles::isOfHead,
        Set.of(CLASSIFIER + ".weight", CLASSIFIER + ".bias"),
        List.of());
    TextEncoder encoder = base.load(checkpoint);
    Linear output = linear(checkpoint, weights, CLASSIFIER, encoder.dim(), Activation.NONE);
    return new TokenScorer(encoder, null, null, output);
  }

  private static SequenceClassifier load(
      Checkpoint checkpoint, String dense, Activation activation, boolean tanh, String output) {
    HeadBase base = HeadBase.of(checkpoint);
    requireArchitecture(checkpoint.config(), OF_SEQUENCES);
    TextEncoder encoder = base.load(checkpoint);
    Weights weights = ofSequences(base, checkpoint);
    UnreadWeights.refuse(
        weights,
        ClassifierFiles::isOfHead,
        Set.of(dense + ".weight", dense + ".bias", output + ".weight", output + ".bias"),
        List.of());
    Linear first = linear(checkpoint, weights, dense, encoder.dim(), activation);
    requireRows(dense, first, encoder.dim());
    Linear last = linear(checkpoint, weights, output, first.out(), Activation.NONE);
    return new SequenceClassifier(encoder, first, tanh, last);
  }

  /** One row a text: nothing would be gained by fewer bits. */
  static Weights ofSequences(HeadBase base, Checkpoint checkpoint) {
    WeightFormat format =
        checkpoint.format() == WeightFormat.VIEW ? WeightFormat.VIEW : WeightFormat.AUTO;
    return base.withHeads(checkpoint).weights().packed(checkpoint.arena(), format);
  }

  /** Refuses a layer of another size than a family has it. */
  static void requireRows(String name, Linear layer, long rows) {
    if (layer.out() != rows) {
      throw new IllegalArgumentException(
          "%s.weight: expected [%d, %d], got %d rows"
              .formatted(name, rows, layer.in(), layer.out()));
    }
  }

  private static boolean isOfHead(String name) {
    return name.matches("(classifier|pre_classifier)\\..*");
  }

  static Linear linear(
      Checkpoint checkpoint, Weights weights, String name, long in, Activation activation) {
    LayerLoader.require(weights, name + ".bias");
    return LayerLoader.linear(
        checkpoint.runtime(), weights, name + ".weight", name + ".bias", in, activation);
  }

  static void requireSequences(FamilyConfig config) {
    requireArchitecture(config, OF_SEQUENCES);
  }

  static void requireTokens(FamilyConfig config) {
    requireArchitecture(config, OF_TOKENS);
  }

  /** Heads of other tasks may have the same names, and mean something else. */
  private static void requireArchitecture(FamilyConfig config, String ending) {
    List<String> architectures = config.texts("architectures");
    if (architectures != null && architectures.stream().noneMatch(name -> name.endsWith(ending))) {
      throw config.expected("architectures", "one that ends in " + ending);
    }
  }

  /**
   * {@return whether the family is given the types that a tokenizer has for pairs; transformers'
   * tokenizers of the others do not return them}
   */
  static boolean readsTypes(FamilyConfig config) {
    return switch (config.text("model_type", "")) {
      case "albert", "bert", "electra", "megatron-bert" -> true;
      default -> false;
    };
  }

  /** {@return the names of the scores: those of id2label, or LABEL_0, LABEL_1, …} */
  static List<String> labels(FamilyConfig config, int scores) {
    if (config.has("num_labels") && config.size("num_labels") != scores) {
      throw config.expected("num_labels", rows(scores));
    }
    List<String> labels = new ArrayList<>();
    Json names = config.json().find("id2label");
    if (!names.isNull() && (!names.isObject() || names.names().size() != scores)) {
      throw config.expected("id2label", "an object with " + rows(scores));
    }
    FamilyConfig each = config.below("id2label");
    for (int n = 0; n < scores; n++) {
      String key = String.valueOf(n);
      if (!names.isNull() && !each.has(key)) {
        throw config.expected("id2label", "the keys 0 .. %d".formatted(scores - 1));
      }
      labels.add(each.text(key, "LABEL_" + n));
    }
    return List.copyOf(labels);
  }

  private static String rows(int scores) {
    return "%d, the rows of the last layer".formatted(scores);
  }
}
