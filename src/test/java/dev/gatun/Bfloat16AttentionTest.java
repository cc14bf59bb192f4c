package dev.gatun;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertNotEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import dev.gatun.support.Problem;
import dev.gatun.support.Reference;
import dev.gatun.support.Run;
import java.lang.foreign.Arena;
import java.lang.foreign.ValueLayout;
import java.util.Arrays;
import java.util.List;
import org.junit.jupiter.api.Tag;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.function.Executable;
import org.junit.jupiter.params.ParameterizedClass;
import org.junit.jupiter.params.provider.MethodSource;

/**
 * Attention with products of bfloat16, and with 16-bit tensors, on every tier that this CPU has.
 */
@Tag("asan")
@ParameterizedClass
@MethodSource("tiers")
class Bfloat16AttentionTest {

  private static final AttentionSpec PLAIN =
      AttentionSpec.builder().causal(Causal.BOTTOM_RIGHT).build();
  private static final AttentionSpec ROUNDED =
      AttentionSpec.builder().causal(Causal.BOTTOM_RIGHT).bfloat16Products(true).build();

  private final GatunRuntime runtime;

  Bfloat16AttentionTest(Tier tier) {
    runtime = Run.runtime(tier, 2);
  }

  static List<Tier> tiers() {
    return Run.tiers();
  }

  private static Problem problem(int seqQ) {
    return new Problem(2, 4, 2, seqQ, 150, 32, 40).draw(7).causal(Causal.BOTTOM_RIGHT);
  }

  private AttentionPlan.Kernel kernel(AttentionSpec spec, int seqQ) {
    return runtime.attention(spec).plan(2, 4, 2, seqQ, 150, 32, true).kernel();
  }

  private float[] run(AttentionSpec spec, Problem p) {
    try (Arena arena = Arena.ofConfined()) {
      Tensor q = Tensor.copyOf(arena, p.q, p.batch, p.seqQ, p.heads, p.headDim);
      Tensor k = Tensor.copyOf(arena, p.k, p.batch, p.seqK, p.kvHeads, p.headDim);
      Tensor v = Tensor.copyOf(arena, p.v, p.batch, p.seqK, p.kvHeads, p.headDimV);
      Tensor out = Tensor.allocate(arena, DType.FLOAT32, p.batch, p.seqQ, p.heads, p.headDimV);
      runtime.attention(spec).forward(q, k, v, out);
      return out.toFloatArray();
    }
  }

  @Test
  void resultsAreThoseOfRoundedProducts() {
    Problem problem = problem(40);
    double[] want = new Reference(problem).out;
    float[] got = run(ROUNDED, problem);
    double square = 0;
    for (int i = 0; i < want.length; i++) {
      double error = Math.abs(got[i] - want[i]);
      assertTrue(error < 0.03, "element %d is off by %g".formatted(i, error));
      square += error * error;
    }
    double meanError = Math.sqrt(square / want.length);
    assertTrue(meanError < 1e-3, "the errors' root mean square is " + meanError);
  }

  @Test
  void thePlanTellsWhetherProductsAreRounded() {
    boolean rounded = kernel(ROUNDED, 40) == AttentionPlan.Kernel.BF16;
    assertEquals(AttentionPlan.Kernel.GENERAL, kernel(PLAIN, 40));
    assertTrue(!rounded || runtime.tier() == Tier.AVX512);
    Problem problem = problem(40);
    assertEquals(!rounded, Arrays.equals(run(PLAIN, problem), run(ROUNDED, problem)));
  }

  @Test
  void fewRowsAreInFloat32() {
    assertEquals(AttentionPlan.Kernel.DECODE, kernel(ROUNDED, 4));
    Problem problem = problem(4);
    Run.checkSameBits(run(PLAIN, problem), run(ROUNDED, problem), "4 rows");
  }

  @Test
  void theSpecificationSaysIt() {
    assertTrue(ROUNDED.bfloat16Products());
    assertEquals(
        ROUNDED,
        AttentionSpec.builder().bfloat16Products(true).causal(Causal.BOTTOM_RIGHT).build());
    assertNotEquals(ROUNDED, PLAIN);
    assertTrue(ROUNDED.toString().endsWith(", bfloat16Products]"), ROUNDED.toString());
  }

  // ---- 16-bit tensors ------------------------------------------------------------------------

  private static short half(DType type, float x) {
    if (type == DType.FLOAT16) {
      return Float.floatToFloat16(x);
    }
    int bits = Float.floatToRawIntBits(x);
    return (short) (bits + 0x7fff + (bits >> 16 & 1) >> 16);
  }

  private static float number(DType type, short half) {
    return type == DType.FLOAT16
        ? Float.float16ToFloat(half)
        : Float.intBitsToFloat((half & 0xffff) << 16);
  }

  /** The tensor as this type; its floats become what it holds. */
  private static Tensor rounded(Arena arena, DType type, float[] x, long... shape) {
    Tensor tensor = Tensor.allocate(arena, type, shape);
    for (int i = 0; i < x.length; i++) {
      short half = half(type, x[i]);
      tensor.segment().setAtIndex(ValueLayout.JAVA_SHORT, i, half);
      x[i] = number(type, half);
    }
    return tensor;
  }

  @Test
  void tensorsOf16BitsGiveWhatTheirNumbersGive() {
    for (AttentionSpec spec : List.of(PLAIN, ROUNDED)) {
      for (int seqQ : new int[] {4, 40}) {
        for (DType type : List.of(DType.BFLOAT16, DType.FLOAT16)) {
          Problem p = problem(seqQ);
          try (Arena arena = Arena.ofConfined()) {
            Tensor q = rounded(arena, type, p.q, p.batch, p.seqQ, p.heads, p.headDim);
            Tensor k = rounded(arena, type, p.k, p.batch, p.seqK, p.kvHeads, p.headDim);
            Tensor v = rounded(arena, type, p.v, p.batch, p.seqK, p.kvHeads, p.headDimV);
            long[] shape = {p.batch, p.seqQ, p.heads, p.headDimV};
            Tensor out = Tensor.allocate(arena, DType.FLOAT32, shape);
            Tensor shortOut = Tensor.allocate(arena, type, shape);
            Attention attention = runtime.attention(spec);
            attention.forward(q, k, v, out);
            attention.forward(q, k, v, shortOut);
            float[] want = run(spec, p);
            Run.checkSameBits(want, out.toFloatArray(), type + " inputs");
            for (int i = 0; i < want.length; i++) {
              assertEquals(
                  half(type, want[i]), shortOut.segment().getAtIndex(ValueLayout.JAVA_SHORT, i));
            }
          }
        }
      }
    }
  }

  @Test
  void typesMayDifferButForKeysAndValues() {
    Problem p = problem(5);
    try (Arena arena = Arena.ofConfined()) {
      Tensor k = rounded(arena, DType.BFLOAT16, p.k, p.batch, p.seqK, p.kvHeads, p.headDim);
      Tensor v = rounded(arena, DType.BFLOAT16, p.v, p.batch, p.seqK, p.kvHeads, p.headDimV);
      Tensor halfV = Tensor.allocate(arena, DType.FLOAT16, p.batch, p.seqK, p.kvHeads, p.headDimV);
      Tensor ints = Tensor.allocate(arena, DType.INT32, p.batch, p.seqQ, p.heads, p.headDim);
      Tensor q = Tensor.copyOf(arena, p.q, p.batch, p.seqQ, p.heads, p.headDim);
      Tensor out = Tensor.allocate(arena, DType.FLOAT32, p.batch, p.seqQ, p.heads, p.headDimV);
      Tensor shortOut = Tensor.allocate(arena, DType.FLOAT16, p.batch, p.seqQ, p.heads, p.headDimV);
      Attention attention = runtime.attention(PLAIN);
      attention.forward(q, k, v, out);
      Run.checkSameBits(run(PLAIN, p), out.toFloatArray(), "a bfloat16 cache");
      refused(
          "v: expected [2, 150, 2, 1 .. 512] bfloat16, got [2, 150, 2, 40] float16",
          () -> attention.forward(q, k, halfV, out));
      refused(
          "out: expected [2, 5, 4, 40] float32, got [2, 5, 4, 40] float16",
          () -> attention.forward(q, k, v, shortOut));
      refused(
          "q: expected [batch, seqQ, heads, headDim] float32, bfloat16 or float16, got"
              + " [2, 5, 4, 32] int32",
          () -> attention.forward(ints, k, v, out));
    }
  }

  private static void refused(String expected, Executable call) {
    assertEquals(expected, assertThrows(IllegalArgumentException.class, call).getMessage());
  }
}
