package dev.gatun.bench.peer;

import java.io.File;
import java.io.FileNotFoundException;
import java.io.IOException;
import java.io.InputStream;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.StandardCopyOption;
import java.util.Arrays;
import java.util.Enumeration;
import java.util.List;
import java.util.stream.Collectors;
import java.util.stream.Stream;
import java.util.zip.ZipEntry;
import java.util.zip.ZipFile;

/**
 * Jars of peers that are on nobody's class path, as two versions of one library cannot be, or are
 * too large for it: {@code make bench} fetches them into a folder, and goes on without those that
 * cannot be had.
 */
public final class PeerJars {
  static final String PROPERTY = "gatun.bench.peers";

  private PeerJars() {}

  static Path folder() {
    return Path.of(System.getProperty(PROPERTY, "target/peers")).toAbsolutePath();
  }

  /**
   * Finds a jar.
   *
   * @param name how its file's name begins, version included
   * @throws FileNotFoundException if it is not there
   */
  public static Path find(String name) throws IOException {
    if (Files.isDirectory(folder())) {
      try (Stream<Path> files = Files.list(folder())) {
        List<Path> found =
            files
                .filter(file -> file.getFileName().toString().startsWith(name))
                .filter(file -> file.getFileName().toString().endsWith(".jar"))
                .sorted()
                .toList();
        if (!found.isEmpty()) {
          return found.getFirst();
        }
      }
    }
    throw new FileNotFoundException(name + ": its jar is not there; make bench fetches it");
  }

  /** This process's class path without the jars whose names begin so, and with others before it. */
  public static String classPath(String without, List<Path> first) {
    Stream<String> own =
        Arrays.stream(System.getProperty("java.class.path").split(File.pathSeparator))
            .filter(
                entry ->
                    without == null
                        || !Path.of(entry).getFileName().toString().startsWith(without));
    return Stream.concat(first.stream().map(Path::toString), own)
        .collect(Collectors.joining(File.pathSeparator));
  }

  /** Unpacks the shared libraries of a jar, once, and returns their folder. */
  public static Path unpack(Path jar) throws IOException {
    Path to = folder().resolve("unpacked").resolve(jar.getFileName().toString());
    if (Files.isDirectory(to)) {
      return to;
    }
    Path part = Files.createDirectories(to.resolveSibling(to.getFileName() + ".part"));
    try (ZipFile zip = new ZipFile(jar.toFile())) {
      for (Enumeration<? extends ZipEntry> all = zip.entries(); all.hasMoreElements(); ) {
        ZipEntry entry = all.nextElement();
        Path name = Path.of(entry.getName()).getFileName();
        if (name.toString().matches("lib(?!jni).*\\.so(\\.\\d+)*")) {
          try (InputStream in = zip.getInputStream(entry)) {
            Files.copy(in, part.resolve(name), StandardCopyOption.REPLACE_EXISTING);
          }
        }
      }
    }
    return Files.move(part, to);
  }
}
