package dev.gatun.bench.measure;

import com.fasterxml.jackson.jr.ob.JSON;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import java.util.Map;
import java.util.StringJoiner;

/** Reading and writing of results. */
public final class Json {
  private Json() {}

  /** Writes a value, a row of a table to a line. */
  public static void write(Path file, Object value) throws IOException {
    Files.writeString(file, text(value) + "\n");
  }

  private static String text(Object value) throws IOException {
    if (value instanceof Map<?, ?> map && map.values().stream().anyMatch(Json::isTable)) {
      StringJoiner members = new StringJoiner(",\n", "{\n", "\n}");
      for (Map.Entry<?, ?> entry : map.entrySet()) {
        members.add(line(entry.getKey().toString()) + ": " + text(entry.getValue()));
      }
      return members.toString();
    }
    if (isTable(value)) {
      StringJoiner rows = new StringJoiner(",\n", "[\n", "\n]");
      for (Object row : (List<?>) value) {
        rows.add(line(row));
      }
      return rows.toString();
    }
    return line(value);
  }

  private static boolean isTable(Object value) {
    return value instanceof List<?> list && !list.isEmpty() && list.getFirst() instanceof Map;
  }

  private static String line(Object value) throws IOException {
    return JSON.std.asString(value);
  }

  public static Object read(Path file) throws IOException {
    return JSON.std.anyFrom(Files.readString(file));
  }
}
