package dev.gatun.bench.run;

import com.sun.management.ThreadMXBean;
import dev.gatun.bench.measure.Alternation;
import dev.gatun.bench.measure.Json;
import dev.gatun.bench.measure.Peer;
import dev.gatun.bench.measure.Point;
import dev.gatun.bench.measure.Shape;
import dev.gatun.bench.measure.Workload;
import dev.gatun.bench.peer.GatunPeer;
import dev.gatun.bench.peer.PeerSpec;
import java.io.IOException;
import java.lang.foreign.Arena;
import java.lang.management.ManagementFactory;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Locale;
import java.util.Map;

/**
 * By how much a call makes the process grow at its peak: the result, scratch, and what the peer
 * allocates besides. Inputs are there before, and small calls have been made so that libraries are
 * loaded and Java is compiled. Resident memory tells it where that is off the Java heap; the heap
 * itself is resident from the start, and what is allocated there is counted and added.
 *
 * <p>A process of its own for each row: {@code MemoryRun FILE PEER LENGTH full|causal}, the JVM
 * with {@link #FLAGS}.
 */
public final class MemoryRun {

  /** A heap that is resident from the start. */
  public static final List<String> FLAGS =
      List.of("-Xms320m", "-Xmx320m", "-XX:+UseSerialGC", "-XX:+AlwaysPreTouch");

  private static final double WARM_SECONDS = 2;

  /** Every peer, Gatun from Java included. */
  public static final List<String> PEERS = peers();

  /** The length at which causal calls are measured as well. */
  public static final int LONGEST = 16_384;

  private static final int SHORTEST = 1024;
  private static final int QUICK = 2048;
  private static final int SMALL = 64;
  private static final double MEBI = 1 << 20;

  private MemoryRun() {}

  private static List<String> peers() {
    return PeerSpec.ALL.stream()
        .map(each -> each.name().equals(PeerSpec.GATUN_C) ? PeerSpec.GATUN : each.name())
        .toList();
  }

  /** A length and a mask. */
  public record Case(int length, boolean causal) {}

  /** What is measured of a peer: lengths without a mask, and the longest with one. */
  public static List<Case> cases(String peer, boolean quick) {
    List<Case> cases = new ArrayList<>();
    boolean causal = peer.equals("onnxruntime-gqa"); // it has no other
    for (int length = quick ? QUICK : SHORTEST; length <= (quick ? QUICK : LONGEST); length *= 2) {
      cases.add(new Case(length, causal));
    }
    if (!quick && !causal) {
      cases.add(new Case(LONGEST, true));
    }
    return cases;
  }

  private static Peer make(String peer, Workload workload) {
    return peer.equals(PeerSpec.GATUN)
        ? new GatunPeer.FromJava(workload)
        : PeerSpec.of(peer).maker().apply(workload);
  }

  private static Point point(String peer, int length, boolean causal) {
    Shape shape = Shape.ofLength(length);
    Point.Layout layout =
        peer.equals(PeerSpec.GATUN)
            ? Point.Layout.BHSD
            : PeerSpec.of(peer).ownLayouts().apply(shape).getFirst();
    return new Point(shape, causal, layout, 1);
  }

  /** What the result of a call takes. */
  public static long resultBytes(int length) {
    return Shape.ofLength(length).queryElements() * Float.BYTES;
  }

  /** A row without a number yet. */
  public static Map<String, Object> row(String peer, int length, boolean causal) {
    Map<String, Object> row = new LinkedHashMap<>();
    row.put("peer", peer);
    row.put("length", length);
    row.put("causal", causal);
    return row;
  }

  /** Says why there is nothing to measure, null if there is. */
  static String reasonAgainst(String peer, int length, boolean causal) {
    if (peer.equals(PeerSpec.GATUN)) {
      return null;
    }
    PeerSpec spec = PeerSpec.of(peer);
    String absence = spec.absence().get();
    return absence != null ? absence : spec.obstacle().apply(point(peer, length, causal));
  }

  /** Measures in this process. */
  static Map<String, Object> run(String peer, int length, boolean causal, double warmSeconds)
      throws IOException {
    Map<String, Object> row = row(peer, length, causal);
    String reason = reasonAgainst(peer, length, causal);
    if (reason != null) {
      row.put("missing", reason);
      return row;
    }
    try (Workload small = new Workload(point(peer, SMALL, causal), Arena.ofConfined());
        Peer first = make(peer, small)) {
      small.check(peer, first.answer());
      double seconds = first.warmsUpSlowly() ? warmSeconds : 0;
      Alternation.warm(first, new Alternation.Effort(0, 1, seconds, seconds, 1, 0));
    }
    ThreadMXBean threads = (ThreadMXBean) ManagementFactory.getThreadMXBean();
    try (Workload workload = new Workload(point(peer, length, causal), Arena.ofConfined())) {
      if (peer.startsWith("java")) {
        workload.onHeap();
      }
      System.gc();
      Files.writeString(Path.of("/proc/self/clear_refs"), "5"); // the peak begins anew from here
      long resident = status("VmRSS");
      long heap = threads.getCurrentThreadAllocatedBytes();
      try (Peer one = make(peer, workload)) {
        one.calls(1);
        heap = threads.getCurrentThreadAllocatedBytes() - heap;
        row.put("growthBytes", Math.max(0, status("VmHWM") - resident) + heap);
        row.put("heapBytes", heap);
      }
    }
    return row;
  }

  /** A number of /proc/self/status, in bytes. */
  private static long status(String name) throws IOException {
    for (String line : Files.readAllLines(Path.of("/proc/self/status"))) {
      if (line.startsWith(name + ":")) {
        return Long.parseLong(line.replaceAll("[^0-9]", "")) << 10;
      }
    }
    throw new IOException("/proc/self/status: no " + name);
  }

  /**
   * Runs the measurement.
   *
   * @param args the file to write, the peer's name, the length, {@code full} or {@code causal}
   * @throws IOException if a file cannot be read or written
   */
  public static void main(String[] args) throws IOException {
    Map<String, Object> row =
        run(args[1], Integer.parseInt(args[2]), args[3].equals("causal"), WARM_SECONDS);
    Json.write(Path.of(args[0]), row);
    System.err.printf(
        Locale.ROOT,
        "memory, %5s %-6s %-22s %s%n",
        args[2],
        args[3],
        args[1],
        row.containsKey("missing")
            ? "not measured: " + row.get("missing")
            : String.format(Locale.ROOT, "%.1f MiB", (long) row.get("growthBytes") / MEBI));
  }
}
