package dev.gatun.nn;

import static dev.gatun.nn.Layers.SEED;
import static dev.gatun.nn.Layers.refused;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertSame;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.DynamicTest.dynamicTest;

import ai.onnxruntime.OnnxTensor;
import ai.onnxruntime.OrtEnvironment;
import ai.onnxruntime.OrtException;
import ai.onnxruntime.OrtSession;
import dev.gatun.Activation;
import dev.gatun.AttentionSpec;
import dev.gatun.Causal;
import dev.gatun.DType;
import dev.gatun.GatunRuntime;
import dev.gatun.Tensor;
import dev.gatun.Workspace;
import dev.gatun.support.OnnxModel;
import dev.gatun.support.Placement;
import dev.gatun.support.Problem;
import dev.gatun.support.Run;
import java.lang.foreign.Arena;
import java.nio.FloatBuffer;
import java.util.Arrays;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.Random;
import java.util.concurrent.atomic.AtomicReference;
import java.util.stream.IntStream;
import java.util.stream.Stream;
import org.junit.jupiter.api.DynamicTest;
import org.junit.jupiter.api.Tag;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.TestFactory;
import org.junit.jupiter.api.function.Executable;

class MultiHeadAttentionTest {

  /**
   * Projections of values of about 1 are within 5e-6 (LinearTest has the bound of one), softmax
   * turns that into as much of a weighted mean, and the output's projection adds its own. A wrong
   * head, key or bias is off by 0.1 and more.
   */
  private static final double BOUND = 3e-5;

  @Test
  void biasesOfASpecification() {
    try (Arena arena = Arena.ofShared()) {
      Parts parts = new Parts(arena, SEED);
      Random random = new Random(SEED);
      for (Causal causal : Causal.values()) {
        Problem self = new Problem(2, 4, 2, 9, 9, 6, 5).causal(causal);
        self.slopes(random).relative(random, 4);
        parts.checkAttention(self.spec(arena), PositionalEncoding.none(), self, true, same -> {});
        Problem cross = new Problem(2, 4, 2, 7, 12, 6, 5).causal(causal);
        cross.relative(random, 6).keyLengths(12, 5).queryLengths(7, 3);
        parts.checkAttention(
            cross.spec(arena), PositionalEncoding.none(), cross, false, same -> {});
      }
    }
  }

  /** Window, softcap and sinks of a specification stay where positions add their biases to it. */
  @Test
  void windowSoftcapAndSinksOfASpecification() {
    try (Arena arena = Arena.ofShared()) {
      Parts parts = new Parts(arena, SEED);
      for (Causal causal : Causal.values()) {
        Problem self = new Problem(2, 4, 2, 9, 9, 6, 5).causal(causal);
        self.windowLeft = 3;
        self.windowRight = 2;
        self.globalTokens = 1;
        self.softcap = 0.75f;
        self.sinks = new float[] {1, -1, 0.5f, 2};
        AttentionSpec spec = self.spec(arena);
        parts.checkAttention(spec, PositionalEncoding.none(), self, true, same -> {});
        PositionalEncoding alibi = PositionalEncoding.alibi(arena, 4);
        self.slopes = alibi.slopes().toFloatArray();
        parts.checkAttention(spec, alibi, self, true, same -> {});
        Problem cross = new Problem(2, 4, 2, 7, 12, 6, 5).causal(causal);
        cross.windowLeft = 4;
        cross.sinks = self.sinks;
        cross.keyLengths(12, 5).queryLengths(7, 3);
        parts.checkAttention(
            cross.spec(arena), PositionalEncoding.none(), cross, false, same -> {});
      }
    }
  }

  /** Token by token over a cache, positions are those of one pass over all tokens. */
  @Test
  void windowOverACache() {
    try (Arena arena = Arena.ofShared()) {
      Parts parts = new Parts(arena, SEED);
      AttentionSpec spec =
          AttentionSpec.builder()
              .causal(Causal.BOTTOM_RIGHT)
              .window(2, -1)
              .globalTokens(1)
              .softcap(0.5f)
              .sinks(parts.normal(2))
              .build();
      TransformerLayer layer =
          new TransformerLayer(
              parts.attention(Causal.BOTTOM_RIGHT, 16, 16, 16).spec(spec).build(),
              parts.norm(16),
              parts.feedForward(16, 16),
              parts.norm(16));
      DecoderOnlyModel model =
          new DecoderOnlyModel(
              parts.runtime,
              new Embedding(parts.runtime, parts.normal(20, 16), 1, PositionalEncoding.none()),
              new TransformerDecoder(parts.runtime, List.of(layer), NormOrder.PRE, parts.norm(16)),
              new Linear(parts.runtime, parts.matrix(16, 20), null, Activation.NONE));
      int[] tokens = {3, 1, 4, 1, 5, 9, 2, 6, 5, 3};
      DecoderState once = model.newState(arena, 1, tokens.length, tokens.length);
      Tensor want = parts.zeros(1, 20);
      model.next(null, once, Tensor.copyOf(arena, tokens, 1, tokens.length), null, want);
      DecoderState steps = model.newState(arena, 1, tokens.length, 1);
      Tensor got = parts.zeros(1, 20);
      for (int token : tokens) {
        model.next(null, steps, Tensor.copyOf(arena, new int[] {token}, 1, 1), null, got);
      }
      Layers.checkClose(Layers.doubles(want), got.toFloatArray(), BOUND);
    }
  }

  @Test
  void sinksThatAreRefused() {
    try (Arena arena = Arena.ofConfined()) {
      Tensor weight = Tensor.allocate(arena, DType.FLOAT32, 6, 6);
      Tensor sinks = Tensor.allocate(arena, DType.FLOAT32, 6);
      MultiHeadAttention.Builder builder =
          MultiHeadAttention.builder(Layers.runtime(1), 2)
              .query(weight, null)
              .key(weight, null)
              .value(weight, null)
              .output(weight, null)
              .spec(AttentionSpec.builder().sinks(sinks).build());
      refused("spec: expected sinks of 2 heads, got 6", builder::build);
      MultiHeadAttention layer =
          builder.spec(AttentionSpec.builder().sinks(sinks.slice(0, 0, 2)).build()).build();
      refused(
          "out: expected memory of its own, got memory shared with spec",
          () -> layer.forward(Tensor.allocate(arena, DType.FLOAT32, 1, 6), sinks.reshape(1, 6)));
    }
  }

  /** One of two things that add to scores would otherwise be left out. */
  @Test
  void biasesThatAreRefused() {
    try (Arena arena = Arena.ofConfined()) {
      Tensor weight = Tensor.allocate(arena, DType.FLOAT32, 8, 8);
      MultiHeadAttention.Builder builder =
          MultiHeadAttention.builder(Layers.runtime(1), 2)
              .query(weight, null)
              .key(weight, null)
              .value(weight, null)
              .output(weight, null);
      Tensor buckets = Tensor.allocate(arena, DType.FLOAT32, 8, 2);
      for (int heads : new int[] {2, 3}) {
        Tensor slab = Tensor.allocate(arena, DType.FLOAT32, 16);
        Tensor slopes = slab.slice(0, 0, heads);
        Tensor table = slab.slice(0, 0, heads * 3).reshape(heads, 3);
        for (AttentionSpec spec :
            List.of(
                AttentionSpec.builder().alibiSlopes(slopes).build(),
                AttentionSpec.builder().relativePositions(table).build())) {
          builder.spec(spec).positions(PositionalEncoding.none());
          if (heads == 2) {
            MultiHeadAttention layer = builder.build();
            Tensor out = slab.slice(0, 0, 8).reshape(1, 8);
            refused(
                "out: expected memory of its own, got memory shared with spec",
                () -> layer.forward(Tensor.allocate(arena, DType.FLOAT32, 1, 8), out));
            for (PositionalEncoding positions :
                List.of(
                    PositionalEncoding.alibi(arena, 2),
                    PositionalEncoding.relativePositions(arena, buckets, 20, false))) {
              refused(
                  "spec: expected one without biases, as positions are " + positions + ", got",
                  builder.positions(positions)::build);
            }
          } else {
            refused("spec: expected biases of 2 heads, got 3", builder::build);
          }
        }
      }
    }
  }

  /** What a layer is made of. */
  private static final class Config {
    int dim = 24;
    int memoryDim = 24;
    int outDim = 24;
    int heads = 3;
    int kvHeads = 3;
    int headDim = 8;
    int headDimV = 8;
    boolean biased = true;
    boolean pytorch;
    boolean fused;
    Causal causal = Causal.NONE;
    float scale = Float.NaN;

    AttentionSpec spec() {
      AttentionSpec.Builder builder = AttentionSpec.builder().causal(causal);
      return Float.isNaN(scale) ? builder.build() : builder.scale(scale).build();
    }

    @Override
    public String toString() {
      return "dims %d %d %d, heads %d/%d of %d/%d%s%s%s %s%s"
          .formatted(
              dim,
              memoryDim,
              outDim,
              heads,
              kvHeads,
              headDim,
              headDimV,
              biased ? ", biased" : "",
              pytorch ? ", transposed" : "",
              fused ? ", fused" : "",
              causal,
              Float.isNaN(scale) ? "" : ", scale " + scale);
    }
  }

  private static final class Weights {
    final Config c;
    final Tensor[] weight = new Tensor[4];
    final Tensor[] bias = new Tensor[4];
    Tensor fusedWeight;
    Tensor fusedBias;

    Weights(Arena arena, Random random, Config c) {
      this.c = c;
      int[] in = {c.dim, c.memoryDim, c.memoryDim, c.heads * c.headDimV};
      int[] out = {c.heads * c.headDim, c.kvHeads * c.headDim, c.kvHeads * c.headDimV, c.outDim};
      if (c.fused) {
        int all = out[0] + out[1] + out[2];
        fusedWeight = Layers.weight(arena, random, c.dim, all, c.pytorch, 0);
        fusedBias = c.biased ? Layers.normal(arena, random, all) : null;
      }
      int from = 0;
      for (int n = 0; n < 4; n++) {
        int to = from + out[n];
        if (c.fused && n < 3) {
          weight[n] = fusedWeight.slice(1, from, to);
          bias[n] = c.biased ? fusedBias.slice(0, from, to) : null;
        } else {
          weight[n] = Layers.weight(arena, random, in[n], out[n], c.pytorch, 0);
          bias[n] = c.biased ? Layers.normal(arena, random, out[n]) : null;
        }
        from = to;
      }
    }

    MultiHeadAttention layer(GatunRuntime runtime) {
      return c.fused ? fused(runtime) : separate(runtime);
    }

    MultiHeadAttention fused(GatunRuntime runtime) {
      return MultiHeadAttention.builder(runtime, c.heads)
          .kvHeads(c.kvHeads)
          .spec(c.spec())
          .fused(fusedWeight, fusedBias)
          .output(weight[3], bias[3])
          .build();
    }

    MultiHeadAttention separate(GatunRuntime runtime) {
      return MultiHeadAttention.builder(runtime, c.heads)
          .kvHeads(c.kvHeads)
          .spec(c.spec())
          .query(weight[0], bias[0])
          .key(weight[1], bias[1])
          .value(weight[2], bias[2])
          .output(weight[3], bias[3])
          .build();
    }

    double[] expected(Tensor x, Tensor memory, int[] keyLengths, int[] queryLengths) {
      Layers.Sizes sizes =
          new Layers.Sizes(
              (int) x.size(0),
              (int) x.size(1),
              (int) memory.size(1),
              c.heads,
              c.kvHeads,
              c.headDim,
              c.headDimV);
      double[] q = Layers.product(Layers.doubles(x), weight[0], bias[0]);
      double[] k = Layers.product(Layers.doubles(memory), weight[1], bias[1]);
      double[] v = Layers.product(Layers.doubles(memory), weight[2], bias[2]);
      double scale = Float.isNaN(c.scale) ? 1 / Math.sqrt(c.headDim) : c.scale;
      double[] context =
          Layers.attention(sizes, q, k, v, c.causal, scale, keyLengths, queryLengths);
      double[] out = Layers.product(context, weight[3], bias[3]);
      for (int b = 0; queryLengths != null && b < queryLengths.length; b++) {
        int padding = (b * sizes.seqQ() + queryLengths[b]) * c.outDim;
        Arrays.fill(out, padding, (b + 1) * sizes.seqQ() * c.outDim, 0);
      }
      return out;
    }
  }

  @TestFactory
  Stream<DynamicTest> againstDoubles() {
    return IntStream.range(0, 80)
        .mapToObj(
            n -> {
              Random random = new Random(SEED + n);
              Config c = new Config();
              boolean cross = n % 4 == 1;
              c.fused = n % 4 == 2;
              c.kvHeads = 1 + random.nextInt(3);
              c.heads = c.kvHeads * (1 + random.nextInt(3));
              c.headDim = 1 + random.nextInt(20);
              c.headDimV = c.fused ? c.headDim : 1 + random.nextInt(20);
              c.dim = 1 + random.nextInt(60);
              c.memoryDim = cross ? 1 + random.nextInt(60) : c.dim;
              c.outDim = 1 + random.nextInt(60);
              c.biased = random.nextInt(3) > 0;
              c.pytorch = random.nextBoolean();
              c.causal = Causal.values()[n % 3];
              c.scale = n % 5 == 0 ? 0.4f : Float.NaN;
              int batch = 1 + random.nextInt(3);
              int seqQ = 1 + random.nextInt(40);
              int seqK = cross ? 1 + random.nextInt(80) : seqQ;
              int[] keyLengths = n % 8 > 4 ? random.ints(batch, 0, seqK + 1).toArray() : null;
              int[] queryLengths = n % 8 > 5 ? random.ints(batch, 0, seqQ + 1).toArray() : null;
              return dynamicTest(
                  "%s, batch %d, %d x %d, lengths %s %s (seed %d)"
                      .formatted(
                          c,
                          batch,
                          seqQ,
                          seqK,
                          Arrays.toString(keyLengths),
                          Arrays.toString(queryLengths),
                          SEED + n),
                  () -> {
                    try (Arena arena = Arena.ofConfined()) {
                      Weights weights = new Weights(arena, random, c);
                      Tensor x = Layers.normal(arena, random, batch, seqQ, c.dim);
                      Tensor memory =
                          cross ? Layers.normal(arena, random, batch, seqK, c.memoryDim) : x;
                      Placement.Placed out = Placement.BSHD.empty(arena, batch, seqQ, 1, c.outDim);
                      weights
                          .layer(Layers.runtime(2))
                          .forward(
                              null,
                              x,
                              Padded.by(Run.lengths(arena, queryLengths)),
                              memory,
                              Padded.by(Run.lengths(arena, keyLengths)),
                              Layers.sequences(out));
                      Layers.checkClose(
                          weights.expected(x, memory, keyLengths, queryLengths),
                          out.tensor().toFloatArray(),
                          BOUND);
                      out.checkSurroundings();
                    }
                  });
            });
  }

  /** Fused weights, the same ones as three views of them, and as three copies. */
  @Test
  void fusedAndSeparateWeights() {
    GatunRuntime runtime = Layers.runtime(2);
    for (boolean pytorch : new boolean[] {false, true}) {
      try (Arena arena = Arena.ofConfined()) {
        Random random = new Random(SEED);
        Config c = new Config();
        c.fused = true;
        c.pytorch = pytorch;
        c.heads = 6;
        c.kvHeads = 2;
        Weights weights = new Weights(arena, random, c);
        Tensor x = Layers.normal(arena, random, 2, 33, c.dim);
        Tensor fused = Tensor.allocate(arena, DType.FLOAT32, 2, 33, c.outDim);
        Tensor separate = Tensor.allocate(arena, DType.FLOAT32, 2, 33, c.outDim);
        weights.fused(runtime).forward(x, fused);
        weights.separate(runtime).forward(x, separate);
        Layers.checkClose(Layers.doubles(fused), separate.toFloatArray(), BOUND);
        // Memory that is a copy of x, and not x itself.
        Tensor copy = Tensor.copyOf(arena, x.toFloatArray(), x.shape());
        Tensor cross = Tensor.allocate(arena, DType.FLOAT32, 2, 33, c.outDim);
        weights.separate(runtime).forward(null, x, null, copy, null, cross);
        Run.checkSameBits(separate.toFloatArray(), cross.toFloatArray(), "a copy as memory");
      }
    }
  }

  @Test
  void outMayBeX() {
    GatunRuntime runtime = Layers.runtime(2);
    Random random = new Random(SEED);
    try (Arena arena = Arena.ofConfined();
        Workspace workspace = runtime.newWorkspace()) {
      Config c = new Config();
      MultiHeadAttention layer = new Weights(arena, random, c).layer(runtime);
      Tensor x = Layers.normal(arena, random, 2, 19, c.dim);
      Tensor out = Tensor.allocate(arena, DType.FLOAT32, 2, 19, c.dim);
      layer.forward(workspace, x, null, out);
      layer.forward(x, x);
      Run.checkSameBits(out.toFloatArray(), x.toFloatArray(), "out and x");
    }
  }

  /** Padding, whatever it holds, changes no bit of the rest. Its rows of out become 0. */
  @Test
  void paddingDoesNotLeak() {
    GatunRuntime runtime = Layers.runtime(2);
    for (boolean fused : new boolean[] {false, true}) {
      try (Arena arena = Arena.ofConfined()) {
        Random random = new Random(SEED);
        Config c = new Config();
        c.fused = fused;
        Weights weights = new Weights(arena, random, c);
        MultiHeadAttention layer = weights.layer(runtime);
        int[] lengths = {5, 0, 9};
        Tensor lens = Run.lengths(arena, lengths);
        Tensor x = Layers.normal(arena, random, 3, 9, c.dim);
        Tensor out = Tensor.allocate(arena, DType.FLOAT32, 3, 9, c.outDim);
        out.fill(7);
        layer.forward(null, x, Padded.by(lens), x, Padded.by(lens), out);
        float[] plain = out.toFloatArray();
        for (int b = 0; b < 3; b++) {
          for (int i = lengths[b]; i < 9; i++) {
            x.select(0, b).select(0, i).fill(i % 2 == 0 ? Float.NaN : Float.POSITIVE_INFINITY);
            for (int d = 0; d < c.outDim; d++) {
              assertEquals(0f, out.getFloat(b, i, d));
            }
          }
        }
        layer.forward(null, x, Padded.by(lens), x, Padded.by(lens), out);
        Run.checkSameBits(plain, out.toFloatArray(), "with NaN in the padding");
        // A sequence alone has the same bits as in a padded batch.
        Tensor alone = Tensor.copyOf(arena, x.select(0, 0).slice(0, 0, 5).toFloatArray(), 1, 5, 24);
        Tensor aloneOut = Tensor.allocate(arena, DType.FLOAT32, 1, 5, c.outDim);
        layer.forward(alone, aloneOut);
        Layers.checkClose(
            Layers.doubles(out.select(0, 0).slice(0, 0, 5)), aloneOut.toFloatArray(), BOUND);
      }
    }
  }

  @Test
  void nothingToAttendTo() {
    GatunRuntime runtime = Layers.runtime(2);
    Random random = new Random(SEED);
    try (Arena arena = Arena.ofConfined()) {
      Config c = new Config();
      Weights weights = new Weights(arena, random, c);
      MultiHeadAttention layer = weights.layer(runtime);
      Tensor x = Layers.normal(arena, random, 2, 3, c.dim);
      Tensor out = Tensor.allocate(arena, DType.FLOAT32, 2, 3, c.outDim);
      Tensor none = Tensor.allocate(arena, DType.FLOAT32, 2, 0, c.memoryDim);
      layer.forward(null, x, null, none, null, out);
      for (int d = 0; d < c.outDim; d++) {
        assertEquals(weights.bias[3].getFloat(d), out.getFloat(1, 2, d));
      }
      layer.forward(none, Tensor.allocate(arena, DType.FLOAT32, 2, 0, c.outDim));
      layer.forward(
          Tensor.allocate(arena, DType.FLOAT32, 0, 4, c.dim),
          Tensor.allocate(arena, DType.FLOAT32, 0, 4, c.outDim));
    }
  }

  @Test
  void bitsDoNotDependOnThreads() {
    Random random = new Random(SEED);
    for (boolean fused : new boolean[] {false, true}) {
      try (Arena arena = Arena.ofConfined()) {
        Config c = new Config();
        c.fused = fused;
        c.dim = c.memoryDim = c.outDim = 96;
        c.heads = c.kvHeads = 6;
        c.headDim = c.headDimV = 16;
        c.causal = fused ? Causal.BOTTOM_RIGHT : Causal.NONE;
        Weights weights = new Weights(arena, random, c);
        Tensor x = Layers.normal(arena, random, 2, 140, 96);
        Tensor lens = Run.lengths(arena, new int[] {140, 77});
        Tensor out = Tensor.allocate(arena, DType.FLOAT32, 2, 140, 96);
        Layers.checkBits(
            runtime -> {
              try (Workspace workspace = runtime.newWorkspace()) {
                weights
                    .layer(runtime)
                    .forward(workspace, x, Padded.by(lens), x, Padded.by(lens), out);
              }
            },
            out);
        float[] own = out.toFloatArray();
        Layers.checkBits(
            runtime ->
                weights.layer(runtime).forward(null, x, Padded.by(lens), x, Padded.by(lens), out),
            out);
        Run.checkSameBits(own, out.toFloatArray(), "a workspace of its own, and one lent");
      }
    }
  }

  /** One workspace for layers and shapes that alternate: what one leaves behind is none's input. */
  @Test
  void oneWorkspaceForMany() {
    GatunRuntime runtime = Layers.runtime(2);
    try (Arena arena = Arena.ofConfined();
        Workspace workspace = runtime.newWorkspace()) {
      for (int n = 0; n < 30; n++) {
        Random random = new Random(SEED + n % 7);
        Config c = new Config();
        c.fused = n % 2 == 0;
        c.kvHeads = 1 + n % 3;
        c.heads = c.kvHeads * (1 + n % 2);
        c.headDim = c.headDimV = 4 + n % 5;
        Weights weights = new Weights(arena, random, c);
        int seq = 1 + n * 13 % 50;
        Tensor x = Layers.normal(arena, random, 1 + n % 2, seq, c.dim);
        Tensor out = Tensor.allocate(arena, DType.FLOAT32, 1 + n % 2, seq, c.outDim);
        weights.layer(runtime).forward(workspace, x, null, out);
        Layers.checkClose(weights.expected(x, x, null, null), out.toFloatArray(), BOUND);
      }
    }
  }

  @Test
  void manyThreadsShareALayer() throws InterruptedException {
    GatunRuntime runtime = Layers.runtime(2);
    Random random = new Random(SEED);
    try (Arena arena = Arena.ofShared()) {
      Config c = new Config();
      c.fused = true;
      MultiHeadAttention layer = new Weights(arena, random, c).layer(runtime);
      Tensor x = Layers.normal(arena, random, 1, 21, c.dim);
      Tensor out = Tensor.allocate(arena, DType.FLOAT32, 1, 21, c.outDim);
      layer.forward(x, out);
      float[] want = out.toFloatArray();
      AtomicReference<Throwable> failure = new AtomicReference<>();
      Thread[] threads = new Thread[8];
      for (int t = 0; t < threads.length; t++) {
        Tensor own = Tensor.allocate(arena, DType.FLOAT32, 1, 21, c.outDim);
        threads[t] =
            new Thread(
                () -> {
                  try {
                    for (int n = 0; n < 100; n++) {
                      own.fill(Float.NaN);
                      layer.forward(x, own);
                      Run.checkSameBits(want, own.toFloatArray(), "call " + n);
                    }
                  } catch (Throwable e) {
                    failure.set(e);
                  }
                });
        threads[t].start();
      }
      for (Thread thread : threads) {
        thread.join();
      }
      assertSame(null, failure.get());
    }
  }

  // ---- ONNX Runtime --------------------------------------------------------------------------

  /**
   * The attention between the projections, which W_O = 1 lets out as it is: our projected rows
   * through com.microsoft.MultiHeadAttention. Both differ from the exact result by less than 1e-5.
   */
  @Test
  void likeOnnxRuntime() throws OrtException {
    GatunRuntime runtime = Layers.runtime(2);
    for (int n = 0; n < 6; n++) {
      Random random = new Random(SEED + n);
      try (Arena arena = Arena.ofConfined()) {
        Config c = new Config();
        c.heads = c.kvHeads = 2 + n;
        c.headDim = c.headDimV = 8 * (1 + n % 3);
        c.outDim = c.heads * c.headDimV;
        c.causal = n % 3 == 2 ? Causal.BOTTOM_RIGHT : Causal.NONE;
        int batch = 2;
        int seqQ = 17 + n;
        int seqK = n % 3 == 2 ? seqQ : 40;
        Weights weights = new Weights(arena, random, c);
        weights.weight[3].fill(0);
        for (int i = 0; i < c.outDim; i++) {
          weights.weight[3].setFloat(1, i, i);
        }
        weights.bias[3].fill(0);
        Tensor x = Layers.normal(arena, random, batch, seqQ, c.dim);
        Tensor memory = n % 3 == 2 ? x : Layers.normal(arena, random, batch, seqK, c.memoryDim);
        int[] keyLengths = n % 3 == 1 ? new int[] {seqK, 11} : null;
        Tensor out = Tensor.allocate(arena, DType.FLOAT32, batch, seqQ, c.outDim);
        weights
            .layer(runtime)
            .forward(null, x, null, memory, Padded.by(Run.lengths(arena, keyLengths)), out);
        OnnxModel model =
            new OnnxModel("com.microsoft", 1, "MultiHeadAttention", "out")
                .attribute("num_heads", c.heads);
        Map<String, Object> inputs = new HashMap<>();
        String[] names = {"q", "k", "v"};
        for (int t = 0; t < 3; t++) {
          Tensor from = t == 0 ? x : memory;
          Tensor rows =
              Tensor.allocate(arena, DType.FLOAT32, batch, from.size(1), weights.weight[t].size(1));
          new Linear(runtime, weights.weight[t], weights.bias[t], Activation.NONE)
              .forward(from, rows);
          model.input(names[t], OnnxModel.FLOAT, rows.shape());
          inputs.put(names[t], rows);
        }
        if (keyLengths != null) {
          int[][] mask = new int[batch][seqK];
          for (int b = 0; b < batch; b++) {
            Arrays.fill(mask[b], 0, keyLengths[b], 1);
          }
          model.input("", OnnxModel.FLOAT).input("mask", OnnxModel.INT32, batch, seqK);
          inputs.put("mask", mask);
        }
        if (c.causal != Causal.NONE) {
          model.attribute("unidirectional", 1);
        }
        double[] theirs = run(model, inputs);
        Layers.checkClose(theirs, out.toFloatArray(), 1e-5);
      }
    }
  }

  private static double[] run(OnnxModel model, Map<String, Object> inputs) throws OrtException {
    OrtEnvironment environment = OrtEnvironment.getEnvironment();
    Map<String, OnnxTensor> tensors = new HashMap<>();
    try (OrtSession.SessionOptions options = new OrtSession.SessionOptions()) {
      options.setIntraOpNumThreads(1);
      try (OrtSession session = environment.createSession(model.bytes(), options)) {
        for (Map.Entry<String, Object> input : inputs.entrySet()) {
          tensors.put(
              input.getKey(),
              input.getValue() instanceof Tensor tensor
                  ? OnnxTensor.createTensor(
                      environment, FloatBuffer.wrap(tensor.toFloatArray()), tensor.shape())
                  : OnnxTensor.createTensor(environment, input.getValue()));
        }
        try (OrtSession.Result result = session.run(tensors)) {
          FloatBuffer buffer = ((OnnxTensor) result.get(0)).getFloatBuffer();
          double[] out = new double[buffer.remaining()];
          for (int i = 0; i < out.length; i++) {
            out[i] = buffer.get(i);
          }
          return out;
        }
      }
    } finally {
      tensors.values().forEach(OnnxTensor::close);
    }
  }

  // ---- refusals ------------------------------------------------------------------------------

  @Test
  void buildersThatAreRefused() {
    GatunRuntime runtime = Layers.runtime(2);
    try (Arena arena = Arena.ofConfined()) {
      Tensor square = Tensor.allocate(arena, DType.FLOAT32, 24, 24);
      Tensor fused = Tensor.allocate(arena, DType.FLOAT32, 24, 72);
      Tensor bias = Tensor.allocate(arena, DType.FLOAT32, 24);
      Tensor narrow = Tensor.allocate(arena, DType.FLOAT32, 24, 16);
      refused("heads:", () -> MultiHeadAttention.builder(runtime, 0));
      refused("heads:", () -> MultiHeadAttention.builder(runtime, -1));
      refused("kvHeads:", () -> MultiHeadAttention.builder(runtime, 3).kvHeads(0));
      assertThrows(NullPointerException.class, () -> MultiHeadAttention.builder(null, 3));
      assertThrows(
          NullPointerException.class, () -> MultiHeadAttention.builder(runtime, 3).spec(null));
      refused(
          "kvHeads: expected a divisor of 3 heads, got 2", () -> whole(runtime).kvHeads(2).build());
      refused("output:", () -> MultiHeadAttention.builder(runtime, 3).fused(fused, null).build());
      refused(
          "fused:",
          () ->
              MultiHeadAttention.builder(runtime, 3)
                  .fused(fused, null)
                  .key(square, bias)
                  .output(square, null)
                  .build());
      refused(
          "query, key, value:",
          () ->
              MultiHeadAttention.builder(runtime, 3)
                  .query(square, null)
                  .value(square, null)
                  .output(square, null)
                  .build());
      refused(
          "query, key, value:",
          () -> MultiHeadAttention.builder(runtime, 3).output(square, null).build());
      refused(
          "fused: expected a multiple of 15 columns, got 72",
          () ->
              MultiHeadAttention.builder(runtime, 5)
                  .fused(fused, null)
                  .output(square, null)
                  .build());
      refused(
          "query: expected a multiple of 3 columns",
          () -> whole(runtime).query(narrow, null).build());
      refused("key:", () -> whole(runtime).key(narrow, null).build());
      refused("value:", () -> whole(runtime).value(narrow, null).build());
      refused(
          "key: expected 24 columns (3 heads of 8), got 12",
          () -> whole(runtime).key(Tensor.allocate(arena, DType.FLOAT32, 24, 12), null).build());
      refused(
          "value: expected 24 rows",
          () -> whole(runtime).value(Tensor.allocate(arena, DType.FLOAT32, 20, 24), null).build());
      refused(
          "output: expected 24 rows (3 heads of 8), got 12",
          () -> whole(runtime).output(Tensor.allocate(arena, DType.FLOAT32, 12, 24), null).build());
      refused(
          "head dimension: expected 1 .. 512",
          () ->
              MultiHeadAttention.builder(runtime, 1)
                  .fused(Tensor.allocate(arena, DType.FLOAT32, 1, 3 * 513), null)
                  .output(Tensor.allocate(arena, DType.FLOAT32, 513, 1), null)
                  .build());
      refused("query: expected [in, out]", () -> whole(runtime).query(bias, null));
      refused("output bias:", () -> whole(runtime).output(square, bias.slice(0, 0, 3)));
    }
  }

  private static final Arena SHARED = Arena.ofAuto();

  /** A builder with every weight, 24 columns each. */
  private static MultiHeadAttention.Builder whole(GatunRuntime runtime) {
    Tensor square = Tensor.allocate(SHARED, DType.FLOAT32, 24, 24);
    return MultiHeadAttention.builder(runtime, 3)
        .query(square, null)
        .key(square, null)
        .value(square, null)
        .output(square, null);
  }

  /** One sequence without a batch, rows with gaps, fused weights: all the same. */
  @Test
  void otherViews() {
    GatunRuntime runtime = Layers.runtime(2);
    try (Arena arena = Arena.ofConfined()) {
      Random random = new Random(SEED);
      Config c = new Config();
      c.memoryDim = 20;
      MultiHeadAttention cross = new Weights(arena, random, c).layer(runtime);
      Tensor x = Layers.normal(arena, random, 1, 10, 24);
      Tensor memory = Layers.normal(arena, random, 1, 14, 20);
      Tensor want = Tensor.allocate(arena, DType.FLOAT32, 1, 10, 24);
      Tensor got = Tensor.allocate(arena, DType.FLOAT32, 10, 24);
      cross.forward(null, x, null, memory, null, want);
      cross.forward(null, x.reshape(10, 24), null, memory.reshape(14, 20), null, got);
      Run.checkSameBits(want.toFloatArray(), got.toFloatArray(), "[tokens, dim]");

      Tensor apart = Layers.normal(arena, random, 2, 5, 30).slice(2, 3, 27);
      Tensor memoryApart = Layers.normal(arena, random, 2, 7, 25).slice(2, 0, 20);
      Tensor two = Tensor.allocate(arena, DType.FLOAT32, 2, 5, 24);
      cross.forward(
          null,
          Tensor.copyOf(arena, apart.toFloatArray(), 2, 5, 24),
          null,
          Tensor.copyOf(arena, memoryApart.toFloatArray(), 2, 7, 20),
          null,
          two);
      Tensor wide = Tensor.allocate(arena, DType.FLOAT32, 2, 5, 40);
      wide.fill(7);
      Tensor between = wide.slice(2, 8, 32);
      cross.forward(null, apart, null, memoryApart, null, between);
      Run.checkSameBits(two.toFloatArray(), between.toFloatArray(), "rows with gaps");
      between.fill(7);
      for (float value : wide.toFloatArray()) {
        assertEquals(7, value, "a gap was written");
      }

      Config fused = new Config();
      fused.fused = true;
      Weights weights = new Weights(arena, random, fused);
      Tensor other = Layers.normal(arena, random, 2, 7, 24);
      Tensor separateOut = Tensor.allocate(arena, DType.FLOAT32, 2, 5, 24);
      weights.separate(runtime).forward(null, apart, null, other, null, separateOut);
      weights.fused(runtime).forward(null, apart, null, other, null, two);
      Run.checkSameBits(separateOut.toFloatArray(), two.toFloatArray(), "fused");
    }
  }

  @Test
  @Tag("asan")
  void argumentsThatAreRefused() {
    GatunRuntime runtime = Layers.runtime(2);
    try (Arena arena = Arena.ofConfined();
        Workspace foreign = Layers.runtime(1).newWorkspace()) {
      Random random = new Random(SEED);
      Config c = new Config();
      c.memoryDim = 20;
      MultiHeadAttention cross = new Weights(arena, random, c).layer(runtime);
      Tensor x = Tensor.allocate(arena, DType.FLOAT32, 2, 5, 24);
      Tensor memory = Tensor.allocate(arena, DType.FLOAT32, 2, 7, 20);
      Placement.Placed placed = Placement.BSHD.empty(arena, 2, 5, 1, 24);
      Tensor out = Layers.sequences(placed);
      Tensor keys = Run.lengths(arena, new int[] {7, 3});
      Tensor rows = Run.lengths(arena, new int[] {5, 0});

      refused(
          "x: expected [batch, seq, 24] or [tokens, 24] float32, got [2, 7, 20]",
          () -> cross.forward(null, memory, null, memory, null, out));
      refused(
          "x: expected [batch, seq, 24] or [tokens, 24] float32, got [2, 5, 24] int32",
          () ->
              cross.forward(
                  null, Tensor.allocate(arena, DType.INT32, 2, 5, 24), null, memory, null, out));
      refused(
          "x: expected [batch, seq, 24] or [tokens, 24] float32, got [1, 2, 5, 24]",
          () -> cross.forward(null, x.reshape(1, 2, 5, 24), null, memory, null, out));
      refused(
          "x: expected [batch, seq, 24] or [tokens, 24] float32, got [24]",
          () -> cross.forward(null, x.select(0, 0).select(0, 0), null, memory, null, out));
      Tensor uneven = Tensor.allocate(arena, DType.FLOAT32, 2, 6, 24).slice(1, 0, 5);
      refused(
          "x: expected evenly spaced rows",
          () -> cross.forward(null, uneven, null, memory, null, out));
      refused(
          "memory: expected [..., 20] float32", () -> cross.forward(null, x, null, x, null, out));
      refused("memory: expected rows of 20", () -> cross.forward(null, x, null, out));
      refused("memory: expected rows of 20", () -> cross.forward(x, out));
      String sequences = "memory: expected 2 sequences as x has, got 1";
      refused(sequences, () -> cross.forward(null, x, null, memory.slice(0, 0, 1), null, out));
      refused(sequences, () -> cross.forward(null, x, null, memory.reshape(14, 20), null, out));
      refused(
          "memory: expected 1 sequences as x has, got 2",
          () -> cross.forward(null, x.reshape(10, 24), null, memory, null, out.reshape(10, 24)));
      refused(
          "memory: expected evenly spaced rows",
          () -> cross.forward(null, x, null, memory.slice(1, 0, 6), null, out));
      refused("out:", () -> cross.forward(null, x, null, memory, null, out.asReadOnly()));
      String shape = "out: expected [2, 5, 24] float32, got ";
      refused(
          shape + "[10, 24]",
          () -> cross.forward(null, x, null, memory, null, out.reshape(10, 24)));
      refused(
          "out: expected [10, 24] float32, got [2, 5, 24]",
          () -> cross.forward(null, x.reshape(10, 24), null, memory, null, out));
      refused(
          shape + "[1, 5, 24]",
          () -> cross.forward(null, x, null, memory, null, out.slice(0, 0, 1)));
      refused(
          "out: expected evenly spaced rows",
          () -> cross.forward(null, x, null, memory, null, uneven));
      refused(
          shape + "[2, 4, 30]",
          () -> cross.forward(null, x, null, memory, null, out.reshape(2, 4, 30)));
      String lengths = "lengths%s: expected [2] int32, contiguous, got %s";
      refused(
          lengths.formatted(" of memory", "[1] int32"),
          () -> cross.forward(null, x, null, memory, Padded.by(keys.slice(0, 0, 1)), out));
      refused(
          lengths.formatted(" of memory", "[2] int64"),
          () ->
              cross.forward(
                  null, x, null, memory, Padded.by(Tensor.allocate(arena, DType.INT64, 2)), out));
      refused(
          lengths.formatted("", "[2, 1] int32"),
          () ->
              cross.forward(null, x, Padded.by(rows.reshape(2, 1)), memory, Padded.by(keys), out));
      refused(
          "x: expected [batch, seq, …] for padded sequences, got [10, 24]",
          () ->
              cross.forward(
                  null, x.reshape(10, 24), Padded.by(rows), memory, null, out.reshape(10, 24)));
      for (int bad : new int[] {-1, 8, Integer.MIN_VALUE, Integer.MAX_VALUE}) {
        Tensor wrong = Run.lengths(arena, new int[] {7, bad});
        refused(
            "lengths[1] of memory: expected 0 .. 7, got " + bad,
            () -> cross.forward(null, x, Padded.by(rows), memory, Padded.by(wrong), out));
        refused(
            "lengths[0]: expected 0 .. 5, got 7",
            () -> cross.forward(null, x, Padded.by(wrong), memory, Padded.by(keys), out));
      }
      refused("workspace:", () -> cross.forward(foreign, x, null, memory, null, out));
      named("x", () -> cross.forward(null, null, null, memory, null, out));
      named("memory", () -> cross.forward(null, x, null, null, null, out));
      named("out", () -> cross.forward(null, x, null, memory, null, null));
      named("sequences", () -> cross.forward(x, null, out));
      placed.checkUntouched();
      cross.forward(null, x, Padded.by(rows), memory, Padded.by(keys), out);
    }
  }

  private static void named(String name, Executable call) {
    assertEquals(name, assertThrows(NullPointerException.class, call).getMessage());
  }
}
