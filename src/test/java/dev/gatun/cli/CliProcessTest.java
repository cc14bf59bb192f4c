package dev.gatun.cli;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertTrue;

import com.fasterxml.jackson.core.JsonFactory;
import com.fasterxml.jackson.jr.ob.JSON;
import dev.gatun.DType;
import dev.gatun.Tensor;
import dev.gatun.io.Npy;
import java.io.File;
import java.io.IOException;
import java.net.URI;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.time.Duration;
import java.util.ArrayList;
import java.util.LinkedHashSet;
import java.util.List;
import java.util.Map;
import java.util.Set;
import java.util.SplittableRandom;
import java.util.concurrent.TimeUnit;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.Timeout;
import picocli.CommandLine;

/** The command as a process. */
class CliProcessTest extends AttendFiles {
  private static List<String> java(String... jvm) {
    Set<String> path = new LinkedHashSet<>();
    for (Class<?> type : List.of(Main.class, CommandLine.class, JSON.class, JsonFactory.class)) {
      path.add(
          Path.of(URI.create(type.getProtectionDomain().getCodeSource().getLocation().toString()))
              .toString());
    }
    path.addAll(List.of(System.getProperty("java.class.path").split(File.pathSeparator)));
    List<String> command = new ArrayList<>();
    command.add(Path.of(System.getProperty("java.home"), "bin", "java").toString());
    command.addAll(
        List.of(
            "-XX:-UsePerfData", "-XX:TieredStopAtLevel=1", "--enable-native-access=ALL-UNNAMED"));
    for (String name : new String[] {"gatun.library", "gatun.openblas", "java.library.path"}) {
      if (System.getProperty(name) != null) {
        command.add("-D" + name + "=" + System.getProperty(name));
      }
    }
    command.addAll(List.of(jvm));
    command.addAll(List.of("-cp", String.join(File.pathSeparator, path), Main.class.getName()));
    return command;
  }

  private CliRun process(List<String> command, Map<String, String> environment, String... args)
      throws IOException, InterruptedException {
    List<String> all = new ArrayList<>(command);
    all.addAll(List.of(args));
    ProcessBuilder builder = new ProcessBuilder(all);
    builder.environment().putAll(environment);
    Path err = Files.createTempFile("gatun", "err");
    Process process = builder.redirectError(err.toFile()).start();
    String out = new String(process.getInputStream().readAllBytes(), StandardCharsets.UTF_8);
    int code = process.waitFor();
    String text = Files.readString(err);
    Files.delete(err);
    return new CliRun(code, out, text);
  }

  @Test
  void process_exitCodesAndStreams() throws Exception {
    CliRun good = process(java(), Map.of(), attend("--reference"));
    assertEquals(0, good.code(), good.err());
    assertEquals("", good.err());
    assertTrue(good.out().startsWith("q "), good.out());
    CliRun bad = process(java(), Map.of(), attend("--out", "none/o"));
    assertEquals(2, bad.code());
    assertEquals("", bad.out());
    assertEquals("gatun: --out none/o: its directory does not exist\n", bad.err());
    CliRun traced = process(java(), Map.of("GATUN_DEBUG", "1"), attend("--out", "none/o"));
    assertEquals(2, traced.code());
    assertTrue(traced.err().startsWith(bad.err() + "dev.gatun.cli.CliException: "), traced.err());
    Npy.write(
        directory.resolve("e.npy"),
        Tensor.allocate(arena, DType.FLOAT32, BATCH, SEQ_Q, HEADS, DIM_V));
    CliRun failed = process(java(), Map.of(), attend("--expect", "e.npy"));
    assertEquals(1, failed.code());
    assertEquals("", failed.err());
  }

  @Test
  void process_environmentForcesTheTier() throws Exception {
    CliRun portable = process(java(), Map.of("GATUN_ISA", "portable"), "info");
    assertEquals(0, portable.code(), portable.err());
    assertTrue(portable.out().contains("asked for by GATUN_ISA=portable"), portable.out());
    CliRun unknown = process(java(), Map.of("GATUN_ISA", "sse9"), "info");
    assertEquals(2, unknown.code());
    assertEquals("", unknown.out());
    assertEquals(1, unknown.err().lines().count(), unknown.err());
    assertTrue(
        unknown.err().startsWith("gatun: ") && unknown.err().contains("sse9"), unknown.err());
  }

  @Test
  void process_withoutLibraries() throws Exception {
    CliRun noOpenBlas =
        process(java("-Dgatun.openblas=/none/libopenblas.so"), Map.of(), "info", "--json");
    assertEquals(0, noOpenBlas.code(), noOpenBlas.err());
    Object openBlas = JSON.std.mapFrom(noOpenBlas.out()).get("openblas");
    assertTrue(
        ((Map<?, ?>) openBlas).get("missing").toString().contains("/none/libopenblas.so"),
        noOpenBlas.out());
    CliRun nothing = process(java("-Dgatun.library=/none/libgatun.so"), Map.of(), "info");
    assertEquals(1, nothing.code());
    assertEquals("", nothing.out());
    assertEquals(1, nothing.err().lines().count(), nothing.err());
    assertTrue(
        nothing.err().startsWith("gatun: ") && nothing.err().contains("/none/libgatun.so"),
        nothing.err());
  }

  @Test
  void process_readerThatLeavesEarly_isNoError() throws Exception {
    ProcessBuilder builder = new ProcessBuilder(java());
    builder.command().add("--help");
    Path err = directory.resolve("err");
    Process process = builder.redirectError(err.toFile()).start();
    process.getInputStream().close();
    assertEquals(0, process.waitFor());
    assertEquals("", Files.readString(err));
  }

  @Test
  void process_standardOutputFull() throws Exception {
    ProcessBuilder builder = new ProcessBuilder(java());
    builder.command().add("--help");
    Path err = directory.resolve("err");
    Process process =
        builder.redirectError(err.toFile()).redirectOutput(new File("/dev/full")).start();
    assertEquals(2, process.waitFor());
    assertEquals(1, Files.readString(err).lines().count());
    assertTrue(Files.readString(err).startsWith("gatun: standard output: "), Files.readString(err));
  }

  /** A limit on file sizes stands for a full disk: writing fails in the middle. */
  @Test
  void process_diskFull_leavesTheOldFile() throws Exception {
    int rows = 200_000;
    floats("q.npy", new SplittableRandom(1), 1, rows, 1, 1);
    floats("k.npy", new SplittableRandom(1), 1, 1, 1, 1);
    floats("v.npy", new SplittableRandom(1), 1, 1, 1, 64);
    Files.writeString(directory.resolve("o.npy"), "old");
    Set<String> before = names();
    // 16 MiB in blocks of 512 or 1024 bytes; the output has 51 MB.
    List<String> command =
        new ArrayList<>(List.of("sh", "-c", "ulimit -f 16384 && exec \"$@\"", "sh"));
    command.addAll(java());
    CliRun result = process(command, Map.of(), attend("--lse", "lse.npy"));
    assertEquals(2, result.code(), result.out());
    assertEquals("", result.out());
    assertEquals("gatun: --out " + path("o.npy") + ": File too large\n", result.err());
    assertEquals(before, names());
    assertEquals("old", Files.readString(directory.resolve("o.npy")));
  }

  @Test
  @Timeout(60)
  void process_interrupted_leavesNothing() throws Exception {
    floats("q.npy", new SplittableRandom(1), 1, 60_000, 4, 64);
    floats("k.npy", new SplittableRandom(1), 1, 60_000, 4, 64);
    floats("v.npy", new SplittableRandom(1), 1, 60_000, 4, 64);
    Set<String> before = names();
    List<String> command = java();
    command.addAll(List.of(attend("--tier", "portable", "--threads", "1")));
    Process process = new ProcessBuilder(command).redirectErrorStream(true).start();
    while (names().equals(before) && process.isAlive()) {
      Thread.sleep(Duration.ofMillis(20));
    }
    assertFalse(names().equals(before));
    process.destroy(); // SIGTERM
    assertTrue(process.waitFor(30, TimeUnit.SECONDS));
    assertEquals(before, names());
  }
}
