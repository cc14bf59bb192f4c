package dev.gatun.nn;

import dev.gatun.Causal;
import dev.gatun.DType;
import dev.gatun.GatunRuntime;
import dev.gatun.Tensor;
import dev.gatun.WeightFormat;
import dev.gatun.Workspace;
import dev.gatun.internal.LayerCall;
import dev.gatun.internal.LayerCalls;
import dev.gatun.internal.Matrix;
import dev.gatun.internal.SequenceRows;
import dev.gatun.internal.SharedMemory;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.SegmentAllocator;
import java.util.Objects;

/**
 * A layer whose rows are seen one after the other: the state after a row is all that the next one
 * knows of those before. The input's product is made for all rows at once; the state's product and
 * the gates are n steps for a sequence of n rows, each of which waits for the one before, whatever
 * the number of threads. So two rows that are n apart are n steps apart, where attention has one.
 *
 * <p>Sequences of a call take their steps together, so that each step reads the state's weight
 * once; a sequence that has ended takes no part in the rest, and costs nothing. Each has, with
 * packed weights, the bits that it has alone.
 *
 * <p>Layers are stacked by running them one after the other. Immutable; any number of threads may
 * share a layer. Warm calls allocate nothing.
 */
public abstract sealed class RecurrentLayer extends SequenceMixer permits LstmLayer, GruLayer {

  /** Which end of a sequence a layer begins at. */
  public enum Direction {
    /** The first row, so that a row knows of those before it. */
    FORWARD,
    /** The last row of each sequence, so that a row knows of those behind it. */
    BACKWARD,
    /** Both, with weights of their own; the outputs lie side by side, FORWARD first. */
    BIDIRECTIONAL
  }

  private final GatunRuntime runtime;
  private final Direction direction;
  private final RecurrentPass[] passes;
  private final long in;
  private final long hidden;
  private final Parameters parameters;

  RecurrentLayer(GatunRuntime runtime, Direction direction, RecurrentPass... passes) {
    this.runtime = Objects.requireNonNull(runtime, "runtime");
    this.direction = Objects.requireNonNull(direction, "direction");
    this.passes = passes;
    this.in = passes[0].in();
    this.hidden = passes[0].hidden();
    Parameters.Builder all = new Parameters.Builder();
    for (RecurrentPass pass : passes) {
      Rows.same("backward.weightIh: size of an input row", in, pass.in());
      Rows.same("backward.weightHh: hidden size", hidden, pass.hidden());
      all.addAll(pass.parameters());
    }
    this.parameters = all.build();
  }

  static Direction one(Direction direction) {
    if (Objects.requireNonNull(direction, "direction") == Direction.BIDIRECTIONAL) {
      throw new IllegalArgumentException(
          "direction: expected FORWARD or BACKWARD for one set of weights, got BIDIRECTIONAL");
    }
    return direction;
  }

  /**
   * The same layer with its weights packed, which keeps each sequence's bits apart from others and
   * reads fewer bytes in a step.
   *
   * @param memory gives the memory of the packed weights; biases stay where they are
   * @param format what the weights become; VIEW changes nothing
   * @return a new layer, or this one if nothing is to be changed
   * @throws IllegalArgumentException if the weights are packed in another format already
   */
  public abstract RecurrentLayer packed(SegmentAllocator memory, WeightFormat format);

  RecurrentPass[] packedPasses(SegmentAllocator memory, WeightFormat format) {
    RecurrentPass[] packed = new RecurrentPass[passes.length];
    for (int n = 0; n < packed.length; n++) {
      packed[n] = passes[n].packed(memory, format);
    }
    return packed;
  }

  RecurrentPass pass(int n) {
    return passes[n];
  }

  @Override
  Parameters parameters() {
    return parameters;
  }

  @Override
  Causal causal() {
    return direction == Direction.FORWARD ? Causal.BOTTOM_RIGHT : Causal.NONE;
  }

  /** {@return where it runs} */
  public final GatunRuntime runtime() {
    return runtime;
  }

  /** {@return which way it goes} */
  public final Direction direction() {
    return direction;
  }

  @Override
  public final long in() {
    return in;
  }

  /** {@return the size of a state's h} */
  public final long hidden() {
    return hidden;
  }

  /** {@return the size of a row of out: hidden, or twice that in both directions} */
  @Override
  public final long out() {
    return passes.length * hidden;
  }

  /**
   * {@return floats of a sequence's state: for each direction h, of {@link #hidden} floats, and
   * behind it c of as many where there is one}
   */
  public final long stateSize() {
    return stateFloats();
  }

  /** {@inheritDoc} From a state of zeros. */
  @Override
  public final void forward(Workspace workspace, Tensor x, Sequences sequences, Tensor out) {
    forward(workspace, x, sequences, null, null, out);
  }

  /**
   * Runs the layer from one state to another.
   *
   * @param workspace scratch for this call, or null to borrow one
   * @param x {@code [batch, seq, in]} or {@code [tokens, in]}, rows evenly spaced
   * @param sequences how the rows are divided, or null: all of one length
   * @param first {@code [sequences, stateSize]}, contiguous, or null: zeros
   * @param last receives {@code [sequences, stateSize]}, contiguous, the state of each sequence
   *     behind its rows; may be first itself; or null: it is not wanted
   * @param out receives {@code [batch, seq, out]} or {@code [tokens, out]}, rows evenly spaced; may
   *     be x itself, but no other part of its memory, and shares none with other arguments and
   *     weights
   * @throws IllegalArgumentException naming the argument that does not fit; nothing was written
   */
  public final void forward(
      Workspace workspace, Tensor x, Sequences sequences, Tensor first, Tensor last, Tensor out) {
    Rows.checkTokens("x", x, in);
    Rows.checkLike("out", out, x, out());
    checkMemory(x, sequences, first, last, out);
    try (LayerCall call = LayerCalls.begin(runtime, workspace)) {
      SequenceRows rows =
          Sequences.divide(call, sequences, "x", x, x.rank() - 1, MemorySegment.NULL);
      checkState("first", first, rows.count());
      checkState("last", last, rows.count());
      Matrix to = Rows.view(call, "out", out);
      Matrix compact = Sequences.gather(call, rows, Rows.view(call, "x", x));
      Matrix computed = Sequences.target(call, rows, to);
      Matrix all = call.scratch().matrix(rows.rows(), projected());
      Matrix context = call.scratch().matrix(rows.rows(), contextColumns());
      append(
          call, rows, compact, all, context, state(call, rows, first, last), computed, false);
      call.steps().run();
      Sequences.scatter(rows, computed, to);
    }
  }

  /**
   * One row of each sequence, forwards.
   *
   * @param workspace scratch for this call, or null to borrow one
   * @param x {@code [sequences, in]}, rows evenly spaced
   * @param state {@code [sequences, stateSize]}, contiguous, zeros before the first step: it is
   *     read, and has this row afterwards
   * @param out receives {@code [sequences, out]}, rows evenly spaced; may be x itself, but no other
   *     part of its memory, and shares none with the state and weights
   * @throws IllegalArgumentException naming the argument that does not fit; nothing was written
   * @throws IllegalStateException if the layer is not {@link Direction#FORWARD}
   */
  public final void step(Workspace workspace, Tensor x, Tensor state, Tensor out) {
    if (direction != Direction.FORWARD) {
      throw new IllegalStateException(
          "expected a layer FORWARD for single steps, this one is " + direction);
    }
    Objects.requireNonNull(state, "state");
    Rows.checkTokens("x", x, in);
    if (x.rank() != 2) {
      throw Rows.bad("x", "[sequences, %d] float32".formatted(in), x);
    }
    Rows.checkLike("out", out, x, out());
    checkState("state", state, x.size(0));
    if (state.isReadOnly()) {
      throw readOnly("state");
    }
    SharedMemory.refuse("state", state, "x", x);
    SharedMemory.refuse("out", out, "state", state);
    SharedMemory.refuseUnlessSame("out", out, "x", x);
    parameters.refuse("state", state);
    parameters.refuse("out", out);
    try (LayerCall call = LayerCalls.begin(runtime, workspace)) {
      SequenceRows rows = SequenceRows.strided(call.scratch(), x.size(0), 1, 1, 1);
      Matrix to = Rows.view(call, "out", out);
      Matrix from = Rows.view(call, "x", x);
      Matrix all = call.scratch().matrix(rows.rows(), projected());
      append(call, rows, from, all, null, state.segment(), to, false);
      call.steps().run();
    }
  }

  private void checkMemory(
      Tensor x, Sequences sequences, Tensor first, Tensor last, Tensor out) {
    SharedMemory.refuseUnlessSame("out", out, "x", x);
    Sequences.refuseShared("out", out, sequences);
    parameters.refuse("out", out);
    if (first != null) {
      SharedMemory.refuse("out", out, "first", first);
    }
    if (last == null) {
      return;
    }
    if (last.isReadOnly()) {
      throw readOnly("last");
    }
    SharedMemory.refuse("last", last, "x", x);
    SharedMemory.refuse("last", last, "out", out);
    Sequences.refuseShared("last", last, sequences);
    parameters.refuse("last", last);
    if (first != null) {
      SharedMemory.refuseUnlessSame("last", last, "first", first);
    }
  }

  private static IllegalArgumentException readOnly(String name) {
    return new IllegalArgumentException(
        name + ": expected memory that can be written, got a read-only segment");
  }

  private void checkState(String name, Tensor state, long count) {
    if (state != null
        && (state.dtype() != DType.FLOAT32
            || state.rank() != 2
            || state.size(0) != count
            || state.size(1) != stateFloats()
            || !state.isContiguous())) {
      throw Rows.bad(name, "[%d, %d] float32, contiguous".formatted(count, stateFloats()), state);
    }
  }

  /** What the call changes: the last state, or scratch that begins as the first one. */
  private MemorySegment state(LayerCall call, SequenceRows rows, Tensor first, Tensor last) {
    if (first == null && last == null) {
      return MemorySegment.NULL;
    }
    Matrix state =
        last != null
            ? call.scratch().view(last.segment(), rows.count(), stateFloats(), stateFloats())
            : call.scratch().matrix(rows.count(), stateFloats());
    if (first == null) {
      state.clearRows(0, rows.count());
    } else if (first != last) {
      call.scratch()
          .view(first.segment(), rows.count(), stateFloats(), stateFloats())
          .copyRows(0, state, 0, rows.count());
    }
    return state.segment();
  }

  // ---- as a part of others -------------------------------------------------------------------

  /** Of all inputs' gates. */
  @Override
  long projected() {
    return passes.length * passes[0].gates();
  }

  /** Of the outputs of both directions. */
  @Override
  long contextColumns() {
    return passes.length > 1 ? out() : 0;
  }

  @Override
  long stateFloats() {
    return passes.length * passes[0].stateFloats();
  }

  @Override
  void append(
      LayerCall call,
      SequenceRows rows,
      Matrix x,
      Matrix all,
      Matrix context,
      MemorySegment state,
      Matrix out,
      boolean passing) {
    for (int n = 0; n < passes.length; n++) {
      passes[n].project(call, x, part(all, n, passes[n].gates()));
    }
    call.steps().runSoFar();
    long mark = call.scratch().mark();
    MemorySegment order = call.scratch().ints(rows.count());
    MemorySegment running = RecurrentPass.running(call.scratch(), rows, order);
    for (int n = 0; n < passes.length; n++) {
      boolean backward = direction == Direction.BACKWARD || n > 0;
      Matrix to = passes.length == 1 ? out : part(context, n, hidden);
      passes[n].run(
          call,
          rows,
          running,
          order,
          backward,
          part(all, n, passes[n].gates()),
          state,
          n * passes[n].stateFloats(),
          stateFloats(),
          to);
    }
    call.scratch().release(mark);
    if (passes.length > 1) {
      context.copyRows(0, out, 0, rows.rows());
    }
  }

  private Matrix part(Matrix all, int n, long columns) {
    return passes.length == 1 ? all : all.part(n, n * columns, columns);
  }
}
