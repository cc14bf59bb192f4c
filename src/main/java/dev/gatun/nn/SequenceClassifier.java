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
 * al., 2019): an encoder, a dense layer on the first token of each text, and a linear layer; or, as
 * ModernBERT does it (Warner et al., 2024), with another pooling and a norm in between.
 *
 * <p>Immutable; any number of threads may share it. Warm calls allocate nothing on either side.
 * Bits do not depend on the number of threads and, with packed weights, on other texts.
 */
public final class SequenceClassifier {

  private final TextEncoder encoder;
  private final Pooling pooling;
  private final Linear dense;
  private final boolean tanh;
  private final Norm norm;
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
    this(encoder, Pooling.CLS, dense, tanh, null, output);
  }

  /**
   * Puts a classifier together that pools in another way, or normalizes.
   *
   * @param encoder makes the last hidden state
   * @param pooling how its rows become one for each text
   * @param dense applied to that, its activation included; or null
   * @param tanh whether the hyperbolic tangent follows
   * @param norm applied then, or null
   * @param output to scores
   * @throws IllegalArgumentException naming the layer that does not fit the one before
   */
  public SequenceClassifier(
      TextEncoder encoder, Pooling pooling, Linear dense, boolean tanh, Norm norm, Linear output) {
    this.encoder = Objects.requireNonNull(encoder, "encoder");
    this.pooling = Objects.requireNonNull(pooling, "pooling");
    this.dense = dense;
    this.tanh = tanh;
    this.norm = norm;
    this.output = Objects.requireNonNull(output, "output");
    Parameters.Builder all = new Parameters.Builder().addAll(encoder.parameters());
    if (dense != null) {
      Rows.same("dense.in", encoder.dim(), dense.in());
      all.add("dense", dense.parameters());
    }
    long width = dense == null ? encoder.dim() : dense.out();
    if (norm != null) {
      Rows.same("norm", width, norm.dim());
    }
    Rows.same("output.in", width, output.in());
    this.parameters = all.add("norm", norm).add("output", output.parameters()).build();
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
    if (rows.count() > 0) {
      pool(call, rows, hidden, first);
      Matrix x = first;
      if (dense != null) {
        x = scratch.matrix(rows.count(), dense.out());
        dense.run(call, first, x);
      }
      if (tanh) {
        tanh(x);
      }
      if (norm != null) {
        Matrix y = scratch.matrix(rows.count(), norm.dim());
        norm.run(call, x, null, null, y);
        x = y;
      }
      output.run(call, x, out);
    }
    ModelEvent.finish(event, encoder.name(), (int) rows.count(), rows.rows());
  }

  /** Zeros of a text without tokens. */
  private void pool(LayerCall call, SequenceRows rows, Matrix hidden, Matrix to) {
    if (pooling != Pooling.CLS) {
      call.rows().pool(pooling.rule, 0, false, hidden, rows.offsets(call.scratch()), to);
      return;
    }
    for (long n = 0; n < rows.count(); n++) {
      if (rows.length(n) > 0) {
        hidden.copyRows(rows.start(n), to, n, 1);
      } else {
        to.clearRows(n, 1);
      }
    }
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
