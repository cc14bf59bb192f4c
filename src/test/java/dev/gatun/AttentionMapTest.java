package dev.gatun;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;
import static org.junit.jupiter.api.DynamicTest.dynamicTest;

import dev.gatun.AttentionMap.Reduction;
import dev.gatun.AttentionMasksTest.Change;
import dev.gatun.support.Placement;
import dev.gatun.support.Problem;
import dev.gatun.support.Problem.Grid;
import dev.gatun.support.Reference;
import dev.gatun.support.Run;
import dev.gatun.support.Torch;
import java.lang.foreign.Arena;
import java.util.Arrays;
import java.util.List;
import java.util.Random;
import java.util.function.Consumer;
import java.util.stream.IntStream;
import java.util.stream.Stream;
import org.junit.jupiter.api.DynamicTest;
import org.junit.jupiter.api.Tag;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.TestFactory;

/** Maps of probabilities against the double reference, PyTorch, and what is refused. */
@Tag("asan")
class AttentionMapTest {

  private static final long SEED = 20_261_129;
  private static final Placement[] PLACEMENTS = Placement.values();

  /** Rows and keys of a map in bins. */
  private record Cells(AttentionMap selection, int rows, int keys, int mapRows, int mapColumns) {
    int row(int bin) {
      return (int) (selection.firstRow() + (long) bin * rows / mapRows);
    }

    int key(int bin) {
      return (int) (selection.firstKey() + (long) bin * keys / mapColumns);
    }
  }

  private static Cells draw(Problem p, Random random) {
    Reduction reduction = random.nextBoolean() ? Reduction.MEAN : Reduction.MAX;
    boolean all = random.nextInt(3) == 0;
    int firstRow = all ? 0 : random.nextInt(p.seqQ);
    int firstKey = all ? 0 : random.nextInt(p.seqK);
    int rows = all ? p.seqQ : 1 + random.nextInt(p.seqQ - firstRow);
    int keys = all ? p.seqK : 1 + random.nextInt(p.seqK - firstKey);
    long count = all ? AttentionMap.ALL : rows;
    AttentionMap selection =
        new AttentionMap(reduction, firstRow, count, firstKey, all ? AttentionMap.ALL : keys);
    boolean fine = random.nextInt(3) == 0;
    return new Cells(
        selection,
        rows,
        keys,
        fine ? rows : 1 + random.nextInt(rows),
        fine ? keys : 1 + random.nextInt(keys));
  }

  /** {@code [batch][heads][mapRows][mapColumns]}; nothing around it is written. */
  private static float[] run(GatunRuntime runtime, Problem p, Cells cells, Placement placement) {
    try (Arena arena = Arena.ofConfined()) {
      Tensor q = placement.of(arena, p.q, p.batch, p.seqQ, p.heads, p.headDim);
      Tensor k = placement.of(arena, p.k, p.batch, p.seqK, p.kvHeads, p.headDim);
      // as [batch, rows, heads, columns], so that rows and heads change places
      Placement.Placed map =
          placement.empty(arena, p.batch, cells.mapRows, p.heads, cells.mapColumns);
      Tensor out = map.tensor().transpose(1, 2);
      runtime.attention(p.spec(arena)).map(q, k, out, cells.selection, p.options(arena));
      float[] result = out.toFloatArray();
      map.checkSurroundings();
      return result;
    }
  }

  /** With unit vectors as values, the output of attention is its probabilities. */
  private static void unitValues(Problem p) {
    Arrays.fill(p.v, 0);
    for (int b = 0; b < p.batch; b++) {
      for (int j = 0; j < p.seqK; j++) {
        for (int g = 0; g < p.kvHeads; g++) {
          p.v[p.vAt(b, j, g, j)] = 1;
        }
      }
    }
  }

  /** Errors are bounded as in gatun.h, which allows twice that of the output for unit vectors. */
  private static void check(Problem p, Cells cells, float[] got) {
    Reference reference = new Reference(p);
    int at = 0;
    for (int b = 0; b < p.batch; b++) {
      for (int h = 0; h < p.heads; h++) {
        for (int r = 0; r < cells.mapRows; r++) {
          for (int c = 0; c < cells.mapColumns; c++, at++) {
            double sum = 0;
            double most = 0;
            double bound = 0;
            for (int i = cells.row(r); i < cells.row(r + 1); i++) {
              bound = Math.max(bound, reference.outBound(b, h, i));
              for (int j = cells.key(c); j < cells.key(c + 1); j++) {
                double p1 = reference.out[p.outAt(b, i, h, j)];
                sum += p1;
                most = Math.max(most, p1);
              }
            }
            int count = (cells.row(r + 1) - cells.row(r)) * (cells.key(c + 1) - cells.key(c));
            double want = cells.selection.reduction() == Reduction.MEAN ? sum / count : most;
            assertEquals(
                want,
                got[at],
                2 * bound * want + 1e-37,
                "%s %s: head %d, cell (%d, %d)".formatted(p, cells, h, r, c));
          }
        }
      }
    }
  }

  @TestFactory
  Stream<DynamicTest> combinations() {
    Change[] all = Change.values();
    return IntStream.range(0, 250)
        .mapToObj(
            n -> {
              Random random = new Random(SEED + n);
              int kvHeads = 1 + random.nextInt(2);
              int seqK = 1 + random.nextInt(n % 5 == 0 ? 500 : 150);
              Problem problem =
                  new Problem(
                      1 + random.nextInt(2),
                      kvHeads * (1 + random.nextInt(3)),
                      kvHeads,
                      n % 4 == 0 ? 1 + random.nextInt(4) : 1 + random.nextInt(150),
                      seqK,
                      1 + random.nextInt(70),
                      seqK);
              for (int changes = random.nextInt(4); changes > 0; changes--) {
                AttentionMasksTest.change(problem, all[random.nextInt(all.length)], random);
              }
              Cells cells = draw(problem, random);
              Tier tier = Run.tiers().get(n % Run.tiers().size());
              Placement placement = PLACEMENTS[random.nextInt(PLACEMENTS.length)];
              return dynamicTest(
                  "%d (seed %d): %s %s %s %s".formatted(n, SEED, tier, placement, problem, cells),
                  () -> {
                    problem.draw(random, 1);
                    unitValues(problem);
                    float[] map = run(Run.runtime(tier, 2), problem, cells, placement);
                    check(problem, cells, map);
                    Run.checkSameBits(
                        map,
                        run(Run.runtime(tier, 1), problem, cells, Placement.BSHD),
                        "one thread, another placement");
                  });
            });
  }

  /** The short forms, and a workspace between calls of attention. */
  @Test
  void shortForms() {
    Problem problem = new Problem(1, 2, 1, 9, 33, 16, 33).draw(SEED);
    unitValues(problem);
    GatunRuntime runtime = Run.runtime(Run.bestTier(), 2);
    try (Arena arena = Arena.ofConfined();
        Workspace workspace = runtime.newWorkspace()) {
      Tensor q = Tensor.copyOf(arena, problem.q, 1, 9, 2, 16);
      Tensor k = Tensor.copyOf(arena, problem.k, 1, 33, 1, 16);
      Tensor v = Tensor.copyOf(arena, problem.v, 1, 33, 1, 33);
      Tensor out = Tensor.allocate(arena, DType.FLOAT32, 1, 9, 2, 33);
      Tensor map = Tensor.allocate(arena, DType.FLOAT32, 1, 2, 9, 33);
      Attention attention = runtime.attention(AttentionSpec.standard());
      Cells cells = new Cells(AttentionMap.mean(), 9, 33, 9, 33);
      attention.map(q, k, map);
      check(problem, cells, map.toFloatArray());
      for (int n = 0; n < 3; n++) {
        map.fill(-1);
        attention.map(workspace, q, k, map, AttentionMap.max(), new AttentionOptions());
        check(problem, cells, map.toFloatArray());
        attention.forward(workspace, q, k, v, out);
        new Reference(problem).check(out.toFloatArray(), null);
      }
      attention.map(
          q, k, map.slice(2, 0, 0), AttentionMap.mean().rows(3, 0), new AttentionOptions());
      assertEquals(
          "AttentionMap[reduction=MAX, firstRow=1, rows=2, firstKey=0, keys=-1]",
          AttentionMap.max().rows(1, 2).toString());
    }
  }

  /** Queries and keys of 16 bits give the bits of float32 tensors of the same numbers. */
  @Test
  void halves() {
    Random random = new Random(SEED);
    GatunRuntime runtime = Run.runtime(Run.bestTier(), 2);
    try (Arena arena = Arena.ofConfined()) {
      Tensor q = Tensor.allocate(arena, DType.BFLOAT16, 1, 200, 2, 24);
      Tensor k = Tensor.allocate(arena, DType.FLOAT16, 1, 300, 2, 24);
      Tensor floatQ = Tensor.allocate(arena, DType.FLOAT32, 1, 200, 2, 24);
      Tensor floatK = Tensor.allocate(arena, DType.FLOAT32, 1, 300, 2, 24);
      for (long n = 0; n < q.elements(); n++) {
        int bits = Float.floatToRawIntBits((float) random.nextGaussian()) >>> 16;
        q.segment().setAtIndex(java.lang.foreign.ValueLayout.JAVA_SHORT, n, (short) bits);
        floatQ
            .segment()
            .setAtIndex(
                java.lang.foreign.ValueLayout.JAVA_FLOAT, n, Float.intBitsToFloat(bits << 16));
      }
      for (long n = 0; n < k.elements(); n++) {
        short half = Float.floatToFloat16((float) random.nextGaussian());
        k.segment().setAtIndex(java.lang.foreign.ValueLayout.JAVA_SHORT, n, half);
        floatK
            .segment()
            .setAtIndex(java.lang.foreign.ValueLayout.JAVA_FLOAT, n, Float.float16ToFloat(half));
      }
      Tensor map = Tensor.allocate(arena, DType.FLOAT32, 1, 2, 50, 70);
      Tensor want = Tensor.allocate(arena, DType.FLOAT32, 1, 2, 50, 70);
      Attention attention = runtime.attention(AttentionSpec.standard());
      attention.map(q, k, map);
      attention.map(floatQ, floatK, want);
      Run.checkSameBits(want.toFloatArray(), map.toFloatArray(), "16-bit queries and keys");
    }
  }

  /** The softmax of PyTorch on the same numbers. */
  @Test
  void asPyTorch() {
    Problem p = new Problem(2, 3, 3, 17, 70, 24, 1).draw(SEED);
    p.bias = Grid.of(1, 3, 17, 70);
    Random random = new Random(SEED);
    for (int n = 0; n < p.bias.values().length; n++) {
      p.bias.values()[n] = (float) random.nextGaussian();
    }
    float[] got =
        run(
            Run.runtime(Run.bestTier(), 2),
            p,
            new Cells(AttentionMap.mean(), 17, 70, 17, 70),
            Placement.BSHD);
    try (Torch torch = Torch.float32()) {
      Torch.Array q = torch.transpose(torch.array(p.q, 2, 17, 3, 24), 1, 2);
      Torch.Array k = torch.transpose(torch.array(p.k, 2, 70, 3, 24), 1, 2);
      Torch.Array scores =
          torch.multiply(torch.matmul(q, torch.transpose(k, 2, 3)), 1 / Math.sqrt(24));
      float[] want =
          torch
              .softmax(torch.add(scores, torch.array(p.bias.values(), 1, 3, 17, 70)), 3)
              .toFloats();
      assertEquals(want.length, got.length);
      for (int n = 0; n < got.length; n++) {
        // both sides' roundings: scores of some 10, each off by a few units in the last place
        assertEquals(want[n], got[n], 1e-5 * want[n], "element " + n);
      }
    }
  }

  // ---- what is refused -------------------------------------------------------------------------

  @Test
  void refused() {
    try (Arena arena = Arena.ofConfined()) {
      Tensor q = Tensor.allocate(arena, DType.FLOAT32, 2, 9, 4, 8);
      Tensor k = Tensor.allocate(arena, DType.FLOAT32, 2, 33, 2, 8);
      Attention attention = Run.runtime(Run.bestTier(), 2).attention(AttentionSpec.standard());
      AttentionMap all = AttentionMap.mean();
      refused(
          "map: expected [2, 4, 1 .. 9, 1 .. 33] float32, got ",
          arena,
          map -> attention.map(q, k, map),
          2,
          4,
          10,
          33);
      refused("map: expected [2, 4, 1 .. 9", arena, map -> attention.map(q, k, map), 2, 4, 9, 0);
      refused("map: expected [2, 4, 1 .. 9", arena, map -> attention.map(q, k, map), 2, 2, 9, 3);
      refused(
          "map: expected [2, 4, 1 .. 3, 1 .. 33]",
          arena,
          map -> attention.map(q, k, map, all.rows(6, AttentionMap.ALL), new AttentionOptions()),
          2,
          4,
          9,
          33);
      refused(
          "selection: expected rows within 0 .. 9 (seqQ), got 4 from 6 on",
          arena,
          map -> attention.map(q, k, map, all.rows(6, 4), new AttentionOptions()),
          2,
          4,
          4,
          33);
      refused(
          "selection: expected keys within 0 .. 33 (seqK), got 0 from 34 on",
          arena,
          map -> attention.map(q, k, map, all.keys(34, AttentionMap.ALL), new AttentionOptions()),
          2,
          4,
          9,
          33);
      Tensor offsets = Tensor.copyOf(arena, new int[] {0, 9}, 2);
      refused(
          "cuSeqlens: expected none, as ragged sequences have no map, got ",
          arena,
          map -> attention.map(q, k, map, all, new AttentionOptions().cuSeqlens(offsets, offsets)),
          2,
          4,
          9,
          33);
      Tensor lse = Tensor.allocate(arena, DType.FLOAT32, 2, 4, 9);
      refused(
          "lse: expected none beside a map, got ",
          arena,
          map -> attention.map(q, k, map, all, new AttentionOptions().lse(lse)),
          2,
          4,
          9,
          33);
      Tensor lengths = Tensor.copyOf(arena, new int[] {3, 34}, 2);
      refused(
          "keyLengths[1]: expected 0 .. 33, got 34",
          arena,
          map -> attention.map(q, k, map, all, new AttentionOptions().keyLengths(lengths)),
          2,
          4,
          9,
          33);
      Tensor shared =
          Tensor.ofStrided(
              q.segment(), DType.FLOAT32, new long[] {2, 4, 3, 3}, new long[] {36, 9, 3, 1});
      assertMessage("map: ", () -> attention.map(q, k, shared));
      assertMessage("map: ", () -> attention.map(k.slice(2, 0, 2), q.slice(2, 0, 2), shared));
      Tensor twice =
          Tensor.ofStrided(
              lse.segment(), DType.FLOAT32, new long[] {2, 4, 3, 3}, new long[] {0, 9, 3, 1});
      assertMessage("map: expected an address for each element", () -> attention.map(q, k, twice));
      Tensor turned = Tensor.allocate(arena, DType.FLOAT32, 2, 4, 3, 3).transpose(2, 3);
      assertMessage("map: expected stride 1", () -> attention.map(q, k, turned));
      assertMessage(
          "map: expected memory that can be written",
          () ->
              attention.map(
                  q,
                  k,
                  Tensor.of(
                      lse.segment().asReadOnly().asSlice(0, 32 * 4), DType.FLOAT32, 2, 4, 2, 2)));
      assertThrows(IllegalArgumentException.class, () -> all.rows(-1, 3));
      assertThrows(IllegalArgumentException.class, () -> all.keys(0, -2));
      assertThrows(NullPointerException.class, () -> attention.map(q, k, null));
      assertThrows(
          NullPointerException.class, () -> attention.map(q, k, lse, null, new AttentionOptions()));
    }
  }

  private static void refused(
      String message, Arena arena, Consumer<Tensor> call, int b, int h, int rows, int columns) {
    Placement.Placed map = Placement.BSHD.empty(arena, b, h, rows, columns);
    assertMessage(message, () -> call.accept(map.tensor()));
    map.checkUntouched();
  }

  private static void assertMessage(String message, Runnable call) {
    String got = assertThrows(IllegalArgumentException.class, call::run).getMessage();
    assertTrue(got.startsWith(message), () -> "expected %s, got %s".formatted(message, got));
  }

  /** A closed arena is named by the tensor that lay in it. */
  @Test
  void closedArena() {
    try (Arena arena = Arena.ofConfined()) {
      Tensor q = Tensor.allocate(arena, DType.FLOAT32, 1, 3, 2, 4);
      Tensor map;
      try (Arena closed = Arena.ofConfined()) {
        map = Tensor.allocate(closed, DType.FLOAT32, 1, 2, 3, 3);
      }
      Attention attention = Run.runtime(Run.bestTier(), 2).attention(AttentionSpec.standard());
      String got =
          assertThrows(IllegalStateException.class, () -> attention.map(q, q, map)).getMessage();
      assertEquals("map: its arena is closed", got);
      assertEquals(List.of(Reduction.MEAN, Reduction.MAX), List.of(Reduction.values()));
    }
  }
}
