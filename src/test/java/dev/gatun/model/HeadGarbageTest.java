package dev.gatun.model;

import static org.junit.jupiter.api.Assertions.assertTrue;

import dev.gatun.support.Allocations;
import java.io.IOException;
import org.junit.jupiter.api.Test;

/**
 * From ids to the scores of {@link TextClassifier}, {@link CrossEncoder}, {@link TokenClassifier}
 * and {@link MaskedLanguageModel} nothing is allocated on the Java heap or off it, by any thread.
 * As {@code GarbageTest} counts it.
 */
class HeadGarbageTest {

  @Test
  void noBytesOnTheHeap() throws IOException, InterruptedException {
    long bytes = Allocations.heapBytes("heads-garbage");
    System.out.printf("heads: %d bytes in 400 runs of all of them%n", bytes);
    assertTrue(bytes < 100, bytes + " bytes in 400 runs of all heads");
  }

  @Test
  void noNativeAllocation() throws IOException, InterruptedException {
    Allocations.assertNoneNative("heads-malloc");
  }
}
