package dev.gatun.model;

import java.util.Objects;

/**
 * A token that may stand in the place of a mask.
 *
 * @param token as the vocabulary has it, see {@link Tokenizer#tokens}
 * @param id of the token
 * @param probability 0 .. 1, among all tokens of the vocabulary
 * @param text the whole text with the token in the place of the mask, as {@link Tokenizer#decode}
 *     makes it of tokens; other masks stay, other special tokens are left out
 */
public record Fill(String token, int id, double probability, String text) {

  /** Wants both texts. */
  public Fill {
    Objects.requireNonNull(token, "token");
    Objects.requireNonNull(text, "text");
  }
}
