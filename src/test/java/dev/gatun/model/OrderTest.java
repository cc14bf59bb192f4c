package dev.gatun.model;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import dev.gatun.DType;
import dev.gatun.GatunRuntime;
import dev.gatun.Tensor;
import dev.gatun.nn.Embedding;
import dev.gatun.nn.LayerNorm;
import dev.gatun.nn.NormOrder;
import dev.gatun.nn.PositionalEncoding;
import dev.gatun.nn.TextEncoder;
import dev.gatun.nn.TransformerEncoder;
import java.io.IOException;
import java.lang.foreign.Arena;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;

/**
 * Real weights (all-MiniLM-L6-v2) as a configuration of blocks: the same as {@link BertEncoder},
 * and without its positions blind to the order of words.
 */
class OrderTest {

  /** float32 rounds in another order: products of all rows at once, and of fused ones. */
  private static final double BOUND = 1e-5;

  private static double cosine(float[] a, float[] b) {
    double dot = 0;
    double left = 0;
    double right = 0;
    for (int i = 0; i < a.length; i++) {
      dot += (double) a[i] * b[i];
      left += (double) a[i] * a[i];
      right += (double) b[i] * b[i];
    }
    return dot / Math.sqrt(left * right);
  }

  /** The mean of the last hidden states. */
  private static float[] vector(Arena arena, TextEncoder model, int[] ids) {
    Tensor hidden = Tensor.allocate(arena, DType.FLOAT32, 1, ids.length, model.dim());
    model.forward(Tensor.copyOf(arena, ids, 1, ids.length), hidden);
    float[] rows = hidden.toFloatArray();
    float[] mean = new float[rows.length / ids.length];
    for (int i = 0; i < rows.length; i++) {
      mean[i % mean.length] += rows[i] / ids.length;
    }
    return mean;
  }

  @ParameterizedTest
  @CsvSource({
    "The dog bites the man., The man bites the dog.",
    "I would rather read than write., I would rather write than read.",
    "Only he said that he loved her., He said that he loved only her."
  })
  void withoutPositionsWordsHaveNoOrder(String text, String other) throws IOException {
    Tokenizer tokenizer = EmbeddingModelSpec.MINILM.loadTokenizer();
    int[] ids = tokenizer.encode(text).ids();
    int[] otherIds = tokenizer.encode(other).ids();
    try (GatunRuntime runtime = GatunRuntime.create();
        Arena arena = Arena.ofShared()) {
      Weights weights =
          BertWeights.from(EmbeddingModelSpec.MINILM.openModel(arena), arena).weights();
      // example: order
      TextEncoder model = Bert.of(runtime, weights, 6, 12);
      Embedding unordered =
          new Embedding(
              runtime,
              weights.get("embeddings.word_embeddings.weight"),
              1,
              PositionalEncoding.none(), // in place of learned(…)
              weights.get("embeddings.token_type_embeddings.weight"),
              new LayerNorm(
                  runtime,
                  weights.get("embeddings.LayerNorm.weight"),
                  weights.get("embeddings.LayerNorm.bias"),
                  1e-12f));
      TextEncoder blind =
          new TextEncoder(
              "blind",
              runtime,
              unordered,
              new TransformerEncoder(runtime, model.layers(), NormOrder.POST, null));
      double with = cosine(vector(arena, model, ids), vector(arena, model, otherIds));
      double without = cosine(vector(arena, blind, ids), vector(arena, blind, otherIds));
      // end
      System.out.printf("\"%s\" and \"%s\": %.4f, without %.7f%n", text, other, with, without);
      assertTrue(with < 0.998, "cosine " + with);
      assertEquals(1, without, 1e-6);
    }
  }

  @Test
  void sameAsTheEncoderOfTheEmbedder() throws IOException {
    int[] ids = EmbeddingModelSpec.MINILM.loadTokenizer().encode("One code, two callers.").ids();
    try (GatunRuntime runtime = GatunRuntime.create();
        Arena arena = Arena.ofShared()) {
      BertWeights weights = BertWeights.from(EmbeddingModelSpec.MINILM.openModel(arena), arena);
      Tensor want = Tensor.allocate(arena, DType.FLOAT32, ids.length, 384);
      Bert.of("fused", runtime, weights, arena)
          .forward(Tensor.copyOf(arena, ids, ids.length), want);
      TextEncoder model = Bert.of(runtime, weights.weights(), 6, 12);
      Tensor hidden = Tensor.allocate(arena, DType.FLOAT32, 1, ids.length, 384);
      model.forward(Tensor.copyOf(arena, ids, 1, ids.length), hidden);
      float[] a = want.toFloatArray();
      float[] b = hidden.toFloatArray();
      for (int i = 0; i < a.length; i++) {
        assertEquals(a[i], b[i], BOUND, "element " + i);
      }
    }
  }
}
