package dev.gatun.model;

import dev.gatun.internal.Json;
import java.io.IOException;
import java.nio.file.FileSystemException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Set;

/**
 * What sentence-transformers' files say beside a model with a head. What they ask for beyond it is
 * refused, since scores would be other ones without it.
 *
 * @param activation the class that scores go through, as PyTorch calls it; empty if nothing is said
 */
record HeadDescription(String activation) {

  private static final String FILE = "config_sentence_transformers.json";
  private static final String MODULES = "modules.json";

  static HeadDescription read(Path folder) throws IOException {
    if (Files.exists(folder.resolve(MODULES))) {
      throw new FileSystemException(
          folder.resolve(MODULES).toString(),
          null,
          "expected none beside a model with a head, which no module follows");
    }
    Path file = folder.resolve(FILE);
    return Files.exists(file)
        ? Descriptions.read(file, HeadDescription::read)
        : new HeadDescription("");
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
