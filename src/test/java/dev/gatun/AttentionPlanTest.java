package dev.gatun;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertNotEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import dev.gatun.AttentionPlan.Kernel;
import dev.gatun.support.Run;
import java.lang.foreign.Arena;
import java.util.List;
import java.util.OptionalDouble;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.function.Executable;

/** The plan of a call as the facade tells it; what it should be, the tests of the C library say. */
class AttentionPlanTest {

  private static final AttentionSpec CAUSAL =
      AttentionSpec.builder().causal(Causal.BOTTOM_RIGHT).build();

  private static Tensor floats(Arena arena, long... shape) {
    return Tensor.allocate(arena, DType.FLOAT32, shape);
  }

  @Test
  void ofTensorsAndOfTheirShape_areOne() {
    for (Tier tier : Run.tiers()) {
      Attention attention = Run.runtime(tier, 2).attention(CAUSAL);
      try (Arena arena = Arena.ofConfined()) {
        AttentionPlan expected = attention.plan(2, 6, 3, 70, 90, 32, false);
        Tensor q = floats(arena, 2, 70, 6, 32);
        Tensor k = floats(arena, 2, 90, 3, 32);
        assertEquals(expected, attention.plan(q, k, k, q));
        assertEquals(tier, expected.tier());
        assertEquals(2, expected.threads());
        assertEquals(Kernel.GENERAL, expected.kernel());
        // each row sees 20 keys more than its number
        assertEquals(2.0 * 2 * 6 * 64 * (70 * 20 + 70 * 71 / 2), expected.flops());
        assertEquals(expected.taskBlocks() * (long) expected.blockLanes(), expected.taskLanes());
        Tensor byHeads = floats(arena, 2, 6, 70, 32).transpose(1, 2);
        Tensor keysByHeads = floats(arena, 2, 3, 90, 32).transpose(1, 2);
        assertEquals(
            attention.plan(2, 6, 3, 70, 90, 32, true),
            attention.plan(byHeads, keysByHeads, keysByHeads, byHeads));
      }
    }
  }

  @Test
  void workspaceIsWhatACallTakes() {
    GatunRuntime runtime = Run.runtime(Run.bestTier(), 2);
    Attention attention = runtime.attention(AttentionSpec.standard());
    try (Arena arena = Arena.ofConfined();
        Workspace workspace = runtime.newWorkspace()) {
      Tensor q = floats(arena, 1, 40, 2, 16);
      Tensor v = floats(arena, 1, 40, 2, 8);
      Tensor out = floats(arena, 1, 40, 2, 8);
      AttentionPlan plan = attention.plan(q, q, v, out);
      assertEquals(0, workspace.bytes());
      attention.forward(workspace, q, q, v, out);
      assertEquals(plan.workspaceBytes(), workspace.bytes());
      assertEquals(plan.workspaceBytes(), plan.threads() * plan.scratchBytes());
    }
  }

  @Test
  void theSpecificationCounts() {
    GatunRuntime runtime = Run.runtime(Run.bestTier(), 2);
    AttentionPlan all = runtime.attention(AttentionSpec.standard()).plan(1, 2, 2, 4, 64, 16, false);
    assertEquals(Kernel.DECODE, all.kernel());
    AttentionSpec one = AttentionSpec.builder().maxThreads(1).build();
    assertEquals(1, runtime.attention(one).plan(1, 2, 2, 4, 64, 16, false).threads());
    try (Arena arena = Arena.ofConfined()) {
      AttentionSpec biased = AttentionSpec.builder().alibiSlopes(floats(arena, 2)).build();
      AttentionPlan plan = runtime.attention(biased).plan(1, 2, 2, 4, 64, 16, false);
      assertEquals(Kernel.GENERAL, plan.kernel());
      assertNotEquals(all.scratchBytes(), plan.scratchBytes());
    }
  }

  @Test
  void predictedShare_isAShare_orEmpty() {
    for (Tier tier : Run.tiers()) {
      Attention attention = Run.runtime(tier, 1).attention(CAUSAL);
      OptionalDouble share = attention.plan(1, 1, 1, 512, 512, 64, false).predictedShare();
      assertEquals(tier == Tier.AVX2 || tier == Tier.AVX512, share.isPresent());
      assertTrue(share.isEmpty() || (share.getAsDouble() > 0.5 && share.getAsDouble() < 1));
      assertTrue(attention.plan(1, 1, 1, 0, 512, 64, false).predictedShare().isEmpty());
    }
  }

  @Test
  void refusals_nameTheArgument() {
    Attention attention = Run.runtime(Run.bestTier(), 1).attention(AttentionSpec.standard());
    try (Arena arena = Arena.ofConfined()) {
      Tensor q = floats(arena, 1, 5, 4, 8);
      Tensor k = floats(arena, 1, 7, 2, 8);
      refused("q: ", () -> attention.plan(floats(arena, 1, 5, 8), k, k, q));
      refused("k: ", () -> attention.plan(q, floats(arena, 1, 7, 3, 8), k, q));
      refused("v: ", () -> attention.plan(q, k, floats(arena, 1, 6, 2, 8), q));
      refused("out: ", () -> attention.plan(q, k, k, floats(arena, 1, 5, 4, 9)));
      Tensor gaps = floats(arena, 1, 8, 4, 5).transpose(1, 3);
      refused("q: expected stride 1", () -> attention.plan(gaps, k, k, q));
      Tensor same =
          Tensor.ofStrided(
              q.segment(), DType.FLOAT32, new long[] {1, 5, 4, 8}, new long[] {0, 0, 8, 1});
      refused("out: ", () -> attention.plan(q, k, k, same));
      refused("k: ", () -> attention.plan(1, 4, 3, 5, 7, 8, false));
      refused("q: ", () -> attention.plan(1, 4, 2, 5, 7, 513, true));
      refused("shape: ", () -> attention.plan(1, 4, 2, -5, 7, 8, true));
      assertThrows(NullPointerException.class, () -> attention.plan(q, k, null, q));
    }
  }

  private static void refused(String expected, Executable call) {
    String message = assertThrows(IllegalArgumentException.class, call).getMessage();
    assertTrue(message.startsWith(expected), message);
  }

  @Test
  void aClosedRuntimePlansNothing() {
    GatunRuntime runtime = GatunRuntime.builder().threads(1).build();
    Attention attention = runtime.attention(AttentionSpec.standard());
    runtime.close();
    assertThrows(IllegalStateException.class, () -> attention.plan(1, 1, 1, 8, 8, 8, false));
  }

  @Test
  void names() {
    assertEquals(
        List.of("general", "decode", "tiny", "bf16"),
        List.of(Kernel.values()).stream().map(Kernel::toString).toList());
  }
}
