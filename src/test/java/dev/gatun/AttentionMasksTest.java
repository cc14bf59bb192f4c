package dev.gatun;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;
import static org.junit.jupiter.api.DynamicTest.dynamicTest;

import dev.gatun.support.Placement;
import dev.gatun.support.Problem;
import dev.gatun.support.Problem.Grid;
import dev.gatun.support.Reference;
import dev.gatun.support.Run;
import dev.gatun.support.Torch;
import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.Random;
import java.util.function.UnaryOperator;
import java.util.stream.IntStream;
import java.util.stream.Stream;
import org.junit.jupiter.api.DynamicTest;
import org.junit.jupiter.api.Tag;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.TestFactory;
import org.junit.jupiter.api.function.Executable;

/** What changes scores and hides keys, alone and together, against the double reference. */
@Tag("asan")
class AttentionMasksTest {

  private static final long SEED = 20_241_201;
  private static final int TRIPLES = 100;
  private static final Placement[] PLACEMENTS = Placement.values();

  enum Change {
    CAUSAL,
    LENGTHS,
    WINDOW,
    GLOBAL_TOKENS,
    SOFTCAP,
    SINKS,
    SLOPES,
    MASK,
    BIAS,
    BLOCKS,
    SEGMENTS,
    PREFIX,
    POSITIONS
  }

  // ---- against the reference -------------------------------------------------------------------

  @TestFactory
  Stream<DynamicTest> combinations() {
    Change[] all = Change.values();
    List<List<Change>> sets = new ArrayList<>();
    for (int a = 0; a < all.length; a++) {
      sets.add(List.of(all[a]));
      for (int b = 0; b < a; b++) {
        sets.add(List.of(all[b], all[a]));
      }
    }
    Random random = new Random(SEED);
    for (int n = 0; n < TRIPLES; n++) {
      int[] three = random.ints(0, all.length).distinct().limit(3).sorted().toArray();
      sets.add(List.of(all[three[0]], all[three[1]], all[three[2]]));
    }
    return IntStream.range(0, sets.size()).mapToObj(n -> test(n, sets.get(n)));
  }

  private static DynamicTest test(int n, List<Change> changes) {
    Random random = new Random(SEED + n);
    int kvHeads = 1 + random.nextInt(2);
    Problem problem =
        new Problem(
            1 + random.nextInt(2),
            kvHeads * (1 + random.nextInt(3)),
            kvHeads,
            n % 4 == 0 ? 1 + random.nextInt(4) : 1 + random.nextInt(70),
            1 + random.nextInt(n % 5 == 0 ? 600 : 150),
            1 + random.nextInt(70),
            1 + random.nextInt(70));
    changes.forEach(change -> change(problem, change, random));
    Tier tier = Run.tiers().get(n % Run.tiers().size());
    Placement inputs = PLACEMENTS[random.nextInt(PLACEMENTS.length)];
    Placement outputs = PLACEMENTS[random.nextInt(PLACEMENTS.length)];
    return dynamicTest(
        "%d (seed %d): %s %s>%s %s".formatted(n, SEED, tier, inputs, outputs, problem),
        () -> {
          problem.draw(random, 1);
          Run run = Run.of(Run.runtime(tier, 2), problem, inputs, outputs);
          Reference reference = new Reference(problem);
          reference.check(run.out(), run.lse());
          run.checkSameBits(Run.of(Run.runtime(tier, 1), problem), "one thread, other placements");
          checkRagged(problem, run, Run.runtime(tier, 2));
        });
  }

  static void change(Problem p, Change change, Random random) {
    switch (change) {
      case CAUSAL -> causal(p, random);
      case LENGTHS -> {
        p.keyLengths(random.ints(p.batch, 0, p.seqK + 1).toArray());
        p.queryLengths(random.ints(p.batch, 0, p.seqQ + 1).toArray());
      }
      case WINDOW -> {
        p.windowLeft = random.nextInt(40) - 1;
        p.windowRight = p.windowLeft < 0 ? random.nextInt(40) : random.nextInt(40) - 1;
      }
      case GLOBAL_TOKENS -> {
        p.windowLeft = Math.max(p.windowLeft, random.nextInt(5));
        p.globalTokens = 1 + random.nextInt(6);
      }
      case SOFTCAP -> p.softcap = 0.25f + random.nextInt(8);
      case SINKS -> p.sinks = normal(new float[p.heads], random);
      case SLOPES -> p.slopes(random);
      case MASK -> p.mask = bits(grid(p, p.seqQ, p.seqK, random), random);
      case BIAS -> {
        p.bias = grid(p, p.seqQ, p.seqK, random);
        normal(p.bias.values(), random);
        p.bias.values()[random.nextInt(p.bias.values().length)] = Float.NEGATIVE_INFINITY;
      }
      case BLOCKS -> {
        p.blockQ = 1 + random.nextInt(40);
        p.blockK = 1 + random.nextInt(80);
        int rows = Math.ceilDiv(p.seqQ, p.blockQ);
        p.blockMask = bits(grid(p, rows, Math.ceilDiv(p.seqK, p.blockK), random), random);
      }
      case SEGMENTS -> {
        p.segmentsQ = random.ints((long) p.batch * p.seqQ, 0, 3).sorted().toArray();
        p.segmentsK = random.ints((long) p.batch * p.seqK, 0, 3).toArray();
      }
      case PREFIX -> {
        causal(p, random);
        p.prefixLengths = random.ints(p.batch, 0, p.seqK + 1).toArray();
      }
      case POSITIONS ->
          p.positions = random.ints((long) p.batch * p.seqQ, -2, p.seqK + 3).toArray();
    }
  }

  private static void causal(Problem p, Random random) {
    p.causal(random.nextBoolean() ? Causal.BOTTOM_RIGHT : Causal.TOP_LEFT);
  }

  /** Each dimension may be of one element that counts for all. */
  private static Grid grid(Problem p, int rows, int keys, Random random) {
    int[] shape = {p.batch, p.heads, rows, keys};
    for (int dim = 0; dim < 4; dim++) {
      if (random.nextInt(4) == 0) {
        shape[dim] = 1;
      }
    }
    return Grid.of(shape);
  }

  private static Grid bits(Grid grid, Random random) {
    for (int n = 0; n < grid.values().length; n++) {
      grid.values()[n] = random.nextInt(3) == 0 ? 0 : 1 + random.nextInt(255);
    }
    return grid;
  }

  private static float[] normal(float[] values, Random random) {
    for (int n = 0; n < values.length; n++) {
      values[n] = (float) random.nextGaussian();
    }
    return values;
  }

  // ---- ragged ----------------------------------------------------------------------------------

  /** The same rows without padding, amid rows of nobody, must come out to the bit. */
  private static void checkRagged(Problem p, Run padded, GatunRuntime runtime) {
    int[] cuQ = new int[p.batch + 1];
    int[] cuK = new int[p.batch + 1];
    cuQ[0] = 1;
    cuK[0] = 2;
    for (int b = 0; b < p.batch; b++) {
      cuQ[b + 1] = cuQ[b] + p.queryLength(b);
      cuK[b + 1] = cuK[b] + p.keyLength(b);
    }
    int totalQ = cuQ[p.batch] + 1;
    int totalK = cuK[p.batch];
    try (Arena arena = Arena.ofConfined()) {
      Tensor out = Tensor.allocate(arena, DType.FLOAT32, totalQ, p.heads, p.headDimV);
      Tensor lse = Tensor.allocate(arena, DType.FLOAT32, p.heads, totalQ);
      AttentionOptions options =
          p.options(arena)
              .keyLengths(null)
              .queryLengths(null)
              .cuSeqlens(Run.lengths(arena, cuQ), Run.lengths(arena, cuK))
              .lse(lse);
      if (p.segmentsQ != null) {
        options.segments(
            Run.lengths(arena, packed(p.segmentsQ, p.seqQ, cuQ, totalQ)),
            Run.lengths(arena, packed(p.segmentsK, p.seqK, cuK, totalK)));
      }
      if (p.positions != null) {
        options.queryPositions(Run.lengths(arena, packed(p.positions, p.seqQ, cuQ, totalQ)));
      }
      if (p.prefixLengths != null) {
        int[] prefixes = p.prefixLengths.clone();
        int longest = IntStream.range(0, p.batch).map(p::keyLength).max().orElse(0);
        Arrays.setAll(prefixes, b -> Math.min(prefixes[b], longest));
        options.prefixLengths(Run.lengths(arena, prefixes));
      }
      runtime
          .attention(p.spec(arena))
          .forward(
              rows(arena, p.q, p.seqQ, cuQ, totalQ, p.heads, p.headDim),
              rows(arena, p.k, p.seqK, cuK, totalK, p.kvHeads, p.headDim),
              rows(arena, p.v, p.seqK, cuK, totalK, p.kvHeads, p.headDimV),
              out,
              options);
      for (int b = 0; b < p.batch; b++) {
        for (int i = 0; i < p.queryLength(b); i++) {
          for (int h = 0; h < p.heads; h++) {
            String what = "ragged %s: sequence %d, row %d, head %d".formatted(p, b, i, h);
            int at = p.outAt(b, i, h, 0);
            Run.checkSameBits(
                Arrays.copyOfRange(padded.out(), at, at + p.headDimV),
                out.select(0, cuQ[b] + i).select(0, h).toFloatArray(),
                what);
            assertEquals(padded.lse()[p.lseAt(b, h, i)], lse.getFloat(h, cuQ[b] + i), what);
          }
        }
      }
    }
  }

  private static int[] packed(int[] padded, int seq, int[] offsets, int total) {
    int[] packed = new int[total];
    for (int b = 0; b + 1 < offsets.length; b++) {
      System.arraycopy(padded, b * seq, packed, offsets[b], offsets[b + 1] - offsets[b]);
    }
    return packed;
  }

  private static Tensor rows(
      Arena arena, float[] padded, int seq, int[] offsets, int total, int heads, int dim) {
    float[] packed = new float[total * heads * dim];
    Arrays.fill(packed, Float.NaN);
    int row = heads * dim;
    for (int b = 0; b + 1 < offsets.length; b++) {
      System.arraycopy(
          padded, b * seq * row, packed, offsets[b] * row, (offsets[b + 1] - offsets[b]) * row);
    }
    return Tensor.copyOf(arena, packed, total, heads, dim);
  }

  // ---- from call to call -----------------------------------------------------------------------

  /** One workspace and one object of options, of which each call sets one and unsets another. */
  @Test
  void optionsComeAndGo() {
    Random random = new Random(SEED);
    Problem problem = new Problem(2, 4, 2, 9, 33, 16, 8).causal(Causal.BOTTOM_RIGHT).draw(SEED);
    GatunRuntime runtime = Run.runtime(Run.bestTier(), 2);
    try (Arena arena = Arena.ofConfined();
        Workspace workspace = runtime.newWorkspace()) {
      Tensor q = Tensor.copyOf(arena, problem.q, 2, 9, 4, 16);
      Tensor k = Tensor.copyOf(arena, problem.k, 2, 33, 2, 16);
      Tensor v = Tensor.copyOf(arena, problem.v, 2, 33, 2, 8);
      Tensor out = Tensor.allocate(arena, DType.FLOAT32, 2, 9, 4, 8);
      Tensor lse = Tensor.allocate(arena, DType.FLOAT32, 2, 4, 9);
      Attention attention = runtime.attention(problem.spec(arena));
      AttentionOptions options = new AttentionOptions().lse(lse);
      for (int n = 0; n < 300; n++) {
        boolean set = random.nextBoolean();
        switch (random.nextInt(6)) {
          case 0 -> {
            problem.mask = set ? bits(grid(problem, 9, 33, random), random) : null;
            options.mask(set ? problem.mask.tensor(arena, DType.UINT8) : null);
          }
          case 1 -> {
            problem.bias = set ? bits(grid(problem, 9, 33, random), random) : null;
            options.bias(set ? problem.bias.tensor(arena, DType.FLOAT32) : null);
          }
          case 2 -> {
            problem.blockQ = 1 + random.nextInt(9);
            problem.blockK = 1 + random.nextInt(33);
            int rows = Math.ceilDiv(9, problem.blockQ);
            int blocks = Math.ceilDiv(33, problem.blockK);
            problem.blockMask = set ? bits(grid(problem, rows, blocks, random), random) : null;
            options.blockMask(
                set ? problem.blockMask.tensor(arena, DType.UINT8) : null,
                problem.blockQ,
                problem.blockK);
          }
          case 3 -> {
            problem.segmentsQ = set ? random.ints(18, 0, 2).toArray() : null;
            problem.segmentsK = set ? random.ints(66, 0, 2).toArray() : null;
            options.segments(
                set ? Tensor.copyOf(arena, problem.segmentsQ, 2, 9) : null,
                set ? Tensor.copyOf(arena, problem.segmentsK, 2, 33) : null);
          }
          case 4 -> {
            problem.prefixLengths = set ? random.ints(2, 0, 34).toArray() : null;
            options.prefixLengths(Run.lengths(arena, problem.prefixLengths));
          }
          default -> {
            problem.positions = set ? random.ints(18, 0, 33).toArray() : null;
            options.queryPositions(set ? Tensor.copyOf(arena, problem.positions, 2, 9) : null);
          }
        }
        for (int twice = 0; twice < 2; twice++) {
          out.fill(-7);
          attention.forward(workspace, q, k, v, out, options);
          new Reference(problem).check(out.toFloatArray(), lse.toFloatArray());
        }
      }
    }
  }

  /** A stride of 0 counts as a size of 1, and biases may have the type of 16-bit queries. */
  @Test
  void stridesAndTypes() {
    Problem problem = new Problem(1, 2, 2, 5, 20, 8, 8).draw(SEED);
    problem.mask = bits(Grid.of(1, 1, 1, 20), new Random(SEED));
    Run want = Run.of(problem);
    try (Arena arena = Arena.ofConfined()) {
      Tensor q = Tensor.copyOf(arena, problem.q, 1, 5, 2, 8);
      Tensor k = Tensor.copyOf(arena, problem.k, 1, 20, 2, 8);
      Tensor v = Tensor.copyOf(arena, problem.v, 1, 20, 2, 8);
      Tensor out = Tensor.allocate(arena, DType.FLOAT32, 1, 5, 2, 8);
      Tensor one = problem.mask.tensor(arena, DType.UINT8);
      Tensor mask =
          Tensor.ofStrided(
              one.segment(), DType.UINT8, new long[] {1, 2, 5, 20}, new long[] {0, 0, 0, 1});
      Attention attention = Run.runtime(Run.bestTier(), 2).attention(AttentionSpec.standard());
      attention.forward(q, k, v, out, new AttentionOptions().mask(mask));
      Run.checkSameBits(want.out(), out.toFloatArray(), "strides of 0");
      Tensor halves = Tensor.allocate(arena, DType.BFLOAT16, 1, 5, 2, 8);
      Tensor half = Tensor.allocate(arena, DType.BFLOAT16, 1, 1, 1, 20);
      attention.forward(halves, k, v, out, new AttentionOptions().bias(half));
      assertThrows(
          IllegalArgumentException.class,
          () -> attention.forward(q, k, v, out, new AttentionOptions().bias(half)));
    }
  }

  /** Masks without elements, where there are no rows or keys. */
  @Test
  void nothingToMask() {
    for (int seqK : new int[] {0, 3}) {
      Problem problem = new Problem(1, 2, 1, 3 - seqK, seqK, 4, 4).causal(Causal.TOP_LEFT);
      problem.mask = Grid.of(1, 1, problem.seqQ, seqK);
      problem.bias = Grid.of(1, 1, problem.seqQ, seqK);
      problem.blockMask = Grid.of(1, 2, problem.seqQ, seqK);
      problem.blockQ = 1;
      problem.blockK = 1;
      problem.segmentsQ = new int[problem.seqQ];
      problem.segmentsK = new int[seqK];
      problem.positions = new int[problem.seqQ];
      problem.prefixLengths = new int[1];
      problem.sinks = new float[] {1, -1};
      Run run = Run.of(problem);
      new Reference(problem).check(run.out(), run.lse());
    }
  }

  /** An arena that is closed is told by the tensor that lay in it. */
  @Test
  void closedArenas() {
    try (Arena arena = Arena.ofConfined()) {
      Tensor q = Tensor.allocate(arena, DType.FLOAT32, 1, 3, 2, 4);
      Placement.Placed out = Placement.BSHD.empty(arena, 1, 3, 2, 4);
      AttentionOptions mask;
      AttentionOptions positions;
      try (Arena closed = Arena.ofConfined()) {
        mask = new AttentionOptions().mask(Tensor.allocate(closed, DType.UINT8, 1, 1, 1, 3));
        positions =
            new AttentionOptions().queryPositions(Tensor.allocate(closed, DType.INT32, 1, 3));
      }
      Attention attention = attention(AttentionSpec.builder());
      for (AttentionOptions options : List.of(mask, positions)) {
        String message =
            assertThrows(
                    IllegalStateException.class,
                    () -> attention.forward(q, q, q, out.tensor(), options))
                .getMessage();
        assertTrue(message.startsWith(options == mask ? "mask" : "queryPositions"), message);
      }
      out.checkUntouched();
      attention.forward(q, q, q, out.tensor());
    }
  }

  // ---- PyTorch ---------------------------------------------------------------------------------

  @Test
  void asPyTorch() {
    Random random = new Random(SEED);
    Problem p = new Problem(2, 3, 3, 17, 70, 24, 24).draw(SEED);
    p.mask = bits(Grid.of(2, 1, 17, 70), random);
    boolean[] allowed = new boolean[p.mask.values().length];
    for (int n = 0; n < allowed.length; n++) {
      allowed[n] = p.mask.values()[n] != 0;
    }
    try (Torch torch = Torch.float32()) {
      Torch.Array q = torch.transpose(torch.array(p.q, 2, 17, 3, 24), 1, 2);
      Torch.Array k = torch.transpose(torch.array(p.k, 2, 70, 3, 24), 1, 2);
      Torch.Array v = torch.transpose(torch.array(p.v, 2, 70, 3, 24), 1, 2);
      double scale = 1 / Math.sqrt(24);
      Torch.Array want =
          torch.attention(q, k, v, torch.booleans(allowed, 2, 1, 17, 70), false, scale);
      close(torch.transpose(want, 1, 2).toFloats(), Run.of(p).out());
      p.mask = null;
      p.bias = Grid.of(1, 3, 17, 70);
      normal(p.bias.values(), random);
      want = torch.attention(q, k, v, torch.array(p.bias.values(), 1, 3, 17, 70), false, scale);
      close(torch.transpose(want, 1, 2).toFloats(), Run.of(p).out());
    }
  }

  private static void close(float[] want, float[] got) {
    assertEquals(want.length, got.length);
    for (int n = 0; n < want.length; n++) {
      assertEquals(want[n], got[n], 5e-6, "element " + n);
    }
  }

  // ---- refusals --------------------------------------------------------------------------------

  @Test
  void whatDoesNotFitIsNamed() {
    try (Arena arena = Arena.ofConfined()) {
      Tensor bytes = Tensor.allocate(arena, DType.UINT8, 2, 4, 5, 7);
      Tensor floats = Tensor.allocate(arena, DType.FLOAT32, 2, 4, 5, 7);
      Tensor ids = Tensor.allocate(arena, DType.INT32, 2, 5);
      Tensor keyIds = Tensor.allocate(arena, DType.INT32, 2, 7);
      String shape = "expected [2 or 1, 4 or 1, 5 or 1, 7 or 1] ";
      refused("mask: " + shape + "uint8, got [2, 4, 5, 7] float32", o -> o.mask(floats));
      refused("mask: " + shape, o -> o.mask(bytes.slice(0, 0, 0)));
      refused("mask: " + shape, o -> o.mask(bytes.slice(1, 0, 2)));
      refused("mask: " + shape, o -> o.mask(bytes.slice(2, 0, 4)));
      refused("mask: " + shape, o -> o.mask(bytes.slice(3, 0, 6)));
      refused("mask: " + shape, o -> o.mask(bytes.select(0, 0)));
      refused("bias: " + shape + "float32, got [2, 4, 5, 7] uint8", o -> o.bias(bytes));
      refused("bias: " + shape, o -> o.bias(floats.slice(3, 0, 2)));
      refused(
          "blockMask: expected [2 or 1, 4 or 1, 3 or 1, 2 or 1] uint8",
          o -> o.blockMask(bytes, 2, 4));
      refused("blockQ: expected 1 or more, got 0", o -> o.blockMask(bytes, 0, 4));
      refused("blockK: expected 1 or more, got -1", o -> o.blockMask(bytes, 2, -1));
      refused("segments of queries: expected [2, 5] int32", o -> o.segments(keyIds, keyIds));
      refused("segments of keys: expected [2, 7] int32", o -> o.segments(ids, ids));
      refused("queries, keys: expected segments of both", o -> o.segments(ids, null));
      refused("queryPositions: expected [2, 5] int32", o -> o.queryPositions(ids.select(0, 0)));
      refused(
          "queryPositions: expected [2, 5] int32, contiguous",
          o -> o.queryPositions(keyIds.slice(1, 0, 5)));
      refused("prefixLengths: expected [2] int32", o -> o.prefixLengths(ids));
      Tensor lengths = Tensor.copyOf(arena, new int[] {3, 8}, 2);
      refused("prefixLengths[1]: expected 0 .. 7, got 8", o -> o.prefixLengths(lengths));
      Attention plain = Run.runtime(Run.bestTier(), 2).attention(AttentionSpec.standard());
      refused(
          plain,
          "prefixLengths: expected none without a causal mask, got [2] int32",
          o -> o.prefixLengths(lengths));
      Tensor wide = Tensor.allocate(arena, DType.FLOAT32, 3);
      Attention sinks = plain.runtime().attention(AttentionSpec.builder().sinks(wide).build());
      refused(sinks, "sinks: expected 4 heads as q has, got [3] float32", o -> o);
    }
  }

  @Test
  void memoryOfOutputsIsNamed() {
    String shared = "out: expected memory of its own, got memory shared with ";
    try (Arena arena = Arena.ofConfined()) {
      Tensor out = Tensor.allocate(arena, DType.FLOAT32, 2, 5, 4, 8);
      UnaryOperator<AttentionOptions> none = o -> o;
      Tensor ids = Tensor.of(out.segment(), DType.INT32, 2, 5);
      Tensor free = Tensor.allocate(arena, DType.INT32, 2, 7);
      refusedOver(out, shared + "mask", o -> o.mask(map(out, DType.UINT8, 7)));
      refusedOver(out, shared + "bias", o -> o.bias(map(out, DType.FLOAT32, 7)));
      refusedOver(out, shared + "blockMask", o -> o.blockMask(map(out, DType.UINT8, 4), 5, 2));
      refusedOver(out, shared + "segments of queries", o -> o.segments(ids, free));
      refusedOver(out, shared + "queryPositions", o -> o.queryPositions(ids));
      Tensor one = Tensor.of(out.segment(), DType.INT32, 2);
      refusedOver(out, shared + "prefixLengths", o -> o.prefixLengths(one));
      Tensor sinks = Tensor.of(out.segment(), DType.FLOAT32, 4);
      refused(attention(AttentionSpec.builder().sinks(sinks)), out, shared + "sinks", none);
    }
  }

  /** The last dimension of a mask has a stride of its own, 0 or more than 1. */
  @Test
  void memoryBesideOutputs() {
    try (Arena arena = Arena.ofConfined()) {
      MemorySegment slab = arena.allocate(4096, 64);
      Tensor out = Tensor.of(slab.asSlice(64), DType.FLOAT32, 2, 5, 4, 8);
      Tensor q = Tensor.allocate(arena, DType.FLOAT32, 2, 5, 4, 8);
      Tensor k = Tensor.allocate(arena, DType.FLOAT32, 2, 7, 2, 8);
      slab.set(ValueLayout.JAVA_BYTE, 63, (byte) 1);
      Tensor before = Tensor.of(slab.asSlice(63), DType.UINT8, 1, 1, 1, 1);
      attention(AttentionSpec.builder()).forward(q, k, k, out, new AttentionOptions().mask(before));
      Tensor inside =
          Tensor.ofStrided(
              slab.asSlice(16), DType.FLOAT32, new long[] {1, 1, 1, 7}, new long[] {0, 0, 0, 2});
      refusedOver(
          out,
          "out: expected memory of its own, got memory shared with bias",
          options -> options.bias(inside));
    }
  }

  private static Tensor map(Tensor in, DType dtype, long keys) {
    return Tensor.of(in.segment(), dtype, 1, 1, 1, keys);
  }

  private static Attention attention(AttentionSpec.Builder spec) {
    return Run.runtime(Run.bestTier(), 2).attention(spec.causal(Causal.TOP_LEFT).build());
  }

  private static void refused(String text, UnaryOperator<AttentionOptions> options) {
    refused(attention(AttentionSpec.builder()), text, options);
  }

  private static void refused(
      Attention attention, String text, UnaryOperator<AttentionOptions> options) {
    try (Arena arena = Arena.ofConfined()) {
      refused(attention, Tensor.allocate(arena, DType.FLOAT32, 2, 5, 4, 8), text, options);
    }
  }

  private static void refusedOver(
      Tensor out, String text, UnaryOperator<AttentionOptions> options) {
    refused(attention(AttentionSpec.builder()), out, text, options);
  }

  private static void refused(
      Attention attention, Tensor out, String text, UnaryOperator<AttentionOptions> options) {
    try (Arena arena = Arena.ofConfined()) {
      Tensor q = Tensor.allocate(arena, DType.FLOAT32, 2, 5, 4, 8);
      Tensor k = Tensor.allocate(arena, DType.FLOAT32, 2, 7, 2, 8);
      Executable call =
          () -> attention.forward(q, k, k, out, options.apply(new AttentionOptions()));
      String message = assertThrows(IllegalArgumentException.class, call).getMessage();
      assertTrue(message.startsWith(text), message);
      for (float value : out.toFloatArray()) {
        assertEquals(0, value);
      }
    }
  }

  @Test
  void specifications() {
    AttentionSpec.Builder builder = AttentionSpec.builder();
    refusedSpec("window: expected left >= -1, got -2", () -> builder.window(-2, 0));
    refusedSpec("window: expected right >= -1, got -3", () -> builder.window(0, -3));
    refusedSpec("globalTokens: expected a number >= 0, got -1", () -> builder.globalTokens(-1));
    for (float cap : new float[] {-1, Float.NaN, Float.POSITIVE_INFINITY, 1e-38f}) {
      refusedSpec("softcap: expected 0 or 2^-100 .. 2^100, got " + cap, () -> builder.softcap(cap));
    }
    builder.globalTokens(4);
    refusedSpec("globalTokens: expected 0 without a window, got 4", builder::build);
    try (Arena arena = Arena.ofConfined()) {
      Tensor sinks = Tensor.allocate(arena, DType.FLOAT32, 4);
      Tensor slopes = Tensor.allocate(arena, DType.FLOAT32, 4);
      Tensor table = Tensor.allocate(arena, DType.FLOAT32, 4, 3);
      refusedSpec("sinks: expected [heads] float32, contiguous, got", () -> builder.sinks(table));
      AttentionSpec spec =
          builder
              .window(3, -1)
              .softcap(2.5f)
              .sinks(sinks)
              .alibiSlopes(slopes)
              .relativePositions(table)
              .causal(Causal.TOP_LEFT)
              .scale(0.1f)
              .maxThreads(3)
              .bfloat16Products(true)
              .build();
      assertEquals(3, spec.windowLeft().orElseThrow());
      assertTrue(spec.windowRight().isEmpty());
      assertEquals(4, spec.globalTokens());
      assertEquals(2.5, spec.softcap().orElseThrow());
      assertEquals(sinks, spec.sinks().orElseThrow());
      String text = spec.toString();
      assertTrue(
          text.contains(", window=3,-1, globalTokens=4, softcap=2.5, sinks=[4] float32"), text);
      assertEquals(spec, spec.toBuilder().build());
      assertEquals(spec.hashCode(), spec.toBuilder().build().hashCode());
      assertEquals(text, spec.toBuilder().build().toString());
      for (AttentionSpec.Builder other :
          List.of(
              spec.toBuilder().window(2, -1),
              spec.toBuilder().window(3, 0),
              spec.toBuilder().globalTokens(0),
              spec.toBuilder().softcap(0),
              spec.toBuilder().sinks(null))) {
        assertTrue(!spec.equals(other.build()));
      }
      Tensor two = Tensor.allocate(arena, DType.FLOAT32, 2);
      refusedSpec(
          "sinks: expected 4 heads as alibiSlopes has, got [2]",
          () -> spec.toBuilder().sinks(two).build());
    }
    assertEquals(AttentionSpec.standard(), AttentionSpec.standard().toBuilder().build());
    assertTrue(AttentionSpec.standard().softcap().isEmpty());
  }

  private static void refusedSpec(String text, Executable change) {
    String message = assertThrows(IllegalArgumentException.class, change).getMessage();
    assertTrue(message.startsWith(text), message);
  }
}
