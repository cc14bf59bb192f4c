package dev.gatun.internal;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.io.IOException;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import java.util.Set;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;
import org.junit.jupiter.params.provider.ValueSource;

class JsonTest {

  @Test
  void accessorsReadTheDocument() {
    Json json =
        Json.parse("{\"a\": {\"b\": [1, -2.5, \"x\\u00e9\", true, null]}, \"c\": 7, \"d\": null}");
    List<Json> b = json.get("a").get("b").elements();
    assertEquals(1, b.get(0).integer(0, 1));
    assertEquals(-2.5, b.get(1).number());
    assertEquals("xé", b.get(2).string());
    assertTrue(b.get(3).bool());
    assertTrue(b.get(4).isNull());
    assertEquals("a.b[2]", b.get(2).path());
    assertTrue(json.find("d").isNull());
    assertTrue(json.find("e").isNull());
    assertEquals(Set.of("a", "c", "d"), json.names());
  }

  @ParameterizedTest
  @CsvSource(
      delimiter = '|',
      value = {
        "{\"n\": 600}|n: expected a whole number from 0 to 510, got 600",
        "{\"n\": -1}|n: expected a whole number from 0 to 510, got -1",
        "{\"n\": 5.0}|n: expected a whole number from 0 to 510, got 5.0",
        "{\"n\": 4294967297}|n: expected a whole number from 0 to 510, got 4294967297",
        "{\"n\": 1e999999999}|n: expected a whole number from 0 to 510, got 1E+999999999",
        "{\"n\": \"5\"}|n: expected a whole number from 0 to 510, got \"5\"",
        "{\"n\": [5]}|n: expected a whole number from 0 to 510, got an array of 1 elements",
        "{\"n\": null}|n: expected a value, got null",
        "{}|n: expected a value, got none",
        "[]|the document: expected an object, got an array of 0 elements",
      })
  void whatIsWrongIsSaidWithItsPlace(String text, String message) {
    Json json = Json.parse(text);
    assertEquals(
        message,
        assertThrows(IllegalArgumentException.class, () -> json.get("n").integer(0, 510))
            .getMessage());
  }

  @ParameterizedTest
  @ValueSource(
      strings = {
        "",
        " ",
        "{",
        "[1,]",
        "{\"a\":1,}",
        "{\"a\":1} {}",
        "nul",
        "'a'",
        "{a:1}",
        "[NaN]",
        "[Infinity]",
        "[01]",
        "{\"a\":1,\"a\":2}",
        "\"\\ud800\"",
        "\"\\udc00\\ud800\"",
        "// c\n1",
        "\u0000",
        "\ufeff{}"
      })
  void whatIsNoJsonIsRefused(String text) {
    assertThrows(IllegalArgumentException.class, () -> Json.parse(text));
  }

  @Test
  void nestingHasALimit() {
    String deep = "[".repeat(100_000) + "]".repeat(100_000);
    assertThrows(IllegalArgumentException.class, () -> Json.parse(deep));
  }

  @Test
  void otherBytesThanUtf8AreRefused() {
    byte[] latin1 = "\"é\"".getBytes(StandardCharsets.ISO_8859_1);
    assertThrows(IllegalArgumentException.class, () -> Json.parse(latin1));
  }

  @Test
  void unknownKeysAreRefusedByName() {
    Json json = Json.parse("{\"a\": {\"b\": 1, \"c\\n\": 2}}");
    assertEquals(
        "a: expected only the keys [b], got \"c\\n\"",
        assertThrows(IllegalArgumentException.class, () -> json.get("a").only(Set.of("b")))
            .getMessage());
  }

  @Test
  void aDocumentIsWrittenAsItWasRead() {
    String text = "{\"a\":[1,-0.1234567890123456789,\"\\\"\\n😀\",true,null,{}],\"b\":1E-7}";
    assertEquals(text, Json.parse(text).toString());
    assertEquals("{\"b\":1E-7}", Json.parse(text).textWithout("a", "x"));
  }

  /** Also where Jackson reads on in the midst of a member, every 4000 characters. */
  @Test
  void membersAreLeftOutOfATextOfAnyLength() {
    for (int length = 0; length < 9000; length = length < 40 ? length + 1 : length + 97) {
      String long1 = "\"é\\n😀" + "y".repeat(length) + "\"";
      String kept = "\"a\\u0062\" :\n { \"n\": [ 1.50, 2 ] }";
      String number = "\"c\": -1.250e+3";
      String text = " { \"x\" : " + long1 + " , " + kept + " ,\r\n\"y\":7 , " + number + "\t} ";
      assertEquals("{" + kept + "," + number + "}", Json.parse(text).textWithout("x", "y"));
      assertEquals("{" + number + "}", Json.parse(text).textWithout("x", "y", "ab"));
      assertEquals("{}", Json.parse(text).textWithout("x", "y", "ab", "c"));
    }
  }

  @Test
  void numbersAreThoseThatAreWritten() {
    Json json =
        Json.parse(
            "{\"a\": 1e-12, \"b\": 0.1, \"c\": 1E300, \"d\": -0.0, \"e\": 9223372036854775807,"
                + " \"f\": 9223372036854775808, \"g\": 1.0, \"h\": 1e999999}");
    assertEquals(1e-12, json.get("a").number());
    assertEquals(0.1, json.get("b").number());
    assertEquals(1e300, json.get("c").number());
    assertEquals(-0.0, json.get("d").number());
    assertEquals(Long.MAX_VALUE, json.get("e").integer(0, Long.MAX_VALUE));
    assertEquals(0x1p63, json.get("f").number());
    for (String key : new String[] {"f", "g"}) {
      assertThrows(IllegalArgumentException.class, () -> json.get(key).integer(0, Long.MAX_VALUE));
    }
    assertThrows(IllegalArgumentException.class, () -> json.get("h").number());
    assertThrows(IllegalArgumentException.class, () -> Json.parse("1e99999999999"));
  }

  /** As Python's json module writes them, in files alone; NaN is nowhere a number. */
  @Test
  void filesMayHaveInfinities(@TempDir Path folder) throws IOException {
    Path file = folder.resolve("config.json");
    Files.writeString(
        file,
        "[Infinity, -Infinity, {\"__float__\": \"Infinity\"}, {\"__float__\": \"-Infinity\"}, 2.5,"
            + " \"Infinity\", {\"__float__\": \"NaN\"}, {\"float\": \"Infinity\"}, null]");
    List<Json> elements = Json.read(file).elements();
    double[] numbers = {1 / 0.0, -1 / 0.0, 1 / 0.0, -1 / 0.0, 2.5};
    for (int n = 0; n < elements.size(); n++) {
      Json element = elements.get(n);
      if (n < numbers.length) {
        assertEquals(numbers[n], element.numberOrInfinity());
      } else {
        assertThrows(IllegalArgumentException.class, element::numberOrInfinity);
      }
      if (n != 4) {
        assertThrows(IllegalArgumentException.class, element::number);
      }
    }
    for (String none : new String[] {"NaN", "INF", "-INF", "+Infinity"}) {
      Files.writeString(file, "[" + none + "]");
      assertThrows(IOException.class, () -> Json.read(file), none);
    }
  }

  @Test
  void longTextsAreShortenedInMessages() {
    Json json = Json.parse("{\"n\": \"" + "😀".repeat(100) + "\"}");
    assertEquals(
        "n: expected true or false, got \"" + "😀".repeat(40) + "…\"",
        assertThrows(IllegalArgumentException.class, () -> json.get("n").bool()).getMessage());
  }

  @Test
  void filesAreNamed(@TempDir Path folder) throws IOException {
    Path file = Files.writeString(folder.resolve("config.json"), "{\"a\": }");
    String message = assertThrows(IOException.class, () -> Json.read(file)).getMessage();
    assertTrue(message.startsWith(file + ": expected JSON at character "), message);
  }
}
