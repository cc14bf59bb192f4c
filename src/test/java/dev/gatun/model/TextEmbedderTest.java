package dev.gatun.model;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import ai.onnxruntime.OrtException;
import dev.gatun.DType;
import dev.gatun.GatunRuntime;
import dev.gatun.Tensor;
import dev.gatun.Workspace;
import dev.gatun.nn.Sequences;
import java.io.IOException;
import java.io.InputStream;
import java.lang.foreign.Arena;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.AbstractList;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.Random;
import org.junit.jupiter.api.AfterAll;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.ValueSource;

class TextEmbedderTest {
  private static final List<String> TEXTS =
      List.of(
          "A cat is sleeping in the sun.",
          "",
          "query: naïve café, 東京 and Ünïcödé 🙂",
          "Shares fell sharply after the central bank raised interest rates. ".repeat(8),
          "x",
          "word ".repeat(700));

  private static GatunRuntime runtime;
  private static TextEmbedder minilm;

  @BeforeAll
  static void load() throws IOException {
    runtime = GatunRuntime.builder().threads(2).build();
    minilm = TextEmbedder.load(runtime, EmbeddingModelSpec.MINILM);
  }

  @AfterAll
  static void close() {
    minilm.close();
    runtime.close();
  }

  private static float[][] embed(TextEmbedder model, List<Tokenized> texts) {
    try (Arena arena = Arena.ofConfined()) {
      Tensor out = Tensor.allocate(arena, DType.FLOAT32, texts.size(), model.dimension());
      model.embed(texts, out);
      float[][] vectors = new float[texts.size()][];
      for (int n = 0; n < vectors.length; n++) {
        vectors[n] = out.select(0, n).toFloatArray();
      }
      return vectors;
    }
  }

  private static double cosine(float[] a, double... b) {
    double dot = 0;
    double aa = 0;
    double bb = 0;
    for (int i = 0; i < a.length; i++) {
      dot += a[i] * b[i];
      aa += (double) a[i] * a[i];
      bb += b[i] * b[i];
    }
    return dot / Math.sqrt(aa * bb);
  }

  private static double[] doubles(float... values) {
    double[] result = new double[values.length];
    Arrays.setAll(result, i -> values[i]);
    return result;
  }

  @ParameterizedTest
  @ValueSource(strings = {"minilm", "bge-small", "e5-small"})
  void isOnnxRuntimeWithPooling(String name) throws IOException, OrtException {
    EmbeddingModelSpec spec = EmbeddingModelSpec.of(name);
    try (OnnxBert theirs = new OnnxBert(spec, 2);
        TextEmbedder model = TextEmbedder.load(runtime, spec)) {
      assertEquals(384, model.dimension());
      assertEquals(name.equals("minilm") ? 128 : 512, model.maxTokens());
      List<Tokenized> tokens = TEXTS.stream().map(text -> model.tokenize(text, 512)).toList();
      float[][] ours = embed(model, tokens);
      for (int n = 0; n < ours.length; n++) {
        float[] hidden = theirs.hidden(tokens.get(n).ids())[0];
        int rows = name.equals("bge-small") ? 1 : tokens.get(n).count();
        double[] pooled = new double[384];
        for (int i = 0; i < rows * 384; i++) {
          pooled[i % 384] += hidden[i];
        }
        double cosine = cosine(ours[n], pooled);
        assertTrue(cosine >= 0.999999, TEXTS.get(n) + ": " + cosine);
        double length = Math.sqrt(Arrays.stream(doubles(ours[n])).map(x -> x * x).sum());
        assertEquals(1, length, 1e-6);
      }
    }
  }

  @Test
  void longTextsAreCutAndSaySo() {
    Tokenized tokens = minilm.tokenize(TEXTS.get(5));
    assertEquals(128, tokens.count());
    assertEquals(702, tokens.originalCount());
    assertTrue(tokens.truncated());
    assertEquals(512, minilm.tokenize(TEXTS.get(5), 512).count());
    assertFalse(minilm.tokenize(TEXTS.get(0)).truncated());
    String message =
        assertThrows(IllegalArgumentException.class, () -> minilm.tokenize("a", 513)).getMessage();
    assertTrue(message.contains("at most 512"), message);
    assertThrows(IllegalArgumentException.class, () -> minilm.tokenize("a", 1));
    assertEquals(3, minilm.tokenize("a b", 3).count());
  }

  /** One by one, in a batch, from native memory: the same but for the last places. */
  @Test
  void allWaysAgree() {
    List<Tokenized> tokens = new ArrayList<>();
    Random random = new Random(1);
    for (int n = 0; n < 60; n++) { // more than one pass
      String text = "word number " + n + " of several" + " again".repeat(random.nextInt(250));
      tokens.add(minilm.tokenize(text, 512));
    }
    assertTrue(tokens.stream().mapToInt(Tokenized::count).sum() > 4096);
    float[][] batch = embed(minilm, tokens);
    try (Arena arena = Arena.ofConfined();
        Workspace workspace = runtime.newWorkspace()) {
      for (int n = 0; n < batch.length; n++) {
        int[] ids = tokens.get(n).ids();
        Tensor out = Tensor.allocate(arena, DType.FLOAT32, 1, 384);
        minilm.embed(
            workspace,
            Tensor.copyOf(arena, ids, ids.length),
            Sequences.ragged(Tensor.copyOf(arena, new int[] {0, ids.length}, 2)),
            out);
        assertArrayEquals(batch[n], out.toFloatArray(), 1e-6f);
      }
    }
    assertArrayEquals(
        embed(minilm, List.of(minilm.tokenize(TEXTS.get(0))))[0], minilm.embed(TEXTS.get(0)));
  }

  @Test
  void textsWithoutTokens() {
    float[][] vectors =
        embed(
            minilm,
            List.of(
                new Tokenized(new int[0], 0), minilm.tokenize("a"), new Tokenized(new int[0], 0)));
    assertArrayEquals(new float[384], vectors[0]);
    assertArrayEquals(minilm.embed("a"), vectors[1], 1e-6f);
    assertArrayEquals(new float[384], vectors[2]);
    assertEquals(0, embed(minilm, List.of()).length);
  }

  @Test
  void mistakes() {
    try (Arena arena = Arena.ofConfined()) {
      Tensor out = Tensor.allocate(arena, DType.FLOAT32, 1, 384);
      Tokenized longer = new Tokenized(new int[513], 513);
      refused("texts[0]: expected at most 512", () -> minilm.embed(List.of(longer), out));
      Tokenized bad = new Tokenized(new int[] {30522}, 1);
      refused("texts[0][0]: expected 0 .. 30521, got 30522", () -> minilm.embed(List.of(bad), out));
      refused(
          "out: expected 2 rows of 384, got [1, 384]", () -> minilm.embed(List.of(bad, bad), out));
      Tensor ids = Tensor.copyOf(arena, new int[] {101, 102}, 2);
      Tensor offsets = Tensor.copyOf(arena, new int[] {0, 2}, 2);
      refused(
          "out: expected memory that can be written",
          () -> minilm.embed(null, ids, Sequences.ragged(offsets), out.asReadOnly()));
      Tensor short1 = Tensor.copyOf(arena, new int[] {0, 1}, 2);
      refused(
          "cuSeqlens[1]: expected 2", () -> minilm.embed(null, ids, Sequences.ragged(short1), out));
      assertArrayEquals(new float[384], out.toFloatArray());
    }
  }

  /** A list that grows after its size was asked for, as under another thread's hands. */
  @Test
  void aListThatGrows() {
    Tokenized text = minilm.tokenize("A text.");
    try (Arena arena = Arena.ofConfined()) {
      Tensor out = Tensor.allocate(arena, DType.FLOAT32, 3, minilm.dimension());
      List<Tokenized> growing =
          new AbstractList<>() {
            private int asked;

            @Override
            public int size() {
              return asked++ == 0 ? 1 : 3;
            }

            @Override
            public Tokenized get(int index) {
              return text;
            }
          };
      refused("out: expected 3 rows of 384", () -> minilm.embed(growing, out.slice(0, 0, 1)));
      assertArrayEquals(new float[3 * 384], out.toFloatArray());
      List<Tokenized> hole = Arrays.asList(text, null);
      assertEquals(
          "texts[1]",
          assertThrows(NullPointerException.class, () -> minilm.embed(hole, out.slice(0, 0, 2)))
              .getMessage());
    }
  }

  private static void refused(String text, Runnable call) {
    String message = assertThrows(IllegalArgumentException.class, call::run).getMessage();
    assertTrue(message.contains(text), message);
  }

  @Test
  void folderAndLifetime(@TempDir Path folder) throws IOException {
    copy("all-minilm-l6-v2.onnx", folder.resolve("model.onnx"));
    copy("all-minilm-l6-v2-tokenizer.json", folder.resolve("tokenizer.json"));
    TextEmbedder model = TextEmbedder.load(runtime, EmbeddingModelSpec.of(folder.toString()));
    // Nothing is mapped any more.
    Files.write(folder.resolve("model.onnx"), new byte[0]);
    assertArrayEquals(minilm.embed("The same."), model.embed("The same."));
    model.close();
    model.close();
    assertThrows(IllegalStateException.class, () -> model.embed("The same."));
    assertTrue(model.toString().contains("closed"), model::toString);
    assertThrows(
        IOException.class,
        () -> TextEmbedder.load(runtime, EmbeddingModelSpec.of(folder.toString())));
  }

  private static void copy(String resource, Path file) throws IOException {
    try (InputStream in = TextEmbedderTest.class.getClassLoader().getResourceAsStream(resource)) {
      Files.copy(in, file);
    }
  }
}
