package dev.gatun.model;

import dev.gatun.Activation;
import dev.gatun.AttentionSpec;
import dev.gatun.GatunRuntime;
import dev.gatun.model.WeightNames.Part;
import dev.gatun.nn.Embedding;
import dev.gatun.nn.NormOrder;
import dev.gatun.nn.PositionalEncoding;
import dev.gatun.nn.Rotary;
import dev.gatun.nn.TextEncoder;
import dev.gatun.nn.TransformerEncoder;

/**
 * ModernBERT (Warner et al., 2024): pre-norm layers without biases, the first one without a norm
 * before its attention, since embeddings are normalized; a window around each token in all but
 * every third layer, rotary positions of another base there, gated GELU; Hugging Face's names.
 *
 * @param layers how many, {@code num_hidden_layers} of config.json: 22 in the base model
 * @param heads of attention, {@code num_attention_heads}
 * @param globalEvery layers 0, that, twice that, … see all tokens, {@code
 *     global_attn_every_n_layers}: 3
 * @param localAttention the window of the others, {@code local_attention}: 128, which are the 64
 *     tokens on each side, and the token itself
 * @param epsilon of the norms, {@code norm_eps}: 1e-5
 */
public record ModernBert(
    int layers, int heads, int globalEvery, int localAttention, float epsilon) {

  private static final String SCOPE = "model.";
  private static final String TABLE = "embeddings.tok_embeddings.weight";
  private static final String NORM = "embeddings.norm";

  /** As in a file of the encoder alone. */
  private static final WeightNames NAMES = names("");

  /** Checks what neither weights nor layers check. */
  public ModernBert {
    if (globalEvery < 1) {
      throw new IllegalArgumentException("globalEvery: expected 1 or more, got " + globalEvery);
    }
    if (localAttention < 1) {
      throw new IllegalArgumentException(
          "localAttention: expected 1 or more, got " + localAttention);
    }
  }

  private static WeightNames names(String scope) {
    String layer = scope + "layers.{n}.";
    return WeightNames.outputMajor()
        .with(Part.SELF_NORM, layer + "attn_norm.{p}")
        .with(Part.FUSED, layer + "attn.Wqkv.{p}")
        .with(Part.OUTPUT, layer + "attn.Wo.{p}")
        .with(Part.FEED_FORWARD_NORM, layer + "mlp_norm.{p}")
        .with(Part.FIRST_AND_GATE, layer + "mlp.Wi.{p}")
        .with(Part.SECOND, layer + "mlp.Wo.{p}")
        .with(Part.FINAL_NORM, scope + "final_norm.{p}")
        .beside(scope + TABLE, scope + NORM + ".weight")
        // the head of pretraining, which predicts masked words; never inside the scope
        .beside("head.*", "decoder.*");
  }

  /**
   * Puts a model together from its weights by name, which are used where they lie. The names may
   * begin with {@code model.}, as those of a file with a head do.
   *
   * @param runtime where it runs
   * @param weights must stay open as long as the model is used
   * @param global sines and cosines of layers that see all tokens, {@link Rotary.Pairing#HALVES},
   *     of the base 160,000
   * @param local of the other layers, of the base 10,000
   * @return embedding and encoder
   * @throws IllegalArgumentException naming the weight that is missing, does not fit, or is read by
   *     nothing, under its name in the file
   */
  public TextEncoder of(GatunRuntime runtime, Weights weights, Rotary global, Rotary local) {
    String scope = weights.find(SCOPE + TABLE) == null ? "" : SCOPE;
    WeightNames names = scope.isEmpty() ? NAMES : names(scope);
    StackConfig config =
        new StackConfig(layers, NormOrder.PRE, false, epsilon, n -> layer(n, global, local));
    LayerLoader loader = new LayerLoader(runtime, weights, names, config);
    TransformerEncoder encoder = loader.encoder();
    Embedding embedding =
        new Embedding(
            runtime,
            loader.table(scope + TABLE, encoder.dim()),
            1,
            PositionalEncoding.none(),
            null,
            loader.layerNormWithoutBias(scope + NORM, encoder.dim()));
    return new TextEncoder("ModernBert", runtime, embedding, encoder);
  }

  private LayerConfig layer(int n, Rotary global, Rotary local) {
    boolean all = n % globalEvery == 0;
    int side = all ? -1 : localAttention / 2;
    return new LayerConfig(
        heads,
        heads,
        AttentionSpec.builder().window(side, side).build(),
        PositionalEncoding.rotary(all ? global : local),
        Activation.GELU,
        n > 0);
  }
}
