package dev.gatun.cli;

import dev.gatun.Tensor;
import java.lang.foreign.ValueLayout;
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

  /** The numbers of one row. */
  static StringBuilder numbers(Tensor vectors, int row, char separator) {
    int dimension = Math.toIntExact(vectors.size(1));
    StringBuilder line = new StringBuilder(13 * dimension);
    for (int i = 0; i < dimension; i++) {
      if (i > 0) {
        line.append(separator);
      }
      line.append(vectors.segment().getAtIndex(ValueLayout.JAVA_FLOAT, (long) row * dimension + i));
    }
    return line;
  }
}
