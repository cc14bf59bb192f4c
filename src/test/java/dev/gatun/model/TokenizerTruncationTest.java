package dev.gatun.model;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import dev.gatun.internal.HuggingFace;
import dev.gatun.internal.TokenizerLibrary;
import dev.gatun.support.TokenizerFiles;
import java.nio.charset.StandardCharsets;
import java.util.Arrays;
import java.util.Map;
import java.util.Random;
import java.util.Set;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;
import org.junit.jupiter.params.provider.MethodSource;
import org.junit.jupiter.params.provider.ValueSource;

/** Texts that are too long, against what the library makes of them by itself. */
class TokenizerTruncationTest {
  @BeforeAll
  static void load() {
    TokenizerLibrary.load();
  }

  private static final String[] PARTS = {
    "the",
    "cat",
    "a",
    "b",
    "ab",
    "sat",
    " ",
    " ",
    " ",
    "  ",
    "\n",
    "\t",
    ".",
    "1",
    "123",
    "é",
    "日本",
    "don't",
    "e\u0301",
    "ﬁ",
    "…",
    "▁",
    "\u00a0",
    "\u200b",
    "``",
    "İ",
    "[MASK]",
    "<mask>",
    "<s>",
    "<extra_id_0>",
    "<|begin|>",
    "<|end|>  ",
    "THE",
    "thecat",
    "\u0301"
  };

  private static Tokenizer load(String json) {
    return Tokenizer.load(json.getBytes(StandardCharsets.UTF_8));
  }

  static Map<String, String> files() {
    return TokenizerFiles.all();
  }

  static Set<String> families() {
    return files().keySet();
  }

  private static String text(Random random, int parts) {
    StringBuilder text = new StringBuilder();
    for (int i = random.nextInt(parts + 1); i > 0; i--) {
      text.append(PARTS[random.nextInt(PARTS.length)]);
      text.append(random.nextInt(3) == 0 ? " " : "");
    }
    return text.toString();
  }

  private static int[] library(long handle, String text) {
    long encoding = HuggingFace.encode(handle, text);
    try {
      return Arrays.stream(HuggingFace.ids(encoding)).mapToInt(Math::toIntExact).toArray();
    } finally {
      HuggingFace.deleteEncoding(encoding);
    }
  }

  private static String truncated(String json, String direction, String strategy, int max) {
    return json.replaceFirst(
        "\"truncation\":(null|\\{[^}]*\\})",
        "\"truncation\":{\"direction\":\"%s\",\"max_length\":%d,\"strategy\":\"%s\",\"stride\":0}"
            .formatted(direction, max, strategy));
  }

  /** The library cuts by itself where it is given the file as it is. */
  @ParameterizedTest
  @MethodSource("families")
  void cutsAsTheLibraryDoes(String family) {
    Random random = new Random(family.hashCode());
    for (String direction : new String[] {"Left", "Right"}) {
      for (String strategy : new String[] {"LongestFirst", "OnlyFirst"}) {
        for (int max : new int[] {3, 7, 20}) {
          String json = truncated(files().get(family), direction, strategy, max);
          Tokenizer tokenizer = load(json);
          assertEquals(max, tokenizer.maxTokens());
          long library = HuggingFace.create(json);
          int cut = 0;
          for (int i = 0; i < 60; i++) {
            String text = text(random, 12);
            Tokenized actual = tokenizer.encode(text);
            assertArrayEquals(library(library, text), actual.ids(), text);
            cut += actual.truncated() ? 1 : 0;
          }
          HuggingFace.delete(library);
          assertTrue(cut > 0 || max == 20, direction + max);
        }
      }
    }
  }

  @Test
  void aSingleTextIsCutWhateverIsSaidOfPairs() {
    String json = truncated(TokenizerFiles.bert(), "Right", "OnlySecond", 4);
    assertArrayEquals(new int[] {2, 5, 6, 3}, load(json).encode("the cat sat").ids());
    assertArrayEquals(new int[] {2, 5, 3}, load(json).encode("the").ids());
  }

  /** The library ended the process with a text of more than six tokens. */
  @Test
  void strideIsAboutWhatIsCutOff() {
    String json = TokenizerFiles.bert().replace("\"stride\":0", "\"stride\":4");
    assertArrayEquals(new int[] {2, 5, 6, 7, 5, 3}, load(json).encode("the cat sat the cat").ids());
    assertArrayEquals(new int[] {2, 5, 3}, load(json).encode("the").ids());
  }

  @ParameterizedTest
  @ValueSource(ints = {1, 3, 4, 5})
  void endIsKeptWithoutTheLettersAAndB(int kept) {
    String json =
        truncated(TokenizerFiles.bert(), "Left", "LongestFirst", kept + 2)
            .replace("\"a\":8,\"b\":9,", "");
    Tokenizer tokenizer = load(json);
    int[] all = {5, 6, 7, 5, 6};
    int[] ids = tokenizer.encode("the cat sat the cat").ids();
    assertEquals(2, ids[0]);
    assertEquals(3, ids[kept + 1]);
    assertArrayEquals(Arrays.copyOfRange(all, 5 - kept, 5), Arrays.copyOfRange(ids, 1, kept + 1));
    assertTrue(tokenizer.toString().contains("keeps the end"));
  }

  @Test
  void templateFitsInMaxLength() {
    assertArrayEquals(
        new int[] {2, 3},
        load(truncated(TokenizerFiles.bert(), "Right", "OnlyFirst", 2)).encode("the cat").ids());
    String message =
        assertThrows(
                IllegalArgumentException.class,
                () -> load(truncated(TokenizerFiles.bert(), "Right", "OnlyFirst", 1)))
            .getMessage();
    assertEquals(
        "truncation.max_length: expected at least the 2 tokens around a text, got 1", message);
  }

  // ---- texts that are far too long

  /** Random words with all kinds of spaces between them, far longer than is tokenized at once. */
  private static String longText(Random random, int chars) {
    StringBuilder text = new StringBuilder();
    while (text.length() < chars) {
      text.append(text(random, 30));
    }
    return text.toString();
  }

  @ParameterizedTest
  @MethodSource("families")
  void longTextsHaveTheTokensOfTheWhole(String family) {
    Random random = new Random(family.hashCode());
    for (String direction : new String[] {"Left", "Right"}) {
      Tokenizer tokenizer = load(truncated(files().get(family), direction, "OnlyFirst", 50));
      long library = HuggingFace.create(truncated(files().get(family), direction, "OnlyFirst", 50));
      String text = longText(random, 80_000);
      Tokenized actual = tokenizer.encode(text);
      assertArrayEquals(library(library, text), actual.ids());
      assertTrue(actual.truncated());
      // And where far more tokens are kept than the first part has.
      int most = tokenizer.encode(text, Integer.MAX_VALUE).count() - 1;
      Tokenized some = tokenizer.encode(text, most);
      assertEquals(most, some.count());
      assertTrue(some.truncated());
      HuggingFace.delete(library);
    }
  }

  @Test
  void onlyAPartOfALongTextIsTokenized() {
    Tokenizer bert = load(TokenizerFiles.bert());
    for (String word : new String[] {"the ", "日", "日本", "cat the\n"}) {
      String text = word.repeat(13_000_000 / word.length());
      Tokenized tokens = bert.encode(text);
      assertEquals(6, tokens.count());
      assertTrue(tokens.truncated());
      assertTrue(tokens.originalCount() < 100_000, word + tokens.originalCount());
      assertArrayEquals(bert.encode(text.substring(0, 1000)).ids(), tokens.ids());
    }
  }

  @Test
  void aLongTextOfFewTokensIsReadOn() {
    Tokenizer bert = load(TokenizerFiles.bert());
    String text = "the" + " ".repeat(300_000) + "cat";
    assertArrayEquals(new int[] {2, 5, 6, 3}, bert.encode(text).ids());
    assertFalse(bert.encode(text).truncated());
    Tokenized most = bert.encode("the " + "\u200b".repeat(200_000) + "cat sat the cat sat");
    assertEquals(6, most.count());
    assertTrue(most.truncated());
  }

  /** No library's piece is sure to end where these are cut. */
  @ParameterizedTest
  @CsvSource(
      delimiter = '|',
      ignoreLeadingAndTrailingWhitespace = false,
      value = {
        "bert|ab",
        "bert|日本語の文章",
        "bert|%",
        "roberta|привет мир ",
        "roberta|word, ",
        "xlmRoberta|日本語の文章",
        "llama2|the ",
        "llama2|ab"
      })
  void textsWithoutAPlaceAreCutAllTheSame(String family, String part) {
    String word = part.replace('%', ' ');
    String start = "the cat sat";
    String shorter = start + word.repeat(70_000 / word.length());
    String text = start + word.repeat(1_400_000 / word.length());
    Tokenizer tokenizer = load(truncated(files().get(family), "Right", "OnlyFirst", 10));
    Tokenized tokens = tokenizer.encode(text);
    assertArrayEquals(tokenizer.encode(shorter).ids(), tokens.ids());
    assertTrue(tokens.truncated());
    String end = "cat sat the ab a b the cat sat";
    Tokenizer other = load(truncated(files().get(family), "Left", "OnlyFirst", 10));
    assertArrayEquals(other.encode(shorter + end).ids(), other.encode(text + end).ids());
    assertTrue(other.encode(text + end).truncated());
  }

  @Test
  void bertIsCutBeforeAnySpace() {
    Tokenizer bert = load(TokenizerFiles.bert());
    for (String word : new String[] {"привет мир ", "word, ", "é ", "\u200b the "}) {
      Tokenized tokens = bert.encode(word.repeat(4_000_000 / word.length()));
      assertTrue(tokens.originalCount() < 140_000, word + tokens.originalCount());
      assertArrayEquals(bert.encode(word.repeat(1000)).ids(), tokens.ids());
    }
    // Not where an added token has the space within it.
    String added = TokenizerFiles.added(20, ". the", "");
    String json =
        TokenizerFiles.bert().replaceFirst("(\"special\":true\\})\\]", "$1," + added + "]");
    Tokenizer other = load(truncated(json, "Left", "OnlyFirst", 9));
    assertArrayEquals(
        new int[] {2, 20, 20, 20, 20, 20, 20, 20, 3}, other.encode(". the".repeat(60_000)).ids());
  }

  @Test
  void noPartIsLongerThanTheLibraryMayGet() {
    int most = TextCuts.MAX_CHARS;
    TextCuts plain = new TextCuts();
    assertEquals(most, plain.longestStart("x".repeat(3 * most), Integer.MAX_VALUE));
    assertEquals(2 * most, plain.longestEnd("x".repeat(3 * most), Integer.MAX_VALUE));
    String pairs = "x" + "\ud83d\ude00".repeat(most);
    assertEquals(most - 1, plain.longestStart(pairs, Integer.MAX_VALUE));
    assertEquals(most + 1, plain.longestEnd(pairs, Integer.MAX_VALUE));
    assertEquals(most + 3, plain.longestEnd(pairs + "x", Integer.MAX_VALUE));
  }

  /** U+FDFA becomes eighteen characters; a million of them took half a minute and 2.3 GB. */
  @ParameterizedTest
  @CsvSource({"NFKC", "NFKD", "xlmRoberta", "t5", "albert"})
  void normalizedTextIsLimited(String normalizer) {
    String json =
        files().containsKey(normalizer)
            ? files().get(normalizer)
            : files()
                .get("modernBert")
                .replace("{\"type\":\"NFC\"}", "{\"type\":\"" + normalizer + "\"}");
    TextCuts cuts = TokenizerFile.read(json.getBytes(StandardCharsets.UTF_8)).cuts();
    String text = "\ufdfa".repeat(1_000_000);
    int most = TextCuts.MAX_CHARS / 18;
    assertEquals(most, cuts.longestStart(text, Integer.MAX_VALUE));
    assertEquals(text.length() - most, cuts.longestEnd(text, Integer.MAX_VALUE));
    // Ordinary texts are not cut earlier for it.
    String plain = "the word ".repeat(100_000);
    assertEquals(plain.length(), cuts.longestStart(plain, Integer.MAX_VALUE));
  }

  @Test
  void moreTokensThanAPartHasAreRefused() {
    Tokenizer bert = load(TokenizerFiles.bert());
    String text = " ".repeat(2_000_000);
    assertEquals(2, bert.encode(text, 30_000).count());
    String message =
        assertThrows(IllegalArgumentException.class, () -> bert.encode(text, 40_000)).getMessage();
    assertEquals(
        "text: expected at most 1048576 characters for more than 0 tokens, got 2000000", message);
  }
}
