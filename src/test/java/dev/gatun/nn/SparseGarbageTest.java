package dev.gatun.nn;

import static org.junit.jupiter.api.Assertions.assertTrue;

import dev.gatun.support.Allocations;
import java.io.IOException;
import org.junit.jupiter.api.Test;

/** Warm calls of Linformer and BigBird allocate nothing, as {@link LayersGarbageTest} counts it. */
class SparseGarbageTest {

  @Test
  void noBytesOnTheHeap() throws IOException, InterruptedException {
    long bytes = Allocations.heapBytes("sparse-garbage");
    assertTrue(bytes < 0.01 * 9_000, bytes + " bytes in 9,000 calls");
  }

  @Test
  void noNativeAllocation() throws IOException, InterruptedException {
    Allocations.assertNoneNative("sparse-malloc");
  }
}
