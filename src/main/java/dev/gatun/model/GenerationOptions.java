package dev.gatun.model;

import dev.gatun.nn.Sampling;
import java.util.List;
import java.util.Objects;

/**
 * How a text is continued, and where it ends. Immutable.
 *
 * {@snippet :
 * GenerationOptions options = GenerationOptions.of(100).withStops("\n\n");
 * }
 *
 * @param maxTokens tokens to generate at most, 1 or more
 * @param sampling how tokens are chosen
 * @param stops a text ends before the first of these strings; none empty
 * @param stopTokens a text ends before the first of these tokens, besides those that the model's
 *     folder names
 */
public record GenerationOptions(
    int maxTokens, Sampling sampling, List<String> stops, List<Integer> stopTokens) {

  /** Checks what is given, and copies the lists. */
  public GenerationOptions {
    if (maxTokens < 1) {
      throw new IllegalArgumentException("maxTokens: expected 1 or more, got " + maxTokens);
    }
    Objects.requireNonNull(sampling, "sampling");
    stops = List.copyOf(Objects.requireNonNull(stops, "stops"));
    stopTokens = List.copyOf(Objects.requireNonNull(stopTokens, "stopTokens"));
    for (int n = 0; n < stops.size(); n++) {
      if (stops.get(n).isEmpty()) {
        throw new IllegalArgumentException(
            "stops[%d]: expected a text, got an empty one".formatted(n));
      }
    }
    for (int n = 0; n < stopTokens.size(); n++) {
      if (stopTokens.get(n) < 0) {
        throw new IllegalArgumentException(
            "stopTokens[%d]: expected 0 or more, got %d".formatted(n, stopTokens.get(n)));
      }
    }
  }

  /**
   * The best token always, until the model ends the text.
   *
   * @param maxTokens tokens to generate at most, 1 or more
   * @return options without stop strings
   */
  public static GenerationOptions of(int maxTokens) {
    return new GenerationOptions(maxTokens, Sampling.greedy(), List.of(), List.of());
  }

  /**
   * The same with another way to choose tokens.
   *
   * @param other the way
   * @return options
   */
  public GenerationOptions withSampling(Sampling other) {
    return new GenerationOptions(maxTokens, other, stops, stopTokens);
  }

  /**
   * The same with other stop strings.
   *
   * @param others the strings
   * @return options
   */
  public GenerationOptions withStops(String... others) {
    return new GenerationOptions(maxTokens, sampling, List.of(others), stopTokens);
  }

  /**
   * The same with other stop tokens.
   *
   * @param others the tokens
   * @return options
   */
  public GenerationOptions withStopTokens(Integer... others) {
    return new GenerationOptions(maxTokens, sampling, stops, List.of(others));
  }
}
