package dev.gatun.nn;

import dev.gatun.Tensor;

/**
 * Keys and values of the tokens that a decoder has seen, for each layer. {@link TensorCache} keeps
 * them in tensors that are allocated at once.
 *
 * <p>A cache belongs to one {@link DecoderState} and is used by one thread at a time. {@link
 * TransformerDecoder#newState(java.lang.foreign.Arena, KeyValueCache, int)} asks for sizes and
 * tensors, once, and refuses those that do not fit; later only {@link #select} is called. Layers
 * that keep sums in place of keys and values are not asked for.
 */
public interface KeyValueCache {

  /** {@return the number of layers, 1 or more} */
  int layers();

  /** {@return the number of sequences, 1 or more} */
  int sequences();

  /** {@return the capacity: tokens that a sequence can have} */
  int capacity();

  /**
   * Returns the keys of a layer.
   *
   * @param layer 0 … layers - 1
   * @return {@code [sequences, capacity, kvHeads, headDim]} float32, the heads of a token without
   *     gaps, writable, its memory that of no other tensor of the cache
   */
  Tensor keys(int layer);

  /**
   * Returns the values of a layer.
   *
   * @param layer 0 … layers - 1
   * @return {@code [sequences, capacity, kvHeads, headDimV]} float32, the heads of a token without
   *     gaps, writable, its memory that of no other tensor of the cache
   */
  Tensor values(int layer);

  /**
   * Makes each sequence a copy of another: beams that survive. Sequence n becomes what sequence
   * {@code sources[n]} was.
   *
   * @param sources a sequence for each sequence; checked, and valid during the call only
   * @param tokens how many tokens of each matter
   */
  void select(int[] sources, int tokens);
}
