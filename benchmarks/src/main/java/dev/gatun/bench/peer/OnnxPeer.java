package dev.gatun.bench.peer;

import ai.onnxruntime.OnnxTensor;
import ai.onnxruntime.OrtEnvironment;
import ai.onnxruntime.OrtException;
import ai.onnxruntime.OrtSession;
import dev.gatun.DType;
import dev.gatun.Tensor;
import dev.gatun.bench.measure.Peer;
import dev.gatun.bench.measure.Point;
import dev.gatun.bench.measure.Shape;
import dev.gatun.bench.measure.Workload;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import java.nio.ByteOrder;
import java.nio.FloatBuffer;
import java.nio.IntBuffer;
import java.util.Arrays;
import java.util.LinkedHashMap;
import java.util.Map;
import java.util.Set;

/**
 * ONNX Runtime: a model of one node. Inputs are off-heap where the operator wants them; the output
 * is its own to allocate and to free, which counts.
 */
final class OnnxPeer extends Peer {

  /** The operators for attention that it has on CPUs. */
  enum Operator {
    /** {@code com.microsoft.MultiHeadAttention} on {@code [batch, seq, heads · dim]}. */
    MULTI_HEAD,
    /** {@code ai.onnx.Attention} of opset 23, on {@code [batch, heads, seq, dim]} as well. */
    ATTENTION,
    /**
     * {@code com.microsoft.GroupQueryAttention}: always causal, on {@code [batch, seq, heads ·
     * dim]}, with a cache {@code [batch, heads, seq, dim]} that is input and output at once. A
     * single query row is a step of decoding: all keys but the last are in the cache before.
     */
    GROUPED
  }

  private static final String OUT = "out";

  private final Workload workload;
  private final Operator operator;
  private final OrtEnvironment environment = OrtEnvironment.getEnvironment();
  private final OrtSession session;
  private final Map<String, OnnxTensor> inputs = new LinkedHashMap<>();
  private final Map<String, OnnxTensor> pinned = new LinkedHashMap<>();

  OnnxPeer(Workload workload, Operator operator) {
    super(name(operator));
    this.workload = workload;
    this.operator = operator;
    try (OrtSession.SessionOptions options = new OrtSession.SessionOptions()) {
      OnnxNode node =
          switch (operator) {
            case MULTI_HEAD -> multiHead();
            case ATTENTION -> attention();
            case GROUPED -> grouped();
          };
      options.setIntraOpNumThreads(workload.point.threads());
      options.setInterOpNumThreads(1);
      session = environment.createSession(node.model(), options);
    } catch (OrtException e) {
      throw failed(e);
    }
  }

  private static String name(Operator operator) {
    return switch (operator) {
      case MULTI_HEAD -> "onnxruntime-mha";
      case ATTENTION -> "onnxruntime-attention";
      case GROUPED -> "onnxruntime-gqa";
    };
  }

  private OnnxNode multiHead() throws OrtException {
    OnnxNode node =
        new OnnxNode("com.microsoft", 1, "MultiHeadAttention")
            .attribute("num_heads", workload.shape.heads())
            .attribute("unidirectional", workload.point.causal() ? 1 : 0)
            .output(OUT);
    rows(node, "q", workload.q);
    rows(node, "k", workload.k);
    rows(node, "v", workload.v);
    return node;
  }

  private OnnxNode attention() throws OrtException {
    Shape s = workload.shape;
    OnnxNode node =
        new OnnxNode("", 23, "Attention")
            .attribute("is_causal", workload.point.causal() ? 1 : 0)
            .output(OUT);
    if (workload.point.layout() == Point.Layout.BHSD) {
      heads(node, "q", workload.q, workload.q.segment());
      heads(node, "k", workload.k, workload.k.segment());
      heads(node, "v", workload.v, workload.v.segment());
    } else {
      node.attribute("q_num_heads", s.heads()).attribute("kv_num_heads", s.kvHeads());
      rows(node, "q", workload.q);
      rows(node, "k", workload.k);
      rows(node, "v", workload.v);
    }
    return node;
  }

  private OnnxNode grouped() throws OrtException {
    Shape s = workload.shape;
    OnnxNode node =
        new OnnxNode("com.microsoft", 1, "GroupQueryAttention")
            .attribute("num_heads", s.heads())
            .attribute("kv_num_heads", s.kvHeads())
            .output(OUT)
            .output("key_cache")
            .output("value_cache");
    boolean decodes = s.seqQ() == 1;
    if (decodes) {
      // One query row lies the same in both layouts. The step writes the last key where it is.
      floats(node, "q", workload.q.segment(), s.batch(), 1, (long) s.heads() * s.dim());
      last(node, "k", workload.k);
      last(node, "v", workload.v);
    } else {
      rows(node, "q", workload.q);
      rows(node, "k", workload.k);
      rows(node, "v", workload.v);
    }
    for (String name : new String[] {"key", "value"}) {
      Tensor all = name.equals("key") ? workload.k : workload.v;
      MemorySegment cache =
          decodes
              ? all.segment()
              : Tensor.allocate(workload.arena, DType.FLOAT32, all.elements()).segment();
      heads(node, "past_" + name, all, cache);
      pinned.put(name + "_cache", inputs.get("past_" + name));
    }
    int[] before = new int[s.batch()];
    Arrays.fill(before, s.seqK() - 1);
    ints(node, "before", before);
    ints(node, "total", s.seqK());
    return node;
  }

  /** {@code [batch, seq, heads · dim]}. */
  private void rows(OnnxNode node, String name, Tensor x) throws OrtException {
    floats(node, name, x.segment(), x.size(0), x.size(2), x.size(1) * x.size(3));
  }

  /** {@code [batch, heads, seq, dim]}. */
  private void heads(OnnxNode node, String name, Tensor x, MemorySegment memory)
      throws OrtException {
    floats(node, name, memory, x.size(0), x.size(1), x.size(2), x.size(3));
  }

  /** The last row of {@code [batch, heads, seq, dim]} as {@code [batch, 1, heads · dim]}. */
  private void last(OnnxNode node, String name, Tensor x) throws OrtException {
    Tensor row = Tensor.allocate(workload.arena, DType.FLOAT32, x.size(0), x.size(1), 1, x.size(3));
    row.copyFrom(x.slice(2, x.size(2) - 1, x.size(2)));
    floats(node, name, row.segment(), x.size(0), 1, x.size(1) * x.size(3));
  }

  private void floats(OnnxNode node, String name, MemorySegment memory, long... shape)
      throws OrtException {
    FloatBuffer buffer = memory.asByteBuffer().order(ByteOrder.nativeOrder()).asFloatBuffer();
    inputs.put(name, OnnxTensor.createTensor(environment, buffer, shape));
    node.input(name, OnnxNode.FLOAT, shape);
  }

  private void ints(OnnxNode node, String name, int... values) throws OrtException {
    IntBuffer buffer =
        workload
            .arena
            .allocateFrom(ValueLayout.JAVA_INT, values)
            .asByteBuffer()
            .order(ByteOrder.nativeOrder())
            .asIntBuffer();
    long[] shape = {values.length};
    inputs.put(name, OnnxTensor.createTensor(environment, buffer, shape));
    node.input(name, OnnxNode.INT32, shape);
  }

  private OrtSession.Result run() throws OrtException {
    return pinned.isEmpty() ? session.run(inputs) : session.run(inputs, Set.of(OUT), pinned);
  }

  @Override
  public void calls(long n) {
    try {
      for (long i = 0; i < n; i++) {
        run().close();
      }
    } catch (OrtException e) {
      throw failed(e);
    }
  }

  @Override
  public Workload.Answer answer() {
    Shape s = workload.shape;
    boolean headsFirst =
        operator == Operator.ATTENTION && workload.point.layout() == Point.Layout.BHSD;
    try (OrtSession.Result result = run()) {
      FloatBuffer buffer = ((OnnxTensor) result.get(OUT).orElseThrow()).getFloatBuffer();
      float[] out = new float[buffer.remaining()];
      buffer.get(out);
      return headsFirst
          ? (b, h, i, c) -> out[((b * s.heads() + h) * s.seqQ() + i) * s.dim() + c]
          : (b, h, i, c) -> out[((b * s.seqQ() + i) * s.heads() + h) * s.dim() + c];
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
