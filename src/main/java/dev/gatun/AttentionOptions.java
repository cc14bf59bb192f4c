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
  Tensor mask;
  Tensor bias;
  Tensor blockMask;
  int blockQ;
  int blockK;
  Tensor segmentsQ;
  Tensor segmentsK;
  Tensor prefixLengths;
  Tensor queryPositions;

  /** Whether one of the tensors from mask on is there: most calls look no further. */
  boolean masked;

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

  /**
   * Sets which keys a row may attend to, one by one, besides what other masks say. A dimension of
   * size 1, or with stride 0, counts for all.
   *
   * @param mask {@code [batch or 1, heads or 1, seqQ or 1, seqK or 1]} UINT8, any strides: 0 hides
   *     a key, any other number does not; ragged as many sequences as batch, and at least the rows
   *     and keys of the longest. Null: none
   * @return these options
   */
  public AttentionOptions mask(Tensor mask) {
    this.mask = mask;
    return update();
  }

  /**
   * Sets what is added to the scores, after scale and softcap, together with the biases of the
   * specification. A bias of minus infinity masks its key.
   *
   * @param bias FLOAT32, or of q's type, shape and strides as for {@link #mask}; null: none
   * @return these options
   */
  public AttentionOptions bias(Tensor bias) {
    this.bias = bias;
    return update();
  }

  /**
   * Sets which blocks of keys the rows of a block may attend to. Blocks begin at row and key 0 of
   * each batch row or sequence; tiles of keys that no row sees are not read.
   *
   * @param mask {@code [batch or 1, heads or 1, ceil(seqQ / blockQ) or 1, ceil(seqK / blockK) or
   *     1]} UINT8, as for {@link #mask}; null: none
   * @param blockQ rows of a block, 1 or more
   * @param blockK keys of a block, 1 or more
   * @return these options
   * @throws IllegalArgumentException if a block is smaller
   */
  public AttentionOptions blockMask(Tensor mask, int blockQ, int blockK) {
    if (mask != null && (blockQ < 1 || blockK < 1)) {
      throw new IllegalArgumentException(
          "%s: expected 1 or more, got %d"
              .formatted(blockQ < 1 ? "blockQ" : "blockK", blockQ < 1 ? blockQ : blockK));
    }
    this.blockMask = mask;
    this.blockQ = mask == null ? 0 : blockQ;
    this.blockK = mask == null ? 0 : blockK;
    return update();
  }

  /**
   * Lets a row see the keys of its own segment only, where several documents are packed in one
   * batch row.
   *
   * @param queries the segment of each row: {@code [batch, seqQ]} INT32, contiguous; ragged {@code
   *     [totalQ]}. Null: all are of one
   * @param keys the same of keys, {@code [batch, seqK]} or {@code [totalK]}; null exactly where
   *     queries is; may be the same tensor
   * @return these options
   * @throws IllegalArgumentException if only one is null
   */
  public AttentionOptions segments(Tensor queries, Tensor keys) {
    if ((queries == null) != (keys == null)) {
      throw new IllegalArgumentException(
          "queries, keys: expected segments of both or of neither, got those of "
              + (queries == null ? "keys" : "queries"));
    }
    this.segmentsQ = queries;
    this.segmentsK = keys;
    return update();
  }

  /**
   * Lets all rows see the first keys in spite of the causal mask, which there must be.
   *
   * @param lengths {@code [batch]} INT32, contiguous, each 0 … seqK: how many keys; ragged one for
   *     each sequence. Null: 0
   * @return these options
   */
  public AttentionOptions prefixLengths(Tensor lengths) {
    this.prefixLengths = lengths;
    return update();
  }

  /**
   * Sets where query rows stand on the scale of keys, for causal mask, window and biases; for rows
   * that do not follow each other.
   *
   * @param positions {@code [batch, seqQ]} INT32, contiguous; ragged {@code [totalQ]}. Null: row i
   *     stands at {@code i + keyLength - queryLength}, under {@link Causal#TOP_LEFT} at i
   * @return these options
   */
  public AttentionOptions queryPositions(Tensor positions) {
    this.queryPositions = positions;
    return update();
  }

  private AttentionOptions update() {
    masked =
        mask != null
            || bias != null
            || blockMask != null
            || segmentsQ != null
            || prefixLengths != null
            || queryPositions != null;
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
    return masked || other.masked ? setMasks(other) : this;
  }

  private AttentionOptions setMasks(AttentionOptions other) {
    mask = other.mask;
    bias = other.bias;
    blockMask = other.blockMask;
    blockQ = other.blockQ;
    blockK = other.blockK;
    segmentsQ = other.segmentsQ;
    segmentsK = other.segmentsK;
    prefixLengths = other.prefixLengths;
    queryPositions = other.queryPositions;
    if ((segmentsQ == null) != (segmentsK == null)
        || blockMask != null && (blockQ < 1 || blockK < 1)) {
      throw new IllegalArgumentException("options: changed by another thread during the call");
    }
    return update();
  }
}
