package dev.gatun.io;

import java.io.IOException;
import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.nio.channels.FileChannel;
import java.nio.channels.FileChannel.MapMode;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.StandardOpenOption;
import java.util.HashMap;
import java.util.Map;

/** The files beside a model that its initializers lie in, each mapped when it is first used. */
final class OnnxExternalData {

  /** Where an initializer says its bytes are, as the file has it; null for what it leaves out. */
  static final class Place {
    String location;
    String offset;
    String length;

    /** Reads a StringStringEntryProto. Keys other than these, such as a checksum, do no harm. */
    void read(Wire entry) throws OnnxException {
      String key = "";
      String value = "";
      while (entry.next()) {
        switch (entry.field) {
          case 1 -> key = entry.expectName();
          case 2 -> value = entry.expectName();
          default -> {
            // nothing that ONNX has
          }
        }
      }
      switch (key) {
        case "location" -> location = value;
        case "offset" -> offset = value;
        case "length" -> length = value;
        default -> {
          // checksum, basepath
        }
      }
    }
  }

  private final Path folder;
  private final Arena arena;
  private final Map<String, MemorySegment> files = new HashMap<>();

  /**
   * Prepares to map.
   *
   * @param folder where the model is, or null if it is in no folder
   */
  OnnxExternalData(Path folder, Arena arena) {
    this.folder = folder;
    this.arena = arena;
  }

  /**
   * The bytes of an initializer.
   *
   * @param bytes how many it has
   * @throws IllegalArgumentException if they are not there; the message says why
   */
  MemorySegment find(Place place, long bytes) {
    if (folder == null) {
      throw new IllegalArgumentException(
          "its data are in the file '%s', and there is no folder to look for it in"
              .formatted(place.location));
    }
    MemorySegment file = files.computeIfAbsent(requireName(place.location), this::map);
    long offset = number("offset", place.offset, 0);
    long length = number("length", place.length, bytes);
    if (length != bytes) {
      throw new IllegalArgumentException("expected %d bytes, got %d".formatted(bytes, length));
    }
    if (offset > file.byteSize() || bytes > file.byteSize() - offset) {
      throw new IllegalArgumentException(
          "expected %d bytes from %d of '%s', which has %d"
              .formatted(bytes, offset, place.location, file.byteSize()));
    }
    return file.asSlice(offset, bytes);
  }

  private static String requireName(String location) {
    if (location == null
        || !location.matches("[^/\\\\:\\p{Cntrl}]+")
        || location.equals(".")
        || location.equals("..")) {
      throw new IllegalArgumentException(
          "expected the name of a file beside the model as external data, got "
              + (location == null ? "none" : "'" + location.replaceAll("\\p{Cntrl}", "?") + "'"));
    }
    return location;
  }

  private MemorySegment map(String name) {
    Path path = folder.resolve(name);
    if (!Files.isRegularFile(path)) {
      throw new IllegalArgumentException("expected its data in the file %s".formatted(path));
    }
    try (FileChannel channel = FileChannel.open(path, StandardOpenOption.READ)) {
      return channel.map(MapMode.READ_ONLY, 0, channel.size(), arena);
    } catch (IOException e) {
      throw new IllegalArgumentException("cannot map %s: %s".formatted(path, e.getMessage()), e);
    }
  }

  private static long number(String key, String text, long otherwise) {
    if (text == null) {
      return otherwise;
    }
    if (!text.matches("\\d{1,18}")) {
      throw new IllegalArgumentException(
          "expected a whole number as %s, got '%s'".formatted(key, text));
    }
    return Long.parseLong(text);
  }
}
