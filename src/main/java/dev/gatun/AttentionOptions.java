package dev.gatun;

/**
 * What an attention call may have besides queries, keys, values and output. Everything is absent
 * until it is set, and again when it is set to null; {@link Attention} says what each means.
 *
 * {@snippet :
 * AttentionOptions options = new AttentionOptions().keyLengths(lengths).lse(lse);
 * attention.forward(q, k, v, out, options);
 * }
 *
 * <p>May be used for any number of calls, so that a warm call makes no garbage; not thread-safe.
 * The tensors are only read or written during a call.
 */
public final class AttentionOptions {

  /** Nothing. Never changed. */
  static final AttentionOptions NONE = new AttentionOptions();

  Tensor keyLengths;
  Tensor queryLengths;
  Tensor cuSeqlensQ;
  Tensor cuSeqlensK;
  Tensor lse;

  /** Makes options with everything absent. */
  public AttentionOptions() {}

  /**
   * Sets how many keys each batch row has.
   *
   * @param lengths {@code [batch]} INT32, contiguous, each 0 … seqK; null: all are seqK
   * @return these options
   */
  public AttentionOptions keyLengths(Tensor lengths) {
    this.keyLengths = lengths;
    return this;
  }

  /**
   * Sets how many query rows each batch row has.
   *
   * @param lengths {@code [batch]} INT32, contiguous, each 0 … seqQ; null: all are seqQ
   * @return these options
   */
  public AttentionOptions queryLengths(Tensor lengths) {
    this.queryLengths = lengths;
    return this;
  }

  /**
   * Makes the call one of ragged sequences: those of different lengths, one after the other.
   *
   * @param queries {@code [sequences + 1]} INT32, contiguous: where each sequence's query rows
   *     begin, and where the last one's end; 0 or more, and they do not fall. Null: not ragged
   * @param keys the same for keys and values; null exactly where queries is
   * @return these options
   * @throws IllegalArgumentException if only one is null
   */
  public AttentionOptions cuSeqlens(Tensor queries, Tensor keys) {
    if ((queries == null) != (keys == null)) {
      throw new IllegalArgumentException(
          "queries, keys: expected offsets of both or of neither, got those of "
              + (queries == null ? "keys" : "queries"));
    }
    this.cuSeqlensQ = queries;
    this.cuSeqlensK = keys;
    return this;
  }

  /**
   * Sets what receives the logarithm of the sum of exponentials.
   *
   * @param lse {@code [batch, heads, seqQ]}, ragged {@code [heads, totalQ]}, any strides; null: not
   *     wanted
   * @return these options
   */
  public AttentionOptions lse(Tensor lse) {
    this.lse = lse;
    return this;
  }

  /** Takes another's, each read once. */
  AttentionOptions set(AttentionOptions other) {
    Tensor queries = other.cuSeqlensQ;
    Tensor keys = other.cuSeqlensK;
    if ((queries == null) != (keys == null)) {
      throw new IllegalArgumentException("options: changed by another thread during the call");
    }
    keyLengths = other.keyLengths;
    queryLengths = other.queryLengths;
    lse = other.lse;
    cuSeqlensQ = queries;
    cuSeqlensK = keys;
    return this;
  }
}
