package dev.gatun;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import dev.gatun.support.Placement;
import dev.gatun.support.Problem;
import dev.gatun.support.Reference;
import dev.gatun.support.Run;
import java.lang.foreign.Arena;
import java.util.Arrays;
import java.util.List;
import java.util.Random;
import org.junit.jupiter.api.Tag;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedClass;
import org.junit.jupiter.params.provider.MethodSource;

/** What the numbers of a result promise, line by line, for every tier that this CPU has. */
@Tag("asan")
@ParameterizedClass
@MethodSource("tiers")
class NumbersTest {

  private static final float NAN = Float.NaN;
  private static final float INF = Float.POSITIVE_INFINITY;

  private final GatunRuntime runtime;

  NumbersTest(Tier tier) {
    runtime = Run.runtime(tier, 2);
  }

  static List<Tier> tiers() {
    return Run.tiers();
  }

  private Run run(Problem problem) {
    return Run.of(runtime, problem);
  }

  private Run checked(Problem problem) {
    Run run = run(problem);
    new Reference(problem).check(run.out(), run.lse());
    return run;
  }

  // ---- rows without keys ---------------------------------------------------------------------

  @Test
  void aRowWithoutKeysGivesZeroAndMinusInfinity() {
    for (Problem problem :
        List.of(
            new Problem(2, 3, 1, 5, 0, 16, 8),
            new Problem(2, 3, 3, 5, 7, 16, 8).keyLengths(0, 0),
            new Problem(2, 3, 3, 5, 7, 16, 8).queryLengths(0, 0))) {
      Run run = run(problem.draw(1));
      for (float x : run.out()) {
        assertEquals(0, x);
      }
      for (float x : run.lse()) {
        assertEquals(-INF, x);
      }
    }
  }

  @Test
  void causalRowsBeforeTheFirstKeyGiveZero() {
    // 9 queries, 4 keys: BOTTOM_RIGHT leaves the first 5 rows without a key.
    Problem problem = new Problem(1, 2, 2, 9, 4, 8, 8).draw(2).causal(Causal.BOTTOM_RIGHT);
    Run run = checked(problem);
    for (int i = 0; i < 5; i++) {
      assertEquals(-INF, run.lse()[problem.lseAt(0, 1, i)]);
      assertEquals(0, run.out()[problem.outAt(0, i, 1, 3)]);
    }
    assertTrue(Float.isFinite(run.lse()[problem.lseAt(0, 1, 5)]));
  }

  @Test
  void causalAlignmentFollowsTheLengthsOfTheBatchRow() {
    for (Causal causal : Causal.values()) {
      checked(
          new Problem(3, 2, 1, 40, 70, 16, 16)
              .draw(3)
              .causal(causal)
              .keyLengths(70, 33, 1)
              .queryLengths(40, 12, 7));
    }
  }

  @Test
  void rowsPastTheQueryLengthGiveZeroWhateverTheyHold() {
    Problem problem = new Problem(2, 2, 2, 6, 5, 8, 8).draw(4).queryLengths(2, 6);
    Run clean = checked(problem);
    for (int i = 2; i < 6; i++) {
      assertEquals(-INF, clean.lse()[problem.lseAt(0, 0, i)]);
      assertEquals(0, clean.out()[problem.outAt(0, i, 0, 0)]);
      Arrays.fill(problem.q, problem.qAt(0, i, 0, 0), problem.qAt(0, i + 1, 0, 0), NAN);
    }
    clean.checkSameBits(run(problem), "NaN in padding queries");
  }

  // ---- empty dimensions ----------------------------------------------------------------------

  @Test
  void emptyDimensionsWriteNothing() {
    for (int[] sizes : new int[][] {{0, 3, 5}, {2, 0, 5}, {0, 0, 0}, {0, 3, 0}, {2, 0, 0}}) {
      Run run = run(new Problem(sizes[0], 2, 1, sizes[1], sizes[2], 4, 4).draw(5));
      assertEquals(0, run.out().length); // Run checks the surroundings
    }
  }

  // ---- NaN and infinity ----------------------------------------------------------------------

  @Test
  void whatIsMaskedReachesNobody() {
    for (Causal causal : Causal.values()) {
      Problem problem =
          new Problem(2, 4, 2, 150, 300, 24, 20)
              .draw(6)
              .causal(causal)
              .keyLengths(200, 290)
              .queryLengths(150, 130);
      Run clean = checked(problem);
      for (int b = 0; b < 2; b++) {
        int visible = 0;
        for (int i = 0; i < problem.seqQ; i++) {
          visible = Math.max(visible, problem.visibleKeys(b, i));
        }
        for (int j = visible; j < problem.seqK; j++) {
          for (int g = 0; g < 2; g++) {
            float poison = new float[] {NAN, INF, -INF}[j % 3];
            Arrays.fill(problem.k, problem.kAt(b, j, g, 0), problem.kAt(b, j, g, 24), poison);
            Arrays.fill(problem.v, problem.vAt(b, j, g, 0), problem.vAt(b, j, g, 20), poison);
          }
        }
      }
      clean.checkSameBits(run(problem), causal + ": poison in masked places");
    }
  }

  @Test
  void poisonThatSomeRowsSeeLeavesTheOthersBits() {
    for (float poison : new float[] {NAN, INF, -INF}) {
      Problem problem = new Problem(1, 2, 1, 200, 200, 16, 12).draw(7).causal(Causal.BOTTOM_RIGHT);
      Run clean = checked(problem);
      problem.v[problem.vAt(0, 77, 0, 5)] = poison;
      Run values = run(problem);
      problem.v[problem.vAt(0, 77, 0, 5)] = 0;
      problem.k[problem.kAt(0, 77, 0, 3)] = NAN;
      Run keys = run(problem);
      for (int h = 0; h < 2; h++) {
        for (int i = 0; i < 200; i++) {
          boolean sees = i >= 77;
          for (int d = 0; d < 12; d++) {
            int at = problem.outAt(0, i, h, d);
            if (sees && d == 5) {
              float want = poison; // every weight here is positive
              assertEquals(want, values.out()[at], "value, row " + i);
            } else {
              assertEquals(clean.out()[at], values.out()[at], "value, row " + i);
            }
            assertEquals(sees ? NAN : clean.out()[at], keys.out()[at], "key, row " + i);
          }
          int at = problem.lseAt(0, h, i);
          assertEquals(clean.lse()[at], values.lse()[at], "value, lse of row " + i);
          assertEquals(sees ? NAN : clean.lse()[at], keys.lse()[at], "key, lse of row " + i);
        }
      }
    }
  }

  @Test
  void aNanQueryPoisonsItsOwnRowOnly() {
    Problem problem = new Problem(1, 3, 3, 50, 40, 16, 16).draw(8);
    Run clean = checked(problem);
    problem.q[problem.qAt(0, 21, 1, 9)] = NAN;
    Run got = run(problem);
    for (int h = 0; h < 3; h++) {
      for (int i = 0; i < 50; i++) {
        boolean hit = h == 1 && i == 21;
        int lse = problem.lseAt(0, h, i);
        assertEquals(hit ? NAN : clean.lse()[lse], got.lse()[lse]);
        for (int d = 0; d < 16; d++) {
          int at = problem.outAt(0, i, h, d);
          assertEquals(hit ? NAN : clean.out()[at], got.out()[at]);
        }
      }
    }
  }

  @Test
  void aScoreOfMinusInfinityMasksItsEntry() {
    // q is 1 in dimension 0, so that k[0] = -inf makes the score -inf.
    Problem problem = new Problem(1, 1, 1, 3, 40, 4, 8).draw(9);
    for (int i = 0; i < 3; i++) {
      problem.q[problem.qAt(0, i, 0, 0)] = 1;
    }
    problem.k[problem.kAt(0, 11, 0, 0)] = -INF;
    Arrays.fill(problem.v, problem.vAt(0, 11, 0, 0), problem.vAt(0, 12, 0, 0), NAN);
    checked(problem);

    Problem all = new Problem(1, 1, 1, 3, 40, 4, 8).draw(9);
    for (int i = 0; i < 3; i++) {
      all.q[all.qAt(0, i, 0, 0)] = 1;
    }
    for (int j = 0; j < 40; j++) {
      all.k[all.kAt(0, j, 0, 0)] = -INF;
    }
    Run run = checked(all);
    assertEquals(-INF, run.lse()[0]);
    assertEquals(0, run.out()[0]);
  }

  @Test
  void aScoreOfPlusInfinityMakesTheRowNan() {
    Problem problem = new Problem(1, 1, 1, 2, 40, 4, 8).draw(10);
    problem.q[problem.qAt(0, 0, 0, 0)] = 1;
    problem.q[problem.qAt(0, 1, 0, 0)] = -1;
    problem.k[problem.kAt(0, 30, 0, 0)] = INF;
    Run run = checked(problem); // row 1 has a score of -inf there
    assertTrue(Float.isNaN(run.lse()[0]));
    assertTrue(Float.isNaN(run.out()[3]));
    assertTrue(Float.isFinite(run.lse()[1]));
  }

  // ---- extreme scores ------------------------------------------------------------------------

  @Test
  void hugeScoresAreOrdinaryScores() {
    // Scores of ±1e30: the weight is all on the largest, and no sentinel swallows the others.
    Problem problem = new Problem(1, 1, 1, 2, 130, 1, 4).draw(11).scale(1).planted();
    for (int j = 0; j < 130; j++) {
      problem.k[j] = (j % 2 == 0 ? -1e15f : 1e15f) * (1 + j / 200f);
    }
    problem.q[0] = 1e15f;
    problem.q[1] = -1e15f;
    Run run = checked(problem);
    for (int d = 0; d < 4; d++) {
      assertEquals(problem.v[problem.vAt(0, 129, 0, d)], run.out()[d], 1e-6);
      assertEquals(problem.v[problem.vAt(0, 128, 0, d)], run.out()[4 + d], 1e-6);
    }
    // All scores about -1e30: the row still attends.
    Problem low = new Problem(1, 1, 1, 1, 3, 1, 4).draw(12).scale(1).planted();
    low.q[0] = 1e15f;
    Arrays.fill(low.k, -1e15f);
    Run lowRun = checked(low);
    assertEquals((low.v[0] + low.v[4] + low.v[8]) / 3, lowRun.out()[0], 1e-6);
  }

  @Test
  void largeLogitsNeedTheMaximumSubtracted() {
    checked(new Problem(1, 2, 1, 33, 300, 64, 64).draw(new Random(13), 6));
    checked(new Problem(1, 1, 1, 5, 300, 16, 16).draw(14).scale(-40));
  }

  @Test
  void denormalsAreNumbers() {
    float tiny = 3e-41f;
    Problem problem = new Problem(1, 1, 1, 2, 8, 4, 4).draw(15);
    Arrays.fill(problem.k, 0);
    Arrays.fill(problem.v, tiny);
    Run run = run(problem);
    assertEquals(tiny, run.out()[0], Float.MIN_VALUE * 2);
    // Products of denormals with large numbers count.
    Problem scores = new Problem(1, 1, 1, 1, 2, 1, 1).scale(1).planted();
    scores.q[0] = 1e38f;
    scores.k[0] = 1e-38f;
    scores.k[1] = 1e-39f;
    scores.v[1] = 1;
    checked(scores);
  }

  @Test
  void theFloatingPointEnvironmentIsLeftAsFound() {
    run(new Problem(1, 2, 2, 64, 64, 32, 32).draw(16));
    // Parsed, so that the compiler cannot compute them.
    float denormal = Float.parseFloat("1e-40");
    float half = Float.parseFloat("5.9604645e-8");
    float one = Float.parseFloat("1");
    assertTrue(denormal * one > 0, "denormals are not flushed to zero");
    assertEquals(1, one + half, "ties round to even, not up");
    assertEquals(-1, -one - half, "ties round to even, not down");
  }

  // ---- scale, heads, lse ---------------------------------------------------------------------

  @Test
  void scaleIsOneOverTheRootOfTheHeadDimension() {
    Problem problem = new Problem(1, 2, 2, 5, 20, 64, 16).draw(17);
    Run standard = checked(problem);
    standard.checkSameBits(checked(problem.scale(0.125f)), "1/sqrt(64)");
    checked(new Problem(1, 2, 2, 5, 20, 48, 16).draw(17));
    Problem zero = new Problem(1, 1, 1, 1, 20, 8, 1).draw(18).scale(0);
    Run run = checked(zero);
    assertEquals(Math.log(20), run.lse()[0], 1e-5);
    checked(new Problem(1, 1, 1, 7, 20, 8, 8).draw(19).scale(-0.5f));
    checked(new Problem(1, 1, 1, 7, 20, 8, 8).draw(19).scale(1e-30f));
    checked(new Problem(1, 1, 1, 7, 20, 8, 8).draw(new Random(20), 1e-15).scale(1e30f));
  }

  @Test
  void lseIsTheNaturalLogarithm() {
    // One key: lse is its score.
    Problem problem = new Problem(1, 1, 1, 1, 1, 2, 1).scale(1);
    problem.q[0] = 2;
    problem.k[0] = 3;
    problem.v[0] = 7;
    Run run = run(problem);
    assertEquals(6, run.lse()[0], 1e-5);
    assertEquals(7, run.out()[0], 1e-5);
  }

  @Test
  void queryHeadsShareKeyHeadsInOrder() {
    // Values are the number of the key head: out shows which one a query head used.
    Problem problem = new Problem(1, 6, 3, 2, 4, 8, 1).draw(21);
    for (int j = 0; j < 4; j++) {
      for (int g = 0; g < 3; g++) {
        problem.v[problem.vAt(0, j, g, 0)] = g;
      }
    }
    Run run = run(problem);
    for (int h = 0; h < 6; h++) {
      assertEquals(h / 2, run.out()[problem.outAt(0, 1, h, 0)], 1e-5);
    }
  }

  // ---- accuracy ------------------------------------------------------------------------------

  @Test
  void theBoundHoldsOnAnyInput() {
    for (int dim : new int[] {1, 5, 32, 64, 127, 512}) {
      // Products of one sign and one size let every rounding of the sum go the same way.
      Problem same = new Problem(1, 1, 1, 9, 140, dim, 8).draw(22).planted();
      Arrays.fill(same.q, 1.1f);
      Random random = new Random(dim);
      for (int i = 0; i < same.k.length; i++) {
        same.k[i] = 1.3f + random.nextInt(4) * 0x1p-20f;
      }
      checked(same);
      // Large products that cancel.
      Problem cancel = new Problem(1, 1, 1, 9, 140, dim, 8).draw(23).planted();
      for (int i = 0; i < cancel.k.length; i++) {
        cancel.k[i] *= (i & 1) == 0 ? 30 : -30;
      }
      checked(cancel);
    }
  }

  @Test
  void longRowsStayAccurate() {
    checked(new Problem(1, 1, 1, 2, 9000, 16, 4).draw(24));
    Problem uniform = new Problem(1, 1, 1, 1, 9000, 1, 1).planted();
    Arrays.fill(uniform.v, 1);
    checked(uniform);
  }

  // ---- size ----------------------------------------------------------------------------------

  @Test
  void tensorsOverTwoGibibytes() {
    Problem problem = new Problem(2, 2, 2, 3, 5, 8, 8).draw(25);
    Run want = run(problem);
    try (Arena arena = Arena.ofShared()) {
      // Pages are given out when they are touched: this takes 2.4 GB of addresses, not of memory.
      long far = 300_000_000;
      Tensor sparse = Tensor.allocate(arena, DType.FLOAT32, 2, far);
      long[] strides = {far, 16, 8, 1};
      long[] q = {2, 3, 2, 8};
      long[] k = {2, 5, 2, 8};
      Tensor[] tensors = new Tensor[4];
      for (int n = 0; n < 4; n++) {
        tensors[n] =
            Tensor.ofStrided(
                sparse.segment().asSlice((far - 1000 + n * 200L) * 4),
                DType.FLOAT32,
                n == 1 || n == 2 ? k : q,
                strides.clone());
      }
      tensors[0].copyFrom(problem.q);
      tensors[1].copyFrom(problem.k);
      tensors[2].copyFrom(problem.v);
      runtime
          .attention(AttentionSpec.standard())
          .forward(tensors[0], tensors[1], tensors[2], tensors[3]);
      Run.checkSameBits(want.out(), tensors[3].toFloatArray(), "over 2 GiB");
    }
  }

  @Test
  void inputsMayBeBroadcast() {
    Problem problem = new Problem(3, 4, 4, 5, 6, 8, 8).draw(26);
    try (Arena arena = Arena.ofConfined()) {
      Tensor q = Placement.BSHD.of(arena, problem.q, 3, 5, 4, 8);
      Tensor one = Tensor.copyOf(arena, Arrays.copyOf(problem.k, 6 * 8), 1, 6, 1, 8);
      Tensor kv =
          Tensor.ofStrided(
              one.segment(), DType.FLOAT32, new long[] {3, 6, 4, 8}, new long[] {0, 8, 0, 1});
      Tensor out = Tensor.allocate(arena, DType.FLOAT32, 3, 5, 4, 8);
      runtime.attention(AttentionSpec.standard()).forward(q, kv, kv, out);
      float[] repeated = kv.toFloatArray();
      System.arraycopy(repeated, 0, problem.k, 0, repeated.length);
      System.arraycopy(repeated, 0, problem.v, 0, repeated.length);
      new Reference(problem).check(out.toFloatArray(), null);
    }
  }
}
