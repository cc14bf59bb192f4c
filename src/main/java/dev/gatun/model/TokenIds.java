package dev.gatun.model;

import dev.gatun.internal.Json;
import java.io.IOException;
import java.nio.file.FileSystemException;

/** The ids that a tokenizer.json can give. */
final class TokenIds {

  private TokenIds() {}

  /**
   * Refuses a tokeniser whose ids are beyond a model's table of embeddings: texts would fail one
   * day that have such a token.
   *
   * @param vocabulary rows of the table
   */
  static void requireWithin(EmbeddingModelSpec spec, int vocabulary) throws IOException {
    long highest;
    try {
      highest = highest(Json.parse(spec.tokenizerBytes()));
    } catch (IllegalArgumentException e) {
      throw new FileSystemException(spec.tokenizerName(), null, e.getMessage());
    }
    if (highest >= vocabulary) {
      throw new FileSystemException(
          spec.tokenizerName(),
          null,
          "expected token ids of 0 .. %d, the rows of the model's embeddings, got %d"
              .formatted(vocabulary - 1, highest));
    }
  }

  private static long highest(Json tokenizer) {
    long highest = -1;
    Json model = tokenizer.find("model");
    Json vocabulary = model.isNull() ? model : model.find("vocab");
    if (vocabulary.isArray()) {
      highest = vocabulary.elements().size() - 1; // of Unigram, whose ids are places
    } else if (!vocabulary.isNull()) {
      for (String token : vocabulary.names()) {
        highest = Math.max(highest, vocabulary.find(token).integer(0, Long.MAX_VALUE));
      }
    }
    Json added = tokenizer.find("added_tokens");
    if (!added.isNull()) {
      for (Json token : added.elements()) {
        highest = Math.max(highest, token.get("id").integer(0, Long.MAX_VALUE));
      }
    }
    return highest;
  }
}
