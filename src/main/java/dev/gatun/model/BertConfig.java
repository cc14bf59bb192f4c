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
 * @param tokenTypes number of token types; a single text has type 0
 * @param layerNormEps what is added to the variance in every layer norm
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
    float layerNormEps) {}
