package dev.gatun.support;

import java.nio.charset.StandardCharsets;
import java.text.Normalizer;
import java.util.ArrayList;
import java.util.HashMap;
import java.util.List;
import java.util.Locale;
import java.util.Map;
import java.util.regex.Matcher;
import java.util.regex.Pattern;

/**
 * BERT's tokenization, written down from its description and not from any library: clean, set CJK
 * characters apart, take accents off and lower-case unless the file says otherwise, split at spaces
 * and punctuation, then the longest pieces of the vocabulary from the left.
 */
public final class WordPiece {
  private static final int UNKNOWN = 100;
  private static final int CLS = 101;
  private static final int SEP = 102;
  private static final int MAX_WORD = 100;

  /** Found in the text as it is, before anything else. */
  private static final Pattern ADDED = Pattern.compile("\\[(PAD|UNK|CLS|SEP|MASK)\\]");

  private static final Pattern ENTRY = Pattern.compile("\"((?:[^\"\\\\]|\\\\.)*)\"\\s*:\\s*(\\d+)");

  private static final Pattern CASED = Pattern.compile("\"lowercase\"\\s*:\\s*false");

  private final Map<String, Integer> vocabulary = new HashMap<>();
  private final boolean cased;

  /** Reads the vocabulary of a tokenizer.json. */
  public WordPiece(byte[] json) {
    String text = new String(json, StandardCharsets.UTF_8);
    Matcher entries = ENTRY.matcher(text);
    cased = CASED.matcher(text).find();
    entries.region(text.indexOf("\"vocab\""), text.length());
    while (entries.find()) {
      vocabulary.put(unescape(entries.group(1)), Integer.parseInt(entries.group(2)));
    }
  }

  private static String unescape(String json) {
    return Pattern.compile("\\\\(u([0-9a-fA-F]{4})|.)")
        .matcher(json)
        .replaceAll(
            m ->
                Matcher.quoteReplacement(
                    m.group(2) == null
                        ? m.group(1)
                        : Character.toString(Integer.parseInt(m.group(2), 16))));
  }

  public int size() {
    return vocabulary.size();
  }

  /** The ids of a whole text, [CLS] and [SEP] included. */
  public int[] encode(String text) {
    List<Integer> ids = new ArrayList<>();
    ids.add(CLS);
    Matcher added = ADDED.matcher(text);
    int from = 0;
    while (added.find()) {
      encode(text.substring(from, added.start()), ids);
      ids.add(vocabulary.get(added.group()));
      from = added.end();
    }
    encode(text.substring(from), ids);
    ids.add(SEP);
    return ids.stream().mapToInt(Integer::intValue).toArray();
  }

  private void encode(String text, List<Integer> ids) {
    StringBuilder word = new StringBuilder();
    for (int c : normalize(text).codePoints().toArray()) {
      if (c == ' ' || isPunctuation(c)) {
        addPieces(word.toString(), ids);
        word.setLength(0);
        if (isPunctuation(c)) {
          addPieces(Character.toString(c), ids);
        }
      } else {
        word.appendCodePoint(c);
      }
    }
    addPieces(word.toString(), ids);
  }

  private String normalize(String text) {
    StringBuilder clean = new StringBuilder();
    for (int c : text.codePoints().toArray()) {
      if (c == '\t' || c == '\n' || c == '\r' || Character.isSpaceChar(c)) {
        clean.append(' ');
      } else if (isHan(c)) {
        clean.append(' ').appendCodePoint(c).append(' ');
      } else if (c != 0xfffd && !isControl(c)) {
        clean.appendCodePoint(c);
      }
    }
    if (cased) {
      return clean.toString();
    }
    StringBuilder result = new StringBuilder();
    for (int c : Normalizer.normalize(clean, Normalizer.Form.NFD).codePoints().toArray()) {
      if (Character.getType(c) != Character.NON_SPACING_MARK) {
        result.append(Character.toString(c).toLowerCase(Locale.ROOT));
      }
    }
    return result.toString();
  }

  private void addPieces(String word, List<Integer> ids) {
    if (word.isEmpty()) {
      return;
    }
    int[] chars = word.codePoints().toArray();
    List<Integer> pieces = new ArrayList<>();
    int start = 0;
    while (start < chars.length && chars.length <= MAX_WORD) {
      int end = chars.length;
      Integer id = null;
      for (; end > start; end--) {
        String piece = (start > 0 ? "##" : "") + new String(chars, start, end - start);
        id = vocabulary.get(piece);
        if (id != null) {
          break;
        }
      }
      if (id == null) {
        break;
      }
      pieces.add(id);
      start = end;
    }
    if (start == chars.length) {
      ids.addAll(pieces);
    } else {
      ids.add(UNKNOWN);
    }
  }

  private static boolean isControl(int c) {
    return switch (Character.getType(c)) {
      case Character.CONTROL, Character.FORMAT, Character.PRIVATE_USE, Character.SURROGATE -> true;
      default -> false;
    };
  }

  private static boolean isHan(int c) {
    return c >= 0x4e00 && c <= 0x9fff
        || c >= 0x3400 && c <= 0x4dbf
        || c >= 0x20000 && c <= 0x2a6df
        || c >= 0x2a700 && c <= 0x2b73f
        || c >= 0x2b740 && c <= 0x2b81f
        || c >= 0x2b820 && c <= 0x2ceaf
        || c >= 0xf900 && c <= 0xfaff
        || c >= 0x2f800 && c <= 0x2fa1f;
  }

  private static boolean isPunctuation(int c) {
    if (c < 128) {
      return c > 32 && c < 127 && !Character.isLetterOrDigit(c);
    }
    return switch (Character.getType(c)) {
      case Character.CONNECTOR_PUNCTUATION,
          Character.DASH_PUNCTUATION,
          Character.START_PUNCTUATION,
          Character.END_PUNCTUATION,
          Character.INITIAL_QUOTE_PUNCTUATION,
          Character.FINAL_QUOTE_PUNCTUATION,
          Character.OTHER_PUNCTUATION ->
          true;
      default -> false;
    };
  }
}
