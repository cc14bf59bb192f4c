package dev.gatun;

/**
 * What a workspace's attention descriptor holds: the layouts of the tensors of one call after
 * another, and what was computed of them.
 */
final class AttentionLayouts {
  TensorLayout q;
  TensorLayout k;
  TensorLayout v;
  TensorLayout out;
  TensorLayout keyLengths;
  TensorLayout queryLengths;
  TensorLayout cuSeqlensQ;
  TensorLayout cuSeqlensK;
  TensorLayout lse;

  /** Null where the descriptor holds nothing valid. */
  private AttentionSpec spec;

  /** Whether the descriptor is that of this call. */
  boolean hold(
      AttentionSpec spec, Tensor q, Tensor k, Tensor v, Tensor out, AttentionOptions options) {
    return this.spec == spec
        && this.q == q.layout
        && this.k == k.layout
        && this.v == v.layout
        && this.out == out.layout
        && lse == of(options.lse)
        && keyLengths == of(options.keyLengths)
        && queryLengths == of(options.queryLengths);
  }

  /** Takes those of another call, whose description is still to succeed. */
  AttentionLayouts take(Tensor q, Tensor k, Tensor v, Tensor out, AttentionOptions options) {
    invalidate();
    this.q = q.layout;
    this.k = k.layout;
    this.v = v.layout;
    this.out = out.layout;
    this.keyLengths = of(options.keyLengths);
    this.queryLengths = of(options.queryLengths);
    this.cuSeqlensQ = of(options.cuSeqlensQ);
    this.cuSeqlensK = of(options.cuSeqlensK);
    this.lse = of(options.lse);
    return this;
  }

  /** The description has succeeded. */
  void described(AttentionSpec spec) {
    this.spec = spec;
  }

  /** The descriptor is used for another call. */
  void invalidate() {
    spec = null;
  }

  private static TensorLayout of(Tensor tensor) {
    return tensor == null ? null : tensor.layout;
  }
}
