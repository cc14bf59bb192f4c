package dev.gatun;

import static org.junit.jupiter.api.DynamicTest.dynamicTest;

import dev.gatun.support.Pairwise;
import dev.gatun.support.Placement;
import dev.gatun.support.Problem;
import dev.gatun.support.Reference;
import dev.gatun.support.Run;
import java.util.List;
import java.util.Random;
import java.util.stream.IntStream;
import java.util.stream.Stream;
import org.junit.jupiter.api.DynamicTest;
import org.junit.jupiter.api.Tag;
import org.junit.jupiter.api.TestFactory;

/**
 * Every tier against the double reference: all pairs of factor values, and 300 seeded random
 * problems, 2,000 with the tag {@code full}. {@code -Dgatun.test.seed} sets the seed, which every
 * name shows.
 */
class AttentionMatrixTest {

  private static final long SEED = Long.getLong("gatun.test.seed", 20_261_104);

  /** Tiles hold 128 keys and up to 32 queries; splits 2,048 keys. */
  private static final int[] SEQ_Q = {0, 1, 2, 7, 15, 16, 17, 31, 32, 33, 47, 64, 65, 97, 128, 131};

  private static final int[] SEQ_K = {
    0, 1, 2, 3, 13, 16, 31, 61, 64, 65, 127, 128, 129, 191, 255, 256, 257, 389, 2047, 2048, 2049
  };
  private static final int[] THREADS = {1, 2, 5};
  private static final int[][] HEADS = {{1, 1}, {3, 3}, {4, 2}, {6, 2}, {7, 1}, {8, 8}};
  private static final int[] DIMS = {
    1, 2, 3, 4, 7, 8, 15, 16, 17, 24, 31, 32, 33, 48, 64, 65, 80, 96, 100, 127, 128, 192, 255, 256,
    509, 512
  };
  private static final Lengths[] LENGTHS = Lengths.values();
  private static final Placement[] PLACEMENTS = Placement.values();

  private enum Lengths {
    NONE,
    KEYS,
    QUERIES,
    BOTH,
    EMPTY
  }

  @TestFactory
  Stream<DynamicTest> pairs() {
    List<Tier> tiers = Run.tiers();
    List<int[]> rows =
        Pairwise.rows(
            SEED,
            tiers.size(),
            THREADS.length,
            SEQ_Q.length,
            SEQ_K.length,
            HEADS.length,
            DIMS.length,
            DIMS.length,
            Causal.values().length,
            LENGTHS.length,
            PLACEMENTS.length,
            PLACEMENTS.length);
    return IntStream.range(0, rows.size())
        .mapToObj(
            n -> {
              int[] row = rows.get(n);
              Random random = new Random(SEED - 1 - n);
              Problem problem =
                  new Problem(
                      1 + random.nextInt(3),
                      HEADS[row[4]][0],
                      HEADS[row[4]][1],
                      SEQ_Q[row[2]],
                      SEQ_K[row[3]],
                      DIMS[row[5]],
                      DIMS[row[6]]);
              problem.causal(Causal.values()[row[7]]);
              return test(
                  "pair " + n,
                  problem,
                  LENGTHS[row[8]],
                  random,
                  tiers.get(row[0]),
                  THREADS[row[1]],
                  PLACEMENTS[row[9]],
                  PLACEMENTS[row[10]]);
            });
  }

  @TestFactory
  Stream<DynamicTest> random() {
    return randomTests(0, 300);
  }

  @Tag("full")
  @TestFactory
  Stream<DynamicTest> moreRandom() {
    return randomTests(300, 2_000);
  }

  @Tag("asan")
  @TestFactory
  Stream<DynamicTest> randomUnderAsan() {
    return randomTests(10_000, 10_120);
  }

  private static Stream<DynamicTest> randomTests(int from, int to) {
    return IntStream.range(from, to).mapToObj(AttentionMatrixTest::randomTest);
  }

  private static DynamicTest randomTest(int n) {
    Random random = new Random(SEED + n);
    int kvHeads = 1 + random.nextInt(3);
    boolean longKeys = random.nextInt(20) == 0;
    Problem problem =
        new Problem(
            1 + random.nextInt(3),
            kvHeads * (1 + random.nextInt(4)),
            kvHeads,
            random.nextInt(longKeys ? 5 : 140),
            longKeys ? 2000 + random.nextInt(3000) : random.nextInt(400),
            1 + random.nextInt(random.nextInt(8) == 0 ? 512 : 128),
            1 + random.nextInt(random.nextInt(8) == 0 ? 512 : 128));
    problem.causal(Causal.values()[random.nextInt(3)]);
    if (random.nextInt(4) == 0) {
      problem.scale((float) (random.nextGaussian() * 2 / Math.sqrt(problem.headDim)));
    }
    return test(
        "random " + n,
        problem,
        LENGTHS[random.nextInt(LENGTHS.length)],
        random,
        Run.tiers().get(random.nextInt(Run.tiers().size())),
        THREADS[random.nextInt(THREADS.length)],
        PLACEMENTS[random.nextInt(PLACEMENTS.length)],
        PLACEMENTS[random.nextInt(PLACEMENTS.length)]);
  }

  private static DynamicTest test(
      String name,
      Problem problem,
      Lengths lengths,
      Random random,
      Tier tier,
      int threads,
      Placement inputs,
      Placement outputs) {
    switch (lengths) {
      case NONE -> {}
      case KEYS -> problem.keyLengths = draw(random, problem.batch, problem.seqK);
      case QUERIES -> problem.queryLengths = draw(random, problem.batch, problem.seqQ);
      case BOTH -> {
        problem.keyLengths = draw(random, problem.batch, problem.seqK);
        problem.queryLengths = draw(random, problem.batch, problem.seqQ);
      }
      case EMPTY -> problem.keyLengths = new int[problem.batch];
    }
    return dynamicTest(
        "%s (seed %d): %s t%d %s>%s %s"
            .formatted(name, SEED, tier, threads, inputs, outputs, problem),
        () -> {
          problem.draw(random, 1);
          Run run = Run.of(Run.runtime(tier, threads), problem, inputs, outputs);
          new Reference(problem).check(run.out(), run.lse());
        });
  }

  private static int[] draw(Random random, int batch, int max) {
    return random.ints(batch, 0, max + 1).toArray();
  }
}
