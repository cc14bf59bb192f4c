package dev.gatun.bench;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertNotNull;
import static org.junit.jupiter.api.Assertions.assertTrue;
import static org.junit.jupiter.api.DynamicTest.dynamicTest;

import java.util.List;
import java.util.Map;
import java.util.stream.Stream;
import org.junit.jupiter.api.DynamicTest;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.TestFactory;

/** Every comparison runs once; what is not there, or ends early, has its rows as well. */
class ComparisonTest {

  private static final Shape TINY = Shape.of("tiny16");

  @TestFactory
  Stream<DynamicTest> comparisons() {
    return Contender.ALL.stream()
        .map(contender -> dynamicTest(contender.name(), () -> compare(contender)));
  }

  private static void compare(Contender contender) {
    boolean causal = contender.name().equals("onnxruntime-gqa");
    Point point = new Point(TINY, causal, contender.ownLayouts().apply(TINY).getFirst(), 1);
    try (Roofs roofs = new Roofs()) {
      Comparison comparison = new Comparison(contender, Alternation.Effort.ONCE, roofs);
      Map<String, Object> row = comparison.run(point);
      assertEquals(point, Point.in(row));
      String absence = contender.absence().get();
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
        if (contender.name().equals(Contender.GATUN_C)) {
          for (String arena : Comparison.ARENAS) {
            Map<String, Object> call = comparison.call(Comparison.CALLS.getFirst(), arena);
            assertEquals(arena, call.get("arena"));
            assertNotNull(call.get("differenceNs"), call.toString());
          }
        }
      }
      Contender broken =
          new Contender(
              "broken",
              "",
              workload -> {
                throw new IllegalStateException("no such thing\nat all");
              },
              () -> null,
              each -> null,
              contender.ownLayouts());
      assertEquals(
          "no such thing",
          new Comparison(broken, Alternation.Effort.ONCE, roofs).run(point).get("missing"));
    }
  }

  @Test
  void aPeerThatIsNotThereIsARow() {
    Contender absent =
        new Contender(
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
    // and one whose process ended early
    List<Object> rows =
        Bench.complete(absent, true, List.of(Map.of("first", 1)), "exit code 134: terminate");
    List<Point> points = absent.points(true);
    assertEquals(points.size(), rows.size());
    for (int i = 1; i < rows.size(); i++) {
      Map<?, ?> row = (Map<?, ?>) rows.get(i);
      assertEquals("exit code 134: terminate", row.get("missing"));
      assertEquals(points.get(i), Point.in(row));
    }
  }

  @Test
  void everyPeerIsAskedForEveryShapeInOneOfItsLayouts() {
    for (Contender contender : Contender.ALL) {
      List<Point> points = contender.points(false);
      assertEquals(points.size(), points.stream().distinct().count());
      for (Shape shape : Shape.PEERS) {
        for (int threads = 1; threads <= 2; threads++) {
          for (Point.Layout layout : contender.ownLayouts().apply(shape)) {
            assertTrue(points.contains(new Point(shape, false, layout, threads)));
            assertEquals(
                shape.seqQ() > 1, points.contains(new Point(shape, true, layout, threads)));
          }
        }
      }
      assertTrue(points.containsAll(contender.points(true)), contender.name());
    }
  }
}
