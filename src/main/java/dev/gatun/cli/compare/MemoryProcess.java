package dev.gatun.cli.compare;

import java.io.File;
import java.io.IOException;
import java.net.URI;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.LinkedHashSet;
import java.util.List;
import java.util.Set;
import java.util.concurrent.TimeUnit;

/** Starts {@link MemoryChild} and reads what it prints. */
final class MemoryProcess {
  private final int threads;
  private final double seconds;

  /** With the threads of the runtime, for so long at most. */
  MemoryProcess(int threads, double seconds) {
    this.threads = threads;
    this.seconds = seconds;
  }

  /** Bytes by which one call makes a process grow; NaN where that cannot be had. */
  double resident(CompareSystem system, Setting setting) {
    if (!MemoryChild.isAvailable()) {
      return Double.NaN;
    }
    List<String> command = new ArrayList<>();
    command.add(Path.of(System.getProperty("java.home"), "bin", "java").toString());
    // A heap that is resident from the beginning, and no compiler that grows meanwhile.
    command.addAll(
        List.of(
            "-XX:+UseSerialGC",
            "-Xms48m",
            "-Xmx48m",
            "-XX:+AlwaysPreTouch",
            "-Xint",
            "--enable-native-access=ALL-UNNAMED"));
    System.getProperties().stringPropertyNames().stream()
        .filter(name -> name.equals("gatun.library") || name.equals("gatun.openblas"))
        .forEach(name -> command.add("-D" + name + "=" + System.getProperty(name)));
    command.addAll(List.of("-cp", classPath(), MemoryChild.class.getName()));
    command.addAll(List.of(MemoryChild.arguments(system, setting, threads)));
    try {
      Process process =
          new ProcessBuilder(command)
              .redirectInput(new File("/dev/null"))
              .redirectError(ProcessBuilder.Redirect.DISCARD)
              .start();
      try {
        if (!process.waitFor((long) Math.ceil(seconds), TimeUnit.SECONDS)) {
          return Double.NaN;
        }
        String text = new String(process.getInputStream().readAllBytes()).strip();
        return process.exitValue() == 0 ? Long.parseLong(text) : Double.NaN;
      } finally {
        process.destroyForcibly();
      }
    } catch (IOException e) {
      return Double.NaN;
    } catch (InterruptedException e) {
      Thread.currentThread().interrupt();
      return Double.NaN;
    }
  }

  /** Of this process, be they jars of modules or not, and where Gatun itself is. */
  private static String classPath() {
    Set<String> path = new LinkedHashSet<>();
    path.add(
        Path.of(
                URI.create(
                    MemoryChild.class
                        .getProtectionDomain()
                        .getCodeSource()
                        .getLocation()
                        .toString()))
            .toString());
    for (String property : List.of("java.class.path", "jdk.module.path")) {
      for (String entry : System.getProperty(property, "").split(File.pathSeparator)) {
        if (!entry.isEmpty()) {
          path.add(entry);
        }
      }
    }
    return String.join(File.pathSeparator, path);
  }
}
