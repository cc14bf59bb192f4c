package dev.gatun.bench.peer;

import dev.gatun.Tensor;
import dev.gatun.bench.measure.Peer;
import dev.gatun.bench.measure.Point;
import dev.gatun.bench.measure.Shape;
import dev.gatun.bench.measure.Workload;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;

/**
 * PyTorch in DJL's packing. Its natives are large, and on the class path only in profile {@code
 * djl}.
 */
final class DjlPeer extends Peer {
  private static final String NATIVES = "pytorch/cpu/linux-x86_64/libtorch.so";

  private final Workload workload;
  private final DjlAttention attention;

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
    try {
      attention =
          new DjlAttention(buffers, sizes, seqFirst, point.causal(), grouped, point.threads());
    } catch (Exception | LinkageError e) {
      throw new IllegalStateException(e.toString(), e);
    }
  }

  /** Why it cannot run, or null: its natives were not found when the benchmarks were started. */
  static String absence() {
    return ClassLoader.getSystemResource(NATIVES) == null
        ? "DJL's PyTorch is not on the class path"
        : null;
  }

  @Override
  public void calls(long n) {
    for (long i = 0; i < n; i++) {
      attention.run();
    }
  }

  @Override
  public Workload.Answer answer() {
    Shape s = workload.shape;
    float[] out = attention.get();
    return (b, h, i, c) -> out[((b * s.heads() + h) * s.seqQ() + i) * s.dim() + c];
  }

  @Override
  public void close() {
    attention.close();
  }
}
