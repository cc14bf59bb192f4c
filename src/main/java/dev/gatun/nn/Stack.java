package dev.gatun.nn;

import dev.gatun.internal.LayerCall;
import dev.gatun.internal.Matrix;
import dev.gatun.internal.RowSteps;
import dev.gatun.internal.Scratch;
import dev.gatun.internal.SequenceRows;
import java.lang.foreign.MemorySegment;
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
  private final long mostProjected;
  private final long mostContext;
  private final long mostHidden;
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
      checkNorms(n, layer);
      if (crossAllowed && layer.selfAttention().positions().relativeKeys() != null) {
        throw new IllegalArgumentException(
            "layers[%d].selfAttention: expected no relative keys in a decoder, got some"
                .formatted(n));
      }
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
    long projected = 0;
    long context = 0;
    long hidden = 0;
    for (TransformerLayer layer : this.layers) {
      if (layer.feedForward() != null) {
        hidden = Math.max(hidden, layer.feedForward().hidden());
      }
      for (SequenceMixer mixer : mixers(layer)) {
        projected = Math.max(projected, mixer.projected());
        context = Math.max(context, mixer.contextColumns());
      }
    }
    this.mostProjected = projected;
    this.mostContext = context;
    this.mostHidden = hidden;
    this.parameters = collectParameters();
  }

  private void checkNorms(int n, TransformerLayer layer) {
    if (layer.selfNorm() == null && (n > 0 || order == NormOrder.POST)) {
      throw new IllegalArgumentException(
          "layers[%d].selfNorm: expected a norm in all but the first layer of PRE and SANDWICH, got none in one of %s"
              .formatted(n, order));
    }
    boolean sandwich = order == NormOrder.SANDWICH;
    if ((layer.selfOutputNorm() != null) != sandwich) {
      throw new IllegalArgumentException(
          "layers[%d].selfOutputNorm: expected %s with %s, got %s"
              .formatted(n, sandwich ? "a norm" : "none", order, sandwich ? "none" : "one"));
    }
    if (sandwich && layer.crossAttention() != null) {
      throw new IllegalArgumentException(
          "layers[%d].crossAttention: expected none with %s, got some".formatted(n, order));
    }
  }

  private static List<SequenceMixer> mixers(TransformerLayer layer) {
    return layer.crossAttention() == null
        ? List.of(layer.selfAttention())
        : List.of(layer.selfAttention(), layer.crossAttention());
  }

  private Parameters collectParameters() {
    Parameters.Builder all = new Parameters.Builder();
    for (int n = 0; n < layers.length; n++) {
      TransformerLayer layer = layers[n];
      String name = "layers[" + n + "].";
      all.add(name + "selfAttention", layer.selfAttention().parameters())
          .add(name + "selfNorm", layer.selfNorm())
          .add(name + "selfOutputNorm", layer.selfOutputNorm())
          .add(name + "feedForwardNorm", layer.feedForwardNorm())
          .add(name + "feedForwardOutputNorm", layer.feedForwardOutputNorm());
      if (layer.feedForward() != null) {
        all.add(name + "feedForward", layer.feedForward().parameters());
      }
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
   * Computes the layers. From an attention to the next everything is row by row, and waits as
   * {@link RowSteps} for being done at once: what they use is taken once, not by each layer.
   *
   * @param rows how they are divided
   * @param state caches that self-attention appends to, and memory; null in an encoder
   * @param listener told of queries and keys in an encoder, or null
   * @param out may be in
   */
  void run(
      LayerCall call,
      SequenceRows rows,
      Matrix in,
      DecoderState state,
      AttentionListener listener,
      Matrix out) {
    if (in.rows() == 0) {
      return;
    }
    Scratch scratch = call.scratch();
    long mark = scratch.mark();
    Matrix x = scratch.matrix(in.rows(), dim);
    Matrix sublayerOut = scratch.matrix(in.rows(), dim);
    Matrix projections = scratch.matrix(in.rows(), mostProjected);
    Matrix contexts = scratch.matrix(in.rows(), mostContext);
    Matrix hiddens = scratch.matrix(in.rows(), mostHidden);
    // Pre-norm sublayers read normalized rows, post-norm ones the rows themselves.
    boolean pre = order != NormOrder.POST;
    Matrix normed = pre ? scratch.matrix(in.rows(), dim) : x;
    Matrix sum = pre ? x : null;
    SequenceRows memory = crosses() ? state.memoryRows(scratch) : null;
    Matrix residual = in;
    Matrix input = in;
    if (pre && layers[0].selfNorm() != null) {
      layers[0].selfNorm().append(call, in, null, null, normed, true);
      input = normed;
    }
    for (int n = 0; n < layers.length; n++) {
      TransformerLayer layer = layers[n];
      SequenceMixer self = layer.selfAttention();
      Matrix all = projections.narrow(self.projected());
      Matrix context = contexts.narrow(self.contextColumns());
      if (state == null) {
        self.append(call, rows, input, all, context, MemorySegment.NULL, sublayerOut, true);
        if (listener != null) { // nothing that waits uses queries or keys any more
          self.show(listener, n, all);
        }
      } else {
        self.appendCached(call, rows, input, state, n, all, context, sublayerOut, true);
      }
      if (layer.feedForward() == null) {
        appendLast(call, n, layer.selfNorm(), sublayerOut, residual, x, normed, out);
        residual = x;
        input = normed;
        continue;
      }
      appendOutputNorm(call, layer.selfOutputNorm(), sublayerOut);
      Norm next = pre ? afterSelf(layer) : layer.selfNorm();
      next.append(call, sublayerOut, residual, sum, normed, pre);
      residual = x;
      input = normed;
      if (layer.crossAttention() != null) {
        MultiHeadAttention cross = layer.crossAttention();
        long inner = scratch.mark();
        Matrix k = state.memoryKeys(scratch, n, state.memoryLength());
        Matrix v = state.memoryValues(scratch, n, state.memoryLength());
        all = projections.narrow(cross.projected());
        context = contexts.narrow(cross.contextColumns());
        cross.appendCross(call, rows, input, memory, k, v, all, context, sublayerOut, true);
        scratch.release(inner);
        next = pre ? layer.feedForwardNorm() : layer.crossNorm();
        next.append(call, sublayerOut, residual, sum, normed, pre);
      }
      FeedForward feedForward = layer.feedForward();
      Matrix hidden = hiddens.narrow(feedForward.hidden());
      feedForward.append(call, input, hidden, sublayerOut, true);
      appendOutputNorm(call, layer.feedForwardOutputNorm(), sublayerOut);
      appendLast(call, n, layer.feedForwardNorm(), sublayerOut, residual, x, normed, out);
    }
    if (!pre && last != null) {
      last.append(call, x, null, null, out, false);
    }
    call.steps().run();
    scratch.release(mark);
  }

  /** What comes behind the last sublayer of a layer, whose norm is given. */
  private void appendLast(
      LayerCall call,
      int n,
      Norm norm,
      Matrix sublayerOut,
      Matrix residual,
      Matrix x,
      Matrix normed,
      Matrix out) {
    boolean end = n + 1 == layers.length;
    if (order == NormOrder.POST) {
      Matrix to = end && last == null ? out : x;
      norm.append(call, sublayerOut, residual, null, to, false);
    } else if (!end) {
      layers[n + 1].selfNorm().append(call, sublayerOut, residual, x, normed, true);
    } else if (last != null) {
      last.append(call, sublayerOut, residual, null, out, false);
    } else { // only the sum is wanted; what the norm gives goes nowhere
      norm.append(call, sublayerOut, residual, out, normed, true);
    }
  }

  private static void appendOutputNorm(LayerCall call, Norm norm, Matrix rows) {
    if (norm != null) {
      norm.append(call, rows, null, null, rows, true);
    }
  }

  private static Norm afterSelf(TransformerLayer layer) {
    return layer.crossAttention() != null ? layer.crossNorm() : layer.feedForwardNorm();
  }
}
