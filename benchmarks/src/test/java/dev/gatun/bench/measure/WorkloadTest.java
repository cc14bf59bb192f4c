package dev.gatun.bench.measure;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertNull;

import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import org.junit.jupiter.api.Test;

/** Shapes, flops and inputs are those of C. */
class WorkloadTest {

  @Test
  void shapesAndFlopsAreThoseOfC() throws Throwable {
    try (Arena arena = Arena.ofConfined()) {
      MemorySegment sizes = arena.allocate(ValueLayout.JAVA_LONG, 6);
      int index = 0;
      for (Shape shape : Shape.ALL) {
        assertEquals(shape.name(), BenchLibrary.shape(index++, sizes));
        long[] all = sizes.toArray(ValueLayout.JAVA_LONG);
        assertEquals(
            shape,
            new Shape(
                shape.name(),
                (int) all[0],
                (int) all[1],
                (int) all[2],
                (int) all[3],
                (int) all[4],
                (int) all[5]));
        for (boolean causal : new boolean[] {false, true}) {
          Point point = new Point(shape, causal, Point.Layout.BHSD, 1);
          assertEquals(point.flops(), BenchLibrary.flops(sizes, causal));
        }
      }
      assertNull(BenchLibrary.shape(index, sizes));
    }
  }

  @Test
  void inputsAreThoseOfC() throws Throwable {
    for (long seed = 0; seed < 4; seed++) {
      for (long element : new long[] {0, 1, 2, 1000, 1L << 33, Long.MAX_VALUE}) {
        assertEquals(BenchLibrary.value(seed, element), Workload.value(seed, element));
      }
    }
    // published test vector of splitmix64, seed 1234567: 6457827717110365317
    assertEquals((6457827717110365317L >>> 40) * 0x1p-23f - 1, Workload.value(1234567, 0));
  }
}
