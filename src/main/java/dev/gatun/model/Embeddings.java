package dev.gatun.model;

import java.util.List;
import java.util.Objects;

/**
 * The vectors of texts.
 *
 * @param vectors one for each text, in the order of the texts; not copied
 * @param texts how much of each was read, in the same order
 */
public record Embeddings(float[][] vectors, List<TextTokens> texts) {

  /** Wants both. */
  public Embeddings {
    Objects.requireNonNull(vectors, "vectors");
    texts = List.copyOf(texts);
  }
}
