package dev.gatun.model;

import dev.gatun.internal.Json;
import java.util.Set;

/**
 * The normalizers that a tokenizer.json may have, with all their keys. Replacements are added up:
 * together they must not make a text much longer.
 */
final class TokenizerNormalizers {
  private static final int MAX_NORMALIZERS = 32;
  private static final int MAX_GROWTH = 2;
  private static final int MAX_PREPENDED = 16;

  private final TextCuts cuts;
  private int count;
  private long growth = 1;
  private boolean charsmap;

  private TokenizerNormalizers(TextCuts cuts) {
    this.cuts = cuts;
  }

  /** Refuses a normalizer that is not known to be safe; cuts are told what it does at spaces. */
  static void check(Json normalizer, TextCuts cuts) {
    if (!normalizer.isNull()) {
      new TokenizerNormalizers(cuts).check(normalizer);
    }
  }

  private void check(Json normalizer) {
    if (++count > MAX_NORMALIZERS) {
      throw normalizer.expected("at most %d normalizers".formatted(MAX_NORMALIZERS));
    }
    Json type = normalizer.get("type");
    switch (type.string()) {
      case "Sequence" -> {
        normalizer.only(Set.of("type", "normalizers"));
        normalizer.get("normalizers").elements().forEach(this::check);
      }
      case "BertNormalizer" -> {
        normalizer.only(
            Set.of("type", "clean_text", "handle_chinese_chars", "strip_accents", "lowercase"));
        normalizer.get("clean_text").bool();
        normalizer.get("handle_chinese_chars").bool();
        normalizer.get("lowercase").bool();
        normalizer.find("strip_accents").boolOr(false);
      }
      case "Strip" -> {
        normalizer.only(Set.of("type", "strip_left", "strip_right"));
        normalizer.get("strip_left").bool();
        normalizer.get("strip_right").bool();
      }
      case "NFC", "NFD", "NFKC", "NFKD" -> {
        normalizer.only(Set.of("type"));
        cuts.decomposes();
      }
      case "StripAccents", "Lowercase", "Nmt" -> normalizer.only(Set.of("type"));
      case "ByteLevel" -> {
        normalizer.only(Set.of("type"));
        cuts.joins();
      }
      case "Prepend" -> {
        normalizer.only(Set.of("type", "prepend"));
        Json text = normalizer.get("prepend");
        if (text.string().length() > MAX_PREPENDED) {
          throw text.expected("a text of at most %d characters".formatted(MAX_PREPENDED));
        }
        if (!text.string().chars().allMatch(c -> c == ' ' || c == '▁')) {
          cuts.joins();
        }
      }
      case "Precompiled" -> {
        normalizer.only(Set.of("type", "precompiled_charsmap"));
        if (charsmap) {
          throw normalizer.expected("one Precompiled");
        }
        charsmap = true;
        Charsmap table = Charsmap.read(normalizer.get("precompiled_charsmap"));
        cuts.replacesBy(table);
        if (!table.keepsAscii() || cuts.hasLowLines()) {
          cuts.joins();
        }
      }
      case "Replace" -> replace(normalizer);
      default -> throw type.expected("a normalizer that is known");
    }
  }

  private void replace(Json normalizer) {
    normalizer.only(Set.of("type", "pattern", "content"));
    Json content = normalizer.get("content");
    String by = content.string();
    String literal = TokenizerPatterns.literal(normalizer.get("pattern"));
    int shortest;
    if (literal != null) {
      shortest = literal.codePointCount(0, literal.length());
      if (literal.equals(" ")) {
        replaceSpaces(by, true);
      } else if (literal
              .chars()
              .anyMatch(c -> c == ' ' || c == '▁' || TextCuts.isAlphanumeric((char) c))
          || !by.chars().allMatch(c -> c > ' ' && c <= '~')) {
        cuts.joins();
      }
    } else {
      TokenizerPatterns.expression(normalizer.get("pattern"));
      shortest = 1;
      String expression = normalizer.get("pattern").get("Regex").string();
      if (expression.equals(" {2,}") || expression.equals(" +") || expression.equals("\\s+")) {
        replaceSpaces(by, !expression.equals(" {2,}"));
      } else {
        cuts.joins();
      }
    }
    int most = by.codePointCount(0, by.length());
    growth *= Math.max(1, (most + shortest - 1) / shortest);
    if (growth > MAX_GROWTH) {
      throw content.expected("replacements that make a text at most twice as long");
    }
  }

  private void replaceSpaces(String by, boolean all) {
    if (by.equals("▁")) {
      cuts.spacesBecomeLowLines(all);
    } else if (!by.equals(" ")) {
      cuts.joins();
    }
  }
}
