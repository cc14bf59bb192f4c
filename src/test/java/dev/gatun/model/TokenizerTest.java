package dev.gatun.model;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import com.sun.management.ThreadMXBean;
import dev.gatun.internal.HuggingFace;
import dev.gatun.support.WordPiece;
import java.io.IOException;
import java.io.InputStream;
import java.lang.management.ManagementFactory;
import java.nio.charset.StandardCharsets;
import java.nio.file.FileSystemException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Arrays;
import java.util.List;
import java.util.Random;
import java.util.Set;
import java.util.TreeSet;
import java.util.stream.Collectors;
import java.util.stream.IntStream;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

class TokenizerTest {
  private static final int TEXTS = 10_000;

  private static byte[] json;
  private static Tokenizer minilm;
  private static Tokenizer bge;

  @BeforeAll
  static void load() throws IOException {
    try (InputStream in =
        TokenizerTest.class
            .getClassLoader()
            .getResourceAsStream("all-minilm-l6-v2-tokenizer.json")) {
      json = in.readAllBytes();
    }
    minilm = EmbeddingModelSpec.MINILM.loadTokenizer();
    bge = EmbeddingModelSpec.BGE_SMALL.loadTokenizer();
  }

  private static int[] ids(String text) {
    return bge.encode(text).ids();
  }

  @Test
  void goldenIds() {
    assertArrayEquals(new int[] {101, 7592, 1010, 2088, 999, 102}, ids("Hello, world!"));
    assertArrayEquals(
        new int[] {101, 1996, 4248, 2829, 4419, 14523, 2058, 1996, 13971, 3899, 1012, 102},
        ids("The quick brown fox jumps over the lazy dog."));
    assertArrayEquals(new int[] {101, 7861, 8270, 4667, 2015, 102}, ids("embeddings"));
    assertArrayEquals(new int[] {101, 14477, 20961, 3468, 102}, ids("unaffable"));
    assertArrayEquals(new int[] {101, 102}, ids(""));
    assertArrayEquals(new int[] {101, 102}, ids(" \n\t\0"));
    assertArrayEquals(ids("a cafe"), ids("A\u00a0Cafe\u0301"));
  }

  @Test
  void neverPads() {
    Tokenized text = minilm.encode("Hello, world!");
    assertEquals(6, text.count());
    assertEquals(6, text.originalCount());
    assertFalse(text.truncated());
    assertArrayEquals(ids("Hello, world!"), text.ids());
  }

  // ---- the same ids as another implementation

  /** First and last character of blocks whose characters no table has changed its mind about. */
  private static final int[][] BLOCKS = {
    {0x20, 0x7e},
    {0x20, 0x7e},
    {0x20, 0x7e},
    {0, 0xa0},
    {0xa1, 0x24f},
    {0x300, 0x36f},
    {0x386, 0x3ce},
    {0x400, 0x4ff},
    {0x5d0, 0x5ea},
    {0x621, 0x652},
    {0x905, 0x94d},
    {0xe01, 0xe3a},
    {0x1e00, 0x1eff},
    {0x2000, 0x206f},
    {0x20a0, 0x20b5},
    {0x2190, 0x21ff},
    {0x2200, 0x22ff},
    {0x3000, 0x303f},
    {0x3041, 0x3096},
    {0x30a1, 0x30fe},
    {0x4e00, 0x9fa5},
    {0xac00, 0xd7a3},
    {0xe000, 0xe010},
    {0xf900, 0xfa2d},
    {0xfe00, 0xfe0f},
    {0xff01, 0xff5e},
    {0xfffc, 0xfffd},
    {0x1d400, 0x1d454},
    {0x1f300, 0x1f320},
    {0x1f600, 0x1f640},
    {0x20000, 0x2a6d6},
    {0xe0020, 0xe007f}
  };

  private static final String[] WORDS = {
    "embedding",
    "The",
    "quick",
    "unaffable",
    "internationalisation",
    "don't",
    "3.14159",
    "e-mail",
    "[SEP]",
    "[MASK]",
    "[CLS",
    "naïve",
    "Ångström",
    "ﬁne",
    "ΣΊΣΥΦΟΣ",
    "İstanbul",
    "straße",
    "日本語",
    "한국어",
    "👩‍👩‍👧",
    "🇩🇪",
    "x".repeat(99),
    "y".repeat(100),
    "z".repeat(101),
    "ab".repeat(80),
    "\r\n",
    "𝔘𝔫𝔦𝔠𝔬𝔡𝔢",
    "e\u0301\u0302\u0323",
    "\u200b",
    "\u00ad",
    "\ufeff",
    "##ing",
    "a".repeat(3000)
  };

  private static String randomText(Random random) {
    StringBuilder text = new StringBuilder();
    int[] block = BLOCKS[random.nextInt(BLOCKS.length)];
    for (int parts = random.nextInt(40); parts > 0; parts--) {
      switch (random.nextInt(8)) {
        case 0 -> text.append(WORDS[random.nextInt(WORDS.length)]);
        case 1 -> block = BLOCKS[random.nextInt(BLOCKS.length)];
        case 2 -> text.append(' ');
        default -> {
          for (int length = 1 + random.nextInt(6); length > 0; length--) {
            int c = block[0] + random.nextInt(block[1] - block[0] + 1);
            if (Character.isDefined(c)) {
              text.appendCodePoint(c);
            }
          }
        }
      }
    }
    return text.toString();
  }

  @Test
  void tenThousandTextsAsWordPieceHasThem() {
    WordPiece reference = new WordPiece(json);
    assertEquals(30522, reference.size());
    Random random = new Random(3);
    Set<String> wrong = new TreeSet<>();
    int tokens = 0;
    int unknown = 0;
    for (int i = 0; i < TEXTS; i++) {
      String text = randomText(random);
      int[] expected = reference.encode(text);
      int[] actual = bge.encode(text, Integer.MAX_VALUE).ids();
      if (!Arrays.equals(expected, actual)) {
        wrong.add(firstDifference(reference, text));
      }
      tokens += actual.length;
      unknown += (int) IntStream.of(actual).filter(id -> id == 100).count();
    }
    assertEquals(Set.of(), wrong);
    assertTrue(unknown < tokens / 2, "%d of %d unknown".formatted(unknown, tokens));
  }

  private static String firstDifference(WordPiece reference, String text) {
    int[] chars = text.codePoints().toArray();
    for (int c : chars) {
      String one = "a" + Character.toString(c) + "b";
      if (!Arrays.equals(reference.encode(one), ids(one))) {
        return "U+%04X %s".formatted(c, Character.getName(c));
      }
    }
    return text;
  }

  @Test
  void unpairedSurrogatesCountAsReplacementCharacters() {
    for (String text :
        List.of("\ud800", "x \udc00y", "😀 \ud83d", "\ude00\ud83d 😀 x", "😀\ud83d😀")) {
      String replaced = new String(text.getBytes(StandardCharsets.UTF_16), StandardCharsets.UTF_16);
      assertTrue(replaced.contains("\ufffd"));
      assertArrayEquals(ids(replaced), ids(text));
    }
    assertArrayEquals(ids("x 😀 y"), ids("x 😀 \udc00y"));
  }

  // ---- cutting

  @Test
  void cutsAsTheFileSays() throws IOException {
    assertEquals(128, minilm.maxTokens());
    assertEquals(512, bge.maxTokens());
    assertEquals(512, EmbeddingModelSpec.E5_SMALL.loadTokenizer().maxTokens());
    assertCutsLikeTheLibrary(json, false);
  }

  @Test
  void cutsAtTheStartWhereTheFileSaysSo() {
    String text = new String(json, StandardCharsets.UTF_8);
    String left =
        text.replaceFirst("\"direction\"(\\s*):(\\s*)\"Right\"", "\"direction\"$1:$2\"Left\"");
    assertCutsLikeTheLibrary(left.getBytes(StandardCharsets.UTF_8), true);
  }

  /** The library cuts by itself as long as nobody turns that off. */
  private static void assertCutsLikeTheLibrary(byte[] json, boolean keepsEnd) {
    Tokenizer tokenizer = Tokenizer.load(json);
    assertEquals(keepsEnd, tokenizer.toString().contains("keeps the end"));
    long library = HuggingFace.create(new String(json, StandardCharsets.UTF_8));
    try {
      Random random = new Random(5);
      int cut = 0;
      for (int i = 0; i < 500; i++) {
        String text =
            IntStream.range(0, 1 + random.nextInt(6))
                .mapToObj(part -> randomText(random))
                .collect(Collectors.joining(" [SEP] "));
        Tokenized actual = tokenizer.encode(text);
        long encoding = HuggingFace.encode(library, text);
        long[] expected = HuggingFace.ids(encoding);
        HuggingFace.deleteEncoding(encoding);
        assertEquals(128, expected.length, "padded or cut");
        for (int t = 0; t < 128; t++) {
          assertEquals(expected[t], t < actual.count() ? actual.ids()[t] : 0);
        }
        assertEquals(bge.encode(text, Integer.MAX_VALUE).count(), actual.originalCount());
        assertEquals(actual.originalCount() > 128, actual.truncated());
        cut += actual.truncated() ? 1 : 0;
      }
      assertTrue(cut > 50 && cut < 450, "cut " + cut);
    } finally {
      HuggingFace.delete(library);
    }
  }

  @Test
  void cutsAsTheCallerSays() {
    String text = "hello ".repeat(1000);
    for (int max : new int[] {2, 3, 128, 512, 1001}) {
      Tokenized cut = minilm.encode(text, max);
      assertEquals(max, cut.count());
      assertEquals(1002, cut.originalCount());
      assertTrue(cut.truncated());
      assertEquals(101, cut.ids()[0]);
      assertEquals(102, cut.ids()[max - 1]);
      assertTrue(Arrays.stream(cut.ids(), 1, max - 1).allMatch(id -> id == 7592));
    }
    assertFalse(minilm.encode(text, 1002).truncated());
    String message =
        assertThrows(IllegalArgumentException.class, () -> minilm.encode(text, 1)).getMessage();
    assertEquals("maxTokens: expected at least 2, got 1", message);
  }

  // ---- the rest

  @TempDir Path folder;

  @Test
  void filesThatAreNoTokenizer() throws IOException {
    assertThrows(IllegalArgumentException.class, () -> Tokenizer.load(new byte[0]));
    assertThrows(
        IllegalArgumentException.class,
        () -> Tokenizer.load("{\"version\":\"1.0\"}".getBytes(StandardCharsets.UTF_8)));
    assertThrows(
        IllegalArgumentException.class, () -> Tokenizer.load(Arrays.copyOf(json, json.length / 2)));
    Path file = Files.writeString(folder.resolve("tokenizer.json"), "[]");
    String message =
        assertThrows(FileSystemException.class, () -> Tokenizer.load(file)).getMessage();
    assertTrue(message.contains(file.toString()), message);
    assertThrows(NullPointerException.class, () -> minilm.encode(null));
  }

  @Test
  void fromPathAsFromBytes() throws IOException {
    Path file = Files.write(folder.resolve("tokenizer.json"), json);
    assertArrayEquals(ids("some text"), Tokenizer.load(file).encode("some text").ids());
  }

  @Test
  void manyThreads() {
    Random random = new Random(9);
    List<String> texts = IntStream.range(0, 2000).mapToObj(i -> randomText(random)).toList();
    List<int[]> expected = texts.stream().map(TokenizerTest::ids).toList();
    IntStream.range(0, texts.size())
        .parallel()
        .forEach(i -> assertArrayEquals(expected.get(i), ids(texts.get(i))));
  }

  @Test
  void allocatesTheIdsAndNoMore() {
    ThreadMXBean threads = (ThreadMXBean) ManagementFactory.getThreadMXBean();
    String text = "word ".repeat(126);
    for (int i = 0; i < 2000; i++) {
      minilm.encode(text);
    }
    int calls = 1000;
    long before = threads.getCurrentThreadAllocatedBytes();
    for (int i = 0; i < calls; i++) {
      minilm.encode(text);
    }
    long bytes = (threads.getCurrentThreadAllocatedBytes() - before) / calls;
    assertTrue(bytes <= 128 * (Long.BYTES + Integer.BYTES) + 100, bytes + " bytes a call");
  }
}
