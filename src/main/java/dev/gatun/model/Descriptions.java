package dev.gatun.model;

import dev.gatun.internal.Json;
import java.io.IOException;
import java.nio.file.FileSystemException;
import java.nio.file.Path;

/** Descriptions of models, whose mistakes are said under the name of their file. */
final class Descriptions {

  private Descriptions() {}

  /** Makes something of a document. */
  @FunctionalInterface
  interface Maker<T> {
    T make(Json json) throws IOException;
  }

  /**
   * Reads a file.
   *
   * @param maker throws IllegalArgumentException for what is not as it should be
   */
  static <T> T read(Path file, Maker<T> maker) throws IOException {
    Json json = Json.read(file);
    try {
      return maker.make(json);
    } catch (IllegalArgumentException e) {
      throw refused(file, e);
    }
  }

  static FileSystemException refused(Path file, IllegalArgumentException e) {
    FileSystemException named = new FileSystemException(file.toString(), null, e.getMessage());
    named.initCause(e);
    return named;
  }
}
