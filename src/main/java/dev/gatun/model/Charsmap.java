package dev.gatun.model;

import dev.gatun.internal.Json;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.nio.CharBuffer;
import java.nio.charset.CharacterCodingException;
import java.nio.charset.StandardCharsets;
import java.text.Normalizer;
import java.util.ArrayDeque;
import java.util.Base64;
import java.util.BitSet;
import java.util.Locale;

/**
 * SentencePiece's table of replacements: the length of a trie in bytes, the trie, and the
 * replacements, each ended by a zero. The trie is a double array of 32-bit units; the library
 * follows it without a look at its ends, so that all of it that can be reached is followed here.
 */
final class Charsmap {
  private static final int MAX_CHARS = 32;
  private static final int MAX_BYTE = 0xf4;

  private final Json source;
  private final int[] units;
  private final byte[] replacements;

  private Charsmap(Json source, int[] units, byte[] replacements) {
    this.source = source;
    this.units = units;
    this.replacements = replacements;
  }

  /** Reads the base64 of a table, and refuses one that the library could not follow. */
  static Charsmap read(Json source) {
    byte[] bytes;
    try {
      bytes = Base64.getDecoder().decode(source.string());
    } catch (IllegalArgumentException e) {
      throw source.expected("base64");
    }
    if (!Base64.getEncoder().encodeToString(bytes).equals(source.string())) {
      throw source.expected("base64 with its padding");
    }
    ByteBuffer buffer = ByteBuffer.wrap(bytes).order(ByteOrder.LITTLE_ENDIAN);
    long size = bytes.length < 4 ? -1 : Integer.toUnsignedLong(buffer.getInt());
    if (size < 4 || size % 4 != 0 || size > buffer.remaining()) {
      throw broken(source, "the length of a trie within %d bytes".formatted(bytes.length), size);
    }
    int[] units = new int[(int) (size / 4)];
    buffer.asIntBuffer().get(units);
    byte[] replacements = new byte[bytes.length - 4 - (int) size];
    buffer.position(4 + (int) size).get(replacements);
    try {
      StandardCharsets.UTF_8.newDecoder().decode(ByteBuffer.wrap(replacements));
    } catch (CharacterCodingException e) {
      throw source.expected("replacements in UTF-8");
    }
    Charsmap charsmap = new Charsmap(source, units, replacements);
    charsmap.follow();
    return charsmap;
  }

  private static IllegalArgumentException broken(Json source, String what, long got) {
    return new IllegalArgumentException(
        "%s: expected %s, got %d".formatted(source.path(), what, got));
  }

  // ---- the trie ------------------------------------------------------------------------------

  private static int offset(int unit) {
    return (unit >>> 10) << ((unit & (1 << 9)) >>> 6);
  }

  private static boolean hasLeaf(int unit) {
    return (unit >>> 8 & 1) == 1;
  }

  private static int label(int unit) {
    return unit & (1 << 31 | 0xff);
  }

  /** Visits every state that some text leads to. */
  private void follow() {
    BitSet seen = new BitSet(units.length);
    BitSet leaves = new BitSet();
    ArrayDeque<Integer> open = new ArrayDeque<>();
    open.add(offset(units[0]));
    while (!open.isEmpty()) {
      int state = open.pop();
      for (int c = 1; c <= MAX_BYTE; c++) {
        int at = state ^ c;
        if (at < 0 || at >= units.length) {
          throw broken(source, "units below %d in its trie".formatted(units.length), at);
        }
        int unit = units[at];
        if (label(unit) != c) {
          continue;
        }
        int next = at ^ offset(unit);
        if (hasLeaf(unit)) {
          checkLeaf(next, leaves);
        }
        // A state beyond the units fails above, for every character that may follow.
        if (next < 0 || next >= units.length) {
          throw broken(source, "units below %d in its trie".formatted(units.length), next);
        }
        if (!seen.get(next)) {
          seen.set(next);
          open.add(next);
        }
      }
    }
  }

  private void checkLeaf(int at, BitSet leaves) {
    if (at < 0 || at >= units.length) {
      throw broken(source, "units below %d in its trie".formatted(units.length), at);
    }
    int start = units[at] & Integer.MAX_VALUE;
    if (start > replacements.length) {
      throw broken(source, "replacements within %d bytes".formatted(replacements.length), start);
    }
    if (leaves.get(start)) {
      return;
    }
    leaves.set(start);
    if (start < replacements.length && (replacements[start] & 0xc0) == 0x80) {
      throw broken(source, "replacements that begin at a character", start);
    }
    String plain = Normalizer.normalize(text(start), Normalizer.Form.NFKD).toLowerCase(Locale.ROOT);
    if (plain.codePointCount(0, plain.length()) > MAX_CHARS) {
      throw broken(
          source,
          "replacements of at most %d characters".formatted(MAX_CHARS),
          plain.codePointCount(0, plain.length()));
    }
  }

  private String text(int start) {
    int end = start;
    // As long as the longest that is allowed, and a character more.
    int most = Math.min(replacements.length, start + 4 * (MAX_CHARS + 1));
    while (end < most && replacements[end] != 0) {
      end++;
    }
    CharBuffer text =
        StandardCharsets.UTF_8.decode(ByteBuffer.wrap(replacements, start, end - start));
    return text.toString();
  }

  // ---- what it does --------------------------------------------------------------------------

  /** Returns what a character becomes by itself. */
  String replaced(int c) {
    String text = Character.toString(c);
    if (c == 0) {
      return text; // no state follows it
    }
    int at = offset(units[0]);
    for (byte next : text.getBytes(StandardCharsets.UTF_8)) {
      at ^= next & 0xff;
      int unit = units[at];
      if (label(unit) != (next & 0xff)) {
        return text;
      }
      at ^= offset(unit);
      if (hasLeaf(unit)) {
        return text(units[at] & Integer.MAX_VALUE);
      }
    }
    return text;
  }

  /**
   * Tells whether spaces stay, whatever follows them, and letters, digits and signs of ASCII stay
   * such.
   */
  boolean keepsAscii() {
    boolean keeps = label(units[offset(units[0]) ^ ' ']) != ' ';
    for (char c = '!'; c <= '~'; c++) {
      String text = replaced(c);
      keeps &=
          text.length() == 1
              && (TextCuts.isAlphanumeric(c)
                  ? TextCuts.isAlphanumeric(text.charAt(0))
                  : text.charAt(0) == c);
    }
    return keeps;
  }
}
