package dev.gatun.model;

import dev.gatun.Activation;
import dev.gatun.GatunRuntime;
import dev.gatun.Tensor;
import dev.gatun.nn.LayerNorm;
import dev.gatun.nn.Linear;
import dev.gatun.nn.TextEncoder;
import dev.gatun.nn.TokenScorer;

/**
 * Masked language models as Hugging Face's files have them: an encoder, a dense layer, a norm, and
 * the table of the words as the projection to their scores, with a bias of its own.
 */
final class MaskedHeads {

  /** Names of a head's parts; the biases of the output may be under either name. */
  private record Names(String dense, String norm, String output, String bias) {}

  private static final Names BERT =
      new Names(
          "cls.predictions.transform.dense",
          "cls.predictions.transform.LayerNorm",
          "cls.predictions.decoder",
          "cls.predictions.bias");

  private static final Names ROBERTA =
      new Names("lm_head.dense", "lm_head.layer_norm", "lm_head.decoder", "lm_head.bias");

  private static final Names DISTILBERT =
      new Names("vocab_transform", "vocab_layer_norm", "vocab_projector", "vocab_projector.bias");

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

  private static Activation activation(Checkpoint checkpoint) {
    return checkpoint.config().activation(BertFiles.activationKey(checkpoint), "gelu");
  }

  private static TokenScorer load(Checkpoint checkpoint, Names names, Activation activation) {
    GatunRuntime runtime = checkpoint.runtime();
    Checkpoint scoped = BertFiles.withHeads(checkpoint);
    Weights weights = scoped.packed();
    // Before the encoder, which takes longer: most folders that are refused have no head.
    LayerLoader.requireMatrix(weights, names.dense + ".weight");
    LayerLoader.require(weights, names.dense + ".bias");
    String table = table(scoped, names);
    String bias = bias(scoped, names);
    TextEncoder encoder = BertFiles.load(checkpoint);
    Linear dense =
        LayerLoader.linear(
            runtime,
            weights,
            names.dense + ".weight",
            names.dense + ".bias",
            encoder.dim(),
            activation);
    LayerNorm norm =
        LayerLoader.layerNorm(
            runtime, weights, names.norm, dense.out(), BertFiles.epsilon(checkpoint.config()));
    Linear output = LayerLoader.linear(runtime, weights, table, bias, norm.dim());
    if (output.out() != encoder.embedding().vocabulary()) {
      throw new IllegalArgumentException(
          "%s: expected %d rows, one for each token, got %d"
              .formatted(table, encoder.embedding().vocabulary(), output.out()));
    }
    return new TokenScorer(encoder, dense, norm, output);
  }

  /** The words' own table, or one of the output where config.json says that they are two. */
  private static String table(Checkpoint checkpoint, Names names) {
    String own = names.output + ".weight";
    if (!checkpoint.config().flag("tie_word_embeddings", true)) {
      return own;
    }
    if (checkpoint.has(own)) {
      requireSame(checkpoint, Bert.WORDS, own);
    }
    return Bert.WORDS;
  }

  private static String bias(Checkpoint checkpoint, Names names) {
    String other = names.output + ".bias";
    if (other.equals(names.bias) || !checkpoint.has(other)) {
      LayerLoader.require(checkpoint.weights(), names.bias);
      return names.bias;
    }
    if (checkpoint.has(names.bias)) {
      requireSame(checkpoint, names.bias, other);
    }
    return other;
  }

  /** transformers keeps one of them, and does not say which it leaves. */
  private static void requireSame(Checkpoint checkpoint, String name, String other) {
    Tensor first = LayerLoader.require(checkpoint.weights(), name);
    Tensor second = LayerLoader.require(checkpoint.weights(), other);
    if (first.elements() != second.elements() || first.segment().mismatch(second.segment()) >= 0) {
      throw new IllegalArgumentException(
          "%s: expected the elements of %s, which it is one with, got others"
              .formatted(other, name));
    }
  }
}
