package dev.gatun.nn;

import dev.gatun.GatunRuntime;
import dev.gatun.Tensor;
import dev.gatun.Workspace;
import dev.gatun.internal.ModelEvent;
import dev.gatun.internal.SharedMemory;
import java.lang.foreign.MemorySegment;
import java.util.Objects;

/**
 * The Transformer of "Attention Is All You Need", figure 1: encoder and decoder with their
 * embeddings and the projection to the vocabulary. T5 is one as well.
 *
 * <p>To translate: {@link #encode} once, {@link #remember} its result in a state, then {@link
 * #next} token by token, or let {@link Generator} do the last.
 */
public final class Transformer extends DecoderModel {

  private final Embedding source;
  private final TransformerEncoder encoder;

  /**
   * Puts a model together.
   *
   * @param runtime where it runs
   * @param source embedding of the encoder's tokens
   * @param encoder its blocks
   * @param target embedding of the decoder's tokens; may be source
   * @param decoder its blocks, with cross-attention
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
   * @param encoder its blocks
   * @param target embedding of the decoder's tokens; may be source
   * @param decoder its blocks, with cross-attention
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
    super(name, runtime, target, decoder, output);
    this.source = Objects.requireNonNull(source, "source");
    this.encoder = Objects.requireNonNull(encoder, "encoder");
    if (!decoder.hasMemory()) {
      throw new IllegalArgumentException(
          "decoder: expected one with cross-attention, got one without");
    }
    if (source.dim() != encoder.dim()) {
      throw new IllegalArgumentException(
          "source: expected rows of %d, got %d".formatted(encoder.dim(), source.dim()));
    }
  }

  /**
   * Encodes source texts.
   *
   * @param workspace what the call writes besides memory, or null to be lent one
   * @param ids {@code [batch, seq]} INT32, contiguous
   * @param lengths {@code [batch]} INT32, or null: tokens of each text
   * @param memory receives {@code [batch, seq, dim]}, contiguous; shares no memory with ids,
   *     lengths and weights
   * @throws IllegalArgumentException naming the argument that does not fit; nothing was written
   */
  public void encode(Workspace workspace, Tensor ids, Tensor lengths, Tensor memory) {
    source.checkIds(ids, 0);
    TransformerDecoder.checkOut("memory", memory, ids.size(0), ids.size(1), encoder.dim());
    if (ids.size(1) > encoder.positions()) {
      throw new IllegalArgumentException(
          "ids: expected at most %d positions, got %d".formatted(encoder.positions(), ids.size(1)));
    }
    MemorySegment counts = MultiHeadAttention.lengths("lengths", lengths, ids.size(0), ids.size(1));
    SharedMemory.refuse("memory", memory, "ids", ids);
    SharedMemory.refuse("memory", memory, "lengths", lengths);
    source.parameters().refuse("memory", memory);
    encoder.parameters().refuse("memory", memory);
    parameters().refuse("memory", memory);
    ModelEvent event = ModelEvent.start();
    source.forward(workspace, ids, memory);
    encoder.forward(workspace, memory, lengths, memory);
    if (event != null) {
      long batch = ids.size(0);
      ModelEvent.finish(event, name(), (int) batch, tokens(batch, ids.size(1), counts));
    }
  }

  /**
   * Computes keys and values of encoded texts, once for all steps, and forgets the tokens of the
   * state.
   *
   * @param workspace what the call writes besides the state, or null to be lent one
   * @param state of this model
   * @param memory {@code [sequences or 1, seq, dim]} what {@link #encode} gave; of 1, all sequences
   *     share it
   * @param lengths as given to encode
   */
  public void remember(Workspace workspace, DecoderState state, Tensor memory, Tensor lengths) {
    decoder().remember(workspace, state, memory, lengths);
  }
}
