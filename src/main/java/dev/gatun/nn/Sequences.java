package dev.gatun.nn;

import dev.gatun.DType;
import dev.gatun.Tensor;
import dev.gatun.internal.LayerCall;
import dev.gatun.internal.Matrix;
import dev.gatun.internal.Scratch;
import dev.gatun.internal.SequenceRows;
import dev.gatun.internal.SharedMemory;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import java.util.Objects;

/**
 * How the rows of a tensor are divided into sequences of different lengths. Layers compute rows;
 * only attention and positions know of sequences, so that nothing is computed for padding.
 *
 * <ul>
 *   <li>{@link #ragged}: one after the other, {@code [tokens, dim]}, with offsets beside them
 *       ({@code cu_seqlens}, as flash-attention has it),
 *   <li>{@link #padded}: {@code [batch, seq, dim]}, with a length for each; rows past a length are
 *       not read, and where they are written they become 0.
 * </ul>
 *
 * <p>A call without this has sequences of one length, {@code [batch, seq, dim]}, or is one
 * sequence, {@code [tokens, dim]}.
 *
 * <p>Immutable. The numbers are read from the tensor once in each call, so that one object serves
 * any number of calls.
 */
public final class Sequences {

  private final Tensor lengths;
  private final Tensor cuSeqlens;

  private Sequences(Tensor lengths, Tensor cuSeqlens) {
    this.lengths = lengths;
    this.cuSeqlens = cuSeqlens;
  }

  /**
   * Padded sequences.
   *
   * @param lengths {@code [batch]} INT32, contiguous, each 0 … seq
   * @return the sequences
   */
  public static Sequences padded(Tensor lengths) {
    return new Sequences(Objects.requireNonNull(lengths, "lengths"), null);
  }

  /**
   * Sequences one after the other.
   *
   * @param cuSeqlens {@code [sequences + 1]} INT32, contiguous: 0, then where each ends; the last
   *     is the number of tokens
   * @return the sequences
   */
  public static Sequences ragged(Tensor cuSeqlens) {
    return new Sequences(null, Objects.requireNonNull(cuSeqlens, "cuSeqlens"));
  }

  /** The tensor that says it; an output may not share its memory. */
  Tensor tensor() {
    return lengths != null ? lengths : cuSeqlens;
  }

  /** Its name in messages. */
  String tensorName() {
    return lengths != null ? "lengths" : "cuSeqlens";
  }

  /** Refuses an output that shares memory with what says how rows are divided. */
  static void refuseShared(String name, Tensor output, Sequences sequences) {
    if (sequences != null) {
      SharedMemory.refuse(name, output, sequences.tensorName(), sequences.tensor());
    }
  }

  // ---- in a call -----------------------------------------------------------------------------

  /**
   * The rows of an argument of one call, divided.
   *
   * @param sequences null: all of one length
   * @param name of the argument
   * @param tensor the argument
   * @param leading dimensions that count rows: {@code [batch, seq]} or {@code [tokens]}
   * @param first {@code [sequences]} int32, the position of each one's first row, of a state that
   *     has as many; or NULL: 0
   */
  static SequenceRows divide(
      LayerCall call,
      Sequences sequences,
      String name,
      Tensor tensor,
      int leading,
      MemorySegment first) {
    Scratch scratch = call.scratch();
    for (int dim = 0; dim < leading; dim++) {
      if (tensor.size(dim) > Integer.MAX_VALUE) {
        throw new IllegalArgumentException(
            "%s: expected sizes below 2^31, got %s".formatted(name, Rows.text(tensor)));
      }
    }
    if (sequences == null) {
      checkCount(name, leading == 2 ? tensor.size(0) : 1, first);
      return leading == 2
          ? SequenceRows.even(scratch, tensor.size(0), tensor.size(1), first)
          : SequenceRows.even(scratch, 1, tensor.size(0), first);
    }
    if (sequences.lengths != null) {
      if (leading != 2) {
        throw new IllegalArgumentException(
            "%s: expected [batch, seq, …] for padded sequences, got %s"
                .formatted(name, Rows.text(tensor)));
      }
      checkCount(name, tensor.size(0), first);
      return padded(scratch, name, sequences.lengths, tensor.size(0), tensor.size(1), first);
    }
    if (leading != 1) {
      throw new IllegalArgumentException(
          "%s: expected [tokens, …] for ragged sequences, got %s"
              .formatted(name, Rows.text(tensor)));
    }
    long count = checkOffsets(name, sequences.cuSeqlens);
    checkCount(name, count, first);
    return ragged(scratch, name, sequences.cuSeqlens, count, tensor.size(0), first);
  }

  private static void checkCount(String name, long count, MemorySegment first) {
    long expected = first.byteSize() / Integer.BYTES;
    if (first.address() != 0 && count != expected) {
      throw new IllegalArgumentException(
          "%s: expected %d sequences as the state has, got %d".formatted(name, expected, count));
    }
  }

  private static SequenceRows padded(
      Scratch scratch, String name, Tensor lengths, long batch, long seq, MemorySegment first) {
    checkInts("lengths", name, lengths, batch);
    MemorySegment offsets = scratch.ints(batch + 1);
    offsets.setAtIndex(ValueLayout.JAVA_INT, 0, 0);
    long rows = 0;
    for (long n = 0; n < batch; n++) {
      int length = lengths.segment().getAtIndex(ValueLayout.JAVA_INT, n);
      if (length < 0 || length > seq) {
        throw new IllegalArgumentException(
            "lengths[%d]%s: expected 0 .. %d, got %d".formatted(n, of(name), seq, length));
      }
      rows += length;
      if (rows > Integer.MAX_VALUE) {
        throw new IllegalArgumentException(
            "lengths%s: expected less than 2^31 rows in all".formatted(of(name)));
      }
      offsets.setAtIndex(ValueLayout.JAVA_INT, n + 1, (int) rows);
    }
    return rows == batch * seq
        ? SequenceRows.even(scratch, batch, seq, first)
        : SequenceRows.ragged(scratch, offsets, batch, first).paddedTo(seq);
  }

  /** How many sequences there are. */
  private static long checkOffsets(String name, Tensor cuSeqlens) {
    if (cuSeqlens.rank() != 1 || cuSeqlens.size(0) < 1 || cuSeqlens.size(0) > Integer.MAX_VALUE) {
      throw Rows.bad("cuSeqlens" + of(name), "[sequences + 1] int32, contiguous", cuSeqlens);
    }
    long count = cuSeqlens.size(0) - 1;
    checkInts("cuSeqlens", name, cuSeqlens, count + 1);
    return count;
  }

  private static SequenceRows ragged(
      Scratch scratch,
      String name,
      Tensor cuSeqlens,
      long count,
      long tokens,
      MemorySegment first) {
    MemorySegment offsets = scratch.ints(count + 1);
    int last = 0;
    for (long n = 0; n <= count; n++) {
      int end = cuSeqlens.segment().getAtIndex(ValueLayout.JAVA_INT, n);
      boolean fits = n == 0 ? end == 0 : end >= last && end <= tokens;
      if (!fits || n == count && end != tokens) {
        throw new IllegalArgumentException(
            "cuSeqlens[%d]%s: expected %s, got %d"
                .formatted(
                    n,
                    of(name),
                    n == 0 && end != 0
                        ? "0"
                        : n == count
                            ? tokens + ", the tokens there are"
                            : "%d .. %d".formatted(last, tokens),
                    end));
      }
      offsets.setAtIndex(ValueLayout.JAVA_INT, n, end);
      last = end;
    }
    return SequenceRows.ragged(scratch, offsets, count, first);
  }

  /** Says of which argument, where a call has several that are divided. */
  private static String of(String name) {
    return name.equals("memory") || name.equals("media") ? " of " + name : "";
  }

  private static void checkInts(String kind, String name, Tensor tensor, long count) {
    if (tensor.dtype() != DType.INT32
        || tensor.rank() != 1
        || tensor.size(0) != count
        || !tensor.isContiguous()) {
      throw Rows.bad(kind + of(name), "[%d] int32, contiguous".formatted(count), tensor);
    }
  }

  /**
   * Refuses rows at positions that do not exist; sequence n begins at {@code first[n]}, or at 0.
   */
  static void checkPositions(String name, SequenceRows rows, MemorySegment first, long positions) {
    if (positions == Integer.MAX_VALUE) {
      return;
    }
    for (long n = 0; n < rows.count(); n++) {
      long begin = first.address() == 0 ? 0 : first.getAtIndex(ValueLayout.JAVA_INT, n);
      if (rows.length(n) > 0 && begin + rows.length(n) > positions) {
        throw new IllegalArgumentException(
            "%s: expected at most %d positions, got %d"
                .formatted(name, positions, begin + rows.length(n)));
      }
    }
  }

  /** The rows without their padding: x itself where there is none. */
  static Matrix gather(LayerCall call, SequenceRows rows, Matrix x) {
    if (!rows.isPadded()) {
      return x;
    }
    Matrix compact = call.scratch().matrix(rows.rows(), x.columns());
    rows.gather(x, compact);
    return compact;
  }

  /** What rows are computed into before they get their padding: out itself where there is none. */
  static Matrix target(LayerCall call, SequenceRows rows, Matrix out) {
    return rows.isPadded() ? call.scratch().matrix(rows.rows(), out.columns()) : out;
  }

  /** Puts computed rows where they belong. */
  static void scatter(SequenceRows rows, Matrix computed, Matrix out) {
    if (rows.isPadded()) {
      rows.scatter(computed, out);
    }
  }
}
