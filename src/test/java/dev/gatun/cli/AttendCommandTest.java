package dev.gatun.cli;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import dev.gatun.Causal;
import dev.gatun.Tensor;
import dev.gatun.io.Npy;
import java.io.IOException;
import java.nio.file.Files;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.Set;
import java.util.SplittableRandom;
import java.util.stream.Stream;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.MethodSource;

/** {@code gatun attend}, beside a definition of attention of its own. */
class AttendCommandTest extends AttendFiles {
  /** Random shapes and options against this test's own doubles. */
  @ParameterizedTest
  @MethodSource("seeds")
  void attend_isTheDefinition(long seed) throws IOException {
    SplittableRandom random = new SplittableRandom(seed);
    int batch = random.nextInt(1, 4);
    int kvHeads = random.nextInt(1, 3);
    int heads = kvHeads * random.nextInt(1, 4);
    int seqQ = random.nextInt(1, 40);
    int seqK = random.nextInt(1, 80);
    int dim = random.nextInt(1, 70);
    int dimV = random.nextInt(1, 70);
    boolean headsFirst = random.nextBoolean();
    float[] q = floats("q.npy", random, shape(headsFirst, batch, seqQ, heads, dim));
    float[] k = floats("k.npy", random, shape(headsFirst, batch, seqK, kvHeads, dim));
    float[] v = floats("v.npy", random, shape(headsFirst, batch, seqK, kvHeads, dimV));
    List<String> options = new ArrayList<>(List.of("--lse", "lse.npy", "--reference"));
    if (headsFirst || random.nextBoolean()) {
      options.addAll(List.of("--layout", headsFirst ? "bhsd" : "bshd"));
    }
    Causal causal = Causal.values()[random.nextInt(3)];
    if (causal != Causal.NONE) {
      options.addAll(
          List.of("--causal", causal == Causal.BOTTOM_RIGHT ? "bottom-right" : "top-left"));
    }
    double scale = 1 / Math.sqrt(dim);
    if (random.nextBoolean()) {
      scale = (float) (random.nextDouble() - 0.3);
      options.addAll(List.of("--scale", Float.toString((float) scale)));
    }
    if (random.nextBoolean()) {
      options.addAll(List.of("--threads", String.valueOf(random.nextInt(1, 6))));
    }
    if (random.nextBoolean()) {
      options.addAll(List.of("--tier", "portable"));
    }
    int[] keys = random.ints(batch, 0, seqK + 1).toArray();
    int[] queries = random.ints(batch, 0, seqQ + 1).toArray();
    if (random.nextBoolean()) {
      ints("n.npy", keys);
      options.addAll(List.of("--lengths", "n.npy"));
    } else {
      Arrays.fill(keys, seqK);
    }
    if (random.nextBoolean()) {
      longs("m.npy", queries);
      options.addAll(List.of("--query-lengths", "m.npy"));
    } else {
      Arrays.fill(queries, seqQ);
    }
    CliRun result = CliRun.run(attend(options.toArray(String[]::new)));
    assertEquals(new CliRun(0, result.out(), ""), result);
    Tensor out = read("o.npy");
    Tensor lse = read("lse.npy");
    assertArrayEquals(shape(headsFirst, batch, seqQ, heads, dimV), out.shape());
    assertArrayEquals(new long[] {batch, heads, seqQ}, lse.shape());
    for (int b = 0; b < batch; b++) {
      for (int h = 0; h < heads; h++) {
        int g = h / (heads / kvHeads);
        for (int i = 0; i < seqQ; i++) {
          double[] exact = new double[dimV];
          double total = 0;
          for (int j = 0; j < keys[b] && i < queries[b]; j++) {
            boolean seen =
                switch (causal) {
                  case NONE -> true;
                  case TOP_LEFT -> j <= i;
                  case BOTTOM_RIGHT -> j - keys[b] <= i - queries[b];
                };
            if (seen) {
              double score = 0;
              for (int d = 0; d < dim; d++) {
                score +=
                    (double) q[at(headsFirst, b, i, h, d, seqQ, heads, dim)]
                        * k[at(headsFirst, b, j, g, d, seqK, kvHeads, dim)];
              }
              // Scores are small here: no maximum has to be taken off.
              double weight = Math.exp(scale * score);
              total += weight;
              for (int d = 0; d < dimV; d++) {
                exact[d] += weight * v[at(headsFirst, b, j, g, d, seqK, kvHeads, dimV)];
              }
            }
          }
          double exactLse = Math.log(total);
          assertEquals(exactLse, lse.getFloat(b, h, i), total == 0 ? 0 : 2e-5, "lse");
          for (int d = 0; d < dimV; d++) {
            float got = headsFirst ? out.getFloat(b, h, i, d) : out.getFloat(b, i, h, d);
            assertEquals(total == 0 ? 0 : exact[d] / total, got, total == 0 ? 0 : 1e-5, "out");
          }
        }
      }
    }
  }

  /**
   * What changes scores and hides keys, in random combinations, against this test's own doubles.
   */
  @ParameterizedTest
  @MethodSource("seeds")
  void attend_masksAndBiases(long seed) throws IOException {
    SplittableRandom random = new SplittableRandom(seed);
    int batch = random.nextInt(1, 3);
    int heads = 2 * random.nextInt(1, 3);
    int seqQ = random.nextInt(1, 40);
    int seqK = random.nextBoolean() ? seqQ : random.nextInt(1, 80);
    int dim = random.nextInt(1, 20);
    float[] q = floats("q.npy", random, batch, seqQ, heads, dim);
    float[] k = floats("k.npy", random, batch, seqK, 2, dim);
    float[] v = floats("v.npy", random, batch, seqK, 2, dim);
    List<String> options = new ArrayList<>(List.of("--lse", "lse.npy", "--reference"));
    if (seed == 1) {
      options.add("--stats");
    }
    boolean causal = random.nextBoolean();
    int[] prefix = new int[batch];
    if (causal) {
      options.addAll(List.of("--causal", "bottom-right"));
      if (random.nextBoolean()) {
        prefix = random.ints(batch, 0, seqK + 1).toArray();
        ints("prefix.npy", prefix);
        options.addAll(List.of("--prefix", "prefix.npy"));
      }
    }
    int[] keys = new int[batch];
    Arrays.fill(keys, seqK);
    if (random.nextBoolean()) {
      keys = random.ints(batch, 0, seqK + 1).toArray();
      ints("n.npy", keys);
      options.addAll(List.of("--lengths", "n.npy"));
    }
    int left = random.nextInt(-1, 20);
    int right = random.nextInt(-1, 20);
    if (random.nextBoolean()) {
      options.addAll(List.of("--window", left + "," + right));
    } else {
      left = -1;
      right = -1;
    }
    int global = 0;
    if (options.contains("--window") && random.nextBoolean()) {
      global = random.nextInt(8);
      options.addAll(List.of("--global", String.valueOf(global)));
    }
    int[] positions = null;
    if (random.nextBoolean()) {
      positions = random.ints((long) batch * seqQ, -3, seqK + 4).toArray();
      Npy.write(directory.resolve("p.npy"), Tensor.copyOf(arena, positions, batch, seqQ));
      options.addAll(List.of("--positions", "p.npy"));
    }
    int span = random.nextInt(12);
    float[] table = null;
    if (random.nextBoolean()) {
      table = floats("table.npy", random, heads, 2 * span + 1);
      options.addAll(List.of("--relative", "table.npy"));
    }
    int blockQ = random.nextInt(1, 20);
    int blockK = random.nextInt(1, 30);
    int rowsOfBlocks = (seqQ + blockQ - 1) / blockQ;
    int blocks = (seqK + blockK - 1) / blockK;
    byte[] blockMask = null;
    if (random.nextBoolean()) {
      blockMask = new byte[heads * rowsOfBlocks * blocks];
      for (int n = 0; n < blockMask.length; n++) {
        blockMask[n] = (byte) Math.min(1, random.nextInt(4));
      }
      bytes("blocks.npy", random.nextBoolean(), blockMask, 1, heads, rowsOfBlocks, blocks);
      options.addAll(List.of("--block-mask", "blocks.npy", "--block", blockQ + "," + blockK));
    }
    double cap = 0;
    if (random.nextBoolean()) {
      cap = 0.5;
      options.addAll(List.of("--softcap", "0.5"));
    }
    float[] slopes = null;
    if (random.nextBoolean()) {
      slopes = floats("slopes.npy", random, heads);
      options.addAll(List.of("--alibi", "slopes.npy"));
    }
    float[] sinks = null;
    if (random.nextBoolean()) {
      sinks = floats("sinks.npy", random, heads);
      options.addAll(List.of("--sinks", "sinks.npy"));
    }
    byte[] mask = null;
    if (random.nextBoolean()) {
      mask = new byte[heads * seqK];
      for (int n = 0; n < mask.length; n++) {
        mask[n] = (byte) random.nextInt(2);
      }
      bytes("mask.npy", random.nextBoolean(), mask, 1, heads, 1, seqK);
      options.addAll(List.of("--mask", "mask.npy"));
    }
    float[] bias = null;
    if (random.nextBoolean()) {
      bias = floats("bias.npy", random, batch, 1, seqQ, seqK);
      options.addAll(List.of("--bias", "bias.npy"));
    }
    int[] rowSegments = null;
    int[] keySegments = null;
    if (random.nextBoolean()) {
      rowSegments = random.ints((long) batch * seqQ, 0, 2).toArray();
      Npy.write(directory.resolve("sq.npy"), Tensor.copyOf(arena, rowSegments, batch, seqQ));
      if (seqQ == seqK) {
        keySegments = rowSegments;
        options.addAll(List.of("--segments", "sq.npy"));
      } else {
        keySegments = random.ints((long) batch * seqK, 0, 2).toArray();
        Npy.write(directory.resolve("sk.npy"), Tensor.copyOf(arena, keySegments, batch, seqK));
        options.addAll(List.of("--segments", path("sq.npy") + "," + path("sk.npy")));
      }
    }
    CliRun result = CliRun.run(attend(options.toArray(String[]::new)));
    assertEquals(new CliRun(0, result.out(), ""), result);
    Tensor out = read("o.npy");
    Tensor lse = read("lse.npy");
    for (int b = 0; b < batch; b++) {
      for (int h = 0; h < heads; h++) {
        int g = h / (heads / 2);
        for (int i = 0; i < seqQ; i++) {
          double[] exact = new double[dim];
          double weights = 0;
          int position = positions == null ? i + keys[b] - seqQ : positions[b * seqQ + i];
          for (int j = 0; j < keys[b]; j++) {
            boolean outside =
                left >= 0 && j < position - left || right >= 0 && j > position + right;
            boolean everywhere = j < global || position >= 0 && position < global;
            int block = (h * rowsOfBlocks + i / blockQ) * blocks + j / blockK;
            if (causal && j > position && j >= prefix[b]
                || outside && !everywhere
                || blockMask != null && blockMask[block] == 0
                || mask != null && mask[h * seqK + j] == 0
                || keySegments != null && rowSegments[b * seqQ + i] != keySegments[b * seqK + j]) {
              continue;
            }
            double score = 0;
            for (int d = 0; d < dim; d++) {
              score +=
                  (double) q[at(false, b, i, h, d, seqQ, heads, dim)]
                      * k[at(false, b, j, g, d, seqK, 2, dim)];
            }
            score /= Math.sqrt(dim);
            score = cap == 0 ? score : cap * Math.tanh(score / cap);
            score += bias == null ? 0 : bias[(b * seqQ + i) * seqK + j];
            score -= slopes == null ? 0 : slopes[h] * Math.abs(position - j);
            int distance = Math.max(-span, Math.min(span, j - position));
            score += table == null ? 0 : table[h * (2 * span + 1) + span + distance];
            double weight = Math.exp(score);
            weights += weight;
            for (int d = 0; d < dim; d++) {
              exact[d] += weight * v[at(false, b, j, g, d, seqK, 2, dim)];
            }
          }
          double total = weights + (sinks == null ? 0 : Math.exp(sinks[h]));
          double exactLse = Math.log(total);
          assertEquals(exactLse, lse.getFloat(b, h, i), total == 0 ? 0 : 1e-4, "lse " + options);
          for (int d = 0; d < dim; d++) {
            double want = weights == 0 ? 0 : exact[d] / total;
            assertEquals(want, out.getFloat(b, i, h, d), 1e-4, "out " + options);
          }
        }
      }
    }
  }

  static Stream<Long> seeds() {
    return Stream.iterate(1L, seed -> seed + 1).limit(40);
  }

  private static long[] shape(boolean headsFirst, long batch, long seq, long heads, long dim) {
    return headsFirst ? new long[] {batch, heads, seq, dim} : new long[] {batch, seq, heads, dim};
  }

  private static int at(
      boolean headsFirst, int b, int i, int h, int d, int seq, int heads, int dim) {
    return headsFirst
        ? ((b * heads + h) * seq + i) * dim + d
        : ((b * seq + i) * heads + h) * dim + d;
  }

  @Test
  void attend_namesAsGiven_andOldFilesReplaced() throws IOException {
    Files.move(directory.resolve("q.npy"), directory.resolve("@q ü"));
    Files.writeString(directory.resolve("out"), "old");
    CliRun result = CliRun.run(attend("--q", path("@q ü"), "--out", path("out")));
    assertEquals(0, result.code(), result.err());
    assertArrayEquals(new long[] {BATCH, SEQ_Q, HEADS, DIM_V}, read("out").shape());
    assertEquals(Set.of("@q ü", "k.npy", "m.npy", "n.npy", "out", "v.npy"), names());
  }

  @Test
  void attend_emptyDimensions() throws IOException {
    floats("q.npy", new SplittableRandom(1), 1, 3, 2, 4);
    floats("k.npy", new SplittableRandom(1), 1, 0, 2, 4);
    floats("v.npy", new SplittableRandom(1), 1, 0, 2, 4);
    CliRun result = CliRun.run(attend("--lse", "lse.npy", "--reference", "--stats"));
    assertEquals(0, result.code(), result.err());
    assertArrayEquals(new float[24], read("o.npy").toFloatArray());
    assertEquals(Float.NEGATIVE_INFINITY, read("lse.npy").getFloat(0, 1, 2));
    floats("q.npy", new SplittableRandom(1), 0, 3, 2, 4);
    floats("k.npy", new SplittableRandom(1), 0, 5, 2, 4);
    floats("v.npy", new SplittableRandom(1), 0, 5, 2, 4);
    result = CliRun.run(attend("--lse", "lse.npy", "--reference", "--stats", "--expect", "o2.npy"));
    assertEquals(2, result.code());
    floats("o2.npy", new SplittableRandom(1), 0, 3, 2, 4);
    result = CliRun.run(attend("--lse", "lse.npy", "--reference", "--stats", "--expect", "o2.npy"));
    assertEquals(0, result.code(), result.err());
    assertArrayEquals(new long[] {0, 3, 2, 4}, read("o.npy").shape());
    assertArrayEquals(new long[] {0, 2, 3}, read("lse.npy").shape());
  }

  @Test
  void attend_printsWhatItDid() {
    CliRun result =
        CliRun.run(
            attend(
                "--lse",
                "lse.npy",
                "--threads",
                "2",
                "--tier",
                "portable",
                "--stats",
                "--reference"));
    assertEquals(0, result.code(), result.err());
    for (String line :
        List.of(
            "q          [2, 5, 4, 6] float32",
            "k          [2, 7, 2, 6] float32",
            "v          [2, 7, 2, 3] float32",
            "out        [2, 5, 4, 3] float32 in " + path("o.npy"),
            "lse        [2, 4, 5] float32 in " + path("lse.npy"),
            "kernels    portable (--tier), 2 threads")) {
      assertTrue(result.out().lines().anyMatch(line::equals), result.out());
    }
    assertTrue(result.out().contains(" calls after one to warm up"), result.out());
    assertTrue(result.out().contains("% of the FMA peak (2 x "), result.out());
    assertTrue(result.out().contains("worst error over its bound 0."), result.out());
  }

  @Test
  void attend_expect_comparesWithTolerance() throws IOException {
    assertEquals(0, CliRun.run(attend()).code());
    float[] numbers = read("o.npy").toFloatArray();
    numbers[7] += 0.25f;
    Npy.write(
        directory.resolve("e.npy"), Tensor.copyOf(arena, numbers, BATCH, SEQ_Q, HEADS, DIM_V));
    CliRun result = CliRun.run(attend("--out", "p.npy", "--expect", "e.npy"));
    assertEquals(1, result.code());
    assertEquals("", result.err());
    assertTrue(
        result.out().contains("expect     worst difference 0.250 at [0, 0, 2, 1] ("), result.out());
    assertTrue(result.out().endsWith(": FAIL\n"), result.out());
    assertEquals(
        0, CliRun.run(attend("--out", "p.npy", "--expect", "e.npy", "--tolerance", "0.26")).code());
    assertEquals(
        0, CliRun.run(attend("--out", "p.npy", "--expect", "o.npy", "--tolerance", "0")).code());
    numbers[7] = Float.NaN;
    Npy.write(
        directory.resolve("e.npy"), Tensor.copyOf(arena, numbers, BATCH, SEQ_Q, HEADS, DIM_V));
    result = CliRun.run(attend("--out", "p.npy", "--expect", "e.npy", "--tolerance", "1e300"));
    assertEquals(1, result.code());
    assertTrue(result.out().contains("Infinity at [0, 0, 2, 1]"), result.out());
  }

  // ---- refusals
}
