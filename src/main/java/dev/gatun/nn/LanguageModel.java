package dev.gatun.nn;

import dev.gatun.GatunRuntime;

/** A decoder-only model: GPT-2, LLaMA. */
public final class LanguageModel extends DecoderModel {

  /**
   * Puts a model together.
   *
   * @param runtime where it runs
   * @param embedding of its tokens
   * @param decoder its blocks, without cross-attention
   * @param output projection to the vocabulary, {@link Embedding#output} where it is tied
   */
  public LanguageModel(
      GatunRuntime runtime, Embedding embedding, TransformerDecoder decoder, Linear output) {
    super(runtime, embedding, decoder, output);
    if (decoder.hasMemory()) {
      throw new IllegalArgumentException("decoder: expected one without cross-attention");
    }
  }
}
