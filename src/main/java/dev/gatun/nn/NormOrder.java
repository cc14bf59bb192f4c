package dev.gatun.nn;

/** Where a Transformer layer normalizes. */
public enum NormOrder {
  /**
   * {@code x = norm(x + sublayer(x))}: the paper's (section 5.4 adds dropout, which inference has
   * not), BERT's.
   */
  POST,
  /**
   * {@code x = x + sublayer(norm(x))}, and usually a last norm after all layers: GPT-2's, T5's,
   * LLaMA's (Xiong et al., 2020).
   */
  PRE,
  /**
   * {@code x = x + outputNorm(sublayer(norm(x)))}, and a last norm after all layers: Gemma 2's,
   * after CogView's "sandwich" (Ding et al., 2021).
   */
  SANDWICH
}
