package dev.gatun.model;

import java.util.Objects;

/**
 * How {@link TextEmbedder#embedAll(java.util.List, EmbeddingOptions)} embeds texts. Everything is
 * as {@link TextEmbedder#embed(String)} does it until it is set.
 *
 * {@snippet :
 * EmbeddingOptions options =
 *     new EmbeddingOptions().prompt(model.spec().passagePrefix()).onTooLong(OnTooLong.CHUNK);
 * Embeddings found = model.embedAll(texts, options);
 * }
 *
 * <p>May be used for any number of calls; not thread-safe.
 */
public final class EmbeddingOptions {

  /** Gets to know how far a call is. */
  @FunctionalInterface
  public interface Progress {
    /**
     * Is called by the thread that embeds, after each pass of some thousand tokens. What it throws
     * ends the call.
     *
     * @param done texts that have their vectors
     * @param of all texts
     */
    void embedded(int done, int of);
  }

  /** Null: the model's own. */
  String prompt;

  OnTooLong onTooLong = OnTooLong.CUT;

  /** -1: an eighth of a chunk. */
  int overlap = -1;

  /** 0: what the model says. */
  int maxTokens;

  /** 0: all. */
  int dimensions;

  Progress progress = (done, of) -> {};

  /** Makes options that change nothing. */
  public EmbeddingOptions() {}

  /**
   * Sets what is put before each text, in place of {@link EmbeddingModelSpec#defaultPrompt}.
   *
   * @param text the prompt; empty for none, null for the model's own
   * @return these options
   */
  public EmbeddingOptions prompt(String text) {
    this.prompt = text;
    return this;
  }

  /**
   * Sets what becomes of texts of more tokens than the model reads.
   *
   * @param what CUT unless it is set
   * @return these options
   */
  public EmbeddingOptions onTooLong(OnTooLong what) {
    this.onTooLong = Objects.requireNonNull(what, "what");
    return this;
  }

  /**
   * Sets how many tokens a chunk shares with the one before.
   *
   * @param tokens 0 or more, and fewer than a chunk has beside prompt and template; an eighth of
   *     them unless it is set
   * @return these options
   * @throws IllegalArgumentException if it is negative
   */
  public EmbeddingOptions overlap(int tokens) {
    if (tokens < 0) {
      throw new IllegalArgumentException("tokens: expected 0 or more, got " + tokens);
    }
    this.overlap = tokens;
    return this;
  }

  /**
   * Sets what is too long, in place of {@link TextEmbedder#maxTokens}.
   *
   * @param tokens those of prompt and template included, up to the model's positions
   * @return these options
   * @throws IllegalArgumentException if it is less than 1
   */
  public EmbeddingOptions maxTokens(int tokens) {
    this.maxTokens = requirePositive("tokens", tokens);
    return this;
  }

  /**
   * Sets how many elements of a vector are kept, its first ones. That is for models that were
   * trained for it (Kusupati et al. 2022, Matryoshka). What is left is divided by its L2 norm if
   * the model's vectors have the length 1.
   *
   * @param elements up to {@link TextEmbedder#dimension}
   * @return these options
   * @throws IllegalArgumentException if it is less than 1
   */
  public EmbeddingOptions dimensions(int elements) {
    this.dimensions = requirePositive("elements", elements);
    return this;
  }

  /**
   * Sets who gets to know how far a call is.
   *
   * @param listener called after each pass
   * @return these options
   */
  public EmbeddingOptions progress(Progress listener) {
    this.progress = Objects.requireNonNull(listener, "listener");
    return this;
  }

  private static int requirePositive(String name, int value) {
    if (value < 1) {
      throw new IllegalArgumentException("%s: expected 1 or more, got %d".formatted(name, value));
    }
    return value;
  }
}
