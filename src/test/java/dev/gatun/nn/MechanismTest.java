package dev.gatun.nn;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import dev.gatun.AttentionSpec;
import dev.gatun.Causal;
import dev.gatun.DType;
import dev.gatun.GatunRuntime;
import dev.gatun.Tensor;
import java.lang.foreign.Arena;
import java.util.Random;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.Test;

/** What heads do with queries, keys and values can be exchanged. */
class MechanismTest {

  private static final int BATCH = 2;
  private static final int SEQ = 9;
  private static final int HEADS = 4;
  private static final int KV_HEADS = 2;
  private static final int SIZE = 6;
  private static final int DIM = HEADS * SIZE;

  private final Arena arena = Arena.ofShared();
  private final Random random = new Random(Layers.SEED);
  private final GatunRuntime runtime = Layers.runtime(2);
  private final Tensor q = Layers.normal(arena, random, BATCH, SEQ, HEADS, SIZE);
  private final Tensor k = Layers.normal(arena, random, BATCH, SEQ + 3, KV_HEADS, SIZE);
  private final Tensor v = Layers.normal(arena, random, BATCH, SEQ + 3, KV_HEADS, SIZE + 1);
  private final Tensor out = Tensor.allocate(arena, DType.FLOAT32, BATCH, SEQ, HEADS, SIZE + 1);

  @AfterEach
  void close() {
    arena.close();
  }

  private static AttentionSpec causal() {
    return AttentionSpec.builder().causal(Causal.BOTTOM_RIGHT).softcap(3).build();
  }

  /** The same call in other words. */
  @Test
  void exactHasTheBitsOfAttention() {
    new ExactAttention(runtime, causal()).forward(null, q, k, v, out);
    Tensor expected = Tensor.allocate(arena, DType.FLOAT32, out.shape());
    runtime.attention(causal()).forward(q, k, v, expected);
    assertArrayEquals(expected.toFloatArray(), out.toFloatArray());
  }

  /** Rows with gaps between them, as those of a fused projection. */
  @Test
  void rowsMayLieApart() {
    Tensor wide = Tensor.allocate(arena, DType.FLOAT32, BATCH, SEQ, HEADS + 2, SIZE);
    Tensor apart = wide.slice(2, 1, HEADS + 1);
    apart.copyFrom(q);
    new ExactAttention(runtime, causal()).forward(null, q, k, v, out);
    float[] expected = out.toFloatArray();
    out.fill(7);
    new ExactAttention(runtime, causal()).forward(null, apart, k, v, out);
    assertArrayEquals(expected, out.toFloatArray());
  }

  private MultiHeadAttention.Builder layer() {
    Random weights = new Random(5);
    return MultiHeadAttention.builder(runtime, HEADS)
        .kvHeads(KV_HEADS)
        .query(Layers.weight(arena, weights, DIM, DIM), null)
        .key(Layers.weight(arena, weights, DIM, KV_HEADS * SIZE), null)
        .value(Layers.weight(arena, weights, DIM, KV_HEADS * SIZE), null)
        .output(Layers.weight(arena, weights, DIM, DIM), null);
  }

  @Test
  void aLayerTakesAMechanismInPlaceOfASpecification() {
    Tensor x = Layers.normal(arena, random, BATCH, SEQ, DIM);
    Tensor expected = Tensor.allocate(arena, DType.FLOAT32, BATCH, SEQ, DIM);
    Tensor got = Tensor.allocate(arena, DType.FLOAT32, BATCH, SEQ, DIM);
    layer().spec(causal()).build().forward(x, expected);
    MultiHeadAttention attention = layer().mechanism(new ExactAttention(runtime, causal())).build();
    attention.forward(x, got);
    assertArrayEquals(expected.toFloatArray(), got.toFloatArray());
    assertEquals("exact", attention.mechanism().name());
  }

  @Test
  void refusesWhatDoesNotGoWithAMechanism() {
    ExactAttention exact = new ExactAttention(runtime, causal());
    refused(
        "spec: expected none beside a mechanism",
        () -> layer().spec(causal()).mechanism(exact).build());
    refused(
        "positions: expected none that change scores beside the mechanism exact",
        () -> layer().positions(PositionalEncoding.alibi(arena, HEADS)).mechanism(exact).build());
  }

  @Test
  void refusesTensorsByName() {
    ExactAttention exact = new ExactAttention(runtime, causal());
    refused(
        "q: expected [batch, seq, heads, dim] float32",
        () -> exact.forward(null, q.mergeHeads(), k, v, out));
    refused("k: expected [2, seq, 2, 6] float32, got", () -> exact.forward(null, q, v, v, out));
    refused(
        "v: expected [2, 12, 2, 7] float32, got",
        () -> exact.forward(null, q, k, v.slice(1, 0, 3), out));
    refused("out: expected [2, 9, 4, 7] float32, got", () -> exact.forward(null, q, k, v, q));
    refused(
        "k: expected a divisor of 4 heads, got 3",
        () -> {
          Tensor three = Layers.normal(arena, random, BATCH, SEQ, 3, SIZE);
          exact.forward(null, q, three, three, q);
        });
    refused(
        "out: expected memory that can be written",
        () -> exact.forward(null, q, k, v, out.asReadOnly()));
    refused(
        "k: expected evenly spaced rows of heads without gaps",
        () -> exact.forward(null, q, v.slice(3, 0, SIZE), v, out));
  }

  private static void refused(String start, org.junit.jupiter.api.function.Executable call) {
    String message = assertThrows(IllegalArgumentException.class, call).getMessage();
    assertTrue(message.startsWith(start), message);
  }
}
