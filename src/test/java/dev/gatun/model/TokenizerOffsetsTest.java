package dev.gatun.model;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertNotEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import dev.gatun.GatunException;
import dev.gatun.internal.HuggingFace;
import dev.gatun.internal.TokenizerLibrary;
import dev.gatun.support.TokenizerFiles;
import java.nio.charset.StandardCharsets;
import java.util.Arrays;
import java.util.Random;
import java.util.Set;
import java.util.function.Supplier;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.MethodSource;

/** Where tokens stand, against what the library says with the whole file. */
class TokenizerOffsetsTest {
  private static final String[] PARTS = {
    "the",
    "cat",
    "ab",
    "sat",
    " ",
    "   ",
    "   <mask>",
    "\n",
    "\u00a0",
    "\u3000",
    ".",
    "123",
    "é",
    "日本",
    "don't",
    "e\u0301\u0323",
    "ﬁ",
    "😀",
    "👩‍👩‍👧",
    "🇩🇪",
    "▁",
    "Ġ",
    "\u200b",
    "[MASK]",
    "<mask>",
    "<s>",
    "<|begin|>",
    "<|end|>",
    "ﷺ",
    "İ",
    "\0"
  };

  @BeforeAll
  static void load() {
    TokenizerLibrary.load();
  }

  private static Tokenizer load(String json) {
    return Tokenizer.load(json.getBytes(StandardCharsets.UTF_8));
  }

  static Set<String> families() {
    return TokenizerFiles.all().keySet();
  }

  private static String text(Random random) {
    StringBuilder text = new StringBuilder();
    for (int i = random.nextInt(13); i > 0; i--) {
      text.append(PARTS[random.nextInt(PARTS.length)]);
      text.append(random.nextInt(3) == 0 ? " " : "");
    }
    return text.toString();
  }

  private static String truncated(String json, String direction, String strategy, int max) {
    return json.replaceFirst(
        "\"truncation\":(null|\\{[^}]*\\})",
        "\"truncation\":{\"direction\":\"%s\",\"max_length\":%d,\"strategy\":\"%s\",\"stride\":0}"
            .formatted(direction, max, strategy));
  }

  private static int[] ints(long[] longs) {
    return Arrays.stream(longs).mapToInt(Math::toIntExact).toArray();
  }

  /** The library counts code points. */
  private static void check(long encoding, TokenSpans spans, String... texts) {
    Supplier<String> what = () -> String.join("|", texts) + " " + spans;
    assertArrayEquals(ints(HuggingFace.ids(encoding)), spans.ids(), what);
    int[] places = HuggingFace.spans(encoding);
    assertArrayEquals(ints(HuggingFace.words(encoding)), spans.words(), what);
    for (int i = 0; i < spans.count(); i++) {
      if (spans.sequences()[i] < 0) {
        assertEquals(-1, spans.begins()[i], what);
        assertEquals(-1, spans.ends()[i], what);
        continue;
      }
      String text = texts[spans.sequences()[i]];
      assertEquals(places[2 * i], text.codePointCount(0, spans.begins()[i]), what);
      assertEquals(places[2 * i + 1], text.codePointCount(0, spans.ends()[i]), what);
    }
  }

  @ParameterizedTest
  @MethodSource("families")
  void asTheLibraryHasThem(String family) {
    Random random = new Random(family.hashCode());
    int placed = 0;
    for (String direction : new String[] {"Left", "Right"}) {
      for (int max : new int[] {5, 16, 500}) {
        for (boolean trims : new boolean[] {true, false}) {
          String json =
              truncated(TokenizerFiles.all().get(family), direction, "LongestFirst", max)
                  .replaceAll("\"trim_offsets\":(true|false)", "\"trim_offsets\":" + trims);
          Tokenizer tokenizer = load(json);
          long library = HuggingFace.create(json);
          for (int i = 0; i < 80; i++) {
            String first = text(random);
            String second = text(random);
            long one = HuggingFace.encode(library, first);
            TokenSpans single = tokenizer.encodeWithOffsets(first, max);
            assertEquals(tokenizer.encode(first), single.tokens());
            check(one, single, first);
            HuggingFace.deleteEncoding(one);
            placed += single.count();
            long two;
            try {
              two = HuggingFace.encode(library, first, second);
            } catch (GatunException e) {
              continue;
            }
            TokenSpans pair = tokenizer.encodeWithOffsets(first, second, max);
            assertEquals(tokenizer.encode(first, second), pair.tokens());
            check(two, pair, first, second);
            HuggingFace.deleteEncoding(two);
          }
          HuggingFace.delete(library);
        }
      }
    }
    assertTrue(placed > 1000);
  }

  /** The library would have the offsets of the whole text; only a part of it is tokenized. */
  @ParameterizedTest
  @MethodSource("families")
  void longTextsAreCut(String family) {
    Random random = new Random(family.hashCode());
    StringBuilder parts = new StringBuilder();
    while (parts.length() < 80_000) {
      parts.append(text(random));
    }
    String text = parts.toString();
    for (String direction : new String[] {"Left", "Right"}) {
      String json = truncated(TokenizerFiles.all().get(family), direction, "LongestFirst", 40);
      TokenSpans spans = load(json).encodeWithOffsets(text, 40);
      long library = HuggingFace.create(json);
      long encoding = HuggingFace.encode(library, text);
      int[] places = HuggingFace.spans(encoding);
      int[] words = ints(HuggingFace.words(encoding));
      assertArrayEquals(ints(HuggingFace.ids(encoding)), spans.ids());
      int shift = Integer.MIN_VALUE;
      for (int i = 0; i < spans.count(); i++) {
        if (spans.sequences()[i] < 0) {
          continue;
        }
        assertEquals(text.offsetByCodePoints(0, places[2 * i]), spans.begins()[i], "begin " + i);
        assertEquals(text.offsetByCodePoints(0, places[2 * i + 1]), spans.ends()[i], "end " + i);
        shift = shift == Integer.MIN_VALUE ? words[i] - spans.words()[i] : shift;
        assertEquals(words[i] - shift, spans.words()[i], "word " + i);
      }
      assertTrue(direction.equals("Left") || shift == 0);
      HuggingFace.deleteEncoding(encoding);
      HuggingFace.delete(library);
    }
  }

  @Test
  void substrings() {
    Tokenizer bert = load(TokenizerFiles.bert());
    String first = "😀 \ud800the CATs";
    TokenSpans spans = bert.encodeWithOffsets(first, "日.", 20);
    assertArrayEquals(new int[] {-1, 0, 4, 8, 11, -1, 0, 1, -1}, spans.begins());
    assertArrayEquals(new int[] {-1, 2, 7, 11, 12, -1, 1, 2, -1}, spans.ends());
    assertArrayEquals(new int[] {-1, 0, 1, 2, 2, -1, 0, 1, -1}, spans.words());
    assertArrayEquals(new int[] {-1, 0, 0, 0, 0, -1, 1, 1, -1}, spans.sequences());
    assertEquals("s", first.substring(spans.begins()[4], spans.ends()[4]));
    assertEquals(bert.encode(first, "日.", 20), spans.tokens());
  }

  @Test
  void contentsCount() {
    Tokenized tokens = new Tokenized(new int[] {7}, 1);
    TokenSpans spans =
        new TokenSpans(tokens, new int[] {0}, new int[] {1}, new int[] {0}, new int[] {0});
    TokenSpans same =
        new TokenSpans(tokens, new int[] {0}, new int[] {1}, new int[] {0}, new int[] {0});
    assertEquals(spans, same);
    assertEquals(spans.hashCode(), same.hashCode());
    assertNotEquals(spans, TokenSpans.nowhere(tokens));
    assertTrue(spans.toString().contains("ends=[1]"));
    assertEquals(
        "words: expected one for each of 1 tokens, got 2",
        assertThrows(
                IllegalArgumentException.class,
                () ->
                    new TokenSpans(tokens, new int[] {0}, new int[] {1}, new int[2], new int[] {0}))
            .getMessage());
  }
}
