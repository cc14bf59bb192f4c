package dev.gatun.model;

import java.text.Normalizer;

/**
 * Where a text may be cut before it is tokenized, so that the tokens on either side stay what they
 * were.
 *
 * <p>That is before a space after an ASCII letter or digit, if every part of the tokenizer works on
 * one side of it only: normalizers change neither of the two characters into anything that joins, a
 * pre-tokenizer ends a piece between them, and no added token has them both. {@code BERT} also ends
 * pieces before Chinese characters, and before spaces whatever stands there. The parts say what
 * they do while the file is read; if one says nothing, there is no such place. Where there is none,
 * a text that is far too long is cut all the same, so far away that it hardly matters.
 */
final class TextCuts {

  /**
   * No text longer than this, once it is normalized, is given to the library: its time and memory
   * follow the length.
   */
  static final int MAX_CHARS = 1 << 20;

  /** More than one character can become, in a charsmap with 32 code points in its place. */
  private static final int MOST_GROWTH = 64;

  /** Before a text is cut anywhere, a space is looked for so near. */
  private static final int NEAR_CHARS = 1 << 12;

  private boolean local = true;
  private boolean spaces = true;
  private boolean lowLines;
  private boolean split;
  private boolean chinese;
  private boolean allSpaces;
  private boolean decomposes;
  private Charsmap charsmap;

  /** A part joins what stands around such a space, or nobody knows. */
  void joins() {
    local = false;
  }

  /** From here on, {@code ▁} stands in place of spaces, or of some of them. */
  void spacesBecomeLowLines(boolean all) {
    spaces &= !all;
    lowLines = true;
  }

  /** From here on there are no spaces any more. */
  void spacesBecomeOthers() {
    spaces = false;
    lowLines = false;
  }

  /** Pieces end before spaces. */
  void splitsBeforeSpaces() {
    split |= spaces && !lowLines;
  }

  /** Pieces end before {@code ▁}. */
  void splitsBeforeLowLines() {
    split |= lowLines && !spaces;
  }

  boolean hasSpaces() {
    return spaces;
  }

  boolean hasLowLines() {
    return lowLines;
  }

  /** Pieces end around Chinese characters. */
  void splitsBeforeChinese() {
    chinese = true;
  }

  /** Pieces end before spaces, whatever stands before them. */
  void splitsBeforeAllSpaces() {
    allSpaces = true;
  }

  /** One character may become many, by a normal form of Unicode. */
  void decomposes() {
    decomposes = true;
  }

  /** One character may become many, by a table too. */
  void replacesBy(Charsmap table) {
    decomposes = true;
    charsmap = table;
  }

  /** Takes note of an added token, which is found in the text before anything else. */
  void addedToken(String content) {
    allSpaces &= content.indexOf(' ', 1) < 0;
    for (int i = 0; i < content.length(); i++) {
      chinese &= !isChinese(content.charAt(i));
      if (i > 0 && content.charAt(i) == ' ' && isAlphanumeric(content.charAt(i - 1))) {
        local = false;
      }
    }
  }

  /** Returns the first place in a range where the text may be cut, or -1. */
  int next(String text, int from, int to) {
    if (local && (split || chinese)) {
      for (int i = Math.max(from, 1); i < Math.min(to + 1, text.length()); i++) {
        if (isCut(text, i)) {
          return i;
        }
      }
    }
    return -1;
  }

  /** Returns the last place in a range where the text may be cut, or -1. */
  int previous(String text, int to, int from) {
    if (local && (split || chinese)) {
      for (int i = Math.min(to, text.length() - 1); i >= Math.max(from, 1); i--) {
        if (isCut(text, i)) {
          return i;
        }
      }
    }
    return -1;
  }

  // ---- where there is no such place

  /** Returns the end of the longest start of the text that may be given to the library. */
  int longestStart(String text, int most) {
    int limit = Math.min(text.length(), most);
    if (!decomposes || limit <= MAX_CHARS / MOST_GROWTH) {
      return whole(text, Math.min(limit, MAX_CHARS), -1);
    }
    int end = 0;
    for (long chars = 0; end < limit; ) {
      int c = text.codePointAt(end);
      chars += normalized(c);
      if (chars > MAX_CHARS) {
        break;
      }
      end += Character.charCount(c);
    }
    return whole(text, Math.min(end, limit), -1);
  }

  /** Returns the start of the longest end of the text that may be given to the library. */
  int longestEnd(String text, int most) {
    int limit = Math.max(text.length() - most, 0);
    if (!decomposes || text.length() - limit <= MAX_CHARS / MOST_GROWTH) {
      return whole(text, Math.max(limit, text.length() - MAX_CHARS), 1);
    }
    int start = text.length();
    for (long chars = 0; start > limit; ) {
      int c = text.codePointBefore(start);
      chars += normalized(c);
      if (chars > MAX_CHARS) {
        break;
      }
      start -= Character.charCount(c);
    }
    return whole(text, Math.max(start, limit), 1);
  }

  /** Returns at, or its neighbor on a side where a surrogate pair stands around it. */
  private static int whole(String text, int at, int side) {
    return at > 0
            && at < text.length()
            && Character.isSurrogatePair(text.charAt(at - 1), text.charAt(at))
        ? at + side
        : at;
  }

  /** Returns the last place before a word that is near, else the place itself. */
  static int nearSpaceBefore(String text, int at) {
    for (int i = at; i > Math.max(at - NEAR_CHARS, 1); i--) {
      if (isWordStart(text, i)) {
        return i;
      }
    }
    return at;
  }

  /** Returns the first place before a word that is near, else the place itself. */
  static int nearSpaceAfter(String text, int at) {
    for (int i = Math.max(at, 1); i < Math.min((long) at + NEAR_CHARS, text.length()); i++) {
      if (isWordStart(text, i)) {
        return i;
      }
    }
    return at;
  }

  private static boolean isWordStart(String text, int at) {
    return at < text.length() && text.charAt(at) == ' ' && text.charAt(at - 1) != ' ';
  }

  /** Returns how many chars normalizers make of a code point. */
  private int normalized(int c) {
    int chars = Character.charCount(c);
    if (c >= 0x80 && (c < 0xd800 || c > 0xdfff)) {
      String text = Character.toString(c);
      chars = Math.max(chars, Normalizer.normalize(text, Normalizer.Form.NFKD).length());
    }
    return charsmap == null ? chars : Math.max(chars, charsmap.replaced(c).length());
  }

  private boolean isCut(String text, int at) {
    char left = text.charAt(at - 1);
    char right = text.charAt(at);
    return split && right == ' ' && (allSpaces || isAlphanumeric(left))
        || chinese && isChinese(right) && (isAlphanumeric(left) || isChinese(left));
  }

  static boolean isAlphanumeric(char c) {
    return c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9';
  }

  private static boolean isChinese(char c) {
    return c >= 0x4e00 && c <= 0x9fa5;
  }
}
