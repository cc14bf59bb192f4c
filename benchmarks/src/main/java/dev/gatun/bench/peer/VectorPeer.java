package dev.gatun.bench.peer;

import dev.gatun.bench.measure.Peer;
import dev.gatun.bench.measure.Point;
import dev.gatun.bench.measure.WorkerGroup;
import dev.gatun.bench.measure.Workload;

/**
 * Java's Vector API, in a JVM with {@code --add-modules jdk.incubator.vector}. Threads share the
 * heads.
 */
public final class VectorPeer extends Peer {
  private final Workload workload;
  private final float[] out;
  private final WorkerGroup workers;

  public VectorPeer(Workload workload) {
    super("java-vector");
    this.workload = workload;
    Point point = workload.point;
    out = new float[Math.toIntExact(workload.shape.queryElements())];
    Runnable[] parts = new Runnable[point.threads()];
    for (int i = 0; i < parts.length; i++) {
      parts[i] = kernel(workload.firstHead(i), workload.firstHead(i + 1));
    }
    workers = new WorkerGroup(parts);
  }

  private Runnable kernel(int first, int last) {
    float[][] inputs = workload.onHeap();
    return new VectorAttention(
        inputs[0],
        inputs[1],
        inputs[2],
        out,
        workload.sizes(),
        workload.point.causal(),
        first,
        last);
  }

  /** Whether this JVM was started so that the kernel can run. */
  static boolean isAvailable() {
    return ModuleLayer.boot().findModule("jdk.incubator.vector").isPresent();
  }

  @Override
  public void calls(long n) {
    for (long i = 0; i < n; i++) {
      workers.run();
    }
  }

  @Override
  public Workload.Answer answer() {
    workers.run();
    return workload.answerIn(out);
  }

  @Override
  public boolean warmsUpSlowly() {
    return true;
  }

  @Override
  public void close() {
    workers.close();
  }
}
