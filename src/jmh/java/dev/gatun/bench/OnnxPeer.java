package dev.gatun.bench;

import ai.onnxruntime.OnnxTensor;
import ai.onnxruntime.OrtEnvironment;
import ai.onnxruntime.OrtException;
import ai.onnxruntime.OrtSession;
import dev.gatun.DType;
import dev.gatun.Tensor;
import dev.gatun.support.OnnxModel;
import java.nio.ByteOrder;
import java.nio.FloatBuffer;
import java.util.LinkedHashMap;
import java.util.Map;

/**
 * ONNX Runtime, one thread: a model of one node, {@code com.microsoft.MultiHeadAttention}, or
 * {@code ai.onnx.Attention} of opset 23 where key heads are fewer, which the former does not have.
 * Inputs are off-heap {@code [batch, seq, heads · dim]} as the operators want them; the output is
 * theirs to allocate and free.
 */
final class OnnxPeer extends Peer {
  private final Workload workload;
  private final OrtSession session;
  private final Map<String, OnnxTensor> inputs = new LinkedHashMap<>();

  OnnxPeer(Workload workload) {
    super(grouped(workload.shape) ? "onnxruntime-attention" : "onnxruntime-mha");
    this.workload = workload;
    Shape s = workload.shape;
    OnnxModel model =
        grouped(s)
            ? new OnnxModel("", 23, "Attention", "out")
                .attribute("q_num_heads", s.heads())
                .attribute("kv_num_heads", s.kvHeads())
            : new OnnxModel("com.microsoft", 1, "MultiHeadAttention", "out")
                .attribute("num_heads", s.heads());
    try (OrtSession.SessionOptions options = new OrtSession.SessionOptions()) {
      input(model, "q", workload.q);
      input(model, "k", workload.k);
      input(model, "v", workload.v);
      options.setIntraOpNumThreads(1);
      options.setInterOpNumThreads(1);
      session = OrtEnvironment.getEnvironment().createSession(model.bytes(), options);
    } catch (OrtException e) {
      throw failed(e);
    }
  }

  private static boolean grouped(Shape shape) {
    return shape.heads() != shape.kvHeads();
  }

  private void input(OnnxModel model, String name, Tensor heads) throws OrtException {
    Tensor rows =
        Tensor.allocate(
            workload.arena,
            DType.FLOAT32,
            heads.size(0),
            heads.size(2),
            heads.size(1),
            heads.size(3));
    rows.copyFrom(heads.transpose(1, 2));
    long[] shape = {heads.size(0), heads.size(2), heads.size(1) * heads.size(3)};
    FloatBuffer buffer =
        rows.segment().asByteBuffer().order(ByteOrder.nativeOrder()).asFloatBuffer();
    inputs.put(name, OnnxTensor.createTensor(OrtEnvironment.getEnvironment(), buffer, shape));
    model.input(name, OnnxModel.FLOAT, shape);
  }

  @Override
  public void calls(long n) {
    try {
      for (long i = 0; i < n; i++) {
        session.run(inputs).close();
      }
    } catch (OrtException e) {
      throw failed(e);
    }
  }

  @Override
  public Workload.Answer answer() {
    Shape s = workload.shape;
    try (OrtSession.Result result = session.run(inputs)) {
      FloatBuffer buffer = ((OnnxTensor) result.get(0)).getFloatBuffer();
      float[] out = new float[buffer.remaining()];
      buffer.get(out);
      return (b, h, i, c) -> out[((b * s.seqQ() + i) * s.heads() + h) * s.dim() + c];
    } catch (OrtException e) {
      throw failed(e);
    }
  }

  static IllegalStateException failed(OrtException e) {
    return new IllegalStateException("ONNX Runtime: " + e.getMessage(), e);
  }

  @Override
  public void close() {
    try {
      inputs.values().forEach(OnnxTensor::close);
      session.close();
    } catch (OrtException e) {
      throw failed(e);
    }
  }
}
