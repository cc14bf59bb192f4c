package dev.gatun.internal;

import java.util.Arrays;
import java.util.Locale;
import java.util.stream.Collectors;

/**
 * How messages show what comes from outside: names of files and tensors, texts, shapes. Whatever
 * those hold, a message stays one line, moves no cursor, and is short enough to be read.
 */
public final class Messages {
  /** Of a name or a text; the rest is an ellipsis. */
  private static final int SHOWN_CHARACTERS = 80;

  /** Of a shape or an index; of a longer one only the count of the others is said. */
  private static final int SHOWN_SIZES = 8;

  private Messages() {}

  /**
   * A shape, an index or strides: {@code [2, 8]}, or {@code [1, 1, 1, 1, 1, 1, 1, 1, … 1000
   * numbers]}.
   */
  public static String sizes(long[] numbers) {
    return Arrays.stream(numbers)
        .limit(SHOWN_SIZES)
        .mapToObj(Long::toString)
        .collect(
            Collectors.joining(
                ", ",
                "[",
                numbers.length <= SHOWN_SIZES ? "]" : ", … %d numbers]".formatted(numbers.length)));
  }

  /** A text escaped as {@link #line} does, and not all of a long one. */
  public static String shortened(String text) {
    return shortened(text, SHOWN_CHARACTERS);
  }

  /**
   * A text, which may be null, in single quotes, escaped as {@link #line} does, and not all of a
   * long one.
   */
  public static String quoted(String text) {
    return text == null ? "null" : "'" + shortened(text) + "'";
  }

  /** As {@link #shortened(String)}, with so many characters of it at most. */
  public static String shortened(String text, int most) {
    if (text.codePointCount(0, text.length()) <= most) {
      return line(text);
    }
    return line(text.substring(0, text.offsetByCodePoints(0, most))) + "…";
  }

  /**
   * A text on one line: line breaks become {@code \n}, other characters that are not seen but
   * change what is (control characters, marks that turn the direction of writing, halves of
   * surrogate pairs) &#92;u and their number.
   */
  public static String line(String text) {
    String given = String.valueOf(text);
    boolean seen = true;
    for (int i = 0, c; seen && i < given.length(); i += Character.charCount(c)) {
      c = given.codePointAt(i);
      seen = !isUnseen(c);
    }
    if (seen) {
      return given;
    }
    StringBuilder line = new StringBuilder(given.length() + 16);
    given
        .codePoints()
        .forEach(
            c -> {
              if (c == '\n') {
                line.append("\\n");
              } else if (isUnseen(c)) {
                line.append(String.format(Locale.ROOT, "\\u%04x", c));
              } else {
                line.appendCodePoint(c);
              }
            });
    return line.toString();
  }

  private static boolean isUnseen(int c) {
    return switch (Character.getType(c)) {
      case Character.CONTROL,
          Character.FORMAT,
          Character.LINE_SEPARATOR,
          Character.PARAGRAPH_SEPARATOR,
          Character.SURROGATE ->
          true;
      default -> false;
    };
  }
}
