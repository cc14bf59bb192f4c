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
  TensorLayout mask;
  TensorLayout bias;
  TensorLayout blockMask;
  int blockQ;
  int blockK;
  TensorLayout segmentsQ;
  TensorLayout segmentsK;
  TensorLayout prefixLengths;
  TensorLayout queryPositions;

  /** Whether one from mask on is there. */
  private boolean masked;

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
        && queryLengths == of(options.queryLengths)
        && masked == options.masked
        && (!masked || holdMasks(options));
  }

  private boolean holdMasks(AttentionOptions options) {
    return mask == of(options.mask)
        && bias == of(options.bias)
        && blockMask == of(options.blockMask)
        && blockQ == options.blockQ
        && blockK == options.blockK
        && segmentsQ == of(options.segmentsQ)
        && segmentsK == of(options.segmentsK)
        && prefixLengths == of(options.prefixLengths)
        && queryPositions == of(options.queryPositions);
  }

  /** Takes those of another call, whose description is still to succeed; v may be null. */
  AttentionLayouts take(Tensor q, Tensor k, Tensor v, Tensor out, AttentionOptions options) {
    invalidate();
    this.q = q.layout;
    this.k = k.layout;
    this.v = of(v);
    this.out = out.layout;
    this.keyLengths = of(options.keyLengths);
    this.queryLengths = of(options.queryLengths);
    this.cuSeqlensQ = of(options.cuSeqlensQ);
    this.cuSeqlensK = of(options.cuSeqlensK);
    this.lse = of(options.lse);
    if (masked || options.masked) {
      masked = options.masked;
      mask = of(options.mask);
      bias = of(options.bias);
      blockMask = of(options.blockMask);
      blockQ = options.blockQ;
      blockK = options.blockK;
      segmentsQ = of(options.segmentsQ);
      segmentsK = of(options.segmentsK);
      prefixLengths = of(options.prefixLengths);
      queryPositions = of(options.queryPositions);
    }
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
