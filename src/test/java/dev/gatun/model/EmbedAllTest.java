package dev.gatun.model;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import dev.gatun.DType;
import dev.gatun.GatunRuntime;
import dev.gatun.Tensor;
import dev.gatun.WeightFormat;
import java.io.IOException;
import java.lang.foreign.Arena;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.Random;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.EnumSource;

/** Many texts at once, long ones, and vectors that are cut. */
class EmbedAllTest {
  private static final String[] WORDS = {"the", "cat", "sat", "on", "mat", "dog", "ran", "x"};

  @TempDir private Path path;

  private final GatunRuntime runtime = GatunRuntime.builder().threads(2).build();
  private SmallFolder folder;

  @BeforeEach
  void open() throws IOException {
    folder = new SmallFolder(path);
  }

  @AfterEach
  void close() {
    runtime.close();
  }

  private static String words(Random random, int count) {
    StringBuilder text = new StringBuilder();
    for (int n = 0; n < count; n++) {
      text.append(WORDS[random.nextInt(WORDS.length)]).append(' ');
    }
    return text.toString();
  }

  /** More than one pass by tokens and by texts; short and long ones in turn. */
  private static List<String> texts() {
    Random random = new Random(5);
    List<String> texts = new ArrayList<>();
    for (int n = 0; n < 700; n++) {
      texts.add(words(random, n % 7 == 0 ? 30 + random.nextInt(60) : random.nextInt(6)));
    }
    return texts;
  }

  // ---- bits and order ------------------------------------------------------------------------

  @ParameterizedTest
  @EnumSource(
      value = WeightFormat.class,
      names = {"FP32", "BF16", "INT8"})
  void aTextAloneHasTheSameBits(WeightFormat format) throws IOException {
    List<String> texts = texts();
    try (TextEmbedder model = folder.load(runtime, format)) {
      float[][] all = model.embedAll(texts);
      for (int n = 0; n < all.length; n++) {
        assertArrayEquals(model.embed(texts.get(n)), all[n], "text " + n);
      }
      EmbeddingOptions chunks = new EmbeddingOptions().onTooLong(OnTooLong.CHUNK).maxTokens(16);
      float[][] parts = model.embedAll(texts, chunks).vectors();
      for (int n = 0; n < all.length; n += 7) {
        float[] alone = model.embedAll(List.of(texts.get(n)), chunks).vectors()[0];
        assertArrayEquals(alone, parts[n], "text " + n);
      }
    }
  }

  @Test
  void anotherModelOfRealSize() throws IOException {
    try (TextEmbedder model = TextEmbedder.load(runtime, EmbeddingModelSpec.MINILM)) {
      List<String> texts = List.of("A cat.", "", "Shares fell sharply. ".repeat(90), "A cat.");
      float[][] all = model.embedAll(texts);
      for (int n = 0; n < all.length; n++) {
        assertArrayEquals(model.embed(texts.get(n)), all[n], "text " + n);
      }
    }
  }

  @Test
  void progressAndCounts() throws IOException {
    List<String> texts = texts();
    try (TextEmbedder model = folder.load(runtime)) {
      List<Integer> done = new ArrayList<>();
      EmbeddingOptions options =
          new EmbeddingOptions()
              .progress(
                  (now, of) -> {
                    assertEquals(700, of);
                    done.add(now);
                  });
      Embeddings all = model.embedAll(texts, options);
      assertTrue(done.size() > 1, done::toString);
      assertEquals(done.stream().sorted().toList(), done);
      assertEquals(700, done.getLast());
      for (int n = 0; n < 700; n++) {
        Tokenized want = model.tokenize(texts.get(n));
        TextTokens got = all.texts().get(n);
        assertEquals(new TextTokens(want.count(), want.originalCount(), 1), got);
        assertEquals(want.truncated(), got.truncated());
      }
      assertTrue(all.texts().stream().anyMatch(TextTokens::truncated));
      IllegalStateException stop = new IllegalStateException("enough");
      options.progress(
          (now, of) -> {
            throw stop;
          });
      assertEquals(
          stop, assertThrows(IllegalStateException.class, () -> model.embedAll(texts, options)));
      assertEquals(0, model.embedAll(List.of()).length);
    }
  }

  @Test
  void intoATensor() throws IOException {
    try (Arena arena = Arena.ofConfined();
        TextEmbedder model = folder.load(runtime)) {
      List<String> texts = List.of("the cat", "a mat on a mat", "x");
      Tensor out = Tensor.allocate(arena, DType.FLOAT32, 3, 12);
      EmbeddingOptions options = new EmbeddingOptions();
      List<TextTokens> read = model.embedAll(texts, options, out.slice(1, 2, 10));
      assertEquals(List.of(4, 7, 3), read.stream().map(TextTokens::count).toList());
      for (int n = 0; n < 3; n++) {
        float[] row = out.select(0, n).toFloatArray();
        assertArrayEquals(model.embed(texts.get(n)), Arrays.copyOfRange(row, 2, 10));
        assertEquals(0, row[0] + row[1] + row[10] + row[11]);
      }
      for (Tensor bad :
          new Tensor[] {
            out,
            Tensor.allocate(arena, DType.FLOAT32, 2, 8),
            Tensor.allocate(arena, DType.FLOAT32, 24),
            Tensor.allocate(arena, DType.INT32, 3, 8),
            Tensor.allocate(arena, DType.FLOAT32, 8, 3).transpose(0, 1),
            Tensor.allocate(arena, DType.FLOAT32, 3, 8).asReadOnly()
          }) {
        refused("out: expected [3, 8] float32", () -> model.embedAll(texts, options, bad));
      }
      refused(
          "out: expected [3, 4] float32",
          () -> model.embedAll(texts, new EmbeddingOptions().dimensions(4), out.slice(1, 0, 8)));
    }
  }

  private static void refused(String text, Runnable call) {
    String message = assertThrows(IllegalArgumentException.class, call::run).getMessage();
    assertTrue(message.contains(text), message);
  }

  // ---- long texts ----------------------------------------------------------------------------

  @Test
  void tooLongTextsAreNamed() throws IOException {
    try (TextEmbedder model = folder.load(runtime)) {
      EmbeddingOptions fail = new EmbeddingOptions().onTooLong(OnTooLong.FAIL).maxTokens(8);
      assertEquals(2, model.embedAll(List.of("a b", "the cat sat on a mat"), fail).texts().size());
      refused(
          "texts[1]: expected at most 8 tokens, got 9",
          () -> model.embedAll(List.of("a b", "the cat sat on a red mat"), fail));
      refused(
          "texts[0]: expected at most 8 tokens, got 9",
          () -> model.embedAll(List.of("the cat sat on a mat"), fail.prompt("x ")));
      refused(
          "maxTokens: expected at most 64",
          () -> model.embedAll(List.of("a"), new EmbeddingOptions().maxTokens(65)));
      refused("tokens: expected 1", () -> fail.maxTokens(0));
      assertEquals(
          "texts[1]",
          assertThrows(
                  NullPointerException.class,
                  () -> model.embedAll(Arrays.asList("a", null), new EmbeddingOptions()))
              .getMessage());
    }
  }

  /** Chunks by the definition: windows over the text's tokens, with [CLS], prompt and [SEP]. */
  private double[] chunked(int[] content, int[] prompt, int window, int overlap, boolean unit)
      throws IOException {
    double[] mean = new double[8];
    double total = 0;
    for (int begin = 0; begin == 0 || begin + overlap < content.length; begin += window - overlap) {
      int end = Math.min(begin + window, content.length);
      int[] ids = new int[prompt.length + end - begin + 2];
      ids[0] = 2;
      System.arraycopy(prompt, 0, ids, 1, prompt.length);
      System.arraycopy(content, begin, ids, prompt.length + 1, end - begin);
      ids[ids.length - 1] = 3;
      double[] vector = new double[8];
      for (double[] row : folder.states(ids)) {
        for (int i = 0; i < 8; i++) {
          vector[i] += row[i] / ids.length;
        }
      }
      if (unit) {
        vector = unit(vector);
      }
      for (int i = 0; i < 8; i++) {
        mean[i] += vector[i] * (end - begin);
      }
      total += end - begin;
    }
    for (int i = 0; i < 8; i++) {
      mean[i] /= total;
    }
    return unit ? unit(mean) : mean;
  }

  private static double[] unit(double... x) {
    double length = Math.sqrt(Arrays.stream(x).map(a -> a * a).sum());
    return Arrays.stream(x).map(a -> a / length).toArray();
  }

  private static void close(double[] want, float... got) {
    double[] doubles = new double[got.length];
    Arrays.setAll(doubles, i -> got[i]);
    // As of one text: float32 hidden states of 2 layers, whose elements are about 1.
    assertArrayEquals(want, doubles, 4e-6);
  }

  @Test
  void chunksAreWeightedByTheirTokens() throws IOException {
    String text = words(new Random(3), 45);
    int[] ids = folder.ids(text);
    int[] content = Arrays.copyOfRange(ids, 1, ids.length - 1);
    for (boolean unit : new boolean[] {true, false}) {
      folder.modules(unit ? new String[] {"Pooling", "Normalize"} : new String[] {"Pooling"});
      folder.pooling("\"mean\"", true);
      try (TextEmbedder model = folder.load(runtime)) {
        EmbeddingOptions options =
            new EmbeddingOptions().onTooLong(OnTooLong.CHUNK).maxTokens(20).overlap(5);
        Embeddings found = model.embedAll(List.of("a", text), options);
        close(chunked(content, new int[0], 18, 5, unit), found.vectors()[1]);
        assertArrayEquals(model.embed("a"), found.vectors()[0]);
        assertEquals(new TextTokens(47, 47, 4), found.texts().get(1));
        assertFalse(found.texts().get(1).truncated());
        options.prompt("red dog ");
        found = model.embedAll(List.of(text), options);
        close(chunked(content, new int[] {14, 11}, 16, 5, unit), found.vectors()[0]);
        options.prompt("").overlap(0);
        close(
            chunked(content, new int[0], 18, 0, unit),
            model.embedAll(List.of(text), options).vectors()[0]);
        // One that just fits is a text like any other.
        String fits = words(new Random(4), 18);
        assertArrayEquals(model.embed(fits), model.embedAll(List.of(fits), options).vectors()[0]);
        assertEquals(2, model.embedAll(List.of(fits + "x"), options).texts().getFirst().chunks());
        refused(
            "texts[0]: overlap: expected fewer than the 18 tokens of a chunk, got 18",
            () -> model.embedAll(List.of(text), options.overlap(18)));
        options.overlap(0).prompt(words(new Random(1), 18));
        refused(
            "texts[0]: expected maxTokens that leave room behind the prompt",
            () -> model.embedAll(List.of(text), options));
        refused("tokens: expected 0 or more", () -> options.overlap(-1));
      }
    }
  }

  // ---- fewer dimensions ----------------------------------------------------------------------

  @Test
  void fewerDimensions() throws IOException {
    String text = "the cat sat on a mat";
    for (boolean unit : new boolean[] {true, false}) {
      folder.modules(unit ? new String[] {"Pooling", "Normalize"} : new String[] {"Pooling"});
      folder.pooling("\"mean\"", true);
      try (TextEmbedder model = folder.load(runtime)) {
        float[] whole = model.embed(text);
        double[] first = {whole[0], whole[1], whole[2]};
        EmbeddingOptions options = new EmbeddingOptions().dimensions(3);
        close(unit ? unit(first) : first, model.embedAll(List.of(text), options).vectors()[0]);
        options.dimensions(8);
        assertArrayEquals(whole, model.embedAll(List.of(text), options).vectors()[0]);
        options.dimensions(9);
        refused("dimensions: expected at most 8", () -> model.embedAll(List.of(text), options));
        refused("dimensions: expected at most 8", () -> model.embedAll(List.of(), options));
        refused("elements: expected 1 or more", () -> options.dimensions(0));
      }
    }
  }
}
