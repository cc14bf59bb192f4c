package dev.gatun;

/** Functions applied to each element of a layer's result. */
public enum Activation {
  /** The element itself. */
  NONE,
  /** max(x, 0), as in section 3.3 of "Attention Is All You Need". */
  RELU,
  /** x · Φ(x) with Φ by the error function (Hendrycks and Gimpel 2016): BERT's. */
  GELU,
  /** x/2 · (1 + tanh(√(2/π) (x + 0.044715 x³))): GPT-2's approximation of GELU. */
  GELU_TANH,
  /** x / (1 + e⁻ˣ), also called swish. */
  SILU,
  /** x · sigmoid(1.702 x): CLIP's. */
  QUICK_GELU
}
