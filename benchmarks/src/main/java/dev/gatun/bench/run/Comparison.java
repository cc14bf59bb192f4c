package dev.gatun.bench.run;

import dev.gatun.bench.measure.Alternation;
import dev.gatun.bench.measure.CoreContention;
import dev.gatun.bench.measure.Json;
import dev.gatun.bench.measure.Peer;
import dev.gatun.bench.measure.Point;
import dev.gatun.bench.measure.Quartiles;
import dev.gatun.bench.measure.Roofs;
import dev.gatun.bench.measure.Shape;
import dev.gatun.bench.measure.Workload;
import dev.gatun.bench.peer.GatunPeer;
import dev.gatun.bench.peer.PeerSpec;
import dev.gatun.bench.peer.VectorPeer;
import java.io.IOException;
import java.lang.foreign.Arena;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Locale;
import java.util.Map;

/**
 * One peer against Gatun, point by point, in alternation. A process of its own: {@code Comparison
 * FILE quick|full PEER} writes a JSON array of rows, anew after every point.
 */
public final class Comparison {

  private static final double VECTOR_WARM_SECONDS = 3;

  private final PeerSpec spec;
  private final Alternation.Effort effort;
  private final Roofs roofs;
  private final boolean quick;

  Comparison(PeerSpec spec, Alternation.Effort effort, Roofs roofs) {
    this.spec = spec;
    this.effort = effort;
    this.roofs = roofs;
    this.quick = effort.equals(Alternation.Effort.QUICK);
  }

  /** Returns the row of a point, which says so where there is nothing to time. */
  Map<String, Object> run(Point point) {
    String reason = spec.reasonAgainst(point, quick);
    if (reason == null) {
      try {
        return measure(point, Arena.ofConfined());
      } catch (WrongBaseline e) {
        throw e;
      } catch (RuntimeException e) {
        reason = e.getMessage() == null ? e.toString() : e.getMessage();
      }
    }
    return missing(spec, point, reason);
  }

  /** A row that says why there are no times. */
  public static Map<String, Object> missing(PeerSpec spec, Point point, String reason) {
    Map<String, Object> row = new LinkedHashMap<>();
    boolean c = spec.name().equals(PeerSpec.GATUN_C);
    row.put("peer", c ? PeerSpec.GATUN : spec.name());
    row.put("baseline", c ? PeerSpec.GATUN_C : PeerSpec.GATUN);
    point.describeIn(row);
    row.put("missing", reason.lines().findFirst().orElse("unknown"));
    return row;
  }

  /** Gatun's answer is wrong: nothing else is worth a look then. */
  private static final class WrongBaseline extends RuntimeException {
    private static final long serialVersionUID = 1;

    WrongBaseline(String message) {
      super(message);
    }
  }

  /**
   * After so long idle threads of the other have stopped spinning on a CPU that is wanted: those of
   * ONNX Runtime were seen to take CPU time 20 ms after a call, and none after 50.
   */
  public static final long REST_MILLIS = 50;

  /** Means over the windows before and after the pairs. */
  private static final class Around implements Alternation.Around {
    private final Roofs roofs;
    private final int threads;
    private final List<Roofs.Height> heights = new ArrayList<>();

    Around(Roofs roofs, int threads) {
      this.roofs = roofs;
      this.threads = threads;
    }

    @Override
    public void window(double seconds) {
      heights.add(roofs.measure(threads, seconds));
    }

    @Override
    public void turn() {
      if (threads > 1) {
        try {
          Thread.sleep(REST_MILLIS);
        } catch (InterruptedException e) {
          throw new IllegalStateException(e);
        }
      }
    }

    double flopsPerSecond() {
      return heights.stream().mapToDouble(Roofs.Height::flopsPerSecond).average().orElseThrow();
    }

    double bytesPerSecond() {
      return heights.stream().mapToDouble(Roofs.Height::bytesPerSecond).average().orElseThrow();
    }
  }

  /** The kinds of arenas that rows of calls are about; all other tensors lie in a confined one. */
  public static final List<String> ARENAS = List.of("confined", "shared");

  /** What such rows compute: nothing, and next to nothing. */
  public static final List<Shape> CALLS = List.of(Shape.of("tiny16q0"), Shape.of("tiny16"));

  /** Returns a row about what a call costs while all tensors lie in one arena of a kind. */
  Map<String, Object> call(Shape shape, String kind) {
    Arena arena = kind.equals(ARENAS.getLast()) ? Arena.ofShared() : Arena.ofConfined();
    Map<String, Object> row = new LinkedHashMap<>(measure(Point.of(shape), arena));
    row.put("arena", kind);
    return row;
  }

  private Map<String, Object> measure(Point point, Arena arena) {
    try (Workload workload = new Workload(point, arena);
        GatunPeer.FromJava gatun = new GatunPeer.FromJava(workload)) {
      try {
        workload.check(gatun.name, gatun.answer());
      } catch (IllegalStateException e) {
        throw new WrongBaseline(e.getMessage());
      }
      try (Peer peer = spec.maker().apply(workload);
          // after the peer: its threads are not to inherit a single CPU
          CoreContention contention =
              point.threads() == 1 ? CoreContention.pinning() : CoreContention.watching()) {
        long begin = System.nanoTime();
        Workload.Answer answer = peer.answer();
        double known = (System.nanoTime() - begin) * 1e-9;
        workload.check(peer.name, answer);
        boolean c = spec.name().equals(PeerSpec.GATUN_C);
        Around around = new Around(roofs, point.threads());
        Alternation times =
            Alternation.of(
                c ? peer : gatun,
                c ? gatun : peer,
                effort,
                0,
                c ? 0 : known,
                around,
                contention,
                System::nanoTime);
        Map<String, Object> row = new LinkedHashMap<>();
        row.put("peer", c ? gatun.name : peer.name);
        row.put("baseline", c ? peer.name : gatun.name);
        point.describeIn(row);
        row.put("error", workload.error(answer));
        row.put("peakFlopsPerSecond", Quartiles.rounded(around.flopsPerSecond()));
        row.put("readBytesPerSecond", Quartiles.rounded(around.bytesPerSecond()));
        row.putAll(times.toMap());
        return row;
      }
    }
  }

  /** Makes the JIT compile the way to both, which is most of a short call while it is not. */
  private void warm(double seconds) {
    Point point = null;
    for (Point each : spec.points(quick)) {
      if (point == null && spec.reasonAgainst(each, quick) == null) {
        point = each;
      }
    }
    if (point == null) {
      return;
    }
    Alternation.Effort warming = new Alternation.Effort(0, 1, seconds, seconds, 1, 0);
    try (Workload workload = new Workload(point, Arena.ofConfined());
        Peer gatun = new GatunPeer.FromJava(workload);
        Peer peer = spec.maker().apply(workload)) {
      Alternation.warm(gatun, warming);
      Alternation.warm(peer, warming);
    } catch (RuntimeException e) {
      System.err.println(e.getMessage()); // the rows will say so, too
    }
  }

  private static void say(Map<String, Object> row) {
    String where =
        String.format(
            Locale.ROOT,
            "%-11s %-6s %s ×%s %-22s",
            row.get("shape"),
            row.get("causal").equals(true) ? "causal" : "full",
            row.get("layout"),
            row.get("threads"),
            row.get("peer"));
    if (row.containsKey("missing")) {
      System.err.printf(Locale.ROOT, "%s not timed: %s%n", where, row.get("missing"));
      return;
    }
    Map<?, ?> ratio = (Map<?, ?>) row.get("ratio");
    System.err.printf(
        Locale.ROOT,
        "%s %12.3f µs, %s %12.3f µs, ratio %.3f (%.3f … %.3f), undisturbed %s of %s%n",
        where,
        (double) ((Map<?, ?>) row.get("peerNs")).get("median") / 1e3,
        row.get("baseline"),
        (double) ((Map<?, ?>) row.get("baselineNs")).get("median") / 1e3,
        (double) ratio.get("median"),
        (double) ratio.get("q1"),
        (double) ratio.get("q3"),
        row.getOrDefault("undisturbed", "?"),
        row.get("pairs"));
  }

  /** Vector code that is not compiled yet is a thousand times slower than it will be. */
  private static void warmVectorKernel() {
    for (boolean causal : new boolean[] {false, true}) {
      Point point = new Point(Shape.of("s128d64"), causal, Point.Layout.BHSD, 1);
      try (Workload workload = new Workload(point, Arena.ofConfined());
          Peer peer = new VectorPeer(workload)) {
        Alternation.warm(peer, new Alternation.Effort(0, 1, 0, VECTOR_WARM_SECONDS / 2, 1, 0));
      }
    }
  }

  /**
   * Runs the comparison.
   *
   * @param args the file to write, {@code quick} or {@code full}, and the peer's name
   * @throws IOException if the file cannot be written
   */
  public static void main(String[] args) throws IOException {
    Path file = Path.of(args[0]);
    boolean quick = args[1].equals("quick");
    PeerSpec spec = PeerSpec.of(args[2]);
    if (spec.name().equals("java-vector") && spec.absence().get() == null) {
      warmVectorKernel();
    }
    List<Object> rows = new ArrayList<>();
    try (Roofs roofs = new Roofs()) {
      Comparison comparison =
          new Comparison(spec, quick ? Alternation.Effort.QUICK : Alternation.Effort.FULL, roofs);
      comparison.warm(quick ? 0.3 : 2);
      for (Point point : spec.points(quick)) {
        Map<String, Object> row = comparison.run(point);
        say(row);
        rows.add(row);
        Json.write(file, rows);
      }
      if (spec.name().equals(PeerSpec.GATUN_C)) {
        for (String arena : ARENAS) {
          for (Shape shape : CALLS) {
            Map<String, Object> row = comparison.call(shape, arena);
            say(row);
            rows.add(row);
          }
        }
        Json.write(file, rows);
      }
    }
  }
}
