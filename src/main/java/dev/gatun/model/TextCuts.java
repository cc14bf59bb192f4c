package dev.gatun.model;

/**
 * Where a text may be cut before it is tokenized, so that the tokens on either side stay what they
 * were.
 *
 * <p>That is before a space after an ASCII letter or digit, if every part of the tokenizer works on
 * one side of it only: normalizers change neither of the two characters into anything that joins, a
 * pre-tokenizer ends a piece between them, and no added token has them both. {@code BERT} also ends
 * pieces before Chinese characters. The parts say what they do while the file is read; if one says
 * nothing, texts are never cut.
 */
final class TextCuts {

  /** No text longer than this is given to the library: its time and memory follow the length. */
  static final int MAX_CHARS = 1 << 20;

  private boolean local = true;
  private boolean spaces = true;
  private boolean lowLines;
  private boolean split;
  private boolean chinese;

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

  /** Takes note of an added token, which is found in the text before anything else. */
  void addedToken(String content) {
    for (int i = 0; i < content.length(); i++) {
      chinese &= !isChinese(content.charAt(i));
      if (i > 0 && content.charAt(i) == ' ' && isAlphanumeric(content.charAt(i - 1))) {
        local = false;
      }
    }
  }

  /** Returns the first place from here on where the text may be cut; its end is one. */
  int next(String text, int from) {
    if (local && (split || chinese)) {
      for (int i = Math.max(from, 1); i < text.length(); i++) {
        if (isCut(text, i)) {
          return i;
        }
      }
    }
    return text.length();
  }

  /** Returns the last place up to here where the text may be cut; its start is one. */
  int previous(String text, int to) {
    if (local && (split || chinese)) {
      for (int i = Math.min(to, text.length() - 1); i > 0; i--) {
        if (isCut(text, i)) {
          return i;
        }
      }
    }
    return 0;
  }

  private boolean isCut(String text, int at) {
    char left = text.charAt(at - 1);
    char right = text.charAt(at);
    return split && right == ' ' && isAlphanumeric(left)
        || chinese && isChinese(right) && (isAlphanumeric(left) || isChinese(left));
  }

  static boolean isAlphanumeric(char c) {
    return c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9';
  }

  private static boolean isChinese(char c) {
    return c >= 0x4e00 && c <= 0x9fa5;
  }
}
