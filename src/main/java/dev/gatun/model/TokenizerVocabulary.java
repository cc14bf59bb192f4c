package dev.gatun.model;

import dev.gatun.internal.Json;
import java.util.ArrayList;
import java.util.Collections;
import java.util.HashMap;
import java.util.HashSet;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Set;

/** The model of a tokenizer.json and the tokens that were added to its vocabulary. */
final class TokenizerVocabulary {
  private static final int MAX_WORD = 1000;

  /** The library follows a tree of Unigram's pieces by recursion. */
  private static final int MAX_PIECE = 256;

  private static final int MAX_ADDED = 1 << 15;
  private static final int MAX_CONTENT = 256;

  private final Map<String, Integer> ids = new HashMap<>();

  private final TokenTable.Builder table = new TokenTable.Builder();

  /** Added tokens that are special, in the order of the file. */
  private final Map<String, Integer> special = new LinkedHashMap<>();

  /** As the library counts: pieces of Unigram that stand twice are two. */
  private int size;

  /** Of the model's vocabulary and of added tokens. */
  private int highestId;

  /** Those that are looked for in the normalized text. */
  private final List<Json> normalized = new ArrayList<>();

  private TokenizerVocabulary() {}

  /** Reads both, and refuses what is not known to be safe; cuts are told of added tokens. */
  static TokenizerVocabulary read(Json document, TextCuts cuts) {
    TokenizerVocabulary vocabulary = new TokenizerVocabulary();
    vocabulary.model(document.get("model"));
    if (document.names().contains("added_tokens")) {
      boolean normalizes = !document.find("normalizer").isNull();
      vocabulary.added(document.find("added_tokens"), normalizes, cuts);
    }
    return vocabulary;
  }

  /** Returns the highest id that a text can get. */
  int highestId() {
    return highestId;
  }

  /** Returns the tokens of the model and those that were added. */
  TokenTable table() {
    return table.build();
  }

  /** Returns the ids of added tokens that are special, by their contents. */
  Map<String, Integer> special() {
    return Collections.unmodifiableMap(special);
  }

  /** Returns the contents of added tokens that are looked for in the normalized text. */
  List<Json> normalized() {
    return normalized;
  }

  // ---- models --------------------------------------------------------------------------------

  private void model(Json model) {
    Json type = model.find("type");
    switch (type.isNull() ? typeOf(model) : type.string()) {
      case "WordPiece" -> {
        model.only(
            Set.of(
                "type",
                "unk_token",
                "continuing_subword_prefix",
                "max_input_chars_per_word",
                "vocab"));
        vocabulary(model.get("vocab"));
        known(model.get("unk_token"));
        model.get("continuing_subword_prefix").string();
        model.get("max_input_chars_per_word").integer(1, MAX_WORD);
      }
      case "WordLevel" -> {
        model.only(Set.of("type", "unk_token", "vocab"));
        vocabulary(model.get("vocab"));
        known(model.get("unk_token"));
      }
      case "BPE" -> bytePairs(model);
      case "Unigram" -> unigram(model);
      default -> throw type.expected("a model that is known");
    }
  }

  /** Old files have no type. */
  private static String typeOf(Json model) {
    Set<String> names = model.names();
    if (names.contains("merges")) {
      return "BPE";
    }
    if (names.contains("max_input_chars_per_word")) {
      return "WordPiece";
    }
    return names.contains("unk_id") ? "Unigram" : "WordLevel";
  }

  private void vocabulary(Json vocabulary) {
    vocabulary.forEach(
        (token, id) -> {
          int number = (int) id.integer(0, Integer.MAX_VALUE);
          ids.put(token, number);
          table.add(token, number);
          highestId = Math.max(highestId, number);
        });
    size = ids.size();
    if (size == 0) {
      throw vocabulary.expected("a token");
    }
  }

  private void known(Json token) {
    if (!ids.containsKey(token.string())) {
      throw token.expected("a token of the vocabulary");
    }
  }

  private void bytePairs(Json model) {
    model.only(
        Set.of(
            "type",
            "dropout",
            "unk_token",
            "continuing_subword_prefix",
            "end_of_word_suffix",
            "fuse_unk",
            "byte_fallback",
            "ignore_merges",
            "vocab",
            "merges"));
    vocabulary(model.get("vocab"));
    Json dropout = model.find("dropout");
    if (!dropout.isNull() && dropout.number() != 0) {
      throw dropout.expected("none, since a text has to have the same tokens each time");
    }
    if (!model.find("unk_token").isNull()) {
      known(model.get("unk_token"));
    }
    for (String flag : List.of("fuse_unk", "byte_fallback", "ignore_merges")) {
      model.find(flag).boolOr(false);
    }
    if (!model.find("end_of_word_suffix").isNull()) {
      model.get("end_of_word_suffix").string();
    }
    Json prefix = model.find("continuing_subword_prefix");
    merges(model.get("merges"), prefix.isNull() ? "" : prefix.string());
  }

  /** Reads pairs, or old files' lines of two tokens with a space between. */
  private void merges(Json merges, String prefix) {
    List<Json> all = merges.elements();
    boolean lines = !all.isEmpty() && all.getFirst().isString();
    for (Json merge : all) {
      String left;
      String right;
      if (lines) {
        String line = merge.string();
        if (line.startsWith("#version")) {
          continue;
        }
        int space = line.indexOf(' ');
        if (space < 0 || line.indexOf(' ', space + 1) >= 0) {
          throw merge.expected("two tokens");
        }
        left = line.substring(0, space);
        right = line.substring(space + 1);
      } else {
        List<Json> pair = merge.elements();
        if (pair.size() != 2) {
          throw merge.expected("two tokens");
        }
        left = pair.get(0).string();
        right = pair.get(1).string();
      }
      if (!right.startsWith(prefix)
          || !ids.containsKey(left)
          || !ids.containsKey(right)
          || !ids.containsKey(left.concat(right.substring(prefix.length())))) {
        throw merge.expected("two tokens of the vocabulary that make a third");
      }
    }
  }

  private void unigram(Json model) {
    model.only(Set.of("type", "unk_id", "vocab", "byte_fallback"));
    List<Json> pieces = model.get("vocab").elements();
    for (Json piece : pieces) {
      List<Json> pair = piece.elements();
      if (pair.size() != 2) {
        throw piece.expected("a token and its score");
      }
      String token = pair.get(0).string();
      if (token.length() > MAX_PIECE) {
        throw pair.get(0).expected("a token of at most %d characters".formatted(MAX_PIECE));
      }
      pair.get(1).number();
      table.add(token, size);
      ids.put(token, size++);
    }
    // Without it, a character that no piece has would be an error.
    model.get("unk_id").integer(0, size - 1);
    highestId = size - 1;
    if (model.names().contains("byte_fallback")) {
      model.get("byte_fallback").bool();
    }
  }

  // ---- added tokens --------------------------------------------------------------------------

  private void added(Json tokens, boolean normalizes, TextCuts cuts) {
    List<Json> all = tokens.elements();
    if (all.size() > MAX_ADDED) {
      throw tokens.expected("at most %d tokens".formatted(MAX_ADDED));
    }
    Set<String> contents = new HashSet<>();
    Json trims = null;
    Json trimsNormalized = null;
    int last = -1;
    for (Json token : all) {
      token.only(
          Set.of("id", "content", "single_word", "lstrip", "rstrip", "normalized", "special"));
      String content = content(token.get("content"), contents);
      int id = id(token.get("id"), content, last);
      last = Math.max(last, id);
      table.add(content, id);
      token.get("single_word").bool();
      token.get("lstrip").bool();
      if (token.get("special").bool()) {
        special.put(content, id);
      }
      if (token.get("normalized").bool()) {
        normalized.add(token.get("content"));
        if (normalizes && !content.chars().allMatch(c -> c >= ' ' && c <= '~')) {
          cuts.joins();
        }
        trimsNormalized = token.get("rstrip").bool() ? token : trimsNormalized;
      } else {
        trims = token.get("rstrip").bool() ? token : trims;
      }
      cuts.addedToken(content);
    }
    highestId = Math.max(highestId, last);
    // The library is lost where one takes the spaces after it that are the other's content.
    if (trimsNormalized != null && normalizes) {
      throw trimsNormalized.get("rstrip").expected("false where normalized is true");
    }
    for (Json token : all) {
      Json trim = token.get("normalized").bool() ? trimsNormalized : trims;
      if (trim != null && isSpace(token.get("content").string().codePointAt(0))) {
        throw trim.get("rstrip")
            .expected(
                "false where another token begins with a space, as %s does"
                    .formatted(token.path()));
      }
    }
  }

  private static String content(Json content, Set<String> contents) {
    String text = content.string();
    if (text.isEmpty() || text.length() > MAX_CONTENT) {
      throw content.expected("a text of 1 to %d characters".formatted(MAX_CONTENT));
    }
    if (!contents.add(text)) {
      throw content.expected("another text for each token");
    }
    return text;
  }

  /** The library gives ids by itself; it only warns where the file says another. */
  private int id(Json id, String content, int last) {
    int said = (int) id.integer(0, Integer.MAX_VALUE);
    Integer known = ids.get(content);
    int given = known != null ? known : last >= size ? last + 1 : size;
    if (said != given) {
      throw id.expected(
          "%d, %s".formatted(given, known != null ? "as the vocabulary has it" : "the next one"));
    }
    return given;
  }

  /** All that the library may take for a space, and more. */
  private static boolean isSpace(int c) {
    return Character.isWhitespace(c) || Character.isSpaceChar(c) || c == 0x85;
  }
}
