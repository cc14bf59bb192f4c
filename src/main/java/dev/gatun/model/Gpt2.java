package dev.gatun.model;

import dev.gatun.Activation;
import dev.gatun.Causal;
import dev.gatun.GatunRuntime;
import dev.gatun.model.WeightNames.Part;
import dev.gatun.nn.DecoderOnlyModel;
import dev.gatun.nn.Embedding;
import dev.gatun.nn.Linear;
import dev.gatun.nn.NormOrder;
import dev.gatun.nn.PositionalEncoding;
import dev.gatun.nn.TransformerDecoder;

/**
 * GPT-2 (Radford et al., 2019): pre-norm layers, learned positions, GELU by tanh, tied output;
 * Hugging Face's names.
 */
public final class Gpt2 {

  private static final String LAYER = "h.{n}.";

  private static final WeightNames NAMES =
      WeightNames.inputMajor()
          .with(Part.SELF_NORM, LAYER + "ln_1.{p}")
          .with(Part.FUSED, LAYER + "attn.c_attn.{p}")
          .with(Part.OUTPUT, LAYER + "attn.c_proj.{p}")
          .with(Part.FEED_FORWARD_NORM, LAYER + "ln_2.{p}")
          .with(Part.FIRST, LAYER + "mlp.c_fc.{p}")
          .with(Part.SECOND, LAYER + "mlp.c_proj.{p}")
          .with(Part.FINAL_NORM, "ln_f.{p}")
          .beside("wte.weight", "wpe.weight", "lm_head.weight")
          // buffers with the causal mask and what it adds
          .beside(LAYER + "attn.bias", LAYER + "attn.masked_bias");

  private Gpt2() {}

  /**
   * Puts a model together.
   *
   * @param runtime where it runs
   * @param weights must stay open as long as the model is used
   * @param layers how many, 12 in the smallest
   * @param heads of attention, 12 in the smallest
   * @return the model
   * @throws IllegalArgumentException naming the weight that is missing or does not fit, under its
   *     name in the file
   */
  public static DecoderOnlyModel of(GatunRuntime runtime, Weights weights, int layers, int heads) {
    UnreadWeights.requireSame(weights, "lm_head.weight", "wte.weight");
    StackConfig config =
        StackConfig.of(
            NormOrder.PRE, layers, heads, Causal.BOTTOM_RIGHT, Activation.GELU_TANH, 1e-5f);
    TransformerDecoder decoder = new LayerLoader(runtime, weights, NAMES, config).decoder();
    Embedding embedding =
        new Embedding(
            runtime,
            LayerLoader.table(weights, "wte.weight", decoder.dim()),
            1,
            PositionalEncoding.learned(LayerLoader.table(weights, "wpe.weight", decoder.dim())));
    Linear output = LayerLoader.tied(runtime, weights, "wte.weight", embedding);
    return new DecoderOnlyModel("Gpt2", runtime, embedding, decoder, output);
  }
}
