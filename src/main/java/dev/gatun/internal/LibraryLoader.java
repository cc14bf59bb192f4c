package dev.gatun.internal;

import dev.gatun.GatunException;
import java.io.File;
import java.io.IOException;
import java.io.InputStream;
import java.net.URL;
import java.nio.file.Files;
import java.nio.file.InvalidPathException;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.Locale;
import java.util.function.Supplier;

/**
 * Finds and loads native libraries into this class loader, where the generated bindings look them
 * up.
 *
 * <p>Order for libgatun: the exact file of {@code -Dgatun.library}, without a fallback; then {@code
 * java.library.path}; then the copy inside the jar, extracted. For OpenBLAS: the exact file of
 * {@code -Dgatun.openblas}; then the natives jar of {@code org.bytedeco:openblas}, where {@link
 * Resources#find} finds it.
 */
final class LibraryLoader {

  static final String LIBRARY_PROPERTY = "gatun.library";
  static final String OPENBLAS_PROPERTY = "gatun.openblas";

  private static final System.Logger LOG = System.getLogger("dev.gatun");

  /** In the order in which they must be loaded: each finds those before it. */
  private static final List<String> OPENBLAS_FILES =
      List.of("libgcc_s.so.1", "libquadmath.so.0", "libgfortran.so.5", "libopenblas.so.0");

  /** In the JVM's message about a file that belongs to another class loader. */
  private static final String OTHER_LOADER = "already loaded in another classloader";

  private static final byte[] ELF = {0x7f, 'E', 'L', 'F'};

  private LibraryLoader() {}

  /**
   * A library that is loaded.
   *
   * @param file its file
   * @param origin how the file was found
   */
  record Loaded(Path file, String origin) {}

  /** Loads libgatun. A failure leaves nothing behind, so that a later attempt says the same. */
  static Loaded loadGatun() {
    String platform = platform();
    String property = System.getProperty(LIBRARY_PROPERTY);
    if (property != null) {
      return loadExact("libgatun", LIBRARY_PROPERTY, property, "use the copy inside the jar");
    }
    String fileName = System.mapLibraryName("gatun");
    String path = System.getProperty("java.library.path", "");
    for (String folder : path.split(File.pathSeparator, -1)) {
      Path file = fileIn(folder, fileName);
      if (file != null && Files.isRegularFile(file)) {
        String hint =
            "Remove it from java.library.path, or name another file with -D" + LIBRARY_PROPERTY;
        return loaded(file, "java.library.path", load(file, () -> hint));
      }
    }
    String resource = "dev/gatun/native/" + platform + "/libgatun.so";
    URL url = Resources.find(resource);
    if (url == null) {
      throw new GatunException(
          ("libgatun.so: not in java.library.path (%s), and Gatun's jar has no %s. Build it with"
                  + " make, or name the file with -D%s")
              .formatted(path, resource, LIBRARY_PROPERTY),
          null);
    }
    Path file =
        ResourceCache.extract(List.of(new ResourceCache.Resource("libgatun.so", url))).getFirst();
    boolean copied = load(file, () -> extractedHint(LIBRARY_PROPERTY, file));
    return loaded(file, url.toString(), copied);
  }

  /** A file in a folder of a path; null for an entry that names none, as in another encoding. */
  private static Path fileIn(String folder, String fileName) {
    try {
      return folder.isEmpty() ? null : Path.of(folder, fileName).toAbsolutePath();
    } catch (InvalidPathException e) {
      return null; // the JVM could not read the entry in its locale, nor open a file there
    }
  }

  /**
   * Loads OpenBLAS and what it depends on.
   *
   * @param before runs right before OpenBLAS itself is loaded
   */
  static Loaded loadOpenBlas(Runnable before) {
    String platform = platform();
    String property = System.getProperty(OPENBLAS_PROPERTY);
    if (property != null) {
      before.run();
      return loadExact(
          "OpenBLAS", OPENBLAS_PROPERTY, property, "use the jar org.bytedeco:openblas");
    }
    List<ResourceCache.Resource> resources = new ArrayList<>();
    for (String name : OPENBLAS_FILES) {
      String resource =
          "org/bytedeco/openblas/" + platform.replace("aarch64", "arm64") + "/" + name;
      URL url = Resources.find(resource);
      if (url != null) {
        resources.add(new ResourceCache.Resource(name, url));
      } else if (name.startsWith("libopenblas")) {
        throw new GatunException(
            ("OpenBLAS: no %s on the class path. Add the jar org.bytedeco:openblas with classifier"
                    + " %s to the class path (not to the module path), or name the system's"
                    + " libopenblas.so.0 with -D%s")
                .formatted(resource, platform.replace("aarch64", "arm64"), OPENBLAS_PROPERTY),
            null);
      }
    }
    List<Path> files = ResourceCache.extract(resources);
    boolean copied = false;
    for (Path file : files) {
      if (file == files.getLast()) {
        before.run();
      }
      copied = load(file, () -> extractedHint(OPENBLAS_PROPERTY, file));
    }
    return loaded(files.getLast(), resources.getLast().url().toString(), copied);
  }

  private static String platform() {
    String os = System.getProperty("os.name");
    String arch = System.getProperty("os.arch").toLowerCase(Locale.ROOT);
    String name =
        switch (arch) {
          case "amd64", "x86_64" -> "linux-x86_64";
          case "aarch64", "arm64" -> "linux-aarch64";
          default -> null;
        };
    if (name == null || !os.equals("Linux")) {
      throw new GatunException(
          "Gatun runs on Linux x86_64 and Linux aarch64; this JVM runs on %s %s"
              .formatted(os, arch),
          null);
    }
    return name;
  }

  private static Loaded loadExact(
      String library, String property, String value, String alternative) {
    Path file;
    try {
      file = Path.of(value).toAbsolutePath();
    } catch (InvalidPathException e) {
      throw new GatunException(
          "%s: -D%s=%s is no file name: %s".formatted(library, property, value, e.getReason()), e);
    }
    String hint = "Correct -D%s, or unset it to %s".formatted(property, alternative);
    if (!Files.isRegularFile(file)) {
      throw new GatunException(
          "%s: -D%s=%s: %s. %s"
              .formatted(
                  library,
                  property,
                  value,
                  Files.exists(file) ? "not a file" : "no such file",
                  hint),
          null);
    }
    return loaded(file, "-D" + property, load(file, () -> hint));
  }

  private static Loaded loaded(Path file, String origin, boolean copied) {
    String text = copied ? origin + ", copied for this class loader" : origin;
    LOG.log(System.Logger.Level.DEBUG, "loaded {0} ({1})", file, text);
    return new Loaded(file, text);
  }

  /** {@code System.load} of a class, in whose class loader the library is found afterwards. */
  interface SystemLoad {
    void load(String file) throws Throwable;
  }

  /** A method reference would be linked with a class of its own that calls for it: 10 ms. */
  static final class OwnLoad implements SystemLoad {
    @Override
    public void load(String file) {
      System.load(file);
    }
  }

  private static boolean load(Path file, Supplier<String> hint) {
    return load(file, new OwnLoad(), accessName(), hint);
  }

  /**
   * Loads a file. The JVM gives a file to one class loader only, so that a second one (of another
   * web application, or of this one deployed again) gets a copy.
   *
   * @param file the library
   * @param system loads it
   * @param access what {@code --enable-native-access} has to name for that
   * @param hint what to do about a failure
   * @return whether it is a copy
   */
  static boolean load(Path file, SystemLoad system, String access, Supplier<String> hint) {
    String reason;
    Throwable cause;
    try {
      // The JVM prints a warning of its own about a file that is no library.
      if (!isElf(file)) {
        throw new GatunException(
            "%s: not a shared library (ELF). %s".formatted(file, hint.get()), null);
      }
      try {
        system.load(file.toString());
        return false;
      } catch (UnsatisfiedLinkError e) {
        if (e.getMessage() == null || !e.getMessage().contains(OTHER_LOADER)) {
          throw e;
        }
      }
      try (ResourceCache.Copy copy = ResourceCache.copy(file)) {
        system.load(copy.file().toString());
        return true;
      }
    } catch (GatunException | VirtualMachineError e) {
      throw e;
    } catch (IOException e) {
      throw new GatunException(
          "%s: cannot be read: %s. %s".formatted(file, ResourceCache.describe(e), hint.get()), e);
    } catch (IllegalCallerException e) {
      throw new GatunException(
          "%s: the JVM allows no native code here. Start it with --enable-native-access=%s"
              .formatted(file, access),
          e);
    } catch (Throwable e) {
      reason = e.getMessage() == null ? e.getClass().getSimpleName() : e.getMessage();
      cause = e;
    }
    String prefix = file + ": ";
    while (reason.startsWith(prefix)) {
      reason = reason.substring(prefix.length());
    }
    String advice = hint.get();
    throw new GatunException(
        "%s: %s%s".formatted(file, reason, advice.isEmpty() ? "" : ". " + advice), cause);
  }

  private static boolean isElf(Path file) throws IOException {
    try (InputStream in = Files.newInputStream(file)) {
      return Arrays.equals(in.readNBytes(ELF.length), ELF);
    }
  }

  /** What {@code --enable-native-access} has to name for this class to load libraries. */
  static String accessName() {
    Module module = LibraryLoader.class.getModule();
    return module.isNamed() ? module.getName() : "ALL-UNNAMED";
  }

  /**
   * What to do about a file of the cache that cannot be loaded. "failed to map segment" may mean
   * that there is no memory as well.
   */
  static String extractedHint(String property, Path file) {
    boolean noExecution = ResourceCache.isNoExecution(file);
    if (property == null) {
      return noExecution
          ? "Its folder does not allow execution (noexec): name another one with -D"
              + ResourceCache.PROPERTY
          : "";
    }
    return noExecution
        ? "Its folder does not allow execution (noexec): name another one with -D%s, or the library itself with -D%s"
            .formatted(ResourceCache.PROPERTY, property)
        : "Another library can be named with -D" + property;
  }
}
