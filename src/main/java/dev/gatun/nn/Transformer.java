package dev.gatun.nn;

import dev.gatun.GatunRuntime;
import dev.gatun.Tensor;
import dev.gatun.Workspace;

/**
 * The Transformer of "Attention Is All You Need", figure 1: encoder and decoder with their
 * embeddings and the projection to the vocabulary. T5 is one as well.
 *
 * <p>To translate: {@link #encode} once, {@link #remember} its result in a state, then {@link
 * #next} token by token, or let {@link Generator} do the last.
 */
public final class Transformer extends DecoderModel {

  private final TextEncoder source;

  /**
   * Puts a model together.
   *
   * @param runtime where it runs
   * @param source embedding of the encoder's tokens
   * @param encoder its layers
   * @param target embedding of the decoder's tokens; may be source
   * @param decoder its layers, with cross-attention
   * @param output projection to the vocabulary, {@link Embedding#output} where it is tied
   */
  public Transformer(
      GatunRuntime runtime,
      Embedding source,
      TransformerEncoder encoder,
      Embedding target,
      TransformerDecoder decoder,
      Linear output) {
    this("Transformer", runtime, source, encoder, target, decoder, output);
  }

  /**
   * Puts a model together.
   *
   * @param name of the model in Flight Recorder's events
   * @param runtime where it runs
   * @param source embedding of the encoder's tokens
   * @param encoder its layers
   * @param target embedding of the decoder's tokens; may be source
   * @param decoder its layers, with cross-attention
   * @param output projection to the vocabulary, {@link Embedding#output} where it is tied
   */
  public Transformer(
      String name,
      GatunRuntime runtime,
      Embedding source,
      TransformerEncoder encoder,
      Embedding target,
      TransformerDecoder decoder,
      Linear output) {
    super(name, runtime, "target", target, decoder, output, 0);
    if (!decoder.hasMemory()) {
      throw new IllegalArgumentException(
          "decoder: expected one with cross-attention, got one without");
    }
    this.source = new TextEncoder(name, runtime, "source", source, null, encoder);
  }

  /**
   * Encodes source texts.
   *
   * @param workspace scratch for this call, or null to borrow one
   * @param ids {@code [batch, seq]} or {@code [tokens]} INT32, contiguous
   * @param sequences how the ids are divided, or null: all of one length
   * @param memory receives {@code [batch, seq, dim]} or {@code [tokens, dim]}, rows evenly spaced;
   *     shares no memory with ids, sequences and weights
   * @throws IllegalArgumentException naming the argument that does not fit; nothing was written
   */
  public void encode(Workspace workspace, Tensor ids, Sequences sequences, Tensor memory) {
    parameters().refuse("memory", memory);
    source.forward("memory", workspace, ids, sequences, memory);
  }

  /**
   * Computes keys and values of encoded texts, once for all steps, and forgets the tokens of the
   * state.
   *
   * @param workspace scratch for this call, or null to borrow one
   * @param state of this model
   * @param memory what {@link #encode} gave; if it is of one text, all sequences share it
   * @param sequences as given to encode
   */
  public void remember(
      Workspace workspace, DecoderState state, Tensor memory, Sequences sequences) {
    decoder().remember(workspace, state, memory, sequences);
  }
}
