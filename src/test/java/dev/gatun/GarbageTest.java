package dev.gatun;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertNotNull;
import static org.junit.jupiter.api.Assertions.assertTrue;

import dev.gatun.support.ChildJvm;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Arrays;
import org.junit.jupiter.api.Test;

/**
 * A warm call allocates nothing, on the Java heap or off it, by any thread. Counted from outside,
 * in a JVM of its own, with calls of several shapes and specifications that alternate. The JVM
 * itself allocates now and then, so that the best of some rounds is what counts.
 */
class GarbageTest {

  @Test
  void noBytesOnTheHeap() throws IOException, InterruptedException {
    long bytes = least(ChildJvm.onModulePath().run("garbage").expectSuccess());
    assertTrue(bytes < 0.01 * 100_000, bytes + " bytes in 100,000 calls");
  }

  @Test
  void noNativeAllocation() throws IOException, InterruptedException {
    String counter = System.getProperty("gatun.test.mallocCounter");
    assertNotNull(
        counter, "-Dgatun.test.mallocCounter must name the library built from malloc_counter.c");
    Path library = Path.of(counter).toAbsolutePath();
    assertTrue(Files.isRegularFile(library), library + " is missing");
    String out =
        ChildJvm.onModulePath()
            .environment("LD_PRELOAD", library.toString())
            .run("malloc", library.toString())
            .expectSuccess();
    assertTrue(out.endsWith("\ncounts"), out);
    assertEquals(0, least(out.lines().findFirst().orElseThrow()), out);
  }

  private static long least(String rounds) {
    return Arrays.stream(rounds.split(" ")).mapToLong(Long::parseLong).min().orElseThrow();
  }
}
