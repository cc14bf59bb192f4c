package dev.gatun.nn;

import static org.junit.jupiter.api.Assertions.assertTrue;

import dev.gatun.support.Allocations;
import java.io.IOException;
import org.junit.jupiter.api.Test;

/**
 * A warm Transformer block allocates nothing, on the Java heap or off it, by any thread, OpenBLAS
 * included. As {@code GarbageTest} counts it.
 */
class LayersGarbageTest {

  @Test
  void noBytesOnTheHeap() throws IOException, InterruptedException {
    long bytes = Allocations.heapBytes("layers-garbage");
    assertTrue(bytes < 0.01 * 10_000, bytes + " bytes in 10,000 blocks");
  }

  @Test
  void noNativeAllocation() throws IOException, InterruptedException {
    Allocations.assertNoneNative("layers-malloc");
  }
}
