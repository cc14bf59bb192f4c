package dev.gatun.model;

import java.util.HexFormat;

/** Tokens that stand for one byte, {@code <0x0A>}. */
final class ByteTokens {

  private ByteTokens() {}

  /** The byte, 0 .. 255, or -1 for any other token. */
  static int value(String token) {
    return token.length() == 6
            && token.startsWith("<0x")
            && token.charAt(5) == '>'
            && HexFormat.isHexDigit(token.charAt(3))
            && HexFormat.isHexDigit(token.charAt(4))
        ? HexFormat.fromHexDigits(token, 3, 5)
        : -1;
  }
}
