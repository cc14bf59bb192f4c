package dev.gatun.model;

import dev.gatun.internal.Json;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.LinkedHashMap;
import java.util.Locale;
import java.util.Map;
import java.util.Set;

/**
 * What {@code config_sentence_transformers.json} says.
 *
 * @param prompts what the authors put before texts, by names
 * @param defaultPrompt what they put before a text of which nothing is said; empty if nothing
 * @param similarity how vectors are compared
 */
record SentenceTransformersConfig(
    Map<String, String> prompts, String defaultPrompt, Similarity similarity) {

  /** For a folder without the file. */
  static final SentenceTransformersConfig NONE =
      new SentenceTransformersConfig(Map.of(), "", Similarity.COSINE);

  private static final String FILE = "config_sentence_transformers.json";

  static SentenceTransformersConfig read(Path folder) throws IOException {
    Path file = folder.resolve(FILE);
    return Files.exists(file) ? Descriptions.read(file, SentenceTransformersConfig::read) : NONE;
  }

  private static SentenceTransformersConfig read(Json json) {
    json.only(
        Set.of(
            "__version__", "model_type", "prompts", "default_prompt_name", "similarity_fn_name"));
    Json type = json.find("model_type");
    if (!type.isNull() && !type.string().equals("SentenceTransformer")) {
      throw type.expected("\"SentenceTransformer\"");
    }
    Map<String, String> prompts = new LinkedHashMap<>();
    Json named = json.find("prompts");
    if (!named.isNull()) {
      named.forEach((key, prompt) -> prompts.put(key, prompt.isNull() ? "" : prompt.string()));
    }
    Json name = json.find("default_prompt_name");
    String usual = "";
    if (!name.isNull()) {
      usual = json.get("prompts").get(name.string()).string();
    }
    return new SentenceTransformersConfig(
        prompts, usual, similarity(json.find("similarity_fn_name")));
  }

  private static Similarity similarity(Json name) {
    if (name.isNull()) {
      return Similarity.COSINE;
    }
    for (Similarity similarity : Similarity.values()) {
      if (similarity.name().toLowerCase(Locale.ROOT).equals(name.string())) {
        return similarity;
      }
    }
    throw name.expected("\"cosine\", \"dot\", \"euclidean\" or \"manhattan\"");
  }

  /** The prompt of the first of these names that there is; else the one of all texts. */
  String prompt(String... names) {
    for (String name : names) {
      if (prompts.containsKey(name)) {
        return prompts.get(name);
      }
    }
    return defaultPrompt;
  }
}
