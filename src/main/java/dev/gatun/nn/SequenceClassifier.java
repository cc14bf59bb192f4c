package dev.gatun.nn;

import dev.gatun.Tensor;
import dev.gatun.Workspace;
import dev.gatun.internal.LayerCall;
import dev.gatun.internal.LayerCalls;
import dev.gatun.internal.Matrix;
import dev.gatun.internal.ModelEvent;
import dev.gatun.internal.Scratch;
import dev.gatun.internal.SequenceRows;
import dev.gatun.internal.SharedMemory;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import java.util.Objects;

/**
 * From token ids to the scores of each text, as BERT classifies texts and pairs of them (Devlin et
 * al., 2019): an encoder, a dense layer on the first token of each text, and a linear layer.
 *
 * <p>Immutable; any number of threads may share it. Warm calls allocate nothing on either side.
 * Bits do not depend on the number of threads and, with packed weights, on other texts.
 */
public final class SequenceClassifier {

  private final TextEncoder encoder;
  private final Linear dense;
  private final boolean tanh;
  private final Linear output;
  private final Parameters parameters;

  /**
   * Puts a classifier together.
   *
   * @param encoder makes the last hidden state
   * @param dense applied to that of the first token, its activation included; or null
   * @param tanh whether the hyperbolic tangent follows, as in BERT's pooler
   * @param output to scores
   * @throws IllegalArgumentException naming the layer that does not fit the one before
   */
  public SequenceClassifier(TextEncoder encoder, Linear dense, boolean tanh, Linear output) {
    this.encoder = Objects.requireNonNull(encoder, "encoder");
    this.dense = dense;
    this.tanh = tanh;
    this.output = Objects.requireNonNull(output, "output");
    Parameters.Builder all = new Parameters.Builder().addAll(encoder.parameters());
    if (dense != null) {
      Rows.same("dense.in", encoder.dim(), dense.in());
      all.add("dense", dense.parameters());
    }
    Rows.same("output.in", dense == null ? encoder.dim() : dense.out(), output.in());
    this.parameters = all.add("output", output.parameters()).build();
  }

  /** {@return the part from ids to the last hidden state} */
  public TextEncoder textEncoder() {
    return encoder;
  }

  /** {@return scores of a text} */
  public int scores() {
    return Math.toIntExact(output.out());
  }

  /**
   * Computes the scores of texts.
   *
   * @param workspace scratch for this call, or null to borrow one
   * @param ids {@code [batch, seq]} or {@code [tokens]} INT32, contiguous
   * @param typeIds as of {@link Embedding#forward(Workspace, Tensor, Tensor, Sequences, Tensor)},
   *     or null
   * @param texts how the ids are divided, or null: all of one length. A text without tokens counts
   *     as one of zeros
   * @param out receives {@code [texts, scores]} as they come from the last layer, rows evenly
   *     spaced; shares no memory with ids, typeIds, texts and weights
   * @throws IllegalArgumentException naming the argument that does not fit; nothing was written
   */
  public void forward(
      Workspace workspace, Tensor ids, Tensor typeIds, Sequences texts, Tensor out) {
    Embedding.checkShape("ids", ids);
    encoder.embedding().checkTypes(typeIds, ids);
    long count = Rows.count("out", out, output.out());
    Rows.checkOutput("out", out, count, output.out());
    SharedMemory.refuse("out", out, "ids", ids);
    SharedMemory.refuse("out", out, "typeIds", typeIds);
    Sequences.refuseShared("out", out, texts);
    parameters.refuse("out", out);
    try (LayerCall call = LayerCalls.begin(encoder.runtime(), workspace)) {
      SequenceRows rows = Sequences.divide(call, texts, "ids", ids, ids.rank(), MemorySegment.NULL);
      Rows.same("out.rows", rows.count(), count);
      MemorySegment copy = encoder.copyIds(call, ids, rows);
      MemorySegment types = encoder.embedding().copyTypes(call, typeIds, rows);
      run(call, rows, copy, types, Rows.view(call, "out", out));
    }
  }

  private void run(
      LayerCall call, SequenceRows rows, MemorySegment ids, MemorySegment typeIds, Matrix out) {
    ModelEvent event = ModelEvent.start();
    Scratch scratch = call.scratch();
    Matrix hidden = scratch.matrix(rows.rows(), encoder.dim());
    encoder.run(call, rows, ids, typeIds, hidden);
    Matrix first = scratch.matrix(rows.count(), encoder.dim());
    for (long n = 0; n < rows.count(); n++) {
      if (rows.length(n) > 0) {
        hidden.copyRows(rows.start(n), first, n, 1);
      } else {
        first.clearRows(n, 1);
      }
    }
    if (rows.count() > 0) {
      Matrix x = first;
      if (dense != null) {
        x = scratch.matrix(rows.count(), dense.out());
        dense.run(call, first, x);
      }
      if (tanh) {
        tanh(x);
      }
      output.run(call, x, out);
    }
    ModelEvent.finish(event, encoder.name(), (int) rows.count(), rows.rows());
  }

  /** Rows are few here: one for each text. */
  private static void tanh(Matrix rows) {
    for (long n = 0; n < rows.rows(); n++) {
      long begin = n * rows.stride();
      for (long i = begin; i < begin + rows.columns(); i++) {
        float x = rows.segment().getAtIndex(ValueLayout.JAVA_FLOAT, i);
        rows.segment().setAtIndex(ValueLayout.JAVA_FLOAT, i, (float) Math.tanh(x));
      }
    }
  }

  /** Describes the classifier on one line. */
  @Override
  public String toString() {
    return "SequenceClassifier(%s, %d scores)".formatted(encoder, scores());
  }
}
