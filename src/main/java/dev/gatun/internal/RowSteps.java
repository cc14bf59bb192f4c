package dev.gatun.internal;

import dev.gatun.Activation;
import dev.gatun.WeightFormat;
import dev.gatun.internal.gatun.gatun_h;
import dev.gatun.internal.gatun.gatun_row_step;
import dev.gatun.internal.gatun.gatun_row_steps_desc;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import java.util.Arrays;

/**
 * Linear layers with packed weights and norms, which wait here until somebody needs their results:
 * {@code gatun_row_steps} then takes rows through all of them. For one thread at a time. Products
 * take no BLAS and, once their scratch has grown, no memory.
 *
 * <p>Until {@link #run} nothing that a waiting step reads or writes may be read, written or given
 * back to the {@link Scratch}.
 */
public final class RowSteps implements AutoCloseable {

  private static final int MOST_STEPS = gatun_h.GATUN_ROW_STEPS_MOST();
  private static final int MOST_OPERANDS = gatun_h.GATUN_ROW_OPERANDS_MOST();

  /** Operands that a step may have. */
  private static final int STEP_OPERANDS = 7;

  private static final int LEAST_SCRATCH = 1 << 14;

  private final MemorySegment context;
  private final MemorySegment desc;
  private final MemorySegment size;
  private final MemorySegment all;
  private final MemorySegment[] steps = new MemorySegment[MOST_STEPS];
  private final MemorySegment[] operands = new MemorySegment[MOST_OPERANDS];
  private int waiting;
  private int used;
  private long rows;

  /** Of the kernels. Grows, and never shrinks. */
  private MemorySegment scratch = MemorySegment.NULL;

  RowSteps(MemorySegment context, MemorySegment memory) {
    this.context = context;
    this.desc = memory.asSlice(0, gatun_row_steps_desc.sizeof());
    this.size = memory.asSlice(memory.byteSize() - Long.BYTES, Long.BYTES);
    this.all = memory.asSlice(align(gatun_row_steps_desc.sizeof()));
    gatun_row_steps_desc.struct_size(desc, (int) gatun_row_steps_desc.sizeof());
    for (int n = 0; n < MOST_STEPS; n++) {
      steps[n] = gatun_row_step.asSlice(all, n);
    }
    Arrays.fill(operands, MemorySegment.NULL);
  }

  /** What the constructor wants of memory, zeroed. */
  static long memoryBytes() {
    return align(gatun_row_steps_desc.sizeof())
        + align(MOST_STEPS * gatun_row_step.sizeof() + Long.BYTES);
  }

  private static long align(long bytes) {
    return (bytes + 63) & -64;
  }

  /** As {@link Native#load} says. */
  static void initialize() {
    PackedOps.code(WeightFormat.FP32);
  }

  /** Of scratch that grows. */
  public long bytes() {
    return scratch.byteSize();
  }

  @Override
  public void close() {
    MemorySegment old = scratch;
    scratch = MemorySegment.NULL;
    if (old.byteSize() > 0) {
      Native.free(old);
    }
  }

  /**
   * Adds {@code out = activation(x · W + bias) · gate}.
   *
   * @param x {@code [rows, in]}
   * @param weight packed
   * @param format of the weight
   * @param bias {@code [out]}, or NULL
   * @param activation applied to the sum
   * @param gate {@code [rows, out]}, or null
   * @param out receives {@code [rows, out]}; may be gate
   * @param passing whether nobody needs out after {@link #run}
   */
  public void linear(
      Matrix x,
      MemorySegment weight,
      WeightFormat format,
      MemorySegment bias,
      Activation activation,
      Matrix gate,
      Matrix out,
      boolean passing) {
    MemorySegment step = next(gatun_h.GATUN_ROW_STEP_LINEAR(), x.rows());
    gatun_row_step.flags(step, passing ? gatun_h.GATUN_ROW_STEP_SCRATCH() : 0);
    gatun_row_step.format(step, PackedOps.code(format));
    gatun_row_step.activation(step, RowOps.code(activation));
    gatun_row_step.in_features(step, x.columns());
    gatun_row_step.out_features(step, out.columns());
    gatun_row_step.packed_size(step, weight.byteSize());
    gatun_row_step.x_row(step, x.stride());
    gatun_row_step.gate_row(step, RowOps.stride(gate));
    gatun_row_step.out_row(step, out.stride());
    gatun_row_step.x(step, operand(x));
    gatun_row_step.packed(step, operand(weight));
    gatun_row_step.bias(step, operand(bias));
    gatun_row_step.gate(step, operand(gate));
    gatun_row_step.out(step, operand(out));
  }

  /**
   * Adds {@code out = norm(x + residual) · gamma + beta}.
   *
   * @param rms whether the mean is left alone
   * @param epsilon added to the variance or mean square
   * @param x {@code [rows, dim]}
   * @param residual {@code [rows, dim]}, or null
   * @param gamma {@code [dim]}
   * @param beta {@code [dim]}, or NULL
   * @param sum receives {@code x + residual}, or null
   * @param out receives {@code [rows, dim]}; may be x or residual
   * @param passing whether nobody needs out after {@link #run}
   */
  public void norm(
      boolean rms,
      float epsilon,
      Matrix x,
      Matrix residual,
      MemorySegment gamma,
      MemorySegment beta,
      Matrix sum,
      Matrix out,
      boolean passing) {
    MemorySegment step = next(gatun_h.GATUN_ROW_STEP_NORM(), x.rows());
    gatun_row_step.flags(
        step,
        (passing ? gatun_h.GATUN_ROW_STEP_SCRATCH() : 0)
            | (rms ? gatun_h.GATUN_ROW_STEP_RMS() : 0));
    gatun_row_step.epsilon(step, epsilon);
    gatun_row_step.in_features(step, x.columns());
    gatun_row_step.out_features(step, x.columns());
    gatun_row_step.x_row(step, x.stride());
    gatun_row_step.residual_row(step, RowOps.stride(residual));
    gatun_row_step.sum_row(step, RowOps.stride(sum));
    gatun_row_step.out_row(step, out.stride());
    gatun_row_step.x(step, operand(x));
    gatun_row_step.residual(step, operand(residual));
    gatun_row_step.gamma(step, operand(gamma));
    gatun_row_step.beta(step, operand(beta));
    gatun_row_step.sum(step, operand(sum));
    gatun_row_step.out(step, operand(out));
  }

  /**
   * A step after those that wait, which are done before if it cannot be one of theirs. It has
   * nothing yet but its kind.
   */
  private MemorySegment next(int kind, long count) {
    if (waiting == MOST_STEPS || used + STEP_OPERANDS > MOST_OPERANDS || count != rows) {
      runSoFar();
    }
    rows = count;
    MemorySegment step = steps[waiting++];
    step.fill((byte) 0);
    gatun_row_step.struct_size(step, (int) gatun_row_step.sizeof());
    gatun_row_step.kind(step, kind);
    return step;
  }

  private int operand(Matrix matrix) {
    return matrix == null ? 0 : operand(matrix.segment());
  }

  private int operand(MemorySegment segment) {
    if (segment == MemorySegment.NULL) {
      return 0;
    }
    for (int n = 0; n < used; n++) {
      if (operands[n] == segment) {
        return n + 1;
      }
    }
    operands[used] = segment;
    return ++used;
  }

  /** Does what waits, of which the rest of a model may still need anything. */
  public void runSoFar() {
    int passing = gatun_h.GATUN_ROW_STEP_SCRATCH();
    for (int n = 0; n < waiting; n++) {
      gatun_row_step.flags(steps[n], gatun_row_step.flags(steps[n]) & ~passing);
    }
    run();
  }

  /** Forgets what waits: a call has failed before it was done. */
  void clear() {
    waiting = 0;
    Arrays.fill(operands, 0, used, MemorySegment.NULL);
    used = 0;
  }

  /** Does what waits. */
  public void run() {
    if (waiting == 0) {
      return;
    }
    gatun_row_steps_desc.rows(desc, rows);
    gatun_row_steps_desc.steps(desc, waiting);
    int status;
    try {
      grow();
      MemorySegment[] o = operands;
      status =
          gatun_h.gatun_row_steps(
              context,
              desc,
              all,
              scratch,
              scratch.byteSize(),
              o[0],
              o[1],
              o[2],
              o[3],
              o[4],
              o[5],
              o[6],
              o[7],
              o[8],
              o[9],
              o[10],
              o[11],
              o[12],
              o[13],
              o[14],
              o[15],
              o[16],
              o[17],
              o[18],
              o[19],
              o[20],
              o[21],
              o[22],
              o[23],
              o[24],
              o[25],
              o[26],
              o[27],
              o[28],
              o[29],
              o[30],
              o[31]);
    } finally {
      clear();
    }
    RowOps.check(status);
  }

  private void grow() {
    RowOps.check(gatun_h.gatun_row_steps_workspace_size(context, desc, all, size));
    long bytes = size.get(ValueLayout.JAVA_LONG, 0);
    if (bytes > scratch.byteSize()) {
      close();
      scratch = Native.allocate(Math.max(bytes, LEAST_SCRATCH));
    }
  }
}
