package dev.gatun.nn;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import dev.gatun.Causal;
import dev.gatun.DType;
import dev.gatun.GatunRuntime;
import dev.gatun.Tensor;
import dev.gatun.internal.LayerCall;
import dev.gatun.internal.LayerCalls;
import dev.gatun.internal.Matrix;
import dev.gatun.internal.SequenceRows;
import dev.gatun.support.Difference;
import dev.gatun.support.Torch;
import dev.gatun.support.Torch.Array;
import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.util.Arrays;
import java.util.Random;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;

/** Linformer against equation 7 in double, and against PyTorch's functions in float64. */
class LinformerAttentionTest {

  /**
   * A share of the greatest element. A projected element is a sum of up to 300 products, whose
   * roundings of 6e-8 mostly cancel, and the scores have its error times √headDim; issue and table
   * promise 1e-5.
   */
  private static final double BOUND = 2e-6;

  private final Arena arena = Arena.ofShared();
  private final Random random = new Random(Layers.SEED);
  private final GatunRuntime runtime = Layers.runtime(2);

  @AfterEach
  void close() {
    arena.close();
  }

  /** Which heads have which projections. */
  private enum Sharing {
    HEADWISE,
    KEY_VALUE,
    NONE
  }

  private Tensor projection(int kvHeads, int projected, int length, Sharing sharing) {
    float[] data =
        Layers.draw(
            random,
            (sharing == Sharing.NONE ? kvHeads : 1) * projected * length,
            1 / Math.sqrt(length));
    return sharing == Sharing.NONE
        ? Tensor.copyOf(arena, data, kvHeads, projected, length)
        : Tensor.copyOf(arena, data, projected, length);
  }

  /** The first rows of x, projected: {@code [batch, projected, heads, dim]}. */
  private static double[] project(Tensor by, Tensor x) {
    int rank = by.rank();
    int projected = (int) by.size(rank - 2);
    int batch = (int) x.size(0);
    int seq = (int) x.size(1);
    int heads = (int) x.size(2);
    int dim = (int) x.size(3);
    double[] to = new double[batch * projected * heads * dim];
    for (int b = 0; b < batch; b++) {
      for (int p = 0; p < projected; p++) {
        for (int h = 0; h < heads; h++) {
          for (int d = 0; d < dim; d++) {
            double sum = 0;
            for (int j = 0; j < seq; j++) {
              double factor = rank == 2 ? by.getFloat(p, j) : by.getFloat(h, p, j);
              sum += factor * x.getFloat(b, j, h, d);
            }
            to[((b * projected + p) * heads + h) * dim + d] = sum;
          }
        }
      }
    }
    return to;
  }

  private static double[] reference(Tensor q, Tensor k, Tensor v, Tensor e, Tensor f) {
    int headDim = (int) q.size(3);
    return Layers.attention(
        new Layers.Sizes(
            (int) q.size(0),
            (int) q.size(1),
            (int) e.size(e.rank() - 2),
            (int) q.size(2),
            (int) k.size(2),
            headDim,
            (int) v.size(3)),
        Layers.doubles(q),
        project(e, k),
        project(f, v),
        Causal.NONE,
        1 / Math.sqrt(headDim),
        null,
        null);
  }

  private Tensor empty(Tensor q, Tensor v) {
    return Tensor.allocate(arena, DType.FLOAT32, q.size(0), q.size(1), q.size(2), v.size(3));
  }

  @ParameterizedTest
  @CsvSource({
    "1, 40, 40, 4, 4, 16, 16, 8, 40",
    "3, 25, 25, 4, 2, 16, 24, 7, 40",
    "2, 5, 300, 6, 3, 32, 32, 64, 300",
    "1, 1, 1, 1, 1, 1, 1, 1, 1",
    "2, 7, 17, 2, 1, 8, 8, 33, 19",
    "1, 9, 128, 2, 2, 64, 64, 32, 512"
  })
  void isEquationSeven(
      int batch, int seqQ, int seqK, int heads, int kvHeads, int dim, int dimV, int p, int length) {
    for (Sharing sharing : Sharing.values()) {
      Tensor e = projection(kvHeads, p, length, sharing);
      Tensor f = sharing == Sharing.KEY_VALUE ? e : projection(kvHeads, p, length, sharing);
      Tensor q = Layers.normal(arena, random, batch, seqQ, heads, dim);
      Tensor k = Layers.normal(arena, random, batch, seqK, kvHeads, dim);
      Tensor v = Layers.normal(arena, random, batch, seqK, kvHeads, dimV);
      Tensor out = empty(q, v);
      new LinformerAttention(runtime, e, f).forward(null, q, k, v, out);
      double share = Difference.share(reference(q, k, v, e, f), out.toFloatArray());
      System.out.printf(
          "linformer, %d keys to %d, %s: differs by at most %.1e of the greatest element%n",
          seqK, p, sharing, share);
      assertTrue(share <= BOUND, sharing + ": " + share);
    }
  }

  @Test
  void isPyTorch() {
    int batch = 2;
    int seq = 96;
    int heads = 4;
    int dim = 32;
    int projected = 24;
    Tensor e = projection(heads, projected, seq, Sharing.HEADWISE);
    Tensor f = projection(heads, projected, seq, Sharing.HEADWISE);
    Tensor q = Layers.normal(arena, random, batch, seq, heads, dim);
    Tensor k = Layers.normal(arena, random, batch, seq, heads, dim);
    Tensor v = Layers.normal(arena, random, batch, seq, heads, dim);
    Tensor out = Tensor.allocate(arena, DType.FLOAT32, batch, seq, heads, dim);
    // example: linformer
    AttentionMechanism linformer = new LinformerAttention(runtime, e, f); // [24, 96] each
    linformer.forward(null, q, k, v, out); // [batch, seq, heads, dim]
    // end
    try (Torch torch = Torch.float64()) {
      Array[] x = new Array[3];
      for (int n = 0; n < 3; n++) {
        Tensor tensor = n == 0 ? q : n == 1 ? k : v;
        x[n] = torch.transpose(torch.array(tensor.toFloatArray(), tensor.shape()), 1, 2);
      }
      Array keys = torch.matmul(torch.array(e.toFloatArray(), e.shape()), x[1]);
      Array values = torch.matmul(torch.array(f.toFloatArray(), f.shape()), x[2]);
      Array want =
          torch.transpose(torch.attention(x[0], keys, values, null, false, Double.NaN), 1, 2);
      double share = Difference.share(want.toDoubles(), out.toFloatArray());
      System.out.printf("linformer: differs from PyTorch in float64 by at most %.1e%n", share);
      assertTrue(share <= BOUND, "" + share);
    }
  }

  @Test
  void aShorterSequenceUsesTheFirstColumns() {
    Tensor e = projection(2, 8, 50, Sharing.NONE);
    Tensor f = projection(2, 8, 50, Sharing.NONE);
    Tensor q = Layers.normal(arena, random, 1, 30, 2, 16);
    Tensor out = empty(q, q);
    Tensor cut = empty(q, q);
    new LinformerAttention(runtime, e, f).forward(null, q, q, q, out);
    new LinformerAttention(runtime, e.slice(2, 0, 30), f.slice(2, 0, 30))
        .forward(null, q, q, q, cut);
    assertArrayEquals(cut.toFloatArray(), out.toFloatArray());
  }

  @Test
  void bitsDependOnNeitherThreadsNorNeighbors() {
    for (Sharing sharing : Sharing.values()) {
      Tensor e = projection(4, 16, 200, sharing);
      Tensor q = Layers.normal(arena, random, 3, 200, 4, 32);
      Tensor k = Layers.normal(arena, random, 3, 200, 4, 32);
      Tensor all = empty(q, k);
      new LinformerAttention(Layers.runtime(2), e, e).forward(null, q, k, k, all);
      for (int n = 0; n < 3; n++) {
        Tensor one = q.slice(0, n, n + 1);
        Tensor alone = empty(one, k);
        new LinformerAttention(Layers.runtime(1), e, e)
            .forward(null, one, k.slice(0, n, n + 1), k.slice(0, n, n + 1), alone);
        assertArrayEquals(alone.toFloatArray(), all.slice(0, n, n + 1).toFloatArray());
      }
    }
  }

  /** Rows of one matrix, as a layer has them, in sequences of 20, 0 and 33 rows. */
  @Test
  void sequencesMayHaveDifferentLengths() {
    Tensor e = projection(2, 8, 40, Sharing.HEADWISE);
    Tensor f = projection(2, 8, 40, Sharing.HEADWISE);
    LinformerAttention mechanism = new LinformerAttention(runtime, e, f);
    Tensor fused = Layers.normal(arena, random, 1, 53, 6, 16);
    Tensor out = Tensor.allocate(arena, DType.FLOAT32, 1, 53, 2, 16);
    Matrix all = Matrix.of(fused.segment(), 53, 96, 96);
    Matrix context = Matrix.of(out.segment(), 53, 32, 32);
    MemorySegment offsets = Tensor.copyOf(arena, new int[] {0, 20, 20, 53}, 4).segment();
    try (LayerCall call = LayerCalls.begin(runtime, null)) {
      SequenceRows rows = SequenceRows.ragged(call.scratch(), offsets, 3);
      mechanism.checkSequences("x", rows, rows);
      mechanism.attend(
          call,
          2,
          2,
          rows,
          all.part(0, 0, 32),
          rows,
          all.part(1, 32, 32),
          all.part(2, 64, 32),
          context);
    }
    for (int[] part : new int[][] {{0, 20}, {20, 53}}) {
      Tensor some = fused.slice(1, part[0], part[1]);
      double[] want =
          reference(some.slice(2, 0, 2), some.slice(2, 2, 4), some.slice(2, 4, 6), e, f);
      double share = Difference.share(want, out.slice(1, part[0], part[1]).toFloatArray());
      assertTrue(share <= BOUND, "" + share);
    }
  }

  @Test
  void aSequenceWithoutKeysGivesZero() {
    Tensor e = projection(1, 4, 10, Sharing.HEADWISE);
    Tensor q = Layers.normal(arena, random, 1, 3, 1, 8);
    Tensor none = Tensor.allocate(arena, DType.FLOAT32, 1, 0, 1, 8);
    Tensor out = empty(q, q);
    out.fill(7);
    new LinformerAttention(runtime, e, e).forward(null, q, none, none, out);
    assertArrayEquals(new float[24], out.toFloatArray());
  }

  private void refused(String message, Runnable call) {
    String got = assertThrows(IllegalArgumentException.class, call::run).getMessage();
    assertTrue(got.startsWith(message), got);
  }

  @Test
  void whatDoesNotFitIsRefused() {
    Tensor e = projection(2, 8, 40, Sharing.NONE);
    String shape = "[projected, length] or [kvHeads, projected, length] float32, 1 or more, got ";
    Tensor vector = Layers.normal(arena, random, 4);
    refused("e: expected " + shape + "[4]", () -> new LinformerAttention(runtime, vector, e));
    Tensor bytes = Tensor.allocate(arena, DType.UINT8, 4, 4);
    refused("f: expected " + shape + "[4, 4]", () -> new LinformerAttention(runtime, e, bytes));
    Tensor other = projection(2, 8, 39, Sharing.NONE);
    refused(
        "f: expected [2, 8, 40] float32, as e has, got [2, 8, 39]",
        () -> new LinformerAttention(runtime, e, other));
    Tensor square = Layers.normal(arena, random, 8, 8).transpose(0, 1);
    refused(
        "e: expected evenly spaced rows", () -> new LinformerAttention(runtime, square, square));
    LinformerAttention mechanism = new LinformerAttention(runtime, e, e);
    assertEquals(
        "linformer 8 40",
        mechanism.name() + " " + mechanism.projected() + " " + mechanism.length());
    Tensor q = Layers.normal(arena, random, 1, 41, 2, 8);
    Tensor out = empty(q, q);
    out.fill(7);
    refused(
        "q: expected at most 40 keys in a sequence, as e has columns, got 41",
        () -> mechanism.forward(null, q, q, q, out));
    Tensor heads = Layers.normal(arena, random, 1, 40, 4, 8);
    Tensor outHeads = empty(heads, heads);
    refused(
        "e: expected [projected, length] or [4, projected, length]",
        () -> mechanism.forward(null, heads, heads, heads, outHeads));
    Tensor inE = e.reshape(1, 40, 2, 8);
    Tensor some = q.slice(1, 0, 40);
    refused("out: ", () -> mechanism.forward(null, some, some, some, inE));
    float[] sevens = new float[41 * 16];
    Arrays.fill(sevens, 7);
    assertArrayEquals(sevens, out.toFloatArray());
  }
}
