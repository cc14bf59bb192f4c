package dev.gatun.internal;

import dev.gatun.Activation;
import dev.gatun.internal.gatun.gatun_causal_convolution_desc;
import dev.gatun.internal.gatun.gatun_h;
import dev.gatun.internal.gatun.gatun_selective_scan_desc;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;

/**
 * The selective scan and the convolution before it, with their descriptors and scratch that grows,
 * for one thread at a time. Sizes have been checked by the callers; native code checks them again.
 */
public final class ScanOps implements AutoCloseable {

  private static final int ALIGNMENT = 64;

  private final MemorySegment context;
  private final MemorySegment memory;
  private final MemorySegment scan;
  private final MemorySegment convolution;
  private final MemorySegment size;

  /** Of the kernels. Grows, and never shrinks. */
  private MemorySegment scratch = MemorySegment.NULL;

  /** Takes memory for the descriptors. */
  ScanOps(MemorySegment context) {
    this.context = context;
    long scanBytes = align(gatun_selective_scan_desc.sizeof());
    long convolutionBytes = align(gatun_causal_convolution_desc.sizeof());
    this.memory = Native.allocate(scanBytes + convolutionBytes + Long.BYTES);
    this.scan = memory.asSlice(0, gatun_selective_scan_desc.sizeof());
    this.convolution = memory.asSlice(scanBytes, gatun_causal_convolution_desc.sizeof());
    this.size = memory.asSlice(scanBytes + convolutionBytes, Long.BYTES);
    gatun_selective_scan_desc.struct_size(scan, (int) gatun_selective_scan_desc.sizeof());
    gatun_causal_convolution_desc.struct_size(
        convolution, (int) gatun_causal_convolution_desc.sizeof());
  }

  private static long align(long bytes) {
    return (bytes + ALIGNMENT - 1) & -ALIGNMENT;
  }

  /** Of scratch that grows. */
  long bytes() {
    return scratch.byteSize();
  }

  @Override
  public void close() {
    release();
    Native.free(memory);
  }

  private void release() {
    MemorySegment old = scratch;
    scratch = MemorySegment.NULL;
    if (old.byteSize() > 0) {
      Native.free(old);
    }
  }

  private static MemorySegment offsets(SequenceRows rows) {
    boolean even = rows.offsets() == null;
    if (even
        && (rows.count() > 1 && rows.sequenceStep() != rows.longest()
            || rows.longest() > 1 && rows.rowStep() != 1)) {
      throw new IllegalArgumentException("rows: expected sequences one after the other");
    }
    return even ? MemorySegment.NULL : rows.offsets();
  }

  private static long seq(SequenceRows rows) {
    return rows.offsets() == null ? rows.longest() : 0;
  }

  /**
   * {@code out[t][i] = activation(bias[i] + Σ weight[i][w] · x[t − width + 1 + w][i])}.
   *
   * @param rows how x is divided
   * @param x {@code [rows, channels]}
   * @param weight {@code [channels, width]}
   * @param bias {@code [channels]}, or NULL
   * @param width of the window
   * @param activation applied last
   * @param state {@code [sequences, width - 1, channels]}, read and written, or NULL
   * @param stateRow elements from one sequence's state to the next
   * @param out receives {@code [rows, channels]}
   */
  public void convolution(
      SequenceRows rows,
      Matrix x,
      MemorySegment weight,
      MemorySegment bias,
      long width,
      Activation activation,
      MemorySegment state,
      long stateRow,
      Matrix out) {
    Functions.SCAN.load();
    MemorySegment desc = convolution;
    gatun_causal_convolution_desc.batch(desc, rows.count());
    gatun_causal_convolution_desc.seq(desc, seq(rows));
    gatun_causal_convolution_desc.channels(desc, x.columns());
    gatun_causal_convolution_desc.width(desc, width);
    gatun_causal_convolution_desc.x_row(desc, x.stride());
    gatun_causal_convolution_desc.out_row(desc, out.stride());
    gatun_causal_convolution_desc.state_row(desc, stateRow);
    gatun_causal_convolution_desc.activation(desc, RowOps.code(activation));
    RowOps.check(
        gatun_h.gatun_causal_convolution(
            context, desc, x.segment(), weight, bias, offsets(rows), state, out.segment()));
  }

  /**
   * The selective scan with step sizes {@code softplus(delta + deltaBias)} and the gate {@code
   * silu(z)}.
   *
   * @param rows how x is divided
   * @param x {@code [rows, channels]}
   * @param delta {@code [rows, channels]}, rows as far apart as those of x, as are b, c and z
   * @param a {@code [channels, states]}
   * @param b {@code [rows, states]}
   * @param c {@code [rows, states]}
   * @param d {@code [channels]}
   * @param deltaBias {@code [channels]}, or NULL
   * @param z {@code [rows, channels]}
   * @param states of a channel
   * @param state {@code [sequences, channels, states]}, read and written, or NULL
   * @param stateRow elements from one sequence's state to the next
   * @param y receives {@code [rows, channels]}
   */
  public void scan(
      SequenceRows rows,
      Matrix x,
      MemorySegment delta,
      MemorySegment a,
      MemorySegment b,
      MemorySegment c,
      MemorySegment d,
      MemorySegment deltaBias,
      MemorySegment z,
      long states,
      MemorySegment state,
      long stateRow,
      Matrix y) {
    Functions.SCAN.load();
    MemorySegment desc = scan;
    gatun_selective_scan_desc.flags(desc, gatun_h.GATUN_SCAN_SOFTPLUS());
    gatun_selective_scan_desc.batch(desc, rows.count());
    gatun_selective_scan_desc.seq(desc, seq(rows));
    gatun_selective_scan_desc.channels(desc, x.columns());
    gatun_selective_scan_desc.states(desc, states);
    gatun_selective_scan_desc.x_row(desc, x.stride());
    gatun_selective_scan_desc.delta_row(desc, x.stride());
    gatun_selective_scan_desc.b_row(desc, x.stride());
    gatun_selective_scan_desc.c_row(desc, x.stride());
    gatun_selective_scan_desc.z_row(desc, x.stride());
    gatun_selective_scan_desc.y_row(desc, y.stride());
    gatun_selective_scan_desc.state_row(desc, stateRow);
    RowOps.check(gatun_h.gatun_selective_scan_workspace_size(context, desc, size));
    long bytes = size.get(ValueLayout.JAVA_LONG, 0);
    if (bytes > scratch.byteSize()) {
      release();
      scratch = Native.allocate(bytes);
    }
    RowOps.check(
        gatun_h.gatun_selective_scan(
            context,
            desc,
            scratch,
            scratch.byteSize(),
            x.segment(),
            delta,
            a,
            b,
            c,
            d,
            deltaBias,
            z,
            offsets(rows),
            state,
            y.segment()));
  }
}
