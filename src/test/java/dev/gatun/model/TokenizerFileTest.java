package dev.gatun.model;

import static dev.gatun.support.TokenizerFiles.added;
import static dev.gatun.support.TokenizerFiles.document;
import static dev.gatun.support.TokenizerFiles.quoted;
import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertDoesNotThrow;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import dev.gatun.support.CharsmapWriter;
import dev.gatun.support.TokenizerFiles;
import java.nio.charset.StandardCharsets;
import java.nio.file.FileSystemException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Base64;
import java.util.Collections;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.stream.Stream;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.Arguments;
import org.junit.jupiter.params.provider.MethodSource;

/** What a tokenizer.json may not say, and how that is told. */
class TokenizerFileTest {
  private static final String NONE = "null";
  private static final String MODEL = TokenizerFiles.BERT_MODEL;

  private static String truncation(String truncation) {
    return document(truncation, "", NONE, NONE, NONE, MODEL);
  }

  private static String normalizer(String normalizer) {
    return document(NONE, "", normalizer, NONE, NONE, MODEL);
  }

  private static String splits(String splits) {
    return document(NONE, "", NONE, splits, NONE, MODEL);
  }

  private static String processor(String processor) {
    return document(NONE, "", NONE, NONE, processor, MODEL);
  }

  private static String model(String model) {
    return document(NONE, "", NONE, NONE, NONE, model);
  }

  private static String tokens(String... tokens) {
    return document(NONE, String.join(",", tokens), NONE, NONE, NONE, MODEL);
  }

  private static String template(String single) {
    return processor(
        """
        {"type":"TemplateProcessing","single":[%s],"pair":[],"special_tokens":\
        {"[CLS]":{"id":"[CLS]","ids":[2],"tokens":["[CLS]"]}}}\
        """
            .formatted(single));
  }

  private static String charsmap(String base64) {
    return normalizer("{\"type\":\"Precompiled\",\"precompiled_charsmap\":\"" + base64 + "\"}");
  }

  private static String replace(String pattern, String content) {
    return "{\"type\":\"Replace\",\"pattern\":%s,\"content\":%s}"
        .formatted(pattern, quoted(content));
  }

  private static String sequence(String normalizer, int times) {
    return "{\"type\":\"Sequence\",\"normalizers\":[%s]}"
        .formatted(String.join(",", Collections.nCopies(times, normalizer)));
  }

  /** Tables that the library would follow out of their bounds. */
  private static String units(String texts, int... first) {
    int[] units = new int[512];
    System.arraycopy(first, 0, units, 0, first.length);
    return charsmap(CharsmapWriter.base64(units, texts.getBytes(StandardCharsets.UTF_8)));
  }

  /** A table that replaces an a by what begins at a byte of a text. */
  private static String letter(String texts, int start) {
    int[] units = new int[512];
    units[0] = 256 << 10;
    units[256 ^ 'a'] = 'a' | 1 << 8 | ('a' ^ 128) << 10;
    units[256 ^ 128] = start | 1 << 31;
    return charsmap(CharsmapWriter.base64(units, texts.getBytes(StandardCharsets.UTF_8)));
  }

  /** The files that end the process or hang it, or are another's tokens. */
  static Map<String, String> hostile() {
    Map<String, String> files = new LinkedHashMap<>();
    String cut =
        "{\"direction\":\"Right\",\"max_length\":%s,\"strategy\":\"LongestFirst\",\"stride\":%s}";
    files.put(
        "truncation.stride: expected a whole number from 0 to 4, got 5",
        document(
            cut.formatted(6, 5),
            "",
            NONE,
            "{\"type\":\"BertPreTokenizer\"}",
            "{\"type\":\"BertProcessing\",\"sep\":[\"[SEP]\",3],\"cls\":[\"[CLS]\",2]}",
            MODEL));
    files.put(
        "truncation.max_length: expected a whole number from 1 to 2147483647, got 4294967297",
        truncation(cut.formatted(4294967297L, 0)));
    files.put(
        "truncation.max_length: expected a whole number from 1 to 2147483647, got 0",
        truncation(cut.formatted(0, 0)));
    files.put(
        "truncation.strategy: expected one of [LongestFirst, OnlyFirst, OnlySecond], got \"None\"",
        truncation(
            "{\"direction\":\"Right\",\"max_length\":4,\"strategy\":\"None\",\"stride\":0}"));
    files.put(
        "truncation.direction: expected one of [Left, Right], got \"left\"",
        truncation(
            "{\"direction\":\"left\",\"max_length\":4,\"strategy\":\"OnlyFirst\",\"stride\":0}"));
    files.put(
        "padding.strategy.Fixed: expected a whole number from 0 to 2147483647, got -1",
        document(NONE, "", NONE, NONE, NONE, MODEL)
            .replace(
                "\"padding\":null",
                "\"padding\":{\"strategy\":{\"Fixed\":-1},\"direction\":\"Right\","
                    + "\"pad_to_multiple_of\":null,\"pad_id\":0,\"pad_type_id\":0,"
                    + "\"pad_token\":\"[PAD]\"}"));
    files.put(
        "decoder.type: expected a decoder that is known, got \"Code\"",
        document(NONE, "", NONE, NONE, NONE, MODEL)
            .replace("\"decoder\":null", "\"decoder\":{\"type\":\"Code\"}"));
    files.put(
        "the document: expected only the keys",
        document(NONE, "", NONE, NONE, NONE, MODEL).replace("\"padding\"", "\"paddings\""));
    files.put(
        "version: expected 1.0, got \"2.0\"",
        document(NONE, "", NONE, NONE, NONE, MODEL).replace("\"1.0\"", "\"2.0\""));
    // Normalizers.
    files.put(
        "normalizer.type: expected a normalizer that is known, got \"Code\"",
        normalizer("{\"type\":\"Code\"}"));
    files.put(
        "normalizer.normalizers[1].type: expected a value, got none",
        normalizer("{\"type\":\"Sequence\",\"normalizers\":[{\"type\":\"NFC\"},{}]}"));
    files.put(
        "normalizer: expected only the keys [type], got \"form\"",
        normalizer("{\"type\":\"NFC\",\"form\":1}"));
    files.put(
        "normalizer.strip_left: expected true or false, got 1",
        normalizer("{\"type\":\"Strip\",\"strip_left\":1,\"strip_right\":true}"));
    files.put(
        "normalizer.pattern.Regex: expected one of the regular expressions that are known to end,"
            + " got \"(a|aa)+$\"",
        normalizer(replace("{\"Regex\":\"(a|aa)+$\"}", "b")));
    files.put(
        "normalizer.pattern.String: expected a text of 1 to 256 characters, got \"\"",
        normalizer(replace("{\"String\":\"\"}", "b")));
    files.put(
        "normalizer.content: expected replacements that make a text at most twice as long",
        normalizer(replace("{\"String\":\"a\"}", "aaa")));
    files.put(
        "normalizer.normalizers[1].content: expected replacements that make a text at most twice",
        normalizer(sequence(replace("{\"String\":\"a\"}", "aa"), 30)));
    files.put("expected at most 32 normalizers", normalizer(sequence("{\"type\":\"NFKD\"}", 40)));
    // Precompiled tables.
    files.put("normalizer.precompiled_charsmap: expected base64, got \"?\"", charsmap("?"));
    files.put(
        "normalizer.precompiled_charsmap: expected base64 with its padding, got \"AAAA/w\"",
        charsmap("AAAA/w"));
    files.put(
        "normalizer.precompiled_charsmap: expected the length of a trie within 0 bytes",
        charsmap(""));
    files.put(
        "normalizer.precompiled_charsmap: expected the length of a trie within 4 bytes, got 0",
        charsmap("AAAAAA=="));
    files.put(
        "normalizer.precompiled_charsmap: expected the length of a trie within 4 bytes, got 429",
        charsmap("/P///w=="));
    files.put(
        "normalizer.precompiled_charsmap: expected replacements in UTF-8",
        charsmap(
            Base64.getEncoder().encodeToString(new byte[] {4, 0, 0, 0, 0, 0, 0, 0, (byte) 0xff})));
    files.put(
        "normalizer.precompiled_charsmap: expected units below 1 in its trie, got 1",
        charsmap(CharsmapWriter.base64(new int[1], new byte[0])));
    files.put(
        "normalizer.precompiled_charsmap: expected units below 512 in its trie, got 1025",
        units("", 1024 << 10));
    files.put(
        "normalizer.precompiled_charsmap: expected replacements within 2 bytes, got 9",
        letter("b\0", 9));
    files.put(
        "normalizer.precompiled_charsmap: expected replacements that begin at a character, got 1",
        letter("é\0", 1));
    files.put(
        "normalizer.precompiled_charsmap: expected replacements of at most 32 characters, got 99",
        letter("b".repeat(99), 0));
    // Pre-tokenizers.
    files.put(
        "pre_tokenizer.length: expected a whole number from 1 to 2147483647, got 0",
        splits("{\"type\":\"FixedLength\",\"length\":0}"));
    files.put(
        "pre_tokenizer.pattern.Regex: expected one of the regular expressions that are known to",
        splits(
            "{\"type\":\"Split\",\"pattern\":{\"Regex\":\"(a|aa)+$\"},\"behavior\":\"Isolated\","
                + "\"invert\":false}"));
    files.put(
        "pre_tokenizer.pattern: expected either String or Regex",
        splits("{\"type\":\"Split\",\"pattern\":{},\"behavior\":\"Isolated\",\"invert\":false}"));
    files.put(
        "pre_tokenizer.behavior: expected one of [Contiguous, Isolated,",
        splits("{\"type\":\"Punctuation\",\"behavior\":\"isolated\"}"));
    files.put(
        "pre_tokenizer.replacement: expected one character, got \"__\"",
        splits("{\"type\":\"Metaspace\",\"replacement\":\"__\"}"));
    files.put(
        "pre_tokenizer.add_prefix_space: expected true where prepend_scheme is always, got false",
        splits("{\"type\":\"Metaspace\",\"replacement\":\"_\",\"add_prefix_space\":false}"));
    files.put(
        "pre_tokenizer.pretokenizers[0].type: expected a pre-tokenizer that is known, got \"X\"",
        splits("{\"type\":\"Sequence\",\"pretokenizers\":[{\"type\":\"X\"}]}"));
    // Templates.
    String a = "{\"Sequence\":{\"id\":\"A\",\"type_id\":0}}";
    files.put(
        "post_processor.single[0].SpecialToken.id: expected one of the special_tokens, got \"[S]\"",
        template("{\"SpecialToken\":{\"id\":\"[S]\",\"type_id\":0}}," + a));
    files.put(
        "post_processor.single[0].Sequence.id: expected A, got \"B\"",
        template("{\"Sequence\":{\"id\":\"B\",\"type_id\":0}}"));
    files.put("post_processor.single: expected the sequence A once", template(a + "," + a));
    files.put(
        "post_processor.single: expected the sequence A once, got an array of 0", template(""));
    String bert = "{\"type\":\"BertProcessing\",\"sep\":[\"[SEP]\",3],\"cls\":[\"[CLS]\",2]}";
    files.put(
        "post_processor.processors[1]: expected one post-processor that adds tokens",
        processor("{\"type\":\"Sequence\",\"processors\":[" + bert + "," + bert + "]}"));
    files.put(
        "post_processor.sep[1]: expected a whole number from 0 to 2147483647, got 2147483648",
        processor(bert.replace("3", "2147483648")));
    files.put(
        "post_processor.type: expected a post-processor that is known, got \"Code\"",
        processor("{\"type\":\"Code\"}"));
    // Models.
    files.put("model.type: expected a model that is known", model("{\"type\":\"Code\"}"));
    files.put(
        "model.vocab.a: expected a whole number from 0 to 2147483647, got 2147483648",
        model("{\"type\":\"WordLevel\",\"unk_token\":\"a\",\"vocab\":{\"a\":2147483648}}"));
    files.put(
        "model.unk_token: expected a token of the vocabulary, got \"[UNK]\"",
        model(MODEL.replace("\"[UNK]\":1,", "")));
    files.put(
        "model.max_input_chars_per_word: expected a whole number from 1 to 1000, got 100000",
        model(MODEL.replace("\":100,", "\":100000,")));
    files.put(
        "model.dropout: expected none",
        model("{\"type\":\"BPE\",\"dropout\":0.5,\"vocab\":{\"a\":0},\"merges\":[]}"));
    files.put(
        "model.merges[0]: expected two tokens of the vocabulary that make a third, got \"aa b\"",
        model(
            "{\"type\":\"BPE\",\"continuing_subword_prefix\":\"##\",\"vocab\":"
                + "{\"aa\":0,\"b\":1},\"merges\":[\"aa b\"]}"));
    files.put(
        "model.merges[0]: expected two tokens, got \"a  b\"",
        model("{\"type\":\"BPE\",\"vocab\":{\"a\":0},\"merges\":[\"a  b\"]}"));
    files.put(
        "model.unk_id: expected a value, got null",
        model("{\"type\":\"Unigram\",\"unk_id\":null,\"vocab\":[[\"a\",0.0]]}"));
    files.put(
        "model.unk_id: expected a whole number from 0 to 0, got 1",
        model("{\"type\":\"Unigram\",\"unk_id\":1,\"vocab\":[[\"a\",0.0]]}"));
    files.put(
        "model.vocab[0][0]: expected a token of at most 256 characters",
        model(
            "{\"type\":\"Unigram\",\"unk_id\":0,\"vocab\":[[\"%s\",0.0]]}"
                .formatted("a".repeat(40000))));
    // Added tokens.
    files.put(
        "added_tokens[0].content: expected a text of 1 to 256 characters, got \"\"",
        tokens(added(20, "", "")));
    files.put(
        "added_tokens[1].content: expected another text for each token, got \"x\"",
        tokens(added(20, "x", ""), added(21, "x", "n")));
    files.put(
        "added_tokens[0].id: expected 20, the next one, got 30", tokens(added(30, "new", "")));
    files.put(
        "added_tokens[0].id: expected 6, as the vocabulary has it, got 20",
        tokens(added(20, "cat", "")));
    files.put(
        "added_tokens[0].rstrip: expected false where another token begins with a space, as"
            + " added_tokens[1] does",
        tokens(added(20, "x", "r"), added(21, " ", "l")));
    files.put(
        "added_tokens[0].rstrip: expected false where normalized is true",
        document(
            NONE,
            added(20, "x", "nr") + "," + added(21, "y", "nl"),
            replace("{\"String\":\"y\"}", " "),
            NONE,
            NONE,
            MODEL));
    files.put(
        "added_tokens[0].content: expected a text of which the normalizer leaves something",
        document(
            NONE,
            added(20, " ", "n"),
            "{\"type\":\"Strip\",\"strip_left\":true,\"strip_right\":false}",
            NONE,
            NONE,
            MODEL));
    return files;
  }

  static Stream<Arguments> hostileFiles() {
    return hostile().entrySet().stream().map(e -> Arguments.of(e.getKey(), e.getValue()));
  }

  @ParameterizedTest(name = "{0}")
  @MethodSource("hostileFiles")
  void refusedWithThePlace(String message, String json) {
    String actual =
        assertThrows(
                IllegalArgumentException.class,
                () -> Tokenizer.load(json.getBytes(StandardCharsets.UTF_8)))
            .getMessage();
    assertTrue(actual.contains(message), actual);
  }

  @TempDir Path folder;

  @Test
  void theFileIsNamed() throws Exception {
    Path file = folder.resolve("tokenizer.json");
    Files.writeString(file, splits("{\"type\":\"FixedLength\",\"length\":0}"));
    String message =
        assertThrows(FileSystemException.class, () -> Tokenizer.load(file)).getMessage();
    assertEquals(
        file
            + ": no tokenizer: pre_tokenizer.length: expected a whole number from 1 to 2147483647,"
            + " got 0",
        message);
  }

  static Stream<Arguments> families() {
    return TokenizerFiles.all().entrySet().stream()
        .map(e -> Arguments.of(e.getKey(), e.getValue()));
  }

  @ParameterizedTest(name = "{0}")
  @MethodSource("families")
  void familiesAreRead(String name, String json) {
    Tokenizer tokenizer =
        assertDoesNotThrow(() -> Tokenizer.load(json.getBytes(StandardCharsets.UTF_8)));
    assertTrue(tokenizer.encode("the cat").count() > 0);
  }

  /** Old files have no type in their models. */
  @ParameterizedTest(name = "{0}")
  @MethodSource("families")
  void modelsNeedNoType(String name, String json) {
    String old = json.replaceFirst("\"model\":\\{\"type\":\"\\w+\",", "\"model\":{");
    assertTrue(!old.equals(json));
    Tokenizer with = Tokenizer.load(json.getBytes(StandardCharsets.UTF_8));
    Tokenizer without = Tokenizer.load(old.getBytes(StandardCharsets.UTF_8));
    for (String text : List.of("the cat", "a b é 12", "")) {
      assertArrayEquals(with.encode(text).ids(), without.encode(text).ids());
    }
  }
}
