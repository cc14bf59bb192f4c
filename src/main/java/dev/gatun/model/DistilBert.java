package dev.gatun.model;

import dev.gatun.GatunRuntime;
import dev.gatun.model.WeightNames.Part;
import dev.gatun.nn.TextEncoder;

/** DistilBERT (Sanh et al., 2019): BERT without token types; Hugging Face's names. */
public final class DistilBert {

  private static final String SCOPE = "distilbert.";

  /** As in a file of the encoder alone, and in an ONNX graph. */
  static final WeightNames NAMES = names("");

  private DistilBert() {}

  private static WeightNames names(String scope) {
    String layer = scope + "transformer.layer.{n}.";
    return WeightNames.outputMajor()
        .with(Part.QUERY, layer + "attention.q_lin.{p}")
        .with(Part.KEY, layer + "attention.k_lin.{p}")
        .with(Part.VALUE, layer + "attention.v_lin.{p}")
        .with(Part.OUTPUT, layer + "attention.out_lin.{p}")
        .with(Part.SELF_NORM, layer + "sa_layer_norm.{p}")
        .with(Part.FIRST, layer + "ffn.lin1.{p}")
        .with(Part.SECOND, layer + "ffn.lin2.{p}")
        .with(Part.FEED_FORWARD_NORM, layer + "output_layer_norm.{p}")
        .beside(scope + Bert.WORDS, scope + Bert.POSITIONS)
        .beside(scope + Bert.NORM + ".weight", scope + Bert.NORM + ".bias")
        // a buffer of 0, 1, 2, …
        .beside(scope + "embeddings.position_ids")
        // the head of pretraining, which predicts masked words; never inside the scope
        .beside("vocab_transform.*", "vocab_layer_norm.*", "vocab_projector.*");
  }

  /**
   * Puts a model together from its weights by name, which are used where they lie. The names may
   * begin with {@code distilbert.}, as those of a file with a head do.
   *
   * @param runtime where it runs
   * @param weights must stay open as long as the model is used
   * @param layers their number, {@code n_layers} of config.json
   * @param heads of attention, {@code n_heads} of config.json
   * @return embedding and encoder
   * @throws IllegalArgumentException naming the weight that is missing, does not fit, or is read by
   *     nothing, under its name in the file
   */
  public static TextEncoder of(GatunRuntime runtime, Weights weights, int layers, int heads) {
    String scope = weights.find(SCOPE + Bert.WORDS) == null ? "" : SCOPE;
    WeightNames names = scope.isEmpty() ? NAMES : names(scope);
    return Bert.of("DistilBert", runtime, weights, names, scope, layers, heads);
  }
}
