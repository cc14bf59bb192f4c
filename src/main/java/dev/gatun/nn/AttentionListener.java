package dev.gatun.nn;

import dev.gatun.AttentionSpec;
import dev.gatun.Tensor;

/**
 * Looks at the queries and keys of an encoder's layers while it runs: {@link
 * TextEncoder#forward(dev.gatun.Workspace, Tensor, Sequences, Tensor, AttentionListener)}. What
 * attention makes of them, {@code softmax(scale * Q * K^T)}, exists nowhere and is the listener's
 * to compute, by {@link dev.gatun.Attention} of the same specification.
 *
 * {@snippet :
 * encoder.forward(null, ids, null, hidden,
 *     (layer, spec, q, k) -> System.out.println(layer + ": " + q));
 * }
 */
@FunctionalInterface
public interface AttentionListener {

  /**
   * Is called once for each layer, in the order in which they run, by the thread that called the
   * encoder, between two operations of the layer. What it throws ends the encoder's call, with
   * nothing written.
   *
   * <p>The tensors are the encoder's scratch: they are read-only, usable by this thread, and until
   * this method returns; afterwards they throw {@link IllegalStateException}. The encoder's
   * workspace is in use: a listener that calls {@link dev.gatun.Attention} takes another, and where
   * the encoder has borrowed its own, not a second borrowed one, for which all might wait.
   *
   * @param layer 0 for the first
   * @param spec what the layer computes, with the biases that its positions add to scores
   * @param q queries as attention takes them, after projection and rotary positions: {@code
   *     [tokens, heads, headDim]} FLOAT32, the texts one after the other without padding
   * @param k keys, likewise: {@code [tokens, kvHeads, headDim]}
   */
  void attention(int layer, AttentionSpec spec, Tensor q, Tensor k);
}
