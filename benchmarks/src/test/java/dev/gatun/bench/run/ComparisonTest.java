package dev.gatun.bench.run;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertNotNull;
import static org.junit.jupiter.api.Assertions.assertTrue;
import static org.junit.jupiter.api.DynamicTest.dynamicTest;

import dev.gatun.bench.measure.Alternation;
import dev.gatun.bench.measure.BenchLibrary;
import dev.gatun.bench.measure.Point;
import dev.gatun.bench.measure.Roofs;
import dev.gatun.bench.measure.Shape;
import dev.gatun.bench.measure.Workload;
import dev.gatun.bench.peer.PeerSpec;
import java.util.List;
import java.util.Map;
import java.util.stream.Stream;
import org.junit.jupiter.api.DynamicTest;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.TestFactory;

/** Every comparison runs once; what is not there has its rows as well. */
class ComparisonTest {

  private static final Shape TINY = Shape.of("tiny16");

  @TestFactory
  Stream<DynamicTest> comparisons() {
    return PeerSpec.ALL.stream().map(spec -> dynamicTest(spec.name(), () -> compare(spec)));
  }

  private static void compare(PeerSpec spec) {
    boolean causal = spec.name().equals("onnxruntime-gqa");
    Point point = new Point(TINY, causal, spec.ownLayouts().apply(TINY).getFirst(), 1);
    try (Roofs roofs = new Roofs()) {
      Comparison comparison = new Comparison(spec, Alternation.Effort.ONCE, roofs);
      Map<String, Object> row = comparison.run(point);
      assertEquals(point, Point.in(row));
      String absence = spec.absence().get();
      assertEquals(absence, row.get("missing"));
      if (absence == null) {
        assertNotNull(row.get("ratio"), row.toString());
        assertTrue((double) row.get("error") <= Workload.TOLERANCE, row.toString());
        assertTrue((double) row.get("peakFlopsPerSecond") > 0, row.toString());
        assertTrue((double) row.get("readBytesPerSecond") > 0, row.toString());
        assertEquals(
            Double.isNaN(BenchLibrary.instructionsPerCycle(0.0001)),
            row.get("undisturbed") == null,
            row.toString());
        if (spec.name().equals(PeerSpec.GATUN_C)) {
          for (String arena : Comparison.ARENAS) {
            Map<String, Object> call = comparison.call(Comparison.CALLS.getFirst(), arena);
            assertEquals(arena, call.get("arena"));
            assertNotNull(call.get("differenceNs"), call.toString());
          }
        }
      }
      PeerSpec broken =
          new PeerSpec(
              "broken",
              "",
              workload -> {
                throw new IllegalStateException("no such thing\nat all");
              },
              () -> null,
              each -> null,
              spec.ownLayouts());
      assertEquals(
          "no such thing",
          new Comparison(broken, Alternation.Effort.ONCE, roofs).run(point).get("missing"));
    }
  }

  @Test
  void aPeerThatIsNotThereIsARow() {
    PeerSpec absent =
        new PeerSpec(
            "absent",
            "",
            workload -> {
              throw new AssertionError("made");
            },
            () -> "is not there",
            point -> null,
            shape -> List.of(Point.Layout.BHSD));
    try (Roofs roofs = new Roofs()) {
      Map<String, Object> row =
          new Comparison(absent, Alternation.Effort.ONCE, roofs).run(Point.of(TINY));
      assertEquals("is not there", row.get("missing"));
      assertEquals("absent", row.get("peer"));
    }
  }

  @Test
  void everyPeerIsAskedForEveryShapeInOneOfItsLayouts() {
    for (PeerSpec spec : PeerSpec.ALL) {
      List<Point> points = spec.points(false);
      assertEquals(points.size(), points.stream().distinct().count());
      for (Shape shape : Shape.PEERS) {
        for (int threads = 1; threads <= 2; threads++) {
          for (Point.Layout layout : spec.ownLayouts().apply(shape)) {
            assertTrue(points.contains(new Point(shape, false, layout, threads)));
            assertEquals(
                shape.seqQ() > 1, points.contains(new Point(shape, true, layout, threads)));
          }
        }
      }
      assertTrue(points.containsAll(spec.points(true)), spec.name());
    }
  }
}
