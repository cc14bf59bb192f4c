package dev.gatun;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertNotEquals;
import static org.junit.jupiter.api.Assertions.assertSame;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;
import static org.junit.jupiter.api.DynamicTest.dynamicTest;

import dev.gatun.support.Placement;
import dev.gatun.support.Run;
import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.time.Duration;
import java.util.ArrayList;
import java.util.List;
import java.util.function.Consumer;
import java.util.function.UnaryOperator;
import java.util.stream.Stream;
import org.junit.jupiter.api.DynamicTest;
import org.junit.jupiter.api.Tag;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.TestFactory;
import org.junit.jupiter.api.function.Executable;

/** Every input that is refused: the message names the argument, and the outputs stay untouched. */
@Tag("asan")
class RejectionTest {

  private static final long[] ZERO = {0, 0, 0};

  /** Arguments of one call. The defaults are right: batch 2, 5 queries, 7 keys, 4/2 heads. */
  private static final class Call {
    final Arena arena;
    final Placement.Placed outSlab;
    final Placement.Placed lseSlab;
    Attention attention = Run.runtime(Run.bestTier(), 2).attention(AttentionSpec.standard());
    Workspace workspace;
    Tensor q;
    Tensor k;
    Tensor v;
    Tensor keyLengths;
    Tensor queryLengths;
    Tensor out;
    Tensor lse;

    Call(Arena arena) {
      this.arena = arena;
      q = floats(2, 5, 4, 8);
      k = floats(2, 7, 2, 8);
      v = floats(2, 7, 2, 6);
      keyLengths = Tensor.copyOf(arena, new int[] {7, 3}, 2);
      queryLengths = Tensor.copyOf(arena, new int[] {5, 0}, 2);
      outSlab = Placement.BSHD.empty(arena, 2, 5, 4, 6);
      lseSlab = Placement.BSHD.emptyLse(arena, 2, 4, 5);
      out = outSlab.tensor();
      lse = lseSlab.tensor();
    }

    Tensor floats(long... shape) {
      return Tensor.allocate(arena, DType.FLOAT32, shape);
    }

    Tensor ints(int... values) {
      return Tensor.copyOf(arena, values, values.length);
    }

    void run() {
      AttentionOptions options =
          new AttentionOptions().keyLengths(keyLengths).queryLengths(queryLengths).lse(lse);
      attention.forward(workspace, q, k, v, out, options);
    }
  }

  private record Case(
      String name,
      Class<? extends Exception> type,
      Consumer<Call> change,
      String... messageParts) {}

  private static final List<Case> CASES = new ArrayList<>();

  private static void add(String name, Consumer<Call> change, String... messageParts) {
    CASES.add(new Case(name, IllegalArgumentException.class, change, messageParts));
  }

  static {
    // null
    for (String name : List.of("q", "k", "v", "out")) {
      CASES.add(
          new Case(
              name + " null",
              NullPointerException.class,
              call -> {
                switch (name) {
                  case "q" -> call.q = null;
                  case "k" -> call.k = null;
                  case "v" -> call.v = null;
                  default -> call.out = null;
                }
              },
              name));
    }
    // type
    add("q int32", c -> c.q = Tensor.allocate(c.arena, DType.INT32, 2, 5, 4, 8), "q:", "int32");
    add("k int64", c -> c.k = Tensor.allocate(c.arena, DType.INT64, 2, 7, 2, 8), "k:", "int64");
    add("v int32", c -> c.v = Tensor.allocate(c.arena, DType.INT32, 2, 7, 2, 6), "v:", "int32");
    add("lse int32", c -> c.lse = Tensor.allocate(c.arena, DType.INT32, 2, 4, 5), "lse:", "int32");
    add(
        "key lengths int64",
        c -> c.keyLengths = Tensor.allocate(c.arena, DType.INT64, 2),
        "keyLengths: expected [2] int32, got [2] int64");
    add("query lengths float", c -> c.queryLengths = c.floats(2), "queryLengths:", "float32");
    // rank
    add(
        "q rank 3",
        c -> c.q = c.floats(2, 5, 32),
        "q: expected [batch, seqQ, heads, headDim] float32, got [2, 5, 32] float32");
    add("k rank 5", c -> c.k = c.floats(2, 7, 2, 8, 1), "k:", "[2, 7, 2, 8, 1]");
    add("v rank 0", c -> c.v = c.floats(), "v:", "got [] float32");
    add("out rank 3", c -> c.out = c.floats(2, 5, 24), "out: expected [2, 5, 4, 6]");
    add("lse rank 4", c -> c.lse = c.floats(2, 4, 5, 1), "lse: expected [2, 4, 5]");
    add("key lengths rank 2", c -> c.keyLengths = c.ints(1, 1).reshape(1, 2), "keyLengths:");
    // shape
    add(
        "k batch",
        c -> c.k = c.floats(3, 7, 2, 8),
        "k: expected [2, ?, divisor of 4, 8] float32, got [3, 7, 2, 8] float32");
    add("k heads", c -> c.k = c.floats(2, 7, 3, 8), "k:", "divisor of 4", "[2, 7, 3, 8]");
    add("k more heads", c -> c.k = c.floats(2, 7, 8, 8), "k:", "[2, 7, 8, 8]");
    add("k no heads", c -> c.k = c.floats(2, 7, 0, 8), "k:", "[2, 7, 0, 8]");
    add("k head dim", c -> c.k = c.floats(2, 7, 2, 9), "k:", "[2, 7, 2, 9]");
    add("v batch", c -> c.v = c.floats(1, 7, 2, 6), "v: expected [2, 7, 2, 1 .. 512]");
    add("v seq", c -> c.v = c.floats(2, 6, 2, 6), "v: expected [2, 7, 2,", "[2, 6, 2, 6]");
    add("v heads", c -> c.v = c.floats(2, 7, 4, 6), "v:", "[2, 7, 4, 6]");
    add("v head dim 513", c -> c.v = c.floats(2, 7, 2, 513), "v:", "1 .. 512", "513");
    add("v head dim 0", c -> c.v = c.floats(2, 7, 2, 0), "v:", "[2, 7, 2, 0]");
    add("q head dim 0", c -> c.q = c.floats(2, 5, 4, 0), "q:", "1 .. 512", "[2, 5, 4, 0]");
    add("q head dim 513", c -> c.q = c.floats(2, 5, 4, 513), "q:", "[2, 5, 4, 513]");
    add("q no heads", c -> c.q = c.floats(2, 5, 0, 8), "q:", "[2, 5, 0, 8]");
    add(
        "q too long",
        c -> {
          c.q =
              Tensor.ofStrided(
                  c.q.segment(), DType.FLOAT32, new long[] {2, 1L << 31, 4, 8}, new long[4]);
        },
        "q:",
        "2147483648");
    add(
        "k too long",
        c -> {
          c.k =
              Tensor.ofStrided(
                  c.q.segment(),
                  DType.FLOAT32,
                  new long[] {2, 1L << 31, 2, 8},
                  new long[] {0, 0, 0, 1});
        },
        "k:",
        "2147483648");
    add("out batch", c -> c.out = c.floats(1, 5, 4, 6), "out: expected [2, 5, 4, 6]");
    add("out seq", c -> c.out = c.floats(2, 4, 4, 6), "out:", "[2, 4, 4, 6]");
    add("out heads", c -> c.out = c.floats(2, 5, 2, 6), "out:", "[2, 5, 2, 6]");
    add("out head dim", c -> c.out = c.floats(2, 5, 4, 8), "out:", "[2, 5, 4, 8]");
    add("lse shape", c -> c.lse = c.floats(2, 5, 4), "lse: expected [2, 4, 5]", "[2, 5, 4]");
    add("key lengths size", c -> c.keyLengths = c.ints(1, 1, 1), "keyLengths: expected [2]", "[3]");
    add("query lengths size", c -> c.queryLengths = c.ints(1), "queryLengths: expected [2]", "[1]");
    // strides
    for (String name : List.of("q", "k", "v", "out")) {
      add(
          name + " not contiguous",
          call -> {
            switch (name) {
              case "q" -> call.q = call.floats(2, 5, 8, 4).transpose(2, 3);
              case "k" -> call.k = call.floats(2, 7, 8, 2).transpose(2, 3);
              case "v" -> call.v = call.floats(2, 7, 6, 2).transpose(2, 3);
              default -> call.out = call.floats(2, 5, 6, 4).transpose(2, 3);
            }
          },
          name + ": expected stride 1 in the last dimension, got strides [");
    }
    add(
        "key lengths stride",
        c -> c.keyLengths = c.ints(1, 1, 1, 1).reshape(2, 2).select(1, 0),
        "keyLengths: expected stride 1, got stride 2");
    add(
        "out repeats rows",
        c -> c.out = Tensor.ofStrided(c.out.segment(), DType.FLOAT32, c.out.shape(), strides(0)),
        "out: expected an address for each element, got strides [120, 0, 6, 1]");
    add(
        "out interleaves itself",
        c -> c.out = Tensor.ofStrided(c.out.segment(), DType.FLOAT32, c.out.shape(), strides(23)),
        "out: expected an address for each element");
    add(
        "lse repeats rows",
        c -> c.lse = Tensor.ofStrided(c.lse.segment(), DType.FLOAT32, c.lse.shape(), ZERO),
        "lse: expected an address for each element, got strides [0, 0, 0]");
    // lengths
    add(
        "key length too long",
        c -> c.keyLengths = c.ints(7, 8),
        "keyLengths[1]: expected 0 .. 7, got 8");
    add("key length negative", c -> c.keyLengths = c.ints(-1, 2), "keyLengths[0]", "got -1");
    add(
        "query length too long",
        c -> c.queryLengths = c.ints(5, 6),
        "queryLengths[1]: expected 0 .. 5, got 6");
    add(
        "query length negative",
        c -> c.queryLengths = c.ints(Integer.MIN_VALUE, 0),
        "queryLengths[0]");
    // memory
    add("out read-only", c -> c.out = c.out.asReadOnly(), "out: ", "read-only");
    add("lse read-only", c -> c.lse = c.lse.asReadOnly(), "lse: ", "read-only");
    add("out is q", c -> c.q = Tensor.of(c.outSlab.slab(), DType.FLOAT32, 2, 5, 4, 8), "out:", "q");
    add("out in k", c -> c.k = Tensor.of(c.outSlab.slab(), DType.FLOAT32, 2, 7, 2, 8), "out:", "k");
    add("out in v", c -> c.v = Tensor.of(c.outSlab.slab(), DType.FLOAT32, 2, 7, 2, 6), "out:", "v");
    add("lse in q", c -> c.q = Tensor.of(wide(c), DType.FLOAT32, 2, 5, 4, 8), "lse:", "q");
    add(
        "lse in out",
        c -> {
          c.lse = Tensor.of(c.out.segment(), DType.FLOAT32, 2, 4, 5);
        },
        "out:",
        "lse");
    add(
        "out holds key lengths",
        c -> {
          c.outSlab.slab().fill((byte) 0);
          c.keyLengths = Tensor.of(c.out.segment(), DType.INT32, 2);
        },
        "out:",
        "keyLengths");
    add(
        "out one row behind q",
        c -> {
          // One buffer, equal strides, shifted by one row: the last rows of out are rows of q.
          MemorySegment slab = c.arena.allocate(4096, 64);
          c.v = c.floats(2, 7, 2, 8);
          c.q = Tensor.of(slab, DType.FLOAT32, 2, 5, 4, 8);
          c.out = Tensor.of(slab.asSlice(4 * 4 * 8), DType.FLOAT32, 2, 5, 4, 8);
        },
        "out: expected memory of its own, got memory shared with q");
    // biases
    add(
        "slopes of other heads",
        c -> c.attention = biased(c, b -> b.alibiSlopes(c.floats(2))),
        "alibiSlopes: expected 4 heads as q has, got [2] float32");
    add(
        "relative positions of other heads",
        c -> c.attention = biased(c, b -> b.relativePositions(c.floats(8, 3))),
        "relativePositions: expected 4 heads as q has, got [8, 3] float32");
    add(
        "out holds slopes",
        c -> {
          Tensor inside = Tensor.of(c.out.segment(), DType.FLOAT32, 4);
          c.attention = biased(c, b -> b.alibiSlopes(inside));
        },
        "out: expected memory of its own, got memory shared with alibiSlopes");
    add(
        "lse in relative positions",
        c -> {
          Tensor table = Tensor.of(wide(c), DType.FLOAT32, 4, 9);
          c.attention = biased(c, b -> b.relativePositions(table));
        },
        "lse: expected memory of its own, got memory shared with relativePositions");
    // workspace
    add(
        "foreign workspace",
        c -> c.workspace = Run.runtime(Tier.PORTABLE, 1).newWorkspace(),
        "workspace:");
  }

  private static Attention biased(Call call, UnaryOperator<AttentionSpec.Builder> biases) {
    return call.attention.runtime().attention(biases.apply(AttentionSpec.builder()).build());
  }

  private static long[] strides(long seq) {
    return new long[] {120, seq, 6, 1};
  }

  /** A segment that holds 320 floats and lse among them. */
  private static MemorySegment wide(Call call) {
    MemorySegment slab = call.arena.allocate(4096, 64);
    call.lse = Tensor.of(slab.asSlice(64), DType.FLOAT32, 2, 4, 5);
    return slab;
  }

  @TestFactory
  Stream<DynamicTest> everyRefusal() {
    return CASES.stream()
        .map(
            refusal ->
                dynamicTest(
                    refusal.name,
                    () -> {
                      try (Arena arena = Arena.ofConfined()) {
                        // With a workspace that has served the right call before, and without.
                        for (boolean warm : new boolean[] {false, true}) {
                          Call call = new Call(arena);
                          try (Workspace own = call.attention.runtime().newWorkspace()) {
                            if (warm) {
                              call.workspace = own;
                              call.run();
                              call.outSlab.spoil();
                              call.lseSlab.spoil();
                            }
                            refusal.change.accept(call);
                            boolean ints = refusal.name.equals("out holds key lengths");
                            Exception e = assertThrows(refusal.type, call::run);
                            for (String part : refusal.messageParts) {
                              assertTrue(e.getMessage().contains(part), e.getMessage());
                            }
                            if (!ints) {
                              call.outSlab.checkUntouched();
                            }
                            call.lseSlab.checkUntouched();
                          }
                        }
                      }
                    }));
  }

  /** A refused call spoils nothing for the next one. */
  @Test
  void aWorkspaceWorksAfterARefusal() {
    try (Arena arena = Arena.ofConfined()) {
      Call call = new Call(arena);
      try (Workspace workspace = call.attention.runtime().newWorkspace()) {
        call.workspace = workspace;
        Tensor right = call.k;
        for (int n = 0; n < 3; n++) {
          call.k = call.floats(2, 7, 3, 8);
          assertThrows(IllegalArgumentException.class, call::run);
          call.k = right;
          call.run();
          assertTrue(Float.isFinite(call.out.getFloat(0, 0, 0, 0)));
        }
      }
    }
  }

  /** Fused views with out among them are legal: equal strides, no common element. */
  @Test
  void interleavedOutputsAreAccepted() {
    try (Arena arena = Arena.ofConfined()) {
      Call call = new Call(arena);
      Tensor fused = call.floats(2, 5, 4, 32);
      fused.fill(1);
      Tensor q = fused.select(2, 0).splitHeads(4);
      Tensor k = fused.select(2, 1).splitHeads(4);
      Tensor v = fused.select(2, 2).splitHeads(4);
      Tensor out = fused.select(2, 3).splitHeads(4);
      out.fill(7);
      call.attention.forward(q, k, v, out);
      assertEquals(1, out.getFloat(1, 4, 3, 7), 1e-5);
    }
  }

  @Test
  void specifications() {
    refused(
        "scale: expected a finite number, got NaN", () -> AttentionSpec.builder().scale(Float.NaN));
    refused("scale", () -> AttentionSpec.builder().scale(Float.NEGATIVE_INFINITY));
    refused("maxThreads", () -> AttentionSpec.builder().maxThreads(-1));
    assertThrows(NullPointerException.class, () -> AttentionSpec.builder().causal(null));
    assertEquals(
        AttentionSpec.builder().scale(2).causal(Causal.TOP_LEFT).build(),
        AttentionSpec.builder().causal(Causal.TOP_LEFT).scale(2).build());
    assertEquals(AttentionSpec.standard(), AttentionSpec.builder().build());
    assertEquals(AttentionSpec.standard().hashCode(), AttentionSpec.builder().build().hashCode());
    assertTrue(AttentionSpec.standard().toString().contains("1/sqrt(headDim)"));
    assertTrue(AttentionSpec.builder().scale(0.5f).build().scale().getAsDouble() == 0.5);
    assertTrue(AttentionSpec.standard().scale().isEmpty());
    assertTrue(AttentionSpec.standard().alibiSlopes().isEmpty());
    assertTrue(AttentionSpec.standard().relativePositions().isEmpty());
  }

  @Test
  void biases() {
    try (Arena arena = Arena.ofConfined()) {
      Tensor slopes = Tensor.allocate(arena, DType.FLOAT32, 4);
      Tensor table = Tensor.allocate(arena, DType.FLOAT32, 4, 5);
      AttentionSpec.Builder builder = AttentionSpec.builder();
      String expected = "alibiSlopes: expected [heads] float32, contiguous, got ";
      refused(expected + "[4, 5] float32", () -> builder.alibiSlopes(table));
      refused(expected, () -> builder.alibiSlopes(Tensor.allocate(arena, DType.INT32, 4)));
      refused(expected, () -> builder.alibiSlopes(Tensor.allocate(arena, DType.FLOAT32, 0)));
      refused(expected, () -> builder.alibiSlopes(table.select(1, 0)));
      expected =
          "relativePositions: expected [heads, 2 * span + 1] float32, contiguous, span 0 .. ";
      refused(expected, () -> builder.relativePositions(slopes));
      refused(expected, () -> builder.relativePositions(table.slice(1, 0, 3)));
      refused(
          expected, () -> builder.relativePositions(Tensor.allocate(arena, DType.FLOAT32, 4, 4)));
      refused(expected, () -> builder.relativePositions(Tensor.allocate(arena, DType.INT32, 4, 5)));
      Tensor wide = Tensor.allocate(arena, DType.FLOAT32, 1, (1L << 21) + 3);
      refused("got [1, 2097155] float32", () -> builder.relativePositions(wide));
      builder.relativePositions(Tensor.allocate(arena, DType.FLOAT32, 2, 5)).alibiSlopes(slopes);
      refused("relativePositions: expected 4 heads as alibiSlopes has, got [2, 5]", builder::build);
      AttentionSpec spec = builder.relativePositions(table).build();
      assertSame(slopes, spec.alibiSlopes().orElseThrow());
      assertSame(table, spec.relativePositions().orElseThrow());
      assertTrue(spec.toString().contains("relativePositions=[4, 5] float32"), spec.toString());
      assertEquals(spec, builder.build());
      assertEquals(spec.hashCode(), builder.build().hashCode());
      assertNotEquals(spec, builder.relativePositions(null).build());
      assertEquals(AttentionSpec.standard(), builder.alibiSlopes(null).build());
    }
  }

  @Test
  void runtimes() {
    refused("threads: expected 0 .. 1024, got 1025", () -> GatunRuntime.builder().threads(1025));
    refused("threads", () -> GatunRuntime.builder().threads(-1));
    refused("workspaces", () -> GatunRuntime.builder().workspaces(0));
    for (Tier tier : Tier.values()) {
      if (!GatunRuntime.isAvailable(tier)) {
        refused(tier.toString(), () -> GatunRuntime.builder().tier(tier).build());
      }
    }
    GatunRuntime runtime = Run.runtime(Run.bestTier(), 2);
    refused("time", () -> runtime.peakFlops(Duration.ofNanos(999)));
    refused("time", () -> runtime.peakFlops(Duration.ofSeconds(11)));
    assertThrows(NullPointerException.class, () -> runtime.attention(null));
  }

  private static void refused(String part, Executable executable) {
    String message = assertThrows(IllegalArgumentException.class, executable).getMessage();
    assertTrue(message.contains(part), message);
  }
}
