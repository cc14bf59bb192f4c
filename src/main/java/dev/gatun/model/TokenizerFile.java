package dev.gatun.model;

import dev.gatun.internal.Json;
import java.util.List;
import java.util.Set;

/**
 * A tokenizer.json, read and checked before the library sees it. The library trusts its files: what
 * it does not expect ends the process, or gives other tokens. So only what is known to be safe is
 * let through: types of components with all their keys, each within its range.
 *
 * @param document all of it
 * @param vocabulary its tokens and ids
 * @param maxTokens what to cut texts to
 * @param keepsEnd whether they are cut at the start
 * @param cutting which one of two texts is cut
 * @param template the tokens around a text
 * @param cuts where a text that is far too long may be cut before it is tokenized
 * @param probe a tokenizer that makes no token only of texts whose normal form is empty; null if
 *     nobody has to know
 * @param normalized the contents that must have a normal form
 */
record TokenizerFile(
    Json document,
    TokenizerVocabulary vocabulary,
    int maxTokens,
    boolean keepsEnd,
    PairCutting cutting,
    TokenizerTemplate template,
    TextCuts cuts,
    String probe,
    List<Json> normalized) {

  /** More than twice as many bytes as the largest that are known. */
  private static final int MAX_BYTES = 1 << 27;

  /**
   * Reads a file. Throws IllegalArgumentException for what is not known to be safe, with its place.
   */
  static TokenizerFile read(byte[] bytes) {
    if (bytes.length > MAX_BYTES) {
      throw new IllegalArgumentException(
          "expected JSON of at most %d bytes, got %d".formatted(MAX_BYTES, bytes.length));
    }
    Json document = Json.parse(bytes);
    document.only(
        Set.of(
            "version",
            "truncation",
            "padding",
            "added_tokens",
            "normalizer",
            "pre_tokenizer",
            "post_processor",
            "decoder",
            "model"));
    if (document.names().contains("version") && !document.get("version").string().equals("1.0")) {
      throw document.get("version").expected("1.0");
    }
    checkPadding(document.find("padding"));
    TokenizerDecoders.check(document.find("decoder"));
    Json normalizer = document.find("normalizer");
    TextCuts cuts = new TextCuts();
    TokenizerNormalizers.check(normalizer, cuts);
    TokenizerSplits.check(document.find("pre_tokenizer"), cuts);
    if (isBert(normalizer, document.find("pre_tokenizer"))) {
      cuts.splitsBeforeAllSpaces();
      if (normalizer.get("handle_chinese_chars").bool()) {
        cuts.splitsBeforeChinese();
      }
    }
    TokenizerVocabulary vocabulary = TokenizerVocabulary.read(document, cuts);
    TokenizerTemplate template = TokenizerTemplate.read(document.find("post_processor"));
    Json truncation = document.find("truncation");
    int maxTokens =
        truncation.isNull()
            ? Tokenizer.DEFAULT_MAX_TOKENS
            : checkTruncation(truncation, template.single().added());
    return new TokenizerFile(
        document,
        vocabulary,
        maxTokens,
        !truncation.isNull()
            && truncation.names().contains("direction")
            && truncation.get("direction").string().equals("Left"),
        truncation.isNull()
            ? PairCutting.LONGEST_FIRST
            : PairCutting.of(truncation.get("strategy").string()),
        template,
        cuts,
        normalizer.isNull() || vocabulary.normalized().isEmpty() ? null : probe(normalizer),
        vocabulary.normalized());
  }

  /** Returns what is left for the library: what makes tokens of a text and a text of tokens. */
  String json() {
    return document.textWithout("truncation", "padding", "post_processor");
  }

  private static boolean isBert(Json normalizer, Json splits) {
    return !normalizer.isNull()
        && normalizer.get("type").string().equals("BertNormalizer")
        && !splits.isNull()
        && splits.get("type").string().equals("BertPreTokenizer");
  }

  private static String probe(Json normalizer) {
    return "{\"version\":\"1.0\",\"normalizer\":%s,\"model\":%s}"
        .formatted(
            normalizer,
            "{\"type\":\"BPE\",\"unk_token\":\"?\",\"fuse_unk\":true,\"vocab\":{\"?\":0},"
                + "\"merges\":[]}");
  }

  /**
   * Reads what to cut texts to. Stride is about the parts that are cut off, so that it decides
   * about no token.
   */
  private static int checkTruncation(Json truncation, int templateTokens) {
    truncation.only(Set.of("direction", "max_length", "strategy", "stride"));
    int maxTokens = (int) truncation.get("max_length").integer(1, Integer.MAX_VALUE);
    if (maxTokens < templateTokens) {
      throw truncation
          .get("max_length")
          .expected("at least the %d tokens around a text".formatted(templateTokens));
    }
    oneOf(truncation.get("strategy"), Set.of("LongestFirst", "OnlyFirst", "OnlySecond"));
    if (truncation.names().contains("direction")) {
      oneOf(truncation.get("direction"), Set.of("Left", "Right"));
    }
    truncation.get("stride").integer(0, maxTokens - templateTokens);
    return maxTokens;
  }

  /** Padding is left out, whatever the file says. */
  private static void checkPadding(Json padding) {
    if (padding.isNull()) {
      return;
    }
    padding.only(
        Set.of(
            "strategy", "direction", "pad_to_multiple_of", "pad_id", "pad_type_id", "pad_token"));
    Json strategy = padding.get("strategy");
    if (strategy.isObject()) {
      strategy.only(Set.of("Fixed"));
      strategy.get("Fixed").integer(0, Integer.MAX_VALUE);
    } else {
      oneOf(strategy, Set.of("BatchLongest"));
    }
    oneOf(padding.get("direction"), Set.of("Left", "Right"));
    if (!padding.find("pad_to_multiple_of").isNull()) {
      padding.get("pad_to_multiple_of").integer(0, Integer.MAX_VALUE);
    }
    padding.get("pad_id").integer(0, Integer.MAX_VALUE);
    padding.get("pad_type_id").integer(0, Integer.MAX_VALUE);
    padding.get("pad_token").string();
  }

  private static void oneOf(Json value, Set<String> names) {
    if (!names.contains(value.string())) {
      throw value.expected("one of " + names.stream().sorted().toList());
    }
  }
}
