package dev.gatun.support;

import dev.gatun.Tensor;
import java.io.File;
import java.io.IOException;
import java.net.URI;
import java.net.URL;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.concurrent.TimeUnit;

/**
 * A JVM of its own that runs {@link ChildMain}, for what cannot be undone in this one: loading,
 * flags, the environment.
 */
public final class ChildJvm {

  private static final String OPENBLAS = "org/bytedeco/openblas/linux-x86_64/libopenblas.so.0";
  private static final String OPENBLAS_ARM = "org/bytedeco/openblas/linux-arm64/libopenblas.so.0";
  private static final long TIMEOUT_SECONDS = 120;

  private final boolean modules;
  private final List<String> flags = new ArrayList<>();
  private final Map<String, String> environment = new LinkedHashMap<>();
  private final List<Path> jars = new ArrayList<>();
  private Path gatun = mainClasses();
  private boolean openBlas = true;
  private boolean gatunOnPath = true;
  private String main = ChildMain.class.getName();

  private ChildJvm(boolean modules) {
    this.modules = modules;
  }

  /** What a child printed. */
  public record Result(int exitCode, String out, String err) {

    /** Standard output of a child that must have ended well. */
    public String expectSuccess() {
      if (exitCode != 0 || !err.isEmpty()) {
        throw new AssertionError("child failed: " + this);
      }
      return out;
    }
  }

  /** Gatun as a module, with native access. */
  public static ChildJvm onModulePath() {
    return new ChildJvm(true).flag("--enable-native-access=dev.gatun");
  }

  /** Gatun on the class path, with native access. */
  public static ChildJvm onClassPath() {
    return new ChildJvm(false).flag("--enable-native-access=ALL-UNNAMED");
  }

  public ChildJvm flag(String flag) {
    flags.add(flag);
    return this;
  }

  public ChildJvm property(String name, Object value) {
    return flag("-D" + name + "=" + value);
  }

  public ChildJvm environment(String name, String value) {
    environment.put(name, value);
    return this;
  }

  public ChildJvm withoutNativeAccess() {
    flags.removeIf(flag -> flag.startsWith("--enable-native-access"));
    return this;
  }

  public ChildJvm withoutOpenBlas() {
    openBlas = false;
    return this;
  }

  /** Runs with another copy of Gatun's classes, such as a jar. */
  public ChildJvm gatun(Path classes) {
    gatun = classes;
    return this;
  }

  /** Runs another main class than {@link ChildMain}. */
  public ChildJvm main(Class<?> type) {
    main = type.getName();
    return this;
  }

  /** Leaves Gatun to class loaders that the program makes of {@link #mainClasses} and jars. */
  public ChildJvm withoutGatun() {
    gatunOnPath = false;
    return withoutOpenBlas();
  }

  /** Puts the jar that holds a resource on the class path, whatever Gatun is on. */
  public ChildJvm onClassPathToo(String resource) {
    jars.add(jarOf(resource));
    return this;
  }

  /** Puts a folder or jar on the class path, whatever Gatun is on. */
  public ChildJvm onClassPathToo(Path root) {
    jars.add(root);
    return this;
  }

  public Process start(Path out, Path err, String... arguments) throws IOException {
    List<String> command = new ArrayList<>();
    command.add(Path.of(System.getProperty("java.home"), "bin", "java").toString());
    command.add("--illegal-native-access=deny");
    command.add("-Xmx512m");
    command.addAll(flags);
    List<String> classPath = new ArrayList<>();
    if (openBlas) {
      classPath.add(openBlasJar().toString());
    }
    jars.forEach(jar -> classPath.add(jar.toString()));
    if (modules) {
      command.addAll(List.of("--module-path", gatun.toString()));
      command.addAll(List.of("--patch-module", "dev.gatun=" + testClasses()));
      command.addAll(List.of("--add-modules", "java.management,jdk.management"));
      command.addAll(List.of("--add-reads", "dev.gatun=java.management,jdk.management"));
    } else {
      classPath.addFirst(testClasses().toString());
      if (gatunOnPath) {
        classPath.addFirst(gatun.toString());
      }
    }
    if (!classPath.isEmpty()) {
      command.addAll(List.of("--class-path", String.join(File.pathSeparator, classPath)));
    }
    command.addAll(modules ? List.of("--module", "dev.gatun/" + main) : List.of(main));
    command.addAll(List.of(arguments));
    ProcessBuilder builder = new ProcessBuilder(command);
    builder.environment().remove("GATUN_ISA");
    builder.environment().remove("JAVA_TOOL_OPTIONS");
    builder.environment().putAll(environment);
    return builder.redirectOutput(out.toFile()).redirectError(err.toFile()).start();
  }

  public Result run(String... arguments) throws IOException, InterruptedException {
    Path out = Files.createTempFile("gatun-child", ".out");
    Path err = Files.createTempFile("gatun-child", ".err");
    try {
      Process process = start(out, err, arguments);
      if (!process.waitFor(TIMEOUT_SECONDS, TimeUnit.SECONDS)) {
        process.destroyForcibly();
        throw new AssertionError("child did not end: " + List.of(arguments));
      }
      return new Result(process.exitValue(), text(out), text(err));
    } finally {
      Files.delete(out);
      Files.delete(err);
    }
  }

  public static String text(Path file) throws IOException {
    return Files.readString(file, StandardCharsets.UTF_8).strip();
  }

  /** Where Gatun's own classes and libgatun.so are. */
  public static Path mainClasses() {
    return rootOf(Tensor.class.getResource("Tensor.class"), "dev/gatun/Tensor.class");
  }

  /** Where the tests' classes are. */
  public static Path testClasses() {
    return rootOf(ChildJvm.class.getResource("ChildJvm.class"), "dev/gatun/support/ChildJvm.class");
  }

  /** The jar of OpenBLAS's natives. */
  public static Path openBlasJar() {
    return jarOf(OPENBLAS, OPENBLAS_ARM);
  }

  /** The jar that holds the first of some resources that there is. */
  public static Path jarOf(String... resources) {
    for (String resource : resources) {
      URL url = ClassLoader.getSystemResource(resource);
      if (url != null) {
        return rootOf(url, resource);
      }
    }
    throw new AssertionError("not on the class path: " + List.of(resources));
  }

  /** The folder or jar that holds a resource. */
  private static Path rootOf(URL url, String resource) {
    String text = url.toString();
    String root = text.substring(0, text.length() - resource.length());
    if (root.startsWith("jar:")) {
      root = root.substring("jar:".length(), root.length() - "!/".length());
    }
    return Path.of(URI.create(root));
  }
}
