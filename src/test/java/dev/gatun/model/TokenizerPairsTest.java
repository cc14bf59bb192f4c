package dev.gatun.model;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
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
import org.junit.jupiter.params.provider.CsvSource;
import org.junit.jupiter.params.provider.MethodSource;

/** Pairs of texts and texts made of tokens, against what the library makes of the whole file. */
class TokenizerPairsTest {
  /**
   * For each of ten families, two directions, three strategies and four lengths: 60,000 pairs, and
   * 40,000 texts.
   */
  private static final int PAIRS = 250;

  private static final String[] PARTS = {
    "the",
    "cat",
    "a",
    "b",
    "ab",
    "sat",
    " ",
    "  ",
    "\n",
    ".",
    "123",
    "é",
    "日本",
    "don't",
    "e\u0301",
    "ﬁ",
    "😀",
    "▁",
    "\u200b",
    "[MASK]",
    "<mask>",
    "<s>",
    "<|begin|>",
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

  private static int[] ints(long[] longs) {
    return Arrays.stream(longs).mapToInt(Math::toIntExact).toArray();
  }

  private static String truncated(String json, String direction, String strategy, int max) {
    return json.replaceFirst(
        "\"truncation\":(null|\\{[^}]*\\})",
        "\"truncation\":{\"direction\":\"%s\",\"max_length\":%d,\"strategy\":\"%s\",\"stride\":0}"
            .formatted(direction, max, strategy));
  }

  @ParameterizedTest
  @MethodSource("families")
  void pairsAsTheLibraryHasThem(String family) {
    Random random = new Random(family.hashCode());
    int cut = 0;
    int refused = 0;
    for (String direction : new String[] {"Left", "Right"}) {
      for (String strategy : new String[] {"LongestFirst", "OnlyFirst", "OnlySecond"}) {
        for (int max : new int[] {4, 9, 16, 500}) {
          String json = truncated(TokenizerFiles.all().get(family), direction, strategy, max);
          Tokenizer tokenizer = load(json);
          long library = HuggingFace.create(json);
          for (int i = 0; i < PAIRS; i++) {
            String first = text(random);
            String second = text(random);
            Tokenized pair = sameAsTheLibrary(tokenizer, library, first, second);
            refused += pair == null ? 1 : 0;
            cut += pair != null && pair.truncated() ? 1 : 0;
            // The library refuses to cut a text alone that is the first of no two.
            if (!strategy.equals("OnlySecond")) {
              sameAsTheLibrary(tokenizer, library, first);
            }
          }
          HuggingFace.delete(library);
        }
      }
    }
    assertTrue(cut > 0 && refused > 0, "%d cut, %d refused".formatted(cut, refused));
  }

  private static void sameAsTheLibrary(Tokenizer tokenizer, long library, String text) {
    compare(HuggingFace.encode(library, text), tokenizer.encode(text), text);
  }

  /** Returns what both make of two texts, or null if both refuse to. */
  private static Tokenized sameAsTheLibrary(
      Tokenizer tokenizer, long library, String first, String second) {
    long encoding;
    try {
      encoding = HuggingFace.encode(library, first, second);
    } catch (GatunException e) {
      assertThrows(IllegalArgumentException.class, () -> tokenizer.encode(first, second), first);
      return null;
    }
    return compare(encoding, tokenizer.encode(first, second), first, second);
  }

  private static Tokenized compare(long encoding, Tokenized actual, String... texts) {
    Supplier<String> what = () -> String.join("|", texts);
    assertArrayEquals(ints(HuggingFace.ids(encoding)), actual.ids(), what);
    assertArrayEquals(ints(HuggingFace.types(encoding)), actual.typeIds(), what);
    HuggingFace.deleteEncoding(encoding);
    return actual;
  }

  @ParameterizedTest
  @MethodSource("families")
  void decodesAsTheLibraryDoes(String family) {
    Random random = new Random(family.hashCode());
    String[] decoders = {
      "null",
      "{\"type\":\"ByteLevel\",\"add_prefix_space\":true,\"trim_offsets\":true}",
      "{\"type\":\"WordPiece\",\"prefix\":\"##\",\"cleanup\":true}",
      "{\"type\":\"Metaspace\",\"replacement\":\"▁\",\"prepend_scheme\":\"always\"}",
      "{\"type\":\"Sequence\",\"decoders\":[{\"type\":\"Replace\",\"pattern\":{\"String\":\"▁\"},"
          + "\"content\":\" \"},{\"type\":\"ByteFallback\"},{\"type\":\"Fuse\"},"
          + "{\"type\":\"Strip\",\"content\":\" \",\"start\":1,\"stop\":0}]}"
    };
    for (String decoder : decoders) {
      String json =
          TokenizerFiles.all().get(family).replace("\"decoder\":null", "\"decoder\":" + decoder);
      Tokenizer tokenizer = load(json);
      long library = HuggingFace.create(json);
      for (int i = 0; i < 400; i++) {
        int[] ids = random.ints(random.nextInt(12), 0, 60).toArray();
        long[] wide = Arrays.stream(ids).asLongStream().toArray();
        boolean skip = i % 2 == 0;
        assertEquals(
            HuggingFace.decode(library, wide, skip),
            tokenizer.decode(ids, skip),
            () -> Arrays.toString(ids));
      }
      HuggingFace.delete(library);
    }
  }

  @Test
  void specialTokensAndIds() {
    Tokenizer bert = load(TokenizerFiles.bert());
    assertEquals(4, bert.id("[MASK]"));
    assertEquals(12, bert.id("##s"));
    assertEquals(-1, bert.id("nothing"));
    assertEquals("{[PAD]=0, [CLS]=2, [MASK]=4}", bert.specialTokens().toString());
    Tokenized plain = bert.encodeWithoutSpecialTokens("the cat sat the cat sat the cat");
    assertArrayEquals(new int[] {5, 6, 7, 5, 6, 7, 5, 6}, plain.ids());
    Tokenized pair = bert.encode("the cat", "sat", 500);
    assertArrayEquals(new int[] {2, 5, 6, 3, 7, 3}, pair.ids());
    assertArrayEquals(new int[] {0, 0, 0, 0, 1, 1}, pair.typeIds());
    assertEquals("the cat", bert.decode(new int[] {2, 5, 6}, true).trim());
  }

  @ParameterizedTest
  @CsvSource(
      delimiter = '|',
      value = {
        "2|LongestFirst|maxTokens: expected at least 3, got 2",
        "5|OnlyFirst|maxTokens: expected more than 6, since tokenizer.json cuts the first text"
            + " alone (OnlyFirst) and the other has 3 tokens, got 5"
      })
  void refusals(int max, String strategy, String message) {
    Tokenizer bert = load(truncated(TokenizerFiles.bert(), "Right", strategy, 9));
    assertEquals(
        message,
        assertThrows(IllegalArgumentException.class, () -> bert.encode("the", "the cat sat", max))
            .getMessage());
    assertThrows(IllegalArgumentException.class, () -> bert.decode(new int[] {-1}, true));
  }
}
