package dev.gatun.model;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import dev.gatun.DType;
import dev.gatun.GatunException;
import dev.gatun.GatunRuntime;
import dev.gatun.Tensor;
import dev.gatun.WeightFormat;
import dev.gatun.Workspace;
import dev.gatun.nn.Sequences;
import dev.gatun.support.ChildJvm;
import java.io.IOException;
import java.lang.foreign.Arena;
import java.lang.foreign.ValueLayout;
import java.util.Arrays;
import java.util.Random;
import org.junit.jupiter.api.AfterAll;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;
import org.junit.jupiter.params.provider.EnumSource;

/** MiniLM's real weights in each format: how near to its floats, and which bits. */
class EmbedderFormatsTest {
  private static final String[] TEXTS = {
    "A cat is sleeping in the sun.",
    "The kitten dozes on a warm windowsill.",
    "Die Katze schläft in der Sonne.",
    "Le chat dort au soleil, et personne ne le dérange.",
    "El tren a Hamburgo llega con retraso.",
    "Shares fell sharply after the central bank raised interest rates.",
    "for (int i = 0; i < n; i++) { sum += values[i]; }",
    "Permission is hereby granted, free of charge, to any person obtaining a copy",
    "x",
    "",
    "How do I bake a loaf of bread without yeast?",
    "naïve café, 東京 and Ünïcödé 🙂",
    "1, 2, 3, 4, 5, 6, 7, 8, 9, 10",
    "Attention computes, for every query, a weighted mean of the values. ".repeat(6),
    "WARNING: the configuration file was not found; defaults are used",
    "to be or not to be, that is the question"
  };

  private static GatunRuntime runtime;
  private static TextEmbedder floats;

  @BeforeAll
  static void load() throws IOException {
    runtime = GatunRuntime.builder().threads(2).build();
    floats = TextEmbedder.load(runtime, EmbeddingModelSpec.MINILM, WeightFormat.VIEW);
  }

  @AfterAll
  static void close() {
    floats.close();
    runtime.close();
  }

  private static double cosine(float[] a, float... b) {
    double dot = 0;
    double aa = 0;
    double bb = 0;
    for (int i = 0; i < a.length; i++) {
      dot += (double) a[i] * b[i];
      aa += (double) a[i] * a[i];
      bb += (double) b[i] * b[i];
    }
    return dot / Math.sqrt(aa * bb);
  }

  /**
   * Cosines to the vectors of floats: bounds are those that were measured over 1,000 texts and more
   * (docs/weights.md), with room for texts that are none of them.
   */
  @ParameterizedTest
  @CsvSource({
    "AUTO, 0.9999999, 0.9999999",
    "FP32, 0.9999999, 0.9999999",
    "FP16, 0.999999, 0.99999",
    "BF16, 0.9999, 0.9998",
    "INT8, 0.999, 0.99",
    "Q8_0, 0.999, 0.995"
  })
  void nearToFloats(WeightFormat format, double median, double worst) throws IOException {
    try (TextEmbedder model = TextEmbedder.load(runtime, EmbeddingModelSpec.MINILM, format)) {
      double[] cosines =
          Arrays.stream(TEXTS)
              .mapToDouble(text -> cosine(floats.embed(text), model.embed(text)))
              .sorted()
              .toArray();
      assertTrue(cosines[0] >= worst, () -> "worst " + cosines[0]);
      double middle = cosines[cosines.length / 2];
      assertTrue(middle >= median, () -> "median " + middle);
    }
  }

  @Test
  void example() throws IOException {
    float[] vector;
    // example: weights
    try (TextEmbedder model =
        TextEmbedder.load(runtime, EmbeddingModelSpec.MINILM, WeightFormat.INT8)) {
      vector = model.embed("A cat is sleeping in the sun.");
    }
    // end
    assertTrue(cosine(floats.embed(TEXTS[0]), vector) > 0.99);
  }

  /** The bits of a text are its own: alone, in any batch, on one thread or more. */
  @ParameterizedTest
  @EnumSource(names = {"FP32", "BF16", "INT8"})
  void bitsDoNotDependOnTheBatch(WeightFormat format) throws IOException {
    int batches = format == WeightFormat.INT8 ? 1000 : 20;
    Random random = new Random(7);
    int[][] texts = new int[60][];
    for (int n = 0; n < texts.length; n++) {
      texts[n] = random.ints(5 + random.nextInt(n < 50 ? 12 : 90), 0, 30522).toArray();
    }
    try (GatunRuntime single = GatunRuntime.builder().threads(1).build();
        TextEmbedder one = TextEmbedder.load(single, EmbeddingModelSpec.MINILM, format);
        TextEmbedder two = TextEmbedder.load(runtime, EmbeddingModelSpec.MINILM, format);
        Workspace workspace = runtime.newWorkspace();
        Arena arena = Arena.ofConfined()) {
      float[][] alone = new float[texts.length][];
      for (int n = 0; n < texts.length; n++) {
        alone[n] = one.encoder().forward(texts[n]);
      }
      Tensor all = Tensor.allocate(arena, DType.INT32, 2048);
      Tensor offsets = Tensor.allocate(arena, DType.INT32, 9);
      Tensor out = Tensor.allocate(arena, DType.FLOAT32, 8, one.dimension());
      for (int batch = 0; batch < batches; batch++) {
        int count = 1 + random.nextInt(8);
        int[] chosen = new int[count];
        int end = 0;
        for (int n = 0; n < count; n++) {
          // Eight of the longest are too many for each of a thousand batches.
          chosen[n] = random.nextInt(batch % 50 == 0 ? texts.length : 50);
          for (int id : texts[chosen[n]]) {
            all.segment().setAtIndex(ValueLayout.JAVA_INT, end++, id);
          }
          offsets.segment().setAtIndex(ValueLayout.JAVA_INT, n + 1, end);
        }
        two.embed(
            workspace,
            all.slice(0, 0, end),
            Sequences.ragged(offsets.slice(0, 0, count + 1)),
            out.slice(0, 0, count));
        for (int n = 0; n < count; n++) {
          assertArrayEquals(
              alone[chosen[n]], out.select(0, n).toFloatArray(), "batch " + batch + ", text " + n);
        }
      }
    }
  }

  /** From text to vector without OpenBLAS's jar, which only views need. */
  @Test
  void noOpenBlas() throws IOException, InterruptedException {
    String out =
        ChildJvm.onClassPath()
            .withoutOpenBlas()
            .onClassPathToo("all-minilm-l6-v2.onnx")
            .onClassPathToo("ai/djl/huggingface/tokenizers/jni/TokenizersLibrary.class")
            .onClassPathToo("com/fasterxml/jackson/core/JsonFactory.class")
            .main(Main.class)
            .run()
            .expectSuccess();
    assertEquals("AUTO 384, INT8 384, VIEW OpenBLAS is missing", out);
  }

  /** What runs without OpenBLAS. */
  public static final class Main {
    private Main() {}

    /** Embeds a text in some formats. */
    public static void main(String... arguments) throws IOException {
      try (GatunRuntime runtime = GatunRuntime.create()) {
        System.out.print("AUTO " + embed(runtime, WeightFormat.AUTO));
        System.out.print(", INT8 " + embed(runtime, WeightFormat.INT8));
        try {
          System.out.print(", VIEW " + embed(runtime, WeightFormat.VIEW));
        } catch (GatunException e) {
          System.out.print(
              ", VIEW " + (e.getMessage().contains("openblas") ? "OpenBLAS is missing" : e));
        }
      }
    }

    private static int embed(GatunRuntime runtime, WeightFormat format) throws IOException {
      try (TextEmbedder model = TextEmbedder.load(runtime, EmbeddingModelSpec.MINILM, format)) {
        return model.embed("A cat.").length;
      }
    }
  }
}
