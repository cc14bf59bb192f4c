package dev.gatun.bench;

import java.lang.invoke.MethodHandles;
import java.lang.invoke.MethodType;

/**
 * Java's Vector API. The kernel is a source root of its own, {@code src/jmh/vector}, as it needs
 * {@code --add-modules jdk.incubator.vector}; it is found by name. Threads share the heads.
 */
final class VectorPeer extends Peer {
  private static final String KERNEL = "dev.gatun.bench.vector.VectorAttention";

  private final Workload workload;
  private final float[] out;
  private final Team team;

  VectorPeer(Workload workload) {
    super("java-vector");
    this.workload = workload;
    Point point = workload.point;
    out = new float[Math.toIntExact(workload.shape.queryElements())];
    Runnable[] parts = new Runnable[point.threads()];
    for (int i = 0; i < parts.length; i++) {
      parts[i] = kernel(workload.firstHead(i), workload.firstHead(i + 1));
    }
    team = new Team(parts);
  }

  private Runnable kernel(int first, int last) {
    float[][] inputs = workload.onHeap();
    try {
      MethodHandles.Lookup lookup = MethodHandles.lookup();
      MethodType type =
          MethodType.methodType(
              void.class,
              float[].class,
              float[].class,
              float[].class,
              float[].class,
              int[].class,
              boolean.class,
              int.class,
              int.class);
      return (Runnable)
          lookup
              .findConstructor(lookup.findClass(KERNEL), type)
              .invoke(
                  inputs[0],
                  inputs[1],
                  inputs[2],
                  out,
                  workload.sizes(),
                  workload.point.causal(),
                  first,
                  last);
    } catch (RuntimeException | Error e) {
      throw e;
    } catch (Throwable e) {
      throw new IllegalStateException("no class " + KERNEL, e);
    }
  }

  /** Whether this JVM was started so that the kernel can run. */
  static boolean isAvailable() {
    return ModuleLayer.boot().findModule("jdk.incubator.vector").isPresent();
  }

  @Override
  public void calls(long n) {
    for (long i = 0; i < n; i++) {
      team.run();
    }
  }

  @Override
  public Workload.Answer answer() {
    team.run();
    return workload.answerIn(out);
  }

  @Override
  public boolean warmsUpSlowly() {
    return true;
  }

  @Override
  public void close() {
    team.close();
  }
}
