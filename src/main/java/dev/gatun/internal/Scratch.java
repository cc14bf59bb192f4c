package dev.gatun.internal;

import java.lang.foreign.MemorySegment;
import java.util.ArrayList;
import java.util.List;

/**
 * A stack of buffers for intermediate results, for one thread at a time. Each grows to the largest
 * that was ever asked for in its place and stays, so that a second run of the same model allocates
 * nothing.
 */
public final class Scratch implements AutoCloseable {

  private static final int LEAST_BYTES = 64;

  /** Of each count in a mark: more than any model nests. */
  private static final int MASK = (1 << 20) - 1;

  private static final class Buffer {
    private final Matrix matrix = new Matrix();
    private MemorySegment memory = MemorySegment.NULL;

    MemorySegment atLeast(long bytes) {
      if (memory.byteSize() < bytes) {
        release();
        memory = Native.allocate(bytes);
      }
      return memory;
    }

    void release() {
      MemorySegment old = memory;
      memory = MemorySegment.NULL;
      if (old.byteSize() > 0) {
        Native.free(old);
      }
    }
  }

  private final List<Buffer> buffers = new ArrayList<>();
  private final List<Matrix> views = new ArrayList<>();
  private final List<SequenceRows> sequences = new ArrayList<>();
  private int taken;
  private int viewed;
  private int divided;

  Scratch() {}

  /** The top of the stack, for {@link #release}. */
  public long mark() {
    return (long) divided << 40 | (long) viewed << 20 | taken;
  }

  /** Gives back what was taken since the mark. */
  public void release(long mark) {
    taken = (int) mark & MASK;
    viewed = (int) (mark >>> 20) & MASK;
    divided = (int) (mark >>> 40) & MASK;
  }

  /**
   * A matrix whose rows have no gaps and whose elements are not set, valid until it is released.
   */
  public Matrix matrix(long rows, long columns) {
    // Parts of no rows begin somewhere, too.
    Buffer buffer = take(Math.max(rows, 1), columns);
    buffer.matrix.set(buffer.memory, rows, columns, columns);
    return buffer.matrix;
  }

  /** Memory for at least so many int32 elements, which are not set. */
  public MemorySegment ints(long count) {
    return take(1, count).memory;
  }

  private Buffer take(long rows, long columns) {
    if (taken == buffers.size()) {
      buffers.add(new Buffer());
    }
    Buffer buffer = buffers.get(taken);
    // A product of sizes that overflows asks for more than there is.
    long elements = rows * columns;
    boolean fits =
        Math.multiplyHigh(rows, columns) == 0
            && elements >= 0
            && elements <= Long.MAX_VALUE / Float.BYTES;
    buffer.atLeast(fits ? Math.max(elements * Float.BYTES, LEAST_BYTES) : Long.MAX_VALUE);
    taken++;
    return buffer;
  }

  /** A matrix of memory that lies elsewhere; stride in elements. */
  public Matrix view(MemorySegment segment, long rows, long columns, long stride) {
    if (viewed == views.size()) {
      views.add(new Matrix());
    }
    Matrix view = views.get(viewed++);
    view.set(segment, rows, columns, stride);
    return view;
  }

  SequenceRows sequenceRows() {
    if (divided == sequences.size()) {
      sequences.add(new SequenceRows());
    }
    return sequences.get(divided++);
  }

  public long bytes() {
    long bytes = 0;
    for (Buffer buffer : buffers) {
      bytes += buffer.memory.byteSize();
    }
    return bytes;
  }

  @Override
  public void close() {
    buffers.forEach(Buffer::release);
  }
}
