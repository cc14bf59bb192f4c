package dev.gatun.cli;

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Map;

/** Outputs that would overwrite what they are made of. */
final class OutputFiles {
  private OutputFiles() {}

  /** Refuses an output that is the file of another option, which is null where it was not given. */
  static void refuseSame(String output, Path file, Map<String, Path> files) {
    files.forEach(
        (option, other) -> {
          if (other != null && !option.equals(output) && same(file, other)) {
            throw new CliException(
                output + " " + file + ": is the same file as " + option + " " + other);
          }
        });
  }

  private static boolean same(Path a, Path b) {
    try {
      return Files.exists(a) && Files.exists(b)
          ? Files.isSameFile(a, b)
          : place(a).equals(place(b));
    } catch (IOException e) {
      return false; // what is wrong with it shows when it is opened
    }
  }

  /** Where a file that does not exist yet would be. */
  private static Path place(Path file) throws IOException {
    Path absolute = file.toAbsolutePath();
    Path name = absolute.getFileName();
    return name == null ? absolute : absolute.getParent().toRealPath().resolve(name);
  }
}
