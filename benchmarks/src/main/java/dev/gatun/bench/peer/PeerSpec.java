package dev.gatun.bench.peer;

import dev.gatun.bench.measure.Peer;
import dev.gatun.bench.measure.Point;
import dev.gatun.bench.measure.Shape;
import dev.gatun.bench.measure.Workload;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.function.Function;
import java.util.function.Supplier;

/**
 * A peer that the benchmarks know, whether or not it is there.
 *
 * @param name how reports call it
 * @param what what it is, for the report
 * @param maker makes it
 * @param absence says why it cannot run at all, null if it can
 * @param obstacle says why it cannot compute a point, null if it can
 * @param ownLayouts the layouts that it takes, the one that suits it best first
 */
public record PeerSpec(
    String name,
    String what,
    Function<Workload, Peer> maker,
    Supplier<String> absence,
    Function<Point, String> obstacle,
    Function<Shape, List<Point.Layout>> ownLayouts) {

  /** What all others are compared with: Gatun from Java. */
  public static final String GATUN = "gatun";

  /** What Gatun from Java is itself compared with: the same function from C. */
  public static final String GATUN_C = "gatun-c";

  private static final List<Point.Layout> BOTH = List.of(Point.Layout.BHSD, Point.Layout.BSHD);
  private static final List<Point.Layout> HEADS_FIRST = List.of(Point.Layout.BHSD);
  private static final List<Point.Layout> SEQUENCE_FIRST = List.of(Point.Layout.BSHD);

  /**
   * A malloc that keeps what it has: PyTorch allocates in every call, and fresh pages would be most
   * of its time. In bytes, as glibc reads no units here.
   */
  public static final Map<String, String> KEEPING_MALLOC =
      Map.of(
          "MALLOC_ARENA_MAX", "1",
          "MALLOC_MMAP_MAX_", "0",
          "MALLOC_TRIM_THRESHOLD_", Long.toString(16L << 30));

  /** All of them, in the order of the reports. */
  public static final List<PeerSpec> ALL =
      List.of(
          new PeerSpec(
              GATUN_C,
              "Gatun called from a loop in C; the baseline of its own rows, Gatun from Java the"
                  + " other",
              GatunPeer.FromC::new,
              () -> null,
              point -> null,
              shape -> BOTH),
          new PeerSpec(
              "onnxruntime-mha",
              "ONNX Runtime, com.microsoft.MultiHeadAttention",
              workload -> new OnnxPeer(workload, OnnxPeer.Operator.MULTI_HEAD),
              () -> null,
              point ->
                  point.shape().heads() == point.shape().kvHeads()
                      ? null
                      : "has no shared key heads",
              shape -> SEQUENCE_FIRST),
          new PeerSpec(
              "onnxruntime-attention",
              "ONNX Runtime, ai.onnx.Attention of opset 23",
              workload -> new OnnxPeer(workload, OnnxPeer.Operator.ATTENTION),
              () -> null,
              point -> null,
              shape -> BOTH),
          new PeerSpec(
              "onnxruntime-gqa",
              "ONNX Runtime, com.microsoft.GroupQueryAttention with its cache",
              workload -> new OnnxPeer(workload, OnnxPeer.Operator.GROUPED),
              () -> null,
              point -> point.causal() || point.shape().seqQ() == 1 ? null : "is always causal",
              shape -> shape.seqQ() == 1 ? HEADS_FIRST : SEQUENCE_FIRST),
          new PeerSpec(
              "pytorch",
              "PyTorch in JavaCPP's packing (OpenBLAS inside), scaled_dot_product_attention, with a"
                  + " malloc that keeps its memory",
              TorchPeer::new,
              PeerSpec::torchAbsence,
              point -> null,
              shape -> BOTH),
          new PeerSpec(
              "djl-pytorch",
              "PyTorch in DJL's packing (MKL inside), a TorchScript module of that function, with"
                  + " the same malloc",
              DjlPeer::new,
              DjlPeer::absence,
              point -> null,
              shape -> BOTH),
          new PeerSpec(
              "openblas",
              "OpenBLAS sgemm for each head, vectorized softmax in C, scratch used again",
              NaivePeer::new,
              () -> null,
              point -> null,
              shape -> BOTH),
          new PeerSpec(
              "java-vector",
              "Java's Vector API, four rows at a time",
              VectorPeer::new,
              () -> VectorPeer.isAvailable() ? null : "no module jdk.incubator.vector",
              point -> null,
              shape -> HEADS_FIRST),
          new PeerSpec(
              "java-scalar",
              "plain loops in Java, timed once",
              ScalarPeer::new,
              () -> null,
              point -> null,
              shape -> HEADS_FIRST));

  private static final List<Integer> QUICK_LENGTHS = List.of(512, 2048);
  private static final List<String> QUICK_SHAPES = List.of("tiny16", "pre512", "minilm", "dec4096");

  /** Scalar Java takes half a minute and more beyond. */
  private static final double SCALAR_FLOPS = 1e11;

  private static final double QUICK_SCALAR_FLOPS = 1e9;

  public static PeerSpec of(String name) {
    return ALL.stream().filter(each -> each.name.equals(name)).findFirst().orElseThrow();
  }

  private static String torchAbsence() {
    String natives =
        System.getProperty("os.arch").equals("aarch64") ? "linux-arm64" : "linux-x86_64";
    return ClassLoader.getSystemResource("org/bytedeco/pytorch/" + natives + "/libjnitorch.so")
            == null
        ? "no natives of org.bytedeco:pytorch for this platform"
        : null;
  }

  /** Says why a point is not timed, null if it is. */
  public String reasonAgainst(Point point, boolean quick) {
    String reason = absence.get();
    if (reason == null) {
      reason = obstacle.apply(point);
    }
    if (reason == null && point.threads() > Runtime.getRuntime().availableProcessors()) {
      reason = "needs more CPUs than there are";
    }
    double most = quick ? QUICK_SCALAR_FLOPS : SCALAR_FLOPS;
    if (reason == null && name.equals("java-scalar") && point.flops() > most) {
      reason = quick ? "not in a quick run" : "would take half a minute";
    }
    return reason;
  }

  /**
   * What it is asked to compute, the most telling first, so that a run that ends early is of use:
   * one thread in its own layout, lengths, its other layout, two threads.
   */
  public List<Point> points(boolean quick) {
    List<Point> points = new ArrayList<>();
    for (int threads = 1; threads <= (quick ? 1 : 2); threads++) {
      for (int layout = 0; layout < (quick ? 1 : 2); layout++) {
        for (int causal = 0; causal < 2; causal++) {
          for (Shape shape : Shape.PEERS) {
            boolean left = quick && !QUICK_SHAPES.contains(shape.name());
            if (!left && !(causal == 1 && shape.seqQ() == 1)) {
              add(points, shape, causal == 1, layout, threads);
            }
          }
        }
        if (threads == 1 && layout == 0) {
          for (Shape shape : Shape.LENGTHS) {
            boolean left = quick && !QUICK_LENGTHS.contains(shape.seqQ());
            for (int causal = 0; causal < 2 && !left; causal++) {
              add(points, shape, causal == 1, layout, threads);
            }
          }
        }
      }
    }
    return points;
  }

  private void add(List<Point> points, Shape shape, boolean causal, int layout, int threads) {
    List<Point.Layout> layouts = ownLayouts.apply(shape);
    if (layout < layouts.size()) {
      points.add(new Point(shape, causal, layouts.get(layout), threads));
    }
  }

  /** Whether its process gets {@link #KEEPING_MALLOC}. */
  public boolean wantsKeepingMalloc() {
    return name.endsWith("pytorch");
  }
}
