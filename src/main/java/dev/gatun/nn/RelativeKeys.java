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
import java.lang.foreign.ValueLayout;

/**
 * Keys of distances: their products with queries become biases of attention, key by key. One matrix
 * product makes those of all heads and distances; attention reads them along the diagonals, where
 * they lie.
 */
final class RelativeKeys {
  private final Tensor table;
  private final int positions;
  private final long headDim;
  private final boolean ofKeys;

  /** Of texts of so many tokens, the rows of their distances: made once, so that no call does. */
  private final MemorySegment[] ofLength;

  /**
   * Copies a table {@code [2 · positions − 1, headDim]}, whose row is query minus key.
   *
   * @param ofKeys whether keys are multiplied with it as well
   */
  RelativeKeys(Arena arena, Tensor rows, boolean ofKeys) {
    Rows.checkTable("table", rows, "[2 * positions - 1, headDim]", -1);
    if (rows.size(0) % 2 == 0) {
      throw Rows.bad("table", "[2 * positions - 1, headDim] float32", rows);
    }
    int count = Math.toIntExact(rows.size(0));
    int columns = Math.toIntExact(rows.size(1));
    Rows.tableElements("table", count, columns);
    this.positions = (count + 1) / 2;
    this.headDim = columns;
    this.ofKeys = ofKeys;
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

  boolean ofKeys() {
    return ofKeys;
  }

  /** What no result may be written to. */
  Tensor table() {
    return table;
  }

  /**
   * Multiplies queries {@code [rows, heads · headDim]}, and keys {@code [rows, heads · headDim]} if
   * they are to be, with the keys of their distances, and tells the call that is described already
   * where the products lie.
   */
  void describe(LayerCall call, SequenceRows rows, Matrix q, Matrix k, int heads) {
    long longest = rows.longest();
    long width = 2 * longest - 1;
    Matrix products = multiply(call, rows, q, heads);
    if (ofKeys) {
      add(multiply(call, rows, k, heads), products, rows, heads);
    }
    // Key j of query i is in its row's column longest - 1 + j - i.
    call.attention()
        .bias(DType.FLOAT32, longest * heads * width, width, heads * width - 1, 1)
        .masks(MemorySegment.NULL, products.part(0, longest - 1, 1).segment(), MemorySegment.NULL);
  }

  /** {@code [sequences, longest, heads, 2 · longest − 1]}. */
  private Matrix multiply(LayerCall call, SequenceRows rows, Matrix x, int heads) {
    Scratch scratch = call.scratch();
    long longest = rows.longest();
    // Sequences at even steps, as biases are found by number of sequence and row.
    Matrix even = scratch.matrix(rows.count() * longest, x.columns());
    for (long n = 0; n < rows.count(); n++) {
      long length = rows.length(n);
      x.copyRows(rows.start(n), even, n * longest, length);
      even.clearRows(n * longest + length, longest - length);
    }
    long count = even.rows() * heads;
    long width = 2 * longest - 1;
    Matrix each = scratch.view(even.segment(), count, headDim, headDim);
    Matrix keys = scratch.view(ofLength[(int) longest], width, headDim, headDim);
    Matrix products = scratch.matrix(count, width);
    call.rows().linear(each, keys, true, MemorySegment.NULL, Activation.NONE, products);
    return products;
  }

  /** A key's product is in the row of the key, in the column where the query has its own. */
  private static void add(Matrix ofKeys, Matrix to, SequenceRows rows, int heads) {
    long longest = rows.longest();
    long width = 2 * longest - 1;
    for (long n = 0; n < rows.count(); n++) {
      long length = rows.length(n);
      for (long i = 0; i < length; i++) {
        for (long j = 0; j < length; j++) {
          long column = longest - 1 + j - i;
          for (long h = 0; h < heads; h++) {
            long at = ((n * longest + i) * heads + h) * width + column;
            long from = ((n * longest + j) * heads + h) * width + column;
            float sum =
                to.segment().getAtIndex(ValueLayout.JAVA_FLOAT, at)
                    + ofKeys.segment().getAtIndex(ValueLayout.JAVA_FLOAT, from);
            to.segment().setAtIndex(ValueLayout.JAVA_FLOAT, at, sum);
          }
        }
      }
    }
  }
}
