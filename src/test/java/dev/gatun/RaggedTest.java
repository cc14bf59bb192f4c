package dev.gatun;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import dev.gatun.support.Problem;
import dev.gatun.support.Reference;
import dev.gatun.support.Run;
import java.lang.foreign.Arena;
import java.util.Arrays;
import java.util.Random;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.MethodSource;

/** Sequences of different lengths in one call, from the public entry. */
class RaggedTest {

  private static final int HEADS = 4;
  private static final int KV_HEADS = 2;
  private static final int DIM = 24;
  private static final int DIM_V = 16;

  private final Arena arena = Arena.ofConfined();
  private final Random random = new Random(11);

  @AfterEach
  void close() {
    arena.close();
  }

  private Tensor normal(long... shape) {
    long count = Arrays.stream(shape).reduce(1, (a, b) -> a * b);
    float[] data = new float[(int) count];
    for (int i = 0; i < data.length; i++) {
      data[i] = (float) random.nextGaussian();
    }
    return Tensor.copyOf(arena, data, shape);
  }

  private Tensor offsets(int... values) {
    return Tensor.copyOf(arena, values, values.length);
  }

  static Tier[] tiers() {
    return Run.tiers().toArray(Tier[]::new);
  }

  /** Prefill beside decoding, an empty sequence, rows before the first and behind the last. */
  @ParameterizedTest
  @MethodSource("tiers")
  void eachSequenceHasTheBitsThatItHasAlone(Tier tier) {
    int[] q = {2, 39, 40, 40, 43, 60};
    int[] k = {1, 38, 168, 170, 170, 190};
    Tensor slopes = normal(HEADS);
    Tensor table = normal(HEADS, 9);
    for (Causal causal : Causal.values()) {
      for (boolean biased : new boolean[] {false, true}) {
        AttentionSpec.Builder spec = AttentionSpec.builder().causal(causal).scale(0.3f);
        if (biased) {
          spec.alibiSlopes(slopes).relativePositions(table);
        }
        Attention attention = Run.runtime(tier, 2).attention(spec.build());
        Tensor queries = normal(62, HEADS, DIM);
        Tensor keys = normal(191, KV_HEADS, DIM);
        Tensor values = normal(191, KV_HEADS, DIM_V);
        Tensor out = Tensor.allocate(arena, DType.FLOAT32, 62, HEADS, DIM_V);
        Tensor lse = Tensor.allocate(arena, DType.FLOAT32, HEADS, 62);
        out.fill(-7);
        lse.fill(-7);
        attention.forward(
            queries,
            keys,
            values,
            out,
            new AttentionOptions().cuSeqlens(offsets(q), offsets(k)).lse(lse));
        for (int n = 0; n + 1 < q.length; n++) {
          int rows = q[n + 1] - q[n];
          Tensor alone = Tensor.allocate(arena, DType.FLOAT32, 1, rows, HEADS, DIM_V);
          Tensor aloneLse = Tensor.allocate(arena, DType.FLOAT32, 1, HEADS, rows);
          attention.forward(
              one(queries.slice(0, q[n], q[n + 1])),
              one(keys.slice(0, k[n], k[n + 1])),
              one(values.slice(0, k[n], k[n + 1])),
              alone,
              new AttentionOptions().lse(aloneLse));
          String what = "%s, %s, sequence %d".formatted(causal, biased, n);
          Run.checkSameBits(
              alone.toFloatArray(), out.slice(0, q[n], q[n + 1]).toFloatArray(), what);
          Run.checkSameBits(
              aloneLse.toFloatArray(), lse.slice(1, q[n], q[n + 1]).toFloatArray(), what);
        }
        for (Tensor around : new Tensor[] {out.slice(0, 0, 2), out.slice(0, 60, 62)}) {
          for (float value : around.toFloatArray()) {
            assertEquals(-7, value);
          }
        }
      }
    }
  }

  private static Tensor one(Tensor rows) {
    long[] shape = rows.shape();
    return rows.reshape(1, shape[0], shape[1], shape[2]);
  }

  @Test
  void againstTheReference() {
    Problem first = new Problem(1, HEADS, KV_HEADS, 9, 21, DIM, DIM_V).draw(random, 1);
    Problem second = new Problem(1, HEADS, KV_HEADS, 1, 150, DIM, DIM_V).draw(random, 1);
    Tensor out = Tensor.allocate(arena, DType.FLOAT32, 10, HEADS, DIM_V);
    Run.runtime(Run.bestTier(), 2)
        .attention(AttentionSpec.standard())
        .forward(
            joined(first.q, second.q, 10, HEADS, DIM),
            joined(first.k, second.k, 171, KV_HEADS, DIM),
            joined(first.v, second.v, 171, KV_HEADS, DIM_V),
            out,
            new AttentionOptions().cuSeqlens(offsets(0, 9, 10), offsets(0, 21, 171)));
    new Reference(first).check(out.slice(0, 0, 9).toFloatArray(), null);
    new Reference(second).check(out.slice(0, 9, 10).toFloatArray(), null);
  }

  private Tensor joined(float[] a, float[] b, long... shape) {
    float[] both = Arrays.copyOf(a, a.length + b.length);
    System.arraycopy(b, 0, both, a.length, b.length);
    return Tensor.copyOf(arena, both, shape);
  }

  @Test
  void whatDoesNotFitIsNamed() {
    Tensor q = normal(5, HEADS, DIM);
    Tensor k = normal(9, KV_HEADS, DIM);
    Tensor out = Tensor.allocate(arena, DType.FLOAT32, 5, HEADS, DIM);
    out.fill(-7);
    Tensor goodQ = offsets(0, 2, 5);
    Tensor goodK = offsets(0, 4, 9);
    refused("cuSeqlens of queries[2]: expected 2 .. 5", q, k, out, offsets(0, 2, 6), goodK);
    refused("cuSeqlens of queries[2]: expected 2 .. 5", q, k, out, offsets(0, 2, 1), goodK);
    refused("cuSeqlens of keys[0]: expected 0 .. 9", q, k, out, goodQ, offsets(-1, 4, 9));
    refused("cuSeqlens of keys: expected [3] int32", q, k, out, goodQ, offsets(0, 9));
    refused("cuSeqlens of queries: expected [3] int32", q, k, out, normal(3), goodK);
    refused("q: expected [totalQ, heads, headDim]", one(q), k, out, goodQ, goodK);
    refused("k: expected [totalK, divisor of 4, 24]", q, normal(9, 3, DIM), out, goodQ, goodK);
    refused("out: expected [5, 4, 24]", q, k, out.slice(0, 0, 4), goodQ, goodK);
    refused("out: expected memory of its own", q, k, q, goodQ, goodK);
    Tensor itself =
        Tensor.ofStrided(
            out.segment(), DType.FLOAT32, new long[] {5, HEADS, DIM}, new long[] {0, DIM, 1});
    refused("out: expected an address for each element", q, k, itself, goodQ, goodK);
    Tensor inside = Tensor.allocate(arena, DType.FLOAT32, 5, HEADS, DIM);
    Tensor within = Tensor.of(inside.segment().asSlice(0, 12), DType.INT32, 3);
    refused(
        "out: expected memory of its own, got memory shared with cuSeqlens of queries",
        q,
        k,
        inside,
        within,
        goodK);
    String message =
        assertThrows(
                IllegalArgumentException.class, () -> new AttentionOptions().cuSeqlens(goodQ, null))
            .getMessage();
    assertTrue(message.contains("expected offsets of both or of neither"), message);
    AttentionOptions lengths =
        new AttentionOptions().cuSeqlens(goodQ, goodK).keyLengths(offsets(4, 5));
    assertTrue(
        assertThrows(
                IllegalArgumentException.class, () -> attention().forward(q, k, k, out, lengths))
            .getMessage()
            .startsWith("keyLengths: expected none beside cuSeqlens"));
    for (float value : out.toFloatArray()) {
      assertEquals(-7, value);
    }
  }

  private static Attention attention() {
    return Run.runtime(Run.bestTier(), 2).attention(AttentionSpec.standard());
  }

  private static void refused(
      String text, Tensor q, Tensor k, Tensor out, Tensor cuSeqlensQ, Tensor cuSeqlensK) {
    AttentionOptions options = new AttentionOptions().cuSeqlens(cuSeqlensQ, cuSeqlensK);
    String message =
        assertThrows(
                IllegalArgumentException.class, () -> attention().forward(q, k, k, out, options))
            .getMessage();
    assertTrue(message.startsWith(text), message);
  }
}
