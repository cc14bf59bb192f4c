package dev.gatun.model;

import dev.gatun.Activation;
import dev.gatun.nn.LayerNorm;
import dev.gatun.nn.Linear;
import dev.gatun.nn.Pooling;
import dev.gatun.nn.SequenceClassifier;
import dev.gatun.nn.TextEncoder;
import dev.gatun.nn.TokenScorer;
import java.util.HashSet;
import java.util.List;
import java.util.Set;

/**
 * ModernBERT's heads, which all begin with a dense layer and a norm: behind them come the words'
 * table, or a layer for labels of tokens, or of texts, for which states are pooled before.
 */
final class ModernBertHeads {
  private static final String DENSE = "head.dense";
  private static final String NORM = "head.norm";
  private static final String DECODER = "decoder";
  private static final String CLASSIFIER = "classifier";
  private static final String POOLING = "classifier_pooling";

  private ModernBertHeads() {}

  private record Head(Linear dense, LayerNorm norm) {}

  static TokenScorer masked(Checkpoint checkpoint) {
    HeadBase base = HeadBase.of(checkpoint);
    Checkpoint scoped = base.withHeads(checkpoint);
    Weights weights = scoped.packed();
    String bias = checkpoint.config().flag("decoder_bias", true) ? DECODER + ".bias" : null;
    refuseUnread(checkpoint, weights, DECODER + ".weight", bias);
    LayerLoader.requireMatrix(weights, DENSE + ".weight");
    if (bias != null) {
      LayerLoader.require(weights, bias);
    }
    String table = MaskedHeads.table(scoped, base.words(), DECODER + ".weight");
    TextEncoder encoder = base.load(checkpoint);
    Head head = head(checkpoint, base, weights, encoder.dim());
    Linear output = LayerLoader.linear(checkpoint.runtime(), weights, table, bias, encoder.dim());
    MaskedHeads.requireWords(table, output, encoder);
    return new TokenScorer(encoder, head.dense, head.norm, output);
  }

  static TokenScorer tokens(Checkpoint checkpoint) {
    ClassifierFiles.requireTokens(checkpoint.config());
    HeadBase base = HeadBase.of(checkpoint);
    Weights weights = base.withHeads(checkpoint).packed();
    refuseUnread(checkpoint, weights, CLASSIFIER + ".weight", CLASSIFIER + ".bias");
    TextEncoder encoder = base.load(checkpoint);
    Head head = head(checkpoint, base, weights, encoder.dim());
    return new TokenScorer(
        encoder, head.dense, head.norm, classifier(checkpoint, weights, encoder.dim()));
  }

  static SequenceClassifier texts(Checkpoint checkpoint) {
    FamilyConfig config = checkpoint.config();
    ClassifierFiles.requireSequences(config);
    Pooling pooling =
        switch (config.text(POOLING, "cls")) {
          case "cls" -> Pooling.CLS;
          case "mean" -> Pooling.MEAN;
          default -> throw config.expected(POOLING, "\"cls\" or \"mean\"");
        };
    HeadBase base = HeadBase.of(checkpoint);
    Weights weights = ClassifierFiles.ofSequences(base, checkpoint);
    refuseUnread(checkpoint, weights, CLASSIFIER + ".weight", CLASSIFIER + ".bias");
    TextEncoder encoder = base.load(checkpoint);
    Head head = head(checkpoint, base, weights, encoder.dim());
    Linear output = classifier(checkpoint, weights, encoder.dim());
    return new SequenceClassifier(encoder, pooling, head.dense, false, head.norm, output);
  }

  private static Linear classifier(Checkpoint checkpoint, Weights weights, long dim) {
    return ClassifierFiles.linear(checkpoint, weights, CLASSIFIER, dim, Activation.NONE);
  }

  private static Head head(Checkpoint checkpoint, HeadBase base, Weights weights, long dim) {
    Activation activation = checkpoint.config().activation("classifier_activation", "gelu");
    String bias = bias(checkpoint);
    if (bias != null) {
      LayerLoader.require(weights, bias);
    }
    Linear dense =
        LayerLoader.linear(checkpoint.runtime(), weights, DENSE + ".weight", bias, dim, activation);
    ClassifierFiles.requireRows(DENSE, dense, dim);
    return new Head(
        dense,
        LayerLoader.layerNormWithoutBias(checkpoint.runtime(), weights, NORM, dim, base.epsilon()));
  }

  private static String bias(Checkpoint checkpoint) {
    return checkpoint.config().flag("classifier_bias", false) ? DENSE + ".bias" : null;
  }

  private static void refuseUnread(
      Checkpoint checkpoint, Weights weights, String output, String outputBias) {
    Set<String> read = new HashSet<>(Set.of(DENSE + ".weight", NORM + ".weight", output));
    if (bias(checkpoint) != null) {
      read.add(bias(checkpoint));
    }
    if (outputBias != null) {
      read.add(outputBias);
    }
    UnreadWeights.refuse(
        weights, name -> name.matches("(head|decoder|classifier)\\..*"), read, List.of());
  }
}
