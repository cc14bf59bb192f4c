package dev.gatun.model;

import dev.gatun.internal.Json;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import java.util.Set;

/**
 * What sentence-transformers' files say beside a model with a head. What they ask for beyond it is
 * refused, since scores would be other ones without it.
 *
 * @param activation the class that scores go through, as PyTorch calls it; empty if nothing is said
 */
record HeadDescription(String activation) {

  private static final String FILE = "config_sentence_transformers.json";
  private static final String SPLADE = "SpladePooling";

  static HeadDescription read(Path folder) throws IOException {
    Path modules = folder.resolve(ModelFolder.MODULES);
    if (Files.exists(modules)) {
      Descriptions.read(
          modules,
          json -> {
            requireAlone(folder, json);
            return null;
          });
    }
    Path file = folder.resolve(FILE);
    return Files.exists(file)
        ? Descriptions.read(file, HeadDescription::read)
        : new HeadDescription("");
  }

  /** As sentence-transformers has written it since version 5.4: the model itself, and no more. */
  private static void requireAlone(Path folder, Json modules) {
    List<Json> all = modules.elements();
    if (all.size() != 1
        || !ModelFolder.kind(all.getFirst().get("type").string()).equals("Transformer")) {
      throw modules.expected("one Transformer: no module follows a model with a head");
    }
    Json path = all.getFirst().get("path");
    ModelFolder.requireRoot(folder, ModelFolder.path(folder, path), all.getFirst());
  }

  /**
   * Refuses a folder whose modules make other weights of a masked language model's scores than
   * {@link MaskedLanguageModel#splade} does.
   */
  static void requireSplade(Path folder) throws IOException {
    for (Path module : modules(folder)) {
      Descriptions.read(
          module.resolve("config.json"),
          json -> {
            requireText(json.find("pooling_strategy"), "max");
            requireText(json.find("activation_function"), "relu");
            return null;
          });
    }
  }

  /** The folders of modules that are read. */
  static List<Path> modules(Path folder) throws IOException {
    Path modules = folder.resolve(ModelFolder.MODULES);
    return Files.exists(modules)
        ? Descriptions.read(modules, json -> pooling(folder, json))
        : List.of();
  }

  private static List<Path> pooling(Path folder, Json modules) {
    return modules.elements().stream()
        .filter(module -> module.get("type").string().endsWith("." + SPLADE))
        .map(module -> ModelFolder.path(folder, module.get("path")))
        .toList();
  }

  private static void requireText(Json said, String expected) {
    if (!said.isNull() && !said.string().equals(expected)) {
      throw said.expected('"' + expected + '"');
    }
  }

  private static HeadDescription read(Json json) {
    json.only(
        Set.of("__version__", "model_type", "prompts", "default_prompt_name", "activation_fn"));
    Json type = json.find("model_type");
    if (!type.isNull() && !type.string().equals("CrossEncoder")) {
      throw type.expected("\"CrossEncoder\"");
    }
    Json prompt = json.find("default_prompt_name");
    if (!prompt.isNull()) {
      throw prompt.expected("null: no prompt is put before a text here");
    }
    Json activation = json.find("activation_fn");
    return new HeadDescription(activation.isNull() ? "" : activation.string());
  }
}
