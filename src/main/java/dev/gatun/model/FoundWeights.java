package dev.gatun.model;

import dev.gatun.Tensor;
import java.io.IOException;
import java.io.UncheckedIOException;
import java.util.Map;
import java.util.concurrent.ConcurrentHashMap;
import java.util.function.Predicate;

/** Weights of files: each is looked for until it is found, and loaded once. */
final class FoundWeights implements Weights {

  /** Loads a weight that is there. */
  @FunctionalInterface
  interface Loader {
    Tensor load(String name) throws IOException;
  }

  private final Map<String, Tensor> found = new ConcurrentHashMap<>();
  private final Predicate<String> exists;
  private final Loader loader;

  FoundWeights(Predicate<String> exists, Loader loader) {
    this.exists = exists;
    this.loader = loader;
  }

  @Override
  public Tensor find(String name) {
    return found.computeIfAbsent(name, this::load);
  }

  private Tensor load(String name) {
    try {
      return exists.test(name) ? loader.load(name) : null; // null is not kept
    } catch (IOException e) {
      throw new UncheckedIOException(e);
    }
  }
}
