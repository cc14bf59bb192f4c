package dev.gatun.nn;

import dev.gatun.Tensor;
import dev.gatun.internal.SharedMemory;
import java.lang.foreign.MemorySegment;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.Comparator;
import java.util.List;

/**
 * The memory that a layer holds on to: weights, biases and tables, or what a state remembers. No
 * output of a call may lie in it. Looked up among sorted addresses, so that a call of a model with
 * a thousand weights makes some ten comparisons, and no object.
 */
final class Parameters {

  /** Rows of one tensor, or of a weight that is stored transposed. */
  private record Entry(String name, MemorySegment segment, long rows, long columns, long row) {
    long begin() {
      return segment.address();
    }

    long end() {
      return begin() + SharedMemory.bytes(rows, columns, row);
    }
  }

  private static final class ByBegin implements Comparator<Entry> {
    @Override
    public int compare(Entry one, Entry other) {
      return Long.compare(one.begin(), other.begin());
    }
  }

  private final Entry[] entries;
  private final long[] begins;

  /** Of the entries up to each place: where the last of them ends. */
  private final long[] ends;

  private Parameters(List<Entry> list) {
    entries = list.toArray(new Entry[0]);
    Arrays.sort(entries, new ByBegin());
    begins = new long[entries.length];
    ends = new long[entries.length];
    for (int n = 0; n < entries.length; n++) {
      begins[n] = entries[n].begin();
      ends[n] = Math.max(entries[n].end(), n == 0 ? 0 : ends[n - 1]);
    }
  }

  /** Collects parameters; what is null or empty is none. */
  static final class Builder {
    private final List<Entry> list = new ArrayList<>();

    /** A tensor of rows that are evenly spaced, or the transpose of one. */
    Builder add(String name, Tensor tensor) {
      if (tensor == null || tensor.elements() == 0) {
        return this;
      }
      int rank = tensor.rank();
      boolean transposed = rank == 2 && tensor.stride(1) != 1 && tensor.size(1) > 1;
      Tensor stored = transposed ? tensor.transpose(0, 1) : tensor;
      return add(
          name,
          stored.segment(),
          SharedMemory.rows(stored),
          SharedMemory.columns(stored),
          SharedMemory.row(stored));
    }

    /** A piece of memory. */
    Builder add(String name, MemorySegment segment) {
      return segment.byteSize() == 0
          ? this
          : add(name, segment, 1, Math.ceilDiv(segment.byteSize(), (long) Float.BYTES), 1);
    }

    private Builder add(String name, MemorySegment segment, long rows, long columns, long row) {
      list.add(new Entry(name, segment, rows, columns, row));
      return this;
    }

    /** All of a part, under its name. */
    Builder add(String part, Parameters parameters) {
      for (Entry e : parameters.entries) {
        add(part + "." + e.name, e.segment, e.rows, e.columns, e.row);
      }
      return this;
    }

    /** Of a norm, which may be null. */
    Builder add(String name, Norm norm) {
      return norm == null ? this : add(name, norm.parameters());
    }

    /** All of a part that has names of its own. */
    Builder addAll(Parameters parameters) {
      list.addAll(List.of(parameters.entries));
      return this;
    }

    Parameters build() {
      return new Parameters(list);
    }
  }

  /**
   * Refuses a tensor that a call writes, or one that it reads after it has begun to write here.
   *
   * @param name of the argument
   * @param tensor evenly spaced rows of 4-byte elements, or null
   */
  void refuse(String name, Tensor tensor) {
    if (tensor == null || tensor.elements() == 0) {
      return;
    }
    MemorySegment segment = tensor.segment();
    int place = lastBefore(segment.address() + segment.byteSize());
    if (place >= 0 && ends[place] > segment.address()) {
      refuseExactly(name, tensor, place);
    }
  }

  /** The last entry that begins before an address, or -1. */
  private int lastBefore(long address) {
    int low = 0;
    int high = begins.length;
    while (low < high) {
      int middle = (low + high) >>> 1;
      if (begins[middle] < address) {
        low = middle + 1;
      } else {
        high = middle;
      }
    }
    return low - 1;
  }

  private void refuseExactly(String name, Tensor tensor, int place) {
    for (int n = 0; n <= place; n++) {
      Entry e = entries[n];
      // Memory that has been freed may be another's by now; whoever reads the parameter will say
      // so.
      if (SharedMemory.meet(
              tensor.segment().address(),
              SharedMemory.rows(tensor),
              SharedMemory.columns(tensor),
              SharedMemory.row(tensor),
              e.begin(),
              e.rows,
              e.columns,
              e.row)
          && e.segment.scope().isAlive()) {
        throw SharedMemory.shared(name, e.name);
      }
    }
  }

  /** Refuses parameters of which one has memory of another's: some are written by calls. */
  void refuse(Parameters others) {
    for (Entry other : others.entries) {
      int place = lastBefore(other.end());
      if (place >= 0 && ends[place] > other.begin()) {
        for (int n = 0; n <= place; n++) {
          Entry e = entries[n];
          if (e != other
              && SharedMemory.meet(
                  e.begin(),
                  e.rows,
                  e.columns,
                  e.row,
                  other.begin(),
                  other.rows,
                  other.columns,
                  other.row)) {
            throw SharedMemory.shared(other.name, e.name);
          }
        }
      }
    }
  }
}
