package dev.gatun.nn;

import dev.gatun.Activation;
import dev.gatun.GatunRuntime;
import dev.gatun.Tensor;
import dev.gatun.WeightFormat;
import dev.gatun.internal.CellOps;
import dev.gatun.internal.CellOps.Cell;
import dev.gatun.internal.LayerCall;
import dev.gatun.internal.Matrix;
import dev.gatun.internal.Scratch;
import dev.gatun.internal.SequenceRows;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.SegmentAllocator;
import java.lang.foreign.ValueLayout;

/**
 * One direction of a recurrent layer.
 *
 * <p>At step t the sequences that have more than t rows are running. States lie in the order of
 * lengths, the longest first, so that those of a step are always the first ones: one product and
 * one call of the cell, without a gap. In the input's product and in the output rows stay where
 * they are; the cell finds them by their places.
 */
final class RecurrentPass {

  private final Cell cell;
  private final Linear input;

  /** Of the state: all gates, or r and z where n has a product of its own. */
  private final Linear gates;

  /** Of the state behind the reset gate; or null. */
  private final Linear candidate;

  private final long hidden;
  private final Parameters parameters;

  private RecurrentPass(Cell cell, Linear input, Linear gates, Linear candidate) {
    this.cell = cell;
    this.input = input;
    this.gates = gates;
    this.candidate = candidate;
    this.hidden = gates.in();
    Parameters.Builder all =
        new Parameters.Builder().addAll(input.parameters()).addAll(gates.parameters());
    this.parameters = (candidate == null ? all : all.addAll(candidate.parameters())).build();
  }

  /** Of weights whose names in messages have a prefix. */
  static RecurrentPass of(GatunRuntime runtime, String prefix, Cell cell, RecurrentWeights weights) {
    Tensor ih = matrix(prefix + "weightIh", weights.weightIh());
    Tensor hh = matrix(prefix + "weightHh", weights.weightHh());
    long hidden = hh.size(1);
    long rows = cell.blocks() * hidden;
    if (hh.size(0) != rows) {
      throw Rows.bad(
          prefix + "weightHh",
          "[%d, %d] float32, %d gates of as many rows as columns"
              .formatted(rows, hidden, cell.blocks()),
          hh);
    }
    if (ih.size(0) != rows) {
      throw Rows.bad(prefix + "weightIh", "[%d, in] float32".formatted(rows), ih);
    }
    Rows.vector(prefix + "biasHh", weights.biasHh(), rows);
    Linear input =
        linear(runtime, prefix + "weightIh", ih, prefix + "biasIh", weights.biasIh(), 0, rows);
    boolean apart = cell == Cell.GRU_UPDATE;
    long together = apart ? 2 * hidden : rows;
    String name = prefix + "weightHh";
    String bias = prefix + "biasHh";
    return new RecurrentPass(
        cell,
        input,
        linear(runtime, name, hh, bias, weights.biasHh(), 0, together),
        apart ? linear(runtime, name, hh, bias, weights.biasHh(), together, rows) : null);
  }

  private static Tensor matrix(String name, Tensor tensor) {
    if (tensor.rank() != 2 || tensor.size(0) < 1 || tensor.size(1) < 1) {
      throw Rows.bad(name, "[gates · hidden, columns] float32", tensor);
    }
    return tensor;
  }

  /** Some of the rows. */
  private static Linear linear(
      GatunRuntime runtime,
      String weightName,
      Tensor weight,
      String biasName,
      Tensor bias,
      long from,
      long to) {
    Rows.vector(biasName, bias, weight.size(0));
    return new Linear(
        runtime,
        weightName,
        weight.slice(0, from, to).transpose(0, 1),
        biasName,
        bias == null ? null : bias.slice(0, from, to),
        Activation.NONE);
  }

  RecurrentPass packed(SegmentAllocator memory, WeightFormat format) {
    return new RecurrentPass(
        cell,
        input.packed(memory, format),
        gates.packed(memory, format),
        candidate == null ? null : candidate.packed(memory, format));
  }

  boolean isPacked() {
    return gates.isPacked();
  }

  Parameters parameters() {
    return parameters;
  }

  long in() {
    return input.in();
  }

  long hidden() {
    return hidden;
  }

  /** Columns of the input's product. */
  long gates() {
    return input.out();
  }

  /** Of one sequence: h, and c behind it where there is one. */
  long stateFloats() {
    return cell == Cell.LSTM ? 2 * hidden : hidden;
  }

  /** The input's product of all rows, as one of the call's steps. */
  void project(LayerCall call, Matrix x, Matrix inputs) {
    input.append(call, x, inputs, false);
  }

  // ---- which sequences are running -----------------------------------------------------------

  /**
   * How many sequences have n rows or more, for each n up to the longest; order receives the
   * sequences from the longest on.
   */
  static MemorySegment running(Scratch scratch, SequenceRows rows, MemorySegment order) {
    long longest = rows.longest();
    MemorySegment running = scratch.ints(longest + 1);
    for (long n = 0; n <= longest; n++) {
      running.setAtIndex(ValueLayout.JAVA_INT, n, 0);
    }
    for (long n = 0; n < rows.count(); n++) {
      add(running, rows.length(n), 1);
    }
    int longer = 0;
    for (long n = longest; n >= 0; n--) {
      int these = running.getAtIndex(ValueLayout.JAVA_INT, n);
      running.setAtIndex(ValueLayout.JAVA_INT, n, longer);
      longer += these;
    }
    // Each length counts on from those that are longer, until it has its own, too.
    for (long n = 0; n < rows.count(); n++) {
      order.setAtIndex(ValueLayout.JAVA_INT, add(running, rows.length(n), 1), (int) n);
    }
    return running;
  }

  private static int add(MemorySegment counts, long at, int more) {
    int count = counts.getAtIndex(ValueLayout.JAVA_INT, at);
    counts.setAtIndex(ValueLayout.JAVA_INT, at, count + more);
    return count;
  }

  // ---- steps ---------------------------------------------------------------------------------

  /**
   * All steps.
   *
   * @param order of {@link #running}
   * @param inputs {@code [rows, gates()]}
   * @param state {@code [sequences, stateRow]} before and after, this pass's from column first on;
   *     or NULL
   * @param out receives {@code [rows, hidden()]}
   */
  void run(
      LayerCall call,
      SequenceRows rows,
      MemorySegment running,
      MemorySegment order,
      boolean backward,
      Matrix inputs,
      MemorySegment state,
      long first,
      long stateRow,
      Matrix out) {
    Scratch scratch = call.scratch();
    long mark = scratch.mark();
    long count = rows.count();
    Matrix h = scratch.matrix(count, hidden);
    Matrix c = cell == Cell.LSTM ? scratch.matrix(count, hidden) : null;
    Matrix all = scratch.matrix(count, cell.blocks() * hidden);
    Matrix reset = candidate == null ? null : scratch.matrix(count, hidden);
    if (candidate != null) {
      all.part(0, 0, 2 * hidden);
      all.part(1, 2 * hidden, hidden);
    }
    MemorySegment places = scratch.ints(count);
    begin(order, state, first, stateRow, h, c);
    for (long step = 0; step < rows.longest(); step++) {
      int some = running.getAtIndex(ValueLayout.JAVA_INT, step + 1);
      place(rows, order, some, backward, step, places);
      step(call, some, inputs, places, all, h, c, reset, out);
    }
    end(order, state, first, stateRow, h, c);
    scratch.release(mark);
  }

  /** Where the rows of a step are. */
  private static void place(
      SequenceRows rows,
      MemorySegment order,
      int some,
      boolean backward,
      long step,
      MemorySegment places) {
    for (long n = 0; n < some; n++) {
      int sequence = order.getAtIndex(ValueLayout.JAVA_INT, n);
      long row = backward ? rows.length(sequence) - 1 - step : step;
      places.setAtIndex(
          ValueLayout.JAVA_INT, n, (int) (rows.start(sequence) + row * rows.rowStep()));
    }
  }

  /**
   * The first ones of h and c take a step.
   *
   * @param places the rows of inputs and out that each is at; NULL: its own number
   * @param all {@code [sequences, gates()]}, of which parts 0 and 1 are the gates and the candidate
   *     where they are made apart
   * @param reset {@code [sequences, hidden()]} where they are
   */
  void step(
      LayerCall call,
      long some,
      Matrix inputs,
      MemorySegment places,
      Matrix all,
      Matrix h,
      Matrix c,
      Matrix reset,
      Matrix out) {
    Scratch scratch = call.scratch();
    CellOps cells = call.rows().cells();
    long mark = scratch.mark();
    Matrix from = first(scratch, h, some);
    Matrix gate = first(scratch, all, some);
    if (candidate == null) {
      gates.run(call, from, gate);
      Matrix memory = c == null ? null : first(scratch, c, some);
      cells.step(cell, inputs, places, gate, from, memory, from, out);
    } else {
      Matrix open = first(scratch, reset, some);
      gates.run(call, from, first(scratch, all.part(0), some));
      cells.step(Cell.GRU_RESET, inputs, places, gate, from, null, open, null);
      candidate.run(call, open, first(scratch, all.part(1), some));
      cells.step(Cell.GRU_UPDATE, inputs, places, gate, from, null, from, out);
    }
    scratch.release(mark);
  }

  /** So many rows from the first one on. */
  static Matrix first(Scratch scratch, Matrix matrix, long rows) {
    return scratch.view(matrix.segment(), rows, matrix.columns(), matrix.stride());
  }

  private void begin(
      MemorySegment order, MemorySegment state, long first, long stateRow, Matrix h, Matrix c) {
    if (state == MemorySegment.NULL) {
      h.clearRows(0, h.rows());
      if (c != null) {
        c.clearRows(0, c.rows());
      }
      return;
    }
    for (long n = 0; n < h.rows(); n++) {
      long at = order.getAtIndex(ValueLayout.JAVA_INT, n) * stateRow + first;
      copy(state, at, h.segment(), n * hidden);
      if (c != null) {
        copy(state, at + hidden, c.segment(), n * hidden);
      }
    }
  }

  private void end(
      MemorySegment order, MemorySegment state, long first, long stateRow, Matrix h, Matrix c) {
    for (long n = 0; n < h.rows() && state != MemorySegment.NULL; n++) {
      long at = order.getAtIndex(ValueLayout.JAVA_INT, n) * stateRow + first;
      copy(h.segment(), n * hidden, state, at);
      if (c != null) {
        copy(c.segment(), n * hidden, state, at + hidden);
      }
    }
  }

  private void copy(MemorySegment from, long fromElement, MemorySegment to, long toElement) {
    MemorySegment.copy(
        from, fromElement * Float.BYTES, to, toElement * Float.BYTES, hidden * Float.BYTES);
  }
}
