package dev.gatun;

/** Says which tensor it is whose arena is closed: the JVM's own message names none. */
final class ClosedArena {

  private ClosedArena() {}

  /**
   * Names a tensor.
   *
   * @param thrown in a call with these tensors
   * @param names of the tensors
   * @param tensors null where the call had none
   * @return an exception that names the first whose arena is closed, or what was thrown
   */
  static IllegalStateException named(
      IllegalStateException thrown, String[] names, Tensor... tensors) {
    for (int n = 0; n < tensors.length; n++) {
      if (tensors[n] != null && !tensors[n].segment.scope().isAlive()) {
        return new IllegalStateException(names[n] + ": its arena is closed", thrown);
      }
    }
    return thrown;
  }

  private static final String[] SCORES = {
    "keyLengths",
    "queryLengths",
    "cuSeqlens of queries",
    "cuSeqlens of keys",
    "lse",
    "alibiSlopes",
    "relativePositions",
    "sinks",
    "mask",
    "bias",
    "blockMask",
    "segments of queries",
    "segments of keys",
    "prefixLengths",
    "queryPositions"
  };

  /** The same of an attention call, whose specification and options have tensors as well. */
  static IllegalStateException named(
      IllegalStateException thrown,
      AttentionSpec spec,
      AttentionOptions options,
      String[] names,
      Tensor... tensors) {
    IllegalStateException named = named(thrown, names, tensors);
    return named != thrown
        ? named
        : named(
            thrown,
            SCORES,
            options.keyLengths,
            options.queryLengths,
            options.cuSeqlensQ,
            options.cuSeqlensK,
            options.lse,
            spec.alibiSlopes().orElse(null),
            spec.relativePositions().orElse(null),
            spec.sinks().orElse(null),
            options.mask,
            options.bias,
            options.blockMask,
            options.segmentsQ,
            options.segmentsK,
            options.prefixLengths,
            options.queryPositions);
  }
}
