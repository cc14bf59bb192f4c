package dev.gatun;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertNotEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import dev.gatun.support.Problem;
import dev.gatun.support.Reference;
import dev.gatun.support.Run;
import java.lang.foreign.Arena;
import java.util.Arrays;
import java.util.List;
import org.junit.jupiter.api.Tag;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedClass;
import org.junit.jupiter.params.provider.MethodSource;

/** Attention with products of bfloat16, on every tier that this CPU has. */
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
}
