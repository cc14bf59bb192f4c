package dev.gatun.nn;

import dev.gatun.Tensor;
import dev.gatun.Workspace;
import dev.gatun.internal.LayerCall;
import dev.gatun.internal.LayerCalls;
import dev.gatun.internal.Matrix;
import dev.gatun.internal.ModelEvent;
import dev.gatun.internal.PoolRule;
import dev.gatun.internal.Scratch;
import dev.gatun.internal.SequenceRows;
import dev.gatun.internal.SharedMemory;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import java.util.Arrays;
import java.util.List;
import java.util.Objects;
import java.util.stream.Collectors;
import java.util.stream.Stream;

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
   * Layer normalization.
   *
   * @param norm of vectors of this size
   */
  public record Normalization(Norm norm) implements Step {}

  /** What may follow a linear layer beside the activations that it has itself. */
  public enum Squash {
    /** Nothing. */
    NONE,
    /** The hyperbolic tangent. */
    TANH,
    /** 1 / (1 + e⁻ˣ). */
    SIGMOID
  }

  /**
   * A linear layer.
   *
   * @param linear weight, bias and activation
   * @param squash what follows
   */
  public record Dense(Linear linear, Squash squash) implements Step {}

  private final TextEncoder encoder;
  private final Pooling[] poolings;
  private final Step[] steps;
  private final int dimension;
  private final Parameters parameters;

  /**
   * Puts a model together that pools in one way.
   *
   * @param encoder makes the last hidden state
   * @param pooling how its rows become one
   * @param steps what follows, in this order
   * @throws IllegalArgumentException naming the step that does not fit the one before
   */
  public SentenceEncoder(TextEncoder encoder, Pooling pooling, List<Step> steps) {
    this(encoder, List.of(pooling), steps);
  }

  /**
   * Puts a model together.
   *
   * @param encoder makes the last hidden state
   * @param poolings how its rows become one; the results of several are put side by side, in this
   *     order
   * @param steps what follows, in this order
   * @throws IllegalArgumentException if there is no pooling, or naming the step that does not fit
   *     the one before
   */
  public SentenceEncoder(TextEncoder encoder, List<Pooling> poolings, List<Step> steps) {
    this.encoder = Objects.requireNonNull(encoder, "encoder");
    this.poolings = Rows.copy("poolings", poolings, Pooling[]::new);
    this.steps = Rows.copy("steps", steps, Step[]::new);
    if (this.poolings.length == 0) {
      throw new IllegalArgumentException("poolings: expected at least one, got none");
    }
    Parameters.Builder all = new Parameters.Builder().addAll(encoder.parameters());
    long size = pooledSize();
    for (int n = 0; n < this.steps.length; n++) {
      if (this.steps[n] instanceof Dense dense) {
        Rows.same("steps[" + n + "].in", size, dense.linear.in());
        size = dense.linear.out();
        all.add("steps[" + n + "]", dense.linear.parameters());
      } else if (this.steps[n] instanceof Normalization layer) {
        Rows.same("steps[" + n + "].dim", size, layer.norm.dim());
        all.add("steps[" + n + "]", layer.norm.parameters());
      }
    }
    this.dimension = Math.toIntExact(size);
    this.parameters = all.build();
  }

  /** What one pooling makes, or several side by side. */
  private long pooledSize() {
    return Math.multiplyExact(encoder.dim(), (long) poolings.length);
  }

  /** {@return the part from ids to the last hidden state} */
  public TextEncoder textEncoder() {
    return encoder;
  }

  /** {@return how rows become one; the results of several stand side by side} */
  public List<Pooling> poolings() {
    return List.of(poolings);
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
    forward(workspace, ids, texts, 0, out);
  }

  /**
   * Computes the vectors of texts that begin with a prompt which counts for attention alone.
   * Poolings other than {@link Pooling#CLS} leave its tokens out (Su et al. 2022, Instructor).
   *
   * @param workspace scratch for this call, or null to borrow one
   * @param ids {@code [batch, seq]} or {@code [tokens]} INT32, contiguous
   * @param texts how the ids are divided, or null: all of one length. A text without other tokens
   *     is pooled to zeros
   * @param promptTokens how many tokens at the beginning of each text are the prompt's, 0 or more
   * @param out receives {@code [texts, dimension]}, rows evenly spaced; shares no memory with ids,
   *     texts and weights
   * @throws IllegalArgumentException naming the argument that does not fit; nothing was written
   */
  public void forward(
      Workspace workspace, Tensor ids, Sequences texts, int promptTokens, Tensor out) {
    requirePrompt(promptTokens);
    Embedding.checkShape("ids", ids);
    long count = Rows.count("out", out, dimension);
    Rows.checkOutput("out", out, count, dimension);
    SharedMemory.refuse("out", out, "ids", ids);
    Sequences.refuseShared("out", out, texts);
    parameters.refuse("out", out);
    try (LayerCall call = LayerCalls.begin(encoder.runtime(), workspace)) {
      SequenceRows rows = Sequences.divide(call, texts, "ids", ids, ids.rank(), MemorySegment.NULL);
      Rows.same("out.rows", rows.count(), count);
      run(call, rows, encoder.copyIds(call, ids, rows), promptTokens, Rows.view(call, "out", out));
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
    forward(texts, 0, out);
  }

  /**
   * Computes the vectors of texts of any number that begin with a prompt which counts for attention
   * alone.
   *
   * @param texts the token ids of each
   * @param promptTokens how many of them at the beginning of each text are the prompt's, 0 or more
   * @param out receives {@code [texts, dimension]}, rows evenly spaced; shares no memory with
   *     weights
   * @throws IllegalArgumentException if an argument or an id does not fit. Texts of earlier passes
   *     may have been written
   */
  public void forward(List<int[]> texts, int promptTokens, Tensor out) {
    requirePrompt(promptTokens);
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
            promptTokens,
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
    return forward(ids, 0);
  }

  /**
   * Computes the vector of one text that begins with a prompt which counts for attention alone.
   *
   * @param ids its tokens
   * @param promptTokens how many of them, at the beginning, are the prompt's, 0 or more
   * @return a new array
   * @throws IllegalArgumentException if they are too many, or an id is unknown
   */
  public float[] forward(int[] ids, int promptTokens) {
    requirePrompt(promptTokens);
    Objects.requireNonNull(ids, "ids");
    if (ids.length > encoder.positions()) {
      throw new IllegalArgumentException(
          "ids: expected at most %d tokens, got %d".formatted(encoder.positions(), ids.length));
    }
    float[] vector = new float[dimension];
    try (LayerCall call = LayerCalls.begin(encoder.runtime(), null)) {
      Matrix out = call.scratch().matrix(1, dimension);
      run(call, -1, List.of(ids), ids.length, promptTokens, out);
      MemorySegment.copy(out.segment(), ValueLayout.JAVA_FLOAT, 0, vector, 0, vector.length);
    }
    return vector;
  }

  private static void requirePrompt(int tokens) {
    if (tokens < 0) {
      throw new IllegalArgumentException("promptTokens: expected 0 or more, got " + tokens);
    }
  }

  /** Of texts that follow the first ones of the caller's; of the only one if first is -1. */
  private void run(
      LayerCall call, int first, List<int[]> texts, int total, int promptTokens, Matrix out) {
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
    SequenceRows rows = SequenceRows.ragged(scratch, offsets, texts.size(), MemorySegment.NULL);
    run(call, rows, ids, promptTokens, out);
  }

  private void run(
      LayerCall call, SequenceRows rows, MemorySegment ids, int promptTokens, Matrix out) {
    ModelEvent event = ModelEvent.start();
    Scratch scratch = call.scratch();
    Matrix hidden = scratch.matrix(rows.rows(), encoder.dim());
    encoder.run(call, rows, ids, hidden);
    // A division that follows pooling at once is a part of it, where there is one.
    boolean unit = poolings.length == 1 && steps.length > 0 && steps[0] instanceof Normalize;
    int done = unit ? 1 : 0;
    Matrix x = done == steps.length ? out : scratch.matrix(rows.count(), pooledSize());
    if (rows.count() > 0) {
      pool(call, hidden, rows.offsets(scratch), promptTokens, unit, x);
    }
    for (int n = done; n < steps.length && rows.count() > 0; n++) {
      long columns = steps[n] instanceof Dense dense ? dense.linear.out() : x.columns();
      Matrix y = n + 1 == steps.length ? out : scratch.matrix(rows.count(), columns);
      run(call, steps[n], x, y);
      x = y;
    }
    ModelEvent.finish(event, encoder.name(), (int) rows.count(), rows.rows());
  }

  private void pool(
      LayerCall call,
      Matrix hidden,
      MemorySegment offsets,
      int promptTokens,
      boolean unit,
      Matrix out) {
    for (int n = 0; n < poolings.length; n++) {
      Matrix part = poolings.length == 1 ? out : out.part(0, n * encoder.dim(), encoder.dim());
      call.rows().pool(poolings[n].rule, promptTokens, unit, hidden, offsets, part);
    }
  }

  /** Rows are few here: one for each text. */
  private static void run(LayerCall call, Step step, Matrix x, Matrix y) {
    switch (step) {
      case Dense dense -> {
        dense.linear.run(call, x, y);
        if (dense.squash != Squash.NONE) {
          squash(dense.squash == Squash.TANH, y);
        }
      }
      case Normalization layer -> layer.norm.run(call, x, null, null, y);
      case Normalize normalize -> {
        MemorySegment offsets = call.scratch().ints(x.rows() + 1);
        for (long n = 0; n <= x.rows(); n++) {
          offsets.setAtIndex(ValueLayout.JAVA_INT, n, (int) n);
        }
        call.rows().pool(PoolRule.FIRST, 0, true, x, offsets, y);
      }
    }
  }

  private static void squash(boolean tanh, Matrix rows) {
    for (long n = 0; n < rows.rows(); n++) {
      long begin = n * rows.stride();
      for (long i = begin; i < begin + rows.columns(); i++) {
        float x = rows.segment().getAtIndex(ValueLayout.JAVA_FLOAT, i);
        double y = tanh ? Math.tanh(x) : 1 / (1 + Math.exp(-x));
        rows.segment().setAtIndex(ValueLayout.JAVA_FLOAT, i, (float) y);
      }
    }
  }

  /** Describes the model on one line. */
  @Override
  public String toString() {
    String pooled = Stream.of(poolings).map(Pooling::name).collect(Collectors.joining("+"));
    return "SentenceEncoder(%s, %s, %d)".formatted(encoder, pooled, dimension);
  }
}
