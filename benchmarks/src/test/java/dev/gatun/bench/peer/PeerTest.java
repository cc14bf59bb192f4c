package dev.gatun.bench.peer;

import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;
import static org.junit.jupiter.api.DynamicTest.dynamicTest;

import dev.gatun.bench.measure.Peer;
import dev.gatun.bench.measure.Point;
import dev.gatun.bench.measure.Shape;
import dev.gatun.bench.measure.Workload;
import java.lang.foreign.Arena;
import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.function.Function;
import java.util.stream.Stream;
import org.junit.jupiter.api.DynamicTest;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.TestFactory;

/** Every peer and every way to call Gatun gives the right answer, and a wrong one is refused. */
class PeerTest {

  /** Grouped heads, one query row, sizes that are no multiple of a vector. */
  private static final List<Shape> SMALL =
      List.of(
          Shape.of("tiny16"),
          new Shape("odd", 2, 4, 2, 37, 53, 32),
          new Shape("square", 2, 6, 3, 37, 37, 32),
          new Shape("decode", 2, 8, 2, 1, 77, 64),
          new Shape("one", 1, 1, 1, 1, 1, 32));

  @TestFactory
  Stream<DynamicTest> waysToCall() {
    Map<String, Function<Workload, Peer>> makers = new LinkedHashMap<>();
    makers.put("java", GatunPeer.FromJava::new);
    makers.put("copying", GatunPeer.Copying::new);
    makers.put("critical", GatunPeer.Critical::new);
    makers.put("jni", GatunPeer.Jni::new);
    makers.put("jni arrays", GatunPeer.JniArrays::new);
    List<DynamicTest> tests = new ArrayList<>();
    makers.forEach(
        (name, maker) ->
            SMALL.forEach(
                shape ->
                    tests.add(
                        dynamicTest(
                            name + " " + shape.name(), () -> check(Point.of(shape), maker)))));
    return tests.stream();
  }

  private static void check(Point point, Function<Workload, Peer> maker) {
    try (Workload workload = new Workload(point, Arena.ofConfined());
        Peer peer = maker.apply(workload)) {
      workload.check(peer.name, peer.answer());
      peer.calls(2);
      workload.check(peer.name, peer.answer());
    }
  }

  /** In every layout of theirs, with and without a mask, on one and two threads. */
  @TestFactory
  Stream<DynamicTest> peers() {
    List<DynamicTest> tests = new ArrayList<>();
    for (PeerSpec spec : PeerSpec.ALL) {
      for (Shape shape : SMALL) {
        tests.add(
            dynamicTest(
                spec.name() + " " + shape.name(),
                () -> {
                  for (Point point : points(spec, shape)) {
                    check(point, spec.maker());
                  }
                }));
      }
    }
    return tests.stream();
  }

  /**
   * What the benchmarks could ask for: causal are squares only, as there is one way to read them.
   */
  private static List<Point> points(PeerSpec spec, Shape shape) {
    List<Point> points = new ArrayList<>();
    boolean square = shape.seqQ() == shape.seqK();
    for (Point.Layout layout : spec.ownLayouts().apply(shape)) {
      for (boolean causal : square ? new boolean[] {false, true} : new boolean[] {false}) {
        for (int threads = 1; threads <= 2; threads++) {
          Point point = new Point(shape, causal, layout, threads);
          if (spec.absence().get() == null && spec.obstacle().apply(point) == null) {
            points.add(point);
          }
        }
      }
    }
    return points;
  }

  @Test
  void aWrongAnswerIsRefused() {
    try (Workload workload = new Workload(Shape.of("tiny16"), Arena.ofConfined());
        GatunPeer.FromJava peer = new GatunPeer.FromJava(workload)) {
      Workload.Answer right = peer.answer();
      for (float wrong : new float[] {1e-4f, Float.NaN}) {
        IllegalStateException e =
            assertThrows(
                IllegalStateException.class,
                () -> workload.check("x", (b, h, i, c) -> right.at(b, h, i, c) + wrong));
        assertTrue(
            e.getMessage().startsWith("x, tiny16 full [B,H,S,D] ×1: wrong answer"), e.getMessage());
      }
    }
  }
}
