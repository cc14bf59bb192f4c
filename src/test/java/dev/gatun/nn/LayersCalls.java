package dev.gatun.nn;

import dev.gatun.Activation;
import dev.gatun.DType;
import dev.gatun.GatunRuntime;
import dev.gatun.Tensor;
import dev.gatun.WeightFormat;
import dev.gatun.Workspace;
import java.lang.foreign.Arena;
import java.util.Random;

/** Layers for the programs of {@link dev.gatun.support.ChildMain}. */
public final class LayersCalls implements Runnable {

  private static final int DIM = 32;
  private static final int HIDDEN = 96;

  private final GatunRuntime runtime = GatunRuntime.builder().threads(2).build();
  private final Workspace workspace = runtime.newWorkspace();
  private final MultiHeadAttention fused;
  private final MultiHeadAttention separate;
  private final MultiHeadAttention packed;
  private final FeedForward packedNetwork;
  private final LayerNorm norm;
  private final FeedForward network;
  private final Tensor x;
  private final Tensor longX;
  private final Tensor context;
  private final Tensor longContext;
  private final Sequences lengths;
  private final AttentionMechanism[] mechanisms = new AttentionMechanism[4];
  private final Tensor heads;
  private final Tensor headsOut;

  /** Makes a post-norm block of either kind of weights, and sequences of two lengths. */
  public LayersCalls(Arena arena) {
    Random random = new Random(1);
    Tensor square = Layers.weight(arena, random, DIM, DIM);
    Tensor vector = Layers.normal(arena, random, DIM);
    fused =
        MultiHeadAttention.builder(runtime, 4)
            .fused(Layers.weight(arena, random, DIM, 3 * DIM), null)
            .output(square, vector)
            .build();
    separate =
        MultiHeadAttention.builder(runtime, 4)
            .query(square, vector)
            .key(square, vector)
            .value(square, vector)
            .output(square, vector)
            .build();
    WeightFormat format = WeightFormat.INT8;
    packed =
        MultiHeadAttention.builder(runtime, 4)
            .fused(linear(arena, random, DIM, 3 * DIM, Activation.NONE).packed(arena, format))
            .output(linear(arena, random, DIM, DIM, Activation.NONE).packed(arena, format))
            .build();
    packedNetwork =
        new FeedForward(
            runtime,
            linear(arena, random, DIM, HIDDEN, Activation.SILU).packed(arena, WeightFormat.BF16),
            linear(arena, random, DIM, HIDDEN, Activation.NONE).packed(arena, WeightFormat.FP32),
            linear(arena, random, HIDDEN, DIM, Activation.NONE).packed(arena, format));
    norm = new LayerNorm(runtime, vector, vector, 1e-5f);
    network =
        new FeedForward(
            runtime,
            Layers.weight(arena, random, DIM, HIDDEN),
            Layers.normal(arena, random, HIDDEN),
            Activation.GELU,
            Layers.weight(arena, random, HIDDEN, DIM),
            vector);
    x = Layers.normal(arena, random, 1, 5, DIM);
    longX = Layers.normal(arena, random, 2, 9, DIM);
    context = Tensor.allocate(arena, DType.FLOAT32, 1, 5, DIM);
    longContext = Tensor.allocate(arena, DType.FLOAT32, 2, 9, DIM);
    Tensor projection = RandomFeatureAttention.orthogonalProjection(arena, 20, 8, 1);
    for (int n = 0; n < 4; n++) {
      mechanisms[n] =
          n < 2
              ? new LinearAttention(runtime, n % 2 == 1)
              : RandomFeatureAttention.of(runtime, projection, n % 2 == 1);
    }
    heads = Layers.normal(arena, random, 2, 70, 4, 8);
    headsOut = Tensor.allocate(arena, DType.FLOAT32, 2, 70, 4, 8);
    lengths = Sequences.padded(Tensor.copyOf(arena, new int[] {9, 4}, 2));
  }

  /**
   * Four blocks, packed layers, and relatives of attention: short and long sequences, a workspace
   * lent and one of its own.
   */
  @Override
  public void run() {
    block(null, fused, x, null, context);
    block(workspace, fused, longX, lengths, longContext);
    block(null, separate, longX, lengths, longContext);
    block(workspace, separate, x, null, context);
    packed.forward(workspace, longX, lengths, longContext);
    packedNetwork.forward(null, longContext, longX);
    for (AttentionMechanism mechanism : mechanisms) {
      mechanism.forward(workspace, heads, heads, heads, headsOut);
    }
  }

  private Linear linear(Arena arena, Random random, int in, int out, Activation activation) {
    return new Linear(
        runtime,
        Layers.weight(arena, random, in, out),
        Layers.normal(arena, random, out),
        activation);
  }

  private void block(
      Workspace own, MultiHeadAttention attention, Tensor in, Sequences lens, Tensor out) {
    attention.forward(own, in, lens, in, lens, out);
    norm.forward(own, out, in, null, out);
    network.forward(own, out, in);
    norm.forward(own, in, out, null, in);
  }

  /** Runs a layer in a JVM that has run nothing else. */
  public static void first() {
    try (GatunRuntime runtime = GatunRuntime.builder().threads(1).build();
        Arena arena = Arena.ofConfined()) {
      Tensor two = Tensor.copyOf(arena, new float[] {2}, 1, 1);
      Tensor x = Tensor.copyOf(arena, new float[] {3}, 1, 1);
      Tensor out = Tensor.allocate(arena, DType.FLOAT32, 1, 1);
      new Linear(runtime, two, null, Activation.NONE).forward(x, out);
      System.out.println("result=" + out.getFloat(0, 0));
    }
  }
}
