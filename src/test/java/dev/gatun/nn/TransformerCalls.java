package dev.gatun.nn;

import dev.gatun.Activation;
import dev.gatun.AttentionSpec;
import dev.gatun.Causal;
import dev.gatun.DType;
import dev.gatun.GatunRuntime;
import dev.gatun.Tensor;
import dev.gatun.WeightFormat;
import dev.gatun.Workspace;
import java.lang.foreign.Arena;
import java.util.Arrays;
import java.util.List;
import java.util.function.Function;

/**
 * Every block of a Transformer, and steps of its decoders, for the programs of {@link
 * dev.gatun.support.ChildMain}.
 */
public final class TransformerCalls implements Runnable {

  private static final int DIM = 24;
  private static final int NARROW = 8;
  private static final int HEADS = 3;
  private static final int VOCABULARY = 50;
  private static final int PROMPT = 5;
  private static final int TOKENS = 30;

  private final Arena arena;
  private final Parts parts;
  private final GatunRuntime runtime;
  private final Workspace workspace;

  private final Transformer translator;
  private final Tensor source;
  private final Sequences lengths;
  private final Tensor memory;
  private final DecoderState translation;
  private final int[] second = {1, 1};

  private final DecoderOnlyModel[] models = new DecoderOnlyModel[7];
  private final DecoderState[] states = new DecoderState[7];
  private final Tensor prompt;
  private final Tensor prompts;
  private final Tensor token;
  private final Tensor tokens;
  private final Tensor logits;
  private final Tensor bothLogits;

  private final PatchEmbedding patches;
  private final TransformerEncoder encoder;
  private final TransformerEncoder windowed;
  private final Tensor images;
  private final Tensor rows;
  private final GatedCrossAttention gated;
  private final TableTransformer table;
  private final Tensor cells;
  private final TextEncoder[] factorized = new TextEncoder[2];
  private final TransformerEncoder relative;

  private final Generator generator;
  private final DecoderState text;
  private final Sampling drawn = new Sampling(0.8, 20, 0.9, 1);

  private final BatchGenerator batch;
  private final DecoderState texts;
  private final Tensor raggedPrompts;
  private final Sequences division;
  private final int[] heard = new int[3];

  /** Makes them. */
  public TransformerCalls(Arena arena) {
    this.arena = arena;
    parts = new Parts(arena, 1);
    runtime = parts.runtime;
    workspace = runtime.newWorkspace();
    Embedding embedding = embedding(PositionalEncoding.sinusoidal(arena, 64, DIM));
    translator =
        new Transformer(
            runtime,
            embedding,
            encoder(NormOrder.POST, PositionalEncoding.none()),
            embedding,
            decoder(NormOrder.POST, true, PositionalEncoding.none()),
            embedding.output());
    source = ids(2, 7);
    lengths = Sequences.padded(Tensor.copyOf(arena, new int[] {7, 4}, 2));
    memory = Tensor.allocate(arena, DType.FLOAT32, 2, 7, DIM);
    translation = translator.newState(arena, 2, 16, 7);

    models[0] = model(decoder(NormOrder.PRE, false, rotary()), PositionalEncoding.none());
    models[1] =
        model(
            decoder(NormOrder.POST, false, PositionalEncoding.alibi(arena, HEADS)),
            PositionalEncoding.none());
    Tensor buckets = parts.normal(8, HEADS);
    models[2] =
        model(
            decoder(
                NormOrder.PRE,
                false,
                PositionalEncoding.relativePositions(arena, buckets, 20, false)),
            PositionalEncoding.learned(parts.normal(64, DIM)));
    models[3] = sandwich(WeightFormat.VIEW);
    models[4] = sandwich(WeightFormat.FP32);
    models[5] = scans(this::mamba);
    models[6] = scans(this::mamba2);
    for (int n = 0; n < models.length; n++) {
      states[n] = models[n].newState(arena, 1, PROMPT + TOKENS, 0);
    }
    prompt = ids(1, PROMPT);
    prompts = ids(2, PROMPT);
    token = ids(1, 1);
    tokens = ids(2, 1);
    logits = Tensor.allocate(arena, DType.FLOAT32, 1, VOCABULARY);
    bothLogits = Tensor.allocate(arena, DType.FLOAT32, 2, VOCABULARY);

    patches =
        new PatchEmbedding(
            runtime,
            arena,
            8,
            4,
            parts.normal(DIM, 3, 4, 4),
            null,
            parts.normal(DIM),
            parts.normal(3, DIM),
            norm());
    encoder = encoder(NormOrder.PRE, PositionalEncoding.alibi(arena, HEADS));
    AttentionSpec near = AttentionSpec.builder().window(1, 1).build();
    windowed =
        new TransformerEncoder(
            runtime,
            List.of(
                layer(near, WeightFormat.VIEW, null, null),
                layer(near, WeightFormat.VIEW, norm(), null)),
            NormOrder.PRE,
            norm());
    images = parts.normal(2, 3, 8, 4);
    rows = Tensor.allocate(arena, DType.FLOAT32, 2, 3, DIM);
    gated =
        new GatedCrossAttention(
            runtime,
            parts.attention(Causal.NONE, DIM, HEADS, HEADS, PositionalEncoding.none()),
            norm(),
            parts.feedForward(DIM, false),
            norm());
    table =
        new TableTransformer(
            runtime,
            List.of(
                new TableTransformer.Layer(
                    parts.attention(Causal.NONE, DIM, HEADS, HEADS, PositionalEncoding.none()),
                    norm(),
                    parts.attention(Causal.NONE, DIM, HEADS, 1, PositionalEncoding.none()),
                    norm(),
                    parts.feedForward(DIM, true),
                    norm())));
    cells = parts.normal(4, 5, DIM);
    Tensor distances = parts.normal(2 * 9 - 1, DIM / HEADS);
    relative =
        new TransformerEncoder(
            runtime,
            List.of(
                distant(PositionalEncoding.relativeKeys(arena, distances, false)),
                distant(PositionalEncoding.relativeKeys(arena, distances, true))),
            NormOrder.POST,
            null);
    Embedding narrow =
        new Embedding(
            runtime,
            parts.normal(VOCABULARY, NARROW),
            1,
            PositionalEncoding.learned(parts.normal(64, NARROW), 2, 1));
    for (int n = 0; n < factorized.length; n++) {
      WeightFormat format = n == 0 ? WeightFormat.VIEW : WeightFormat.FP32;
      Linear projection = linear(NARROW, DIM, Activation.NONE, format);
      factorized[n] = new TextEncoder("model", runtime, narrow, projection, encoder);
    }

    text = models[0].newState(arena, 1, PROMPT + TOKENS, 0);
    generator = new Generator(models[0], text, workspace, arena);
    texts = models[0].newState(arena, heard.length, PROMPT + TOKENS, 0);
    batch = new BatchGenerator(models[0], texts, workspace, arena);
    raggedPrompts = Tensor.copyOf(arena, new int[] {3, 1, 4, 1, 5, 9}, 6);
    division = Sequences.ragged(Tensor.copyOf(arena, new int[] {0, 1, 4, 6}, heard.length + 1));
  }

  private Tensor ids(int batch, int seq) {
    return Tensor.copyOf(
        arena, parts.random.ints((long) batch * seq, 0, VOCABULARY).toArray(), batch, seq);
  }

  private Norm norm() {
    return parts.norm(DIM, parts.random.nextBoolean());
  }

  private TransformerLayer distant(PositionalEncoding positions) {
    return new TransformerLayer(
        parts.attention(Causal.NONE, DIM, HEADS, HEADS, positions),
        norm(),
        null,
        null,
        parts.feedForward(DIM, true),
        norm());
  }

  private PositionalEncoding rotary() {
    return PositionalEncoding.rotary(
        Rotary.of(arena, 64, 8, 10_000, Rotary.Pairing.HALVES, new RotaryScaling.Yarn(4, 16)));
  }

  private TransformerLayer layer(Causal causal, boolean crosses, PositionalEncoding positions) {
    return new TransformerLayer(
        parts.attention(causal, DIM, HEADS, crosses ? HEADS : 1, positions),
        norm(),
        crosses ? parts.attention(Causal.NONE, DIM, HEADS, HEADS, PositionalEncoding.none()) : null,
        crosses ? norm() : null,
        parts.feedForward(DIM, !crosses),
        norm());
  }

  /**
   * As Gemma 2 has it: windows in one of two layers, capped scores and logits, norms on both sides;
   * and those of heads that Gemma 3 has.
   */
  private DecoderOnlyModel sandwich(WeightFormat format) {
    AttentionSpec global = AttentionSpec.builder().causal(Causal.BOTTOM_RIGHT).softcap(50).build();
    AttentionSpec local = global.toBuilder().window(3, -1).build();
    TransformerDecoder decoder =
        new TransformerDecoder(
            runtime,
            List.of(layer(local, format, norm(), norm()), layer(global, format, norm(), norm())),
            NormOrder.SANDWICH,
            norm());
    Embedding embedding = embedding(PositionalEncoding.none());
    return new DecoderOnlyModel("model", runtime, embedding, decoder, embedding.output(), 30);
  }

  /** Two layers of nothing but a mixer, one of packed weights. */
  private DecoderOnlyModel scans(Function<WeightFormat, TransformerLayer> layers) {
    TransformerDecoder decoder =
        new TransformerDecoder(
            runtime,
            List.of(layers.apply(WeightFormat.VIEW), layers.apply(WeightFormat.FP32)),
            NormOrder.PRE,
            norm());
    return model(decoder, PositionalEncoding.none());
  }

  private TransformerLayer mamba(WeightFormat format) {
    int channels = 2 * DIM;
    int states = 4;
    Mamba mixer =
        Mamba.builder(runtime, arena)
            .input(linear(DIM, 2 * channels, Activation.NONE, format))
            .convolution(parts.normal(channels, 1, 4), parts.normal(channels))
            .projection(linear(channels, 2 + 2 * states, Activation.NONE, format))
            .step(linear(2, channels, Activation.NONE, format), null)
            .decay(parts.normal(channels, states))
            .skip(parts.normal(channels))
            .output(linear(channels, DIM, Activation.NONE, format))
            .build();
    return new TransformerLayer(mixer, norm());
  }

  private TransformerLayer mamba2(WeightFormat format) {
    int channels = 2 * DIM;
    int heads = 4;
    int states = 8;
    int convolved = channels + 2 * 2 * states;
    Mamba2 mixer =
        Mamba2.builder(runtime)
            .groups(2)
            .input(linear(DIM, channels + convolved + heads, Activation.NONE, format))
            .convolution(parts.normal(convolved, 1, 4), parts.normal(convolved))
            .stepBias(parts.normal(heads))
            .decay(parts.normal(heads))
            .skip(parts.normal(heads))
            .norm(parts.normal(channels), 1e-5f)
            .output(linear(channels, DIM, Activation.NONE, format))
            .build();
    return new TransformerLayer(mixer, norm());
  }

  /**
   * A layer with a specification, and norms before its attention and behind its sublayers, or none.
   */
  private TransformerLayer layer(
      AttentionSpec spec, WeightFormat format, Norm before, Norm behind) {
    MultiHeadAttention attention =
        MultiHeadAttention.builder(runtime, HEADS)
            .spec(spec)
            .positions(rotary())
            .headNorms(parts.norm(DIM / HEADS, true), parts.norm(DIM / HEADS, true))
            .fused(linear(DIM, 3 * DIM, Activation.NONE, format))
            .output(linear(DIM, DIM, Activation.NONE, format))
            .build();
    FeedForward feedForward =
        new FeedForward(
            runtime,
            linear(DIM, 40, Activation.GELU_TANH, format),
            linear(DIM, 40, Activation.NONE, format),
            linear(40, DIM, Activation.NONE, format));
    return new TransformerLayer(
        attention, before, behind, null, null, feedForward, norm(), behind == null ? null : norm());
  }

  private Linear linear(int in, int out, Activation activation, WeightFormat format) {
    return new Linear(runtime, parts.matrix(in, out), null, activation).packed(arena, format);
  }

  private TransformerEncoder encoder(NormOrder order, PositionalEncoding positions) {
    return new TransformerEncoder(
        runtime,
        List.of(layer(Causal.NONE, false, positions), layer(Causal.NONE, false, positions)),
        order,
        norm());
  }

  private TransformerDecoder decoder(
      NormOrder order, boolean crosses, PositionalEncoding positions) {
    return new TransformerDecoder(
        runtime,
        List.of(
            layer(Causal.BOTTOM_RIGHT, crosses, positions),
            layer(Causal.BOTTOM_RIGHT, crosses, positions)),
        order,
        norm());
  }

  private Embedding embedding(PositionalEncoding positions) {
    return new Embedding(runtime, parts.normal(VOCABULARY, DIM), 2, positions);
  }

  private DecoderOnlyModel model(TransformerDecoder decoder, PositionalEncoding positions) {
    Embedding embedding = embedding(positions);
    return new DecoderOnlyModel(runtime, embedding, decoder, embedding.output());
  }

  /** Every block once; workspaces lent and of its own take turns. */
  @Override
  public void run() {
    translator.encode(workspace, source, lengths, memory);
    translator.remember(null, translation, memory, lengths);
    translator.next(workspace, translation, prompts, null, bothLogits);
    translator.next(null, translation, tokens, null, bothLogits);
    translation.select(second);
    translator.next(workspace, translation, tokens, null, bothLogits);
    for (int n = 0; n < models.length; n++) {
      if (states[n].length(0) == states[n].capacity() || states[n].length(0) == 0) {
        states[n].reset();
        models[n].next(workspace, states[n], prompt, null, logits);
      }
      models[n].next(n == 1 ? null : workspace, states[n], token, null, logits);
    }
    patches.forward(workspace, images, rows);
    gated.forward(null, rows, null, memory, lengths, rows);
    encoder.forward(workspace, rows, null, rows);
    windowed.forward(workspace, rows, null, rows);
    for (TextEncoder each : factorized) {
      each.forward(null, source, lengths, memory);
    }
    relative.forward(workspace, memory, lengths, memory);
    relative.forward(workspace, rows, null, rows);
    table.forward(null, cells, 3, cells);
  }

  /** A text of 30 tokens; greedy and drawn ones take turns. */
  public void generate() {
    text.reset();
    generator.generate(prompt, TOKENS, drawn, next -> next >= 0);
    text.reset();
    generator.generate(prompt, TOKENS, Sampling.greedy(), next -> next >= 0);
  }

  /** Three texts of 10, 20 and 30 tokens in one loop; greedy and drawn ones take turns. */
  public void generateTogether() {
    together(drawn);
    together(Sampling.greedy());
  }

  private void together(Sampling sampling) {
    texts.reset();
    Arrays.fill(heard, 0);
    batch.generate(
        raggedPrompts,
        division,
        TOKENS,
        sampling,
        (sequence, _) -> ++heard[sequence] < 10 * (sequence + 1));
  }
}
