package dev.gatun.model;

import dev.gatun.internal.Json;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;

/**
 * What a tokenizer_config.json says about what a tokenizer.json does. transformers changes the
 * tokenizer by it; here both have to say the same.
 */
final class TokenizerConfig {

  private TokenizerConfig() {}

  /**
   * Compares both. Keys that the class does not know, and those that are null, say nothing.
   *
   * @param config a tokenizer_config.json
   * @param file the tokenizer.json beside it
   * @throws IllegalArgumentException if they contradict each other, with the key
   * @throws IOException if tokenizer.json cannot be read
   */
  static void check(Json config, Path file) throws IOException {
    if (!Files.exists(file)) {
      return;
    }
    Json tokenizer = Descriptions.read(file, json -> json);
    side(config.find("truncation_side"), tokenizer.find("truncation"));
    Json name = config.find("tokenizer_class");
    if (name.isNull()) {
      return;
    }
    String family = name.string().replaceAll("(Fast)?$", "");
    if (family.equals("BertTokenizer") || family.equals("DistilBertTokenizer")) {
      bert(config, tokenizer.find("normalizer"));
    } else if (family.equals("RobertaTokenizer")) {
      roberta(config.find("add_prefix_space"), tokenizer.find("pre_tokenizer"));
    } else if (family.equals("XLMRobertaTokenizer")) {
      metaspace(config.find("add_prefix_space"), tokenizer.find("pre_tokenizer"));
    }
  }

  private static void side(Json side, Json truncation) {
    if (side.isNull()) {
      return;
    }
    Json direction = truncation.isNull() ? truncation : truncation.find("direction");
    String cut =
        direction.isNull() ? "right" : direction.string().equals("Left") ? "left" : "right";
    if (!side.string().equals(cut)) {
      throw side.expected("\"%s\", as tokenizer.json cuts".formatted(cut));
    }
  }

  private static void bert(Json config, Json normalizer) {
    if (normalizer.isNull() || !isType(normalizer, "BertNormalizer")) {
      return;
    }
    same(config.find("do_lower_case"), normalizer.find("lowercase"));
    same(config.find("tokenize_chinese_chars"), normalizer.find("handle_chinese_chars"));
    Json strips = config.find("strip_accents");
    if (!strips.isNull()) {
      // Where tokenizer.json says null, accents go with capitals.
      Json own = normalizer.find("strip_accents");
      same(strips, own.isNull() ? normalizer.find("lowercase") : own);
    }
  }

  private static void roberta(Json prefix, Json splits) {
    if (!splits.isNull() && isType(splits, "ByteLevel")) {
      same(prefix, splits.find("add_prefix_space"));
    }
  }

  private static void metaspace(Json prefix, Json splits) {
    if (prefix.isNull() || splits.isNull()) {
      return;
    }
    List<Json> all =
        isType(splits, "Sequence") ? splits.get("pretokenizers").elements() : List.of(splits);
    for (Json part : all) {
      if (isType(part, "Metaspace")) {
        Json scheme = part.find("prepend_scheme");
        if (scheme.isNull()) {
          same(prefix, part.find("add_prefix_space"));
        } else if (prefix.bool() == scheme.string().equals("never")) {
          throw prefix.expected("%b, as tokenizer.json has it".formatted(!prefix.bool()));
        }
      }
    }
  }

  private static boolean isType(Json part, String type) {
    return part.get("type").string().equals(type);
  }

  private static void same(Json said, Json done) {
    if (!said.isNull() && !done.isNull() && said.bool() != done.bool()) {
      throw said.expected("%b, as tokenizer.json has it".formatted(done.bool()));
    }
  }
}
