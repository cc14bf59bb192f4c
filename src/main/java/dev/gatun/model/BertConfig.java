package dev.gatun.model;

/**
 * The sizes of a BERT-family encoder: post-norm, learned positions, exact (erf) GELU, scores scaled
 * by 1/sqrt(headDim).
 *
 * @param layers number of layers
 * @param hidden width of a token's vector; heads · headDim
 * @param heads number of attention heads
 * @param headDim width of one head
 * @param intermediate width between the two feed-forward matrices
 * @param vocabulary number of token ids
 * @param positions longest text, in tokens
 * @param tokenTypes number of token types, 0 in DistilBERT; a single text has type 0
 * @param layerNormEps what is added to the variance in every layer norm; finite, above 0
 * @param firstPosition the row of the position embeddings that a text's first token has: 0 in BERT,
 *     {@code pad_token_id + 1} in RoBERTa
 * @param paddingId the token that does not count and has the row of its own id, as in RoBERTa,
 *     where a text holds it; -1 if all tokens count
 */
public record BertConfig(
    int layers,
    int hidden,
    int heads,
    int headDim,
    int intermediate,
    int vocabulary,
    int positions,
    int tokenTypes,
    float layerNormEps,
    int firstPosition,
    int paddingId) {

  /** Checks the sizes. */
  public BertConfig {
    require("layers", layers, layers >= 1, "1 or more");
    require("heads", heads, heads >= 1, "1 or more");
    require("headDim", headDim, headDim >= 1, "1 or more");
    // As longs, whose product no two ints overflow.
    require("hidden", hidden, hidden == (long) heads * headDim, "heads * headDim");
    require("intermediate", intermediate, intermediate >= 1, "1 or more");
    require("vocabulary", vocabulary, vocabulary >= 1, "1 or more");
    require("positions", positions, positions >= 1, "1 or more");
    require("tokenTypes", tokenTypes, tokenTypes >= 0, "0 or more");
    require(
        "firstPosition",
        firstPosition,
        firstPosition >= 0 && firstPosition <= Integer.MAX_VALUE - positions,
        "a row");
    require(
        "paddingId", paddingId, paddingId >= -1 && paddingId < firstPosition + positions, "a row");
    if (!(layerNormEps > 0) || Float.isInfinite(layerNormEps)) {
      throw new IllegalArgumentException(
          "layerNormEps: expected a finite number above 0, got " + layerNormEps);
    }
  }

  /**
   * The sizes of an encoder whose positions count from 0, as BERT's.
   *
   * @param layers number of layers
   * @param hidden width of a token's vector
   * @param heads number of attention heads
   * @param headDim width of one head
   * @param intermediate width between the two feed-forward matrices
   * @param vocabulary number of token ids
   * @param positions longest text, in tokens
   * @param tokenTypes number of token types
   * @param layerNormEps what is added to the variance in every layer norm
   */
  public BertConfig(
      int layers,
      int hidden,
      int heads,
      int headDim,
      int intermediate,
      int vocabulary,
      int positions,
      int tokenTypes,
      float layerNormEps) {
    this(
        layers,
        hidden,
        heads,
        headDim,
        intermediate,
        vocabulary,
        positions,
        tokenTypes,
        layerNormEps,
        0,
        -1);
  }

  /** Rows of the position embeddings. */
  int positionRows() {
    return firstPosition + positions;
  }

  private static void require(String name, int value, boolean fits, String expected) {
    if (!fits) {
      throw new IllegalArgumentException(
          "%s: expected %s, got %d".formatted(name, expected, value));
    }
  }
}
