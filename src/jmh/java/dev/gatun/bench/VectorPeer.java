package dev.gatun.bench;

import java.lang.invoke.MethodHandles;
import java.lang.invoke.MethodType;

/**
 * Java's Vector API. The kernel is a source root of its own, {@code src/jmh/vector}, as it needs
 * {@code --add-modules jdk.incubator.vector}; it is found by name.
 */
final class VectorPeer extends Peer {
  private static final String KERNEL = "dev.gatun.bench.vector.VectorAttention";

  private final Workload workload;
  private final float[] out;
  private final Runnable kernel;

  VectorPeer(Workload workload) {
    super("java-vector");
    this.workload = workload;
    Shape s = workload.shape;
    out = new float[Math.toIntExact(s.queryElements())];
    try {
      MethodHandles.Lookup lookup = MethodHandles.lookup();
      MethodType type =
          MethodType.methodType(
              void.class, float[].class, float[].class, float[].class, float[].class, int[].class);
      kernel =
          (Runnable)
              lookup
                  .findConstructor(lookup.findClass(KERNEL), type)
                  .invoke(
                      workload.q.toFloatArray(),
                      workload.k.toFloatArray(),
                      workload.v.toFloatArray(),
                      out,
                      new int[] {s.batch(), s.heads(), s.kvHeads(), s.seqQ(), s.seqK(), s.dim()});
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
      kernel.run();
    }
  }

  @Override
  public Workload.Answer answer() {
    kernel.run();
    return workload.answerIn(out);
  }

  @Override
  public boolean warmsUpSlowly() {
    return true;
  }
}
