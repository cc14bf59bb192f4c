package dev.gatun.model;

import java.nio.ByteBuffer;
import java.nio.CharBuffer;
import java.nio.charset.CharsetDecoder;
import java.nio.charset.CodingErrorAction;
import java.nio.charset.StandardCharsets;
import java.util.List;

/**
 * Makes text of bytes that come piece by piece: a character is given when it is complete, and what
 * may be the beginning of a stop string when it is known not to be one. One text, one thread.
 */
final class TextPieces {

  private final CharsetDecoder decoder =
      StandardCharsets.UTF_8
          .newDecoder()
          .onMalformedInput(CodingErrorAction.REPLACE)
          .onUnmappableCharacter(CodingErrorAction.REPLACE);

  private final List<String> stops;

  /** Characters that may begin a stop string. */
  private final StringBuilder held = new StringBuilder();

  private byte[] incomplete = {};
  private boolean stopped;

  /**
   * Begins a text.
   *
   * @param stops none of them empty
   */
  TextPieces(List<String> stops) {
    this.stops = stops;
  }

  /** Takes bytes and returns what is certain, which may be nothing. */
  String add(byte[] bytes) {
    ByteBuffer in = ByteBuffer.allocate(incomplete.length + bytes.length);
    in.put(incomplete).put(bytes).flip();
    CharBuffer out = CharBuffer.allocate(in.remaining() + 1);
    decoder.decode(in, out, false);
    incomplete = new byte[in.remaining()];
    in.get(incomplete);
    return certain(out.flip(), false);
  }

  /** Ends the text: returns what was held back, an incomplete character as U+FFFD. */
  String finish() {
    CharBuffer out = CharBuffer.allocate(incomplete.length + 1);
    decoder.decode(ByteBuffer.wrap(incomplete), out, true);
    decoder.flush(out);
    decoder.reset();
    incomplete = new byte[0];
    return certain(out.flip(), true);
  }

  /** Whether a stop string has come; nothing comes after it. */
  boolean stopped() {
    return stopped;
  }

  private String certain(CharSequence more, boolean last) {
    if (stopped) {
      return "";
    }
    held.append(more);
    int end = held.length();
    for (String stop : stops) {
      int at = held.indexOf(stop);
      if (at >= 0 && at < end) {
        end = at;
        stopped = true;
      }
    }
    if (!stopped && !last) {
      end -= longestBeginning();
    }
    String certain = held.substring(0, end);
    held.delete(0, end);
    return certain;
  }

  /** How many characters at the end may be the beginning of a stop string. */
  private int longestBeginning() {
    int longest = 0;
    for (String stop : stops) {
      int most = Math.min(stop.length() - 1, held.length());
      for (int count = most; count > longest; count--) {
        if (stop.startsWith(held.substring(held.length() - count))) {
          longest = count;
        }
      }
    }
    return longest;
  }
}
