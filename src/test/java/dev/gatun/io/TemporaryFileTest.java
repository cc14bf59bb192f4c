package dev.gatun.io;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import dev.gatun.DType;
import dev.gatun.Tensor;
import dev.gatun.support.ChildJvm;
import java.io.BufferedReader;
import java.io.IOException;
import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.net.URI;
import java.nio.file.FileSystemException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import java.util.Map;
import java.util.concurrent.TimeUnit;
import java.util.stream.Stream;
import org.junit.jupiter.api.RepeatedTest;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.function.Executable;
import org.junit.jupiter.api.io.TempDir;

class TemporaryFileTest {
  @TempDir Path directory;

  private List<String> names() throws IOException {
    try (Stream<Path> files = Files.list(directory)) {
      return files.map(file -> file.getFileName().toString()).sorted().toList();
    }
  }

  @Test
  void interruptedWrite_saysSo() throws IOException {
    try (Arena arena = Arena.ofConfined()) {
      Tensor tensor = Tensor.allocate(arena, DType.FLOAT32, 5);
      Path npy = directory.resolve("x.npy");
      Path safetensors = directory.resolve("x.safetensors");
      interrupted(npy, () -> Npy.write(npy, tensor));
      interrupted(safetensors, () -> Safetensors.write(safetensors, Map.of("x", tensor), Map.of()));
    }
    assertEquals(List.of(), names());
  }

  private static void interrupted(Path file, Executable write) {
    Thread.currentThread().interrupt();
    FileSystemException e = assertThrows(FileSystemException.class, write);
    assertTrue(Thread.interrupted());
    assertEquals(file + ": the thread was interrupted while it wrote", e.getMessage());
  }

  @Test
  void closedWrite_saysSo() throws IOException {
    Path file = directory.resolve("x");
    TemporaryFile written = TemporaryFile.create(file);
    FileSystemException e =
        assertThrows(
            FileSystemException.class,
            () ->
                written.fill(
                    () -> {
                      written.close();
                      written.write(MemorySegment.ofArray(new byte[1]));
                    }));
    assertEquals(file + ": closed by another thread while it was written", e.getMessage());
    assertEquals(List.of(), names());
  }

  /** Wherever the signal comes: the child begins a file all the time. */
  @RepeatedTest(5)
  void signal_leavesNothing() throws Exception {
    String type = "dev/gatun/io/HalfWritten.class";
    String url = HalfWritten.class.getResource("HalfWritten.class").toString();
    Path classes = Path.of(URI.create(url.substring(0, url.length() - type.length())));
    Process child =
        new ProcessBuilder(
                Path.of(System.getProperty("java.home"), "bin", "java").toString(),
                "-XX:TieredStopAtLevel=1",
                "-cp",
                ChildJvm.mainClasses() + ":" + classes,
                HalfWritten.class.getName(),
                directory.toString())
            .redirectError(
                ProcessBuilder.Redirect.DISCARD) // of the main thread, which may be refused too
            .start();
    try (BufferedReader out = child.inputReader()) {
      assertEquals("ready", out.readLine());
      child.toHandle().destroy(); // SIGTERM, and the streams stay open
      String late = directory.resolve("late.npy") + ": cannot create a file in its directory: ";
      assertEquals(late + "the JVM is shutting down", out.readLine());
    }
    assertTrue(child.waitFor(30, TimeUnit.SECONDS));
    assertEquals(List.of(), names());
  }
}
