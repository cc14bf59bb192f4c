package dev.gatun.nn;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import dev.gatun.Activation;
import dev.gatun.AttentionSpec;
import dev.gatun.Causal;
import dev.gatun.DType;
import dev.gatun.GatunRuntime;
import dev.gatun.Tensor;
import dev.gatun.Workspace;
import java.lang.foreign.Arena;
import java.util.ArrayList;
import java.util.List;
import java.util.Random;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.Test;

/** Examples of docs/ that need no oracle; {@code DocsTest} compares them with the pages. */
class ExamplesTest {

  private final Arena arena = Arena.ofShared();
  private final Random random = new Random(Layers.SEED);
  private final GatunRuntime runtime = Layers.runtime(2);

  @AfterEach
  void close() {
    arena.close();
  }

  private Tensor matrix(int in, int out) {
    return Layers.weight(arena, random, in, out);
  }

  private Tensor vector(int size) {
    return Layers.normal(arena, random, size);
  }

  @Test
  void encoder() {
    Tensor wq = matrix(64, 64);
    Tensor wk = matrix(64, 64);
    Tensor wv = matrix(64, 64);
    Tensor wo = matrix(64, 64);
    Tensor w1 = matrix(64, 256);
    Tensor w2 = matrix(256, 64);
    Tensor b1 = vector(256);
    Tensor b2 = vector(64);
    Tensor gamma = vector(64);
    Tensor beta = vector(64);
    Tensor x = Layers.normal(arena, random, 2, 10, 64);
    // example: encoder
    MultiHeadAttention attention =
        MultiHeadAttention.builder(runtime, 8)
            .positions(PositionalEncoding.alibi(arena, 8))
            .query(wq, null)
            .key(wk, null)
            .value(wv, null)
            .output(wo, null)
            .build();
    Norm norm = new LayerNorm(runtime, gamma, beta, 1e-5f);
    FeedForward network = new FeedForward(runtime, w1, b1, Activation.RELU, w2, b2);
    TransformerLayer layer = new TransformerLayer(attention, norm, network, norm);
    TransformerEncoder encoder =
        new TransformerEncoder(runtime, List.of(layer, layer), NormOrder.POST, null);
    Tensor out = Tensor.allocate(arena, DType.FLOAT32, 2, 10, 64); // batch, seq, dim
    try (Workspace workspace = runtime.newWorkspace()) {
      encoder.forward(workspace, x, null, out);
    }
    // end
    Tensor again = Tensor.allocate(arena, DType.FLOAT32, 2, 10, 64);
    encoder.forward(null, x, null, again);
    assertArrayEquals(out.toFloatArray(), again.toFloatArray());
  }

  @Test
  void positions() {
    Tensor buckets = Layers.normal(arena, random, 32, 8);
    Tensor trained = Layers.normal(arena, random, 512, 64);
    // example: positions
    List<PositionalEncoding> encodings =
        List.of(
            PositionalEncoding.none(), // to be said, not to be forgotten
            PositionalEncoding.sinusoidal(arena, 512, 64), // added to embeddings
            PositionalEncoding.learned(trained),
            PositionalEncoding.rotary( // turns queries and keys
                Rotary.of(
                    arena,
                    8192, // positions
                    64, // elements of a head
                    500_000, // base
                    Rotary.Pairing.HALVES,
                    new RotaryScaling.Llama3(8, 1, 4, 8192))),
            PositionalEncoding.alibi(arena, 8), // added to scores
            PositionalEncoding.relativePositions(arena, buckets, 128, true));
    // end
    assertEquals("[none, sinusoidal, learned, rotary, alibi, relative]", encodings.toString());
  }

  private DecoderOnlyModel model(int vocabulary) {
    List<TransformerLayer> layers = new ArrayList<>();
    for (int n = 0; n < 2; n++) {
      layers.add(
          new TransformerLayer(
              MultiHeadAttention.builder(runtime, 4)
                  .spec(AttentionSpec.builder().causal(Causal.BOTTOM_RIGHT).build())
                  .positions(PositionalEncoding.alibi(arena, 4))
                  .query(matrix(32, 32), null)
                  .key(matrix(32, 32), null)
                  .value(matrix(32, 32), null)
                  .output(matrix(32, 32), null)
                  .build(),
              new RMSNorm(runtime, vector(32), 1e-6f),
              new FeedForward(runtime, matrix(32, 64), null, Activation.GELU, matrix(64, 32), null),
              new RMSNorm(runtime, vector(32), 1e-6f)));
    }
    Embedding embedding =
        new Embedding(
            runtime, Layers.normal(arena, random, vocabulary, 32), 1, PositionalEncoding.none());
    return new DecoderOnlyModel(
        runtime,
        embedding,
        new TransformerDecoder(
            runtime, layers, NormOrder.PRE, new RMSNorm(runtime, vector(32), 1e-6f)),
        embedding.output());
  }

  @Test
  void decoding() {
    DecoderOnlyModel model = model(100);
    int end = 0;
    List<Integer> printed = new ArrayList<>();
    // example: decoding
    Tensor prompt = Tensor.copyOf(arena, new int[] {5, 17, 3}, 1, 3);
    DecoderState state = model.newState(arena, 1, 64);
    Generator generator = new Generator(model, state, null, arena);
    Sampling sampling = new Sampling(0.8, 40, 0.95, 42); // temperature, top-k, top-p, seed
    generator.generate(
        prompt,
        20, // tokens at most
        sampling,
        token -> {
          printed.add(token); // each token as it comes
          return token != end;
        });
    // end
    state.reset();
    int[] again = generator.generate(prompt, 20, end, sampling);
    assertArrayEquals(printed.stream().mapToInt(token -> token).toArray(), again);
  }

  @Test
  void beams() {
    DecoderOnlyModel model = model(100);
    int end = 0;
    Tensor prompt = Tensor.copyOf(arena, new int[] {5, 17, 3}, 1, 3);
    // example: beams
    DecoderState beams = model.newState(arena, 4, 64); // 4 beams
    BeamSearch search = new BeamSearch(model, beams, null, arena, 0.6); // alpha of the penalty
    List<BeamSearch.Hypothesis> best = search.search(prompt, 20, end);
    // end
    assertEquals(4, best.size());
    assertTrue(best.get(0).score() >= best.get(3).score());
  }
}
