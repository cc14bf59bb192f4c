package dev.gatun;

import static org.junit.jupiter.api.Assertions.assertTrue;

import dev.gatun.support.Allocations;
import java.io.IOException;
import org.junit.jupiter.api.Test;

/**
 * A warm call allocates nothing, on the Java heap or off it, by any thread. Counted from outside,
 * in a JVM of its own, with calls of several shapes and specifications that alternate. The JVM
 * itself allocates now and then, so that the best of some rounds is what counts.
 */
class GarbageTest {

  @Test
  void noBytesOnTheHeap() throws IOException, InterruptedException {
    long bytes = Allocations.heapBytes("garbage");
    assertTrue(bytes < 0.01 * 100_000, bytes + " bytes in 100,000 calls");
  }

  @Test
  void noNativeAllocation() throws IOException, InterruptedException {
    Allocations.assertNoneNative("malloc");
  }
}
