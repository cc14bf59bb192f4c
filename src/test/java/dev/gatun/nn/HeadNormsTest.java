package dev.gatun.nn;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import dev.gatun.Activation;
import dev.gatun.AttentionSpec;
import dev.gatun.Causal;
import dev.gatun.DType;
import dev.gatun.GatunRuntime;
import dev.gatun.Tensor;
import dev.gatun.WeightFormat;
import dev.gatun.support.Difference;
import dev.gatun.support.Torch;
import dev.gatun.support.Torch.Array;
import java.lang.foreign.Arena;
import java.util.Random;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.ValueSource;

/** Attention whose queries and keys are normalized by heads, against PyTorch in float64. */
class HeadNormsTest {

  /** A share of the greatest element: some tens of roundings of 6e-8, most of which cancel. */
  private static final double BOUND = 2e-6;

  private static final int DIM = 48;
  private static final int HEADS = 4;
  private static final int KV_HEADS = 2;
  private static final int SIZE = 14; // heads · size is not the width
  private static final int SEQ = 11;

  private final Arena arena = Arena.ofShared();
  private final Random random = new Random(Layers.SEED);
  private final Torch torch = Torch.float64();
  private final Tensor weight = Layers.weight(arena, random, DIM, (HEADS + 2 * KV_HEADS) * SIZE);
  private final Tensor output = Layers.weight(arena, random, HEADS * SIZE, DIM);
  private final Tensor ofQueries = Layers.normal(arena, random, SIZE);
  private final Tensor ofKeys = Layers.normal(arena, random, DIM).slice(0, 0, SIZE);

  @AfterEach
  void close() {
    torch.close();
    arena.close();
  }

  private Tensor part(int from, int to) {
    return weight.slice(1, (long) from * SIZE, (long) to * SIZE);
  }

  private MultiHeadAttention attention(GatunRuntime runtime, String kind, Causal causal) {
    MultiHeadAttention.Builder builder =
        MultiHeadAttention.builder(runtime, HEADS)
            .kvHeads(KV_HEADS)
            .spec(AttentionSpec.builder().causal(causal).build())
            .headNorms(new RMSNorm(runtime, ofQueries, 1e-6f), new RMSNorm(runtime, ofKeys, 1e-6f));
    switch (kind) {
      case "fused" -> builder.fused(weight, null);
      case "packed" ->
          builder.fused(
              new Linear(runtime, weight, null, Activation.NONE).packed(arena, WeightFormat.FP32));
      default ->
          builder
              .query(part(0, HEADS), null)
              .key(part(HEADS, HEADS + KV_HEADS), null)
              .value(part(HEADS + KV_HEADS, HEADS + 2 * KV_HEADS), null);
    }
    return builder.output(output, null).build();
  }

  private Array array(Tensor tensor) {
    return torch.array(tensor.toFloatArray(), tensor.shape());
  }

  private Array heads(Array x, Tensor columns, int heads) {
    long[] shape = x.shape();
    Array all = torch.matmul(x, torch.array(columns.toFloatArray(), columns.shape()));
    return torch.transpose(torch.reshape(all, shape[0], shape[1], heads, SIZE), 1, 2);
  }

  private Array want(Array x, Array memory, boolean causal) {
    Array q = torch.rmsNorm(heads(x, part(0, HEADS), HEADS), array(ofQueries), 1e-6f);
    Array k = heads(memory, part(HEADS, HEADS + KV_HEADS), KV_HEADS);
    Array v = heads(memory, part(HEADS + KV_HEADS, HEADS + 2 * KV_HEADS), KV_HEADS);
    Array context =
        torch.attention(q, torch.rmsNorm(k, array(ofKeys), 1e-6f), v, null, causal, Double.NaN);
    long[] shape = x.shape();
    return torch.matmul(
        torch.reshape(torch.transpose(context, 1, 2), shape[0], shape[1], HEADS * SIZE),
        array(output));
  }

  private static void check(String what, Array want, Tensor got) {
    double share = Difference.share(want.toDoubles(), got.toFloatArray());
    System.out.printf(
        "head norms, %s: differs from PyTorch in float64 by at most %.1e of the greatest%n",
        what, share);
    assertTrue(share <= BOUND, what + ": " + share);
  }

  @ParameterizedTest
  @ValueSource(strings = {"separate", "fused", "packed"})
  void attention(String kind) {
    GatunRuntime runtime = Layers.runtime(2);
    Tensor x = Layers.normal(arena, random, 3, SEQ, DIM);
    Tensor memory = Layers.normal(arena, random, 3, 5, DIM);
    Tensor out = Tensor.allocate(arena, DType.FLOAT32, 3, SEQ, DIM);
    attention(runtime, kind, Causal.BOTTOM_RIGHT).forward(x, out);
    check(kind, want(array(x), array(x), true), out);
    attention(runtime, kind, Causal.NONE).forward(null, x, null, memory, null, out);
    check(kind + ", cross", want(array(x), array(memory), false), out);
  }

  /** Neither threads nor other sequences in the batch change bits; one row is no special case. */
  @ParameterizedTest
  @ValueSource(strings = {"separate", "fused", "packed"})
  void bits(String kind) {
    Tensor x = Layers.normal(arena, random, 3, SEQ, DIM);
    Tensor out = Tensor.allocate(arena, DType.FLOAT32, 3, SEQ, DIM);
    Layers.checkBits(runtime -> attention(runtime, kind, Causal.BOTTOM_RIGHT).forward(x, out), out);
    if (!kind.equals("packed")) {
      return; // products of OpenBLAS have other bits for other numbers of rows
    }
    MultiHeadAttention attention = attention(Layers.runtime(2), kind, Causal.BOTTOM_RIGHT);
    Tensor one = Tensor.allocate(arena, DType.FLOAT32, 1, SEQ, DIM);
    attention.forward(x.slice(0, 1, 2), one);
    assertArrayEquals(out.slice(0, 1, 2).toFloatArray(), one.toFloatArray());
    Tensor row = Tensor.allocate(arena, DType.FLOAT32, 1, 1, DIM);
    attention.forward(x.slice(0, 1, 2).slice(1, 0, 1), row);
    assertArrayEquals(one.slice(1, 0, 1).toFloatArray(), row.toFloatArray());
  }

  @Test
  void refusals() {
    GatunRuntime runtime = Layers.runtime(1);
    Norm right = new RMSNorm(runtime, ofKeys, 1e-6f);
    Norm wrong = new RMSNorm(runtime, Layers.normal(arena, random, SIZE + 1), 1e-6f);
    Layers.refused(
        "headNorms: expected ofQueries of 14 elements (a head), got 15",
        () -> fused(runtime).headNorms(wrong, right).build());
    Layers.refused(
        "headNorms: expected ofKeys of 14 elements (a head), got 15",
        () -> fused(runtime).headNorms(right, wrong).build());
    Layers.refused(
        "out:",
        () ->
            fused(runtime)
                .headNorms(right, right)
                .build()
                .forward(Layers.normal(arena, random, 1, 1, DIM), shared()));
  }

  /** Memory of a norm's weight. */
  private Tensor shared() {
    Tensor all = Tensor.allocate(arena, DType.FLOAT32, 1, 1, DIM);
    return Tensor.ofStrided(
        ofKeys.segment().reinterpret(DIM * 4L),
        DType.FLOAT32,
        all.shape(),
        new long[] {DIM, DIM, 1});
  }

  private MultiHeadAttention.Builder fused(GatunRuntime runtime) {
    return MultiHeadAttention.builder(runtime, HEADS)
        .kvHeads(KV_HEADS)
        .fused(weight, null)
        .output(output, null);
  }
}
