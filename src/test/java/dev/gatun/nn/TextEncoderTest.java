package dev.gatun.nn;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import dev.gatun.Activation;
import dev.gatun.AttentionSpec;
import dev.gatun.Causal;
import dev.gatun.DType;
import dev.gatun.Tensor;
import dev.gatun.WeightFormat;
import java.lang.foreign.Arena;
import java.util.List;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.EnumSource;

/** An encoder whose embeddings have another size than its hidden states. */
class TextEncoderTest {
  private static final int DIM = 12;
  private static final int NARROW = 8;

  private final Arena arena = Arena.ofShared();
  private final Parts parts = new Parts(arena, 3);
  private final Tensor weight = parts.matrix(NARROW, DIM);
  private final Embedding embedding =
      new Embedding(
          parts.runtime,
          parts.normal(20, NARROW),
          1,
          PositionalEncoding.learned(parts.normal(9, NARROW)),
          null,
          parts.norm(NARROW));
  private final TransformerEncoder layers = parts.encoder(DIM);

  @AfterEach
  void close() {
    arena.close();
  }

  private TextEncoder encoder(Linear projection) {
    return new TextEncoder("model", parts.runtime, embedding, projection, layers);
  }

  private Linear linear(Tensor matrix) {
    return new Linear(parts.runtime, matrix, parts.normal(matrix.size(1)), Activation.NONE);
  }

  /** The bits of its parts one after the other, and nothing for no tokens. */
  @ParameterizedTest
  @EnumSource(names = {"VIEW", "FP32"})
  void projects(WeightFormat format) {
    Linear projection = linear(weight).packed(arena, format);
    Tensor ids = parts.ids(3, 0, 19, 7, 7);
    Tensor embedded = parts.zeros(1, 5, NARROW);
    Tensor projected = parts.zeros(1, 5, DIM);
    Tensor want = parts.zeros(1, 5, DIM);
    embedding.forward(ids, embedded);
    projection.forward(embedded, projected);
    layers.forward(projected, want);
    Tensor got = parts.zeros(1, 5, DIM);
    TextEncoder encoder = encoder(projection);
    encoder.forward(ids, got);
    assertArrayEquals(want.toFloatArray(), got.toFloatArray());
    encoder.forward(parts.ids(), parts.zeros(1, 0, DIM));
  }

  @Test
  void partsThatDoNotFit() {
    refused(
        "embedding: expected rows of 12, got 8",
        () -> new TextEncoder("model", parts.runtime, embedding, layers));
    refused(
        "projection: expected rows of 12, got 13", () -> encoder(linear(parts.matrix(NARROW, 13))));
    refused("embedding: expected rows of 9, got 8", () -> encoder(linear(parts.matrix(9, DIM))));
  }

  private MultiHeadAttention.Builder relative(Tensor table, boolean ofKeys) {
    return parts
        .attention(Causal.NONE, DIM, DIM, DIM)
        .positions(PositionalEncoding.relativeKeys(arena, table, ofKeys));
  }

  /** Of two heads of 6 elements. */
  @Test
  void relativeKeysThatDoNotFit() {
    refused("table: expected", () -> relative(parts.normal(8, 6), false));
    refused(
        "positions: expected relative keys of 6 elements (a head), got 5",
        () -> relative(parts.normal(9, 5), false).build());
    Tensor table = parts.normal(9, 6);
    for (AttentionSpec spec :
        new AttentionSpec[] {
          AttentionSpec.builder().scale(1).build(), AttentionSpec.builder().softcap(5).build()
        }) {
      refused(
          "spec: expected neither scale nor softcap",
          () -> relative(table, true).spec(spec).build());
    }
    TransformerLayer layer =
        new TransformerLayer(
            relative(table, true).build(),
            parts.norm(DIM),
            null,
            null,
            parts.feedForward(DIM, false),
            parts.norm(DIM));
    refused(
        "layers[0].selfAttention: expected no relative keys in a decoder, got some",
        () -> new TransformerDecoder(parts.runtime, List.of(layer), NormOrder.POST, null));
    Tensor x = parts.normal(1, 6, DIM);
    refused(
        "x: ",
        () ->
            new TransformerEncoder(parts.runtime, List.of(layer), NormOrder.POST, null)
                .forward(x, x));
  }

  /** A result that lies in a weight. */
  @Test
  void weightsAreNotWritten() {
    TextEncoder encoder = encoder(linear(weight));
    Tensor out = Tensor.of(weight.segment(), DType.FLOAT32, 1, 2, DIM);
    float[] before = weight.toFloatArray();
    refused("hidden: ", () -> encoder.forward(parts.ids(1, 2), out));
    assertArrayEquals(before, weight.toFloatArray());
  }

  private static void refused(String message, Runnable call) {
    String got = assertThrows(IllegalArgumentException.class, call::run).getMessage();
    assertTrue(got.startsWith(message), got);
  }
}
