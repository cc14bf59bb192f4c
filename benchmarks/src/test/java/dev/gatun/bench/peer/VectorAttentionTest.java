package dev.gatun.bench.peer;

import static org.junit.jupiter.api.DynamicTest.dynamicTest;

import dev.gatun.bench.measure.Peer;
import dev.gatun.bench.measure.Point;
import dev.gatun.bench.measure.Shape;
import dev.gatun.bench.measure.Workload;
import java.lang.foreign.Arena;
import java.util.stream.Stream;
import org.junit.jupiter.api.DynamicTest;
import org.junit.jupiter.api.TestFactory;

/** The kernel by the Vector API, on sizes that are no multiple of its tiles. */
class VectorAttentionTest {

  @TestFactory
  Stream<DynamicTest> givesTheRightAnswer() {
    return Stream.of(
            Shape.of("tiny16"),
            Shape.of("s128d64"),
            new Shape("odd", 2, 4, 2, 37, 53, 48),
            new Shape("square", 2, 4, 2, 37, 37, 48),
            new Shape("decode", 2, 8, 2, 1, 77, 64),
            new Shape("one", 1, 1, 1, 1, 1, 32))
        .map(shape -> dynamicTest(shape.name(), () -> check(shape)));
  }

  private static void check(Shape shape) {
    boolean square = shape.seqQ() == shape.seqK();
    for (boolean causal : square ? new boolean[] {false, true} : new boolean[] {false}) {
      for (int threads = 1; threads <= 2; threads++) {
        Point point = new Point(shape, causal, Point.Layout.BHSD, threads);
        try (Workload workload = new Workload(point, Arena.ofConfined());
            Peer peer = new VectorPeer(workload)) {
          workload.check(peer.name, peer.answer());
          peer.calls(2);
          workload.check(peer.name, peer.answer());
        }
      }
    }
  }
}
