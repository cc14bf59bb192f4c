package dev.gatun.model;

import dev.gatun.internal.Json;
import java.io.IOException;
import java.nio.file.Path;

/** Descriptions of models, whose mistakes are said under the name of their file. */
final class Descriptions {

  private Descriptions() {}

  /** Makes something of a document. */
  @FunctionalInterface
  interface Maker<T> {
    T make(Json json) throws IOException;
  }

  /** Reads a file. The maker throws IllegalArgumentException for what is not as it should be. */
  static <T> T read(Path file, Maker<T> maker) throws IOException {
    return make(file, Json.read(file), maker);
  }

  /** Makes something of a file that was read. */
  static <T> T make(Path file, Json json, Maker<T> maker) throws IOException {
    try {
      return maker.make(json);
    } catch (IllegalArgumentException e) {
      throw Json.refused(file, e);
    }
  }
}
