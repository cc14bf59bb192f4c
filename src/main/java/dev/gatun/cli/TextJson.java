package dev.gatun.cli;

import java.nio.charset.CharsetEncoder;

/** Texts and vectors as lines of output. */
final class TextJson {
  private TextJson() {}

  /** What standard output cannot hold is escaped, not replaced. */
  static StringBuilder quote(StringBuilder to, String text) {
    CharsetEncoder encoder = System.out.charset().newEncoder();
    to.append('"');
    for (int i = 0; i < text.length(); ) {
      int c = text.codePointAt(i);
      int count = Character.charCount(c);
      if (c == '"' || c == '\\') {
        to.append('\\').append((char) c);
      } else if (c >= ' ' && c <= '~'
          || c > '\u00a0' && encoder.canEncode(text.substring(i, i + count))) {
        to.appendCodePoint(c);
      } else {
        for (int n = i; n < i + count; n++) {
          to.append("\\u%04x".formatted((int) text.charAt(n)));
        }
      }
      i += count;
    }
    return to.append('"');
  }

  /** The numbers of a vector. */
  static StringBuilder numbers(char separator, float... vector) {
    StringBuilder line = new StringBuilder(13 * vector.length);
    for (int i = 0; i < vector.length; i++) {
      if (i > 0) {
        line.append(separator);
      }
      line.append(vector[i]);
    }
    return line;
  }
}
