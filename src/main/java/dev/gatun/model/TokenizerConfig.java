package dev.gatun.model;

import dev.gatun.internal.Json;
import java.io.IOException;
import java.io.UncheckedIOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.Optional;
import java.util.Set;
import java.util.function.Consumer;
import java.util.stream.Collectors;

/**
 * What the files beside a tokenizer.json say about texts: how long they may be, and what is done
 * with them. transformers changes the tokenizer by it; here both have to say the same.
 *
 * @param maxTokens what texts are cut to whatever tokenizer.json says; -1 if nothing else says so
 * @param claims about what tokenizer.json does
 */
record TokenizerConfig(int maxTokens, List<Claim> claims) {

  /** For a tokenizer with nothing beside it. */
  static final TokenizerConfig NONE = new TokenizerConfig(-1, List.of());

  /** In the order in which sentence-transformers looks for them; the first one counts. */
  private static final List<String> SENTENCE_CONFIGS =
      List.of(
          "sentence_bert_config.json",
          "sentence_roberta_config.json",
          "sentence_distilbert_config.json",
          "sentence_camembert_config.json",
          "sentence_albert_config.json",
          "sentence_xlm-roberta_config.json",
          "sentence_xlnet_config.json");

  /**
   * What one file says.
   *
   * @param check throws IllegalArgumentException if the tokenizer.json says something else
   */
  private record Claim(Path file, Consumer<Json> check) {}

  /** Sentence-transformers' own word, if there is one. */
  static Optional<Path> sentenceConfig(Path folder) {
    for (String name : SENTENCE_CONFIGS) {
      Path file = folder.resolve(name);
      if (Files.exists(file)) {
        return Optional.of(file);
      }
    }
    return Optional.empty();
  }

  /**
   * What sentence-transformers loads a model for, since version 5.4.
   *
   * @param name in transformers' words
   * @param result what the module is to give
   * @param output of the model, which is that
   */
  private record Task(String name, String result, String output) {}

  private static final Task STATES =
      new Task("feature-extraction", "token_embeddings", "last_hidden_state");

  private static final Task SCORES = new Task("sequence-classification", "scores", "logits");
  private static final Task WORDS = new Task("fill-mask", "token_embeddings", "logits");

  /** Reads the folder of an encoder. */
  static TokenizerConfig read(Path folder) throws IOException {
    return read(folder, List.of(STATES));
  }

  /** Reads the folder of a model with a head, which some use the encoder of. */
  static TokenizerConfig readWithHead(Path folder) throws IOException {
    return read(folder, List.of(STATES, SCORES, WORDS));
  }

  /** Reads a folder: sentence-transformers' own word first, then that of the tokenizer's class. */
  private static TokenizerConfig read(Path folder, List<Task> tasks) throws IOException {
    int maxTokens = -1;
    List<Claim> claims = new ArrayList<>();
    Path own = sentenceConfig(folder).orElse(null);
    if (own != null) {
      Json sentence = Json.read(own);
      maxTokens = Descriptions.make(own, sentence, json -> sentenceTokens(json, tasks));
      claims.add(new Claim(own, tokenizer -> lowers(sentence.find("do_lower_case"), tokenizer)));
    }
    Path file = folder.resolve("tokenizer_config.json");
    if (Files.exists(file)) {
      Json config = Json.read(file);
      int said = Descriptions.make(file, config, TokenizerConfig::tokenizerTokens);
      maxTokens = maxTokens < 0 ? said : maxTokens;
      claims.add(new Claim(file, tokenizer -> tokenizer(config, tokenizer)));
    }
    return new TokenizerConfig(maxTokens, claims);
  }

  /**
   * Compares both. Keys that the class does not know, and those that are null, say nothing.
   *
   * @param tokenizer a tokenizer.json, known to be valid
   * @throws UncheckedIOException if a file contradicts it, with its name and key
   */
  void check(Json tokenizer) {
    for (Claim claim : claims) {
      try {
        claim.check.accept(tokenizer);
      } catch (IllegalArgumentException e) {
        throw new UncheckedIOException(Json.refused(claim.file, e));
      }
    }
  }

  // ---- how long texts may be -----------------------------------------------------------------

  private static int sentenceTokens(Json json, List<Task> tasks) {
    json.only(
        Set.of(
            "max_seq_length",
            "do_lower_case",
            "transformer_task",
            "modality_config",
            "module_output_name",
            "processing_kwargs",
            "unpad_inputs"));
    requireTask(json, tasks);
    json.find("do_lower_case").boolOr(false); // see lowers
    Json length = json.find("max_seq_length");
    return length.isNull() ? -1 : (int) length.integer(1, Integer.MAX_VALUE);
  }

  /** What version 5.4 and later say: texts in, all last states or scores out, and nothing more. */
  private static void requireTask(Json json, List<Task> tasks) {
    Json name = json.find("transformer_task");
    String said = name.isNull() ? STATES.name : name.string();
    Task task =
        tasks.stream()
            .filter(each -> each.name.equals(said))
            .findFirst()
            .orElseThrow(() -> name.expected(names(tasks)));
    requireText(json, "module_output_name", task.result);
    Json modalities = json.find("modality_config");
    if (!modalities.isNull()) {
      modalities.only(Set.of("text"));
      Json text = modalities.get("text");
      text.only(Set.of("method", "method_output_name"));
      requireText(text, "method", "forward");
      requireText(text, "method_output_name", task.output);
    }
    if (!json.find("processing_kwargs").isNull()) {
      json.find("processing_kwargs").only(Set.of());
    }
    json.find("unpad_inputs").boolOr(false); // how it computes; the states are the same
  }

  private static String names(List<Task> tasks) {
    return tasks.stream().map(task -> '"' + task.name + '"').collect(Collectors.joining(" or "));
  }

  private static void requireText(Json json, String key, String expected) {
    Json value = json.find(key);
    if (!value.isNull() && !value.string().equals(expected)) {
      throw value.expected("\"%s\"".formatted(expected));
    }
  }

  /** Hugging Face writes 10³⁰ where there is no limit. */
  private static int tokenizerTokens(Json json) {
    Json length = json.find("model_max_length");
    if (length.isNull() || length.number() > Integer.MAX_VALUE) {
      return -1;
    }
    return (int) length.integer(1, Integer.MAX_VALUE);
  }

  // ---- what is done with them ----------------------------------------------------------------

  private static void lowers(Json lower, Json tokenizer) {
    Json normalizer = tokenizer.find("normalizer");
    boolean anyway = isType(normalizer, "BertNormalizer") && normalizer.get("lowercase").bool();
    if (lower.boolOr(false) && !anyway) {
      throw lower.expected("false, or a tokenizer.json that lowers letters itself");
    }
  }

  private static void tokenizer(Json config, Json tokenizer) {
    side(config.find("truncation_side"), tokenizer.find("truncation"));
    Json name = config.find("tokenizer_class");
    if (name.isNull()) {
      return;
    }
    String said = name.string();
    String family = said.endsWith("Fast") ? said.substring(0, said.length() - 4) : said;
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
    if (!isType(normalizer, "BertNormalizer")) {
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
    if (isType(splits, "ByteLevel")) {
      same(prefix, splits.find("add_prefix_space"));
    }
  }

  private static void metaspace(Json prefix, Json splits) {
    if (prefix.isNull()) {
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
    return !part.isNull() && part.get("type").string().equals(type);
  }

  private static void same(Json said, Json done) {
    if (!said.isNull() && !done.isNull() && said.bool() != done.bool()) {
      throw said.expected("%b, as tokenizer.json has it".formatted(done.bool()));
    }
  }
}
