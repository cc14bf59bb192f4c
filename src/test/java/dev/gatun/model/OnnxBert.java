package dev.gatun.model;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;

import ai.onnxruntime.OnnxTensor;
import ai.onnxruntime.OrtEnvironment;
import ai.onnxruntime.OrtException;
import ai.onnxruntime.OrtSession;
import dev.gatun.DType;
import dev.gatun.GatunRuntime;
import dev.gatun.Tensor;
import dev.gatun.WeightFormat;
import dev.gatun.nn.Sequences;
import dev.gatun.nn.TextEncoder;
import dev.gatun.support.ReferenceBert;
import java.io.IOException;
import java.io.InputStream;
import java.lang.foreign.Arena;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.nio.FloatBuffer;
import java.nio.LongBuffer;
import java.util.Arrays;
import java.util.HashMap;
import java.util.List;
import java.util.Map;

/** A model of the class path in ONNX Runtime: the oracle, and the time to beat. */
final class OnnxBert implements AutoCloseable {
  static final Map<String, String> FILES =
      Map.of(
          "minilm", "all-minilm-l6-v2.onnx",
          "bge-small", "bge-small-en-v1.5.onnx",
          "bge-small-zh", "bge-small-zh-v1.5.onnx",
          "e5-small", "e5-small-v2.onnx",
          "minilm-q", "all-minilm-l6-v2-q.onnx");

  private final OrtEnvironment environment = OrtEnvironment.getEnvironment();
  private final OrtSession session;

  OnnxBert(EmbeddingModelSpec spec, int threads) throws IOException, OrtException {
    this(resource(FILES.get(spec.name())), threads);
  }

  private OnnxBert(byte[] bytes, int threads) throws OrtException {
    try (OrtSession.SessionOptions options = new OrtSession.SessionOptions()) {
      options.setIntraOpNumThreads(threads);
      ByteBuffer model = ByteBuffer.allocateDirect(bytes.length).put(bytes).flip();
      session = environment.createSession(model, options);
    }
  }

  private static byte[] resource(String file) throws IOException {
    try (InputStream in = OnnxBert.class.getClassLoader().getResourceAsStream(file)) {
      return in.readAllBytes();
    }
  }

  /** Compares what both compute of one text, ONNX Runtime running the bytes of the model. */
  static void check(byte[] model, ReferenceBert ours, int... ids) throws OrtException {
    double[][] expected = ours.forward(ids);
    float[] hidden = hidden(model, ids);
    int row = hidden.length / ids.length;
    for (int i = 0; i < hidden.length; i++) {
      String place = "token %d, %d".formatted(i / row, i % row);
      assertEquals(hidden[i], expected[i / row][i % row], 1e-5, place);
    }
  }

  /**
   * Compares what Gatun's encoder computes of one text, weights used where they lie and packed as
   * the file has them, with ONNX Runtime running the bytes of the model: both compute in float32,
   * in sums of other orders, and differ by less than a reference in double does from either.
   */
  static void checkEncoder(byte[] model, BertWeights weights, int... ids) throws OrtException {
    float[] expected = hidden(model, ids);
    for (WeightFormat format : List.of(WeightFormat.VIEW, WeightFormat.AUTO)) {
      try (GatunRuntime runtime = GatunRuntime.builder().threads(1).build();
          Arena arena = Arena.ofShared()) {
        TextEncoder encoder = Bert.of("tiny", runtime, weights, arena, format);
        Tensor states = Tensor.allocate(arena, DType.FLOAT32, ids.length, encoder.dim());
        encoder.forward(
            null,
            Tensor.copyOf(arena, ids, ids.length),
            Sequences.ragged(Tensor.copyOf(arena, new int[] {0, ids.length}, 2)),
            states);
        assertArrayEquals(expected, states.toFloatArray(), 1e-5f, format.toString());
      }
    }
  }

  /** The last hidden state of one text, of the bytes of a model. */
  static float[] hidden(byte[] model, int... ids) throws OrtException {
    try (OnnxBert theirs = new OnnxBert(model, 1)) {
      return theirs.hidden(ids)[0];
    }
  }

  /** Inputs of texts that are padded to the longest. */
  Map<String, OnnxTensor> inputs(int[]... texts) throws OrtException {
    int longest = Arrays.stream(texts).mapToInt(ids -> ids.length).max().orElseThrow();
    Map<String, OnnxTensor> inputs = new HashMap<>();
    for (String name : session.getInputNames()) {
      LongBuffer values =
          ByteBuffer.allocateDirect(texts.length * longest * Long.BYTES)
              .order(ByteOrder.nativeOrder())
              .asLongBuffer();
      for (int t = 0; t < texts.length; t++) {
        for (int i = 0; i < texts[t].length; i++) {
          long value =
              switch (name) {
                case "input_ids" -> texts[t][i];
                case "attention_mask" -> 1;
                case "token_type_ids" -> 0;
                default -> throw new AssertionError(name);
              };
          values.put(t * longest + i, value);
        }
      }
      inputs.put(
          name, OnnxTensor.createTensor(environment, values, new long[] {texts.length, longest}));
    }
    return inputs;
  }

  void run(Map<String, OnnxTensor> inputs) throws OrtException {
    session.run(inputs).close();
  }

  /** The last hidden state of each text, [tokens · hidden]. */
  float[][] hidden(int[]... texts) throws OrtException {
    Map<String, OnnxTensor> inputs = inputs(texts);
    try (OrtSession.Result result = session.run(inputs)) {
      OnnxTensor first =
          (OnnxTensor) result.get("last_hidden_state").orElseGet(() -> result.get(0));
      long[] shape = first.getInfo().getShape();
      int row = Math.toIntExact(shape[1] * shape[2]);
      FloatBuffer values = first.getFloatBuffer();
      float[][] hidden = new float[texts.length][];
      for (int t = 0; t < texts.length; t++) {
        hidden[t] = new float[Math.toIntExact(texts[t].length * shape[2])];
        values.get(t * row, hidden[t]);
      }
      return hidden;
    } finally {
      inputs.values().forEach(OnnxTensor::close);
    }
  }

  @Override
  public void close() throws OrtException {
    session.close();
  }
}
