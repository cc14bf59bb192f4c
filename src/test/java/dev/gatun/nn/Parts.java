package dev.gatun.nn;

import dev.gatun.Activation;
import dev.gatun.AttentionSpec;
import dev.gatun.Causal;
import dev.gatun.DType;
import dev.gatun.GatunRuntime;
import dev.gatun.Tensor;
import dev.gatun.support.Problem;
import dev.gatun.support.Reference;
import dev.gatun.support.Run;
import java.lang.foreign.Arena;
import java.util.Arrays;
import java.util.List;
import java.util.Random;
import java.util.function.Consumer;

/** Parts of small models with random weights, and what they compute in double. */
final class Parts {

  /** The bound of MultiHeadAttentionTest, and for the same reasons. */
  private static final double ATTENTION_BOUND = 3e-5;

  final Arena arena;
  final Random random;
  final GatunRuntime runtime = Layers.runtime(2);

  Parts(Arena arena, long seed) {
    this.arena = arena;
    this.random = new Random(seed);
  }

  // ---- parts ---------------------------------------------------------------------------------

  Tensor matrix(int in, int out) {
    return Layers.weight(arena, random, in, out);
  }

  Tensor normal(long... shape) {
    return Layers.normal(arena, random, shape);
  }

  Tensor zeros(long... shape) {
    return Tensor.allocate(arena, DType.FLOAT32, shape);
  }

  /** {@code [1, seq]}. */
  Tensor ids(int... tokens) {
    return Tensor.copyOf(arena, tokens, 1, tokens.length);
  }

  MultiHeadAttention.Builder attention(Causal causal, int dim, int memoryDim, int out) {
    return MultiHeadAttention.builder(runtime, 2)
        .spec(AttentionSpec.builder().causal(causal).build())
        .query(matrix(dim, dim), normal(dim))
        .key(matrix(memoryDim, dim), normal(dim))
        .value(matrix(memoryDim, dim), normal(dim))
        .output(matrix(dim, out), normal(out));
  }

  /** Heads side by side in rows of dim, some of them sharing keys and values. */
  MultiHeadAttention attention(
      Causal causal, int dim, int heads, int kvHeads, PositionalEncoding positions) {
    int kv = dim / heads * kvHeads;
    return MultiHeadAttention.builder(runtime, heads)
        .kvHeads(kvHeads)
        .spec(AttentionSpec.builder().causal(causal).build())
        .positions(positions)
        .query(matrix(dim, dim), normal(dim))
        .key(matrix(dim, kv), normal(kv))
        .value(matrix(dim, kv), normal(kv))
        .output(matrix(dim, dim), normal(dim))
        .build();
  }

  MultiHeadAttention attention(Causal causal, int dim) {
    return attention(causal, dim, dim, dim).build();
  }

  MultiHeadAttention fused(Causal causal, int dim) {
    return MultiHeadAttention.builder(runtime, 2)
        .spec(AttentionSpec.builder().causal(causal).build())
        .fused(matrix(dim, 3 * dim), null)
        .output(matrix(dim, dim), null)
        .build();
  }

  LayerNorm norm(int dim) {
    return new LayerNorm(runtime, normal(dim), normal(dim), 1e-5f);
  }

  Norm norm(int dim, boolean rms) {
    Tensor gamma = normal(dim);
    return rms
        ? new RMSNorm(runtime, gamma, 1e-5f)
        : new LayerNorm(runtime, gamma, normal(dim), 1e-5f);
  }

  /** ReLU as in the paper, or SwiGLU. */
  FeedForward feedForward(int dim, boolean gated) {
    return new FeedForward(
        runtime,
        matrix(dim, 40),
        normal(40),
        gated ? Activation.SILU : Activation.RELU,
        gated ? matrix(dim, 40) : null,
        gated ? normal(40) : null,
        matrix(40, dim),
        normal(dim));
  }

  FeedForward feedForward(int in, int out) {
    return new FeedForward(
        runtime, matrix(in, 20), normal(20), Activation.GELU, matrix(20, out), normal(out));
  }

  TransformerLayer layer(Causal causal, int dim, boolean crosses) {
    return new TransformerLayer(
        attention(causal, dim),
        norm(dim),
        crosses ? attention(Causal.NONE, dim) : null,
        crosses ? norm(dim) : null,
        feedForward(dim, dim),
        norm(dim));
  }

  TransformerDecoder decoder(int dim, boolean crosses) {
    return new TransformerDecoder(
        runtime,
        List.of(layer(Causal.BOTTOM_RIGHT, dim, crosses), layer(Causal.BOTTOM_RIGHT, dim, crosses)),
        NormOrder.PRE,
        norm(dim));
  }

  TransformerEncoder encoder(int dim) {
    return new TransformerEncoder(
        runtime, List.of(layer(Causal.NONE, dim, false)), NormOrder.POST, null);
  }

  private Embedding embedding(int vocabulary, int dim) {
    return new Embedding(
        runtime, normal(vocabulary, dim), 1, PositionalEncoding.sinusoidal(arena, 32, dim));
  }

  DecoderOnlyModel model(int vocabulary) {
    return new DecoderOnlyModel(
        runtime,
        embedding(vocabulary, 16),
        decoder(16, false),
        new Linear(runtime, matrix(16, vocabulary), null, Activation.NONE));
  }

  Transformer translator(int vocabulary) {
    return new Transformer(
        runtime,
        embedding(vocabulary, 16),
        encoder(16),
        embedding(vocabulary, 16),
        decoder(16, true),
        new Linear(runtime, matrix(16, vocabulary), null, Activation.NONE));
  }

  // ---- in double -----------------------------------------------------------------------------

  /**
   * The natural logarithms of the probabilities of what comes after some tokens, by one pass over
   * all of them.
   *
   * @param memory of a {@link Transformer}, else null
   */
  double[] logarithms(DecoderModel model, Tensor memory, int... tokens) {
    try (Arena own = Arena.ofShared()) {
      DecoderState state = model.newState(own, 1, tokens.length, 8);
      if (memory != null) {
        model.decoder().remember(null, state, memory, null);
      }
      Tensor logits = Tensor.allocate(own, DType.FLOAT32, 1, model.vocabulary());
      model.next(null, state, Tensor.copyOf(own, tokens, 1, tokens.length), null, logits);
      double[] scores = Layers.doubles(logits);
      double most = Arrays.stream(scores).max().orElseThrow();
      double sum = Arrays.stream(scores).map(score -> Math.exp(score - most)).sum();
      return Arrays.stream(scores).map(score -> score - most - Math.log(sum)).toArray();
    }
  }

  /** Layer normalization of each row, in place; beta may be null. */
  static void normalize(double[] rows, Tensor gamma, Tensor beta, double epsilon) {
    int dim = (int) gamma.size(0);
    for (int from = 0; from < rows.length; from += dim) {
      double mean = Arrays.stream(rows, from, from + dim).average().orElseThrow();
      double variance =
          Arrays.stream(rows, from, from + dim)
              .map(value -> (value - mean) * (value - mean))
              .average()
              .orElseThrow();
      for (int i = 0; i < dim; i++) {
        rows[from + i] =
            (rows[from + i] - mean) / Math.sqrt(variance + epsilon) * gamma.getFloat(i)
                + (beta == null ? 0 : beta.getFloat(i));
      }
    }
  }

  /**
   * Attention with an encoding against the reference.
   *
   * @param p its sizes, mask, lengths and biases; queries, keys and values come from projections
   * @param self whether memory is x itself
   * @param change what the encoding does to queries and keys
   */
  void checkAttention(
      PositionalEncoding encoding, Problem p, boolean self, Consumer<Problem> change) {
    checkAttention(AttentionSpec.builder().causal(p.causal).build(), encoding, p, self, change);
  }

  /** The same of a specification. */
  void checkAttention(
      AttentionSpec spec,
      PositionalEncoding encoding,
      Problem p,
      boolean self,
      Consumer<Problem> change) {
    int dim = 12;
    Tensor x = normal(p.batch, p.seqQ, dim);
    Tensor memory = self ? x : normal(p.batch, p.seqK, dim);
    Tensor wq = matrix(dim, p.heads * p.headDim);
    Tensor wk = matrix(dim, p.kvHeads * p.headDim);
    Tensor wv = matrix(dim, p.kvHeads * p.headDimV);
    Tensor wo = matrix(p.heads * p.headDimV, dim);
    Tensor out = zeros(p.batch, p.seqQ, dim);
    MultiHeadAttention.builder(runtime, p.heads)
        .kvHeads(p.kvHeads)
        .spec(spec)
        .positions(encoding)
        .query(wq, null)
        .key(wk, null)
        .value(wv, null)
        .output(wo, null)
        .build()
        .forward(
            null,
            x,
            Padded.by(Run.lengths(arena, p.queryLengths)),
            memory,
            Padded.by(Run.lengths(arena, p.keyLengths)),
            out);
    fill(p.q, Layers.product(Layers.doubles(x), wq, null));
    fill(p.k, Layers.product(Layers.doubles(memory), wk, null));
    fill(p.v, Layers.product(Layers.doubles(memory), wv, null));
    change.accept(p);
    double[] want = Layers.product(new Reference(p).out, wo, null);
    Layers.checkClose(want, out.toFloatArray(), ATTENTION_BOUND);
  }

  private static void fill(float[] to, double[] from) {
    for (int i = 0; i < to.length; i++) {
      to[i] = (float) from[i];
    }
  }
}
