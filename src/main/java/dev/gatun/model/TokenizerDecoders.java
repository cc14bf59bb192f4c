package dev.gatun.model;

import dev.gatun.internal.Json;
import java.util.Set;

/** The decoders that a tokenizer.json may have, with all their keys. */
final class TokenizerDecoders {
  private static final int MAX_DECODERS = 32;
  private static final int MAX_GROWTH = 4;

  private int count;
  private long growth = 1;

  private TokenizerDecoders() {}

  /** Refuses a decoder that is not known to be safe. */
  static void check(Json decoder) {
    if (!decoder.isNull()) {
      new TokenizerDecoders().checkOne(decoder);
    }
  }

  private void checkOne(Json decoder) {
    if (++count > MAX_DECODERS) {
      throw decoder.expected("at most %d decoders".formatted(MAX_DECODERS));
    }
    Json type = decoder.get("type");
    switch (type.string()) {
      case "Sequence" -> {
        decoder.only(Set.of("type", "decoders"));
        decoder.get("decoders").elements().forEach(this::checkOne);
      }
      case "ByteLevel" -> TokenizerSplits.checkByteLevel(decoder);
      case "Metaspace" -> TokenizerSplits.checkMetaspace(decoder);
      case "WordPiece" -> {
        decoder.only(Set.of("type", "prefix", "cleanup"));
        decoder.get("prefix").string();
        decoder.get("cleanup").bool();
      }
      case "BPEDecoder" -> {
        decoder.only(Set.of("type", "suffix"));
        if (decoder.get("suffix").string().isEmpty()) {
          throw decoder.get("suffix").expected("a text that is not empty");
        }
      }
      case "CTC" -> {
        decoder.only(Set.of("type", "pad_token", "word_delimiter_token", "cleanup"));
        for (String token : new String[] {"pad_token", "word_delimiter_token"}) {
          if (decoder.get(token).string().isEmpty()) {
            throw decoder.get(token).expected("a text that is not empty");
          }
        }
        decoder.get("cleanup").bool();
      }
      case "Fuse", "ByteFallback" -> decoder.only(Set.of("type"));
      case "Strip" -> {
        decoder.only(Set.of("type", "content", "start", "stop"));
        TokenizerSplits.character(decoder.get("content"));
        decoder.get("start").integer(0, Integer.MAX_VALUE);
        // The library is lost where a token is shorter than what it strips at both ends.
        decoder.get("stop").integer(0, 0);
      }
      case "Replace" -> replace(decoder);
      default -> throw type.expected("a decoder that is known");
    }
  }

  private void replace(Json decoder) {
    decoder.only(Set.of("type", "pattern", "content"));
    String literal = TokenizerPatterns.literal(decoder.get("pattern"));
    if (literal == null) {
      TokenizerPatterns.expression(decoder.get("pattern"));
    }
    int shortest = literal == null ? 1 : literal.length();
    int most = decoder.get("content").string().length();
    growth *= Math.max(1, (most + shortest - 1) / shortest);
    if (growth > MAX_GROWTH) {
      throw decoder
          .get("content")
          .expected("replacements that make a text at most %d times as long".formatted(MAX_GROWTH));
    }
  }
}
