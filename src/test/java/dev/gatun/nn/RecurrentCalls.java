package dev.gatun.nn;

import dev.gatun.Activation;
import dev.gatun.DType;
import dev.gatun.GatunRuntime;
import dev.gatun.Tensor;
import dev.gatun.WeightFormat;
import dev.gatun.Workspace;
import dev.gatun.nn.GruLayer.Reset;
import dev.gatun.nn.RecurrentLayer.Direction;
import java.lang.foreign.Arena;
import java.util.Random;

/** Recurrent layers for the programs of {@link dev.gatun.support.ChildMain}. */
public final class RecurrentCalls implements Runnable {

  private static final int DIM = 24;

  private final GatunRuntime runtime = GatunRuntime.builder().threads(2).build();
  private final Workspace workspace = runtime.newWorkspace();
  private final RecurrentLayer lstm;
  private final RecurrentLayer gru;
  private final RecurrentLayer paper;
  private final Tensor x;
  private final Tensor out;
  private final Tensor wide;
  private final Tensor states;
  private final Tensor row;
  private final Tensor state;
  private final Sequences lengths;
  private final AttentiveTranslator translator;
  private final DecoderState decoderState;
  private final Tensor source;
  private final Tensor annotations;
  private final Tensor token;
  private final Tensor logits;

  /** Makes layers of each kind and a translator. */
  public RecurrentCalls(Arena arena) {
    Random random = new Random(1);
    lstm =
        new LstmLayer(runtime, Direction.FORWARD, weights(arena, random, 4, DIM))
            .packed(arena, WeightFormat.BF16);
    gru =
        new GruLayer(
            runtime,
            Reset.AFTER_PRODUCT,
            weights(arena, random, 3, DIM),
            weights(arena, random, 3, DIM));
    paper =
        new GruLayer(
                runtime,
                Reset.BEFORE_PRODUCT,
                weights(arena, random, 3, DIM),
                weights(arena, random, 3, DIM))
            .packed(arena, WeightFormat.FP32);
    x = Layers.normal(arena, random, 3, 7, DIM);
    out = Tensor.allocate(arena, DType.FLOAT32, 3, 7, DIM);
    wide = Tensor.allocate(arena, DType.FLOAT32, 3, 7, 2 * DIM);
    states = Tensor.allocate(arena, DType.FLOAT32, 3, 2 * DIM);
    row = Layers.normal(arena, random, 3, DIM);
    state = Tensor.allocate(arena, DType.FLOAT32, 3, 2 * DIM);
    lengths = Sequences.padded(Tensor.copyOf(arena, new int[] {7, 2, 5}, 3));
    translator = translator(runtime, arena, random, (GruLayer) paper);
    decoderState = translator.newState(arena, 3, 8, 7);
    source = Tensor.copyOf(arena, new int[21], 3, 7);
    annotations = Tensor.allocate(arena, DType.FLOAT32, 3, 7, 2 * DIM);
    token = Tensor.copyOf(arena, new int[] {1, 2, 0}, 3, 1);
    logits = Tensor.allocate(arena, DType.FLOAT32, 3, 11);
  }

  private static RecurrentWeights weights(Arena arena, Random random, int gates, int in) {
    return new RecurrentWeights(
        Layers.weight(arena, random, gates * DIM, in),
        Layers.weight(arena, random, gates * DIM, DIM),
        Layers.normal(arena, random, gates * DIM),
        Layers.normal(arena, random, gates * DIM));
  }

  private static Linear linear(GatunRuntime runtime, Arena arena, Random random, int in, int out) {
    return new Linear(
        runtime, Layers.weight(arena, random, in, out), null, Activation.NONE);
  }

  private static AttentiveTranslator translator(
      GatunRuntime runtime, Arena arena, Random random, GruLayer encoder) {
    Embedding table =
        new Embedding(
            runtime, Layers.normal(arena, random, 11, DIM), 1, PositionalEncoding.none());
    AttentiveGruDecoder decoder =
        new AttentiveGruDecoder(
            runtime,
            linear(runtime, arena, random, DIM, DIM),
            linear(runtime, arena, random, DIM, 18),
            linear(runtime, arena, random, 2 * DIM, 18),
            Layers.normal(arena, random, 18),
            weights(arena, random, 3, 3 * DIM),
            linear(runtime, arena, random, 4 * DIM, 2 * 10));
    return new AttentiveTranslator(
        "translator", runtime, table, encoder, table, decoder,
        linear(runtime, arena, random, 10, 11));
  }

  /** Passes both ways, steps, and a translation's. */
  @Override
  public void run() {
    lstm.forward(workspace, x, lengths, null, states, out);
    gru.forward(workspace, x, lengths, wide);
    paper.forward(null, x, null, wide);
    lstm.step(workspace, row, state, row);
    translator.encode(workspace, source, lengths, annotations);
    translator.remember(workspace, decoderState, annotations, lengths);
    for (int n = 0; n < 3; n++) {
      translator.next(workspace, decoderState, token, null, logits);
    }
  }
}
