package dev.gatun.support;

import java.lang.ref.WeakReference;
import java.lang.reflect.InvocationTargetException;
import java.net.MalformedURLException;
import java.net.URL;
import java.net.URLClassLoader;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;

/**
 * What a {@link ChildJvm} without Gatun runs: class loaders that have it, as web applications in
 * one server do. The first argument says which program, the others are where Gatun and its jars
 * are.
 */
public final class LoadersMain {

  private static final int GC_ATTEMPTS = 200;

  private LoadersMain() {}

  /** Runs one of the programs below. */
  public static void main(String[] arguments) throws Exception {
    List<Path> paths = Arrays.stream(arguments).skip(1).map(Path::of).toList();
    switch (arguments[0]) {
      case "side-by-side" -> sideBySide(paths);
      case "parent-has-tokenizers" -> parentHasTokenizers(paths);
      case "context" -> context(paths);
      default -> throw new IllegalArgumentException(arguments[0]);
    }
  }

  /** Two at the same time, and a third one after the first has gone. */
  private static void sideBySide(List<Path> paths) throws Exception {
    URLClassLoader first = loader(ClassLoader.getPlatformClassLoader(), paths);
    URLClassLoader second = loader(ClassLoader.getPlatformClassLoader(), paths);
    System.out.println("first=" + embed(first));
    System.out.println("second=" + embed(second));
    System.out.println("first again=" + embed(first));
    int mapped = mappedLibraries();
    WeakReference<ClassLoader> gone = new WeakReference<>(first);
    first.close();
    first = null;
    for (int n = 0; n < GC_ATTEMPTS && gone.get() != null; n++) {
      System.gc();
      Thread.sleep(20);
    }
    System.out.println("gone=" + (gone.get() == null));
    System.out.println("second again=" + embed(second));
    System.out.println("third=" + embed(loader(ClassLoader.getPlatformClassLoader(), paths)));
    System.out.println("no more mapped=" + (mappedLibraries() <= mapped));
  }

  /** The last path, of the tokenizers, belongs to the server, all others to two applications. */
  private static void parentHasTokenizers(List<Path> paths) throws Exception {
    int last = paths.size() - 1;
    ClassLoader server =
        loader(ClassLoader.getPlatformClassLoader(), paths.subList(last, paths.size()));
    System.out.println("first=" + embed(loader(server, paths.subList(0, last))));
    System.out.println("second=" + embed(loader(server, paths.subList(0, last))));
  }

  /** Gatun's own class loader has nothing else; the thread's context class loader has it. */
  private static void context(List<Path> paths) throws Exception {
    URLClassLoader gatun = loader(ClassLoader.getPlatformClassLoader(), paths.subList(0, 3));
    Thread.currentThread().setContextClassLoader(loader(gatun, paths.subList(3, paths.size())));
    System.out.println("first=" + embed(gatun));
  }

  private static URLClassLoader loader(ClassLoader parent, List<Path> paths)
      throws MalformedURLException {
    List<URL> urls = new ArrayList<>();
    for (Path path : paths) {
      urls.add(path.toUri().toURL());
    }
    return new URLClassLoader(urls.toArray(URL[]::new), parent);
  }

  private static String embed(ClassLoader loader) throws Exception {
    try {
      return (String)
          Class.forName("dev.gatun.support.EmbedOnce", true, loader)
              .getMethod("embed")
              .invoke(null);
    } catch (InvocationTargetException e) {
      return "failure: " + e.getCause();
    }
  }

  private static int mappedLibraries() throws Exception {
    return (int)
        Files.readAllLines(Path.of("/proc/self/maps")).stream()
            .filter(
                line ->
                    line.matches(
                        ".*r-xp.*/(copy-[0-9]+|[0-9a-f]{32})/lib(openblas|tokenizers)\\..*"))
            .count();
  }
}
