package dev.gatun.model;

import dev.gatun.Tensor;
import java.util.List;
import java.util.Objects;

/**
 * What the tokens of a text attend to: {@link TextEmbedder#attention(String,
 * java.lang.foreign.Arena)}.
 *
 * @param text the tokens' ids, and whether the text was cut
 * @param tokens each as the vocabulary has it ({@link Tokenizer#tokens}); cannot be changed
 * @param weights {@code [layers, heads, tokens, tokens]} FLOAT32, row-major, in the caller's arena:
 *     how much the token of a row attends to the token of a column. Where the model has no sinks,
 *     each row's sum is 1
 */
public record TextAttention(Tokenized text, List<String> tokens, Tensor weights) {

  /** Wants all three, and copies the list. */
  public TextAttention {
    Objects.requireNonNull(text, "text");
    tokens = List.copyOf(tokens);
    Objects.requireNonNull(weights, "weights");
  }
}
