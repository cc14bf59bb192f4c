package dev.gatun.bench.peer;

import ai.onnxruntime.OnnxTensor;
import ai.onnxruntime.OrtEnvironment;
import ai.onnxruntime.OrtException;
import ai.onnxruntime.OrtSession;
import dev.gatun.Activation;
import dev.gatun.Attention;
import dev.gatun.AttentionSpec;
import dev.gatun.DType;
import dev.gatun.GatunRuntime;
import dev.gatun.Tensor;
import dev.gatun.Workspace;
import dev.gatun.bench.measure.Peer;
import dev.gatun.bench.measure.Workload;
import dev.gatun.model.BertWeights;
import dev.gatun.model.EmbeddingModelSpec;
import dev.gatun.model.TextEmbedder;
import dev.gatun.model.Weights;
import dev.gatun.nn.LayerNorm;
import dev.gatun.nn.Linear;
import dev.gatun.nn.Sequences;
import dev.gatun.support.ReferenceBert;
import java.io.FileNotFoundException;
import java.io.IOException;
import java.io.InputStream;
import java.io.UncheckedIOException;
import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import java.nio.FloatBuffer;
import java.nio.LongBuffer;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;

/** all-MiniLM-L6-v2 from token ids to the normalized vector, one text, one thread. */
public abstract class EmbeddingPeer extends Peer {

  EmbeddingPeer(String name) {
    super(name);
  }

  /** Embeds once and returns a copy of the vector. */
  public abstract float[] vector();

  @Override
  public Workload.Answer answer() {
    float[] vector = vector();
    return (b, h, i, c) -> vector[c];
  }

  /** Token ids with [CLS] and [SEP] around drawn words. */
  public static int[] ids(int tokens) {
    int[] ids = new int[tokens];
    for (int i = 0; i < tokens; i++) {
      ids[i] = 15_000 + (int) (Workload.value(Workload.SEED_Q, i) * 13_000);
    }
    ids[0] = 101;
    ids[tokens - 1] = 102;
    return ids;
  }

  /** The mean of rows, divided by its norm. */
  static float[] pool(float[] rows, int hidden) {
    int count = rows.length / hidden;
    double[] mean = new double[hidden];
    for (int i = 0; i < rows.length; i++) {
      mean[i % hidden] += rows[i];
    }
    double squares = 0;
    for (int c = 0; c < hidden; c++) {
      mean[c] /= count;
      squares += mean[c] * mean[c];
    }
    float[] vector = new float[hidden];
    for (int c = 0; c < hidden; c++) {
      vector[c] = (float) (mean[c] / Math.sqrt(squares));
    }
    return vector;
  }

  /** Gatun's model: everything off-heap. */
  public static final class FromTensors extends EmbeddingPeer {
    private final GatunRuntime runtime = GatunRuntime.builder().threads(1).build();
    private final Workspace workspace = runtime.newWorkspace();
    private final Arena arena = Arena.ofShared();
    private final TextEmbedder embedder;
    private final Tensor ids;
    private final Sequences texts;
    private final Tensor out;

    public FromTensors(int[] tokens) throws IOException {
      super("gatun");
      embedder = TextEmbedder.load(runtime, EmbeddingModelSpec.MINILM);
      ids = Tensor.copyOf(arena, tokens, tokens.length);
      texts = Sequences.ragged(Tensor.copyOf(arena, new int[] {0, tokens.length}, 2));
      out = Tensor.allocate(arena, DType.FLOAT32, 1, 384);
    }

    @Override
    public void calls(long n) {
      for (long i = 0; i < n; i++) {
        embedder.embed(workspace, ids, texts, out);
      }
    }

    @Override
    public float[] vector() {
      calls(1);
      return out.toFloatArray();
    }

    @Override
    public void close() {
      embedder.close();
      runtime.close();
      arena.close();
    }
  }

  /** Weights in one piece of memory with huge pages, as the model has them. */
  private static final class Slab {
    private static final long ALIGNMENT = 64 / Float.BYTES;

    private final Tensor memory;
    private long used;

    Slab(Arena arena, Weights weights) {
      long floats = weights.names().stream().map(weights::get).mapToLong(Slab::room).sum();
      memory = Tensor.allocate(arena, DType.FLOAT32, floats);
    }

    private static long room(Tensor tensor) {
      return Math.ceilDiv(tensor.elements(), ALIGNMENT) * ALIGNMENT;
    }

    Tensor copy(Tensor tensor) {
      Tensor copy = memory.slice(0, used, used + tensor.elements()).reshape(tensor.shape());
      copy.copyFrom(tensor);
      used += room(tensor);
      return copy;
    }
  }

  /**
   * The same layers with {@code float[]} between them: what a library with arrays in its interface
   * does. Every layer's result is a new array; around each native call its inputs are copied
   * off-heap and its result is copied back. Native kernels and OpenBLAS are those of {@link
   * FromTensors}, and weights lie off-heap here too, so that the copies and the garbage are the
   * only difference.
   */
  public static final class FromArrays extends EmbeddingPeer {
    private final GatunRuntime runtime = GatunRuntime.builder().threads(1).build();
    private final Workspace workspace = runtime.newWorkspace();
    private final Arena arena = Arena.ofShared();
    private final Attention attention = runtime.attention(AttentionSpec.standard());
    private final Slab slab;
    private final float epsilon;
    private final Tensor words;
    private final Tensor positions;
    private final Tensor types;
    private final LayerNorm embeddingNorm;
    private final List<Layer> layers = new ArrayList<>();
    private final int[] ids;
    private final int hidden;
    private final int heads;
    private final Map<Integer, Tensor[]> staging = new LinkedHashMap<>();

    private record Layer(
        Linear query,
        Linear key,
        Linear value,
        Linear attentionOutput,
        LayerNorm attentionNorm,
        Linear intermediate,
        Linear output,
        LayerNorm outputNorm) {}

    public FromArrays(int[] ids) throws IOException {
      super("float[]");
      this.ids = ids.clone();
      try (Arena reading = Arena.ofConfined()) {
        BertWeights model = BertWeights.from(EmbeddingModelSpec.MINILM.openModel(reading), reading);
        Weights weights = model.weights();
        slab = new Slab(arena, weights);
        hidden = model.config().hidden();
        heads = model.config().heads();
        epsilon = model.config().layerNormEps();
        words = slab.copy(weights.get("embeddings.word_embeddings.weight"));
        positions = slab.copy(weights.get("embeddings.position_embeddings.weight"));
        types = slab.copy(weights.get("embeddings.token_type_embeddings.weight"));
        embeddingNorm = norm(weights, "embeddings.LayerNorm");
        for (int n = 0; n < model.config().layers(); n++) {
          String layer = "encoder.layer." + n + ".";
          layers.add(
              new Layer(
                  linear(weights, layer + "attention.self.query", Activation.NONE),
                  linear(weights, layer + "attention.self.key", Activation.NONE),
                  linear(weights, layer + "attention.self.value", Activation.NONE),
                  linear(weights, layer + "attention.output.dense", Activation.NONE),
                  norm(weights, layer + "attention.output.LayerNorm"),
                  linear(weights, layer + "intermediate.dense", Activation.GELU),
                  linear(weights, layer + "output.dense", Activation.NONE),
                  norm(weights, layer + "output.LayerNorm")));
        }
      }
    }

    private Linear linear(Weights weights, String name, Activation activation) {
      Tensor matrix = slab.copy(weights.get(name + ".weight").transpose(0, 1));
      return new Linear(runtime, matrix, slab.copy(weights.get(name + ".bias")), activation);
    }

    private LayerNorm norm(Weights weights, String name) {
      Tensor gamma = slab.copy(weights.get(name + ".weight"));
      return new LayerNorm(runtime, gamma, slab.copy(weights.get(name + ".bias")), epsilon);
    }

    private float[] embed() {
      float[] x = norm(embeddingNorm, lookUp(), null);
      for (Layer layer : layers) {
        float[] q = linear(layer.query, x);
        float[] k = linear(layer.key, x);
        float[] v = linear(layer.value, x);
        float[] context = attention(q, k, v);
        x = norm(layer.attentionNorm, linear(layer.attentionOutput, context), x);
        float[] inner = linear(layer.intermediate, x);
        x = norm(layer.outputNorm, linear(layer.output, inner), x);
      }
      return pool(x, hidden);
    }

    private float[] lookUp() {
      float[] x = new float[ids.length * hidden];
      for (int t = 0; t < ids.length; t++) {
        for (int c = 0; c < hidden; c++) {
          x[t * hidden + c] =
              words.segment().getAtIndex(ValueLayout.JAVA_FLOAT, (long) ids[t] * hidden + c)
                  + positions.segment().getAtIndex(ValueLayout.JAVA_FLOAT, (long) t * hidden + c)
                  + types.segment().getAtIndex(ValueLayout.JAVA_FLOAT, c);
        }
      }
      return x;
    }

    /** Four off-heap tensors of this width. */
    private Tensor[] staging(long width) {
      return staging.computeIfAbsent(
          (int) width,
          columns -> {
            Tensor[] tensors = new Tensor[4];
            for (int i = 0; i < tensors.length; i++) {
              tensors[i] = Tensor.allocate(arena, DType.FLOAT32, ids.length, columns);
            }
            return tensors;
          });
    }

    private static Tensor in(float[] from, Tensor to) {
      MemorySegment.copy(from, 0, to.segment(), ValueLayout.JAVA_FLOAT, 0, from.length);
      return to;
    }

    private static float[] out(Tensor from) {
      float[] array = new float[(int) from.elements()];
      MemorySegment.copy(from.segment(), ValueLayout.JAVA_FLOAT, 0, array, 0, array.length);
      return array;
    }

    private float[] linear(Linear layer, float[] x) {
      Tensor to = staging(layer.out())[1];
      layer.forward(workspace, in(x, staging(layer.in())[0]), to);
      return out(to);
    }

    private float[] norm(LayerNorm layer, float[] x, float[] residual) {
      Tensor[] tensors = staging(hidden);
      Tensor other = residual == null ? null : in(residual, tensors[1]);
      layer.forward(workspace, in(x, tensors[0]), other, null, tensors[2]);
      return out(tensors[2]);
    }

    private float[] attention(float[] q, float[] k, float[] v) {
      Tensor[] tensors = staging(hidden);
      attention.forward(
          workspace,
          headsOf(in(q, tensors[0])),
          headsOf(in(k, tensors[1])),
          headsOf(in(v, tensors[2])),
          headsOf(tensors[3]));
      return out(tensors[3]);
    }

    private Tensor headsOf(Tensor rows) {
      return rows.reshape(1, ids.length, heads, hidden / heads);
    }

    @Override
    public void calls(long n) {
      for (long i = 0; i < n; i++) {
        embed();
      }
    }

    @Override
    public float[] vector() {
      return embed();
    }

    @Override
    public void close() {
      runtime.close();
      arena.close();
    }
  }

  /** ONNX Runtime on the same file, pooled in Java. */
  static final class Onnx extends EmbeddingPeer {
    private static final String FILE = "all-minilm-l6-v2.onnx";

    private final OrtSession session;
    private final Map<String, OnnxTensor> inputs = new LinkedHashMap<>();

    public Onnx(int[] tokens) throws IOException {
      super("onnxruntime");
      OrtEnvironment environment = OrtEnvironment.getEnvironment();
      try (InputStream in = ClassLoader.getSystemResourceAsStream(FILE);
          OrtSession.SessionOptions options = new OrtSession.SessionOptions()) {
        if (in == null) {
          throw new FileNotFoundException(FILE + ": not on the class path");
        }
        options.setIntraOpNumThreads(1);
        options.setInterOpNumThreads(1);
        session = environment.createSession(in.readAllBytes(), options);
        long[] ids = Arrays.stream(tokens).asLongStream().toArray();
        long[] ones = new long[ids.length];
        Arrays.fill(ones, 1);
        input("input_ids", ids);
        input("attention_mask", ones);
        input("token_type_ids", new long[ids.length]);
      } catch (OrtException e) {
        throw OnnxPeer.failed(e);
      }
    }

    private void input(String name, long[] values) throws OrtException {
      inputs.put(
          name,
          OnnxTensor.createTensor(
              OrtEnvironment.getEnvironment(),
              LongBuffer.wrap(values),
              new long[] {1, values.length}));
    }

    private float[] embed() {
      try (OrtSession.Result result = session.run(inputs)) {
        FloatBuffer buffer = ((OnnxTensor) result.get(0)).getFloatBuffer();
        float[] rows = new float[buffer.remaining()];
        buffer.get(rows);
        return pool(rows, 384);
      } catch (OrtException e) {
        throw OnnxPeer.failed(e);
      }
    }

    @Override
    public void calls(long n) {
      for (long i = 0; i < n; i++) {
        embed();
      }
    }

    @Override
    public float[] vector() {
      return embed();
    }

    @Override
    public void close() {
      try {
        inputs.values().forEach(OnnxTensor::close);
        session.close();
      } catch (OrtException e) {
        throw OnnxPeer.failed(e);
      }
    }
  }

  /** All three, for one text; each checked against the encoder in double precision. */
  public static List<EmbeddingPeer> all(int[] ids, double[] exact) {
    List<EmbeddingPeer> peers = new ArrayList<>();
    try {
      peers.add(new FromTensors(ids));
      peers.add(new FromArrays(ids));
      peers.add(new Onnx(ids));
    } catch (IOException e) {
      throw new UncheckedIOException(e);
    }
    for (EmbeddingPeer peer : peers) {
      check(peer.name, peer.vector(), exact);
    }
    return peers;
  }

  public static void check(String who, float[] vector, double[] exact) {
    double dot = 0;
    double squares = 0;
    for (int c = 0; c < exact.length; c++) {
      dot += vector[c] * exact[c];
      squares += (double) vector[c] * vector[c];
    }
    double cosine = dot / Math.sqrt(squares);
    if (vector.length != exact.length || !(cosine >= 0.999999) || Math.abs(squares - 1) > 1e-5) {
      throw new IllegalStateException(
          "%s: wrong vector, cosine %s with the one in double precision, length² %s"
              .formatted(who, cosine, squares));
    }
  }

  /** The vector in double precision. */
  public static double[] exact(int[] ids) {
    try (Arena arena = Arena.ofConfined()) {
      BertWeights weights = BertWeights.from(EmbeddingModelSpec.MINILM.openModel(arena), arena);
      double[][] rows = new ReferenceBert(weights).forward(ids);
      double[] mean = new double[rows[0].length];
      for (double[] row : rows) {
        for (int c = 0; c < mean.length; c++) {
          mean[c] += row[c];
        }
      }
      double norm = Math.sqrt(Arrays.stream(mean).map(x -> x * x).sum());
      return Arrays.stream(mean).map(x -> x / norm).toArray();
    } catch (IOException e) {
      throw new UncheckedIOException(e);
    }
  }
}
