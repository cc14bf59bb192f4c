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
import java.util.Objects;

/**
 * From token ids to the scores of each token: of labels, or of the vocabulary as BERT's masked
 * language model has them (Devlin et al., 2019). An encoder, a dense layer and a norm that may be
 * missing, and a linear layer.
 *
 * <p>Immutable; any number of threads may share it. Warm calls allocate nothing on either side.
 * Bits do not depend on the number of threads and, with packed weights, on other texts.
 */
public final class TokenScorer {

  private final TextEncoder encoder;
  private final Linear dense;
  private final Norm norm;
  private final Linear output;
  private final Parameters parameters;

  /**
   * Puts a model together.
   *
   * @param encoder makes the last hidden state
   * @param dense applied to each row, its activation included; or null
   * @param norm applied then, or null
   * @param output to scores
   * @throws IllegalArgumentException naming the layer that does not fit the one before
   */
  public TokenScorer(TextEncoder encoder, Linear dense, Norm norm, Linear output) {
    this.encoder = Objects.requireNonNull(encoder, "encoder");
    this.dense = dense;
    this.norm = norm;
    this.output = Objects.requireNonNull(output, "output");
    Parameters.Builder all = new Parameters.Builder().addAll(encoder.parameters());
    long width = encoder.dim();
    if (dense != null) {
      Rows.same("dense.in", width, dense.in());
      all.add("dense", dense.parameters());
      width = dense.out();
    }
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

  /** {@return scores of a token} */
  public int scores() {
    return Math.toIntExact(output.out());
  }

  /**
   * Computes the scores of all tokens.
   *
   * @param workspace scratch for this call, or null to borrow one
   * @param ids {@code [batch, seq]} or {@code [tokens]} INT32, contiguous
   * @param typeIds as of {@link Embedding#forward(Workspace, Tensor, Tensor, Sequences, Tensor)},
   *     or null
   * @param texts how the ids are divided, or null: all of one length
   * @param out receives {@code [batch, seq, scores]} or {@code [tokens, scores]}, rows evenly
   *     spaced; shares no memory with ids, typeIds, texts and weights
   * @throws IllegalArgumentException naming the argument that does not fit; nothing was written
   */
  public void forward(
      Workspace workspace, Tensor ids, Tensor typeIds, Sequences texts, Tensor out) {
    Embedding.checkShape("ids", ids);
    encoder.embedding().checkTypes(typeIds, ids);
    Rows.checkLike("out", out, ids, output.out());
    SharedMemory.refuse("out", out, "ids", ids);
    SharedMemory.refuse("out", out, "typeIds", typeIds);
    Sequences.refuseShared("out", out, texts);
    parameters.refuse("out", out);
    try (LayerCall call = LayerCalls.begin(encoder.runtime(), workspace)) {
      ModelEvent event = ModelEvent.start();
      Scratch scratch = call.scratch();
      SequenceRows rows = Sequences.divide(call, texts, "ids", ids, ids.rank(), MemorySegment.NULL);
      MemorySegment copy = encoder.copyIds(call, ids, rows);
      MemorySegment types = encoder.embedding().copyTypes(call, typeIds, rows);
      Matrix to = Rows.view(call, "out", out);
      Matrix computed = Sequences.target(call, rows, to);
      Matrix x = scratch.matrix(rows.rows(), encoder.dim());
      encoder.run(call, rows, copy, types, x);
      runHead(call, x, rows.rows(), computed);
      Sequences.scatter(rows, computed, to);
      ModelEvent.finish(event, encoder.name(), (int) rows.count(), rows.rows());
    }
  }

  /**
   * Computes the scores of hidden states: the part behind the encoder, for those tokens that are
   * asked for, or for a few at a time where scores are many.
   *
   * @param workspace scratch for this call, or null to borrow one
   * @param hidden {@code [..., dim]}, rows of the encoder's last hidden state, evenly spaced
   * @param out receives {@code [..., scores]}, as many rows, evenly spaced; shares no memory with
   *     hidden and weights
   * @throws IllegalArgumentException naming the argument that does not fit; nothing was written
   */
  public void score(Workspace workspace, Tensor hidden, Tensor out) {
    long count = Rows.count("hidden", hidden, encoder.dim());
    Rows.checkOutput("out", out, count, output.out());
    SharedMemory.refuse("out", out, "hidden", hidden);
    parameters.refuse("out", out);
    try (LayerCall call = LayerCalls.begin(encoder.runtime(), workspace)) {
      Matrix x = Rows.view(call, "hidden", hidden);
      runHead(call, x, count, Rows.view(call, "out", out));
    }
  }

  private void runHead(LayerCall call, Matrix x, long rows, Matrix to) {
    Scratch scratch = call.scratch();
    Matrix last = x;
    if (dense != null) {
      Matrix y = scratch.matrix(rows, dense.out());
      dense.run(call, last, y);
      last = y;
    }
    if (norm != null) {
      Matrix y = scratch.matrix(rows, norm.dim());
      norm.run(call, last, null, null, y);
      last = y;
    }
    output.run(call, last, to);
  }

  /** Describes the model on one line. */
  @Override
  public String toString() {
    return "TokenScorer(%s, %d scores)".formatted(encoder, scores());
  }
}
