package dev.gatun.bench;

import com.fasterxml.jackson.jr.ob.JSON;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;

/** Reading and writing of results. */
final class Json {
  private static final JSON FORMAT = JSON.std.with(JSON.Feature.PRETTY_PRINT_OUTPUT);

  private Json() {}

  static void write(Path file, Object value) throws IOException {
    Files.writeString(file, FORMAT.asString(value) + "\n");
  }

  static Object read(Path file) throws IOException {
    return FORMAT.anyFrom(Files.readString(file));
  }
}
