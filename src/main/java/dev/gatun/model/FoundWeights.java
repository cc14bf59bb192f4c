package dev.gatun.model;

import dev.gatun.Tensor;
import java.io.IOException;
import java.io.UncheckedIOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Map;
import java.util.Set;
import java.util.TreeSet;
import java.util.concurrent.ConcurrentHashMap;
import java.util.function.Predicate;
import java.util.stream.Collectors;
import java.util.stream.Stream;

/** Weights of files: each is looked for until it is found, and loaded once. */
final class FoundWeights implements Weights {

  /** Loads a weight that is there, or null if that way there is none. */
  @FunctionalInterface
  interface Loader {
    Tensor load(String name) throws IOException;
  }

  /** Lists weights. */
  @FunctionalInterface
  interface Names {
    Set<String> list() throws IOException;
  }

  private static final String NPY = ".npy";

  private final Map<String, Tensor> found = new ConcurrentHashMap<>();
  private final Loader stored;
  private final Path source;
  private final Names names;
  private final Predicate<String> exists;
  private final Loader loader;

  FoundWeights(Path source, Names names, Predicate<String> exists, Loader loader, Loader stored) {
    this.stored = stored;
    this.source = source;
    this.names = names;
    this.exists = exists;
    this.loader = loader;
  }

  @Override
  public Tensor find(String name) {
    return found.computeIfAbsent(name, this::load);
  }

  @Override
  public Tensor stored(String name) {
    try {
      Tensor tensor = exists.test(name) ? stored.load(name) : null;
      return tensor == null ? find(name) : tensor;
    } catch (IOException e) {
      throw new UncheckedIOException(e);
    }
  }

  @Override
  public Set<String> names() {
    try {
      return names.list();
    } catch (IOException e) {
      throw new UncheckedIOException(e);
    }
  }

  /** The names of a folder's files, without their ending. */
  static Set<String> npyNames(Path folder) throws IOException {
    try (Stream<Path> files = Files.list(folder)) {
      return files
          .map(file -> file.getFileName().toString())
          .filter(name -> name.endsWith(NPY))
          .map(name -> name.substring(0, name.length() - NPY.length()))
          .collect(Collectors.toCollection(TreeSet::new));
    }
  }

  /** Returns what messages call it. */
  @Override
  public String toString() {
    return source.toString();
  }

  private Tensor load(String name) {
    try {
      return exists.test(name) ? loader.load(name) : null; // null is not kept
    } catch (IOException e) {
      throw new UncheckedIOException(e);
    }
  }
}
