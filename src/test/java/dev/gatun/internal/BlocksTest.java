package dev.gatun.internal;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;

import dev.gatun.Causal;
import dev.gatun.DType;
import dev.gatun.GatunException;
import dev.gatun.GatunRuntime;
import dev.gatun.Tensor;
import dev.gatun.Workspace;
import dev.gatun.support.Problem;
import dev.gatun.support.Reference;
import dev.gatun.support.Run;
import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.util.Random;
import java.util.function.BiConsumer;
import org.junit.jupiter.api.Test;

/** What layers reach of gatun.h through {@link Blocks} alone, against its formulas in double. */
class BlocksTest {

  private static final MemorySegment NONE = MemorySegment.NULL;

  private static void with(BiConsumer<Arena, Blocks> body) {
    GatunRuntime runtime = Run.runtime(Run.bestTier(), 2);
    try (Arena arena = Arena.ofConfined();
        Workspace workspace = runtime.newWorkspace()) {
      Workspace taken = Access.get().begin(runtime, workspace);
      try {
        body.accept(arena, Access.get().blocks(taken));
      } finally {
        Access.get().end(runtime, workspace, taken);
      }
    }
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
    with(
        (arena, blocks) -> {
          for (long floats : new long[] {1L << 61, (1L << 61) + 4, Long.MAX_VALUE, -1, 1L << 63}) {
            assertThrows(GatunException.class, () -> blocks.take(floats), "" + floats);
          }
          assertEquals(64 * Float.BYTES, blocks.take(64).segment().byteSize());
        });
  }

  @Test
  void softmax() {
    with(
        (arena, blocks) -> {
          int columns = 301;
          Tensor x = normal(arena, new Random(1), 3, columns);
          Tensor out = Tensor.allocate(arena, DType.FLOAT32, 3, columns);
          for (boolean log : new boolean[] {false, true}) {
            blocks.softmax(log, 3, columns, x.segment(), columns, out.segment(), columns);
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
        (arena, blocks) -> {
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
            blocks.rotary(
                interleaved,
                rows,
                heads,
                headDim,
                dim,
                x.segment(),
                heads * headDim,
                places.segment(),
                cos.segment(),
                sin.segment(),
                5);
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
                    blocks.rotary(
                        interleaved,
                        rows,
                        heads,
                        headDim,
                        dim,
                        x.segment(),
                        heads * headDim,
                        places.segment(),
                        cos.segment(),
                        sin.segment(),
                        4));
            Run.checkSameBits(kept, x.toFloatArray(), "x after a refusal");
          }
        });
  }

  @Test
  void embeddingWithAFactor() {
    with(
        (arena, blocks) -> {
          Tensor words = normal(arena, new Random(5), 7, 12);
          Tensor positions = normal(arena, new Random(6), 3, 12);
          Tensor ids = Tensor.copyOf(arena, new int[] {6, 0, 3}, 3);
          Tensor steps = Tensor.copyOf(arena, new int[] {0, 1, 2}, 3);
          Tensor out = Tensor.allocate(arena, DType.FLOAT32, 3, 12);
          float factor = (float) Math.sqrt(12);
          blocks.embedding(
              factor,
              3,
              12,
              ids.segment(),
              words.segment(),
              7,
              steps.segment(),
              positions.segment(),
              3,
              NONE,
              NONE,
              0,
              out.segment(),
              12);
          for (int r = 0; r < 3; r++) {
            for (int i = 0; i < 12; i++) {
              float want = factor * words.getFloat(new int[] {6, 0, 3}[r], i);
              assertEquals(want + positions.getFloat(r, i), out.getFloat(r, i));
            }
          }
        });
  }

  /** Batch rows of equal length, by lengths and packed; without biases before and after. */
  @Test
  void biasedAttention() {
    Random random = new Random(7);
    for (Causal causal : Causal.values()) {
      Problem p = new Problem(3, 4, 2, 9, 21, 16, 16).causal(causal).draw(random, 1);
      Problem plain = new Problem(3, 4, 2, 9, 21, 16, 16).causal(causal);
      System.arraycopy(p.q, 0, plain.q, 0, p.q.length);
      System.arraycopy(p.k, 0, plain.k, 0, p.k.length);
      System.arraycopy(p.v, 0, plain.v, 0, p.v.length);
      p.slopes(random).relative(random, 6);
      with(
          (arena, blocks) -> {
            MemorySegment q = Tensor.copyOf(arena, p.q, p.q.length).segment();
            MemorySegment k = Tensor.copyOf(arena, p.k, p.k.length).segment();
            MemorySegment v = Tensor.copyOf(arena, p.v, p.v.length).segment();
            MemorySegment slopes = Tensor.copyOf(arena, p.slopes, 4).segment();
            MemorySegment table = Tensor.copyOf(arena, p.relative, 4, 13).segment();
            MemorySegment cuQ = Tensor.copyOf(arena, new int[] {0, 9, 18, 27}, 4).segment();
            MemorySegment cuK = Tensor.copyOf(arena, new int[] {0, 21, 42, 63}, 4).segment();
            Tensor out = Tensor.allocate(arena, DType.FLOAT32, p.q.length);
            MemorySegment to = out.segment();
            for (int n = 0; n < 2; n++) {
              describe(blocks, p, 9 * 64, 21 * 32).attention(q, k, v, NONE, NONE, to);
              new Reference(plain).check(out.toFloatArray(), null);
              describe(blocks, p, 9 * 64, 21 * 32)
                  .attentionBiased(q, k, v, NONE, NONE, slopes, table, 6, to);
              float[] byRows = out.toFloatArray();
              new Reference(p).check(byRows, null);
              out.fill(0);
              describe(blocks, p, 0, 0)
                  .attentionPackedBiased(q, k, v, cuQ, cuK, slopes, table, 6, to);
              Run.checkSameBits(byRows, out.toFloatArray(), "packed");
            }
          });
    }
  }

  private static Blocks describe(Blocks blocks, Problem p, long queryBatch, long keyBatch) {
    return blocks
        .describe(p.causal, false, 0, 3, 4, 2, 9, 21, 16, 16)
        .queryStrides(queryBatch, 64, 16, queryBatch, 64, 16)
        .keyStrides(keyBatch, 32, 16, keyBatch, 32, 16);
  }
}
