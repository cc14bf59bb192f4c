package dev.gatun.nn;

import dev.gatun.internal.Blocks;
import java.lang.foreign.MemorySegment;
import java.util.List;
import java.util.Objects;
import java.util.function.IntFunction;

/**
 * Blocks one after the other: what encoders and decoders have in common. Norms are fused with the
 * residual before them.
 */
final class Stack {

  private final TransformerLayer[] layers;
  private final NormOrder order;
  private final Norm last;
  private final long dim;
  private final Parameters parameters;

  Stack(List<TransformerLayer> layers, NormOrder order, Norm last, boolean crossAllowed) {
    this.order = Objects.requireNonNull(order, "order");
    this.layers = copy(layers, TransformerLayer[]::new);
    if (this.layers.length == 0) {
      throw new IllegalArgumentException("layers: expected 1 or more, got none");
    }
    this.dim = this.layers[0].dim();
    this.last = last;
    for (int n = 0; n < this.layers.length; n++) {
      TransformerLayer layer = this.layers[n];
      if (layer.dim() != dim) {
        throw new IllegalArgumentException(
            "layers[%d]: expected rows of %d, got %d".formatted(n, dim, layer.dim()));
      }
      if (!crossAllowed && layer.crossAttention() != null) {
        throw new IllegalArgumentException(
            "layers[%d]: expected no cross-attention in an encoder, got some".formatted(n));
      }
      if ((layer.crossAttention() == null) != (this.layers[0].crossAttention() == null)) {
        throw new IllegalArgumentException(
            "layers[%d]: expected cross-attention in all layers or in none, got some and none"
                .formatted(n));
      }
      if (layer.crossAttention() != null) {
        long memoryDim = this.layers[0].crossAttention().memoryDim();
        Rows.same(
            "layers[%d].crossAttention.memoryDim".formatted(n),
            memoryDim,
            layer.crossAttention().memoryDim());
      }
    }
    if (last != null) {
      Rows.same("finalNorm", dim, last.dim());
    }
    this.parameters = collectParameters();
  }

  /** The elements of a list, asked once: what is checked is what is used. */
  static <T> T[] copy(List<T> list, IntFunction<T[]> maker) {
    T[] array = list.toArray(maker).clone();
    for (int n = 0; n < array.length; n++) {
      if (array[n] == null) {
        throw new NullPointerException("layers[%d]".formatted(n));
      }
    }
    return array;
  }

  private Parameters collectParameters() {
    Parameters.Builder all = new Parameters.Builder();
    for (int n = 0; n < layers.length; n++) {
      TransformerLayer layer = layers[n];
      String name = "layers[%d].".formatted(n);
      all.add(name + "selfAttention", layer.selfAttention().parameters())
          .add(name + "selfNorm", layer.selfNorm().parameters())
          .add(name + "feedForward", layer.feedForward().parameters())
          .add(name + "feedForwardNorm", layer.feedForwardNorm().parameters());
      if (layer.crossAttention() != null) {
        all.add(name + "crossAttention", layer.crossAttention().parameters())
            .add(name + "crossNorm", layer.crossNorm().parameters());
      }
    }
    if (last != null) {
      all.add("finalNorm", last.parameters());
    }
    return all.build();
  }

  Parameters parameters() {
    return parameters;
  }

  long dim() {
    return dim;
  }

  int size() {
    return layers.length;
  }

  TransformerLayer layer(int n) {
    return layers[n];
  }

  boolean crosses() {
    return layers[0].crossAttention() != null;
  }

  /** Positions that the encoding of a layer can tell apart. */
  int positions() {
    int least = Integer.MAX_VALUE;
    for (TransformerLayer layer : layers) {
      least = Math.min(least, layer.selfAttention().positions().positions());
    }
    return least;
  }

  /**
   * Runs all blocks on rows without gaps.
   *
   * @param in {@code [batch, seq, dim]}; not written
   * @param keyLengths {@code [batch]} int32 of self-attention without a state, or NULL
   * @param queryLengths {@code [batch]} int32: rows of each sequence, or NULL
   * @param places positions of the rows where there is a state, else NULL
   * @param state the cache and the memory of a decoder, or null
   * @param out receives {@code [batch, seq, dim]}; may be in
   */
  void run(
      Blocks blocks,
      long batch,
      long seq,
      MemorySegment in,
      MemorySegment keyLengths,
      MemorySegment queryLengths,
      MemorySegment places,
      DecoderState state,
      MemorySegment out) {
    long rows = batch * seq;
    if (rows == 0) {
      return;
    }
    int mark = blocks.mark();
    MemorySegment x = blocks.take(rows * dim).segment();
    MemorySegment change = blocks.take(rows * dim).segment();
    // Pre-norm sublayers read normalised rows, post-norm ones the rows themselves.
    boolean pre = order == NormOrder.PRE;
    MemorySegment normal = pre ? blocks.take(rows * dim).segment() : x;
    if (pre) {
      layers[0].selfNorm().run(blocks, rows, in, MemorySegment.NULL, MemorySegment.NULL, normal);
    }
    MemorySegment residual = in;
    MemorySegment input = pre ? normal : in;
    for (int n = 0; n < layers.length; n++) {
      TransformerLayer layer = layers[n];
      if (state == null) {
        layer
            .selfAttention()
            .self(blocks, batch, seq, seq, 1, input, keyLengths, queryLengths, change);
      } else {
        layer
            .selfAttention()
            .cached(
                blocks, batch, seq, input, places, state, n, state.ends(), queryLengths, change);
      }
      Norm next = pre ? afterSelf(layer) : layer.selfNorm();
      next.run(blocks, rows, change, residual, pre ? x : MemorySegment.NULL, normal);
      residual = x;
      input = normal;
      if (layer.crossAttention() != null) {
        layer
            .crossAttention()
            .cross(
                blocks,
                batch,
                seq,
                input,
                state.memoryKeys(n),
                state.memoryValues(n),
                state.memories(),
                state.memorySeq(),
                state.memoryLengths(),
                queryLengths,
                change);
        next = pre ? layer.feedForwardNorm() : layer.crossNorm();
        next.run(blocks, rows, change, residual, pre ? x : MemorySegment.NULL, normal);
      }
      layer.feedForward().run(blocks, rows, input, dim, change, dim);
      boolean end = n + 1 == layers.length;
      if (!pre) {
        MemorySegment to = end && last == null ? out : x;
        layer.feedForwardNorm().run(blocks, rows, change, residual, MemorySegment.NULL, to);
      } else if (!end) {
        layers[n + 1].selfNorm().run(blocks, rows, change, residual, x, normal);
      } else if (last != null) {
        last.run(blocks, rows, change, residual, MemorySegment.NULL, out);
      } else { // only the sum is wanted; what the norm gives goes nowhere
        layer.feedForwardNorm().run(blocks, rows, change, residual, out, normal);
      }
    }
    if (!pre && last != null) {
      last.run(blocks, rows, x, MemorySegment.NULL, MemorySegment.NULL, out);
    }
    blocks.giveBackTo(mark);
  }

  private static Norm afterSelf(TransformerLayer layer) {
    return layer.crossAttention() != null ? layer.crossNorm() : layer.feedForwardNorm();
  }
}
