package dev.gatun.bench.measure;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;

import org.junit.jupiter.api.Test;

/** Every part is done once a round, and what a part throws reaches the caller. */
class WorkerGroupTest {

  @Test
  void workersShareTheWork() {
    int[] done = new int[3];
    try (WorkerGroup workers = new WorkerGroup(() -> done[0]++, () -> done[1]++, () -> done[2]++)) {
      for (int i = 0; i < 100; i++) {
        workers.run();
        assertEquals(3 * (i + 1), done[0] + done[1] + done[2]);
      }
    }
    try (WorkerGroup workers =
        new WorkerGroup(
            () -> {},
            () -> {
              throw new IllegalArgumentException("x");
            })) {
      assertEquals(
          "x", assertThrows(IllegalStateException.class, workers::run).getCause().getMessage());
    }
  }
}
