package dev.gatun.cli;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertTrue;

import com.fasterxml.jackson.core.JsonFactory;
import com.fasterxml.jackson.jr.ob.JSON;
import dev.gatun.AttentionOptions;
import dev.gatun.AttentionSpec;
import dev.gatun.Causal;
import dev.gatun.DType;
import dev.gatun.GatunRuntime;
import dev.gatun.Tensor;
import dev.gatun.Tier;
import dev.gatun.io.Npy;
import java.io.File;
import java.io.IOException;
import java.io.PrintWriter;
import java.io.StringWriter;
import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import java.net.URI;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.time.Duration;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.LinkedHashSet;
import java.util.List;
import java.util.Map;
import java.util.Set;
import java.util.SplittableRandom;
import java.util.TreeSet;
import java.util.concurrent.TimeUnit;
import java.util.stream.Stream;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.Timeout;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.Arguments;
import org.junit.jupiter.params.provider.EnumSource;
import org.junit.jupiter.params.provider.MethodSource;
import org.junit.jupiter.params.provider.ValueSource;
import picocli.CommandLine;

class CliTest {
  private static final int BATCH = 2;
  private static final int SEQ_Q = 5;
  private static final int SEQ_K = 7;
  private static final int HEADS = 4;
  private static final int KV_HEADS = 2;
  private static final int DIM = 6;
  private static final int DIM_V = 3;

  @TempDir Path directory;
  private final Arena arena = Arena.ofShared();

  private record Result(int code, String out, String err) {}

  private static Result run(String... args) {
    StringWriter out = new StringWriter();
    StringWriter err = new StringWriter();
    int code = Main.run(args, new PrintWriter(out), new PrintWriter(err));
    return new Result(code, out.toString(), err.toString());
  }

  /** q, k, v, lengths, query lengths and files that fit none of these. */
  @BeforeEach
  void writeFiles() throws IOException {
    SplittableRandom random = new SplittableRandom(1);
    floats("q.npy", random, BATCH, SEQ_Q, HEADS, DIM);
    floats("k.npy", random, BATCH, SEQ_K, KV_HEADS, DIM);
    floats("v.npy", random, BATCH, SEQ_K, KV_HEADS, DIM_V);
    ints("n.npy", SEQ_K, 3);
    ints("m.npy", 2, SEQ_Q);
  }

  @AfterEach
  void closeArena() {
    arena.close();
  }

  private float[] floats(String name, SplittableRandom random, long... shape) throws IOException {
    float[] numbers = new float[(int) Arrays.stream(shape).reduce(1, (a, b) -> a * b)];
    for (int i = 0; i < numbers.length; i++) {
      numbers[i] = (float) (2 * random.nextDouble() - 1);
    }
    Npy.write(directory.resolve(name), Tensor.copyOf(arena, numbers, shape));
    return numbers;
  }

  private void ints(String name, int... numbers) throws IOException {
    Npy.write(directory.resolve(name), Tensor.copyOf(arena, numbers, numbers.length));
  }

  private void longs(String name, int... numbers) throws IOException {
    Tensor tensor = Tensor.allocate(arena, DType.INT64, numbers.length);
    for (int i = 0; i < numbers.length; i++) {
      tensor.segment().setAtIndex(ValueLayout.JAVA_LONG, i, numbers[i]);
    }
    Npy.write(directory.resolve(name), tensor);
  }

  private String path(String name) {
    return directory.resolve(name).toString();
  }

  private Tensor read(String name) throws IOException {
    return Npy.map(directory.resolve(name), arena);
  }

  /**
   * attend on q, k and v into o, with more options; a name that ends in .npy becomes a file of the
   * directory.
   */
  private String[] attend(String... options) {
    List<String> args = new ArrayList<>(List.of("attend"));
    List<String> given = List.of(options);
    for (String option : new String[] {"--q", "--k", "--v", "--out"}) {
      if (!given.contains(option)) {
        args.add(option);
        args.add(path((option.equals("--out") ? "o" : option.substring(2)) + ".npy"));
      }
    }
    for (String option : options) {
      args.add(option.endsWith(".npy") && !option.contains("/") ? path(option) : option);
    }
    return args.toArray(String[]::new);
  }

  private Set<String> names() throws IOException {
    try (Stream<Path> files = Files.list(directory)) {
      return new TreeSet<>(files.map(file -> file.getFileName().toString()).toList());
    }
  }

  // ---- attend

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
    Result result = run(attend(options.toArray(String[]::new)));
    assertEquals(new Result(0, result.out, ""), result);
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
    Result result = run(attend(options.toArray(String[]::new)));
    assertEquals(new Result(0, result.out, ""), result);
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

  /** Of uint8, or of bool, which NumPy keeps in the same bytes. */
  private void bytes(String name, boolean bool, byte[] numbers, long... shape) throws IOException {
    Tensor tensor = Tensor.allocate(arena, DType.UINT8, shape);
    MemorySegment.copy(numbers, 0, tensor.segment(), ValueLayout.JAVA_BYTE, 0, numbers.length);
    Npy.write(directory.resolve(name), tensor);
    if (bool) {
      byte[] file = Files.readAllBytes(directory.resolve(name));
      int at = new String(file, StandardCharsets.ISO_8859_1).indexOf("|u1");
      file[at + 1] = 'b';
      Files.write(directory.resolve(name), file);
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
    Result result = run(attend("--q", path("@q ü"), "--out", path("out")));
    assertEquals(0, result.code, result.err);
    assertArrayEquals(new long[] {BATCH, SEQ_Q, HEADS, DIM_V}, read("out").shape());
    assertEquals(Set.of("@q ü", "k.npy", "m.npy", "n.npy", "out", "v.npy"), names());
  }

  @Test
  void attend_emptyDimensions() throws IOException {
    floats("q.npy", new SplittableRandom(1), 1, 3, 2, 4);
    floats("k.npy", new SplittableRandom(1), 1, 0, 2, 4);
    floats("v.npy", new SplittableRandom(1), 1, 0, 2, 4);
    Result result = run(attend("--lse", "lse.npy", "--reference", "--stats"));
    assertEquals(0, result.code, result.err);
    assertArrayEquals(new float[24], read("o.npy").toFloatArray());
    assertEquals(Float.NEGATIVE_INFINITY, read("lse.npy").getFloat(0, 1, 2));
    floats("q.npy", new SplittableRandom(1), 0, 3, 2, 4);
    floats("k.npy", new SplittableRandom(1), 0, 5, 2, 4);
    floats("v.npy", new SplittableRandom(1), 0, 5, 2, 4);
    result = run(attend("--lse", "lse.npy", "--reference", "--stats", "--expect", "o2.npy"));
    assertEquals(2, result.code);
    floats("o2.npy", new SplittableRandom(1), 0, 3, 2, 4);
    result = run(attend("--lse", "lse.npy", "--reference", "--stats", "--expect", "o2.npy"));
    assertEquals(0, result.code, result.err);
    assertArrayEquals(new long[] {0, 3, 2, 4}, read("o.npy").shape());
    assertArrayEquals(new long[] {0, 2, 3}, read("lse.npy").shape());
  }

  @Test
  void attend_printsWhatItDid() {
    Result result =
        run(
            attend(
                "--lse",
                "lse.npy",
                "--threads",
                "2",
                "--tier",
                "portable",
                "--stats",
                "--reference"));
    assertEquals(0, result.code, result.err);
    for (String line :
        List.of(
            "q          [2, 5, 4, 6] float32",
            "k          [2, 7, 2, 6] float32",
            "v          [2, 7, 2, 3] float32",
            "out        [2, 5, 4, 3] float32 in " + path("o.npy"),
            "lse        [2, 4, 5] float32 in " + path("lse.npy"),
            "kernels    portable (--tier), 2 threads")) {
      assertTrue(result.out.lines().anyMatch(line::equals), result.out);
    }
    assertTrue(result.out.contains(" calls after one to warm up"), result.out);
    assertTrue(result.out.contains("% of the FMA peak (2 x "), result.out);
    assertTrue(result.out.contains("worst error over its bound 0."), result.out);
  }

  @Test
  void attend_expect_comparesWithTolerance() throws IOException {
    assertEquals(0, run(attend()).code);
    float[] numbers = read("o.npy").toFloatArray();
    numbers[7] += 0.25f;
    Npy.write(
        directory.resolve("e.npy"), Tensor.copyOf(arena, numbers, BATCH, SEQ_Q, HEADS, DIM_V));
    Result result = run(attend("--out", "p.npy", "--expect", "e.npy"));
    assertEquals(1, result.code);
    assertEquals("", result.err);
    assertTrue(
        result.out.contains("expect     worst difference 0.250 at [0, 0, 2, 1] ("), result.out);
    assertTrue(result.out.endsWith(": FAIL\n"), result.out);
    assertEquals(0, run(attend("--out", "p.npy", "--expect", "e.npy", "--tolerance", "0.26")).code);
    assertEquals(0, run(attend("--out", "p.npy", "--expect", "o.npy", "--tolerance", "0")).code);
    numbers[7] = Float.NaN;
    Npy.write(
        directory.resolve("e.npy"), Tensor.copyOf(arena, numbers, BATCH, SEQ_Q, HEADS, DIM_V));
    result = run(attend("--out", "p.npy", "--expect", "e.npy", "--tolerance", "1e300"));
    assertEquals(1, result.code);
    assertTrue(result.out.contains("Infinity at [0, 0, 2, 1]"), result.out);
  }

  // ---- refusals

  static Stream<Arguments> refusals() {
    return Stream.of(
        refusal("no command", "no command given"),
        refusal("unknown command", "nosuch", "nosuch"),
        refusal("unknown option", "--nosuch", "--nosuch"),
        refusal("unknown command for help", "nosuch", "help", "nosuch"),
        refusal("info: unknown option", "--nosuch", "info", "--nosuch"),
        refusal("info: an argument", "more", "info", "more"),
        refusal("verify: seed", "--seed", "verify", "--seed", "x"),
        refusal("verify: threads 0", "expected 1 .. 1024, got '0'", "verify", "--threads", "0"),
        refusal("verify: an argument", "more", "verify", "more"),
        refusal("attend: no options", "--q", "attend"),
        attendRefusal("option without value", "--scale", "--scale"),
        attendRefusal("option twice", "--causal", "--causal", "top-left", "--causal", "top-left"),
        attendRefusal("an argument", "'more'", "more"),
        attendRefusal("unknown option", "--nosuch", "--nosuch"),
        attendRefusal(
            "causal: none of two words", "bottom-right, top-left, got 'left'", "--causal", "left"),
        attendRefusal("causal: capitals", "got 'TOP_LEFT'", "--causal", "TOP_LEFT"),
        attendRefusal("layout", "bhsd, bshd, got 'sbhd'", "--layout", "sbhd"),
        attendRefusal("tier", "avx2, avx512, neon, portable, got 'sse2'", "--tier", "sse2"),
        attendRefusal("scale: text", "finite decimal number, got 'x'", "--scale", "x"),
        attendRefusal("scale: empty", "finite decimal number, got ''", "--scale", ""),
        attendRefusal("scale: NaN", "finite decimal number, got 'NaN'", "--scale", "NaN"),
        attendRefusal("scale: infinite", "finite decimal number, got 'inf'", "--scale", "inf"),
        attendRefusal(
            "scale: Infinity", "finite decimal number, got '-Infinity'", "--scale", "-Infinity"),
        attendRefusal("scale: Java suffix", "finite decimal number, got '1f'", "--scale", "1f"),
        attendRefusal(
            "scale: hexadecimal", "finite decimal number, got '0x1p3'", "--scale", "0x1p3"),
        attendRefusal(
            "scale: over float32", "within the range of float32, got '1e39'", "--scale", "1e39"),
        attendRefusal(
            "scale: over double", "within the range of float32, got '1e999'", "--scale", "1e999"),
        attendRefusal(
            "scale: under float32", "within the range of float32, got '1e-50'", "--scale", "1e-50"),
        attendRefusal("threads: 0", "expected 1 .. 1024, got '0'", "--threads", "0"),
        attendRefusal("threads: negative", "expected 1 .. 1024, got '-1'", "--threads", "-1"),
        attendRefusal("threads: too many", "expected 1 .. 1024, got '1025'", "--threads", "1025"),
        attendRefusal("threads: text", "expected 1 .. 1024, got '2.0'", "--threads", "2.0"),
        attendRefusal("threads: overflow", "got '4294967297'", "--threads", "4294967297"),
        attendRefusal("tolerance: negative", "got '-1'", "--expect", "q.npy", "--tolerance", "-1"),
        attendRefusal("tolerance: text", "got 'x'", "--expect", "q.npy", "--tolerance", "x"),
        attendRefusal(
            "tolerance: infinite", "got '1e999'", "--expect", "q.npy", "--tolerance", "1e999"),
        attendRefusal("tolerance alone", "--tolerance needs --expect", "--tolerance", "1"),
        attendRefusal("q: missing", "none.npy: no such file", "--q", "none.npy"),
        attendRefusal("q: empty name", "expected a file name", "--q", ""),
        attendRefusal("q: a line break in its name", "a\\nb: no such file", "--q", "a\nb"),
        attendRefusal("q: directory", "expected a regular file, it is a directory", "--q", "."),
        attendRefusal(
            "q: device", "expected a regular file, it is a pipe or device", "--q", "/dev/zero"),
        attendRefusal("q: no npy file", "not an npy file", "--q", "text.npy"),
        attendRefusal("q: cut short", "cut short: expected 960 bytes of data", "--q", "short.npy"),
        attendRefusal("q: int32", "expected float32, got int32", "--q", "n.npy"),
        attendRefusal(
            "q: 3-D",
            "expected shape [batch, seq, heads, headDim], got [2, 5, 4]",
            "--q",
            "three.npy"),
        attendRefusal(
            "q: no heads", "expected heads in 1 .. 2147483647, got 0", "--q", "noheads.npy"),
        attendRefusal("q: headDim 513", "expected headDim in 1 .. 512, got 513", "--q", "wide.npy"),
        attendRefusal("k: missing", "--k ", "--k", "none.npy"),
        attendRefusal("k: other batch", "expected batch 2 as in --q", "--k", "batch3.npy"),
        attendRefusal("k: other headDim", "expected headDim 6 as in --q", "--k", "v.npy"),
        attendRefusal(
            "k: heads 3 of 4",
            "expected heads that divide the 4 heads",
            "--k",
            "heads3.npy",
            "--v",
            "heads3.npy"),
        attendRefusal("k: other layout", "heads that divide the 5 heads", "--layout", "bhsd"),
        attendRefusal("v: missing", "--v ", "--v", "none.npy"),
        attendRefusal("v: other seq", "expected seq 7 as in --k", "--v", "seq8.npy"),
        attendRefusal("v: other heads", "expected heads 2 as in --k", "--v", "heads4.npy"),
        attendRefusal("v: other batch", "expected batch 2 as in --k", "--v", "batch3.npy"),
        attendRefusal("lengths: missing", "--lengths ", "--lengths", "none.npy"),
        attendRefusal(
            "lengths: float32", "expected int32 or int64, got float32", "--lengths", "q.npy"),
        attendRefusal(
            "lengths: 2-D", "expected shape [batch], got [2, 1]", "--lengths", "lengths2d.npy"),
        attendRefusal(
            "lengths: other batch", "expected batch 2 as in --k", "--lengths", "three-lengths.npy"),
        attendRefusal("lengths: negative", "0 .. 7, the seq of --k", "--lengths", "negative.npy"),
        attendRefusal("lengths: negative, where", "got -1 at index 1", "--lengths", "negative.npy"),
        attendRefusal("lengths: beyond", "got 8 at index 0", "--lengths", "beyond.npy"),
        attendRefusal(
            "lengths: beyond 2^32", "got 4294967296 at index 1", "--lengths", "beyond32.npy"),
        attendRefusal(
            "query lengths: beyond", "0 .. 5, the seq of --q", "--query-lengths", "n.npy"),
        attendRefusal("query lengths: missing", "--query-lengths ", "--query-lengths", "none.npy"),
        attendRefusal(
            "window: one number", "--window': expected two whole numbers", "--window", "3"),
        attendRefusal("window: less than -1", "got '-2,3'", "--window", "-2,3"),
        attendRefusal("global: alone", "--global needs --window", "--global", "2"),
        attendRefusal(
            "global: negative", "0 .. 999999999, got '-1'", "--global", "-1", "--window", "1,1"),
        attendRefusal("positions: missing", "--positions ", "--positions", "none.npy"),
        attendRefusal("positions: 1-D", "expected shape [batch, seq]", "--positions", "n.npy"),
        attendRefusal("positions: float32", "expected int32, got float32", "--positions", "q.npy"),
        attendRefusal("positions: of keys", "expected seq 5 as in --q", "--positions", "sk.npy"),
        attendRefusal("relative: 4-D", "expected shape [heads, 2 * span", "--relative", "q.npy"),
        attendRefusal("relative: even", "2 * span + 1 distances, span", "--relative", "even.npy"),
        attendRefusal("relative: heads", "expected heads 4 as in --q", "--relative", "three2.npy"),
        attendRefusal("relative: int32", "expected float32, got int32", "--relative", "n.npy"),
        attendRefusal("blocks: no size", "--block-mask needs --block", "--block-mask", "mask6.npy"),
        attendRefusal("blocks: no mask", "--block needs --block-mask", "--block", "2,2"),
        attendRefusal("blocks: of 0", "each 1 .. 999999999", "--block", "2,0"),
        attendRefusal(
            "blocks: too many",
            "expected blocks of K 3 or 1, got 6 in shape [1, 1, 1, 6]",
            "--block-mask",
            "mask6.npy",
            "--block",
            "2,3"),
        attendRefusal(
            "blocks: float32",
            "expected uint8, got float32",
            "--block-mask",
            "q.npy",
            "--block",
            "2,3"),
        attendRefusal(
            "out: is positions",
            "is the same file as --positions",
            "--out",
            "s.npy",
            "--positions",
            "s.npy"),
        attendRefusal("softcap: text", "finite decimal number, got 'x'", "--softcap", "x"),
        attendRefusal(
            "softcap: negative", "--softcap: expected 0 or 2^-100 .. 2^100", "--softcap", "-1"),
        attendRefusal("mask: missing", "--mask ", "--mask", "none.npy"),
        attendRefusal("mask: float32", "expected uint8, got float32", "--mask", "q.npy"),
        attendRefusal("mask: 2-D", "expected shape [batch, heads, seq of Q", "--mask", "bytes.npy"),
        attendRefusal("mask: other seq", "expected seq of K 7 or 1, got 6", "--mask", "mask6.npy"),
        attendRefusal("bias: int32", "--bias ", "--bias", "n.npy"),
        attendRefusal("bias: other heads", "expected heads 4 or 1, got 5", "--bias", "q.npy"),
        attendRefusal("alibi: 4-D", "expected shape [heads], got", "--alibi", "q.npy"),
        attendRefusal("alibi: other heads", "expected heads 4 as in --q", "--alibi", "five.npy"),
        attendRefusal("sinks: int32", "--sinks ", "--sinks", "n.npy"),
        attendRefusal("sinks: other heads", "got 5 in shape [5]", "--sinks", "five.npy"),
        attendRefusal("segments: float32", "expected int32, got float32", "--segments", "q.npy"),
        attendRefusal("segments: 1-D", "expected shape [batch, seq]", "--segments", "n.npy"),
        attendRefusal("segments: of other rows", "expected seq 7 as in --k", "--segments", "s.npy"),
        attendRefusal("segments: a comma", "--segments", "--segments", ","),
        attendRefusal("segments: three", "expected one file or two, got 3", "--segments", "a,b,c"),
        attendRefusal("prefix: not causal", "--prefix needs --causal", "--prefix", "n.npy"),
        attendRefusal(
            "prefix: beyond", "--prefix", "--causal", "top-left", "--prefix", "beyond.npy"),
        attendRefusal(
            "out: is mask", "is the same file as --mask", "--out", "m6.npy", "--mask", "m6.npy"),
        attendRefusal("expect: missing", "--expect ", "--expect", "none.npy"),
        attendRefusal("expect: other shape", "--expect", "--expect", "q.npy"),
        attendRefusal("out: directory missing", "its directory does not exist", "--out", "none/o"),
        attendRefusal(
            "out: directory", "expected a regular file or none, it is a directory", "--out", "."),
        attendRefusal(
            "out: device",
            "expected a regular file or none, it is a pipe or device",
            "--out",
            "/dev/full"),
        attendRefusal("out: empty name", "expected a file name", "--out", ""),
        attendRefusal("out: nobody may write", "cannot create a file", "--out", "/proc/self/o"),
        attendRefusal("out: under a file", "its directory does not exist", "--out", "q.npy/o"),
        attendRefusal("out: is q", "is the same file as --q", "--out", "q.npy"),
        attendRefusal(
            "out: is q by another name",
            "is the same file as --q",
            "--out",
            "./q.npy",
            "--lse",
            "lse.npy"),
        attendRefusal("out: is k by a link", "is the same file as --k", "--out", "link.npy"),
        attendRefusal(
            "out: is lengths",
            "is the same file as --lengths",
            "--out",
            "n.npy",
            "--lengths",
            "n.npy"),
        attendRefusal(
            "out: is expect",
            "is the same file as --expect",
            "--out",
            "e.npy",
            "--expect",
            "e.npy"),
        attendRefusal(
            "lse: is out", "is the same file as --out", "--out", "o.npy", "--lse", "o.npy"),
        attendRefusal(
            "lse: is out by another name", "is the same file as --out", "--lse", "./o.npy"),
        attendRefusal("lse: is v", "--lse", "--lse", "v.npy"),
        attendRefusal(
            "lse: directory missing", "--lse none/lse: its directory", "--lse", "none/lse"),
        attendRefusal("lse: directory", "--lse .: expected a regular file", "--lse", "."));
  }

  private static Arguments refusal(String name, String expected, String... args) {
    return Arguments.of(name, expected, args);
  }

  private static Arguments attendRefusal(String name, String expected, String... options) {
    return Arguments.of(
        "attend: " + name,
        expected,
        Stream.concat(Stream.of("attend"), Arrays.stream(options)).toArray(String[]::new));
  }

  @ParameterizedTest(name = "{0}")
  @MethodSource("refusals")
  void refusal_isOneLine_andLeavesNothing(String name, String expected, String[] args)
      throws IOException {
    SplittableRandom random = new SplittableRandom(1);
    Files.writeString(directory.resolve("text.npy"), "no npy file");
    byte[] good = Files.readAllBytes(directory.resolve("q.npy"));
    Files.write(directory.resolve("short.npy"), Arrays.copyOf(good, good.length - 1));
    floats("three.npy", random, 2, 5, 4);
    floats("noheads.npy", random, 2, 5, 0, 6);
    floats("wide.npy", random, 1, 1, 1, 513);
    floats("batch3.npy", random, 3, SEQ_K, KV_HEADS, DIM);
    floats("heads3.npy", random, 2, SEQ_K, 3, DIM);
    floats("heads4.npy", random, 2, SEQ_K, 4, DIM);
    floats("seq8.npy", random, 2, 8, KV_HEADS, DIM);
    floats("e.npy", random, BATCH, SEQ_Q, HEADS, DIM_V);
    Npy.write(directory.resolve("lengths2d.npy"), Tensor.copyOf(arena, new int[2], 2, 1));
    bytes("bytes.npy", false, new byte[6], 2, 3);
    bytes("mask6.npy", true, new byte[6], 1, 1, 1, 6);
    floats("five.npy", random, 5);
    floats("even.npy", random, HEADS, 6);
    floats("three2.npy", random, 3, 5);
    Npy.write(directory.resolve("sk.npy"), Tensor.copyOf(arena, new int[14], 2, 7));
    Npy.write(directory.resolve("s.npy"), Tensor.copyOf(arena, new int[10], 2, 5));
    ints("three-lengths.npy", 1, 2, 3);
    ints("negative.npy", 1, -1);
    longs("beyond.npy", 8, 1);
    Tensor beyond = Tensor.allocate(arena, DType.INT64, 2);
    beyond.segment().setAtIndex(ValueLayout.JAVA_LONG, 1, 1L << 32);
    Npy.write(directory.resolve("beyond32.npy"), beyond);
    Files.createSymbolicLink(directory.resolve("link.npy"), directory.resolve("k.npy"));
    Set<String> before = names();

    boolean own = name.startsWith("attend: ") && args.length > 1;
    String[] options = Arrays.copyOfRange(args, own ? 1 : 0, args.length);
    for (int i = 0; i < options.length; i++) {
      if (options[i].startsWith("./")) {
        options[i] = directory + "/" + options[i];
      }
    }
    Result result = run(own ? attend(options) : options);
    assertEquals(2, result.code);
    assertEquals("", result.out);
    assertEquals(1, result.err.lines().count(), result.err);
    assertTrue(result.err.startsWith("gatun: "), result.err);
    assertTrue(result.err.contains(expected), result.err);
    assertEquals(before, names());
  }

  @Test
  void refusal_tierThatTheCpuLacks() {
    for (Tier tier : Tier.values()) {
      if (!GatunRuntime.isAvailable(tier)) {
        Result result = run(attend("--tier", tier.toString()));
        assertEquals(2, result.code);
        assertEquals("", result.out);
        assertEquals(1, result.err.lines().count(), result.err);
        assertTrue(result.err.contains(tier.toString()), result.err);
      }
    }
  }

  // ---- info, help

  @Test
  void info_jsonIsParsed_andSaysTheSameAsText() throws IOException {
    Result result = run("info", "--json");
    assertEquals(0, result.code, result.err);
    Map<String, Object> facts = JSON.std.mapFrom(result.out);
    try (GatunRuntime runtime = GatunRuntime.create()) {
      assertEquals(runtime.info().version(), facts.get("version"));
      assertEquals(runtime.info().abi(), facts.get("abi"));
      assertEquals(runtime.tier().toString(), facts.get("tier"));
      assertEquals(runtime.threads(), facts.get("threads"));
      assertEquals(runtime.info().cpu(), facts.get("cpu"));
    }
    assertEquals(
        Set.of(
            "version",
            "abi",
            "library",
            "java",
            "system",
            "cpu",
            "cpus",
            "threads",
            "threadsReason",
            "tier",
            "tierReason",
            "tiers",
            "features",
            "weights",
            "cacheBytes",
            "openblas"),
        facts.keySet());
    assertTrue(((Map<?, ?>) facts.get("openblas")).containsKey("core"), result.out);
    Result text = run("info");
    assertEquals(0, text.code);
    for (String line : text.out.lines().toList()) {
      Object value = facts;
      for (String key : line.split(" ")[0].split("\\.")) {
        value = ((Map<?, ?>) value).get(key);
      }
      String shown =
          value instanceof List<?> list
              ? String.join(" ", list.stream().map(String::valueOf).toList())
              : String.valueOf(value);
      assertEquals(shown, line.replaceFirst("^\\S+ +", ""));
    }
  }

  @ParameterizedTest
  @ValueSource(
      strings = {
        "--help",
        "-h",
        "help",
        "help info",
        "help attend",
        "help explain",
        "help verify",
        "info --help",
        "attend --help",
        "explain --help",
        "verify --help",
        "attend -h"
      })
  void help_everywhere(String args) {
    Result result = run(args.split(" "));
    assertEquals(0, result.code);
    assertEquals("", result.err);
    assertTrue(result.out.contains("Usage: gatun"), result.out);
  }

  @Test
  void version() {
    for (String[] args : new String[][] {{"--version"}, {"attend", "--version"}}) {
      Result result = run(args);
      assertEquals(0, result.code, result.err);
      assertTrue(result.out.matches("gatun \\d+\\.\\d+\\.\\d+\n"), result.out);
    }
  }

  // ---- verify

  @Test
  void verify_quick_passes() {
    Result result = run("verify", "--quick", "--seed", "7", "--threads", "2");
    assertEquals(new Result(0, result.out, ""), result);
    assertTrue(result.out.contains(" rows, seed 7\n"), result.out);
    for (Tier tier : Tier.values()) {
      String line =
          result.out.lines().filter(l -> l.startsWith(tier + " ")).findFirst().orElseThrow();
      assertTrue(
          line.endsWith(GatunRuntime.isAvailable(tier) ? "   pass" : "not available on this CPU"),
          line);
    }
  }

  /** Errors that a kernel might make, each of which has to be seen. */
  enum Fault {
    /** One element in one case off by a little more than rounding explains. */
    ONE_ELEMENT,
    LSE,
    NAN_LOST,
    DEPENDS_ON_THREADS,
    WRITES_BESIDE_A_ROW,
    LEAVES_A_ROW,
    THROWS
  }

  @ParameterizedTest
  @EnumSource
  void verify_seesPlantedFaults(Fault fault) {
    Verifier.Engines engines =
        (tier, threads) -> {
          GatunRuntime runtime = GatunRuntime.builder().threads(1).tier(tier).build();
          return new Verifier.Engine() {
            private boolean planted = tier != Tier.PORTABLE;

            @Override
            public void forward(
                AttentionSpec spec,
                Tensor q,
                Tensor k,
                Tensor v,
                Tensor keyLengths,
                Tensor queryLengths,
                Tensor out,
                Tensor lse) {
              AttentionOptions options =
                  new AttentionOptions().keyLengths(keyLengths).queryLengths(queryLengths).lse(lse);
              runtime.attention(spec).forward(q, k, v, out, options);
              if (planted || out.elements() == 0) {
                return;
              }
              boolean once = spec.maxThreads() == 1;
              long[] last = Arrays.stream(out.shape()).map(size -> size - 1).toArray();
              float number = out.getFloat(last);
              switch (fault) {
                case ONE_ELEMENT -> {
                  boolean tame = Math.abs(q.getFloat(0, 0, 0, 0)) <= 1 && q.size(3) < 100;
                  if (tame && Math.abs(number) > 1e-6 && Math.abs(number) < 1) {
                    out.setFloat(number + 1e-4f, last);
                    planted = once;
                  }
                }
                case LSE -> {
                  float sum = lse.getFloat(0, 0, 0);
                  if (Float.isFinite(sum) && Math.abs(sum) < 10) {
                    lse.setFloat(sum + 1e-3f, 0, 0, 0);
                    planted = once;
                  }
                }
                case NAN_LOST -> {
                  for (long i = 0; i < out.size(3); i++) {
                    last[3] = i;
                    if (Float.isNaN(out.getFloat(last))) {
                      out.setFloat(0, last);
                      planted = once;
                    }
                  }
                }
                case DEPENDS_ON_THREADS -> {
                  if (once && Float.isFinite(number) && number != 0) {
                    out.setFloat(Math.nextUp(number), last);
                    planted = true;
                  }
                }
                case WRITES_BESIDE_A_ROW -> {
                  // Every row has an element that is none of its own behind it.
                  out.segment()
                      .reinterpret(out.segment().byteSize() + Float.BYTES)
                      .set(ValueLayout.JAVA_FLOAT, out.segment().byteSize(), 1);
                  planted = once;
                }
                case LEAVES_A_ROW -> {
                  last[3] = 0;
                  out.setFloat(-1.2345679e30f, last);
                  planted = once;
                }
                case THROWS -> {
                  planted = true;
                  throw new IllegalStateException("planted");
                }
              }
            }

            @Override
            public void close() {
              runtime.close();
            }
          };
        };
    StringWriter out = new StringWriter();
    int code =
        new CommandLine(new VerifyCommand(engines))
            .setOut(new PrintWriter(out))
            .execute("--quick", "--seed", "7");
    assertEquals(1, code, out.toString());
    assertTrue(out.toString().startsWith("FAIL portable, case "), out.toString());
    assertTrue(out.toString().contains("   FAIL (1 cases)"), out.toString());
    long failed = out.toString().lines().filter(line -> line.contains("FAIL")).count();
    assertEquals(2, failed, out.toString());
  }

  // ---- as a process

  private static List<String> java(String... jvm) {
    Set<String> path = new LinkedHashSet<>();
    for (Class<?> type : List.of(Main.class, CommandLine.class, JSON.class, JsonFactory.class)) {
      path.add(
          Path.of(URI.create(type.getProtectionDomain().getCodeSource().getLocation().toString()))
              .toString());
    }
    path.addAll(List.of(System.getProperty("java.class.path").split(File.pathSeparator)));
    List<String> command = new ArrayList<>();
    command.add(Path.of(System.getProperty("java.home"), "bin", "java").toString());
    command.addAll(
        List.of(
            "-XX:-UsePerfData", "-XX:TieredStopAtLevel=1", "--enable-native-access=ALL-UNNAMED"));
    for (String name : new String[] {"gatun.library", "gatun.openblas", "java.library.path"}) {
      if (System.getProperty(name) != null) {
        command.add("-D" + name + "=" + System.getProperty(name));
      }
    }
    command.addAll(List.of(jvm));
    command.addAll(List.of("-cp", String.join(File.pathSeparator, path), Main.class.getName()));
    return command;
  }

  private Result process(List<String> command, Map<String, String> environment, String... args)
      throws IOException, InterruptedException {
    List<String> all = new ArrayList<>(command);
    all.addAll(List.of(args));
    ProcessBuilder builder = new ProcessBuilder(all);
    builder.environment().putAll(environment);
    Path err = Files.createTempFile("gatun", "err");
    Process process = builder.redirectError(err.toFile()).start();
    String out = new String(process.getInputStream().readAllBytes(), StandardCharsets.UTF_8);
    int code = process.waitFor();
    String text = Files.readString(err);
    Files.delete(err);
    return new Result(code, out, text);
  }

  @Test
  void process_exitCodesAndStreams() throws Exception {
    Result good = process(java(), Map.of(), attend("--reference"));
    assertEquals(0, good.code, good.err);
    assertEquals("", good.err);
    assertTrue(good.out.startsWith("q "), good.out);
    Result bad = process(java(), Map.of(), attend("--out", "none/o"));
    assertEquals(2, bad.code);
    assertEquals("", bad.out);
    assertEquals("gatun: --out none/o: its directory does not exist\n", bad.err);
    Result traced = process(java(), Map.of("GATUN_DEBUG", "1"), attend("--out", "none/o"));
    assertEquals(2, traced.code);
    assertTrue(traced.err.startsWith(bad.err + "dev.gatun.cli.CliException: "), traced.err);
    Npy.write(
        directory.resolve("e.npy"),
        Tensor.allocate(arena, DType.FLOAT32, BATCH, SEQ_Q, HEADS, DIM_V));
    Result failed = process(java(), Map.of(), attend("--expect", "e.npy"));
    assertEquals(1, failed.code);
    assertEquals("", failed.err);
  }

  @Test
  void process_environmentForcesTheTier() throws Exception {
    Result portable = process(java(), Map.of("GATUN_ISA", "portable"), "info");
    assertEquals(0, portable.code, portable.err);
    assertTrue(portable.out.contains("asked for by GATUN_ISA=portable"), portable.out);
    Result unknown = process(java(), Map.of("GATUN_ISA", "sse9"), "info");
    assertEquals(2, unknown.code);
    assertEquals("", unknown.out);
    assertEquals(1, unknown.err.lines().count(), unknown.err);
    assertTrue(unknown.err.startsWith("gatun: ") && unknown.err.contains("sse9"), unknown.err);
  }

  @Test
  void process_withoutLibraries() throws Exception {
    Result noOpenBlas =
        process(java("-Dgatun.openblas=/none/libopenblas.so"), Map.of(), "info", "--json");
    assertEquals(0, noOpenBlas.code, noOpenBlas.err);
    Object openBlas = JSON.std.mapFrom(noOpenBlas.out).get("openblas");
    assertTrue(
        ((Map<?, ?>) openBlas).get("missing").toString().contains("/none/libopenblas.so"),
        noOpenBlas.out);
    Result nothing = process(java("-Dgatun.library=/none/libgatun.so"), Map.of(), "info");
    assertEquals(1, nothing.code);
    assertEquals("", nothing.out);
    assertEquals(1, nothing.err.lines().count(), nothing.err);
    assertTrue(
        nothing.err.startsWith("gatun: ") && nothing.err.contains("/none/libgatun.so"),
        nothing.err);
  }

  @Test
  void process_readerThatLeavesEarly_isNoError() throws Exception {
    ProcessBuilder builder = new ProcessBuilder(java());
    builder.command().add("--help");
    Path err = directory.resolve("err");
    Process process = builder.redirectError(err.toFile()).start();
    process.getInputStream().close();
    assertEquals(0, process.waitFor());
    assertEquals("", Files.readString(err));
  }

  @Test
  void process_standardOutputFull() throws Exception {
    ProcessBuilder builder = new ProcessBuilder(java());
    builder.command().add("--help");
    Path err = directory.resolve("err");
    Process process =
        builder.redirectError(err.toFile()).redirectOutput(new File("/dev/full")).start();
    assertEquals(2, process.waitFor());
    assertEquals(1, Files.readString(err).lines().count());
    assertTrue(Files.readString(err).startsWith("gatun: standard output: "), Files.readString(err));
  }

  /** A limit on file sizes stands for a full disk: writing fails in the middle. */
  @Test
  void process_diskFull_leavesTheOldFile() throws Exception {
    int rows = 200_000;
    floats("q.npy", new SplittableRandom(1), 1, rows, 1, 1);
    floats("k.npy", new SplittableRandom(1), 1, 1, 1, 1);
    floats("v.npy", new SplittableRandom(1), 1, 1, 1, 64);
    Files.writeString(directory.resolve("o.npy"), "old");
    Set<String> before = names();
    // 16 MiB in blocks of 512 or 1024 bytes; the output has 51 MB.
    List<String> command =
        new ArrayList<>(List.of("sh", "-c", "ulimit -f 16384 && exec \"$@\"", "sh"));
    command.addAll(java());
    Result result = process(command, Map.of(), attend("--lse", "lse.npy"));
    assertEquals(2, result.code, result.out);
    assertEquals("", result.out);
    assertEquals("gatun: --out " + path("o.npy") + ": File too large\n", result.err);
    assertEquals(before, names());
    assertEquals("old", Files.readString(directory.resolve("o.npy")));
  }

  @Test
  @Timeout(60)
  void process_interrupted_leavesNothing() throws Exception {
    floats("q.npy", new SplittableRandom(1), 1, 60_000, 4, 64);
    floats("k.npy", new SplittableRandom(1), 1, 60_000, 4, 64);
    floats("v.npy", new SplittableRandom(1), 1, 60_000, 4, 64);
    Set<String> before = names();
    List<String> command = java();
    command.addAll(List.of(attend("--tier", "portable", "--threads", "1")));
    Process process = new ProcessBuilder(command).redirectErrorStream(true).start();
    while (names().equals(before) && process.isAlive()) {
      Thread.sleep(Duration.ofMillis(20));
    }
    assertFalse(names().equals(before));
    process.destroy(); // SIGTERM
    assertTrue(process.waitFor(30, TimeUnit.SECONDS));
    assertEquals(before, names());
  }
}
