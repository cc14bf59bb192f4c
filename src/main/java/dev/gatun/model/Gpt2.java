package dev.gatun.model;

import dev.gatun.Activation;
import dev.gatun.Causal;
import dev.gatun.GatunRuntime;
import dev.gatun.model.WeightNames.Part;
import dev.gatun.nn.Embedding;
import dev.gatun.nn.LanguageModel;
import dev.gatun.nn.NormOrder;
import dev.gatun.nn.PositionalEncoding;
import dev.gatun.nn.TransformerDecoder;

/**
 * GPT-2 (Radford et al., 2019): pre-norm blocks, learned positions, GELU by tanh, tied output;
 * Hugging Face's names.
 */
public final class Gpt2 {

  private static final String BLOCK = "h.{n}.";

  private static final WeightNames NAMES =
      WeightNames.inputMajor()
          .with(Part.SELF_NORM, BLOCK + "ln_1.{p}")
          .with(Part.PACKED, BLOCK + "attn.c_attn.{p}")
          .with(Part.OUTPUT, BLOCK + "attn.c_proj.{p}")
          .with(Part.FEED_FORWARD_NORM, BLOCK + "ln_2.{p}")
          .with(Part.FIRST, BLOCK + "mlp.c_fc.{p}")
          .with(Part.SECOND, BLOCK + "mlp.c_proj.{p}")
          .with(Part.FINAL_NORM, "ln_f.{p}")
          .beside("wte.weight", "wpe.weight", "lm_head.weight")
          // buffers with the causal mask and what it adds
          .beside(BLOCK + "attn.bias", BLOCK + "attn.masked_bias");

  private Gpt2() {}

  /**
   * Puts a model together.
   *
   * @param runtime where it runs
   * @param weights must stay open as long as the model is used
   * @param layers blocks, 12 in the smallest
   * @param heads of attention, 12 in the smallest
   * @return the model
   * @throws IllegalArgumentException naming the weight that is missing or does not fit, under its
   *     name in the file
   */
  public static LanguageModel of(GatunRuntime runtime, Weights weights, int layers, int heads) {
    UnreadWeights.requireSame(weights, "lm_head.weight", "wte.weight");
    BlockConfig config =
        BlockConfig.of(
            NormOrder.PRE, layers, heads, Causal.BOTTOM_RIGHT, Activation.GELU_TANH, 1e-5f);
    TransformerDecoder decoder = new BlockLoader(runtime, weights, NAMES, config).decoder();
    Embedding embedding =
        new Embedding(
            runtime,
            BlockLoader.table(weights, "wte.weight", decoder.dim()),
            1,
            PositionalEncoding.learned(BlockLoader.table(weights, "wpe.weight", decoder.dim())));
    return new LanguageModel("Gpt2", runtime, embedding, decoder, embedding.output());
  }
}
