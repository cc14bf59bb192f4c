package dev.gatun.model;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.nio.charset.StandardCharsets;
import java.util.List;
import org.junit.jupiter.api.Test;

class TextPiecesTest {
  @Test
  void charactersComeWhole() {
    TextPieces pieces = new TextPieces(List.of());
    StringBuilder text = new StringBuilder();
    for (byte each : "aé€😀z".getBytes(StandardCharsets.UTF_8)) {
      String piece = pieces.add(new byte[] {each});
      assertEquals(-1, piece.indexOf('\uFFFD'));
      text.append(piece);
    }
    assertEquals("aé€😀z", text + pieces.finish());
    assertEquals("", pieces.add(new byte[] {(byte) 0xE2, (byte) 0x82}));
    assertEquals("\uFFFD", pieces.finish());
  }

  @Test
  void stopStringsAreHeldBack() {
    TextPieces pieces = new TextPieces(List.of("abcd", "bx"));
    assertEquals("z", pieces.add("zabc".getBytes(StandardCharsets.UTF_8)));
    assertEquals("abc", pieces.add("e".getBytes(StandardCharsets.UTF_8)).substring(0, 3));
    assertEquals("", pieces.add("ab".getBytes(StandardCharsets.UTF_8)));
    assertEquals("a", pieces.add("xq".getBytes(StandardCharsets.UTF_8)));
    assertTrue(pieces.stopped());
    assertEquals("", pieces.add("more".getBytes(StandardCharsets.UTF_8)) + pieces.finish());
    TextPieces unfinished = new TextPieces(List.of("abcd"));
    assertEquals("", unfinished.add("abc".getBytes(StandardCharsets.UTF_8)));
    assertEquals("abc", unfinished.finish());
  }
}
