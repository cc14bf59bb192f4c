package dev.gatun;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;
import static org.junit.jupiter.api.DynamicTest.dynamicTest;

import dev.gatun.support.Placement;
import dev.gatun.support.Problem;
import dev.gatun.support.Reference;
import dev.gatun.support.Run;
import java.lang.foreign.Arena;
import java.util.Random;
import java.util.concurrent.atomic.AtomicReference;
import java.util.stream.IntStream;
import java.util.stream.Stream;
import org.junit.jupiter.api.DynamicTest;
import org.junit.jupiter.api.Tag;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.TestFactory;

/** Biases of the scores: slopes and relative positions, against the double reference. */
@Tag("asan")
class AttentionBiasTest {

  private static final long SEED = 20_211_108;
  private static final Placement[] PLACEMENTS = Placement.values();

  @TestFactory
  Stream<DynamicTest> random() {
    return IntStream.range(0, 150).mapToObj(AttentionBiasTest::randomTest);
  }

  private static DynamicTest randomTest(int n) {
    Random random = new Random(SEED + n);
    int kvHeads = 1 + random.nextInt(2);
    boolean longKeys = n % 25 == 24;
    Problem problem =
        new Problem(
            1 + random.nextInt(2),
            kvHeads * (n % 13 == 0 ? 40 : 1 + random.nextInt(4)),
            kvHeads,
            random.nextInt(longKeys ? 5 : 90),
            longKeys ? 2000 + random.nextInt(2500) : random.nextInt(300),
            1 + random.nextInt(96),
            1 + random.nextInt(96));
    problem.causal(Causal.values()[random.nextInt(3)]);
    if (n % 3 != 1) {
      problem.slopes(random);
    }
    if (n % 3 != 0) {
      problem.relative(random, random.nextInt(n % 2 == 0 ? 20 : 400));
    }
    if (random.nextInt(3) == 0) {
      problem.keyLengths(random.ints(problem.batch, 0, problem.seqK + 1).toArray());
    }
    if (random.nextInt(3) == 0) {
      problem.queryLengths(random.ints(problem.batch, 0, problem.seqQ + 1).toArray());
    }
    if (random.nextInt(4) == 0) {
      problem.scale(random.nextBoolean() ? 0 : (float) random.nextGaussian());
    }
    Tier tier = Run.tiers().get(n % Run.tiers().size());
    Placement inputs = PLACEMENTS[random.nextInt(PLACEMENTS.length)];
    Placement outputs = PLACEMENTS[random.nextInt(PLACEMENTS.length)];
    return dynamicTest(
        "random %d (seed %d): %s %s>%s %s".formatted(n, SEED, tier, inputs, outputs, problem),
        () -> {
          problem.draw(random, 1);
          Run run = Run.of(Run.runtime(tier, 2), problem, inputs, outputs);
          new Reference(problem).check(run.out(), run.lse());
          run.checkSameBits(Run.of(Run.runtime(tier, 1), problem), "one thread, other placements");
        });
  }

  /** Operations of several specifications take turns on one workspace. */
  @Test
  void specificationsAlternate() {
    try (Arena arena = Arena.ofConfined();
        Workspace workspace = Run.runtime(Run.bestTier(), 2).newWorkspace()) {
      GatunRuntime runtime = Run.runtime(Run.bestTier(), 2);
      Tensor q = Tensor.allocate(arena, DType.FLOAT32, 1, 1, 1, 4);
      Tensor k = Tensor.allocate(arena, DType.FLOAT32, 1, 2, 1, 4);
      Tensor out = Tensor.allocate(arena, DType.FLOAT32, 1, 1, 1, 4);
      Tensor lse = Tensor.allocate(arena, DType.FLOAT32, 1, 1, 1);
      AttentionOptions options = new AttentionOptions().lse(lse);
      Tensor slopes = Tensor.copyOf(arena, new float[] {2}, 1);
      Tensor table = Tensor.copyOf(arena, new float[] {1, 0.5f, 7}, 1, 3);
      Attention plain = runtime.attention(AttentionSpec.standard());
      Attention alibi = runtime.attention(AttentionSpec.builder().alibiSlopes(slopes).build());
      Attention both =
          runtime.attention(
              AttentionSpec.builder().alibiSlopes(slopes).relativePositions(table).build());
      // Two keys of score 0, one at a distance of 1 from the query and one where it stands.
      for (int n = 0; n < 3; n++) {
        plain.forward(workspace, q, k, k, out, options);
        assertEquals(Math.log(2), lse.getFloat(0, 0, 0), 1e-6);
        alibi.forward(workspace, q, k, k, out, options);
        assertEquals(Math.log(Math.exp(-2) + 1), lse.getFloat(0, 0, 0), 1e-6);
        both.forward(workspace, q, k, k, out, options);
        assertEquals(Math.log(Math.exp(-2 + 1) + Math.exp(0.5)), lse.getFloat(0, 0, 0), 1e-6);
      }
      // What the tensors hold is read by each call.
      slopes.setFloat(Float.NaN, 0);
      alibi.forward(workspace, q, k, k, out, options);
      assertTrue(Float.isNaN(lse.getFloat(0, 0, 0)));
    }
  }

  /** Biases live as long as their arena, and where it lets them be used. */
  @Test
  void lifetime() throws InterruptedException {
    GatunRuntime runtime = Run.runtime(Run.bestTier(), 2);
    try (Arena arena = Arena.ofShared()) {
      Tensor q = Tensor.allocate(arena, DType.FLOAT32, 1, 3, 2, 4);
      Placement.Placed out = Placement.BSHD.empty(arena, 1, 3, 2, 4);
      Attention attention;
      try (Arena biases = Arena.ofConfined()) {
        Tensor slopes = Tensor.copyOf(biases, new float[] {1, 2}, 2);
        attention = runtime.attention(AttentionSpec.builder().alibiSlopes(slopes).build());
        AtomicReference<Throwable> thrown = new AtomicReference<>();
        Thread other =
            new Thread(
                () -> {
                  try {
                    attention.forward(q, q, q, out.tensor());
                  } catch (Throwable e) {
                    thrown.set(e);
                  }
                });
        other.start();
        other.join();
        assertEquals(WrongThreadException.class, thrown.get().getClass());
        out.checkUntouched();
        attention.forward(q, q, q, out.tensor());
        out.spoil();
      }
      assertThrows(IllegalStateException.class, () -> attention.forward(q, q, q, out.tensor()));
      out.checkUntouched();
    }
  }
}
