package dev.gatun.model;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertSame;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import dev.gatun.DType;
import dev.gatun.GatunRuntime;
import dev.gatun.Tensor;
import dev.gatun.WeightFormat;
import dev.gatun.nn.Sequences;
import dev.gatun.nn.TextEncoder;
import dev.gatun.support.ReferenceBert;
import java.io.IOException;
import java.lang.foreign.Arena;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import org.junit.jupiter.api.AfterAll;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;

/** What tokens attend to, beside an encoder in double that has nothing in common with ours. */
class TextAttentionTest {
  private static final String TEXT = "The cat's sleeping, because it's tired of Ünïcödé.";

  private static GatunRuntime runtime;
  private static TextEmbedder model;

  @BeforeAll
  static void load() throws IOException {
    runtime = GatunRuntime.builder().threads(2).build();
    model = TextEmbedder.load(runtime, EmbeddingModelSpec.MINILM);
  }

  @AfterAll
  static void close() {
    model.close();
    runtime.close();
  }

  private static double[][][][] reference(EmbeddingModelSpec spec, int... ids) throws IOException {
    try (Arena arena = Arena.ofConfined()) {
      return new ReferenceBert(spec.weights(arena, arena, WeightFormat.AUTO)).weights(ids);
    }
  }

  /**
   * A weight p is off by p (1 - p), at most a quarter, times the error of a score. Scores of these
   * layers are below 30, a rounding of which is 2e-6, and those of six layers hardly add up.
   * Weights of 16, 8 and 4 bits make errors of scores of their own, which were measured here, and
   * have twice as much room.
   */
  @ParameterizedTest
  @CsvSource({
    "AUTO, 1e-5",
    "VIEW, 1e-5",
    "FP32, 1e-5",
    "FP16, 2e-3",
    "BF16, 0.013",
    "INT8, 0.1",
    "Q8_0, 0.07",
    "Q4_0, 0.45"
  })
  void weightsOfEachFormat(WeightFormat format, double bound) throws IOException {
    double worst = 0;
    try (TextEmbedder other = TextEmbedder.load(runtime, EmbeddingModelSpec.MINILM, format);
        Arena arena = Arena.ofConfined()) {
      TextAttention attention = other.attention(TEXT, arena);
      int count = attention.text().count();
      double[][][][] want = reference(EmbeddingModelSpec.MINILM, attention.text().ids());
      assertArrayEquals(new long[] {6, 12, count, count}, attention.weights().shape());
      for (int layer = 0; layer < 6; layer++) {
        for (int head = 0; head < 12; head++) {
          for (int i = 0; i < count; i++) {
            double sum = 0;
            for (int j = 0; j < count; j++) {
              double got = attention.weights().getFloat(layer, head, i, j);
              worst = Math.max(worst, Math.abs(want[layer][head][i][j] - got));
              sum += got;
            }
            assertEquals(1, sum, 1e-5);
          }
        }
      }
    }
    assertTrue(worst <= bound, "off by " + worst);
  }

  @ParameterizedTest
  @CsvSource({"bge-small", "e5-small", "minilm-q"})
  void weightsOfOtherModels(String name) throws IOException {
    EmbeddingModelSpec spec = EmbeddingModelSpec.of(name);
    try (TextEmbedder other = TextEmbedder.load(runtime, spec);
        Arena arena = Arena.ofConfined()) {
      TextAttention attention = other.attention(TEXT, arena);
      Tensor weights = attention.weights();
      assertEquals(attention.tokens().size(), weights.size(3));
      if (!name.endsWith("-q")) {
        double[][][][] want = reference(spec, attention.text().ids());
        for (int layer = 0; layer < want.length; layer++) {
          for (int head = 0; head < 12; head++) {
            for (int j = 0; j < weights.size(3); j++) {
              // Scores of e5 are beyond 700: 6e-8 of them, by twelve layers.
              assertEquals(want[layer][head][1][j], weights.getFloat(layer, head, 1, j), 1e-3);
            }
          }
        }
      }
    }
  }

  @Test
  void tokensAreThoseOfTheVocabulary() {
    Tokenized text = model.tokenize("The cat's sleeping unbelievably, 東.");
    List<String> tokens = model.tokens(text);
    assertEquals(text.count(), tokens.size());
    assertEquals(
        List.of(
            "[CLS]",
            "the",
            "cat",
            "'",
            "s",
            "sleeping",
            "unbelievable",
            "##y",
            ",",
            "東",
            ".",
            "[SEP]"),
        unified(tokens));
    Tokenizer tokenizer = tokenizer();
    assertEquals(List.of("[PAD]", "[UNK]", "[MASK]"), tokenizer.tokens(0, 100, 103));
    assertEquals(List.of("99999999"), tokenizer.tokens(99_999_999));
    assertEquals(List.of(), tokenizer.tokens());
    assertThrows(IllegalArgumentException.class, () -> tokenizer.tokens(3, -1));
  }

  /** WordPiece has its own ideas of how to take a long word apart. */
  private static List<String> unified(List<String> tokens) {
    List<String> unified = new ArrayList<>(tokens);
    int from = unified.indexOf("sleeping") + 1;
    int to = unified.indexOf(",");
    assertEquals("unbelievably", String.join("", unified.subList(from, to)).replace("##", ""));
    unified.subList(from, to).clear();
    unified.addAll(from, List.of("unbelievable", "##y"));
    return unified;
  }

  private static Tokenizer tokenizer() {
    try {
      return EmbeddingModelSpec.MINILM.loadTokenizer();
    } catch (IOException e) {
      throw new AssertionError(e);
    }
  }

  // ---- listeners -----------------------------------------------------------------------------

  @Test
  void aListenerSeesEveryLayerOnceAndTensorsEndWithIt() {
    List<Tensor> kept = new ArrayList<>();
    List<Integer> layers = new ArrayList<>();
    Tokenized text = model.tokenize(TEXT);
    model.attention(
        text,
        (layer, spec, q, k) -> {
          layers.add(layer);
          assertArrayEquals(new long[] {text.count(), 12, 32}, q.shape());
          assertArrayEquals(new long[] {text.count(), 12, 32}, k.shape());
          assertTrue(q.isReadOnly() && k.isReadOnly());
          assertTrue(Float.isFinite(q.getFloat(text.count() - 1, 11, 31)));
          kept.addAll(List.of(q, k));
        });
    assertEquals(List.of(0, 1, 2, 3, 4, 5), layers);
    for (Tensor tensor : kept) {
      assertThrows(IllegalStateException.class, () -> tensor.getFloat(0, 0, 0));
    }
  }

  @Test
  void whatAListenerThrowsEndsTheCall() {
    float[] before = model.embed(TEXT);
    IllegalStateException mine = new IllegalStateException("enough");
    Throwable thrown =
        assertThrows(
            IllegalStateException.class,
            () ->
                model.attention(
                    model.tokenize(TEXT),
                    (layer, spec, q, k) -> {
                      if (layer == 2) {
                        throw mine;
                      }
                    }));
    assertSame(mine, thrown);
    assertArrayEquals(before, model.embed(TEXT));
  }

  /**
   * Texts one after the other: each has the queries that it has alone, and nothing is computed
   * otherwise.
   */
  @Test
  void severalTextsLieOneAfterTheOther() {
    TextEncoder encoder = model.encoder().textEncoder();
    int[] first = model.tokenize(TEXT).ids();
    int[] second = model.tokenize("Another one.").ids();
    int total = first.length + second.length;
    int[] both = Arrays.copyOf(first, total);
    System.arraycopy(second, 0, both, first.length, second.length);
    float[] alone = new float[6];
    model.attention(
        new Tokenized(second, second.length),
        (layer, spec, q, k) -> alone[layer] = q.getFloat(2, 5, 7));
    try (Arena arena = Arena.ofConfined()) {
      Tensor ids = Tensor.copyOf(arena, both, total);
      Sequences texts =
          Sequences.ragged(Tensor.copyOf(arena, new int[] {0, first.length, total}, 3));
      Tensor want = Tensor.allocate(arena, DType.FLOAT32, total, 384);
      Tensor got = Tensor.allocate(arena, DType.FLOAT32, total, 384);
      encoder.forward(ids, texts, want);
      encoder.forward(
          null,
          ids,
          texts,
          got,
          (layer, spec, q, k) -> {
            assertEquals(total, q.size(0));
            assertEquals(alone[layer], q.getFloat(first.length + 2, 5, 7));
          });
      assertArrayEquals(want.toFloatArray(), got.toFloatArray());
      assertThrows(NullPointerException.class, () -> encoder.forward(null, ids, texts, got, null));
    }
  }

  // ---- mistakes ------------------------------------------------------------------------------

  @Test
  void mistakes() throws IOException {
    Arena closed = Arena.ofConfined();
    closed.close();
    assertThrows(IllegalStateException.class, () -> model.attention(TEXT, closed));
    try (Arena arena = Arena.ofConfined()) {
      Tokenized unknown = new Tokenized(new int[] {101, 99_999, 102}, 3);
      assertThrows(IllegalArgumentException.class, () -> model.attention(unknown, arena));
      Tokenized endless = new Tokenized(new int[513], 513);
      assertThrows(IllegalArgumentException.class, () -> model.attention(endless, arena));
      assertThrows(NullPointerException.class, () -> model.attention((String) null, arena));
      Tokenized none = new Tokenized(new int[0], 0);
      TextAttention nothing = model.attention(none, arena);
      assertArrayEquals(new long[] {6, 12, 0, 0}, nothing.weights().shape());
      assertEquals(List.of(), nothing.tokens());
      TextEmbedder gone = TextEmbedder.load(runtime, EmbeddingModelSpec.MINILM);
      gone.close();
      assertThrows(IllegalStateException.class, () -> gone.attention(TEXT, arena));
    }
  }

  @Test
  void example() {
    // example: attention
    try (Arena arena = Arena.ofConfined()) {
      TextAttention attention = model.attention("The cat sat.", arena);
      Tensor weights = attention.weights(); // [layers, heads, tokens, tokens]
      System.out.println(attention.tokens()); // [[CLS], the, cat, sat, ., [SEP]]
      System.out.println(weights.getFloat(3, 8, 3, 2)); // how much "sat" attends to "cat"
    }
    // end
  }
}
