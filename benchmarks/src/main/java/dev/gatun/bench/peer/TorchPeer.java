package dev.gatun.bench.peer;

import dev.gatun.bench.measure.Peer;
import dev.gatun.bench.measure.Point;
import dev.gatun.bench.measure.Shape;
import dev.gatun.bench.measure.Workload;
import dev.gatun.support.Torch;
import java.nio.ByteOrder;
import org.bytedeco.javacpp.FloatPointer;
import org.bytedeco.pytorch.DoubleOptional;
import org.bytedeco.pytorch.InferenceMode;
import org.bytedeco.pytorch.Tensor;
import org.bytedeco.pytorch.TensorOptional;
import org.bytedeco.pytorch.TensorOptions;
import org.bytedeco.pytorch.global.torch;
import org.bytedeco.pytorch.global.torch.ScalarType;

/**
 * PyTorch in JavaCPP's packing: {@code scaled_dot_product_attention} in inference mode, on the
 * workload's own memory; {@code [batch, seq, heads, dim]} by strides. The output is its own to
 * allocate and to free, which counts.
 */
final class TorchPeer extends Peer {
  private final Workload workload;
  private final boolean grouped;
  private final InferenceMode mode;
  private final Tensor q;
  private final Tensor k;
  private final Tensor v;
  private final TensorOptional none;
  private final DoubleOptional scale;

  TorchPeer(Workload workload) {
    super("pytorch");
    this.workload = workload;
    Torch.float32().close(); // loads it, and keeps OpenBLAS inside it from starting threads
    torch.set_num_threads(workload.point.threads());
    mode = new InferenceMode(true);
    q = tensor(workload.q);
    k = tensor(workload.k);
    v = tensor(workload.v);
    none = new TensorOptional();
    scale = new DoubleOptional();
    grouped = workload.shape.heads() != workload.shape.kvHeads();
  }

  private Tensor tensor(dev.gatun.Tensor x) {
    FloatPointer memory =
        new FloatPointer(x.segment().asByteBuffer().order(ByteOrder.nativeOrder()).asFloatBuffer());
    TensorOptions options = new TensorOptions(ScalarType.Float);
    if (workload.point.layout() == Point.Layout.BHSD) {
      return torch.from_blob(memory, x.shape(), options);
    }
    long[] shape = {x.size(0), x.size(2), x.size(1), x.size(3)};
    return torch.from_blob(memory, shape, options).transpose(1, 2);
  }

  private Tensor call() {
    return torch.scaled_dot_product_attention(
        q, k, v, none, 0, workload.point.causal(), scale, grouped);
  }

  @Override
  public void calls(long n) {
    for (long i = 0; i < n; i++) {
      call().close();
    }
  }

  @Override
  public Workload.Answer answer() {
    Shape s = workload.shape;
    try (Tensor result = call();
        Tensor rows = result.contiguous()) {
      float[] out = new float[Math.toIntExact(s.queryElements())];
      rows.data_ptr_float().get(out);
      return (b, h, i, c) -> out[((b * s.heads() + h) * s.seqQ() + i) * s.dim() + c];
    }
  }

  @Override
  public void close() {
    q.close();
    k.close();
    v.close();
    mode.close();
    torch.set_num_threads(1);
  }
}
