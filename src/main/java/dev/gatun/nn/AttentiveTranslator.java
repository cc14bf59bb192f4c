package dev.gatun.nn;

import dev.gatun.GatunRuntime;
import dev.gatun.Tensor;
import dev.gatun.WeightFormat;
import dev.gatun.Workspace;
import dev.gatun.internal.LayerCall;
import dev.gatun.internal.LayerCalls;
import dev.gatun.internal.Matrix;
import dev.gatun.internal.ModelEvent;
import dev.gatun.internal.SequenceRows;
import dev.gatun.internal.SharedMemory;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.SegmentAllocator;
import java.util.Objects;

/**
 * The encoder and decoder of Bahdanau, Cho and Bengio 2015, "Neural Machine Translation by Jointly
 * Learning to Align and Translate", which they call RNNsearch: a bidirectional recurrent encoder,
 * whose rows are the annotations of the source's words, and a decoder that attends to them.
 *
 * <p>To translate: {@link #encode} once, {@link #remember} its result in a state, then {@link
 * #next} token by token, or let {@link Generator}, {@link BeamSearch} or {@link BatchGenerator} do
 * the last. The paper begins with no word before the first: give the id of a token that stands for
 * it.
 */
public final class AttentiveTranslator extends DecoderModel {

  private final String name;
  private final Embedding source;
  private final RecurrentLayer encoder;
  private final Embedding target;
  private final AttentiveGruDecoder decoder;
  private final Linear output;
  private final Parameters parameters;

  /**
   * Puts a model together.
   *
   * @param name of the model in Flight Recorder's events
   * @param runtime where it runs
   * @param source embedding of the encoder's tokens
   * @param encoder BIDIRECTIONAL, of as many elements each way as the decoder's state has
   * @param target embedding of the decoder's tokens
   * @param decoder of annotations as the encoder makes them
   * @param output W_o, from readouts to the vocabulary
   * @throws IllegalArgumentException naming the part that does not fit
   */
  public AttentiveTranslator(
      String name,
      GatunRuntime runtime,
      Embedding source,
      RecurrentLayer encoder,
      Embedding target,
      AttentiveGruDecoder decoder,
      Linear output) {
    super(name, runtime, "target", target, decoder, output, 0);
    this.name = name;
    this.source = Objects.requireNonNull(source, "source");
    this.encoder = Objects.requireNonNull(encoder, "encoder");
    this.target = target;
    this.decoder = decoder;
    this.output = output;
    if (encoder.direction() != RecurrentLayer.Direction.BIDIRECTIONAL) {
      throw new IllegalArgumentException(
          "encoder: expected BIDIRECTIONAL, got " + encoder.direction());
    }
    Rows.same("encoder.in", source.dim(), encoder.in());
    Rows.same("encoder.hidden", decoder.hidden(), encoder.hidden());
    this.parameters =
        new Parameters.Builder()
            .add("source", source.parameters())
            .add("encoder", encoder.parameters())
            .addAll(super.parameters())
            .build();
  }

  /**
   * The same model with its matrices packed.
   *
   * @param memory gives the memory of the packed weights; tables and biases stay where they are
   * @param format what the weights become; VIEW changes nothing
   * @return a new model
   * @throws IllegalArgumentException if weights are packed in another format already
   */
  public AttentiveTranslator packed(SegmentAllocator memory, WeightFormat format) {
    return new AttentiveTranslator(
        name,
        runtime(),
        source,
        encoder.packed(memory, format),
        target,
        decoder.packed(memory, format),
        output.packed(memory, format));
  }

  @Override
  Parameters parameters() {
    return parameters;
  }

  /** {@return the size of an annotation, columns of what {@link #encode} makes} */
  public long annotationDim() {
    return encoder.out();
  }

  /**
   * Encodes source texts.
   *
   * @param workspace scratch for this call, or null to borrow one
   * @param ids {@code [batch, seq]} or {@code [tokens]} INT32, contiguous
   * @param sequences how the ids are divided, or null: all of one length
   * @param annotations receives {@code [batch, seq, annotationDim]} or {@code [tokens,
   *     annotationDim]}, rows evenly spaced; shares no memory with ids, sequences and weights
   * @throws IllegalArgumentException naming the argument that does not fit; nothing was written
   */
  public void encode(Workspace workspace, Tensor ids, Sequences sequences, Tensor annotations) {
    Embedding.checkShape("ids", ids);
    Rows.checkLike("annotations", annotations, ids, annotationDim());
    SharedMemory.refuse("annotations", annotations, "ids", ids);
    Sequences.refuseShared("annotations", annotations, sequences);
    parameters.refuse("annotations", annotations);
    try (LayerCall call = LayerCalls.begin(runtime(), workspace)) {
      ModelEvent event = ModelEvent.start();
      SequenceRows rows =
          Sequences.divide(call, sequences, "ids", ids, ids.rank(), MemorySegment.NULL);
      MemorySegment copy = source.copyIds(call, "ids", ids, rows, MemorySegment.NULL);
      Matrix x = call.scratch().matrix(rows.rows(), source.dim());
      source.run(call, rows, copy, x);
      Matrix to = Rows.view(call, "annotations", annotations);
      Matrix computed = Sequences.target(call, rows, to);
      Matrix all = call.scratch().matrix(rows.rows(), encoder.projected());
      Matrix context = call.scratch().matrix(rows.rows(), encoder.contextColumns());
      encoder.append(call, rows, x, all, context, MemorySegment.NULL, computed, false);
      call.steps().run();
      Sequences.scatter(rows, computed, to);
      ModelEvent.finish(event, name, (int) rows.count(), rows.rows());
    }
  }

  /**
   * Computes what steps use of encoded texts, once for all of them, and forgets the tokens of the
   * state.
   *
   * @param workspace scratch for this call, or null to borrow one
   * @param state of this model
   * @param annotations what {@link #encode} gave; if it is of one text, all sequences share it
   * @param sequences as given to encode
   */
  public void remember(
      Workspace workspace, DecoderState state, Tensor annotations, Sequences sequences) {
    decoder.remember(workspace, state, annotations, sequences);
  }
}
