package dev.gatun.cli;

import dev.gatun.model.EmbeddingModelSpec;
import java.io.File;
import java.io.IOException;
import java.net.MalformedURLException;
import java.net.URL;
import java.net.URLClassLoader;
import java.nio.file.Files;
import java.nio.file.InvalidPathException;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.stream.Stream;
import java.util.zip.ZipFile;

/**
 * Jars of models that were not there when the JVM was started: while this is open, the thread's
 * context class loader finds what is in them.
 */
final class ModelJars implements AutoCloseable {
  static final String OPTION = "--class-path";
  private static final String VARIABLE = "GATUN_CLASS_PATH";

  private final ClassLoader before = Thread.currentThread().getContextClassLoader();
  private final URLClassLoader loader;

  private ModelJars(List<Path> jars) {
    URL[] urls = new URL[jars.size()];
    for (int n = 0; n < urls.length; n++) {
      try {
        urls[n] = jars.get(n).toUri().toURL();
      } catch (MalformedURLException e) {
        throw new IllegalStateException(e); // a file always has one
      }
    }
    loader = new URLClassLoader("models", urls, before);
    Thread.currentThread().setContextClassLoader(loader);
  }

  /** Opens the jars that the option asks for, or if it is null the environment variable. */
  static ModelJars open(String option) {
    String variable = System.getenv(VARIABLE);
    if (option != null) {
      return new ModelJars(jars(OPTION, option));
    }
    return new ModelJars(variable == null ? List.of() : jars(VARIABLE, variable));
  }

  private static List<Path> jars(String name, String list) {
    List<Path> jars = new ArrayList<>();
    for (String entry : list.split(File.pathSeparator)) {
      if (!entry.isEmpty()) {
        add(name, entry, jars);
      }
    }
    return jars;
  }

  private static void add(String name, String entry, List<Path> jars) {
    try {
      // As for java's own option: the folder's jars.
      Path path =
          Path.of(entry.endsWith("/*") ? entry.substring(0, entry.length() - 1) : entry)
              .toAbsolutePath();
      if (Files.isDirectory(path)) {
        try (Stream<Path> files = Files.list(path)) {
          files.filter(file -> file.toString().endsWith(".jar")).sorted().forEach(jars::add);
        }
        return;
      }
      if (Files.exists(path) && !isZip(path)) {
        throw new CliException(
            name + " " + entry + ": expected a jar or a folder of jars, got neither");
      }
      if (!Files.exists(path)) {
        throw new CliException(name + " " + entry + ": no such file");
      }
      jars.add(path);
    } catch (IOException e) {
      throw CliException.of(name + " " + entry, e);
    } catch (InvalidPathException e) {
      throw new CliException(name + ": '" + entry + "' is no file name here: " + e.getReason(), e);
    }
  }

  private static boolean isZip(Path file) {
    try (ZipFile zip = new ZipFile(file.toFile())) {
      return zip.size() >= 0;
    } catch (IOException e) {
      return false;
    }
  }

  /** For a model with a name whose jar is nowhere: what to add, and where. */
  static CliException missing(EmbeddingModelSpec spec, IOException e) {
    return new CliException(
        "--model %s: the jar %s is neither built in nor in %s or %s; fetch it by"
                .formatted(spec, spec.artifact(), OPTION, VARIABLE)
            + " 'mvn dependency:copy -Dartifact=%s -DoutputDirectory=models', then add '%s models'"
                .formatted(spec.artifact(), OPTION),
        e);
  }

  @Override
  public void close() throws IOException {
    Thread.currentThread().setContextClassLoader(before);
    loader.close();
  }
}
