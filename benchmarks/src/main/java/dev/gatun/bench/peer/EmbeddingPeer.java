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
import dev.gatun.WeightFormat;
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
import java.io.IOException;
import java.io.UncheckedIOException;
import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.nio.FloatBuffer;
import java.nio.LongBuffer;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;

/** all-MiniLM-L6-v2 from token ids to normalized vectors. */
public abstract class EmbeddingPeer extends Peer {

  EmbeddingPeer(String name) {
    super(name);
  }

  /** Embeds once and returns a copy of the first text's vector. */
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
    private final GatunRuntime owned;
    private final Workspace workspace;
    private final Arena arena = Arena.ofShared();
    private final TextEmbedder embedder;
    private final Tensor ids;
    private final Sequences texts;
    private final Tensor out;

    /** One text, one thread, with a model of its own. */
    public FromTensors(int[] tokens) throws IOException {
      this(GatunRuntime.builder().threads(1).build(), List.of(tokens));
    }

    private FromTensors(GatunRuntime runtime, List<int[]> tokens) throws IOException {
      // as float[] has them, so that arrays are the only difference
      this(
          runtime,
          runtime,
          TextEmbedder.load(runtime, EmbeddingModelSpec.MINILM, WeightFormat.VIEW),
          tokens);
    }

    /** A batch, with a model that the caller closes. */
    FromTensors(GatunRuntime runtime, TextEmbedder embedder, List<int[]> tokens) {
      this(null, runtime, embedder, tokens);
    }

    private FromTensors(
        GatunRuntime owned, GatunRuntime runtime, TextEmbedder embedder, List<int[]> tokens) {
      super("gatun");
      this.owned = owned;
      this.embedder = embedder;
      workspace = runtime.newWorkspace();
      int[] all = tokens.stream().flatMapToInt(Arrays::stream).toArray();
      int[] begins = new int[tokens.size() + 1];
      for (int i = 0; i < tokens.size(); i++) {
        begins[i + 1] = begins[i] + tokens.get(i).length;
      }
      ids = Tensor.copyOf(arena, all, all.length);
      texts = Sequences.ragged(Tensor.copyOf(arena, begins, begins.length));
      out = Tensor.allocate(arena, DType.FLOAT32, tokens.size(), 384);
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
      return Arrays.copyOf(out.toFloatArray(), 384);
    }

    @Override
    public void close() {
      workspace.close();
      if (owned != null) {
        embedder.close();
        owned.close();
      }
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

  /**
   * ONNX Runtime, pooled in Java. Its results go to memory that is used again, as Gatun's do: a new
   * tensor for each call is what it is slower with.
   */
  static final class Onnx extends EmbeddingPeer {
    private static final int HIDDEN = 384;

    private final OrtSession session;
    private final List<Pass> passes = new ArrayList<>();
    private float[] rows = new float[0];
    private final float[][] vectors;

    /** What one run computes. */
    private record Pass(
        Map<String, OnnxTensor> inputs,
        Map<String, OnnxTensor> outputs,
        FloatBuffer result,
        int first,
        int[] lengths,
        int padded) {}

    /**
     * A batch, with a session that the caller closes.
     *
     * @param together as one padded batch, or a run for each text
     */
    Onnx(OrtSession session, List<int[]> tokens, boolean together) {
      super("onnxruntime");
      this.session = session;
      vectors = new float[tokens.size()][HIDDEN];
      try {
        if (together) {
          passes.add(pass(tokens, 0));
        } else {
          for (int i = 0; i < tokens.size(); i++) {
            passes.add(pass(tokens.subList(i, i + 1), i));
          }
        }
      } catch (OrtException e) {
        throw OnnxPeer.failed(e);
      }
    }

    private Pass pass(List<int[]> tokens, int first) throws OrtException {
      int[] lengths = tokens.stream().mapToInt(each -> each.length).toArray();
      int padded = Arrays.stream(lengths).max().orElseThrow();
      long[] ids = new long[tokens.size() * padded];
      long[] mask = new long[ids.length];
      for (int i = 0; i < lengths.length; i++) {
        for (int t = 0; t < lengths[i]; t++) {
          ids[i * padded + t] = tokens.get(i)[t];
          mask[i * padded + t] = 1;
        }
      }
      long[] shape = {tokens.size(), padded};
      FloatBuffer result =
          ByteBuffer.allocateDirect(ids.length * HIDDEN * Float.BYTES)
              .order(ByteOrder.nativeOrder())
              .asFloatBuffer();
      OrtEnvironment environment = OrtEnvironment.getEnvironment();
      Map<String, OnnxTensor> inputs = new LinkedHashMap<>();
      inputs.put("input_ids", OnnxTensor.createTensor(environment, LongBuffer.wrap(ids), shape));
      inputs.put(
          "attention_mask", OnnxTensor.createTensor(environment, LongBuffer.wrap(mask), shape));
      inputs.put(
          "token_type_ids",
          OnnxTensor.createTensor(environment, LongBuffer.wrap(new long[ids.length]), shape));
      Map<String, OnnxTensor> outputs =
          Map.of(
              session.getOutputNames().iterator().next(),
              OnnxTensor.createTensor(
                  environment, result, new long[] {tokens.size(), padded, HIDDEN}));
      return new Pass(inputs, outputs, result, first, lengths, padded);
    }

    private void embed() {
      for (Pass pass : passes) {
        try {
          session.run(pass.inputs, pass.outputs).close(); // but for the outputs, which are given
          int count = pass.lengths.length * pass.padded * HIDDEN;
          if (rows.length < count) {
            rows = new float[count];
          }
          pass.result.get(0, rows, 0, count);
          for (int i = 0; i < pass.lengths.length; i++) {
            pool(rows, i * pass.padded * HIDDEN, pass.lengths[i], vectors[pass.first + i]);
          }
        } catch (OrtException e) {
          throw OnnxPeer.failed(e);
        }
      }
    }

    /** As the other pool, in a loop that the JIT makes vectors of. */
    private static void pool(float[] rows, int begin, int tokens, float[] mean) {
      Arrays.fill(mean, 0);
      for (int t = 0; t < tokens; t++) {
        int row = begin + t * HIDDEN;
        for (int c = 0; c < HIDDEN; c++) {
          mean[c] += rows[row + c];
        }
      }
      double squares = 0;
      for (float each : mean) {
        squares += (double) each * each;
      }
      float scale = (float) (1 / Math.sqrt(squares));
      for (int c = 0; c < HIDDEN; c++) {
        mean[c] *= scale;
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
      embed();
      return vectors[0].clone();
    }

    @Override
    public void close() {
      for (Pass pass : passes) {
        pass.inputs.values().forEach(OnnxTensor::close);
        pass.outputs.values().forEach(OnnxTensor::close);
      }
    }
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
