package dev.gatun.internal;

import static org.junit.jupiter.api.Assertions.assertEquals;

import java.util.stream.LongStream;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;

class MessagesTest {

  @Test
  void sizes() {
    assertEquals("[]", Messages.sizes(new long[0]));
    assertEquals("[2, 8]", Messages.sizes(new long[] {2, 8}));
    assertEquals(
        "[1, 2, 3, 4, 5, 6, 7, 8]", Messages.sizes(LongStream.rangeClosed(1, 8).toArray()));
    assertEquals(
        "[1, 2, 3, 4, 5, 6, 7, 8, … 1000 numbers]",
        Messages.sizes(LongStream.rangeClosed(1, 1000).toArray()));
  }

  @ParameterizedTest
  @CsvSource(
      quoteCharacter = '`',
      value = {
        "plain größe 層 🙂,plain größe 層 🙂",
        "`a\nb`,a\\nb",
        "`a\r\tb`,a\\u000d\\u0009b",
        "a\u001b[31mb,a\\u001b[31mb",
        "a\u0085b,a\\u0085b",
        "a\u2028b\u2029,a\\u2028b\\u2029",
        "a\u202eb,a\\u202eb",
        "a\ud800b,a\\ud800b"
      })
  void line(String text, String expected) {
    assertEquals(expected, Messages.line(text));
    assertEquals("'" + expected + "'", Messages.quoted(text));
  }

  @Test
  void longOnesAreShortened() {
    assertEquals("'" + "🙂".repeat(80) + "'", Messages.quoted("🙂".repeat(80)));
    assertEquals("'" + "🙂".repeat(80) + "…'", Messages.quoted("🙂".repeat(81)));
    assertEquals("n".repeat(80) + "…", Messages.shortened("n".repeat(10 << 20)));
    assertEquals("null", Messages.quoted(null));
    assertEquals("null", Messages.line(null));
  }
}
