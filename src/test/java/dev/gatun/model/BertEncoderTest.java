package dev.gatun.model;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import ai.onnxruntime.OrtException;
import dev.gatun.DType;
import dev.gatun.GatunRuntime;
import dev.gatun.Tensor;
import dev.gatun.Workspace;
import dev.gatun.nn.Pooling;
import dev.gatun.nn.SentenceEncoder;
import dev.gatun.nn.Sequences;
import dev.gatun.nn.TextEncoder;
import dev.gatun.support.ReferenceBert;
import java.io.IOException;
import java.lang.foreign.Arena;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.Collections;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.Random;
import java.util.concurrent.ExecutorService;
import java.util.concurrent.Executors;
import java.util.concurrent.Future;
import java.util.stream.IntStream;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.Tag;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;

class BertEncoderTest {
  private static final int CLS = 101;
  private static final int SEP = 102;
  private static final int[] LENGTHS = {1, 2, 3, 7, 16, 17, 64, 127, 128, 129, 255, 256, 511, 512};

  private final Arena arena = Arena.ofShared();
  private final GatunRuntime runtime = GatunRuntime.builder().threads(2).build();

  @AfterEach
  void close() {
    runtime.close();
    arena.close();
  }

  // ---- helpers

  private static int[] text(Random random, int vocabulary, int length) {
    int[] ids = random.ints(length, 0, vocabulary).toArray();
    if (vocabulary > SEP && length > 1) {
      ids[0] = CLS;
      ids[length - 1] = SEP;
    }
    return ids;
  }

  private static int[] concat(int[]... texts) {
    return Arrays.stream(texts).flatMapToInt(Arrays::stream).toArray();
  }

  private static int[] offsets(int[]... texts) {
    int[] offsets = new int[texts.length + 1];
    for (int t = 0; t < texts.length; t++) {
      offsets[t + 1] = offsets[t] + texts[t].length;
    }
    return offsets;
  }

  /** The last hidden state of each text, computed in one batch. */
  private static float[][] forward(TextEncoder encoder, int[]... texts) {
    int width = (int) encoder.dim();
    try (Arena arena = Arena.ofConfined()) {
      int[] all = concat(texts);
      int[] offsets = offsets(texts);
      Tensor hidden = Tensor.allocate(arena, DType.FLOAT32, all.length, width);
      encoder.forward(
          null,
          Tensor.copyOf(arena, all, all.length),
          Sequences.ragged(Tensor.copyOf(arena, offsets, offsets.length)),
          hidden);
      float[] values = hidden.toFloatArray();
      float[][] each = new float[texts.length][];
      for (int t = 0; t < texts.length; t++) {
        each[t] = Arrays.copyOfRange(values, offsets[t] * width, offsets[t + 1] * width);
      }
      return each;
    }
  }

  private static double difference(float[] a, float[] b) {
    assertEquals(a.length, b.length);
    double most = 0;
    for (int i = 0; i < a.length; i++) {
      double difference = Math.abs((double) a[i] - b[i]);
      most = difference <= most ? most : difference; // NaN stays
    }
    return most;
  }

  // ---- a small model with random weights

  private static void linear(
      Map<String, Tensor> to, String name, Arena arena, Random random, int in, int out) {
    to.put(name + ".weight", tensor(arena, random, 1 / Math.sqrt(in), 0, in, out).transpose(0, 1));
    to.put(name + ".bias", tensor(arena, random, 0.1, 0, out));
  }

  private static void norm(
      Map<String, Tensor> to, String name, Arena arena, Random random, int dim) {
    to.put(name + ".weight", tensor(arena, random, 0.2, 1, dim));
    to.put(name + ".bias", tensor(arena, random, 0.2, 0, dim));
  }

  private static Tensor tensor(
      Arena arena, Random random, double deviation, double mean, long... shape) {
    int count = (int) Arrays.stream(shape).reduce(1, (a, b) -> a * b);
    float[] values = new float[count];
    for (int i = 0; i < count; i++) {
      values[i] = (float) (mean + deviation * random.nextGaussian());
    }
    return Tensor.copyOf(arena, values, shape);
  }

  private static BertWeights small(Arena arena, Random random, BertConfig config) {
    return new BertWeights(config, Weights.of(numbers(arena, random, config)));
  }

  private static Map<String, Tensor> numbers(Arena arena, Random random, BertConfig config) {
    int width = config.hidden();
    int inner = config.intermediate();
    Map<String, Tensor> all = new HashMap<>();
    for (int n = 0; n < config.layers(); n++) {
      String layer = "encoder.layer." + n + ".";
      linear(all, layer + "attention.self.query", arena, random, width, width);
      linear(all, layer + "attention.self.key", arena, random, width, width);
      linear(all, layer + "attention.self.value", arena, random, width, width);
      linear(all, layer + "attention.output.dense", arena, random, width, width);
      norm(all, layer + "attention.output.LayerNorm", arena, random, width);
      linear(all, layer + "intermediate.dense", arena, random, width, inner);
      linear(all, layer + "output.dense", arena, random, inner, width);
      norm(all, layer + "output.LayerNorm", arena, random, width);
    }
    all.put(Bert.WORDS, tensor(arena, random, 1, 0, config.vocabulary(), width));
    all.put(Bert.POSITIONS, tensor(arena, random, 1, 0, config.positionRows(), width));
    all.put(Bert.TYPES, tensor(arena, random, 1, 0, config.tokenTypes(), width));
    norm(all, Bert.NORM, arena, random, width);
    return all;
  }

  private static final BertConfig SMALL = new BertConfig(2, 36, 4, 9, 50, 30, 20, 2, 1e-5f);

  @Test
  @Tag("asan")
  void isTheDefinition() {
    Random random = new Random(3);
    for (BertConfig config :
        List.of(
            SMALL,
            new BertConfig(1, 1, 1, 1, 1, 2, 3, 1, 1e-3f),
            new BertConfig(1, 8, 2, 4, 6, 11, 5, 1, 1e-5f, 2, -1),
            new BertConfig(1, 8, 2, 4, 6, 11, 5, 1, 1e-5f, 2, 1),
            new BertConfig(3, 64, 2, 32, 300, 9, 70, 1, 1e-12f))) {
      BertWeights weights = small(arena, random, config);
      ReferenceBert reference = new ReferenceBert(weights);
      TextEncoder encoder = Bert.of("test", runtime, weights, arena);
      int[][] texts =
          IntStream.of(1, config.positions(), 2, config.positions() / 2)
              .mapToObj(length -> text(random, config.vocabulary(), length))
              .toArray(int[][]::new);
      float[][] ours = forward(encoder, texts);
      for (int t = 0; t < texts.length; t++) {
        double[][] exact = reference.forward(texts[t]);
        for (int i = 0; i < ours[t].length; i++) {
          assertEquals(
              exact[i / config.hidden()][i % config.hidden()], ours[t][i], 2e-5, config::toString);
        }
      }
    }
  }

  @Test
  void copiesItsWeights() {
    TextEncoder encoder;
    float[][] before;
    int[] text = {1, 2, 3};
    try (Arena own = Arena.ofShared()) {
      BertWeights weights = small(own, new Random(4), SMALL);
      encoder = Bert.of("test", runtime, weights, arena);
      before = forward(encoder, text);
      weights.weights().get(Bert.WORDS).segment().fill((byte) -1);
    }
    assertArrayEquals(before[0], forward(encoder, text)[0]);
  }

  @Test
  @Tag("asan")
  void rowsOfTheResultMayHaveGaps() {
    TextEncoder encoder = Bert.of("test", runtime, small(arena, new Random(5), SMALL), arena);
    int[] text = {3, 1, 4, 1, 5};
    Tensor wide = Tensor.allocate(arena, DType.FLOAT32, 5, 40);
    encoder.forward(
        null,
        Tensor.copyOf(arena, text, 5),
        Sequences.ragged(Tensor.copyOf(arena, new int[] {0, 5}, 2)),
        wide.slice(1, 4, 40));
    float[] expected = forward(encoder, text)[0];
    for (int row = 0; row < 5; row++) {
      for (int i = 0; i < 40; i++) {
        assertEquals(i < 4 ? 0 : expected[row * 36 + i - 4], wide.getFloat(row, i));
      }
    }
  }

  @Test
  @Tag("asan")
  void nothingToDo() {
    TextEncoder encoder = Bert.of("test", runtime, small(arena, new Random(6), SMALL), arena);
    Tensor none = Tensor.allocate(arena, DType.INT32, 0);
    Tensor rows = Tensor.allocate(arena, DType.FLOAT32, 0, 36);
    encoder.forward(null, none, Sequences.ragged(Tensor.allocate(arena, DType.INT32, 1)), rows);
    encoder.forward(null, none, Sequences.ragged(Tensor.allocate(arena, DType.INT32, 3)), rows);
  }

  /** Each mistake is named, and nothing is written. */
  @Test
  @Tag("asan")
  void mistakes() {
    TextEncoder encoder = Bert.of("test", runtime, small(arena, new Random(7), SMALL), arena);
    Tensor hidden = Tensor.allocate(arena, DType.FLOAT32, 3, 36);
    Tensor ids = Tensor.copyOf(arena, new int[] {1, 2, 3}, 3);
    Tensor offsets = Tensor.copyOf(arena, new int[] {0, 3}, 2);
    refused("ids[1]: expected 0 .. 29, got 30", encoder, ids(1, 30, 3), offsets, hidden);
    refused("ids[2]: expected 0 .. 29, got -1", encoder, ids(1, 2, -1), offsets, hidden);
    String shape = "ids: expected [batch, seq] or [tokens] int32, contiguous, got [3, 36] float32";
    refused(shape, encoder, hidden, offsets, hidden);
    Tensor batch = ids.reshape(1, 3);
    refused("hidden: expected [1, 3, 36] float32, got [3, 36]", encoder, batch, offsets, hidden);
    refused(
        "ids: expected [tokens, …] for ragged sequences, got [1, 3] int32",
        encoder,
        batch,
        offsets,
        hidden.reshape(1, 3, 36));
    refused("cuSeqlens: expected [sequences + 1] int32", encoder, ids, ids(), hidden);
    refused("cuSeqlens[0]: expected 0, got 1", encoder, ids, ids(1, 3), hidden);
    refused(
        "cuSeqlens[1]: expected 3, the tokens there are, got 2", encoder, ids, ids(0, 2), hidden);
    refused("cuSeqlens[2]: expected 2 .. 3, got 1", encoder, ids, ids(0, 2, 1, 3), hidden);
    refused(
        "cuSeqlens[1]: expected 3, the tokens there are, got 4", encoder, ids, ids(0, 4), hidden);
    refused(
        "cuSeqlens[1]: expected 3, the tokens there are, got -1", encoder, ids, ids(0, -1), hidden);
    Tensor many = Tensor.allocate(arena, DType.FLOAT32, 21, 36);
    refused(
        "ids: expected at most 20 positions, got 21", encoder, ids(new int[21]), ids(0, 21), many);
    refused("hidden: expected [3, 36] float32, got [21, 36]", encoder, ids, offsets, many);
    refused("hidden: expected memory that can be", encoder, ids, offsets, hidden.asReadOnly());
    Tensor turned = Tensor.allocate(arena, DType.FLOAT32, 36, 3).transpose(0, 1);
    refused(
        "hidden: expected evenly spaced rows with a contiguous last dimension",
        encoder,
        ids,
        offsets,
        turned);
    for (float value : hidden.toFloatArray()) {
      assertEquals(0, value);
    }
    try (GatunRuntime other = GatunRuntime.builder().threads(1).build();
        Workspace workspace = other.newWorkspace()) {
      String message =
          assertThrows(
                  IllegalArgumentException.class,
                  () -> encoder.forward(workspace, ids, Sequences.ragged(offsets), hidden))
              .getMessage();
      assertTrue(message.startsWith("workspace: "), message);
    }
    encoder.forward(
        null, ids, Sequences.ragged(offsets), hidden); // and a call that failed leaves no trace
  }

  /** Texts are counted as the caller has them, whatever pass they are in. */
  @Test
  void unknownTokensOfTexts() {
    TextEncoder encoder = Bert.of("test", runtime, small(arena, new Random(7), SMALL), arena);
    SentenceEncoder sentences = new SentenceEncoder(encoder, Pooling.MEAN, List.of());
    List<int[]> texts = new ArrayList<>(Collections.nCopies(300, new int[20]));
    int[] unknown = new int[20];
    unknown[3] = 30;
    texts.set(299, unknown);
    Tensor out = Tensor.allocate(arena, DType.FLOAT32, 300, 36);
    assertEquals(
        "texts[299][3]: expected 0 .. 29, got 30",
        assertThrows(IllegalArgumentException.class, () -> sentences.forward(texts, out))
            .getMessage());
    assertEquals(
        "ids[3]: expected 0 .. 29, got 30",
        assertThrows(IllegalArgumentException.class, () -> sentences.forward(unknown))
            .getMessage());
    texts.set(7, null);
    assertEquals(
        "texts[7]",
        assertThrows(NullPointerException.class, () -> sentences.forward(texts, out)).getMessage());
  }

  private Tensor ids(int... values) {
    return Tensor.copyOf(arena, values, values.length);
  }

  private static void refused(
      String text, TextEncoder encoder, Tensor ids, Tensor offsets, Tensor hidden) {
    String message =
        assertThrows(
                IllegalArgumentException.class,
                () -> encoder.forward(null, ids, Sequences.ragged(offsets), hidden))
            .getMessage();
    assertTrue(message.contains(text), message + " does not contain " + text);
  }

  @Test
  void weightsThatDoNotFit() {
    Map<String, Tensor> good = numbers(arena, new Random(8), SMALL);
    Map<String, Tensor> fewer = new HashMap<>(good);
    fewer.put(Bert.POSITIONS, good.get(Bert.POSITIONS).slice(0, 0, 19));
    unfit(fewer, Bert.POSITIONS + ": expected 20 rows or more, got 19");
    fewer = new HashMap<>(good);
    fewer.put(Bert.WORDS, good.get(Bert.WORDS).slice(0, 0, 29));
    unfit(fewer, Bert.WORDS + ": expected 30 rows or more, got 29");
    fewer = new HashMap<>(good);
    fewer.keySet().removeIf(name -> name.startsWith("encoder.layer.1."));
    unfit(fewer, "weights: expected encoder.layer.1.");
    Map<String, Tensor> more = new HashMap<>(good);
    more.put("encoder.layer.2.output.dense.bias", good.get("encoder.layer.1.output.dense.bias"));
    unfit(more, "encoder.layer.2.output.dense.bias");
    fewer = new HashMap<>(good);
    fewer.remove("encoder.layer.0.attention.self.key.bias");
    unfit(fewer, "encoder.layer.0.attention.self.key.bias");
    assertThrows(IllegalArgumentException.class, () -> new BertWeights(SMALL, good::get));
  }

  private void unfit(Map<String, Tensor> weights, String expected) {
    BertWeights model = new BertWeights(SMALL, Weights.of(weights));
    String message =
        assertThrows(IllegalArgumentException.class, () -> Bert.of("test", runtime, model, arena))
            .getMessage();
    assertTrue(message.contains(expected), message);
  }

  @Test
  void arenaOfTheWeightsClosed() {
    Arena own = Arena.ofShared();
    TextEncoder encoder = Bert.of("test", runtime, small(arena, new Random(9), SMALL), own);
    own.close();
    assertThrows(IllegalStateException.class, () -> forward(encoder, new int[] {1}));
  }

  // ---- real models

  /**
   * Alone at every length, and in batches of 32 that ONNX Runtime gets padded. Each side is up to
   * 9e-6 away from the same computed in double precision: the greatest of a million differences
   * depends on how both happen to round, their root mean square does not.
   */
  @ParameterizedTest
  @CsvSource({
    "minilm, 1.5e-5, 4e-7",
    "bge-small, 2e-5, 6e-7",
    "e5-small, 2e-5, 1.6e-6",
    "bge-small-zh, 1.5e-5, 6e-7"
  })
  void isOnnxRuntime(String name, double tolerance, double meanTolerance)
      throws IOException, OrtException {
    EmbeddingModelSpec spec = EmbeddingModelSpec.of(name);
    Random random = new Random(11);
    try (OnnxBert theirs = new OnnxBert(spec, 2);
        Arena reading = Arena.ofShared()) {
      BertWeights weights = BertWeights.from(spec.openModel(reading), reading);
      TextEncoder encoder = Bert.of("test", runtime, weights, arena);
      int dim = weights.config().hidden();
      double most = 0;
      for (int length : LENGTHS) {
        int[] text = text(random, weights.config().vocabulary(), length);
        double difference = difference(theirs.hidden(text)[0], forward(encoder, text)[0]);
        assertTrue(difference <= tolerance, length + " tokens: " + difference);
        most = Math.max(most, difference);
      }
      double squares = 0;
      long elements = 0;
      double worst = 0;
      int[] worstText = null;
      float[] worstOurs = null;
      // Half of the texts are short; padding is the work that we do not do and they do.
      for (int longest : name.equals("minilm") ? new int[] {24, 512} : new int[] {150}) {
        int[][] batch =
            IntStream.range(0, 32)
                .map(n -> n == 0 ? longest : 1 + random.nextInt(n % 2 == 0 ? longest : 20))
                .mapToObj(length -> text(random, weights.config().vocabulary(), length))
                .toArray(int[][]::new);
        float[][] expected = theirs.hidden(batch);
        float[][] ours = forward(encoder, batch);
        for (int t = 0; t < batch.length; t++) {
          double difference = difference(expected[t], ours[t]);
          int length = batch[t].length;
          assertTrue(difference <= tolerance, () -> "batch, " + length + " tokens: " + difference);
          most = Math.max(most, difference);
          for (int i = 0; i < ours[t].length; i++) {
            double error = (double) expected[t][i] - ours[t][i];
            squares += error * error;
          }
          elements += ours[t].length;
          if (difference > worst) {
            worst = difference;
            worstText = batch[t];
            worstOurs = ours[t];
          }
        }
      }
      double mean = Math.sqrt(squares / elements);
      System.out.printf(
          "%s: differs from ONNX Runtime by at most %.1e, root mean square %.2e%n",
          name, most, mean);
      assertTrue(mean <= meanTolerance, () -> "root mean square " + mean);
      double[][] best = new ReferenceBert(weights).forward(worstText);
      double own = 0;
      for (int i = 0; i < worstOurs.length; i++) {
        own = Math.max(own, Math.abs(best[i / dim][i % dim] - worstOurs[i]));
      }
      System.out.printf("%s: where it differs most, off by %.1e%n", name, own);
      assertTrue(own <= 1e-5, "off by " + own);
      int[] text = text(random, weights.config().vocabulary(), 40);
      double[][] exact = new ReferenceBert(weights).forward(text);
      float[] ours = forward(encoder, text)[0];
      for (int i = 0; i < ours.length; i++) {
        assertEquals(exact[i / dim][i % dim], ours[i], 1e-5);
      }
    }
  }

  /** Bits do not depend on threads. On the batch they do, in the last places. */
  @Test
  void bits() throws IOException {
    Random random = new Random(12);
    try (Arena reading = Arena.ofShared();
        GatunRuntime one = GatunRuntime.builder().threads(1).build();
        GatunRuntime five = GatunRuntime.builder().threads(5).build()) {
      BertWeights weights = BertWeights.from(EmbeddingModelSpec.MINILM.openModel(reading), reading);
      List<TextEncoder> encoders =
          IntStream.range(0, 3)
              .mapToObj(n -> n == 0 ? one : n == 1 ? runtime : five)
              .map(on -> Bert.of("test", on, weights, arena))
              .toList();
      int[][] batch =
          IntStream.of(1, 2, 16, 17, 63, 128, 129, 300, 5)
              .mapToObj(length -> text(random, weights.config().vocabulary(), length))
              .toArray(int[][]::new);
      float[][] together = forward(encoders.getFirst(), batch);
      for (int n = 1; n < 3; n++) {
        float[][] again = forward(encoders.get(n), batch);
        for (int t = 0; t < batch.length; t++) {
          assertArrayEquals(together[t], again[t]);
        }
      }
      for (int t = 0; t < batch.length; t++) {
        float[] alone = forward(encoders.getFirst(), batch[t])[0];
        assertArrayEquals(alone, forward(encoders.get(1), batch[t])[0]);
        assertArrayEquals(alone, forward(encoders.get(2), batch[t])[0]);
        double difference = difference(alone, together[t]);
        assertTrue(difference <= 1e-5, batch[t].length + " tokens: " + difference);
      }
    }
  }

  @Test
  void sharedByThreads() throws Exception {
    TextEncoder encoder = Bert.of("test", runtime, small(arena, new Random(13), SMALL), arena);
    int[][] texts =
        IntStream.range(0, 20).mapToObj(n -> text(new Random(n), 30, 1 + n)).toArray(int[][]::new);
    float[][] expected = new float[texts.length][];
    for (int t = 0; t < texts.length; t++) {
      expected[t] = forward(encoder, texts[t])[0];
    }
    try (ExecutorService pool = Executors.newFixedThreadPool(4)) {
      List<Future<?>> done =
          IntStream.range(0, 400)
              .<Future<?>>mapToObj(
                  n ->
                      pool.submit(
                          () ->
                              assertArrayEquals(
                                  expected[n % 20], forward(encoder, texts[n % 20])[0])))
              .toList();
      for (Future<?> future : done) {
        future.get();
      }
    }
  }
}
