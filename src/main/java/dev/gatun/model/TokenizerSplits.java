package dev.gatun.model;

import dev.gatun.internal.Json;
import java.util.Set;

/** The pre-tokenizers that a tokenizer.json may have, with all their keys. */
final class TokenizerSplits {
  private static final int MAX_SPLITS = 64;
  private static final Set<String> BEHAVIORS =
      Set.of("Removed", "Isolated", "MergedWithPrevious", "MergedWithNext", "Contiguous");

  private final TextCuts cuts;
  private int count;

  private TokenizerSplits(TextCuts cuts) {
    this.cuts = cuts;
  }

  /** Refuses a pre-tokenizer that is not known to be safe; cuts are told what it does at spaces. */
  static void check(Json splits, TextCuts cuts) {
    if (!splits.isNull()) {
      new TokenizerSplits(cuts).check(splits);
    }
  }

  private void check(Json splits) {
    if (++count > MAX_SPLITS) {
      throw splits.expected("at most %d pre-tokenizers".formatted(MAX_SPLITS));
    }
    Json type = splits.get("type");
    switch (type.string()) {
      case "Sequence" -> {
        splits.only(Set.of("type", "pretokenizers"));
        splits.get("pretokenizers").elements().forEach(this::check);
      }
      case "BertPreTokenizer", "Whitespace", "WhitespaceSplit" -> {
        splits.only(Set.of("type"));
        cuts.splitsBeforeSpaces();
      }
      case "UnicodeScripts" -> splits.only(Set.of("type"));
      case "ByteLevel" -> {
        checkByteLevel(splits);
        if (splits.find("use_regex").boolOr(true)) {
          cuts.splitsBeforeSpaces();
        }
        cuts.spacesBecomeOthers();
      }
      case "Metaspace" -> metaspace(splits);
      case "CharDelimiterSplit" -> {
        splits.only(Set.of("type", "delimiter"));
        delimiter(character(splits.get("delimiter")), "Removed");
      }
      case "Split" -> split(splits);
      case "Punctuation" -> {
        splits.only(Set.of("type", "behavior"));
        if (splits.names().contains("behavior")) {
          behavior(splits.get("behavior"));
        }
      }
      case "Digits" -> {
        splits.only(Set.of("type", "individual_digits"));
        splits.get("individual_digits").bool();
      }
      case "FixedLength" -> {
        splits.only(Set.of("type", "length"));
        if (splits.names().contains("length")) {
          splits.get("length").integer(1, Integer.MAX_VALUE);
        }
        cuts.joins();
      }
      default -> throw type.expected("a pre-tokenizer that is known");
    }
  }

  /** Checks what stands in a post-processor as well. */
  static void checkByteLevel(Json byteLevel) {
    byteLevel.only(Set.of("type", "add_prefix_space", "trim_offsets", "use_regex"));
    byteLevel.get("add_prefix_space").bool();
    byteLevel.get("trim_offsets").bool();
    if (byteLevel.names().contains("use_regex")) {
      byteLevel.get("use_regex").bool();
    }
  }

  static String character(Json character) {
    String text = character.string();
    if (text.codePointCount(0, text.length()) != 1) {
      throw character.expected("one character");
    }
    return text;
  }

  private static String behavior(Json behavior) {
    if (!BEHAVIORS.contains(behavior.string())) {
      throw behavior.expected("one of " + BEHAVIORS.stream().sorted().toList());
    }
    return behavior.string();
  }

  /** Checks what a decoder has as well. */
  static void checkMetaspace(Json metaspace) {
    metaspace.only(
        Set.of("type", "replacement", "prepend_scheme", "add_prefix_space", "split", "str_rep"));
    character(metaspace.get("replacement"));
    String scheme = "always";
    if (metaspace.names().contains("prepend_scheme")) {
      scheme = metaspace.get("prepend_scheme").string();
      if (!Set.of("first", "never", "always").contains(scheme)) {
        throw metaspace.get("prepend_scheme").expected("first, never or always");
      }
    }
    Json prefix = metaspace.find("add_prefix_space");
    if (!prefix.isNull() && !prefix.bool() && !scheme.equals("never")) {
      throw prefix.expected("true where prepend_scheme is " + scheme);
    }
    if (!metaspace.find("str_rep").isNull()) {
      metaspace.get("str_rep").string();
    }
    metaspace.find("split").boolOr(true);
  }

  private void metaspace(Json splits) {
    checkMetaspace(splits);
    if (!splits.get("replacement").string().equals("▁")) {
      cuts.joins();
    }
    cuts.spacesBecomeLowLines(true);
    if (splits.find("split").boolOr(true)) {
      cuts.splitsBeforeLowLines();
    }
  }

  private void split(Json splits) {
    splits.only(Set.of("type", "pattern", "behavior", "invert"));
    String behavior = behavior(splits.get("behavior"));
    boolean invert = splits.get("invert").bool();
    String literal = TokenizerPatterns.literal(splits.get("pattern"));
    if (literal != null) {
      delimiter(literal, invert ? "inverted" : behavior);
    } else if (TokenizerPatterns.expression(splits.get("pattern"))
        == TokenizerPatterns.Kind.SPLITS) {
      if (behavior.equals("Isolated") || behavior.equals("Removed")) {
        cuts.splitsBeforeSpaces();
      } else {
        cuts.joins();
      }
    } else if (behavior.startsWith("Merged")) {
      cuts.joins();
    }
  }

  private void delimiter(String delimiter, String behavior) {
    if (delimiter.equals(" ")) {
      if (Set.of("Removed", "Isolated", "Contiguous", "MergedWithNext").contains(behavior)) {
        cuts.splitsBeforeSpaces();
      } else if (cuts.hasSpaces()) {
        cuts.joins();
      }
    } else if (delimiter.chars().anyMatch(c -> c <= ' ' || c == '▁')
        || delimiter.chars().anyMatch(c -> TextCuts.isAlphanumeric((char) c))) {
      cuts.joins();
    }
  }
}
