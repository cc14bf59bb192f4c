package dev.gatun.nn;

import dev.gatun.Causal;
import dev.gatun.GatunRuntime;
import dev.gatun.Tensor;
import dev.gatun.Workspace;
import dev.gatun.internal.LayerCall;
import dev.gatun.internal.LayerCalls;
import dev.gatun.internal.Matrix;
import dev.gatun.internal.SequenceRows;
import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.util.List;

/**
 * The decoder of "Attention Is All You Need", section 3.1: layers of masked self-attention,
 * attention over the encoder's output, and feed-forward network; without the second it is that of
 * GPT and LLaMA. Layers may have something else in place of self-attention ({@link SequenceMixer}).
 */
public final class TransformerDecoder extends SequenceDecoder {

  private final Stack stack;

  /**
   * Makes a decoder.
   *
   * @param runtime where it runs
   * @param layers in the order in which they run; self-attention with {@link Causal#BOTTOM_RIGHT},
   *     cross-attention in all or in none
   * @param order where they normalize
   * @param finalNorm applied after the last layer, or null
   */
  public TransformerDecoder(
      GatunRuntime runtime, List<TransformerLayer> layers, NormOrder order, Norm finalNorm) {
    super(runtime);
    this.stack = new Stack(layers, order, finalNorm, true);
    for (int n = 0; n < stack.size(); n++) {
      Causal causal = stack.layer(n).selfAttention().causal();
      if (causal != Causal.BOTTOM_RIGHT) {
        throw new IllegalArgumentException(
            "layers[%d].selfAttention: expected causal BOTTOM_RIGHT, got %s".formatted(n, causal));
      }
    }
  }

  @Override
  public long dim() {
    return stack.dim();
  }

  @Override
  public boolean hasMemory() {
    return stack.crosses();
  }

  /** {@inheritDoc} Keys and values are plain tensors. */
  @Override
  public DecoderState newState(Arena arena, int sequences, int capacity, int memoryCapacity) {
    return newState(arena, new TensorCache(arena, stack, sequences, capacity), memoryCapacity);
  }

  @Override
  public DecoderState newState(Arena arena, KeyValueCache cache, int memoryCapacity) {
    int layers = cache.layers();
    if (layers != stack.size()) {
      throw new IllegalArgumentException(
          "cache: expected %d layers, got %d".formatted(stack.size(), layers));
    }
    if (memoryCapacity < 1 && stack.crosses()) {
      throw new IllegalArgumentException(
          "memoryCapacity: expected 1 or more, got " + memoryCapacity);
    }
    return new DecoderState(this, arena, new CachedTensors(cache, stack), memoryCapacity);
  }

  @Override
  public void remember(
      Workspace workspace, DecoderState state, Tensor memory, Sequences sequences) {
    checkState(state);
    if (!stack.crosses()) {
      throw new IllegalStateException("this decoder has no cross-attention");
    }
    state.acquire();
    try {
      computeMemory(workspace, state, memory, sequences);
    } finally {
      state.release();
    }
  }

  private void computeMemory(
      Workspace workspace, DecoderState state, Tensor memory, Sequences sequences) {
    Rows.checkTokens("memory", memory, stack.layer(0).crossAttention().memoryDim());
    state.refuseShared("memory", memory, sequences);
    try (LayerCall call = LayerCalls.begin(runtime, workspace)) {
      SequenceRows rows =
          Sequences.divide(
              call, sequences, "memory", memory, memory.rank() - 1, MemorySegment.NULL);
      state.checkMemory("memory", rows);
      Matrix in = Sequences.gather(call, rows, Rows.view(call, "memory", memory));
      state.forgetMemory();
      for (int n = 0; n < stack.size(); n++) {
        Matrix k = state.memoryKeys(call.scratch(), n, rows.rows());
        Matrix v = state.memoryValues(call.scratch(), n, rows.rows());
        stack.layer(n).crossAttention().project(call, in, k, v);
      }
      state.setMemory(call.scratch(), rows);
    }
  }

  @Override
  Parameters parameters() {
    return stack.parameters();
  }

  @Override
  int positions() {
    return stack.positions();
  }

  @Override
  void compute(LayerCall call, DecoderState state, SequenceRows rows, Matrix x, Matrix out) {
    stack.run(call, rows, x, state, null, out);
  }

  @Override
  int layers() {
    return stack.size();
  }

  @Override
  long stateFloats(int layer) {
    return stack.layer(layer).selfAttention().stateFloats();
  }

  @Override
  long apartFloats(int layer) {
    return stack.layer(layer).selfAttention().apartFloats();
  }

  @Override
  long memoryKeyColumns(int layer) {
    MultiHeadAttention cross = stack.layer(layer).crossAttention();
    return cross == null ? 0 : cross.kvHeads() * cross.headDim();
  }

  @Override
  long memoryValueColumns(int layer) {
    MultiHeadAttention cross = stack.layer(layer).crossAttention();
    return cross == null ? 0 : cross.kvHeads() * cross.headDimV();
  }
}
