package dev.gatun.nn;

import dev.gatun.GatunRuntime;
import java.lang.foreign.Arena;

/** A decoder-only model: GPT-2, LLaMA, Mistral, Gemma 2. */
public final class DecoderOnlyModel extends DecoderModel {

  /**
   * Puts a model together.
   *
   * @param runtime where it runs
   * @param embedding of its tokens
   * @param decoder its layers, without cross-attention
   * @param output projection to the vocabulary, {@link Embedding#output} where it is tied
   */
  public DecoderOnlyModel(
      GatunRuntime runtime, Embedding embedding, SequenceDecoder decoder, Linear output) {
    this("DecoderOnlyModel", runtime, embedding, decoder, output);
  }

  /**
   * Puts a model together.
   *
   * @param name of the model in Flight Recorder's events
   * @param runtime where it runs
   * @param embedding of its tokens
   * @param decoder its layers, without cross-attention
   * @param output projection to the vocabulary, {@link Embedding#output} where it is tied
   */
  public DecoderOnlyModel(
      String name,
      GatunRuntime runtime,
      Embedding embedding,
      SequenceDecoder decoder,
      Linear output) {
    this(name, runtime, embedding, decoder, output, 0);
  }

  /**
   * Puts a model together whose logits are capped: {@code cap · tanh(logit / cap)}, as Gemma 2's.
   *
   * @param name of the model in Flight Recorder's events
   * @param runtime where it runs
   * @param embedding of its tokens
   * @param decoder its layers, without cross-attention
   * @param output projection to the vocabulary, {@link Embedding#output} where it is tied
   * @param softcap from 2^-100 to 2^100, or 0 for none
   */
  public DecoderOnlyModel(
      String name,
      GatunRuntime runtime,
      Embedding embedding,
      SequenceDecoder decoder,
      Linear output,
      float softcap) {
    super(name, runtime, "embedding", embedding, decoder, output, softcap);
    if (decoder.hasMemory()) {
      throw new IllegalArgumentException(
          "decoder: expected one without cross-attention, got one with it");
    }
  }

  /**
   * Makes a state with a cache of plain tensors.
   *
   * @param arena where it lies
   * @param sequences decoded together, 1 or more
   * @param capacity tokens of each, 1 or more
   * @return a state without tokens
   */
  public DecoderState newState(Arena arena, int sequences, int capacity) {
    return newState(arena, sequences, capacity, 0);
  }
}
