package dev.gatun.support;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertNotNull;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Arrays;

/**
 * What programs of {@link ChildMain} allocate, each in a JVM of its own. The JVM itself allocates
 * now and then, so that the best of some rounds is what counts.
 */
public final class Allocations {

  private Allocations() {}

  /** The bytes that all threads of a program took from the Java heap in its best round. */
  public static long heapBytes(String program) throws IOException, InterruptedException {
    return least(ChildJvm.onModulePath().run(program).expectSuccess());
  }

  /** Fails if a program allocates native memory in every round, or the counter counts nothing. */
  public static void assertNoneNative(String program) throws IOException, InterruptedException {
    String library = counter().toString();
    ChildJvm child = ChildJvm.onModulePath().environment("LD_PRELOAD", library);
    if (System.getProperty("os.arch").equals("amd64")) {
      // OpenBLAS's kernels of small products for AVX-512 call malloc.
      child.environment("OPENBLAS_CORETYPE", "Haswell");
    }
    String out = child.run(program, library).expectSuccess();
    assertTrue(out.endsWith("\ncounts"), out);
    assertEquals(0, least(out.lines().findFirst().orElseThrow()), out);
  }

  /** The library that counts, to be preloaded. */
  public static Path counter() {
    String counter = System.getProperty("gatun.test.mallocCounter");
    assertNotNull(
        counter, "-Dgatun.test.mallocCounter must name the library built from malloc_counter.c");
    Path library = Path.of(counter).toAbsolutePath();
    assertTrue(Files.isRegularFile(library), library + " is missing");
    return library;
  }

  private static long least(String rounds) {
    return Arrays.stream(rounds.split(" ")).mapToLong(Long::parseLong).min().orElseThrow();
  }
}
