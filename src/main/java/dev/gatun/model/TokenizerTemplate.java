package dev.gatun.model;

import dev.gatun.internal.Json;
import java.util.ArrayList;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.Set;

/**
 * The tokens that a tokenizer.json puts around a text: what its post-processor does to the ids of
 * one text.
 *
 * @param before their ids before the text's; not copied
 * @param after their ids after it; not copied
 */
record TokenizerTemplate(int[] before, int[] after) {
  private static final int MAX_PIECES = 64;
  private static final TokenizerTemplate NONE = new TokenizerTemplate(new int[0], new int[0]);

  /** Returns how many tokens it adds. */
  int count() {
    return before.length + after.length;
  }

  /** Reads a post-processor, and refuses one that is not known. */
  static TokenizerTemplate read(Json processor) {
    if (processor.isNull()) {
      return NONE;
    }
    Json type = processor.get("type");
    return switch (type.string()) {
      case "TemplateProcessing" -> template(processor);
      case "BertProcessing" -> {
        processor.only(Set.of("type", "sep", "cls"));
        yield new TokenizerTemplate(token(processor.get("cls")), token(processor.get("sep")));
      }
      case "RobertaProcessing" -> {
        processor.only(Set.of("type", "sep", "cls", "trim_offsets", "add_prefix_space"));
        processor.get("trim_offsets").bool();
        processor.get("add_prefix_space").bool();
        yield new TokenizerTemplate(token(processor.get("cls")), token(processor.get("sep")));
      }
      case "ByteLevel" -> {
        // About offsets only.
        TokenizerSplits.checkByteLevel(processor);
        yield NONE;
      }
      case "Sequence" -> {
        processor.only(Set.of("type", "processors"));
        TokenizerTemplate result = NONE;
        for (Json part : processor.get("processors").elements()) {
          TokenizerTemplate template = read(part);
          if (template.count() > 0 && result.count() > 0) {
            throw part.expected("one post-processor that adds tokens");
          }
          result = template.count() > 0 ? template : result;
        }
        yield result;
      }
      default -> throw type.expected("a post-processor that is known");
    };
  }

  private static int id(Json id) {
    return (int) id.integer(0, Integer.MAX_VALUE);
  }

  /** Reads {@code ["[CLS]", 101]}. */
  private static int[] token(Json token) {
    List<Json> pair = token.elements();
    if (pair.size() != 2) {
      throw token.expected("a token and its id");
    }
    pair.get(0).string();
    return new int[] {id(pair.get(1))};
  }

  private static TokenizerTemplate template(Json processor) {
    processor.only(Set.of("type", "single", "pair", "special_tokens"));
    Map<String, int[]> special = new HashMap<>();
    processor
        .get("special_tokens")
        .forEach(
            (name, token) -> {
              token.only(Set.of("id", "ids", "tokens"));
              token.get("id").string();
              List<Json> ids = token.get("ids").elements();
              List<Json> tokens = token.get("tokens").elements();
              if (ids.size() != tokens.size() || ids.size() > MAX_PIECES) {
                throw token.expected("as many ids as tokens, and at most %d".formatted(MAX_PIECES));
              }
              tokens.forEach(Json::string);
              special.put(name, ids.stream().mapToInt(TokenizerTemplate::id).toArray());
            });
    pieces(processor.get("pair"), special, Set.of("A", "B"));
    return pieces(processor.get("single"), special, Set.of("A"));
  }

  private static TokenizerTemplate pieces(
      Json template, Map<String, int[]> special, Set<String> sequences) {
    List<Json> pieces = template.elements();
    if (pieces.size() > MAX_PIECES) {
      throw template.expected("at most %d pieces".formatted(MAX_PIECES));
    }
    List<Integer> before = new ArrayList<>();
    List<Integer> after = new ArrayList<>();
    int texts = 0;
    for (Json piece : pieces) {
      piece.only(Set.of("Sequence", "SpecialToken"));
      if (piece.names().size() != 1) {
        throw piece.expected("either Sequence or SpecialToken");
      }
      Json content = piece.get(piece.names().iterator().next());
      content.only(Set.of("id", "type_id"));
      content.get("type_id").integer(0, Integer.MAX_VALUE);
      Json id = content.get("id");
      if (piece.names().contains("Sequence")) {
        if (!sequences.contains(id.string())) {
          throw id.expected(sequences.size() == 1 ? "A" : "A or B");
        }
        texts++;
        continue;
      }
      int[] ids = special.get(id.string());
      if (ids == null) {
        throw id.expected("one of the special_tokens");
      }
      for (int token : ids) {
        (texts == 0 ? before : after).add(token);
      }
    }
    if (sequences.size() == 1 && texts != 1) {
      throw template.expected("the sequence A once");
    }
    return new TokenizerTemplate(array(before), array(after));
  }

  private static int[] array(List<Integer> ids) {
    return ids.stream().mapToInt(Integer::intValue).toArray();
  }
}
