package dev.gatun.internal;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;

import dev.gatun.DType;
import dev.gatun.GatunException;
import dev.gatun.Tensor;
import dev.gatun.support.Run;
import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.util.Random;
import java.util.function.BiConsumer;
import org.junit.jupiter.api.Test;

/** What layers reach of gatun.h through {@link RowOps} alone, against its formulas in double. */
class RowOpsTest {

  private static final MemorySegment NONE = MemorySegment.NULL;

  private static void with(BiConsumer<Arena, RowOps> body) {
    try (Arena arena = Arena.ofConfined();
        LayerCall call = LayerCalls.begin(Run.runtime(Run.bestTier(), 2), null)) {
      body.accept(arena, call.rows());
    }
  }

  private static Matrix matrix(Tensor tensor) {
    return Matrix.of(tensor.segment(), tensor.size(0), tensor.size(1), tensor.size(1));
  }

  private static Tensor normal(Arena arena, Random random, int rows, int columns) {
    float[] data = new float[rows * columns];
    for (int i = 0; i < data.length; i++) {
      data[i] = (float) random.nextGaussian();
    }
    return Tensor.copyOf(arena, data, rows, columns);
  }

  /** A product of sizes that overflows must not end in a buffer that is too small. */
  @Test
  void moreThanThereIs() {
    Scratch scratch = new Scratch();
    for (long size : new long[] {1L << 61, (1L << 61) + 4, Long.MAX_VALUE, -1, 1L << 63}) {
      assertThrows(GatunException.class, () -> scratch.ints(size), "" + size);
      assertThrows(GatunException.class, () -> scratch.matrix(1, size), "" + size);
    }
    assertThrows(GatunException.class, () -> scratch.matrix(1L << 32, (1L << 32) + 1));
    assertThrows(GatunException.class, () -> scratch.matrix(1L << 31, 1L << 31));
    assertEquals(64 * Float.BYTES, scratch.ints(64).byteSize());
    scratch.close();
  }

  @Test
  void softmax() {
    with(
        (arena, ops) -> {
          int columns = 301;
          Tensor x = normal(arena, new Random(1), 3, columns);
          Tensor out = Tensor.allocate(arena, DType.FLOAT32, 3, columns);
          for (boolean log : new boolean[] {false, true}) {
            ops.softmax(log, matrix(x), matrix(out));
            for (int r = 0; r < 3; r++) {
              double sum = 0;
              for (int i = 0; i < columns; i++) {
                sum += Math.exp(x.getFloat(r, i));
              }
              for (int i = 0; i < columns; i++) {
                double want =
                    log ? x.getFloat(r, i) - Math.log(sum) : Math.exp(x.getFloat(r, i)) / sum;
                assertEquals(want, out.getFloat(r, i), log ? 5e-6 : 1e-6 * want + 1e-9);
              }
            }
          }
        });
  }

  @Test
  void rotary() {
    with(
        (arena, ops) -> {
          int rows = 4;
          int heads = 2;
          int headDim = 10;
          int dim = 6;
          Tensor places = Tensor.copyOf(arena, new int[] {0, 4, 2, 2}, rows);
          Tensor cos = normal(arena, new Random(2), 5, dim / 2);
          Tensor sin = normal(arena, new Random(3), 5, dim / 2);
          for (boolean interleaved : new boolean[] {false, true}) {
            Tensor x = normal(arena, new Random(4), rows, heads * headDim);
            float[] old = x.toFloatArray();
            ops.rotary(interleaved, matrix(x), headDim, places.segment(), matrix(cos), matrix(sin));
            for (int n = 0; n < rows * heads; n++) {
              int place = new int[] {0, 4, 2, 2}[n / heads];
              for (int i = 0; i < dim / 2; i++) {
                int first = n * headDim + (interleaved ? 2 * i : i);
                int second = n * headDim + (interleaved ? 2 * i + 1 : i + dim / 2);
                double c = cos.getFloat(place, i);
                double s = sin.getFloat(place, i);
                float[] now = x.toFloatArray();
                assertEquals(old[first] * c - old[second] * s, now[first], 2e-6);
                assertEquals(old[second] * c + old[first] * s, now[second], 2e-6);
              }
              for (int i = dim; i < headDim; i++) {
                int at = n * headDim + i;
                assertEquals(old[at], x.toFloatArray()[at]);
              }
            }
            // A position outside the tables: nothing is written.
            float[] kept = x.toFloatArray();
            assertThrows(
                GatunException.class,
                () ->
                    ops.rotary(
                        interleaved,
                        matrix(x),
                        headDim,
                        places.segment(),
                        matrix(cos.slice(0, 0, 4)),
                        matrix(sin.slice(0, 0, 4))));
            Run.checkSameBits(kept, x.toFloatArray(), "x after a refusal");
          }
        });
  }

  @Test
  void embeddingWithAFactor() {
    with(
        (arena, ops) -> {
          Tensor words = normal(arena, new Random(5), 7, 12);
          Tensor positions = normal(arena, new Random(6), 3, 12);
          Tensor ids = Tensor.copyOf(arena, new int[] {6, 0, 3}, 3);
          Tensor steps = Tensor.copyOf(arena, new int[] {0, 1, 2}, 3);
          Tensor out = Tensor.allocate(arena, DType.FLOAT32, 3, 12);
          float factor = (float) Math.sqrt(12);
          ops.embedding(
              factor,
              ids.segment(),
              matrix(words),
              steps.segment(),
              matrix(positions),
              NONE,
              null,
              matrix(out));
          for (int r = 0; r < 3; r++) {
            for (int i = 0; i < 12; i++) {
              float want = factor * words.getFloat(new int[] {6, 0, 3}[r], i);
              assertEquals(want + positions.getFloat(r, i), out.getFloat(r, i));
            }
          }
        });
  }
}
