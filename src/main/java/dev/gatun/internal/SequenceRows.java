package dev.gatun.internal;

import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;

/**
 * How the rows of a matrix are divided into sequences, for one call: evenly (each sequence as long
 * as the others, at steps that are all alike), or ragged (one after the other, by offsets).
 *
 * <p>Those of {@link Scratch} are used again and again, so that a warm call makes none.
 */
public final class SequenceRows {

  private long count;
  private long rows;
  private long longest;

  /** Of even sequences, in rows. */
  private long sequenceStep;

  private long rowStep;

  /** Of ragged sequences {@code [count + 1]} int32; null: they are even. */
  private MemorySegment offsets;

  private MemorySegment positionIds;

  /** Rows of each sequence with its padding; 0: there is none. */
  private long paddedLength;

  SequenceRows() {}

  // ---- making --------------------------------------------------------------------------------

  /**
   * Sequences of one length, one after the other.; first is {@code [count]} int32, the position of
   * each one's first row; NULL: 0
   */
  public static SequenceRows even(Scratch scratch, long count, long length, MemorySegment first) {
    SequenceRows rows = strided(scratch, count, length, length, 1);
    rows.place(scratch, first);
    return rows;
  }

  /** Sequences of one length anywhere among the rows, steps in rows; without positions. */
  public static SequenceRows strided(
      Scratch scratch, long count, long length, long sequenceStep, long rowStep) {
    SequenceRows rows = scratch.sequenceRows();
    rows.count = count;
    rows.rows = count * length;
    rows.longest = length;
    rows.sequenceStep = sequenceStep;
    rows.rowStep = rowStep;
    rows.offsets = null;
    rows.positionIds = null;
    rows.paddedLength = 0;
    return rows;
  }

  /**
   * Sequences by their offsets {@code [count + 1]} int32, in memory that nobody else changes: 0,
   * then where each one ends; they do not fall. first is as for {@link #even}.
   */
  public static SequenceRows ragged(
      Scratch scratch, MemorySegment offsets, long count, MemorySegment first) {
    SequenceRows rows = ragged(scratch, offsets, count);
    rows.place(scratch, first);
    return rows;
  }

  /** The same, without positions. */
  public static SequenceRows ragged(Scratch scratch, MemorySegment offsets, long count) {
    SequenceRows rows = scratch.sequenceRows();
    rows.count = count;
    rows.offsets = offsets;
    rows.positionIds = null;
    rows.paddedLength = 0;
    rows.longest = 0;
    for (long n = 0; n < count; n++) {
      rows.longest = Math.max(rows.longest, rows.length(n));
    }
    rows.rows = count == 0 ? 0 : rows.start(count);
    return rows;
  }

  private void place(Scratch scratch, MemorySegment first) {
    positionIds = scratch.ints(rows);
    boolean moved = first.address() != 0;
    long row = 0;
    for (long n = 0; n < count; n++) {
      int begin = moved ? first.getAtIndex(ValueLayout.JAVA_INT, n) : 0;
      int end = begin + (int) length(n);
      for (int position = begin; position < end; position++) {
        positionIds.setAtIndex(ValueLayout.JAVA_INT, row++, position);
      }
    }
  }

  // ---- asking --------------------------------------------------------------------------------

  public long count() {
    return count;
  }

  /** Of all sequences. */
  public long rows() {
    return rows;
  }

  /** Rows of the longest sequence; 0 if there is none. */
  public long longest() {
    return longest;
  }

  /** {@code [count + 1]} int32; null: the sequences are even. */
  public MemorySegment offsets() {
    return offsets;
  }

  /** The offsets; even sequences that lie one after the other get some in scratch. */
  public MemorySegment offsets(Scratch scratch) {
    if (offsets != null) {
      return offsets;
    }
    MemorySegment even = scratch.ints(count + 1);
    for (long n = 0; n <= count; n++) {
      even.setAtIndex(ValueLayout.JAVA_INT, n, (int) (n * longest));
    }
    return even;
  }

  /** The first row of a sequence; of number count: the row behind the last. */
  public long start(long sequence) {
    return offsets == null
        ? sequence * sequenceStep
        : offsets.getAtIndex(ValueLayout.JAVA_INT, sequence);
  }

  public long length(long sequence) {
    return offsets == null ? longest : start(sequence + 1) - start(sequence);
  }

  /** Rows from one even sequence to the next; 0 if they are ragged. */
  public long sequenceStep() {
    return offsets == null ? sequenceStep : 0;
  }

  /** Rows from one row of a sequence to its next. */
  public long rowStep() {
    return offsets == null ? rowStep : 1;
  }

  /** {@code [rows]} int32: the position of each row in its sequence. */
  public MemorySegment positionIds() {
    return positionIds;
  }

  // ---- padding -------------------------------------------------------------------------------

  /** Says that outside of this call each sequence has padding up to this length. */
  public SequenceRows paddedTo(long length) {
    paddedLength = length;
    return this;
  }

  /** Whether rows are gathered before this call and scattered behind it. */
  public boolean isPadded() {
    return paddedLength > 0;
  }

  /** Copies rows from between padding to where they lie without. */
  public void gather(Matrix padded, Matrix to) {
    for (long n = 0; n < count; n++) {
      padded.copyRows(n * paddedLength, to, start(n), length(n));
    }
  }

  /** Copies rows to where they lie with padding, which becomes 0. */
  public void scatter(Matrix from, Matrix padded) {
    for (long n = 0; n < count; n++) {
      long at = n * paddedLength;
      from.copyRows(start(n), padded, at, length(n));
      padded.clearRows(at + length(n), paddedLength - length(n));
    }
  }
}
