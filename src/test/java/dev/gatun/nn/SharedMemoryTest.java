package dev.gatun.nn;

import static dev.gatun.nn.Layers.SEED;
import static dev.gatun.nn.Layers.refused;
import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;

import dev.gatun.Activation;
import dev.gatun.Causal;
import dev.gatun.DType;
import dev.gatun.Tensor;
import dev.gatun.internal.SharedMemory;
import java.lang.foreign.Arena;
import java.lang.foreign.ValueLayout;
import java.util.HashSet;
import java.util.List;
import java.util.Random;
import java.util.Set;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.Test;

/**
 * No layer writes over its weights, or over a part of what it reads: it refuses, names both, and
 * leaves everything as it was.
 */
class SharedMemoryTest {

  private static final int DIM = 16;
  private static final int SEQ = 3;

  private final Arena arena = Arena.ofShared();
  private final Parts parts = new Parts(arena, SEED);

  /** Rows of x, of out, and of what else a test wants, in one piece. */
  private final Tensor slab = parts.normal(40, DIM);

  @AfterEach
  void close() {
    arena.close();
  }

  /** {@code [1, 3, 16]} from a row of the slab on, or between rows. */
  private Tensor rows(int element) {
    return slab.reshape(40 * DIM).slice(0, element, element + SEQ * DIM).reshape(1, SEQ, DIM);
  }

  private static void set(Tensor tensor, int index, int value) {
    tensor.segment().setAtIndex(ValueLayout.JAVA_INT, index, value);
  }

  private void nothingWritten(Tensor tensor, Runnable refusal) {
    float[] before = tensor.toFloatArray();
    refusal.run();
    assertArrayEquals(before, tensor.toFloatArray(), "nothing was written");
  }

  private void refusedUnwritten(String start, org.junit.jupiter.api.function.Executable call) {
    nothingWritten(slab, () -> refused(start, call));
  }

  @Test
  void feedForward() {
    Tensor w1 = slab.slice(0, 0, 16);
    Tensor w2 = slab.slice(0, 16, 32).transpose(0, 1);
    Tensor b1 = slab.select(0, 32);
    Tensor b2 = slab.select(0, 33);
    Tensor x = parts.normal(1, SEQ, DIM);
    FeedForward network = new FeedForward(parts.runtime, w1, b1, Activation.RELU, w2, b2);
    FeedForward gated =
        new FeedForward(parts.runtime, parts.matrix(16, 16), null, Activation.SILU, w1, b1, w2, b2);
    String own = "out: expected memory of its own, got memory shared with ";
    refusedUnwritten(own + "w1", () -> network.forward(x, rows(5 * DIM)));
    refusedUnwritten(own + "w2", () -> network.forward(x, rows(20 * DIM + 1)));
    refusedUnwritten(own + "b1", () -> network.forward(x, rows(32 * DIM)));
    refusedUnwritten(own + "b2", () -> network.forward(x, rows(34 * DIM - 1)));
    refusedUnwritten(own + "v", () -> gated.forward(x, rows(0)));
    refusedUnwritten(own + "c", () -> gated.forward(x, rows(32 * DIM)));
    network.forward(x, rows(34 * DIM));
    // Partly over x, but not x itself.
    refusedUnwritten(
        "out: expected x itself or memory of its own, got a part of the memory of x",
        () -> network.forward(rows(34 * DIM), rows(35 * DIM)));
    refusedUnwritten(
        "out: expected x itself", () -> network.forward(rows(35 * DIM), rows(35 * DIM - 1)));
    network.forward(rows(35 * DIM), rows(35 * DIM).reshape(3, 1, DIM));
  }

  @Test
  void linear() {
    Tensor weight = slab.slice(0, 0, 16);
    Tensor bias = slab.select(0, 20);
    Linear layer = new Linear(parts.runtime, weight, bias, Activation.NONE);
    Tensor x = parts.normal(1, SEQ, DIM);
    refusedUnwritten(
        "out: expected memory of its own, got memory shared with weight",
        () -> layer.forward(x, rows(15 * DIM)));
    refusedUnwritten(
        "out: expected memory of its own, got memory shared with bias",
        () -> layer.forward(x, rows(20 * DIM + 15)));
    refusedUnwritten(
        "out: expected memory of its own, got memory shared with x",
        () -> layer.forward(rows(30 * DIM), rows(30 * DIM)));
    layer.forward(x, rows(16 * DIM));
    // A weight that is a part of wider rows, and out between its rows.
    Tensor wide = parts.normal(16, 2 * DIM);
    Linear left = new Linear(parts.runtime, wide.slice(1, 0, DIM), null, Activation.NONE);
    left.forward(parts.normal(16, DIM), wide.slice(1, DIM, 2 * DIM));
    Tensor over = wide.slice(1, DIM - 1, 2 * DIM - 1);
    refused(
        "out: expected memory of its own, got memory shared with weight",
        () -> left.forward(parts.normal(16, DIM), over));
  }

  @Test
  void attention() {
    Tensor w = slab.slice(0, 0, 16);
    Tensor bias = slab.select(0, 16);
    Tensor[] weights = new Tensor[4];
    Tensor[] biases = new Tensor[4];
    String[] names = {"query", "key", "value", "output"};
    Tensor x = parts.normal(1, SEQ, DIM);
    for (int n = 0; n < 4; n++) {
      for (int i = 0; i < 4; i++) {
        weights[i] = i == n ? w : parts.matrix(DIM, DIM);
        biases[i] = i == n ? bias : null;
      }
      MultiHeadAttention layer =
          MultiHeadAttention.builder(parts.runtime, 2)
              .query(weights[0], biases[0])
              .key(weights[1], biases[1])
              .value(weights[2], biases[2])
              .output(weights[3], biases[3])
              .build();
      String shared = "out: expected memory of its own, got memory shared with " + names[n];
      refusedUnwritten(shared, () -> layer.forward(x, rows(3 * DIM)));
      refusedUnwritten(shared + " bias", () -> layer.forward(x, rows(16 * DIM)));
      refusedUnwritten(
          "out: expected x itself", () -> layer.forward(rows(20 * DIM), rows(21 * DIM)));
      refusedUnwritten(
          "out: expected memory of its own, got memory shared with memory",
          () -> layer.forward(null, x, null, rows(20 * DIM), null, rows(21 * DIM)));
      refusedUnwritten(
          "out: expected memory of its own, got memory shared with memory",
          () -> layer.forward(null, x, null, rows(20 * DIM), null, rows(20 * DIM)));
      layer.forward(rows(20 * DIM), rows(20 * DIM));
    }
    Tensor lengths = Tensor.of(slab.segment().asSlice(22 * DIM * 4 + 4), DType.INT32, 1);
    set(lengths, 0, 2);
    MultiHeadAttention layer = parts.attention(Causal.NONE, DIM);
    for (boolean keys : new boolean[] {true, false}) {
      refusedUnwritten(
          "out: expected memory of its own, got memory shared with lengths",
          () ->
              layer.forward(
                  null,
                  x,
                  Padded.by(keys ? null : lengths),
                  x,
                  Padded.by(keys ? lengths : null),
                  rows(20 * DIM)));
    }
    MultiHeadAttention fused =
        MultiHeadAttention.builder(parts.runtime, 2)
            .fused(slab.slice(0, 0, 12).reshape(4, 48), null)
            .output(parts.matrix(16, 4), null)
            .build();
    Tensor narrow = parts.normal(1, SEQ, 4);
    refusedUnwritten(
        "out: expected memory of its own, got memory shared with fused",
        () ->
            fused.forward(
                narrow, slab.slice(0, 2, 5).reshape(48).slice(0, 0, 12).reshape(1, 3, 4)));
  }

  @Test
  void positionTables() {
    Rotary rotary = Rotary.of(arena, 8, 8, 10_000, Rotary.Pairing.HALVES, RotaryScaling.none());
    MultiHeadAttention layer =
        parts.attention(Causal.NONE, DIM, 2, 2, PositionalEncoding.rotary(rotary));
    Tensor x = parts.normal(1, 2, DIM);
    refused(
        "out: expected memory of its own, got memory shared with positions",
        () -> layer.forward(x, rotary.sin().reshape(1, 2, DIM)));
    Tensor table = parts.normal(3, DIM);
    Embedding embedding =
        new Embedding(parts.runtime, parts.normal(5, DIM), 1, PositionalEncoding.learned(table));
    refused(
        "out: expected memory of its own, got memory shared with encoding",
        () -> embedding.forward(null, parts.ids(1, 2, 3), null, table.reshape(1, 3, DIM)));
  }

  @Test
  void norms() {
    Tensor gamma = slab.select(0, 0);
    Tensor beta = slab.select(0, 1);
    Norm norm = new LayerNorm(parts.runtime, gamma, beta, 1e-5f);
    Tensor x = parts.normal(1, SEQ, DIM);
    String shared = "expected memory of its own, got memory shared with ";
    refusedUnwritten("out: " + shared + "gamma", () -> norm.forward(x, rows(0)));
    refusedUnwritten("out: " + shared + "beta", () -> norm.forward(x, rows(DIM)));
    refusedUnwritten("sum: " + shared, () -> norm.forward(null, x, null, rows(0), rows(9 * DIM)));
    refusedUnwritten(
        "out: " + shared + "sum", () -> norm.forward(null, x, x, rows(10 * DIM), rows(12 * DIM)));
    refusedUnwritten(
        "out: expected residual itself",
        () -> norm.forward(null, x, rows(10 * DIM), null, rows(12 * DIM)));
    norm.forward(null, x, rows(10 * DIM), null, rows(10 * DIM));
  }

  @Test
  void embeddings() {
    Tensor table = slab.slice(0, 0, 10);
    Tensor types = slab.slice(0, 10, 12);
    Tensor gamma = slab.select(0, 12);
    Tensor beta = slab.select(0, 13);
    Tensor ids = Tensor.of(slab.segment().asSlice(20 * DIM * 4), DType.INT32, 1, 3);
    for (int n = 0; n < 3; n++) {
      set(ids, n, n);
    }
    Embedding embedding =
        new Embedding(
            parts.runtime,
            table,
            1,
            PositionalEncoding.none(),
            types,
            new LayerNorm(parts.runtime, gamma, beta, 1e-5f));
    String shared = "out: expected memory of its own, got memory shared with ";
    refusedUnwritten(shared + "table", () -> embedding.forward(null, ids, null, rows(9 * DIM + 8)));
    refusedUnwritten(shared + "types", () -> embedding.forward(null, ids, null, rows(11 * DIM)));
    // Native code would have refused this after the rows were written.
    refusedUnwritten(
        shared + "norm.gamma", () -> embedding.forward(null, ids, null, rows(12 * DIM)));
    refusedUnwritten(
        shared + "norm.beta", () -> embedding.forward(null, ids, null, rows(13 * DIM)));
    refusedUnwritten(shared + "ids", () -> embedding.forward(null, ids, null, rows(18 * DIM)));
    embedding.forward(null, ids, null, rows(21 * DIM));

    Tensor weight = slab.slice(0, 0, 4).reshape(4, 1, 4, 4);
    Tensor images = slab.slice(0, 4, 8).reshape(1, 1, 8, 8);
    PatchEmbedding patches =
        new PatchEmbedding(
            parts.runtime,
            arena,
            8,
            8,
            weight,
            null,
            parts.normal(4),
            parts.normal(5, 4),
            new LayerNorm(parts.runtime, slab.select(0, 9).slice(0, 0, 4), null, 1e-5f));
    Tensor flat = slab.reshape(40 * DIM);
    refusedUnwritten(
        shared + "projection.weight",
        () -> patches.forward(null, images, flat.slice(0, 44, 64).reshape(1, 5, 4)));
    refusedUnwritten(
        shared + "images",
        () -> patches.forward(null, images, flat.slice(0, 120, 140).reshape(1, 5, 4)));
    refusedUnwritten(
        shared + "norm.gamma",
        () -> patches.forward(null, images, flat.slice(0, 144, 164).reshape(1, 5, 4)));
    patches.forward(null, images, flat.slice(0, 160, 180).reshape(1, 5, 4));
  }

  /** Each parameter of a block of every kind, as a piece of the slab that out lies over. */
  private FeedForward network() {
    return new FeedForward(
        parts.runtime,
        slab.slice(0, 0, 16),
        null,
        Activation.RELU,
        parts.matrix(16, 16),
        parts.normal(16));
  }

  @Test
  void stacks() {
    TransformerLayer layer =
        new TransformerLayer(
            parts.attention(Causal.NONE, DIM), parts.norm(DIM), network(), parts.norm(DIM));
    Tensor gamma = slab.select(0, 16);
    TransformerEncoder encoder =
        new TransformerEncoder(
            parts.runtime,
            List.of(parts.layer(Causal.NONE, DIM, false), layer),
            NormOrder.PRE,
            new RMSNorm(parts.runtime, gamma, 1e-5f));
    Tensor x = parts.normal(1, SEQ, DIM);
    String shared = "out: expected memory of its own, got memory shared with ";
    refusedUnwritten(
        shared + "layers[1].feedForward.w1", () -> encoder.forward(null, x, null, rows(8)));
    refusedUnwritten(
        shared + "finalNorm.gamma", () -> encoder.forward(null, x, null, rows(16 * DIM)));
    refusedUnwritten(
        "out: expected x itself",
        () -> encoder.forward(null, rows(20 * DIM), null, rows(19 * DIM)));
    Norm within = new RMSNorm(parts.runtime, gamma, 1e-5f);
    for (boolean self : new boolean[] {true, false}) {
      TransformerLayer both =
          new TransformerLayer(
              parts.attention(Causal.NONE, DIM),
              parts.norm(DIM),
              self ? within : parts.norm(DIM),
              null,
              null,
              parts.feedForward(DIM, DIM),
              parts.norm(DIM),
              self ? parts.norm(DIM) : within);
      TransformerEncoder sandwich =
          new TransformerEncoder(parts.runtime, List.of(both), NormOrder.SANDWICH, null);
      String name = self ? "selfOutputNorm" : "feedForwardOutputNorm";
      refusedUnwritten(
          shared + "layers[0]." + name + ".gamma",
          () -> sandwich.forward(null, x, null, rows(16 * DIM)));
    }
    Tensor lengths = Tensor.of(slab.segment().asSlice(22 * DIM * 4 + 4), DType.INT32, 1);
    set(lengths, 0, 2);
    refusedUnwritten(
        shared + "lengths", () -> encoder.forward(null, x, Padded.by(lengths), rows(20 * DIM)));
    encoder.forward(null, rows(19 * DIM), null, rows(19 * DIM));

    set(lengths, 0, 2);
    GatedCrossAttention gated =
        new GatedCrossAttention(
            parts.runtime,
            parts.attention(Causal.NONE, DIM),
            parts.norm(DIM),
            network(),
            parts.norm(DIM));
    Tensor media = parts.normal(1, SEQ, DIM);
    refusedUnwritten(
        shared + "feedForward.w1", () -> gated.forward(null, x, null, media, null, rows(0)));
    refusedUnwritten(
        shared + "media", () -> gated.forward(null, x, null, rows(30 * DIM), null, rows(31 * DIM)));
    refusedUnwritten(
        shared + "lengths",
        () -> gated.forward(null, x, null, media, Padded.by(lengths), rows(20 * DIM)));
    refusedUnwritten(
        "out: expected x itself",
        () -> gated.forward(null, rows(30 * DIM), null, media, null, rows(31 * DIM)));
    gated.forward(null, rows(30 * DIM), null, media, null, rows(30 * DIM));

    TableTransformer table =
        new TableTransformer(
            parts.runtime,
            List.of(
                new TableTransformer.Layer(
                    parts.attention(Causal.NONE, DIM),
                    parts.norm(DIM),
                    parts.attention(Causal.NONE, DIM),
                    parts.norm(DIM),
                    network(),
                    parts.norm(DIM))));
    refusedUnwritten(shared + "layers[0].feedForward.w1", () -> table.forward(null, x, 1, rows(0)));
    refusedUnwritten(
        "out: expected x itself", () -> table.forward(null, rows(30 * DIM), 1, rows(31 * DIM)));
  }

  @Test
  void decoders() {
    TransformerLayer layer =
        new TransformerLayer(
            parts.attention(Causal.BOTTOM_RIGHT, DIM), parts.norm(DIM), network(), parts.norm(DIM));
    TransformerDecoder decoder =
        new TransformerDecoder(parts.runtime, List.of(layer), NormOrder.PRE, null);
    TensorCache cache = new TensorCache(arena, 1, 1, 8, 2, 8, 8);
    DecoderState state = decoder.newState(arena, cache, 0);
    Tensor x = parts.normal(1, SEQ, DIM);
    Tensor keys = cache.keys(0).slice(1, 0, 3).reshape(1, SEQ, DIM);
    String own = ": expected memory of its own, got memory shared with ";
    refusedUnwritten(
        "out" + own + "layers[0].feedForward.w1",
        () -> decoder.step(null, state, x, null, rows(8)));
    refused("out" + own + "cache.keys(0)", () -> decoder.step(null, state, x, null, keys));
    refused("x" + own + "cache.keys(0)", () -> decoder.step(null, state, keys, null, x));
    refusedUnwritten(
        "out: expected x itself",
        () -> decoder.step(null, state, rows(20 * DIM), null, rows(21 * DIM)));
    assertEquals(0, state.length(0));

    Tensor table = parts.normal(24, DIM);
    Embedding embedding = new Embedding(parts.runtime, table, 1, PositionalEncoding.none());
    DecoderOnlyModel model =
        new DecoderOnlyModel(parts.runtime, embedding, decoder, embedding.output());
    Tensor ids = parts.ids(1, 2);
    Tensor logits = Tensor.of(table.segment(), DType.FLOAT32, 1, 24);
    refused("logits" + own + "embedding.table", () -> model.next(null, state, ids, null, logits));
    refused(
        "logits" + own + "cache.values(0)",
        () ->
            model.next(
                null,
                state,
                ids,
                null,
                Tensor.of(cache.values(0).segment(), DType.FLOAT32, 1, 24)));
    Tensor both = Tensor.allocate(arena, DType.FLOAT32, 48);
    Tensor inside = Tensor.of(both.segment().asSlice(40), DType.INT32, 1, 2);
    refused(
        "logits" + own + "ids",
        () -> model.next(null, state, inside, null, both.slice(0, 0, 24).reshape(1, 24)));
    refused(
        "logits" + own + "ids",
        () -> model.forward(null, state, inside, null, both.reshape(1, 2, 24)));
    Tensor lengths = Tensor.of(both.segment().asSlice(4), DType.INT32, 1);
    set(lengths, 0, 1);
    refused(
        "logits" + own + "lengths",
        () ->
            model.next(null, state, ids, Padded.by(lengths), both.slice(0, 0, 24).reshape(1, 24)));
    Tensor asIds = Tensor.of(cache.keys(0).segment(), DType.INT32, 1, 2);
    refused(
        "ids" + own + "cache.keys(0)",
        () -> model.next(null, state, asIds, null, parts.zeros(1, 24)));
    assertEquals(0, state.length(0));

    // A cache over the table of the model, which the decoder alone cannot know.
    KeyValueCache over =
        new GivenCache(table.slice(0, 0, 8).reshape(1, 8, 2, 8), parts.zeros(1, 8, 2, 8));
    DecoderState odd = decoder.newState(arena, over, 0);
    refused(
        "cache.keys(0)" + own + "embedding.table",
        () -> model.next(null, odd, ids, null, parts.zeros(1, 24)));
  }

  @Test
  void transformers() {
    Transformer model = parts.translator(11);
    Tensor ids = Tensor.of(slab.segment().asSlice(4 * DIM), DType.INT32, 1, 3);
    for (int n = 0; n < 3; n++) {
      set(ids, n, n);
    }
    String shared = "memory: expected memory of its own, got memory shared with ";
    refusedUnwritten(shared + "ids", () -> model.encode(null, ids, null, rows(0)));
    Tensor lengths = Tensor.of(slab.segment().asSlice(11 * DIM), DType.INT32, 1);
    set(lengths, 0, 2);
    Tensor others = parts.ids(1, 2, 3);
    refusedUnwritten(
        shared + "lengths", () -> model.encode(null, others, Padded.by(lengths), rows(0)));
    refused(
        "memory: expected [1, 3, 16]",
        () -> model.encode(null, others, null, parts.zeros(1, 2, DIM)));
  }

  // ---- the geometry --------------------------------------------------------------------------

  /** Against all elements, one by one. */
  @Test
  void rowsThatMeet() {
    Random random = new Random(SEED);
    int apart = 0;
    for (int round = 0; round < 200_000; round++) {
      int row = 1 + random.nextInt(9);
      int aRows = 1 + random.nextInt(4);
      int bRows = 1 + random.nextInt(4);
      int aColumns = 1 + random.nextInt(aRows == 1 ? 20 : row);
      int bColumns = 1 + random.nextInt(bRows == 1 ? 20 : row);
      int aRow = aRows == 1 ? aColumns : row;
      int bRow = bRows == 1 ? bColumns : row;
      int b = random.nextInt(60) - 30;
      Set<Integer> elements = new HashSet<>();
      for (int r = 0; r < aRows; r++) {
        for (int c = 0; c < aColumns; c++) {
          elements.add(r * aRow + c);
        }
      }
      boolean want = false;
      for (int r = 0; r < bRows; r++) {
        for (int c = 0; c < bColumns; c++) {
          want |= elements.contains(b + r * bRow + c);
        }
      }
      long base = 1 << 20;
      assertEquals(
          want,
          SharedMemory.meet(base, aRows, aColumns, aRow, base + 4L * b, bRows, bColumns, bRow),
          "%d x %d (%d), %d x %d (%d), %d apart"
              .formatted(aRows, aColumns, aRow, bRows, bColumns, bRow, b));
      apart += want ? 0 : 1;
    }
    assertEquals(true, apart > 20_000);
  }

  /** Tensors whose rows are not evenly spaced are compared by their extents. */
  @Test
  void oddTensors() {
    Tensor odd = parts.normal(4, 3, 5).slice(1, 0, 2);
    assertEquals(1, SharedMemory.rows(odd));
    assertEquals(odd.segment().byteSize() / 4, SharedMemory.columns(odd));
    assertEquals(0, SharedMemory.rows(parts.zeros(3, 0)));
    assertEquals(3, SharedMemory.rows(parts.normal(3, 7).slice(1, 2, 4)));
    assertEquals(7, SharedMemory.row(parts.normal(3, 7).slice(1, 2, 4)));
  }
}
