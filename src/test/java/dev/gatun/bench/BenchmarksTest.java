package dev.gatun.bench;

import static org.junit.jupiter.api.Assertions.assertDoesNotThrow;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertNotNull;
import static org.junit.jupiter.api.Assertions.assertNull;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;
import static org.junit.jupiter.api.DynamicTest.dynamicTest;

import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import java.lang.reflect.Method;
import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.function.Function;
import java.util.stream.Stream;
import org.junit.jupiter.api.DynamicTest;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.TestFactory;
import org.openjdk.jmh.annotations.Benchmark;

/**
 * Every benchmark runs once and gives the right answer, so that none is found broken on the day.
 */
class BenchmarksTest {

  private static final Shape TINY = Shape.of("tiny16");

  /** Grouped heads, one query row, sizes that are no multiple of a vector. */
  private static final List<Shape> SMALL =
      List.of(
          TINY,
          new Shape("odd", 2, 4, 2, 37, 53, 32),
          new Shape("decode", 2, 8, 2, 1, 77, 64),
          new Shape("one", 1, 1, 1, 1, 1, 32));

  // ---- JMH -----------------------------------------------------------------------------------

  @TestFactory
  Stream<DynamicTest> jmhMethods() {
    List<DynamicTest> tests = new ArrayList<>();
    for (Method method : benchmarks(CallBenchmark.class)) {
      for (String shape : List.of("tiny16", "tiny16q0")) {
        tests.add(
            dynamicTest(
                "CallBenchmark." + method.getName() + " " + shape,
                () -> {
                  CallBenchmark benchmark = new CallBenchmark();
                  benchmark.shape = shape;
                  benchmark.open();
                  check(method, method.invoke(benchmark), shape);
                  benchmark.close();
                }));
      }
    }
    for (Method method : benchmarks(AttentionBenchmark.class)) {
      tests.add(
          dynamicTest(
              "AttentionBenchmark." + method.getName(),
              () -> {
                AttentionBenchmark benchmark = new AttentionBenchmark();
                benchmark.shape = "s128d64";
                benchmark.open();
                check(method, method.invoke(benchmark), benchmark.shape);
                benchmark.close();
              }));
    }
    return tests.stream();
  }

  private static List<Method> benchmarks(Class<?> type) {
    List<Method> methods = new ArrayList<>();
    for (Method method : type.getDeclaredMethods()) {
      if (method.isAnnotationPresent(Benchmark.class)) {
        methods.add(method);
      }
    }
    assertTrue(methods.size() > 1, methods.toString());
    return methods;
  }

  private static void check(Method method, Object result, String shape) {
    if (result instanceof Float first) {
      assertEquals(shape.equals("tiny16q0"), first == 0, method + ": " + first);
    }
  }

  // ---- peers ---------------------------------------------------------------------------------

  @TestFactory
  Stream<DynamicTest> peers() {
    Map<String, Function<Workload, Peer>> makers = new LinkedHashMap<>();
    makers.put("java", GatunPeer.FromJava::new);
    makers.put("c", GatunPeer.FromC::new);
    makers.put("copying", GatunPeer.Copying::new);
    makers.put("critical", GatunPeer.Critical::new);
    makers.put("jni", GatunPeer.Jni::new);
    makers.put("jni arrays", GatunPeer.JniArrays::new);
    makers.put("openblas", NaivePeer::new);
    makers.put("onnxruntime", OnnxPeer::new);
    makers.put("scalar", ScalarPeer::new);
    List<DynamicTest> tests = new ArrayList<>();
    makers.forEach(
        (name, maker) ->
            SMALL.forEach(
                shape ->
                    tests.add(
                        dynamicTest(
                            name + " " + shape.name(),
                            () -> {
                              try (Workload workload = new Workload(shape, Arena.ofConfined());
                                  Peer peer = maker.apply(workload)) {
                                workload.check(peer.name, peer.answer());
                                peer.calls(2);
                              }
                            }))));
    return tests.stream();
  }

  @Test
  void aWrongAnswerIsRefused() {
    try (Workload workload = new Workload(TINY, Arena.ofConfined());
        GatunPeer.FromJava peer = new GatunPeer.FromJava(workload)) {
      Workload.Answer right = peer.answer();
      for (float wrong : new float[] {1e-4f, Float.NaN}) {
        IllegalStateException e =
            assertThrows(
                IllegalStateException.class,
                () -> workload.check("x", (b, h, i, c) -> right.at(b, h, i, c) + wrong));
        assertTrue(e.getMessage().startsWith("x, tiny16: wrong answer"), e.getMessage());
      }
    }
  }

  // ---- the same in C and in Java -------------------------------------------------------------

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
        assertEquals(shape.flops(), BenchLibrary.flops(sizes));
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

  // ---- comparisons and reports ---------------------------------------------------------------

  @Test
  void comparisonOfAShape() {
    List<Map<String, Object>> rows = new Comparison(Alternation.Effort.ONCE, false).run(TINY);
    assertEquals(9, rows.size(), rows.toString());
    assertEquals("gatun-c", rows.getFirst().get("baseline"));
    for (Map<String, Object> row : rows) {
      if (row.get("peer").equals("java-vector") && !VectorPeer.isAvailable()) {
        assertEquals("no module jdk.incubator.vector", row.get("missing"));
      } else {
        assertNotNull(row.get("ratio"), row.toString());
      }
    }
    Map<String, Object> results = new LinkedHashMap<>();
    results.put("mode", "quick");
    results.put("seconds", 1);
    results.put("environment", Environment.describe());
    results.put("peers", rows);
    String report = Report.markdown(results);
    assertTrue(report.contains("| openblas | "), report);
    assertTrue(report.contains("## Java against C"), report);
    assertTrue(report.contains("not run: no module jdk.incubator.vector"), report);
    for (String name :
        List.of("commit", "date", "cpu", "tier", "threads", "openblasCore", "openblasConfig")) {
      assertTrue(report.contains("| " + name + " | "), name);
    }
  }

  /** Takes a time by a clock that only it moves. */
  private static final class Ticking extends Peer {
    private final long[] clock;
    private final long nanos;
    private long calls;

    Ticking(String name, long[] clock, long nanos) {
      super(name);
      this.clock = clock;
      this.nanos = nanos;
    }

    @Override
    public void calls(long n) {
      calls += n;
      clock[0] += n * nanos;
    }

    @Override
    public Workload.Answer answer() {
      throw new AssertionError("not asked for");
    }
  }

  @Test
  void whatCostsNothingHasNoPeers() {
    List<Map<String, Object>> rows =
        new Comparison(Alternation.Effort.ONCE, false).run(Shape.of("tiny16q0"));
    assertEquals(5, rows.size(), rows.toString());
    assertTrue(rows.stream().allMatch(row -> row.get("ratio") != null), rows.toString());
  }

  @Test
  void alternationComparesTimesOfACall() {
    long[] clock = new long[1];
    Ticking a = new Ticking("a", clock, 1_000);
    Ticking b = new Ticking("b", clock, 1_500);
    Alternation.Effort effort = new Alternation.Effort(0.001, 9, 0.01, 0.01);
    Alternation times = Alternation.of(a, b, effort, () -> clock[0]);
    assertEquals(1.5, times.ratio().median(), 1e-9);
    assertEquals(500, times.difference().median(), 1e-6);
    assertEquals(9, times.ratio().count());
    assertTrue(
        a.calls >= 10_000 + 9 * 1000, () -> "" + a.calls); // warm for 10 ms, 9 windows of 1 ms
  }

  @Test
  void slowPeersGetFewerPairs() {
    long[] clock = new long[1];
    Ticking fast = new Ticking("fast", clock, 1_000);
    Alternation.Effort effort = new Alternation.Effort(0.001, 15, 0, 0);
    Peer slower = new Ticking("slower", clock, 2_500);
    assertEquals(5, Alternation.of(fast, slower, effort, () -> clock[0]).ratio().count());
    Ticking slowest = new Ticking("slowest", clock, 3_000_000_000L);
    assertEquals(1, Alternation.of(fast, slowest, effort, () -> clock[0]).ratio().count());
    assertEquals(2, slowest.calls);
  }

  @Test
  void spread() {
    Spread spread = Spread.of(5, 1, 3, 2, 4);
    assertEquals(new Spread(3, 2, 4, 5), spread);
    assertEquals(2.5, Spread.of(1, 2, 3, 4).median());
    assertEquals(7, Spread.of(7).q3());
  }

  // ---- the model -----------------------------------------------------------------------------

  /** Which includes that Gatun's rows are PyTorch's. */
  @Test
  void encoders() {
    List<Map<String, Object>> rows = EncoderComparison.run(5, Alternation.Effort.ONCE);
    assertEquals(
        List.of("pytorch nn.TransformerEncoder", "pytorch functions"),
        rows.stream().map(row -> row.get("peer")).toList());
  }

  @Test
  void embeddings() {
    int[] ids = EmbeddingPeer.ids(7);
    for (EmbeddingPeer peer : EmbeddingPeer.all(ids, EmbeddingPeer.exact(ids))) {
      assertDoesNotThrow(() -> peer.calls(1));
      peer.close();
    }
  }

  @Test
  void garbageLoad() {
    List<Map<String, Object>> rows = GarbageLoad.run(7, 1, 0.05, 0);
    assertEquals(4, rows.size());
    for (Map<String, Object> row : rows) {
      boolean load = (boolean) row.get("load");
      double rate = (double) row.get("loadMegabytesPerSecond");
      assertEquals(load, rate > 0, row.toString());
      assertTrue((double) row.get("p999Ns") >= (double) row.get("p50Ns"), row.toString());
    }
  }
}
