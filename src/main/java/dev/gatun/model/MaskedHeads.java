package dev.gatun.model;

import dev.gatun.Activation;
import dev.gatun.GatunRuntime;
import dev.gatun.nn.LayerNorm;
import dev.gatun.nn.Linear;
import dev.gatun.nn.TextEncoder;
import dev.gatun.nn.TokenScorer;
import java.util.List;
import java.util.Set;

/**
 * Masked language models as Hugging Face's files have them: an encoder, a dense layer, a norm, and
 * the table of the words as the projection to their scores, with a bias of its own.
 */
final class MaskedHeads {

  /** What a head's names begin with, and those of its parts; the output's bias may have two. */
  private record Names(String head, String dense, String norm, String output, String bias) {
    Set<String> all() {
      return Set.copyOf(
          List.of(
              dense + ".weight",
              dense + ".bias",
              norm + ".weight",
              norm + ".bias",
              output + ".weight",
              output + ".bias",
              bias));
    }
  }

  private static final Names BERT =
      new Names(
          "cls.predictions.",
          "cls.predictions.transform.dense",
          "cls.predictions.transform.LayerNorm",
          "cls.predictions.decoder",
          "cls.predictions.bias");

  private static final Names ROBERTA =
      new Names(
          "lm_head.", "lm_head.dense", "lm_head.layer_norm", "lm_head.decoder", "lm_head.bias");

  private static final Names DISTILBERT =
      new Names(
          "vocab_",
          "vocab_transform",
          "vocab_layer_norm",
          "vocab_projector",
          "vocab_projector.bias");

  private static final Names ELECTRA =
      new Names(
          "generator_",
          "generator_predictions.dense",
          "generator_predictions.LayerNorm",
          "generator_lm_head",
          "generator_lm_head.bias");

  private static final Names ALBERT =
      new Names(
          "predictions.",
          "predictions.dense",
          "predictions.LayerNorm",
          "predictions.decoder",
          "predictions.bias");

  private MaskedHeads() {}

  static TokenScorer bert(Checkpoint checkpoint) {
    return load(checkpoint, BERT, activation(checkpoint));
  }

  /** Whatever its layers have: transformers' RobertaLMHead calls gelu. */
  static TokenScorer roberta(Checkpoint checkpoint) {
    return load(checkpoint, ROBERTA, Activation.GELU);
  }

  static TokenScorer distilBert(Checkpoint checkpoint) {
    return load(checkpoint, DISTILBERT, activation(checkpoint));
  }

  /** Of a generator, whose head narrows states to the width of the words; it calls gelu as well. */
  static TokenScorer electra(Checkpoint checkpoint) {
    return load(checkpoint, ELECTRA, Activation.GELU);
  }

  /** Narrows states to the width of the words. */
  static TokenScorer albert(Checkpoint checkpoint) {
    return load(checkpoint, ALBERT, checkpoint.config().activation("hidden_act", "gelu_new"));
  }

  private static Activation activation(Checkpoint checkpoint) {
    return checkpoint.config().activation(BertFiles.activationKey(checkpoint), "gelu");
  }

  private static TokenScorer load(Checkpoint checkpoint, Names names, Activation activation) {
    GatunRuntime runtime = checkpoint.runtime();
    HeadBase base = HeadBase.of(checkpoint);
    Checkpoint scoped = base.withHeads(checkpoint);
    Weights weights = scoped.packed();
    UnreadWeights.refuse(weights, name -> name.startsWith(names.head), names.all(), List.of());
    // Before the encoder, which takes longer: most folders that are refused have no head.
    LayerLoader.requireMatrix(weights, names.dense + ".weight");
    LayerLoader.require(weights, names.dense + ".bias");
    String table = table(scoped, base.words(), names.output + ".weight");
    String bias = bias(scoped, names);
    TextEncoder encoder = base.load(checkpoint);
    Linear dense =
        LayerLoader.linear(
            runtime,
            weights,
            names.dense + ".weight",
            names.dense + ".bias",
            encoder.dim(),
            activation);
    ClassifierFiles.requireRows(
        names.dense, dense, LayerLoader.requireMatrix(weights, table).size(1));
    LayerNorm norm =
        LayerLoader.layerNorm(runtime, weights, names.norm, dense.out(), base.epsilon());
    Linear output = LayerLoader.linear(runtime, weights, table, bias, norm.dim());
    requireWords(table, output, encoder);
    return new TokenScorer(encoder, dense, norm, output);
  }

  static void requireWords(String table, Linear output, TextEncoder encoder) {
    if (output.out() != encoder.embedding().vocabulary()) {
      throw new IllegalArgumentException(
          "%s: expected %d rows, one for each token, got %d"
              .formatted(table, encoder.embedding().vocabulary(), output.out()));
    }
  }

  /** The words' own table, or one of the output where config.json says that they are two. */
  static String table(Checkpoint checkpoint, String words, String own) {
    if (!checkpoint.config().flag("tie_word_embeddings", true)) {
      return own;
    }
    UnreadWeights.requireSame(checkpoint.weights(), own, words);
    return words;
  }

  private static String bias(Checkpoint checkpoint, Names names) {
    String other = names.output + ".bias";
    if (other.equals(names.bias) || !checkpoint.has(other)) {
      LayerLoader.require(checkpoint.weights(), names.bias);
      return names.bias;
    }
    // transformers keeps one of them, and does not say which it leaves
    UnreadWeights.requireSame(checkpoint.weights(), names.bias, other);
    return other;
  }
}
