package dev.gatun.model;

import dev.gatun.internal.HuggingFace;
import dev.gatun.model.TokenizerTemplate.Trim;
import java.util.List;

/**
 * Where the library's tokens stand in their text.
 *
 * @param spans the first code point of each in the part and that after its last, one after the
 *     other
 * @param words of each, -1 for none
 * @param tokens as the library has them, or null if nothing is left out of them
 * @param part what was tokenized of the text
 * @param start where the part starts in the text, in chars
 */
record TokenPlaces(int[] spans, long[] words, String[] tokens, String part, int start) {

  static TokenPlaces of(long encoding, String part, int start, boolean trims) {
    return new TokenPlaces(
        HuggingFace.spans(encoding),
        HuggingFace.words(encoding),
        trims ? HuggingFace.tokens(encoding) : null,
        part,
        start);
  }

  /** Writes the places of some tokens that are kept, from an index of the result on. */
  void write(int from, int kept, List<Trim> trims, TokenSpans result, int at) {
    int point = 0;
    int index = 0;
    for (int i = 0; i < kept; i++) {
      int token = from + i;
      int begin = spans[2 * token];
      int end = spans[2 * token + 1];
      for (Trim trim : trims) {
        int spaces = leadingSpaces(tokens[token]);
        // The library takes one space of the first token that is kept for the one it has added.
        boolean first = i == 0 || begin == 0 && start == 0;
        if (spaces > 0 && !(spaces == 1 && first && trim.prefixed())) {
          begin = Math.min(begin + spaces, end);
        }
        int trailing = trailingSpaces(tokens[token]);
        if (trailing > 0 && (end >= trailing || start > 0)) {
          end = Math.max(end - trailing, begin);
        }
      }
      index = part.offsetByCodePoints(index, begin - point);
      result.begins()[at + i] = start + index;
      index = part.offsetByCodePoints(index, end - begin);
      result.ends()[at + i] = start + index;
      point = end;
      result.words()[at + i] = Math.toIntExact(words[token]);
    }
  }

  private static int leadingSpaces(String token) {
    int i = 0;
    while (i < token.length() && isSpace(token.charAt(i))) {
      i++;
    }
    return i;
  }

  private static int trailingSpaces(String token) {
    int i = token.length();
    while (i > 0 && isSpace(token.charAt(i - 1))) {
      i--;
    }
    return token.length() - i;
  }

  /** Unicode's White_Space, and the letter that stands for the byte of a space. */
  private static boolean isSpace(char c) {
    return c == 'Ġ' || c >= '\t' && c <= '\r' || c == 0x85 || Character.isSpaceChar(c);
  }
}
