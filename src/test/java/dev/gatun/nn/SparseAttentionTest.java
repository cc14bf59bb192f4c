package dev.gatun.nn;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import dev.gatun.AttentionOptions;
import dev.gatun.AttentionSpec;
import dev.gatun.BlockMasks;
import dev.gatun.DType;
import dev.gatun.GatunRuntime;
import dev.gatun.Tensor;
import dev.gatun.internal.LayerCall;
import dev.gatun.internal.LayerCalls;
import dev.gatun.internal.Matrix;
import dev.gatun.internal.SequenceRows;
import dev.gatun.support.Difference;
import dev.gatun.support.Problem;
import dev.gatun.support.Reference;
import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import java.util.Arrays;
import java.util.List;
import java.util.Random;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;

/** Longformer and BigBird, masks of the exact call, against masked attention in double. */
class SparseAttentionTest {

  private final Arena arena = Arena.ofShared();
  private final GatunRuntime runtime = Layers.runtime(2);

  @AfterEach
  void close() {
    arena.close();
  }

  private Tensor tensor(float[] data, int... shape) {
    return Tensor.copyOf(arena, data, Arrays.stream(shape).asLongStream().toArray());
  }

  /** The mask as one of keys, looked up by blocks. */
  private static Problem.Grid keys(Tensor mask, int block, int seq) {
    int heads = (int) mask.size(1);
    long blocks = mask.size(3);
    Problem.Grid grid = Problem.Grid.of(1, heads, seq, seq);
    for (int h = 0; h < heads; h++) {
      for (int i = 0; i < seq; i++) {
        for (int j = 0; j < seq; j++) {
          grid.values()[(h * seq + i) * seq + j] =
              mask.segment()
                  .get(ValueLayout.JAVA_BYTE, (h * blocks + i / block) * blocks + j / block);
        }
      }
    }
    return grid;
  }

  private static void check(String name, Problem p, Tensor out) {
    Reference reference = new Reference(p);
    reference.check(out.toFloatArray(), null);
    System.out.printf(
        "%s, %d keys: differs from masked attention in double by at most %.1e of the greatest%n",
        name, p.seqK, Difference.share(reference.out, out.toFloatArray()));
  }

  @ParameterizedTest
  @CsvSource({"300, 16, 1, 19", "300, 16, 4, 40", "64, 64, 1, 1", "130, 8, 4, 17", "7, 16, 1, 3"})
  void bigBird(int seq, int block, int maskHeads, int blocks) {
    Problem p = new Problem(2, 4, maskHeads == 4 ? 2 : 4, seq, seq, 32, 24).draw(Layers.SEED);
    Tensor mask = BlockMasks.bigBird(blocks, 1).heads(maskHeads).build(arena);
    Tensor q = tensor(p.q, 2, seq, 4, 32);
    Tensor k = tensor(p.k, 2, seq, p.kvHeads, 32);
    Tensor v = tensor(p.v, 2, seq, p.kvHeads, 24);
    Tensor out = Tensor.allocate(arena, DType.FLOAT32, 2, seq, 4, 24);
    new BlockSparseAttention(runtime, mask, block).forward(null, q, k, v, out);
    p.mask = keys(mask, block, seq);
    check("bigbird", p, out);
  }

  @Test
  void bigBirdAsAnOptionOfACall() {
    int seq = 512;
    Problem p = new Problem(1, 2, 2, seq, seq, 32, 32).draw(Layers.SEED);
    Tensor q = tensor(p.q, 1, seq, 2, 32);
    Tensor k = tensor(p.k, 1, seq, 2, 32);
    Tensor v = tensor(p.v, 1, seq, 2, 32);
    Tensor out = Tensor.allocate(arena, DType.FLOAT32, 1, seq, 2, 32);
    // example: bigbird
    Tensor mask = BlockMasks.bigBird(512 / 32, 4711).build(arena); // blocks of 32 tokens
    AttentionMechanism bigBird = new BlockSparseAttention(runtime, mask, 32);
    bigBird.forward(null, q, k, v, out);
    // end
    p.mask = keys(mask, 32, seq);
    check("bigbird", p, out);
    Tensor same = Tensor.allocate(arena, DType.FLOAT32, 1, seq, 2, 32);
    runtime
        .attention(AttentionSpec.standard())
        .forward(q, k, v, same, new AttentionOptions().blockMask(mask, 32, 32));
    assertArrayEquals(same.toFloatArray(), out.toFloatArray());
  }

  /** Beltagy et al., section 3.1: w / 2 tokens on each side, and symmetric global attention. */
  @Test
  void longformer() {
    int seq = 400;
    Problem p = new Problem(1, 2, 2, seq, seq, 32, 32).draw(Layers.SEED);
    Tensor q = tensor(p.q, 1, seq, 2, 32);
    Tensor k = tensor(p.k, 1, seq, 2, 32);
    Tensor v = tensor(p.v, 1, seq, 2, 32);
    Tensor out = Tensor.allocate(arena, DType.FLOAT32, 1, seq, 2, 32);
    // example: longformer
    AttentionSpec spec = AttentionSpec.builder().window(32, 32).globalTokens(2).build();
    AttentionMechanism longformer = new ExactAttention(runtime, spec);
    longformer.forward(null, q, k, v, out);
    // end
    p.mask = Problem.Grid.of(1, 1, seq, seq);
    for (int i = 0; i < seq; i++) {
      for (int j = 0; j < seq; j++) {
        p.mask.values()[i * seq + j] = Math.abs(i - j) <= 32 || i < 2 || j < 2 ? 1 : 0;
      }
    }
    check("longformer", p, out);
  }

  @Test
  void sequencesMayHaveDifferentLengths() {
    Tensor mask = BlockMasks.bigBird(10, 3).build(arena);
    BlockSparseAttention mechanism = new BlockSparseAttention(runtime, mask, 8);
    Problem p = new Problem(1, 2, 2, 130, 130, 16, 16).draw(Layers.SEED);
    Tensor x = tensor(p.q, 1, 130, 2, 16);
    Tensor out = Tensor.allocate(arena, DType.FLOAT32, 1, 130, 2, 16);
    Matrix rows = Matrix.of(x.segment(), 130, 32, 32);
    MemorySegment offsets = Tensor.copyOf(arena, new int[] {0, 79, 79, 130}, 4).segment();
    try (LayerCall call = LayerCalls.begin(runtime, null)) {
      SequenceRows ragged = SequenceRows.ragged(call.scratch(), offsets, 3);
      mechanism.attend(
          call, 2, 2, ragged, rows, ragged, rows, rows, Matrix.of(out.segment(), 130, 32, 32));
    }
    for (int[] part : new int[][] {{0, 79}, {79, 130}}) {
      Tensor some = x.slice(1, part[0], part[1]);
      Tensor alone = Tensor.allocate(arena, DType.FLOAT32, 1, part[1] - part[0], 2, 16);
      mechanism.forward(null, some, some, some, alone);
      assertArrayEquals(alone.toFloatArray(), out.slice(1, part[0], part[1]).toFloatArray());
    }
  }

  /** Of two sequences with padding; with identities as projections, it is the mechanism alone. */
  @Test
  void layersTakeThem() {
    int dim = 32;
    Tensor x = Layers.normal(arena, new Random(1), 2, 70, dim);
    Tensor e = Layers.normal(arena, new Random(2), 8, 70);
    Tensor mask = BlockMasks.bigBird(9, 3).build(arena);
    Tensor identity = Tensor.allocate(arena, DType.FLOAT32, dim, dim);
    for (int i = 0; i < dim; i++) {
      identity.setFloat(1, i, i);
    }
    for (AttentionMechanism mechanism :
        List.of(
            new LinformerAttention(runtime, e, e), new BlockSparseAttention(runtime, mask, 8))) {
      MultiHeadAttention layer =
          MultiHeadAttention.builder(runtime, 2)
              .query(identity, null)
              .key(identity, null)
              .value(identity, null)
              .output(identity, null)
              .mechanism(mechanism)
              .build();
      Tensor out = Tensor.allocate(arena, DType.FLOAT32, 2, 70, dim);
      int[] lengths = {70, 41};
      layer.forward(x, Sequences.padded(Tensor.copyOf(arena, lengths, 2)), out);
      for (int n = 0; n < 2; n++) {
        Tensor one = x.slice(0, n, n + 1).slice(1, 0, lengths[n]).reshape(1, lengths[n], 2, 16);
        Tensor alone = Tensor.allocate(arena, DType.FLOAT32, 1, lengths[n], 2, 16);
        mechanism.forward(null, one, one, one, alone);
        assertArrayEquals(
            alone.toFloatArray(),
            out.slice(0, n, n + 1).slice(1, 0, lengths[n]).toFloatArray(),
            mechanism.name());
      }
      Tensor longer = Tensor.allocate(arena, DType.FLOAT32, 1, 73, dim);
      Tensor longerOut = Tensor.allocate(arena, DType.FLOAT32, 1, 73, dim);
      refused("x: expected ", () -> layer.forward(longer, longerOut));
    }
  }

  private static void refused(String message, Runnable call) {
    String got = assertThrows(IllegalArgumentException.class, call::run).getMessage();
    assertTrue(got.startsWith(message), got);
  }

  @Test
  void whatDoesNotFitIsRefused() {
    Tensor mask = BlockMasks.bigBird(4, 3).heads(2).build(arena);
    String shape = "mask: expected [1, heads or 1, blocks, blocks] uint8, contiguous, got ";
    for (Tensor bad :
        new Tensor[] {
          mask.select(0, 0),
          mask.slice(2, 0, 3),
          Tensor.allocate(arena, DType.FLOAT32, 1, 1, 4, 4),
          Tensor.allocate(arena, DType.UINT8, 2, 1, 4, 4),
          Tensor.allocate(arena, DType.UINT8, 1, 1, 0, 0)
        }) {
      refused(shape, () -> new BlockSparseAttention(runtime, bad, 8));
    }
    refused("block: expected 1 or more, got 0", () -> new BlockSparseAttention(runtime, mask, 0));
    BlockSparseAttention mechanism = new BlockSparseAttention(runtime, mask, 8);
    assertEquals("block-sparse 32", mechanism.name() + " " + mechanism.length());
    Tensor q = Tensor.allocate(arena, DType.FLOAT32, 1, 33, 2, 8);
    Tensor out = Tensor.allocate(arena, DType.FLOAT32, 1, 33, 2, 8);
    out.fill(7);
    refused(
        "q: expected sequences of at most 32 (4 blocks of 8), got 33",
        () -> mechanism.forward(null, q, q, q, out));
    Tensor heads = Tensor.allocate(arena, DType.FLOAT32, 1, 5, 3, 8);
    Tensor outHeads = Tensor.allocate(arena, DType.FLOAT32, 1, 5, 3, 8);
    refused(
        "mask: expected 1 or 3 heads, got 2",
        () -> mechanism.forward(null, heads, heads, heads, outHeads));
    float[] sevens = new float[33 * 16];
    Arrays.fill(sevens, 7);
    assertArrayEquals(sevens, out.toFloatArray());
  }
}
