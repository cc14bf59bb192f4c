package dev.gatun.nn;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import dev.gatun.Activation;
import dev.gatun.Causal;
import dev.gatun.DType;
import dev.gatun.GatunRuntime;
import dev.gatun.Tensor;
import dev.gatun.internal.LayerCall;
import dev.gatun.internal.LayerCalls;
import dev.gatun.internal.Matrix;
import dev.gatun.internal.SequenceRows;
import dev.gatun.support.Allocations;
import dev.gatun.support.Difference;
import dev.gatun.support.Torch;
import dev.gatun.support.Torch.Array;
import java.io.IOException;
import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.util.Arrays;
import java.util.Random;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;

/** Additive attention against its paper's formulas in double, and against PyTorch in float64. */
class AdditiveAttentionTest {

  /**
   * A share of the greatest element. Energies of size 1 / √headDim make scores whose errors, some
   * roundings of 6e-8 each, are errors of probabilities; issue and table promise 1e-5.
   */
  private static final double BOUND = 2e-6;

  private final Arena arena = Arena.ofShared();
  private final Random random = new Random(Layers.SEED);
  private final GatunRuntime runtime = Layers.runtime(2);

  @AfterEach
  void close() {
    arena.close();
  }

  private Tensor energy(int heads, int dim) {
    return Tensor.copyOf(arena, Layers.draw(random, heads * dim, 1 / Math.sqrt(dim)), heads, dim);
  }

  private Tensor empty(Tensor q, Tensor v) {
    return Tensor.allocate(arena, DType.FLOAT32, q.size(0), q.size(1), q.size(2), v.size(3));
  }

  /** How many of its keys a row sees. */
  private static int seen(Causal causal, int row, int rows, int keys) {
    int end =
        switch (causal) {
          case NONE -> keys;
          case TOP_LEFT -> row + 1;
          case BOTTOM_RIGHT -> row + 1 + keys - rows;
        };
    return Math.clamp(end, 0, keys);
  }

  /** Sections 3.1 and A.1.2, with heads. */
  private static double[] reference(Tensor energy, Tensor q, Tensor k, Tensor v, Causal causal) {
    int rows = (int) q.size(1);
    int keys = (int) k.size(1);
    int heads = (int) q.size(2);
    int group = heads / (int) k.size(2);
    int dim = (int) q.size(3);
    int dimV = (int) v.size(3);
    double[] out = new double[(int) q.size(0) * rows * heads * dimV];
    for (int b = 0; b < q.size(0); b++) {
      for (int i = 0; i < rows; i++) {
        for (int h = 0; h < heads; h++) {
          int seen = seen(causal, i, rows, keys);
          double[] weight = new double[seen];
          double sum = 0;
          for (int j = 0; j < seen; j++) {
            double score = 0;
            for (int d = 0; d < dim; d++) {
              double inner = (double) q.getFloat(b, i, h, d) + k.getFloat(b, j, h / group, d);
              score += energy.getFloat(h, d) * Math.tanh(inner);
            }
            weight[j] = Math.exp(score);
            sum += weight[j];
          }
          for (int j = 0; j < seen; j++) {
            for (int c = 0; c < dimV; c++) {
              out[((b * rows + i) * heads + h) * dimV + c] +=
                  weight[j] / sum * v.getFloat(b, j, h / group, c);
            }
          }
        }
      }
    }
    return out;
  }

  @ParameterizedTest
  @CsvSource({
    "1, 40, 40, 4, 4, 16, 16",
    "3, 25, 33, 4, 2, 16, 24",
    "2, 5, 300, 6, 3, 32, 32",
    "1, 1, 1, 1, 1, 1, 1",
    "2, 17, 7, 2, 1, 9, 8",
    "1, 9, 128, 2, 2, 64, 64"
  })
  void isThePapersFormula(
      int batch, int seqQ, int seqK, int heads, int kvHeads, int dim, int dimV) {
    for (Causal causal : Causal.values()) {
      Tensor energy = energy(heads, dim);
      Tensor q = Layers.normal(arena, random, batch, seqQ, heads, dim);
      Tensor k = Layers.normal(arena, random, batch, seqK, kvHeads, dim);
      Tensor v = Layers.normal(arena, random, batch, seqK, kvHeads, dimV);
      Tensor out = empty(q, v);
      new AdditiveAttention(runtime, energy, causal).forward(null, q, k, v, out);
      double share = Difference.share(reference(energy, q, k, v, causal), out.toFloatArray());
      System.out.printf(
          "additive, %d keys of %d, %s: differs by at most %.1e of the greatest element%n",
          seqK, dim, causal, share);
      assertTrue(share <= BOUND, causal + ": " + share);
    }
  }

  /** vᵀ tanh(W s + U h) for every state s and annotation h, by PyTorch's functions. */
  @Test
  void isPyTorch() {
    int batch = 2;
    int states = 11;
    int words = 37;
    int stateDim = 24;
    int annotationDim = 48;
    int hidden = 32;
    Tensor w = Layers.weight(arena, random, stateDim, hidden);
    Tensor u = Layers.weight(arena, random, annotationDim, hidden);
    Tensor energy = energy(1, hidden);
    Tensor s = Layers.normal(arena, random, batch, states, stateDim);
    Tensor h = Layers.normal(arena, random, batch, words, annotationDim);
    Tensor context = Tensor.allocate(arena, DType.FLOAT32, batch, states, 1, annotationDim);
    // example: additive
    Tensor query = Tensor.allocate(arena, DType.FLOAT32, batch, states, hidden);
    Tensor key = Tensor.allocate(arena, DType.FLOAT32, batch, words, hidden);
    new Linear(runtime, w, null, Activation.NONE).forward(s, query); // W s
    new Linear(runtime, u, null, Activation.NONE).forward(h, key); // U h
    AttentionMechanism additive = new AdditiveAttention(runtime, energy, Causal.NONE);
    additive.forward(null, query.splitHeads(1), key.splitHeads(1), h.splitHeads(1), context);
    // end
    try (Torch torch = Torch.float64()) {
      Array ws = torch.matmul(array(torch, s), array(torch, w));
      Array uh = torch.matmul(array(torch, h), array(torch, u));
      Array sum =
          torch.add(
              torch.reshape(ws, batch, states, 1, hidden),
              torch.reshape(uh, batch, 1, words, hidden));
      Array scores =
          torch.reshape(
              torch.matmul(torch.tanh(sum), torch.array(energy.toFloatArray(), (long) hidden, 1L)),
              batch,
              states,
              words);
      Array want = torch.matmul(torch.softmax(scores, -1), array(torch, h));
      double share = Difference.share(want.toDoubles(), context.toFloatArray());
      System.out.printf("additive: differs from PyTorch in float64 by at most %.1e%n", share);
      assertTrue(share <= BOUND, "" + share);
    }
  }

  private static Array array(Torch torch, Tensor tensor) {
    return torch.array(tensor.toFloatArray(), tensor.shape());
  }

  /** New rows over cached keys and values: the last rows of one pass, to the bit. */
  @Test
  void stepsAreRowsOfOnePass() {
    AdditiveAttention mechanism =
        new AdditiveAttention(runtime, energy(4, 16), Causal.BOTTOM_RIGHT);
    Tensor q = Layers.normal(arena, random, 2, 30, 4, 16);
    Tensor keys = Layers.normal(arena, random, 2, 40, 2, 16);
    Tensor values = Layers.normal(arena, random, 2, 40, 2, 8);
    int[] lengths = {30, 21};
    int rows = 3;
    Tensor out = Tensor.allocate(arena, DType.FLOAT32, 2, rows, 4, 8);
    Tensor last = Tensor.allocate(arena, DType.FLOAT32, 2, rows, 4, 16);
    Tensor lengthTensor = Tensor.copyOf(arena, lengths, 2);
    Tensor[] want = new Tensor[2];
    for (int n = 0; n < 2; n++) {
      Tensor one = q.slice(0, n, n + 1).slice(1, 0, lengths[n]);
      Tensor k = keys.slice(0, n, n + 1).slice(1, 0, lengths[n]);
      want[n] = empty(one, values);
      mechanism.forward(null, one, k, values.slice(0, n, n + 1).slice(1, 0, lengths[n]), want[n]);
      last.slice(0, n, n + 1).copyFrom(one.slice(1, lengths[n] - rows, lengths[n]).toFloatArray());
    }
    try (LayerCall call = LayerCalls.begin(runtime, null)) {
      mechanism.attendCached(
          call,
          4,
          2,
          SequenceRows.even(call.scratch(), 2, rows, MemorySegment.NULL),
          Matrix.of(last.segment(), 2 * rows, 64, 64),
          keys,
          values,
          lengthTensor.segment(),
          Matrix.of(out.segment(), 2 * rows, 32, 32));
    }
    for (int n = 0; n < 2; n++) {
      assertArrayEquals(
          want[n].slice(1, lengths[n] - rows, lengths[n]).toFloatArray(),
          out.slice(0, n, n + 1).toFloatArray());
    }
  }

  /** Rows of one matrix, as a layer has them, in sequences of 20, 0 and 33 rows. */
  @Test
  void sequencesMayHaveDifferentLengths() {
    Tensor energy = energy(2, 16);
    AdditiveAttention mechanism = new AdditiveAttention(runtime, energy, Causal.TOP_LEFT);
    Tensor fused = Layers.normal(arena, random, 1, 53, 6, 16);
    Tensor out = Tensor.allocate(arena, DType.FLOAT32, 1, 53, 2, 16);
    Matrix all = Matrix.of(fused.segment(), 53, 96, 96);
    MemorySegment offsets = Tensor.copyOf(arena, new int[] {0, 20, 20, 53}, 4).segment();
    try (LayerCall call = LayerCalls.begin(runtime, null)) {
      SequenceRows rows = SequenceRows.ragged(call.scratch(), offsets, 3);
      mechanism.attend(
          call,
          2,
          2,
          rows,
          all.part(0, 0, 32),
          rows,
          all.part(1, 32, 32),
          all.part(2, 64, 32),
          Matrix.of(out.segment(), 53, 32, 32));
    }
    for (int[] part : new int[][] {{0, 20}, {20, 53}}) {
      Tensor some = fused.slice(1, part[0], part[1]);
      double[] want =
          reference(
              energy,
              some.slice(2, 0, 2),
              some.slice(2, 2, 4),
              some.slice(2, 4, 6),
              Causal.TOP_LEFT);
      double share = Difference.share(want, out.slice(1, part[0], part[1]).toFloatArray());
      assertTrue(share <= BOUND, "" + share);
    }
  }

  @Test
  void bitsDependOnNeitherThreadsNorNeighbors() {
    Tensor energy = energy(4, 32);
    Tensor q = Layers.normal(arena, random, 3, 100, 4, 32);
    Tensor k = Layers.normal(arena, random, 3, 100, 4, 32);
    q.setFloat(50, 0, 3, 1, 2); // such a row goes another way
    Tensor all = empty(q, k);
    new AdditiveAttention(Layers.runtime(2), energy, Causal.NONE).forward(null, q, k, k, all);
    for (int n = 0; n < 3; n++) {
      Tensor one = q.slice(0, n, n + 1);
      Tensor alone = empty(one, k);
      Tensor keys = k.slice(0, n, n + 1);
      new AdditiveAttention(Layers.runtime(1), energy, Causal.NONE)
          .forward(null, one, keys, keys, alone);
      assertArrayEquals(alone.toFloatArray(), all.slice(0, n, n + 1).toFloatArray());
    }
  }

  @Test
  void aSequenceWithoutKeysGivesZero() {
    Tensor q = Layers.normal(arena, random, 1, 3, 1, 8);
    Tensor none = Tensor.allocate(arena, DType.FLOAT32, 1, 0, 1, 8);
    Tensor out = empty(q, q);
    out.fill(7);
    new AdditiveAttention(runtime, energy(1, 8), Causal.NONE).forward(null, q, none, none, out);
    assertArrayEquals(new float[24], out.toFloatArray());
  }

  @Test
  void warmCallsMakeNoGarbage() throws IOException, InterruptedException {
    long bytes = Allocations.heapBytes("additive-garbage");
    assertTrue(bytes < 0.01 * 2_500, bytes + " bytes in 2,500 rounds of calls");
  }

  private void refused(String message, Runnable call) {
    String got = assertThrows(IllegalArgumentException.class, call::run).getMessage();
    assertTrue(got.startsWith(message), got);
  }

  @Test
  void whatDoesNotFitIsRefused() {
    String shape = "energy: expected [heads, headDim] float32, 1 or more, contiguous, got ";
    Tensor vector = Layers.normal(arena, random, 4);
    refused(shape + "[4]", () -> new AdditiveAttention(runtime, vector, Causal.NONE));
    Tensor bytes = Tensor.allocate(arena, DType.UINT8, 2, 4);
    refused(shape + "[2, 4]", () -> new AdditiveAttention(runtime, bytes, Causal.NONE));
    Tensor transposed = energy(8, 2).transpose(0, 1);
    refused(shape, () -> new AdditiveAttention(runtime, transposed, Causal.NONE));
    Tensor empty = Tensor.allocate(arena, DType.FLOAT32, 2, 0);
    refused(shape, () -> new AdditiveAttention(runtime, empty, Causal.NONE));
    assertThrows(
        NullPointerException.class, () -> new AdditiveAttention(runtime, null, Causal.NONE));
    Tensor energy = energy(2, 8);
    assertThrows(NullPointerException.class, () -> new AdditiveAttention(runtime, energy, null));

    AdditiveAttention mechanism = new AdditiveAttention(runtime, energy, Causal.NONE);
    assertEquals("additive", mechanism.name());
    Tensor heads = Layers.normal(arena, random, 1, 5, 4, 8);
    Tensor outHeads = empty(heads, heads);
    outHeads.fill(7);
    refused(
        "energy: expected [4, 8], as there are heads and headDim of queries, got [2, 8]",
        () -> mechanism.forward(null, heads, heads, heads, outHeads));
    Tensor wide = Layers.normal(arena, random, 1, 5, 2, 9);
    Tensor outWide = empty(wide, wide);
    refused("energy: expected [2, 9]", () -> mechanism.forward(null, wide, wide, wide, outWide));
    Tensor q = Layers.normal(arena, random, 1, 5, 2, 8);
    Tensor large = Layers.normal(arena, random, 1, 5, 2, 513);
    Tensor outLarge = empty(q, large);
    refused(
        "head dimension: expected 1 .. 512, got 8 and 513",
        () -> mechanism.forward(null, q, q, large, outLarge));
    Tensor row = q.slice(1, 0, 1);
    Tensor inEnergy = energy.reshape(1, 1, 2, 8);
    refused("out: ", () -> mechanism.forward(null, row, q, q, inEnergy));
    refused("out: ", () -> mechanism.forward(null, q, q, q, q));
    float[] sevens = new float[160];
    Arrays.fill(sevens, 7);
    assertArrayEquals(sevens, outHeads.toFloatArray());
  }
}
