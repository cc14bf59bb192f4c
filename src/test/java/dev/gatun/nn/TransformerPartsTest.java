package dev.gatun.nn;

import static dev.gatun.nn.Layers.SEED;
import static dev.gatun.nn.Layers.refused;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import dev.gatun.Activation;
import dev.gatun.AttentionSpec;
import dev.gatun.Causal;
import dev.gatun.DType;
import dev.gatun.Tensor;
import dev.gatun.Workspace;
import dev.gatun.nn.TableTransformer.Layer;
import dev.gatun.support.Placement;
import dev.gatun.support.Run;
import java.lang.foreign.Arena;
import java.util.List;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.Tag;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.function.Executable;

/** What the parts of a Transformer refuse, and that nothing is written then. */
class TransformerPartsTest {

  private static final int DIM = 16;

  private final Arena arena = Arena.ofShared();
  private final Parts parts = new Parts(arena, SEED);

  // Parts that fit each other.
  private final MultiHeadAttention attention = parts.attention(Causal.NONE, DIM);
  private final MultiHeadAttention masked = parts.attention(Causal.BOTTOM_RIGHT, DIM);
  private final Norm norm = parts.norm(DIM);
  private final FeedForward network = parts.feedForward(DIM, DIM);

  // And some that do not.
  private final MultiHeadAttention otherAttention =
      parts.attention(Causal.NONE, 12, 12, DIM).build();
  private final MultiHeadAttention narrowOut = parts.attention(Causal.NONE, DIM, DIM, 12).build();
  private final MultiHeadAttention fused = parts.fused(Causal.NONE, DIM);
  private final Norm otherNorm = parts.norm(12);
  private final FeedForward otherIn = parts.feedForward(12, DIM);
  private final FeedForward otherOut = parts.feedForward(DIM, 12);

  private final Placement.Placed placed = Placement.BSHD.empty(arena, 2, 5, 1, DIM);
  private final Tensor out = Layers.sequences(placed);
  private final Tensor x = parts.normal(2, 5, DIM);

  @AfterEach
  void close() {
    arena.close();
  }

  private Tensor lengths(int... lengths) {
    return Run.lengths(arena, lengths);
  }

  private static void named(String name, Executable executable) {
    assertEquals(name, assertThrows(NullPointerException.class, executable).getMessage());
  }

  private TransformerLayer layer(
      MultiHeadAttention cross, Norm crossNorm, FeedForward feedForward, Norm last) {
    return new TransformerLayer(masked, norm, cross, crossNorm, feedForward, last);
  }

  @Test
  void layers() {
    named("selfAttention", () -> new TransformerLayer(null, norm, network, norm));
    named("selfNorm", () -> new TransformerLayer(attention, null, network, norm));
    named("feedForward", () -> new TransformerLayer(attention, norm, null, norm));
    named("feedForwardNorm", () -> new TransformerLayer(attention, norm, network, null));
    refused("crossAttention, crossNorm:", () -> layer(attention, null, network, norm));
    refused("crossAttention, crossNorm:", () -> layer(null, norm, network, norm));
    refused(
        "selfAttention.out: expected 16, got 12",
        () -> new TransformerLayer(narrowOut, norm, network, norm));
    refused(
        "selfNorm: expected 16, got 12",
        () -> new TransformerLayer(attention, otherNorm, network, norm));
    refused("feedForward.in: expected 16, got 12", () -> layer(null, null, otherIn, norm));
    refused("feedForward.out: expected 16, got 12", () -> layer(null, null, otherOut, norm));
    refused("feedForwardNorm: expected 16, got 12", () -> layer(null, null, network, otherNorm));
    refused(
        "crossAttention.in: expected 16, got 12", () -> layer(otherAttention, norm, network, norm));
    refused("crossAttention.out: expected 16, got 12", () -> layer(narrowOut, norm, network, norm));
    refused("crossNorm: expected 16, got 12", () -> layer(attention, otherNorm, network, norm));
    assertEquals(DIM, layer(fused, norm, network, norm).dim());
    refused(
        "selfAttention.memoryDim: expected 16, got 12",
        () ->
            new TransformerLayer(
                parts.attention(Causal.NONE, 16, 12, 16).build(), norm, network, norm));
    refused(
        "crossAttention: expected positions none, as its keys are those of another text, got alibi",
        () -> layer(ordered(), norm, network, norm));
    refused(
        "crossAttention: expected a specification without biases, as its keys are those of another"
            + " text, got AttentionSpec[",
        () -> layer(biased(), norm, network, norm));
    refused(
        "crossAttention: expected a specification without window, as its keys are those of another"
            + " text, got AttentionSpec[",
        () -> layer(windowed(), norm, network, norm));
    refused(
        "crossAttention: expected causal NONE, got BOTTOM_RIGHT",
        () -> layer(parts.attention(Causal.BOTTOM_RIGHT, 16), norm, network, norm));
    assertEquals(DIM, layer(attention, norm, network, norm).dim());
  }

  private MultiHeadAttention ordered() {
    return parts
        .attention(Causal.NONE, 16, 16, 16)
        .positions(PositionalEncoding.alibi(parts.arena, 2))
        .build();
  }

  private MultiHeadAttention windowed() {
    return parts
        .attention(Causal.NONE, DIM, DIM, DIM)
        .spec(AttentionSpec.builder().window(-1, 3).build())
        .build();
  }

  private MultiHeadAttention biased() {
    return parts
        .attention(Causal.NONE, 16, 16, 16)
        .spec(AttentionSpec.builder().alibiSlopes(parts.zeros(2)).build())
        .build();
  }

  private TransformerDecoder decoder(Norm last, TransformerLayer... layers) {
    return new TransformerDecoder(parts.runtime, List.of(layers), NormOrder.PRE, last);
  }

  private TransformerEncoder encoder(Norm last, TransformerLayer... layers) {
    return new TransformerEncoder(parts.runtime, List.of(layers), NormOrder.PRE, last);
  }

  @Test
  void stacks() {
    TransformerLayer self = new TransformerLayer(attention, norm, network, norm);
    TransformerLayer step = layer(null, null, network, norm);
    TransformerLayer crossing = layer(attention, norm, network, norm);
    TransformerLayer narrow = parts.layer(Causal.BOTTOM_RIGHT, 12, false);
    List<TransformerLayer> one = List.of(self);
    named("runtime", () -> new TransformerEncoder(null, one, NormOrder.PRE, null));
    named("runtime", () -> new TransformerDecoder(null, one, NormOrder.PRE, null));
    named("order", () -> new TransformerEncoder(parts.runtime, one, null, null));
    named("order", () -> new TransformerDecoder(parts.runtime, one, null, null));
    refused("layers: expected 1 or more, got none", () -> encoder(null));
    refused("layers: expected 1 or more, got none", () -> decoder(null));
    TransformerLayer other =
        layer(parts.attention(Causal.NONE, 16, 12, 16).build(), norm, network, norm);
    refused(
        "layers[1].crossAttention.memoryDim: expected 16, got 12",
        () -> decoder(null, crossing, other));
    refused("layers[1]: expected rows of 16, got 12", () -> encoder(null, self, narrow));
    refused("layers[2]: expected rows of 16, got 12", () -> decoder(null, step, step, narrow));
    refused("finalNorm: expected 16, got 12", () -> encoder(otherNorm, self));
    refused("finalNorm: expected 16, got 12", () -> decoder(otherNorm, step));
    expected("layers[1]: expected no cross-attention", () -> encoder(null, self, crossing));
    expected(
        "layers[1]: expected cross-attention in all layers or in none",
        () -> decoder(null, crossing, step));
    refused(
        "layers[1].selfAttention: expected causal BOTTOM_RIGHT, got NONE",
        () -> decoder(null, step, self));
  }

  private TransformerLayer sandwich(Norm before, MultiHeadAttention cross, Norm first, Norm last) {
    return new TransformerLayer(
        attention, before, first, cross, cross == null ? null : norm, network, norm, last);
  }

  private TransformerEncoder stack(NormOrder order, TransformerLayer... layers) {
    return new TransformerEncoder(parts.runtime, List.of(layers), order, null);
  }

  @Test
  void normsAsTheOrderSays() {
    refused(
        "selfOutputNorm, feedForwardOutputNorm: expected both or neither, got one",
        () -> sandwich(norm, null, norm, null));
    refused(
        "selfOutputNorm, feedForwardOutputNorm: expected both or neither, got one",
        () -> sandwich(norm, null, null, norm));
    refused("selfOutputNorm: expected 16, got 12", () -> sandwich(norm, null, otherNorm, norm));
    refused(
        "feedForwardOutputNorm: expected 16, got 12", () -> sandwich(norm, null, norm, otherNorm));
    TransformerLayer plain = sandwich(norm, null, null, null);
    TransformerLayer both = sandwich(norm, null, norm, norm);
    TransformerLayer bare = sandwich(null, null, null, null);
    TransformerLayer bareBoth = sandwich(null, null, norm, norm);
    assertEquals(DIM, stack(NormOrder.PRE, bare, plain).dim());
    assertEquals(DIM, stack(NormOrder.SANDWICH, bareBoth, both).dim());
    for (NormOrder order : new NormOrder[] {NormOrder.POST, NormOrder.PRE}) {
      refused(
          "layers[1].selfOutputNorm: expected none with %s, got one".formatted(order),
          () -> stack(order, plain, both));
    }
    refused(
        "layers[0].selfOutputNorm: expected a norm with SANDWICH, got none",
        () -> stack(NormOrder.SANDWICH, plain));
    refused("layers[0].selfNorm: expected a norm in all", () -> stack(NormOrder.POST, bare));
    refused("layers[1].selfNorm: expected a norm in all", () -> stack(NormOrder.PRE, plain, bare));
    refused(
        "layers[1].selfNorm: expected a norm in all",
        () -> stack(NormOrder.SANDWICH, both, bareBoth));
    TransformerLayer crossing = sandwich(norm, fused, norm, norm);
    refused(
        "layers[0].crossAttention: expected none with SANDWICH, got some",
        () -> new TransformerDecoder(parts.runtime, List.of(crossing), NormOrder.SANDWICH, null));
  }

  /** A refusal that has nothing to show but what was expected. */
  private static void expected(String start, Executable executable) {
    String message = assertThrows(IllegalArgumentException.class, executable).getMessage();
    assertTrue(message.startsWith(start), message);
  }

  private Embedding embedding(int dim) {
    return new Embedding(parts.runtime, parts.normal(7, dim), 1, PositionalEncoding.none());
  }

  private Linear linear(int in) {
    return new Linear(parts.runtime, parts.matrix(in, 7), null, Activation.NONE);
  }

  @Test
  void models() {
    TransformerDecoder only = decoder(null, layer(null, null, network, norm));
    TransformerDecoder crossing = decoder(null, layer(attention, norm, network, norm));
    TransformerEncoder encoder =
        encoder(null, new TransformerLayer(attention, norm, network, norm));
    Embedding fits = embedding(DIM);
    named("runtime", () -> new DecoderOnlyModel(null, fits, only, linear(DIM)));
    named("embedding", () -> new DecoderOnlyModel(parts.runtime, null, only, linear(DIM)));
    named("decoder", () -> new DecoderOnlyModel(parts.runtime, fits, null, linear(DIM)));
    named("output", () -> new DecoderOnlyModel(parts.runtime, fits, only, null));
    for (float cap : new float[] {-1, 0x1p-101f, 0x1p101f, Float.NaN, Float.POSITIVE_INFINITY}) {
      refused(
          "softcap: expected 0 or 2^-100 .. 2^100, got " + cap,
          () -> new DecoderOnlyModel("model", parts.runtime, fits, only, linear(DIM), cap));
    }
    refused(
        "embedding: expected rows of 16, got 12",
        () -> new DecoderOnlyModel(parts.runtime, embedding(12), only, linear(DIM)));
    refused(
        "output: expected rows of 16, got 12",
        () -> new DecoderOnlyModel(parts.runtime, fits, only, linear(12)));
    expected(
        "decoder: expected one without cross-attention",
        () -> new DecoderOnlyModel(parts.runtime, fits, crossing, linear(DIM)));
    expected(
        "decoder: expected one with cross-attention",
        () -> new Transformer(parts.runtime, fits, encoder, fits, only, linear(DIM)));
    named(
        "source", () -> new Transformer(parts.runtime, null, encoder, fits, crossing, linear(DIM)));
    named("encoder", () -> new Transformer(parts.runtime, fits, null, fits, crossing, linear(DIM)));
    named(
        "target", () -> new Transformer(parts.runtime, fits, encoder, null, crossing, linear(DIM)));
    refused(
        "source: expected rows of 16, got 12",
        () -> new Transformer(parts.runtime, embedding(12), encoder, fits, crossing, linear(DIM)));
    refused(
        "target: expected rows of 16, got 12",
        () -> new Transformer(parts.runtime, fits, encoder, embedding(12), crossing, linear(DIM)));
  }

  @Test
  @Tag("asan")
  void encoding() {
    TransformerEncoder encoder =
        encoder(null, new TransformerLayer(attention, norm, network, norm));
    refused(
        "out: expected [10, 16] float32, got [2, 5, 16]",
        () -> encoder.forward(null, x.reshape(10, DIM), null, out));
    refused("x:", () -> encoder.forward(null, parts.zeros(2, 5, 12), null, out));
    refused("x:", () -> encoder.forward(null, x.transpose(0, 1), null, out));
    refused(
        "x:",
        () -> encoder.forward(null, Tensor.allocate(arena, DType.INT32, 2, 5, DIM), null, out));
    refused("out:", () -> encoder.forward(null, x, null, out.slice(0, 0, 1)));
    refused("out:", () -> encoder.forward(null, x, null, out.asReadOnly()));
    refused("lengths: expected [2]", () -> encoder.forward(null, x, Padded.by(lengths(0)), out));
    refused(
        "lengths[1]: expected 0 .. 5, got 6",
        () -> encoder.forward(null, x, Padded.by(lengths(5, 6)), out));
    try (Workspace foreign = Layers.runtime(1).newWorkspace()) {
      refused("workspace:", () -> encoder.forward(foreign, x, null, out));
    }
    named("x", () -> encoder.forward(null, null, null, out));
    named("out", () -> encoder.forward(null, x, null, null));
    placed.checkUntouched();
    encoder.forward(null, x.reshape(1, 10, DIM), null, out.reshape(1, 10, DIM));
    Tensor tokens = parts.zeros(10, DIM);
    encoder.forward(null, x.reshape(10, DIM), null, tokens);
    Run.checkSameBits(out.toFloatArray(), tokens.toFloatArray(), "[tokens, dim]");
  }

  @Test
  @Tag("asan")
  void decoding() {
    TransformerDecoder decoder = decoder(norm, layer(attention, norm, network, norm));
    DecoderState state = decoder.newState(arena, 2, 6, 4);
    Tensor memory = parts.normal(2, 3, DIM);
    refused("memory:", () -> decoder.remember(null, state, memory.slice(2, 0, 8), null));
    refused(
        "memory: expected 2 sequences or 1, of at most 4 rows, got 3 of at most 3",
        () -> decoder.remember(null, state, parts.zeros(3, 3, DIM), null));
    refused(
        "memory: expected 2 sequences or 1, of at most 4 rows, got 2 of at most 5",
        () -> decoder.remember(null, state, parts.zeros(2, 5, DIM), null));
    refused(
        "lengths[1] of memory: expected 0 .. 3, got 4",
        () -> decoder.remember(null, state, memory, Padded.by(lengths(3, 4))));
    refused(
        "state: expected one of this decoder",
        () ->
            decoder(null, layer(attention, norm, network, norm))
                .remember(null, state, memory, null));
    assertThrows(IllegalStateException.class, () -> decoder.step(null, state, x, null, out));
    TransformerDecoder alone = decoder(null, layer(null, null, network, norm));
    assertThrows(
        IllegalStateException.class,
        () -> alone.remember(null, alone.newState(arena, 2, 6, 0), memory, null));

    decoder.remember(null, state, memory, null);
    String sequences = "x: expected 2 sequences as the state has, got 1";
    refused(sequences, () -> decoder.step(null, state, x.slice(0, 0, 1), null, out.slice(0, 0, 1)));
    refused(
        sequences, () -> decoder.step(null, state, x.reshape(10, DIM), null, out.reshape(10, DIM)));
    refused("out:", () -> decoder.step(null, state, x.reshape(10, DIM), null, out));
    refused("out:", () -> decoder.step(null, state, x, null, out.slice(1, 0, 4)));
    refused("out:", () -> decoder.step(null, state, x, null, out.asReadOnly()));
    refused(
        "lengths[0]: expected 0 .. 5, got -1",
        () -> decoder.step(null, state, x, Padded.by(lengths(-1, 5)), out));
    refused("state:", () -> decoder.step(null, alone.newState(arena, 2, 6, 0), x, null, out));
    Tensor seven = parts.zeros(2, 7, DIM);
    refused(
        "x: expected at most 6 more tokens", () -> decoder.step(null, state, seven, null, seven));
    named("x", () -> decoder.step(null, state, null, null, out));
    named("out", () -> decoder.step(null, state, x, null, null));
    named("state", () -> decoder.step(null, null, x, null, out));
    placed.checkUntouched();
    assertEquals(0, state.length(0));
    decoder.step(null, state, x, null, out);
    assertEquals(5, state.length(1));
  }

  @Test
  void states() {
    TransformerDecoder decoder = decoder(null, layer(attention, norm, network, norm));
    refused("sequences, capacity:", () -> decoder.newState(arena, 0, 6, 4));
    refused("sequences, capacity:", () -> decoder.newState(arena, 2, 0, 4));
    refused("layers, sequences, capacity:", () -> new TensorCache(arena, 0, 1, 1, 1, 1, 1));
    refused("memoryCapacity: expected 1 or more, got 0", () -> decoder.newState(arena, 2, 6, 0));
    refused(
        "cache: expected 1 layers, got 2",
        () -> decoder.newState(arena, new TensorCache(arena, 2, 2, 6, 2, 8, 8), 4));
    refused(
        "cache.keys(0): expected [2, 6, 2, 8] float32",
        () -> decoder.newState(arena, new TensorCache(arena, 1, 2, 6, 1, 8, 8), 4));
    refused(
        "cache.keys(0):",
        () -> decoder.newState(arena, new TensorCache(arena, 1, 2, 6, 2, 7, 8), 4));
    refused(
        "cache.values(0): expected [2, 6, 2, 8] float32",
        () -> decoder.newState(arena, new TensorCache(arena, 1, 2, 6, 2, 8, 9), 4));
    DecoderState state = decoder.newState(arena, 2, 6, 4);
    refused("maxTokens: expected 0 or more, got -1", () -> state.truncate(-1));
    assertThrows(IndexOutOfBoundsException.class, () -> state.length(2));
    assertThrows(IndexOutOfBoundsException.class, () -> state.length(-1));
    refused("sources[1]: expected 0 .. 1, got 2", () -> state.select(0, 2));
    refused("sources[0]: expected 0 .. 1, got -1", () -> state.select(-1, 1));
    refused("sources: expected 2 of them, got 1", () -> state.select(0));
    refused(
        "sources, tokens:",
        () -> new TensorCache(arena, 1, 2, 6, 2, 8, 8).select(new int[] {0, 1}, 7));
  }

  private GatedCrossAttention gated(
      MultiHeadAttention a, Norm first, FeedForward feedForward, Norm second) {
    return new GatedCrossAttention(parts.runtime, a, first, feedForward, second);
  }

  @Test
  @Tag("asan")
  void gatedCrossAttention() {
    named("runtime", () -> new GatedCrossAttention(null, attention, norm, network, norm));
    named("attention", () -> gated(null, norm, network, norm));
    named("attentionNorm", () -> gated(attention, null, network, norm));
    named("feedForward", () -> gated(attention, norm, null, norm));
    named("feedForwardNorm", () -> gated(attention, norm, network, null));
    gated(fused, norm, network, norm);
    refused(
        "attention: expected a specification without biases",
        () -> gated(biased(), norm, network, norm));
    refused("attention: expected positions none", () -> gated(ordered(), norm, network, norm));
    String misfit = ": expected 16, got 12";
    refused("attention.out" + misfit, () -> gated(narrowOut, norm, network, norm));
    refused("attentionNorm" + misfit, () -> gated(attention, otherNorm, network, norm));
    refused("feedForward.in" + misfit, () -> gated(attention, norm, otherIn, norm));
    refused("feedForward.out" + misfit, () -> gated(attention, norm, otherOut, norm));
    refused("feedForwardNorm" + misfit, () -> gated(attention, norm, network, otherNorm));

    GatedCrossAttention block =
        gated(parts.attention(Causal.NONE, DIM, 12, DIM).build(), norm, network, norm);
    Tensor media = parts.normal(2, 3, 12);
    refused(
        "out: expected [10, 16] float32, got [2, 5, 16]",
        () -> block.forward(null, x.reshape(10, DIM), null, media, null, out));
    refused(
        "media: expected 1 sequences as x has, got 2",
        () -> block.forward(null, x.reshape(10, DIM), null, media, null, out.reshape(10, DIM)));
    refused("x:", () -> block.forward(null, parts.zeros(2, 5, 12), null, media, null, out));
    refused("media:", () -> block.forward(null, x, null, parts.zeros(2, 3, DIM), null, out));
    refused(
        "media: expected 2 sequences as x has, got 1",
        () -> block.forward(null, x, null, media.slice(0, 0, 1), null, out));
    refused(
        "lengths[0] of media: expected 0 .. 3, got 4",
        () -> block.forward(null, x, null, media, Padded.by(lengths(4, 0)), out));
    refused(
        "lengths of media: expected [2] int32",
        () -> block.forward(null, x, null, media, Padded.by(lengths(0, 0, 0)), out));
    refused("out:", () -> block.forward(null, x, null, media, null, out.slice(0, 0, 1)));
    refused("out:", () -> block.forward(null, x, null, media, null, out.asReadOnly()));
    named("x", () -> block.forward(null, null, null, media, null, out));
    named("media", () -> block.forward(null, x, null, null, null, out));
    named("out", () -> block.forward(null, x, null, media, null, null));
    placed.checkUntouched();
    block.forward(null, x, null, media, null, out);
  }

  @Test
  @Tag("asan")
  void tables() {
    String misfit = ": expected 16, got 12";
    MultiHeadAttention memory = parts.attention(Causal.NONE, 16, 12, 16).build();
    refused(
        "features.out" + misfit, () -> new Layer(narrowOut, norm, attention, norm, network, norm));
    refused(
        "features.memoryDim" + misfit,
        () -> new Layer(memory, norm, attention, norm, network, norm));
    refused(
        "featuresNorm" + misfit,
        () -> new Layer(attention, otherNorm, attention, norm, network, norm));
    refused(
        "items.in" + misfit, () -> new Layer(attention, norm, otherAttention, norm, network, norm));
    refused("items.out" + misfit, () -> new Layer(attention, norm, narrowOut, norm, network, norm));
    refused(
        "items.memoryDim" + misfit, () -> new Layer(attention, norm, memory, norm, network, norm));
    refused(
        "itemsNorm" + misfit,
        () -> new Layer(attention, norm, attention, otherNorm, network, norm));
    refused(
        "feedForward.in" + misfit,
        () -> new Layer(attention, norm, attention, norm, otherIn, norm));
    refused(
        "feedForward.out" + misfit,
        () -> new Layer(attention, norm, attention, norm, otherOut, norm));
    refused(
        "feedForwardNorm" + misfit,
        () -> new Layer(attention, norm, attention, norm, network, otherNorm));
    refused(
        "features: expected positions none, got alibi",
        () -> new Layer(ordered(), norm, attention, norm, network, norm));
    refused(
        "items: expected positions none, got alibi",
        () -> new Layer(attention, norm, ordered(), norm, network, norm));
    refused(
        "features: expected a specification without biases, got AttentionSpec[",
        () -> new Layer(biased(), norm, attention, norm, network, norm));
    refused(
        "items: expected a specification without biases, got AttentionSpec[",
        () -> new Layer(attention, norm, biased(), norm, network, norm));
    Layer fits = new Layer(attention, norm, attention, norm, network, norm);
    Layer narrow =
        new Layer(
            parts.attention(Causal.NONE, 12),
            otherNorm,
            parts.attention(Causal.NONE, 12),
            otherNorm,
            parts.feedForward(12, 12),
            otherNorm);
    named("runtime", () -> new TableTransformer(null, List.of(fits)));
    refused(
        "layers: expected 1 or more, got none",
        () -> new TableTransformer(parts.runtime, List.of()));
    refused(
        "layers[1]: expected rows of 16, got 12",
        () -> new TableTransformer(parts.runtime, List.of(fits, narrow)));

    TableTransformer model = new TableTransformer(parts.runtime, List.of(fits));
    refused(
        "x: expected [rows, columns, 16]", () -> model.forward(null, x.reshape(10, DIM), 1, out));
    refused("out:", () -> model.forward(null, x, 1, out.slice(1, 0, 4)));
    refused("out:", () -> model.forward(null, x, 1, out.asReadOnly()));
    refused("known: expected 0 .. 2, got 3", () -> model.forward(null, x, 3, out));
    refused("known: expected 0 .. 2, got -1", () -> model.forward(null, x, -1, out));
    named("x", () -> model.forward(null, null, 1, out));
    named("out", () -> model.forward(null, x, 1, null));
    placed.checkUntouched();
    model.forward(null, x, 1, out);
  }
}
