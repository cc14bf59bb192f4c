package dev.gatun.nn;

import dev.gatun.internal.LayerCall;
import dev.gatun.internal.Matrix;
import dev.gatun.internal.Scratch;
import dev.gatun.internal.SequenceRows;
import java.util.List;
import java.util.Objects;

/**
 * Layers one after the other: what encoders and decoders have in common. Norms are fused with the
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
    this.layers = Rows.copy("layers", layers, TransformerLayer[]::new);
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

  private Parameters collectParameters() {
    Parameters.Builder all = new Parameters.Builder();
    for (int n = 0; n < layers.length; n++) {
      TransformerLayer layer = layers[n];
      String name = "layers[%d].".formatted(n);
      all.add(name + "selfAttention", layer.selfAttention().parameters())
          .add(name + "selfNorm", layer.selfNorm())
          .add(name + "feedForward", layer.feedForward().parameters())
          .add(name + "feedForwardNorm", layer.feedForwardNorm());
      if (layer.crossAttention() != null) {
        all.add(name + "crossAttention", layer.crossAttention().parameters())
            .add(name + "crossNorm", layer.crossNorm());
      }
    }
    return all.add("finalNorm", last).build();
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

  List<TransformerLayer> layers() {
    return List.of(layers);
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
   * Computes the layers.
   *
   * @param rows how they are divided
   * @param state caches that self-attention appends to, and memory; null in an encoder
   * @param out may be in
   */
  void run(LayerCall call, SequenceRows rows, Matrix in, DecoderState state, Matrix out) {
    if (in.rows() == 0) {
      return;
    }
    Scratch scratch = call.scratch();
    long mark = scratch.mark();
    Matrix x = scratch.matrix(in.rows(), dim);
    Matrix sublayerOut = scratch.matrix(in.rows(), dim);
    // Pre-norm sublayers read normalized rows, post-norm ones the rows themselves.
    boolean pre = order == NormOrder.PRE;
    Matrix normed = pre ? scratch.matrix(in.rows(), dim) : x;
    Matrix sum = pre ? x : null;
    SequenceRows memory = crosses() ? state.memoryRows(scratch) : null;
    if (pre) {
      layers[0].selfNorm().run(call, in, null, null, normed);
    }
    Matrix residual = in;
    Matrix input = pre ? normed : in;
    for (int n = 0; n < layers.length; n++) {
      TransformerLayer layer = layers[n];
      if (state == null) {
        layer.selfAttention().self(call, rows, input, sublayerOut);
      } else {
        layer.selfAttention().cached(call, rows, input, state, n, sublayerOut);
      }
      Norm next = pre ? afterSelf(layer) : layer.selfNorm();
      next.run(call, sublayerOut, residual, sum, normed);
      residual = x;
      input = normed;
      if (layer.crossAttention() != null) {
        long inner = scratch.mark();
        Matrix k = state.memoryKeys(scratch, n, state.memoryLength());
        Matrix v = state.memoryValues(scratch, n, state.memoryLength());
        layer.crossAttention().cross(call, rows, input, memory, k, v, sublayerOut);
        scratch.release(inner);
        next = pre ? layer.feedForwardNorm() : layer.crossNorm();
        next.run(call, sublayerOut, residual, sum, normed);
      }
      layer.feedForward().run(call, input, sublayerOut);
      boolean end = n + 1 == layers.length;
      if (!pre) {
        layer
            .feedForwardNorm()
            .run(call, sublayerOut, residual, null, end && last == null ? out : x);
      } else if (!end) {
        layers[n + 1].selfNorm().run(call, sublayerOut, residual, x, normed);
      } else if (last != null) {
        last.run(call, sublayerOut, residual, null, out);
      } else { // only the sum is wanted; what the norm gives goes nowhere
        layer.feedForwardNorm().run(call, sublayerOut, residual, out, normed);
      }
    }
    if (!pre && last != null) {
      last.run(call, x, null, null, out);
    }
    scratch.release(mark);
  }

  private static Norm afterSelf(TransformerLayer layer) {
    return layer.crossAttention() != null ? layer.crossNorm() : layer.feedForwardNorm();
  }
}
