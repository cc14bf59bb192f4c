package dev.gatun.bench;

import dev.gatun.Tensor;
import java.lang.invoke.MethodHandles;
import java.lang.invoke.MethodType;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.util.function.Supplier;

/**
 * PyTorch in DJL's packing. What calls it is a source root of its own, {@code src/jmh/djl}, as its
 * jars are large and only there in profile {@code djl}; it is found by name.
 */
final class DjlPeer extends Peer {
  private static final String KERNEL = "dev.gatun.bench.djl.DjlAttention";

  private final Workload workload;
  private final Object kernel;
  private final Runnable call;

  DjlPeer(Workload workload) {
    super("djl-pytorch");
    this.workload = workload;
    Point point = workload.point;
    boolean seqFirst = point.layout() == Point.Layout.BSHD;
    Tensor[] inputs = {workload.q, workload.k, workload.v};
    ByteBuffer[] buffers = new ByteBuffer[inputs.length];
    long[][] sizes = new long[inputs.length][];
    for (int i = 0; i < inputs.length; i++) {
      buffers[i] = inputs[i].segment().asByteBuffer().order(ByteOrder.nativeOrder());
      sizes[i] = (seqFirst ? inputs[i].transpose(1, 2) : inputs[i]).shape();
    }
    boolean grouped = point.shape().heads() != point.shape().kvHeads();
    MethodType type =
        MethodType.methodType(
            void.class,
            ByteBuffer[].class,
            long[][].class,
            boolean.class,
            boolean.class,
            boolean.class,
            int.class);
    try {
      MethodHandles.Lookup lookup = MethodHandles.lookup();
      kernel =
          lookup
              .findConstructor(lookup.findClass(KERNEL), type)
              .invoke(buffers, sizes, seqFirst, point.causal(), grouped, point.threads());
    } catch (Throwable e) {
      throw new IllegalStateException(e.toString(), e);
    }
    call = (Runnable) kernel;
  }

  /** Why it cannot run, or null: its jars were not found when the benchmarks were started. */
  static String absence() {
    return ClassLoader.getSystemResource("ai/djl/pytorch/engine/PtEngine.class") == null
            || ClassLoader.getSystemResource(KERNEL.replace('.', '/') + ".class") == null
        ? "DJL's PyTorch is not on the class path"
        : null;
  }

  @Override
  public void calls(long n) {
    for (long i = 0; i < n; i++) {
      call.run();
    }
  }

  @Override
  public Workload.Answer answer() {
    Shape s = workload.shape;
    float[] out = (float[]) ((Supplier<?>) kernel).get();
    return (b, h, i, c) -> out[((b * s.heads() + h) * s.seqQ() + i) * s.dim() + c];
  }

  @Override
  public void close() {
    try {
      ((AutoCloseable) kernel).close();
    } catch (Exception e) {
      throw new IllegalStateException(e);
    }
  }
}
