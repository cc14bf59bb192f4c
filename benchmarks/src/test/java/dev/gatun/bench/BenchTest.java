package dev.gatun.bench;

import static org.junit.jupiter.api.Assertions.assertEquals;

import dev.gatun.bench.measure.Point;
import dev.gatun.bench.peer.PeerSpec;
import java.util.List;
import java.util.Map;
import org.junit.jupiter.api.Test;

/** What {@link Bench} makes of processes that end early. */
class BenchTest {

  @Test
  void aPeerWhoseProcessEndedEarlyHasAllItsRows() {
    PeerSpec spec = PeerSpec.of("java-scalar");
    List<Object> rows =
        Bench.complete(spec, true, List.of(Map.of("first", 1)), "exit code 134: terminate");
    List<Point> points = spec.points(true);
    assertEquals(points.size(), rows.size());
    for (int i = 1; i < rows.size(); i++) {
      Map<?, ?> row = (Map<?, ?>) rows.get(i);
      assertEquals("exit code 134: terminate", row.get("missing"));
      assertEquals(points.get(i), Point.in(row));
    }
  }
}
