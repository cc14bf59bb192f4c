package dev.gatun.nn;

import static org.junit.jupiter.api.Assertions.assertTrue;

import dev.gatun.support.Allocations;
import java.io.IOException;
import org.junit.jupiter.api.Test;

/**
 * Warm encoders, decoders' steps, and the blocks of the families allocate nothing, on the Java heap
 * or off it, by any thread, OpenBLAS included. As {@code GarbageTest} counts it.
 */
class TransformerGarbageTest {

  @Test
  void noBytesOnTheHeap() throws IOException, InterruptedException {
    long bytes = Allocations.heapBytes("transformer-garbage");
    assertTrue(bytes < 100, bytes + " bytes in 1,000 runs of all blocks");
  }

  @Test
  void noNativeAllocation() throws IOException, InterruptedException {
    Allocations.assertNoneNative("transformer-malloc");
  }

  /** A text costs its settings and random numbers, less than 100 bytes; its 30 tokens nothing. */
  @Test
  void tokensCostNoBytesOnTheHeap() throws IOException, InterruptedException {
    long bytes = Allocations.heapBytes("generator-garbage");
    assertTrue(bytes < 100 * 600, bytes + " bytes in 600 texts of 30 tokens");
  }

  /**
   * Three texts in one loop cost their random numbers and what tells of them, 300 bytes at most;
   * their 60 tokens nothing: one byte for each would be 60 a call.
   */
  @Test
  void tokensOfTextsTogetherCostNoBytesOnTheHeap() throws IOException, InterruptedException {
    long bytes = Allocations.heapBytes("batch-generator-garbage");
    System.out.printf("BatchGenerator: %d bytes in 600 calls of 60 tokens%n", bytes);
    assertTrue(bytes < 300 * 600, bytes + " bytes in 600 calls of 60 tokens");
  }
}
