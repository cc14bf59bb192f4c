package dev.gatun.bench;

import static org.junit.jupiter.api.Assertions.assertDoesNotThrow;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertNotNull;
import static org.junit.jupiter.api.Assertions.assertNull;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;
import static org.junit.jupiter.api.Assumptions.assumeTrue;
import static org.junit.jupiter.api.DynamicTest.dynamicTest;

import java.awt.image.BufferedImage;
import java.io.IOException;
import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import java.lang.reflect.Method;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.function.Function;
import java.util.stream.Stream;
import javax.imageio.ImageIO;
import org.junit.jupiter.api.DynamicTest;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.TestFactory;
import org.junit.jupiter.api.io.TempDir;
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
          new Shape("square", 2, 6, 3, 37, 37, 32),
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
    for (Contender contender : Contender.ALL) {
      for (Shape shape : SMALL) {
        tests.add(
            dynamicTest(
                contender.name() + " " + shape.name(),
                () -> {
                  for (Point point : points(contender, shape)) {
                    check(point, contender.maker());
                  }
                }));
      }
    }
    return tests.stream();
  }

  /**
   * What the benchmarks could ask for: causal are squares only, as there is one way to read them.
   */
  private static List<Point> points(Contender contender, Shape shape) {
    List<Point> points = new ArrayList<>();
    boolean square = shape.seqQ() == shape.seqK();
    for (Point.Layout layout : contender.ownLayouts().apply(shape)) {
      for (boolean causal : square ? new boolean[] {false, true} : new boolean[] {false}) {
        for (int threads = 1; threads <= 2; threads++) {
          Point point = new Point(shape, causal, layout, threads);
          if (contender.absence().get() == null && contender.obstacle().apply(point) == null) {
            points.add(point);
          }
        }
      }
    }
    return points;
  }

  @Test
  void threadsOfATeamShareTheWork() {
    int[] done = new int[3];
    try (Team team = new Team(() -> done[0]++, () -> done[1]++, () -> done[2]++)) {
      for (int i = 0; i < 100; i++) {
        team.run();
        assertEquals(3 * (i + 1), done[0] + done[1] + done[2]);
      }
    }
    try (Team team =
        new Team(
            () -> {},
            () -> {
              throw new IllegalArgumentException("x");
            })) {
      assertEquals(
          "x", assertThrows(IllegalStateException.class, team::run).getCause().getMessage());
    }
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
        assertTrue(
            e.getMessage().startsWith("x, tiny16 full [B,H,S,D] ×1: wrong answer"), e.getMessage());
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

  // ---- comparisons ---------------------------------------------------------------------------

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

  @TestFactory
  Stream<DynamicTest> memory() {
    return MemoryRun.PEERS.stream()
        .map(
            peer ->
                dynamicTest(
                    peer,
                    () -> {
                      boolean causal = MemoryRun.cases(peer, true).getFirst().causal();
                      Map<String, Object> row = MemoryRun.run(peer, 96, causal, 0);
                      assertEquals(MemoryRun.reasonAgainst(peer, 96, causal), row.get("missing"));
                      if (row.get("missing") == null) {
                        assertTrue((long) row.get("growthBytes") >= 0, row.toString());
                      }
                    }));
  }

  // ---- reports -------------------------------------------------------------------------------

  @Test
  void reportAndPlotsOfAFullRun(@TempDir Path folder) throws IOException {
    Map<String, Object> made = SyntheticResults.make();
    Path from = Files.createDirectories(folder.resolve("from"));
    Path to = folder.resolve("to");
    assertThrows(IllegalStateException.class, () -> Publish.publish(from, to, false));
    Json.write(from.resolve("results.json"), made);
    assertEquals(from.resolve("results.json"), Publish.publish(from, to, false));
    String report = Files.readString(to.resolve("README.md"));
    String points = Files.readString(to.resolve(Report.POINTS));
    for (Shape shape : Shape.PEERS) {
      assertTrue(report.contains("| " + shape.name() + " |"), shape.name());
      assertTrue(points.contains("| " + shape.name() + " |"), shape.name());
    }
    for (Contender contender : Contender.ALL) {
      assertTrue(report.contains("| " + contender.name() + " |"), contender.name());
    }
    for (String part :
        List.of(
            "## Java against C",
            "### Causal, two threads",
            "### Where a peer is faster",
            "### Against the best peer",
            // the fastest of those that may: 93 % of the peak against their 70 %
            "| pre4096 | none | 1.33 onnxruntime-mha | 1.86 | 2.51 |",
            // it has no shared heads for others, and this row was disturbed
            "| gqa1024 | none | 1.50~ onnxruntime-attention | 1.86 | 2.51 |",
            "### Undisturbed pairs",
            "and **~** marks the number",
            "| undisturbedFrom | ",
            "| gauge, one thread | 5.90 instructions a cycle (median of rows), ",
            "### What a call costs",
            "| tiny16q0 | shared | ",
            "### C, [B,S,H,D], causal",
            "| s512d64 | 1 × 1 heads, 512 × 512, d 64 | 400.00 µs (396.00 µs … 404.00 µs) | 167.8 |"
                + " 80.0 %~ (79.2 % … 80.8 %) | 2 of 22 | 9.0e-08 |",
            "| onnxruntime-gqa | is always causal |",
            "| djl-pytorch | its process ended with exit code 134: terminate called |",
            "| 16384 |",
            "java-scalar: not measured, its process was ended after 900 s (8192, 16384, 16384"
                + " causal).")) {
      assertTrue(report.contains(part), part);
    }
    for (String name :
        List.of("commit", "date", "cpu", "tier", "threads", "openblasCore", "openblasConfig")) {
      assertTrue(report.contains("| " + name + " | "), name);
    }
    assertTrue(points.contains("~ |"), "marked");
    assertTrue(points.contains(" | 3 of 22 | 4.60 |"), "counted");
    assertTrue(points.contains(" | 15 of 15 | 5.90 |"), "counted");
    // the stored results give the same page, and nothing else is needed
    String json = Files.readString(to.resolve("results.json"));
    Files.delete(from.resolve("results.json"));
    Publish.publish(from, to, false);
    assertEquals(report, Files.readString(to.resolve("README.md")));
    assertEquals(json, Files.readString(to.resolve("results.json")));
    assumeTrue(Plots.hasFonts(), "the JDK finds no fonts");
    for (String name :
        List.of(
            "roofline",
            "share",
            "share-causal",
            "share-2-threads",
            "share-causal-2-threads",
            "time",
            "time-causal",
            "causal",
            "memory")) {
      BufferedImage image = ImageIO.read(to.resolve(name + ".png").toFile());
      assertEquals(1200, image.getWidth(), name);
      assertEquals(800, image.getHeight(), name);
      String svg = Files.readString(to.resolve(name + ".svg"));
      assertTrue(svg.contains(">gatun<"), name);
      assertEquals(!name.contains("2"), report.contains("(" + name + ".svg)"), name);
      if (name.equals("roofline") || name.startsWith("share")) {
        for (Shape shape : Shape.PEERS) {
          boolean shown = shape.seqQ() > 1 || !name.contains("causal");
          assertEquals(shown, svg.contains(">" + shape.name() + "<"), name + " " + shape.name());
        }
      }
    }
  }

  @Test
  void resultsOfAQuickRunArePublishedOnRequest(@TempDir Path folder) throws IOException {
    Map<String, Object> results = new LinkedHashMap<>();
    results.put("mode", "quick");
    results.put("environment", Map.of("commit", "unknown"));
    Json.write(folder.resolve("results.json"), results);
    Path to = folder.resolve("to");
    IllegalStateException e =
        assertThrows(IllegalStateException.class, () -> Publish.publish(folder, to, false));
    assertTrue(e.getMessage().endsWith("is of a quick run; QUICK=1 takes it all the same"));
    Publish.publish(folder, to, true);
    assertTrue(Files.readString(to.resolve("README.md")).startsWith("# Benchmarks\n"));
  }

  // ---- times ---------------------------------------------------------------------------------

  /** Takes a time by a clock that only it moves. */
  private static class Ticking extends Peer {
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

  private static Alternation times(
      Peer a, Peer b, Alternation.Effort effort, double known, long[] clock) {
    return Alternation.of(
        a, b, effort, 0, known, window -> {}, Alternation.Watch.NONE, () -> clock[0]);
  }

  @Test
  void alternationComparesTimesOfACall() {
    long[] clock = new long[1];
    Ticking a = new Ticking("a", clock, 1_000);
    Ticking b = new Ticking("b", clock, 1_500);
    Alternation.Effort effort = new Alternation.Effort(0.001, 9, 0.01, 0.01, 1, 1);
    List<Double> windows = new ArrayList<>();
    Alternation times =
        Alternation.of(a, b, effort, 0, 0, windows::add, Alternation.Watch.NONE, () -> clock[0]);
    assertEquals(1.5, times.ratio().median(), 1e-9);
    assertEquals(500, times.difference().median(), 1e-6);
    assertEquals(9, times.ratio().count());
    assertTrue(
        a.calls >= 10_000 + 9 * 1000, () -> "" + a.calls); // warm for 10 ms, 9 windows of 1 ms
    assertEquals(List.of(0.001, 0.001), windows);
  }

  @Test
  void everySampleHasATurn() {
    long[] clock = new long[1];
    Ticking a = new Ticking("a", clock, 1_000);
    Ticking b = new Ticking("b", clock, 1_500);
    List<Long> callsBefore = new ArrayList<>();
    Alternation.Around around =
        new Alternation.Around() {
          @Override
          public void window(double seconds) {}

          @Override
          public void turn() {
            callsBefore.add(a.calls - b.calls);
          }
        };
    Alternation.Effort effort = new Alternation.Effort(0, 3, 0, 0, 1, 1);
    Alternation.of(a, b, effort, 0, 0, around, Alternation.Watch.NONE, () -> clock[0]);
    long start = callsBefore.getFirst(); // then one has had its sample, then both
    assertEquals(List.of(start, start + 1, start, start + 1, start, start + 1), callsBefore);
  }

  @Test
  void slowPeersGetFewerPairs() {
    long[] clock = new long[1];
    Alternation.Effort effort = new Alternation.Effort(0.001, 15, 0, 0, 1, 5);
    Ticking fast = new Ticking("fast", clock, 1_000);
    Ticking slower = new Ticking("slower", clock, 2_500);
    assertEquals(5, times(fast, slower, effort, 0, clock).ratio().count());
    // long calls: as many as the time allows, but five
    Ticking half = new Ticking("half", clock, 250_000_000);
    assertEquals(10, times(half, half, effort, 0, clock).ratio().count());
    Ticking long2 = new Ticking("long", clock, 2_000_000_000);
    assertEquals(5, times(long2, long2, effort, 0, clock).ratio().count());
    // one sample, and no other call where one was made before
    Ticking once =
        new Ticking("once", clock, 3_000_000_000L) {
          @Override
          public boolean isTimedOnce() {
            return true;
          }
        };
    assertEquals(1, times(fast, once, effort, 3, clock).ratio().count());
    assertEquals(1, once.calls);
  }

  /** Says what it is told, the last for ever. */
  private static final class Told implements Alternation.Watch {
    private final double[] gauges;
    private int asked;
    private int moves;
    private int spent;
    private double left = 100;

    Told(double... gauges) {
      this.gauges = gauges;
    }

    @Override
    public double instructionsPerCycle() {
      return gauges[Math.min(asked++, gauges.length - 1)];
    }

    @Override
    public double undisturbed() {
      return 5;
    }

    @Override
    public boolean move() {
      moves++;
      return false;
    }

    @Override
    public boolean spend(double seconds) {
      spent++;
      left -= seconds;
      return left >= 0;
    }
  }

  private static Alternation watched(Alternation.Watch watch, int pairs, long... nanos) {
    long[] clock = new long[1];
    Peer steady = new Ticking("steady", clock, 1_000_000);
    Peer varying =
        new Peer("varying") {
          private int call = -2; // warm, and how many calls make a window

          @Override
          public void calls(long n) {
            clock[0] += n * nanos[Math.clamp(call++, 0, nanos.length - 1)];
          }

          @Override
          public Workload.Answer answer() {
            throw new AssertionError("not asked for");
          }
        };
    Alternation.Effort effort = new Alternation.Effort(0.0015, pairs, 0, 0, 1, 3);
    return Alternation.of(steady, varying, effort, 0, 0, window -> {}, watch, () -> clock[0]);
  }

  @Test
  void disturbedPairsAreLeftOutWhereEnoughAreNot() {
    // the gauge falls around the third and the fourth pair, which are between two gauges each
    Told watch = new Told(6, 6, 6, 4, 6);
    Alternation times = watched(watch, 9, 1_500_000, 1_500_000, 9_000_000, 9_000_000, 1_500_000);
    assertEquals(9, times.pairs());
    assertEquals(7, times.undisturbed());
    assertEquals(7, times.ratio().count());
    assertEquals(7, times.a().count());
    assertEquals(1.5, times.ratio().q3(), 1e-9);
    assertEquals(6, times.instructionsPerCycle().median());
    assertEquals(0, watch.spent);
    assertEquals(2, watch.moves, "once before all, once when the gauge fell");
  }

  /** Slow or fast: what is chosen does not depend on it. */
  @Test
  void timesDoNotDecideWhichPairsCount() {
    Told watch = new Told(6);
    Alternation times = watched(watch, 9, 1_500_000, 9_000_000, 1_500_000);
    assertEquals(9, times.undisturbed());
    assertEquals(9, times.ratio().count());
  }

  @Test
  void whereTooFewPairsAreUndisturbedAllCount() {
    Told watch = new Told(6, 6, 6, 6, 6, 4);
    Alternation times = watched(watch, 9, 1_500_000);
    assertEquals(13, times.pairs(), "half as many again");
    assertEquals(4, times.undisturbed());
    assertEquals(13, times.ratio().count());
    assertTrue(Results.isDisturbed(times.ratio(), times.undisturbed()));
    // no time for more
    watch = new Told(4);
    watch.left = 0;
    times = watched(watch, 9, 1_500_000);
    assertEquals(9, times.pairs());
    assertEquals(9, times.ratio().count());
    // the fifth undisturbed pair ends it
    times = watched(new Told(4, 4, 4, 4, 4, 4, 4, 6), 9, 1_500_000);
    assertEquals(12, times.pairs());
    assertEquals(5, times.ratio().count());
    // few were wanted
    assertTrue(Alternation.isEnough(3, 3));
    assertEquals(3, watched(new Told(6), 3, 1_500_000).undisturbed());
  }

  @Test
  void withoutAGaugeAllPairsCount() {
    Alternation times = watched(Alternation.Watch.NONE, 9, 1_500_000);
    assertEquals(9, times.pairs());
    assertEquals(-1, times.undisturbed());
    assertEquals(9, times.ratio().count());
    assertNull(times.toMap().get("undisturbed"));
    assertEquals(9, times.toMap().get("pairs"));
  }

  @Test
  void theGaugeIsThatOfTheCore() {
    double rate = BenchLibrary.instructionsPerCycle(0.001);
    assertEquals(!System.getProperty("os.arch").equals("amd64"), Double.isNaN(rate));
    assertTrue(Double.isNaN(rate) || rate > 0 && rate < 16, "" + rate);
    assertTrue(BenchLibrary.undisturbed() > 0);
    try (Neighbour neighbour = Neighbour.pinning()) {
      neighbour.move();
    }
    assertFalse(Neighbour.watching().move());
    assertFalse(BenchLibrary.pin(-1));
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
