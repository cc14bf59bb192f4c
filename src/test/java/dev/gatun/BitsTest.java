package dev.gatun;

import static org.junit.jupiter.api.Assertions.assertEquals;

import dev.gatun.internal.Native;
import dev.gatun.internal.gatun.gatun_attention_desc;
import dev.gatun.internal.gatun.gatun_h;
import dev.gatun.support.Placement;
import dev.gatun.support.Problem;
import dev.gatun.support.Run;
import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import java.util.Arrays;
import java.util.List;
import java.util.Random;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedClass;
import org.junit.jupiter.params.provider.MethodSource;

/**
 * The bits of a row depend on its own query, the keys and values that it sees, the scale and the
 * tier, and on nothing else.
 */
@ParameterizedClass
@MethodSource("tiers")
class BitsTest {

  private final Tier tier;
  private final GatunRuntime runtime;

  BitsTest(Tier tier) {
    this.tier = tier;
    this.runtime = Run.runtime(tier, 2);
  }

  static List<Tier> tiers() {
    return Run.tiers();
  }

  /** Problems that use every way through the kernels: tails, several tiles, splits, groups. */
  private static List<Problem> problems() {
    return List.of(
        new Problem(2, 4, 2, 67, 133, 40, 24).draw(1),
        new Problem(2, 6, 1, 130, 257, 64, 64).draw(2).causal(Causal.BOTTOM_RIGHT),
        new Problem(3, 3, 3, 33, 300, 17, 33)
            .draw(3)
            .causal(Causal.TOP_LEFT)
            .keyLengths(300, 5, 129)
            .queryLengths(33, 9, 20),
        new Problem(2, 2, 2, 3, 4500, 32, 16).draw(4).keyLengths(4500, 2049));
  }

  @Test
  void threads() {
    for (Problem problem : problems()) {
      Run one = Run.of(Run.runtime(tier, 1), problem);
      for (int threads : new int[] {2, 3, 5}) {
        one.checkSameBits(
            Run.of(Run.runtime(tier, threads), problem), threads + " threads, " + problem);
      }
    }
  }

  @Test
  void maxThreads() {
    Problem problem = problems().getFirst();
    Run want = Run.of(runtime, problem);
    try (Arena arena = Arena.ofConfined()) {
      Tensor q = Placement.BSHD.of(arena, problem.q, 2, 67, 4, 40);
      Tensor k = Placement.BSHD.of(arena, problem.k, 2, 133, 2, 40);
      Tensor v = Placement.BSHD.of(arena, problem.v, 2, 133, 2, 24);
      Tensor out = Tensor.allocate(arena, DType.FLOAT32, 2, 67, 4, 24);
      for (int threads : new int[] {1, 2, 1000}) {
        AttentionSpec spec = AttentionSpec.builder().maxThreads(threads).build();
        runtime.attention(spec).forward(q, k, v, out);
        Run.checkSameBits(want.out(), out.toFloatArray(), "maxThreads " + threads);
      }
    }
  }

  @Test
  void layouts() {
    for (Problem problem : problems()) {
      Run want = Run.of(runtime, problem);
      for (Placement inputs : Placement.values()) {
        for (Placement outputs : Placement.values()) {
          want.checkSameBits(
              Run.of(runtime, problem, inputs, outputs), inputs + " > " + outputs + " " + problem);
        }
      }
    }
  }

  @Test
  void batchNeighbours() {
    for (Problem problem : problems()) {
      Run all = Run.of(runtime, problem);
      for (int b = 0; b < problem.batch; b++) {
        Run one = Run.of(runtime, problem.batchRow(b));
        all.part(problem, b).checkSameBits(one, "batch row " + b + " of " + problem);
      }
    }
  }

  @Test
  void otherHeads() {
    for (Problem p : problems()) {
      Run all = Run.of(runtime, p);
      for (int h = 0; h < p.heads; h++) {
        int g = h / (p.heads / p.kvHeads);
        Problem one = new Problem(p.batch, 1, 1, p.seqQ, p.seqK, p.headDim, p.headDimV);
        one.causal(p.causal).keyLengths = p.keyLengths;
        one.queryLengths = p.queryLengths;
        for (int b = 0; b < p.batch; b++) {
          for (int i = 0; i < p.seqQ; i++) {
            System.arraycopy(p.q, p.qAt(b, i, h, 0), one.q, one.qAt(b, i, 0, 0), p.headDim);
          }
          for (int j = 0; j < p.seqK; j++) {
            System.arraycopy(p.k, p.kAt(b, j, g, 0), one.k, one.kAt(b, j, 0, 0), p.headDim);
            System.arraycopy(p.v, p.vAt(b, j, g, 0), one.v, one.vAt(b, j, 0, 0), p.headDimV);
          }
        }
        Run got = Run.of(runtime, one);
        for (int b = 0; b < p.batch; b++) {
          for (int i = 0; i < p.seqQ; i++) {
            assertEquals(all.lse()[p.lseAt(b, h, i)], got.lse()[one.lseAt(b, 0, i)]);
            for (int d = 0; d < p.headDimV; d++) {
              assertEquals(all.out()[p.outAt(b, i, h, d)], got.out()[one.outAt(b, i, 0, d)]);
            }
          }
        }
      }
    }
  }

  /** Sequences of at most so many rows have a kernel of their own. */
  private static final int DECODE_ROWS = 4;

  /**
   * A row with just the keys that it sees gives what it gives among others: alone where they are
   * few, and five times over where they are many.
   */
  @Test
  void otherRows() {
    for (Problem p : problems()) {
      Run all = Run.of(runtime, p);
      Random random = new Random(5);
      for (int n = 0; n < 12; n++) {
        int b = random.nextInt(p.batch);
        int i = random.nextInt(p.queryLength(b));
        int keys = p.visibleKeys(b, i);
        int rows = p.queryLength(b) > DECODE_ROWS ? DECODE_ROWS + 1 : 1;
        Problem one = new Problem(1, p.heads, p.kvHeads, rows, keys, p.headDim, p.headDimV);
        for (int row = 0; row < rows; row++) {
          System.arraycopy(
              p.q, p.qAt(b, i, 0, 0), one.q, one.qAt(0, row, 0, 0), p.heads * p.headDim);
        }
        System.arraycopy(p.k, p.kAt(b, 0, 0, 0), one.k, 0, one.k.length);
        System.arraycopy(p.v, p.vAt(b, 0, 0, 0), one.v, 0, one.v.length);
        Run got = Run.of(runtime, one);
        int at = p.outAt(b, i, 0, 0);
        int size = p.heads * p.headDimV;
        float[] want = Arrays.copyOfRange(all.out(), at, at + size);
        for (int row = 0; row < rows; row++) {
          Run.checkSameBits(
              want,
              Arrays.copyOfRange(got.out(), row * size, (row + 1) * size),
              "row %d,%d of %s".formatted(b, i, p));
        }
      }
    }
  }

  @Test
  void whatLiesPastTheLengths() {
    Problem problem = problems().get(2);
    Run want = Run.of(runtime, problem);
    for (int b = 0; b < 3; b++) {
      for (int j = problem.keyLength(b); j < problem.seqK; j++) {
        Arrays.fill(problem.k, problem.kAt(b, j, 0, 0), problem.kAt(b, j, 2, 17), j);
      }
    }
    want.checkSameBits(Run.of(runtime, problem), "other padding");
  }

  @Test
  void repetition() {
    Problem problem = problems().get(1);
    Run want = Run.of(runtime, problem);
    for (int n = 0; n < 10; n++) {
      want.checkSameBits(Run.of(runtime, problem), "repetition " + n);
    }
  }

  /** What a workspace remembers of its previous call changes nothing. */
  @Test
  void theWorkspacesHistory() {
    Problem p = new Problem(2, 4, 2, 20, 140, 16, 16).draw(6);
    int[] keyLengths = {140, 3};
    int[] queryLengths = {1, 20};
    Random random = new Random(7);
    try (Arena arena = Arena.ofConfined();
        Workspace workspace = runtime.newWorkspace()) {
      Tensor q = Placement.BSHD.of(arena, p.q, 2, 20, 4, 16);
      Tensor k = Placement.BSHD.of(arena, p.k, 2, 140, 2, 16);
      Tensor v = Placement.BHSD.of(arena, p.v, 2, 140, 2, 16);
      Tensor keys = Run.lengths(arena, keyLengths);
      Tensor queries = Run.lengths(arena, queryLengths);
      Tensor out = Tensor.allocate(arena, DType.FLOAT32, 2, 20, 4, 16);
      Tensor lse = Tensor.allocate(arena, DType.FLOAT32, 2, 4, 20);
      for (int n = 0; n < 60; n++) {
        boolean withLse = random.nextBoolean();
        p.causal(Causal.values()[random.nextInt(3)]);
        p.scale(random.nextBoolean() ? Float.NaN : 0.5f);
        p.keyLengths = random.nextBoolean() ? keyLengths : null;
        p.queryLengths = random.nextBoolean() ? queryLengths : null;
        out.fill(-1);
        lse.fill(-1);
        runtime
            .attention(p.spec())
            .forward(
                workspace,
                q,
                k,
                v,
                out,
                new AttentionOptions()
                    .keyLengths(p.keyLengths == null ? null : keys)
                    .queryLengths(p.queryLengths == null ? null : queries)
                    .lse(withLse ? lse : null));
        Run want = Run.of(runtime, p);
        Run.checkSameBits(want.out(), out.toFloatArray(), n + ": out of " + p);
        if (withLse) {
          Run.checkSameBits(want.lse(), lse.toFloatArray(), n + ": lse of " + p);
        } else {
          assertEquals(-1, lse.getFloat(1, 3, 19));
        }
      }
    }
  }

  /** The C function, called with a descriptor that is filled by hand, gives Java's bits. */
  @Test
  void theCEntry() {
    for (Problem p : problems()) {
      Run java = Run.of(runtime, p);
      long context = Native.createContext(3, tier);
      try (Arena arena = Arena.ofConfined()) {
        MemorySegment desc = gatun_attention_desc.allocate(arena);
        gatun_attention_desc.struct_size(desc, (int) gatun_attention_desc.sizeof());
        gatun_attention_desc.dtype(desc, gatun_h.GATUN_DTYPE_F32());
        gatun_attention_desc.kv_dtype(desc, gatun_h.GATUN_DTYPE_F32());
        gatun_attention_desc.causal(desc, p.causal.ordinal());
        gatun_attention_desc.batch(desc, p.batch);
        gatun_attention_desc.heads(desc, p.heads);
        gatun_attention_desc.kv_heads(desc, p.kvHeads);
        gatun_attention_desc.seq_q(desc, p.seqQ);
        gatun_attention_desc.seq_k(desc, p.seqK);
        gatun_attention_desc.head_dim(desc, p.headDim);
        gatun_attention_desc.head_dim_v(desc, p.headDimV);
        long q = (long) p.heads * p.headDim;
        long k = (long) p.kvHeads * p.headDim;
        long v = (long) p.kvHeads * p.headDimV;
        long o = (long) p.heads * p.headDimV;
        stride(gatun_attention_desc.q_stride(desc), p.seqQ * q, q, p.headDim);
        stride(gatun_attention_desc.k_stride(desc), p.seqK * k, k, p.headDim);
        stride(gatun_attention_desc.v_stride(desc), p.seqK * v, v, p.headDimV);
        stride(gatun_attention_desc.out_stride(desc), p.seqQ * o, o, p.headDimV);
        stride(gatun_attention_desc.lse_stride(desc), (long) p.heads * p.seqQ, 1, p.seqQ);
        MemorySegment handle = MemorySegment.ofAddress(context);
        MemorySegment size = arena.allocate(ValueLayout.JAVA_LONG);
        assertEquals(Native.Abi.OK, gatun_h.gatun_attention_workspace_size(handle, desc, size));
        long bytes = size.get(ValueLayout.JAVA_LONG, 0);
        MemorySegment workspace = arena.allocate(bytes, 64);
        MemorySegment out = arena.allocate(4L * java.out().length);
        MemorySegment lse = arena.allocate(4L * java.lse().length);
        int status =
            gatun_h.gatun_attention_forward(
                handle,
                desc,
                workspace,
                bytes,
                arena.allocateFrom(ValueLayout.JAVA_FLOAT, p.q),
                arena.allocateFrom(ValueLayout.JAVA_FLOAT, p.k),
                arena.allocateFrom(ValueLayout.JAVA_FLOAT, p.v),
                ints(arena, p.keyLengths),
                ints(arena, p.queryLengths),
                out,
                lse);
        assertEquals(Native.Abi.OK, status);
        java.checkSameBits(
            new Run(out.toArray(ValueLayout.JAVA_FLOAT), lse.toArray(ValueLayout.JAVA_FLOAT)),
            "C and Java, " + p);
      } finally {
        assertEquals(Native.Abi.OK, Native.destroyContext(context));
      }
    }
  }

  private static void stride(MemorySegment to, long batch, long seq, long head) {
    to.setAtIndex(ValueLayout.JAVA_LONG, 0, batch);
    to.setAtIndex(ValueLayout.JAVA_LONG, 1, seq);
    to.setAtIndex(ValueLayout.JAVA_LONG, 2, head);
  }

  private static MemorySegment ints(Arena arena, int[] lengths) {
    return lengths == null ? MemorySegment.NULL : arena.allocateFrom(ValueLayout.JAVA_INT, lengths);
  }
}
