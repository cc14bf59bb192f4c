package dev.gatun.support;

import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.StringJoiner;

/** Small tokenizer.json files of the families that people have. */
public final class TokenizerFiles {

  /** What SentencePiece's usual table does to some characters. */
  public static final String CHARSMAP =
      CharsmapWriter.write(
          Map.of(
              "\t",
              " ",
              "\u00a0",
              " ",
              "ﬁ",
              "fi",
              "Å",
              "Å",
              "①",
              "1",
              "\u200b",
              "",
              "…",
              "...",
              "\u3000",
              " ",
              "ﷺ",
              "صلى الله عليه وسلم"));

  /** The regular expression of LLaMA 3. */
  public static final String LLAMA3 =
      "(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\\r\\n\\p{L}\\p{N}]?\\p{L}+|\\p{N}{1,3}"
          + "| ?[^\\s\\p{L}\\p{N}]+[\\r\\n]*|\\s*[\\r\\n]+|\\s+(?!\\S)|\\s+";

  private TokenizerFiles() {}

  /** Returns the files by name. */
  public static Map<String, String> all() {
    Map<String, String> files = new LinkedHashMap<>();
    files.put("bert", bert());
    files.put("wordLevel", wordLevel());
    files.put("roberta", roberta());
    files.put("llama2", llama2());
    files.put("llama3", llama3());
    files.put("clip", clip());
    files.put("xlmRoberta", xlmRoberta());
    files.put("t5", t5());
    files.put("albert", albert());
    files.put("modernBert", modernBert());
    return files;
  }

  /** Returns a document of these parts; null for none. */
  public static String document(
      String truncation,
      String added,
      String normalizer,
      String splits,
      String processor,
      String model) {
    return """
    {"version":"1.0","truncation":%s,"padding":null,"added_tokens":[%s],"normalizer":%s,\
    "pre_tokenizer":%s,"post_processor":%s,"decoder":null,"model":%s}\
    """
        .formatted(truncation, added, normalizer, splits, processor, model);
  }

  /** Returns one added token. */
  public static String added(int id, String content, String flags) {
    return """
    {"id":%d,"content":%s,"single_word":%b,"lstrip":%b,"rstrip":%b,"normalized":%b,"special":%b}\
    """
        .formatted(
            id,
            quoted(content),
            flags.contains("w"),
            flags.contains("l"),
            flags.contains("r"),
            flags.contains("n"),
            flags.contains("s"));
  }

  /** Returns a string as JSON has it. */
  public static String quoted(String text) {
    StringBuilder json = new StringBuilder("\"");
    for (int i = 0; i < text.length(); i++) {
      char c = text.charAt(i);
      if (c == '"' || c == '\\') {
        json.append('\\').append(c);
      } else if (c < ' ' || c > '~') {
        json.append("\\u%04x".formatted((int) c));
      } else {
        json.append(c);
      }
    }
    return json.append('"').toString();
  }

  private static String truncation(int max, String direction) {
    return """
    {"direction":"%s","max_length":%d,"strategy":"LongestFirst","stride":0}\
    """
        .formatted(direction, max);
  }

  private static String vocabulary(List<String> tokens) {
    StringJoiner json = new StringJoiner(",", "{", "}");
    for (int i = 0; i < tokens.size(); i++) {
      json.add(quoted(tokens.get(i)) + ":" + i);
    }
    return json.toString();
  }

  private static String pieces(List<String> tokens) {
    StringJoiner json = new StringJoiner(",", "[", "]");
    for (int i = 0; i < tokens.size(); i++) {
      json.add("[%s,%s]".formatted(quoted(tokens.get(i)), i < 4 ? "0.0" : "-" + i + ".25"));
    }
    return json.toString();
  }

  private static String template(String before, int beforeId, String after, int afterId) {
    return """
    {"type":"TemplateProcessing","single":[{"SpecialToken":{"id":%1$s,"type_id":0}},\
    {"Sequence":{"id":"A","type_id":0}},{"SpecialToken":{"id":%2$s,"type_id":0}}],\
    "pair":[{"SpecialToken":{"id":%1$s,"type_id":0}},{"Sequence":{"id":"A","type_id":0}},\
    {"SpecialToken":{"id":%2$s,"type_id":0}},{"Sequence":{"id":"B","type_id":1}},\
    {"SpecialToken":{"id":%2$s,"type_id":1}}],"special_tokens":{%1$s:{"id":%1$s,"ids":[%3$d],\
    "tokens":[%1$s]},%2$s:{"id":%2$s,"ids":[%4$d],"tokens":[%2$s]}}}\
    """
        .formatted(quoted(before), quoted(after), beforeId, afterId);
  }

  // ---- families ------------------------------------------------------------------------------

  public static final String BERT_MODEL =
      """
      {"type":"WordPiece","unk_token":"[UNK]","continuing_subword_prefix":"##",\
      "max_input_chars_per_word":100,"vocab":%s}\
      """
          .formatted(
              vocabulary(
                  List.of(
                      "[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "the", "cat", "sat", "a", "b",
                      "##a", "##b", "##s", ".", ",", "日", "1", "##1", "e", "##e")));

  public static String bert() {
    return document(
        truncation(6, "Right"),
        added(0, "[PAD]", "s") + "," + added(2, "[CLS]", "s") + "," + added(4, "[MASK]", "ls"),
        """
        {"type":"BertNormalizer","clean_text":true,"handle_chinese_chars":true,\
        "strip_accents":null,"lowercase":true}\
        """,
        "{\"type\":\"BertPreTokenizer\"}",
        template("[CLS]", 2, "[SEP]", 3),
        BERT_MODEL);
  }

  public static String wordLevel() {
    return document(
        "null",
        added(3, "<new>", "n"),
        """
        {"type":"Sequence","normalizers":[{"type":"NFD"},{"type":"StripAccents"},{"type":"Nmt"},\
        {"type":"Strip","strip_left":true,"strip_right":true}]}\
        """,
        """
        {"type":"Sequence","pretokenizers":[{"type":"Whitespace"},\
        {"type":"Digits","individual_digits":true},{"type":"Punctuation","behavior":"Contiguous"},\
        {"type":"UnicodeScripts"},{"type":"FixedLength","length":5},\
        {"type":"CharDelimiterSplit","delimiter":"-"}]}\
        """,
        "{\"type\":\"BertProcessing\",\"sep\":[\"b\",1],\"cls\":[\"a\",0]}",
        "{\"type\":\"WordLevel\",\"unk_token\":\"?\",\"vocab\":{\"a\":0,\"b\":1,\"?\":2}}");
  }

  /** Some of the characters that stand for bytes. */
  private static List<String> bytes() {
    return "Ġ!',.0123abcdehmnost¢©Ã".chars().mapToObj(Character::toString).toList();
  }

  private static List<String> with(List<String> first, String... more) {
    List<String> all = new ArrayList<>(first);
    all.addAll(List.of(more));
    return all;
  }

  private static String bytePairs(List<String> tokens, String rest, String merges) {
    return """
    {"type":"BPE","dropout":null,%s,"vocab":%s,"merges":[%s]}\
    """
        .formatted(rest, vocabulary(tokens), merges);
  }

  private static final String PLAIN_BPE =
      """
      "unk_token":null,"continuing_subword_prefix":"","end_of_word_suffix":"","fuse_unk":false,\
      "byte_fallback":false,"ignore_merges":false\
      """;

  public static String roberta() {
    List<String> tokens = with(bytes(), "<s>", "</s>", "<mask>", "th", "the", "Ġthe", "Ġt", "ab");
    return document(
        truncation(8, "Left"),
        added(23, "<s>", "ns") + "," + added(25, "<mask>", "ls"),
        "null",
        """
        {"type":"ByteLevel","add_prefix_space":true,"trim_offsets":true,"use_regex":true}\
        """,
        """
        {"type":"RobertaProcessing","sep":["</s>",24],"cls":["<s>",23],"trim_offsets":true,\
        "add_prefix_space":true}\
        """,
        bytePairs(tokens, PLAIN_BPE, "\"t h\",\"th e\",\"Ġ the\",\"Ġ t\",\"a b\""));
  }

  public static String llama2() {
    List<String> tokens =
        with(
            List.of("<unk>", "<s>", "</s>", "▁", "t", "h", "e", "a", "b", "▁t", "▁the", "he"),
            bytes().stream()
                .map(b -> "<0x%02X>".formatted(bytes().indexOf(b)))
                .toArray(String[]::new));
    return document(
        "null",
        added(0, "<unk>", "ns") + "," + added(1, "<s>", "s"),
        """
        {"type":"Sequence","normalizers":[{"type":"Prepend","prepend":"▁"},\
        {"type":"Replace","pattern":{"String":" "},"content":"▁"}]}\
        """,
        "null",
        """
        {"type":"TemplateProcessing","single":[{"SpecialToken":{"id":"<s>","type_id":0}},\
        {"Sequence":{"id":"A","type_id":0}}],"pair":[{"Sequence":{"id":"A","type_id":0}},\
        {"Sequence":{"id":"B","type_id":1}}],"special_tokens":{"<s>":{"id":"<s>","ids":[1],\
        "tokens":["<s>"]}}}\
        """,
        bytePairs(
            tokens,
            "\"unk_token\":\"<unk>\",\"continuing_subword_prefix\":null,"
                + "\"end_of_word_suffix\":null,\"fuse_unk\":true,\"byte_fallback\":true",
            "[\"▁\",\"t\"],[\"h\",\"e\"],[\"▁t\",\"he\"]"));
  }

  public static String llama3() {
    List<String> tokens = with(bytes(), "th", "Ġt", "Ġth", "ab");
    return document(
        "null",
        added(27, "<|begin|>", "s") + "," + added(28, "<|end|>", "rs"),
        "null",
        """
        {"type":"Sequence","pretokenizers":[{"type":"Split","pattern":{"Regex":%s},\
        "behavior":"Isolated","invert":false},{"type":"ByteLevel","add_prefix_space":false,\
        "trim_offsets":true,"use_regex":false}]}\
        """
            .formatted(quoted(LLAMA3)),
        """
        {"type":"Sequence","processors":[{"type":"ByteLevel","add_prefix_space":true,\
        "trim_offsets":false,"use_regex":true},%s]}\
        """
            .formatted(template("<|begin|>", 27, "<|end|>", 28)),
        bytePairs(
            tokens,
            "\"unk_token\":null,\"continuing_subword_prefix\":null,"
                + "\"end_of_word_suffix\":null,\"fuse_unk\":false,\"byte_fallback\":false,"
                + "\"ignore_merges\":true",
            "\"t h\",\"Ġ t\",\"Ġt h\",\"a b\""));
  }

  public static String clip() {
    List<String> ends = bytes().stream().map(b -> b + "</w>").toList();
    List<String> tokens =
        with(
            with(bytes(), ends.toArray(String[]::new)),
            "<|startoftext|>",
            "<|endoftext|>",
            "ab</w>");
    return document(
        truncation(77, "Right"),
        added(46, "<|startoftext|>", "ns") + "," + added(47, "<|endoftext|>", "s"),
        """
        {"type":"Sequence","normalizers":[{"type":"NFC"},{"type":"Replace","pattern":\
        {"Regex":"\\\\s+"},"content":" "},{"type":"Lowercase"}]}\
        """,
        """
        {"type":"Sequence","pretokenizers":[{"type":"Split","pattern":{"Regex":\
        "'s|'t|'re|'ve|'m|'ll|'d|[\\\\p{L}]+|[\\\\p{N}]|[^\\\\s\\\\p{L}\\\\p{N}]+"},\
        "behavior":"Removed","invert":true},{"type":"ByteLevel","add_prefix_space":false,\
        "trim_offsets":true,"use_regex":true}]}\
        """,
        """
        {"type":"RobertaProcessing","sep":["<|endoftext|>",47],"cls":["<|startoftext|>",46],\
        "trim_offsets":false,"add_prefix_space":false}\
        """,
        bytePairs(
            tokens,
            "\"unk_token\":\"<|endoftext|>\",\"continuing_subword_prefix\":\"\","
                + "\"end_of_word_suffix\":\"</w>\",\"fuse_unk\":false",
            "\"a b</w>\""));
  }

  private static final List<String> PIECES =
      List.of(
          "<s>", "<pad>", "</s>", "<unk>", "▁", "▁the", "the", "t", "h", "e", "▁a", "a", "b", "ab",
          ".", "日本", "é", "1", "fi", "▁cat", "s");

  private static String unigram() {
    return "{\"type\":\"Unigram\",\"unk_id\":3,\"vocab\":" + pieces(PIECES) + "}";
  }

  public static String xlmRoberta() {
    return document(
        truncation(12, "Right"),
        added(0, "<s>", "s") + "," + added(3, "<unk>", "s") + "," + added(21, "<mask>", "ls"),
        """
        {"type":"Sequence","normalizers":[{"type":"Precompiled","precompiled_charsmap":"%s"},\
        {"type":"Replace","pattern":{"Regex":" {2,}"},"content":" "}]}\
        """
            .formatted(CHARSMAP),
        """
        {"type":"Sequence","pretokenizers":[{"type":"WhitespaceSplit"},{"type":"Metaspace",\
        "replacement":"▁","add_prefix_space":true}]}\
        """,
        template("<s>", 0, "</s>", 2),
        unigram());
  }

  public static String t5() {
    return document(
        "null",
        added(1, "<pad>", "s") + "," + added(21, "<extra_id_0>", "lrs"),
        "{\"type\":\"Precompiled\",\"precompiled_charsmap\":\"" + CHARSMAP + "\"}",
        """
        {"type":"Metaspace","replacement":"▁","prepend_scheme":"first","split":true}\
        """,
        """
        {"type":"TemplateProcessing","single":[{"Sequence":{"id":"A","type_id":0}},\
        {"SpecialToken":{"id":"</s>","type_id":0}}],"pair":[{"Sequence":{"id":"A","type_id":0}},\
        {"Sequence":{"id":"B","type_id":0}}],"special_tokens":{"</s>":{"id":"</s>","ids":[2],\
        "tokens":["</s>"]}}}\
        """,
        unigram());
  }

  public static String albert() {
    return document(
        "null",
        added(0, "<s>", "n") + "," + added(21, "[MASK]", "wl"),
        """
        {"type":"Sequence","normalizers":[{"type":"Replace","pattern":{"String":"``"},\
        "content":"\\""},{"type":"NFKD"},{"type":"StripAccents"},{"type":"Lowercase"},\
        {"type":"Precompiled","precompiled_charsmap":"%s"}]}\
        """
            .formatted(CHARSMAP),
        """
        {"type":"Metaspace","replacement":"▁","prepend_scheme":"always","split":true}\
        """,
        "null",
        unigram());
  }

  public static String modernBert() {
    List<String> tokens = with(bytes(), "th", "Ġt", "ab", "[MASK]");
    return document(
        "null",
        added(26, "[MASK]", "ls") + "," + added(27, "  ", "n") + "," + added(28, "    ", "n"),
        "{\"type\":\"NFC\"}",
        """
        {"type":"ByteLevel","add_prefix_space":false,"trim_offsets":true,"use_regex":true}\
        """,
        "null",
        bytePairs(tokens, PLAIN_BPE, "\"t h\",\"Ġ t\",\"a b\""));
  }
}
