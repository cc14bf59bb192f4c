package dev.gatun.nn;

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
 * A warm Transformer block allocates nothing, on the Java heap or off it, by any thread, OpenBLAS
 * included. As {@code GarbageTest} counts it.
 */
class LayersGarbageTest {

  @Test
  void noBytesOnTheHeap() throws IOException, InterruptedException {
    long bytes = least(ChildJvm.onModulePath().run("layers-garbage").expectSuccess());
    assertTrue(bytes < 0.01 * 10_000, bytes + " bytes in 10,000 blocks");
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
            .run("layers-malloc", library.toString())
            .expectSuccess();
    assertTrue(out.endsWith("\ncounts"), out);
    assertEquals(0, least(out.lines().findFirst().orElseThrow()), out);
  }

  private static long least(String rounds) {
    return Arrays.stream(rounds.split(" ")).mapToLong(Long::parseLong).min().orElseThrow();
  }
}
