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
import java.util.Arrays;
import java.util.List;
import java.util.Objects;

/**
 * From token ids to one vector for each text: an encoder, pooling, and what follows it, as
 * sentence-transformers (Reimers and Gurevych 2019) puts them together.
 *
 * <p>Immutable; any number of threads may share it. Warm calls on native ids allocate nothing on
 * either side.
 */
public final class SentenceEncoder {

  /** What one pass takes of a list of texts: enough for many threads, and bounded memory. */
  static final int PASS_TOKENS = 4096;

  /** What is done with a pooled vector. */
  public sealed interface Step {}

  /** Division by the L2 norm; a zero vector stays zero. */
  public record Normalize() implements Step {}

  /**
   * A linear layer.
   *
   * @param linear weight, bias and activation
   * @param tanh whether the hyperbolic tangent follows
   */
  public record Dense(Linear linear, boolean tanh) implements Step {}

  private final TextEncoder encoder;
  private final Pooling pooling;
  private final Step[] steps;
  private final int dimension;
  private final Parameters parameters;

  /**
   * Puts a model together.
   *
   * @param encoder makes the last hidden state
   * @param pooling how its rows become one
   * @param steps what follows, in this order
   * @throws IllegalArgumentException naming the step that does not fit the one before
   */
  public SentenceEncoder(TextEncoder encoder, Pooling pooling, List<Step> steps) {
    this.encoder = Objects.requireNonNull(encoder, "encoder");
    this.pooling = Objects.requireNonNull(pooling, "pooling");
    this.steps = Rows.copy("steps", steps, Step[]::new);
    Parameters.Builder all = new Parameters.Builder().addAll(encoder.parameters());
    long size = encoder.dim();
    for (int n = 0; n < this.steps.length; n++) {
      if (this.steps[n] instanceof Dense dense) {
        Rows.same("steps[%d].in".formatted(n), size, dense.linear.in());
        size = dense.linear.out();
        all.add("steps[%d]".formatted(n), dense.linear.parameters());
      }
    }
    this.dimension = Math.toIntExact(size);
    this.parameters = all.build();
  }

  /** {@return the part from ids to the last hidden state} */
  public TextEncoder textEncoder() {
    return encoder;
  }

  /** {@return how rows become one} */
  public Pooling pooling() {
    return pooling;
  }

  /** {@return the size of a vector, elements} */
  public int dimension() {
    return dimension;
  }

  /** {@return whether vectors have length 1: the last step divides by the norm} */
  public boolean isNormalized() {
    return steps.length > 0 && steps[steps.length - 1] instanceof Normalize;
  }

  /**
   * Computes the vectors of texts.
   *
   * @param workspace scratch for this call, or null to borrow one
   * @param ids {@code [batch, seq]} or {@code [tokens]} INT32, contiguous
   * @param texts how the ids are divided, or null: all of one length. A text without tokens is
   *     pooled to zeros
   * @param out receives {@code [texts, dimension]}, rows evenly spaced; shares no memory with ids,
   *     texts and weights
   * @throws IllegalArgumentException naming the argument that does not fit; nothing was written
   */
  public void forward(Workspace workspace, Tensor ids, Sequences texts, Tensor out) {
    Embedding.checkShape("ids", ids);
    long count = Rows.count("out", out, dimension);
    Rows.checkOutput("out", out, count, dimension);
    SharedMemory.refuse("out", out, "ids", ids);
    Sequences.refuseShared("out", out, texts);
    parameters.refuse("out", out);
    try (LayerCall call = LayerCalls.begin(encoder.runtime(), workspace)) {
      SequenceRows rows = Sequences.divide(call, texts, "ids", ids, ids.rank(), MemorySegment.NULL);
      Rows.same("out.rows", rows.count(), count);
      run(call, rows, encoder.copyIds(call, ids, rows), Rows.view(call, "out", out));
    }
  }

  /**
   * Computes the vectors of texts of any number, in passes of a few thousand tokens.
   *
   * @param texts the token ids of each
   * @param out receives {@code [texts, dimension]}, rows evenly spaced; shares no memory with
   *     weights
   * @throws IllegalArgumentException if out or an id does not fit. Texts of earlier passes may have
   *     been written
   */
  public void forward(List<int[]> texts, Tensor out) {
    // The caller's list may change meanwhile, and answer differently when it is asked again.
    int[][] own = Rows.copy("texts", texts, int[][]::new);
    Rows.checkOutput("out", out, own.length, dimension);
    parameters.refuse("out", out);
    for (int n = 0; n < own.length; n++) {
      if (own[n].length > encoder.positions()) {
        throw new IllegalArgumentException(
            "texts[%d]: expected at most %d tokens, got %d"
                .formatted(n, encoder.positions(), own[n].length));
      }
    }
    long stride = Rows.stride("out", out);
    try (LayerCall call = LayerCalls.begin(encoder.runtime(), null)) {
      for (int first = 0; first < own.length; ) {
        int end = first + 1;
        int total = own[first].length;
        while (end < own.length && total + own[end].length <= PASS_TOKENS) {
          total += own[end++].length;
        }
        long mark = call.scratch().mark();
        MemorySegment at = out.segment().asSlice(first * stride * Float.BYTES);
        run(
            call,
            first,
            Arrays.asList(own).subList(first, end),
            total,
            call.scratch().view(at, end - first, dimension, stride));
        call.scratch().release(mark);
        first = end;
      }
    }
  }

  /**
   * Computes the vector of one text, as an array on the Java heap.
   *
   * @param ids its tokens
   * @return a new array
   * @throws IllegalArgumentException if they are too many, or an id is unknown
   */
  public float[] forward(int... ids) {
    Objects.requireNonNull(ids, "ids");
    if (ids.length > encoder.positions()) {
      throw new IllegalArgumentException(
          "ids: expected at most %d tokens, got %d".formatted(encoder.positions(), ids.length));
    }
    float[] vector = new float[dimension];
    try (LayerCall call = LayerCalls.begin(encoder.runtime(), null)) {
      Matrix out = call.scratch().matrix(1, dimension);
      run(call, -1, List.of(ids), ids.length, out);
      MemorySegment.copy(out.segment(), ValueLayout.JAVA_FLOAT, 0, vector, 0, vector.length);
    }
    return vector;
  }

  /** Of texts that follow the first ones of the caller's; of the only one if first is -1. */
  private void run(LayerCall call, int first, List<int[]> texts, int total, Matrix out) {
    Scratch scratch = call.scratch();
    MemorySegment ids = scratch.ints(total);
    MemorySegment offsets = scratch.ints(texts.size() + 1);
    int count = 0;
    offsets.setAtIndex(ValueLayout.JAVA_INT, 0, 0);
    for (int n = 0; n < texts.size(); n++) {
      int[] tokens = texts.get(n);
      MemorySegment copy =
          ids.asSlice((long) count * Integer.BYTES, (long) tokens.length * Integer.BYTES);
      MemorySegment.copy(tokens, 0, copy, ValueLayout.JAVA_INT, 0, tokens.length);
      encoder.embedding().requireKnown(first + n, copy);
      count += tokens.length;
      offsets.setAtIndex(ValueLayout.JAVA_INT, n + 1, count);
    }
    run(call, SequenceRows.ragged(scratch, offsets, texts.size(), MemorySegment.NULL), ids, out);
  }

  private void run(LayerCall call, SequenceRows rows, MemorySegment ids, Matrix out) {
    ModelEvent event = ModelEvent.start();
    Scratch scratch = call.scratch();
    Matrix hidden = scratch.matrix(rows.rows(), encoder.dim());
    encoder.run(call, rows, ids, hidden);
    // A division that follows pooling at once is a part of it.
    boolean unit = steps.length > 0 && steps[0] instanceof Normalize;
    int done = unit ? 1 : 0;
    Matrix x = done == steps.length ? out : scratch.matrix(rows.count(), encoder.dim());
    call.rows().pool(pooling == Pooling.CLS, unit, hidden, rows.offsets(scratch), x);
    for (int n = done; n < steps.length && rows.count() > 0; n++) {
      long columns = steps[n] instanceof Dense dense ? dense.linear.out() : x.columns();
      Matrix y = n + 1 == steps.length ? out : scratch.matrix(rows.count(), columns);
      run(call, steps[n], x, y);
      x = y;
    }
    ModelEvent.finish(event, encoder.name(), (int) rows.count(), rows.rows());
  }

  /** Rows are few here: one for each text. */
  private static void run(LayerCall call, Step step, Matrix x, Matrix y) {
    switch (step) {
      case Dense dense -> {
        dense.linear.run(call, x, y);
        if (dense.tanh) {
          tanh(y);
        }
      }
      case Normalize normalize -> {
        MemorySegment offsets = call.scratch().ints(x.rows() + 1);
        for (long n = 0; n <= x.rows(); n++) {
          offsets.setAtIndex(ValueLayout.JAVA_INT, n, (int) n);
        }
        call.rows().pool(true, true, x, offsets, y);
      }
    }
  }

  private static void tanh(Matrix rows) {
    for (long n = 0; n < rows.rows(); n++) {
      long begin = n * rows.stride();
      for (long i = begin; i < begin + rows.columns(); i++) {
        float x = rows.segment().getAtIndex(ValueLayout.JAVA_FLOAT, i);
        rows.segment().setAtIndex(ValueLayout.JAVA_FLOAT, i, (float) Math.tanh(x));
      }
    }
  }

  /** Describes the model on one line. */
  @Override
  public String toString() {
    return "SentenceEncoder(%s, %s, %d)".formatted(encoder, pooling, dimension);
  }
}
