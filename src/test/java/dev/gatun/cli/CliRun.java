package dev.gatun.cli;

import com.fasterxml.jackson.core.JsonFactory;
import com.fasterxml.jackson.jr.ob.JSON;
import java.io.ByteArrayInputStream;
import java.io.File;
import java.io.IOException;
import java.io.InputStream;
import java.io.PrintWriter;
import java.io.StringWriter;
import java.net.URI;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.LinkedHashSet;
import java.util.List;
import java.util.Map;
import java.util.Set;
import java.util.function.Predicate;
import java.util.stream.Collectors;
import picocli.CommandLine;

/** What a command printed, and ways to run one: in this JVM or as a process. */
record CliRun(int code, String out, String err) {

  List<String> lines() {
    return out.lines().toList();
  }

  /** What was said to standard error, without the last line's end. */
  String complaints() {
    return err.stripTrailing();
  }

  /** In this JVM, beside its own standard input. */
  static CliRun run(String... args) {
    StringWriter out = new StringWriter();
    StringWriter err = new StringWriter();
    int code = Main.run(args, new PrintWriter(out), new PrintWriter(err));
    return new CliRun(code, out.toString(), err.toString());
  }

  /** In this JVM, with text from standard input, which is no terminal. */
  static CliRun piped(String input, String... args) {
    return piped(input.getBytes(StandardCharsets.UTF_8), args);
  }

  static CliRun piped(byte[] input, String... args) {
    return run(new ByteArrayInputStream(input), Set.of(), args);
  }

  /** In this JVM, with some of the descriptors 0, 1 and 2 as terminals. */
  static CliRun run(InputStream in, Set<Integer> terminals, String... args) {
    StringWriter out = new StringWriter();
    StringWriter err = new StringWriter();
    Streams streams =
        new Streams(in, new PrintWriter(out), new PrintWriter(err), terminals::contains);
    return new CliRun(Main.run(args, streams), out.toString(), err.toString());
  }

  /** A process, whose class path holds only the jars that are wanted beside Gatun's own. */
  static CliRun process(
      Predicate<String> jars, Map<String, String> environment, Path directory, String... args)
      throws IOException, InterruptedException {
    Set<String> path = new LinkedHashSet<>();
    for (Class<?> type : List.of(Main.class, CommandLine.class, JSON.class, JsonFactory.class)) {
      path.add(
          Path.of(URI.create(type.getProtectionDomain().getCodeSource().getLocation().toString()))
              .toString());
    }
    for (String jar : System.getProperty("java.class.path").split(File.pathSeparator)) {
      if (jars.test(Path.of(jar).getFileName().toString())) {
        path.add(jar);
      }
    }
    List<String> command = new ArrayList<>();
    command.add(Path.of(System.getProperty("java.home"), "bin", "java").toString());
    command.addAll(List.of("-XX:TieredStopAtLevel=1", "--enable-native-access=ALL-UNNAMED", "-cp"));
    command.add(path.stream().collect(Collectors.joining(File.pathSeparator)));
    command.add(Main.class.getName());
    command.addAll(List.of(args));
    return run(command, environment, directory);
  }

  /** Any program, without input. */
  static CliRun run(List<String> command, Map<String, String> environment, Path directory)
      throws IOException, InterruptedException {
    Path out = Files.createTempFile("gatun", ".out");
    Path err = Files.createTempFile("gatun", ".err");
    try {
      ProcessBuilder builder =
          new ProcessBuilder(command)
              .directory(directory.toFile())
              .redirectInput(new File("/dev/null"))
              .redirectOutput(out.toFile())
              .redirectError(err.toFile());
      builder.environment().keySet().removeIf(name -> name.matches("(GATUN|OPENBLAS)_.*"));
      builder.environment().remove("JAVA_TOOL_OPTIONS");
      builder.environment().putAll(environment);
      int code = builder.start().waitFor();
      return new CliRun(code, Files.readString(out), Files.readString(err));
    } finally {
      Files.delete(out);
      Files.delete(err);
    }
  }
}
