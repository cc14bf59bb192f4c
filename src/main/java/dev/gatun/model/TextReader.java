package dev.gatun.model;

import dev.gatun.internal.HuggingFace;

/**
 * Gives texts to the library: as a whole, or as much of one that is far too long as surely has more
 * tokens than are kept.
 */
final class TextReader {
  /** A text is tokenized as a whole up to so many characters. */
  private static final int WHOLE_CHARS = 1 << 16;

  /** And up to so many for each token that it is cut to. */
  private static final int CHARS_PER_TOKEN = 32;

  /** A text is cut anywhere only after so many characters without a place for it. */
  private static final int ANYWHERE_CHARS = 1 << 18;

  /** Only tokens so far from such a cut are kept: those next to it may be other ones. */
  private static final int DOUBTFUL_TOKENS = 128;

  private final long handle;
  private final TextCuts cuts;
  private final boolean keepsEnd;
  private final boolean trims;

  /**
   * Makes one.
   *
   * @param keepsEnd whether the end of texts is kept, not their start
   * @param trims whether spaces are left out of places
   */
  TextReader(long handle, TextCuts cuts, boolean keepsEnd, boolean trims) {
    this.handle = handle;
    this.cuts = cuts;
    this.keepsEnd = keepsEnd;
    this.trims = trims;
  }

  /**
   * Tokenizes a text.
   *
   * @param argument what the text is called in messages
   * @param kept how many tokens are kept at most
   * @param places whether it is asked where they stand
   * @throws IllegalArgumentException if the library may not be given as much as is needed
   */
  ReadTokens read(String argument, String text, int kept, boolean places) {
    return keepsEnd
        ? readEnd(argument, text, kept, places)
        : readStart(argument, text, kept, places);
  }

  private ReadTokens readStart(String argument, String text, int kept, boolean places) {
    long chars = Math.max(WHOLE_CHARS, (long) CHARS_PER_TOKEN * kept);
    while (true) {
      int longest = cuts.longestStart(text, most(chars));
      boolean limited = longest < Math.min(text.length(), most(chars)) - 1;
      boolean whole = longest == text.length();
      int end = chars >= text.length() ? -1 : cuts.next(text, (int) chars, longest);
      boolean clean = end >= 0 || whole;
      if (end < 0) {
        end = whole ? longest : TextCuts.nearSpaceBefore(text, longest);
      }
      String part = wellFormed(text.substring(0, end));
      long encoding = HuggingFace.encode(handle, part);
      try {
        long[] all = HuggingFace.ids(encoding);
        boolean enough = all.length > kept + (clean ? 0L : DOUBTFUL_TOKENS);
        boolean last = !clean && (limited || most(chars) == TextCuts.MAX_CHARS);
        if (end == text.length() || enough || last) {
          boolean goesOn = end < text.length() && !enough;
          if (goesOn) {
            requireEnough(argument, text, all.length, kept);
          }
          return tokens(
              all,
              0,
              goesOn ? kept + 1 : 0,
              places ? TokenPlaces.of(encoding, part, 0, trims) : null);
        }
      } finally {
        HuggingFace.deleteEncoding(encoding);
      }
      chars = 2L * Math.max(chars, end);
    }
  }

  /** The first word of the part may be tokenized otherwise than in the text, and is left out. */
  private ReadTokens readEnd(String argument, String text, int kept, boolean places) {
    int length = text.length();
    long chars = Math.max(WHOLE_CHARS, (long) CHARS_PER_TOKEN * kept);
    while (true) {
      int longest = cuts.longestEnd(text, most(chars));
      boolean limited = longest > Math.max(length - most(chars), 0) + 1;
      int second = chars >= length ? -1 : cuts.previous(text, (int) (length - chars), longest);
      int first = second < 0 ? -1 : cuts.previous(text, second - 1, longest);
      boolean clean = first >= 0 || longest == 0;
      if (first < 0) {
        first = longest == 0 ? 0 : TextCuts.nearSpaceAfter(text, longest);
      }
      String part = wellFormed(text.substring(first));
      long encoding = HuggingFace.encode(handle, part);
      try {
        long[] all = HuggingFace.ids(encoding);
        int other = first == 0 || !clean ? 0 : count(text.substring(first, second));
        boolean enough = all.length - other > kept + (clean ? 0L : DOUBTFUL_TOKENS);
        boolean last = !clean && (limited || most(chars) == TextCuts.MAX_CHARS);
        if (first == 0 || enough || last) {
          boolean goesOn = first > 0 && !enough;
          if (goesOn) {
            requireEnough(argument, text, all.length, kept);
          }
          return tokens(
              all,
              other,
              goesOn ? kept + 1 : 0,
              places ? TokenPlaces.of(encoding, part, first, trims) : null);
        }
      } finally {
        HuggingFace.deleteEncoding(encoding);
      }
      chars = 2L * Math.max(chars, length - first);
    }
  }

  /** Of a text that goes on, one token more is counted than is kept. */
  private static ReadTokens tokens(long[] all, int from, int least, TokenPlaces places) {
    int count = all.length - from;
    return new ReadTokens(all, from, Math.max(count, least), places);
  }

  /** Returns how long a part may become that begins with so many characters. */
  private static int most(long chars) {
    return (int) Math.min(Math.max(ANYWHERE_CHARS, 2 * chars), TextCuts.MAX_CHARS);
  }

  /** As many tokens as were asked for may need a longer part than the library is given. */
  private static void requireEnough(String argument, String text, int tokens, int kept) {
    if (tokens <= kept && (long) CHARS_PER_TOKEN * kept > TextCuts.MAX_CHARS) {
      throw new IllegalArgumentException(
          "%s: expected at most %d characters for more than %d tokens, got %d"
              .formatted(argument, TextCuts.MAX_CHARS, tokens, text.length()));
    }
  }

  private int count(String text) {
    long encoding = HuggingFace.encode(handle, wellFormed(text));
    try {
      return HuggingFace.ids(encoding).length;
    } finally {
      HuggingFace.deleteEncoding(encoding);
    }
  }

  /** One unpaired surrogate would make the library misread all other characters beyond U+FFFF. */
  private static String wellFormed(String text) {
    char[] copy = null;
    for (int i = 0; i < text.length(); i++) {
      char c = text.charAt(i);
      if (!Character.isSurrogate(c)) {
        continue;
      }
      if (Character.isHighSurrogate(c)
          && i + 1 < text.length()
          && Character.isLowSurrogate(text.charAt(i + 1))) {
        i++;
      } else {
        copy = copy == null ? text.toCharArray() : copy;
        copy[i] = '\ufffd';
      }
    }
    return copy == null ? text : new String(copy);
  }
}
