package dev.gatun.model;

import java.util.Arrays;
import java.util.Objects;

/**
 * A text, or a pair of texts, as a model reads it, and where its tokens stand in it: the text of
 * token i is {@code text.substring(begins[i], ends[i])}, of the text that {@code sequences[i]}
 * names. All arrays have one element for each token.
 *
 * <p>Tokens of the template ({@code [CLS]}, {@code </s>}) stand nowhere, and have -1 in all four.
 * One that is written in a text, as {@code [MASK]}, has its place as any other. Some stand between
 * two characters ({@code begins[i] == ends[i]}), as a space that the tokenizer puts before a text,
 * and several may share one, as the bytes of an emoji do.
 *
 * <p>Two are equal if all their elements are.
 *
 * @param tokens the tokens, with their types
 * @param begins index of each token's first char (UTF-16) in the text that was given; not copied
 * @param ends index after each token's last char; not copied
 * @param words which of its text's words it belongs to, as the pre-tokenizer splits them, from 0
 *     on; of a very long text that is cut at its start ({@link Tokenizer#encode(String, int)}),
 *     counted in the part that was tokenized; not copied
 * @param sequences 0 for the first text, 1 for the second; not copied
 */
public record TokenSpans(Tokenized tokens, int[] begins, int[] ends, int[] words, int[] sequences) {

  /** Wants one element for each token. */
  public TokenSpans {
    Objects.requireNonNull(tokens, "tokens");
    requireCount("begins", begins, tokens);
    requireCount("ends", ends, tokens);
    requireCount("words", words, tokens);
    requireCount("sequences", sequences, tokens);
  }

  /** Makes those that stand nowhere. */
  static TokenSpans nowhere(Tokenized tokens) {
    int[] nowhere = new int[tokens.count()];
    Arrays.fill(nowhere, -1);
    return new TokenSpans(tokens, nowhere, nowhere.clone(), nowhere.clone(), nowhere.clone());
  }

  private static void requireCount(String name, int[] array, Tokenized tokens) {
    Objects.requireNonNull(array, name);
    if (array.length != tokens.count()) {
      throw new IllegalArgumentException(
          "%s: expected one for each of %d tokens, got %d"
              .formatted(name, tokens.count(), array.length));
    }
  }

  /** {@return the number of tokens} */
  public int count() {
    return tokens.count();
  }

  /** {@return the tokens' ids, not copied} */
  public int[] ids() {
    return tokens.ids();
  }

  @Override
  public boolean equals(Object other) {
    return other instanceof TokenSpans that
        && tokens.equals(that.tokens)
        && Arrays.equals(begins, that.begins)
        && Arrays.equals(ends, that.ends)
        && Arrays.equals(words, that.words)
        && Arrays.equals(sequences, that.sequences);
  }

  @Override
  public int hashCode() {
    return 31 * tokens.hashCode() + Arrays.hashCode(begins);
  }

  /** The tokens, and the elements of all arrays. */
  @Override
  public String toString() {
    return "TokenSpans[tokens=%s, begins=%s, ends=%s, words=%s, sequences=%s]"
        .formatted(
            tokens,
            Arrays.toString(begins),
            Arrays.toString(ends),
            Arrays.toString(words),
            Arrays.toString(sequences));
  }
}
