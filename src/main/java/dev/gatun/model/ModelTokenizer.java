package dev.gatun.model;

import dev.gatun.nn.TextEncoder;
import java.io.IOException;
import java.nio.file.FileSystemException;
import java.nio.file.Path;

/**
 * A folder's tokenizer beside its model.
 *
 * @param tokenizer whose ids the model has rows for
 * @param maxTokens what texts are cut to: what the files say, and no more than there are positions
 */
record ModelTokenizer(Tokenizer tokenizer, int maxTokens) {

  private static final String FILE = "tokenizer.json";

  /**
   * Loads that of a model with a head.
   *
   * @throws IOException naming the file and what does not fit
   */
  static ModelTokenizer load(Path folder, TextEncoder encoder) throws IOException {
    Path file = folder.resolve(FILE);
    TokenizerConfig described = TokenizerConfig.readWithHead(folder);
    Tokenizer tokenizer = Tokenizer.load(file, described);
    requireIds(tokenizer, file.toString(), encoder.embedding().vocabulary());
    return new ModelTokenizer(tokenizer, maxTokens(tokenizer, described, encoder.positions()));
  }

  /** Otherwise texts would fail one day that have a token beyond the model's table. */
  static void requireIds(Tokenizer tokenizer, String file, int vocabulary)
      throws FileSystemException {
    if (tokenizer.highestId() >= vocabulary) {
      throw new FileSystemException(
          file,
          null,
          "expected token ids of 0 .. %d, the rows of the model's embeddings, got %d"
              .formatted(vocabulary - 1, tokenizer.highestId()));
    }
  }

  static int maxTokens(Tokenizer tokenizer, TokenizerConfig described, int positions) {
    int length = described.maxTokens();
    return Math.min(length < 0 ? tokenizer.maxTokens() : length, positions);
  }

  /** Refuses a length that leaves no room for what the tokenizer puts around a text or two. */
  static void requireRoom(String model, Runnable tokenizing) throws FileSystemException {
    try {
      tokenizing.run();
    } catch (IllegalArgumentException e) {
      throw new FileSystemException(model, null, "max_seq_length or positions: " + e.getMessage());
    }
  }
}
