package dev.gatun.bench;

import dev.gatun.GatunRuntime;
import java.io.IOException;
import java.lang.foreign.Arena;
import java.nio.file.Path;
import java.time.Duration;
import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Locale;
import java.util.Map;
import java.util.function.Function;

/**
 * Every peer against Gatun, shape by shape, in alternation. A process of its own: {@code Comparison
 * FILE [quick] [NAME-PART]} writes a JSON array of rows.
 */
public final class Comparison {

  /** Flops beyond which a quick run leaves a shape out, and scalar Java. */
  private static final double QUICK_FLOPS = 2e10;

  private static final double QUICK_SCALAR_FLOPS = 1e9;

  private static final double VECTOR_WARM_SECONDS = 3;

  /** A way to make a peer, and why it cannot run a shape: null if it can. */
  private record Entry(
      String name, Function<Workload, Peer> maker, Function<Shape, String> obstacle) {}

  /** What all others are compared with: Gatun from Java. */
  static final String BASELINE = "gatun";

  /** What Gatun from Java is itself compared with: the same function from C. */
  static final String C = "gatun-c";

  private static final List<Entry> PEERS =
      List.of(
          new Entry(C, GatunPeer.FromC::new, shape -> null),
          new Entry("gatun-copying", GatunPeer.Copying::new, shape -> null),
          new Entry("gatun-critical", GatunPeer.Critical::new, Comparison::tinyOnly),
          new Entry("gatun-jni", GatunPeer.Jni::new, Comparison::tinyOnly),
          new Entry("gatun-jni-arrays", GatunPeer.JniArrays::new, Comparison::tinyOnly),
          new Entry("openblas", NaivePeer::new, Comparison::notEmpty),
          new Entry("onnxruntime", OnnxPeer::new, Comparison::notEmpty),
          new Entry(
              "java-vector",
              VectorPeer::new,
              shape ->
                  VectorPeer.isAvailable() ? notEmpty(shape) : "no module jdk.incubator.vector"),
          new Entry("java-scalar", ScalarPeer::new, Comparison::notEmpty));

  private final Alternation.Effort effort;
  private final boolean quick;
  private final List<Map<String, Object>> rows = new ArrayList<>();

  Comparison(Alternation.Effort effort, boolean quick) {
    this.effort = effort;
    this.quick = quick;
  }

  private static String notEmpty(Shape shape) {
    return shape.isEmpty() ? "has no way to be called with nothing" : null;
  }

  /** A critical call stops the garbage collector, so that it is no way to run a long one. */
  private static String tinyOnly(Shape shape) {
    return shape.name().startsWith("tiny") ? null : "only for tiny shapes";
  }

  /** Runs all peers on a shape and returns a row for each. */
  List<Map<String, Object>> run(Shape shape) {
    rows.clear();
    try (Workload workload = new Workload(shape, Arena.ofConfined());
        GatunPeer.FromJava gatun = new GatunPeer.FromJava(workload)) {
      workload.check(gatun.name, gatun.answer());
      for (Entry entry : PEERS) {
        String obstacle = entry.obstacle.apply(shape);
        if (obstacle != null && (shape.isEmpty() || entry.name.startsWith("gatun"))) {
          continue; // nobody expects that row
        }
        if (obstacle == null && quick) {
          boolean scalar = entry.name.equals("java-scalar");
          obstacle = scalar && shape.flops() > QUICK_SCALAR_FLOPS ? "not in a quick run" : null;
        }
        if (obstacle == null) {
          measure(workload, gatun, entry);
        } else {
          add(shape, BASELINE, entry.name).put("missing", obstacle);
        }
      }
    }
    return rows;
  }

  private void measure(Workload workload, GatunPeer.FromJava gatun, Entry entry) {
    Shape shape = workload.shape;
    try (Peer peer = entry.maker.apply(workload)) {
      Workload.Answer answer = peer.answer();
      workload.check(peer.name, answer);
      double before = peak(gatun.runtime());
      boolean c = entry.name.equals(C);
      Peer base = c ? peer : gatun;
      Peer other = c ? gatun : peer;
      Alternation times = Alternation.of(base, other, effort);
      double after = peak(gatun.runtime());
      Map<String, Object> row = add(shape, base.name, other.name);
      row.put("flops", shape.flops());
      row.put("error", workload.error(answer));
      row.put("peakFlopsPerSecond", (before + after) / 2);
      row.putAll(times.toMap());
      if (effort.pairs() > 1) {
        System.err.printf(
            Locale.ROOT,
            "%-11s %-22s %12.3f µs, %s %12.3f µs, ratio %.3f (%.3f … %.3f)%n",
            shape.name(),
            other.name,
            times.b().median() / 1e3,
            base.name,
            times.a().median() / 1e3,
            times.ratio().median(),
            times.ratio().q1(),
            times.ratio().q3());
      }
    }
  }

  private double peak(GatunRuntime runtime) {
    return runtime.peakFlops(
        Duration.ofNanos(Math.max(1_000_000, (long) (effort.windowSeconds() * 1e9))));
  }

  private Map<String, Object> add(Shape shape, String baseline, String peer) {
    Map<String, Object> row = new LinkedHashMap<>();
    row.put("shape", shape.name());
    row.put("baseline", baseline);
    row.put("peer", peer);
    rows.add(row);
    return row;
  }

  /** Vector code that is not compiled yet is a thousand times slower than it will be. */
  private static void warmVectorKernel() {
    if (VectorPeer.isAvailable()) {
      try (Workload workload = new Workload(Shape.of("s128d64"), Arena.ofConfined());
          Peer peer = new VectorPeer(workload)) {
        Alternation.warm(peer, new Alternation.Effort(0, 1, 0, VECTOR_WARM_SECONDS));
      }
    }
  }

  /**
   * Runs the comparison.
   *
   * @param args the file to write, {@code quick} or {@code full}, and a part of the shapes' names
   * @throws IOException if the file cannot be written
   */
  public static void main(String[] args) throws IOException {
    boolean quick = args[1].equals("quick");
    String part = args.length > 2 ? args[2] : "";
    Comparison comparison =
        new Comparison(quick ? Alternation.Effort.QUICK : Alternation.Effort.FULL, quick);
    warmVectorKernel();
    List<Object> all = new ArrayList<>();
    for (Shape shape : Shape.ALL) {
      boolean single = shape.heads() == 1 || shape.flops() > QUICK_FLOPS;
      if (shape.name().contains(part) && !(quick && single)) {
        all.addAll(List.copyOf(comparison.run(shape)));
      }
    }
    Json.write(Path.of(args[0]), all);
  }
}
