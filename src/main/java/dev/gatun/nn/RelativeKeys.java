package dev.gatun.nn;

import dev.gatun.Activation;
import dev.gatun.DType;
import dev.gatun.Tensor;
import dev.gatun.internal.LayerCall;
import dev.gatun.internal.Matrix;
import dev.gatun.internal.Scratch;
import dev.gatun.internal.SequenceRows;
import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;

/**
 * Keys of distances: their products with queries become biases of attention, key by key. One matrix
 * product makes those of all heads and distances; attention reads them along the diagonals, where
 * they lie.
 */
final class RelativeKeys {
  private final Tensor table;
  private final int positions;
  private final long headDim;

  /** Of texts of so many tokens, the rows of their distances: made once, so that no call does. */
  private final MemorySegment[] ofLength;

  /** Copies a table {@code [2 · positions − 1, headDim]}, whose row is query minus key. */
  RelativeKeys(Arena arena, Tensor rows) {
    Rows.checkTable("table", rows, "[2 * positions - 1, headDim]", -1);
    if (rows.size(0) % 2 == 0) {
      throw Rows.bad("table", "[2 * positions - 1, headDim] float32", rows);
    }
    int count = Math.toIntExact(rows.size(0));
    int columns = Math.toIntExact(rows.size(1));
    Rows.tableElements("table", count, columns);
    this.positions = (count + 1) / 2;
    this.headDim = columns;
    float[] from = rows.toFloatArray();
    float[] to = new float[from.length];
    // Ascending by the key, and scaled, as biases are added to scores that are.
    double scale = 1 / Math.sqrt(columns);
    for (int row = 0; row < count; row++) {
      for (int i = 0; i < columns; i++) {
        to[(count - 1 - row) * columns + i] = (float) (from[row * columns + i] * scale);
      }
    }
    this.table = Tensor.copyOf(arena, to, count, columns);
    this.ofLength = new MemorySegment[positions + 1];
    for (int length = 1; length <= positions; length++) {
      long first = (positions - length) * headDim;
      ofLength[length] = table.segment().asSlice(first * Float.BYTES);
    }
  }

  int positions() {
    return positions;
  }

  long headDim() {
    return headDim;
  }

  /** What no result may be written to. */
  Tensor table() {
    return table;
  }

  /**
   * Multiplies queries {@code [rows, heads · headDim]} with the keys of their distances, and tells
   * the call that is described already where the products lie.
   */
  void describe(LayerCall call, SequenceRows rows, Matrix q, int heads) {
    Scratch scratch = call.scratch();
    long longest = rows.longest();
    long width = 2 * longest - 1;
    // Sequences at even steps, as biases are found by number of sequence and row.
    Matrix even = scratch.matrix(rows.count() * longest, q.columns());
    for (long n = 0; n < rows.count(); n++) {
      long length = rows.length(n);
      q.copyRows(rows.start(n), even, n * longest, length);
      even.clearRows(n * longest + length, longest - length);
    }
    long queries = even.rows() * heads;
    Matrix each = scratch.view(even.segment(), queries, headDim, headDim);
    Matrix keys = scratch.view(ofLength[(int) longest], width, headDim, headDim);
    Matrix products = scratch.matrix(queries, width);
    call.rows().linear(each, keys, true, MemorySegment.NULL, Activation.NONE, products);
    // Key j of query i is in its row's column longest - 1 + j - i.
    call.attention()
        .bias(DType.FLOAT32, longest * heads * width, width, heads * width - 1, 1)
        .masks(MemorySegment.NULL, products.part(0, longest - 1, 1).segment(), MemorySegment.NULL);
  }
}
