package dev.gatun.internal;

import dev.gatun.internal.gatun.gatun_h;
import dev.gatun.internal.gatun.gatun_recurrent_cell_desc;
import java.lang.foreign.MemorySegment;

/** {@code gatun_recurrent_cell} with its descriptor, for one thread at a time. */
public final class CellOps {

  /** What a step computes, as {@code gatun_relatives.h} has it. */
  public enum Cell {
    LSTM(4),
    GRU(3),
    GRU_RESET(3),
    GRU_UPDATE(3);

    private final int blocks;

    Cell(int blocks) {
      this.blocks = blocks;
    }

    /** Blocks of columns that the gates have. */
    public int blocks() {
      return blocks;
    }
  }

  private final MemorySegment context;
  private final MemorySegment desc;

  CellOps(MemorySegment context, MemorySegment memory) {
    this.context = context;
    this.desc = memory.asSlice(0, gatun_recurrent_cell_desc.sizeof());
    gatun_recurrent_cell_desc.struct_size(desc, (int) gatun_recurrent_cell_desc.sizeof());
  }

  /** What the constructor wants of memory, zeroed. */
  static long memoryBytes() {
    return (gatun_recurrent_cell_desc.sizeof() + 63) & -64;
  }

  /** As {@link Native#load} says. */
  static void initialize() {
    code(Cell.LSTM);
  }

  private static int code(Cell cell) {
    return switch (cell) {
      case LSTM -> gatun_h.GATUN_CELL_LSTM();
      case GRU -> gatun_h.GATUN_CELL_GRU();
      case GRU_RESET -> gatun_h.GATUN_CELL_GRU_RESET();
      case GRU_UPDATE -> gatun_h.GATUN_CELL_GRU_UPDATE();
    };
  }

  /**
   * One step of some sequences.
   *
   * @param cell what is computed
   * @param inputs {@code [all rows, blocks · hidden]}
   * @param places {@code [rows]} int32: the rows of inputs and out that the sequences are at, each
   *     another; NULL: the first ones
   * @param gates {@code [rows, blocks · hidden]}
   * @param h {@code [rows, hidden]}
   * @param c {@code [rows, hidden]} of an LSTM, which the step changes; else null
   * @param next receives {@code [rows, hidden]}; may be h
   * @param out receives next at the places of its {@code [all rows, hidden]}; or null
   */
  public void step(
      Cell cell,
      Matrix inputs,
      MemorySegment places,
      Matrix gates,
      Matrix h,
      Matrix c,
      Matrix next,
      Matrix out) {
    Functions.CELLS.load();
    gatun_recurrent_cell_desc.cell(desc, code(cell));
    gatun_recurrent_cell_desc.rows(desc, h.rows());
    gatun_recurrent_cell_desc.hidden(desc, h.columns());
    gatun_recurrent_cell_desc.places(desc, places == MemorySegment.NULL ? 0 : inputs.rows());
    gatun_recurrent_cell_desc.x_row(desc, inputs.stride());
    gatun_recurrent_cell_desc.gates_row(desc, gates.stride());
    gatun_recurrent_cell_desc.h_row(desc, h.stride());
    gatun_recurrent_cell_desc.c_row(desc, RowOps.stride(c));
    gatun_recurrent_cell_desc.h_out_row(desc, next.stride());
    gatun_recurrent_cell_desc.c_out_row(desc, RowOps.stride(c));
    gatun_recurrent_cell_desc.out_row(desc, RowOps.stride(out));
    RowOps.check(
        gatun_h.gatun_recurrent_cell(
            context,
            desc,
            inputs.segment(),
            gates.segment(),
            h.segment(),
            RowOps.segment(c),
            places,
            next.segment(),
            RowOps.segment(c),
            RowOps.segment(out)));
  }
}
