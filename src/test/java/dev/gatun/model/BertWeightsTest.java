package dev.gatun.model;

import static dev.gatun.support.OnnxWriter.constant;
import static dev.gatun.support.OnnxWriter.floatTensor;
import static dev.gatun.support.OnnxWriter.longTensor;
import static dev.gatun.support.OnnxWriter.model;
import static dev.gatun.support.OnnxWriter.node;
import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import ai.onnxruntime.OnnxTensor;
import ai.onnxruntime.OrtEnvironment;
import ai.onnxruntime.OrtException;
import ai.onnxruntime.OrtSession;
import dev.gatun.Tensor;
import dev.gatun.io.OnnxException;
import dev.gatun.io.OnnxFile;
import dev.gatun.support.OnnxWriter;
import dev.gatun.support.ReferenceBert;
import java.io.IOException;
import java.io.InputStream;
import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Arrays;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.stream.Stream;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;
import org.junit.jupiter.params.provider.MethodSource;

class BertWeightsTest {

  private final Arena arena = Arena.ofShared();

  @AfterEach
  void closeArena() {
    arena.close();
  }

  // ---- real models

  private static byte[] resource(String name) throws IOException {
    try (InputStream in = BertWeightsTest.class.getClassLoader().getResourceAsStream(name)) {
      return in.readAllBytes();
    }
  }

  @ParameterizedTest
  @CsvSource({
    "minilm, all-minilm-l6-v2.onnx, 6, 90261504",
    "bge-small, bge-small-en-v1.5.onnx, 12, 132848640",
    "e5-small, e5-small-v2.onnx, 12, 132848640"
  })
  void realModelComputesWhatOnnxRuntimeDoes(String name, String resource, int layers, long bytes)
      throws IOException, OrtException {
    EmbeddingModelSpec spec = EmbeddingModelSpec.of(name);
    BertWeights weights = BertWeights.from(spec.openModel(arena), arena);
    assertEquals(
        new BertConfig(layers, 384, 12, 32, 1536, 30522, 512, 2, 1e-12f), weights.config());
    assertEquals(bytes, weights.byteSize());

    int[] ids = spec.loadTokenizer().encode("A café in Zürich, 9 a.m.: 20 °C!").ids();
    double[][] ours = new ReferenceBert(weights).forward(ids);
    float[][] theirs = onnxRuntime(resource(resource), ids);
    for (int t = 0; t < ids.length; t++) {
      for (int i = 0; i < 384; i++) {
        assertEquals(theirs[t][i], ours[t][i], 1e-5, "token %d, %d".formatted(t, i));
      }
    }
  }

  private static float[][] onnxRuntime(byte[] model, int[] ids) throws OrtException {
    OrtEnvironment environment = OrtEnvironment.getEnvironment();
    long[][] tokens = {Arrays.stream(ids).asLongStream().toArray()};
    long[][] mask = {new long[ids.length]};
    Arrays.fill(mask[0], 1);
    try (OrtSession.SessionOptions options = new OrtSession.SessionOptions();
        OnnxTensor input = OnnxTensor.createTensor(environment, tokens);
        OnnxTensor attention = OnnxTensor.createTensor(environment, mask);
        OnnxTensor types =
            OnnxTensor.createTensor(environment, new long[][] {new long[ids.length]})) {
      options.setIntraOpNumThreads(1);
      try (OrtSession session = environment.createSession(model, options);
          OrtSession.Result result =
              session.run(
                  Map.of(
                      "input_ids", input, "attention_mask", attention, "token_type_ids", types))) {
        return ((float[][][]) result.get(0).getValue())[0];
      }
    }
  }

  @Test
  void folderAsJar(@TempDir Path folder) throws IOException {
    Files.write(folder.resolve("model.onnx"), resource("all-minilm-l6-v2.onnx"));
    Files.write(folder.resolve("tokenizer.json"), resource("all-minilm-l6-v2-tokenizer.json"));
    EmbeddingModelSpec spec = EmbeddingModelSpec.of(folder.toString());
    BertWeights mapped = BertWeights.from(spec.openModel(arena), arena);
    BertWeights unpacked = BertWeights.from(EmbeddingModelSpec.MINILM.openModel(arena), arena);
    assertEquals(128, spec.loadTokenizer().maxTokens());
    assertSame(unpacked, mapped);
    try (Arena own = Arena.ofShared()) {
      BertWeights copy = mapped.copyTo(own);
      assertSame(unpacked, copy);
      long first = copy.wordEmbeddings().segment().address();
      for (Tensor tensor : tensors(copy)) {
        assertEquals(0, tensor.segment().address() % 64);
        assertTrue(tensor.segment().address() - first < 91 << 20);
      }
    }
  }

  private static List<Tensor> tensors(BertWeights weights) {
    return Stream.concat(
            Stream.of(
                weights.wordEmbeddings(),
                weights.positionEmbeddings(),
                weights.tokenTypeEmbeddings(),
                weights.embeddingNorm().weight(),
                weights.embeddingNorm().bias()),
            weights.layers().stream()
                .flatMap(
                    layer ->
                        Stream.concat(
                            Stream.of(
                                    layer.query(),
                                    layer.key(),
                                    layer.value(),
                                    layer.attentionOutput(),
                                    layer.intermediate(),
                                    layer.output())
                                .flatMap(l -> Stream.of(l.weight(), l.bias())),
                            Stream.of(layer.attentionNorm(), layer.outputNorm())
                                .flatMap(n -> Stream.of(n.weight(), n.bias())))))
        .toList();
  }

  private static void assertSame(BertWeights expected, BertWeights actual) {
    assertEquals(expected.config(), actual.config());
    List<Tensor> left = tensors(expected);
    List<Tensor> right = tensors(actual);
    assertEquals(left.size(), right.size());
    for (int i = 0; i < left.size(); i++) {
      assertArrayEquals(left.get(i).shape(), right.get(i).shape());
      assertEquals(-1, left.get(i).segment().mismatch(right.get(i).segment()));
    }
  }

  // ---- a tiny model: 2 layers, 8 wide, 2 heads of 4, 6 between

  /** Its parts by the name that a message should have when the part is missing. */
  private final Map<String, OnnxWriter> weights = new LinkedHashMap<>();

  private final Map<String, OnnxWriter> nodes = new LinkedHashMap<>();
  private String prefix = "";
  private int seed;

  private void weight(String name, int... shape) {
    String dotted = prefix.isEmpty() ? name : prefix.substring(1) + "." + name;
    weights.put(dotted, random(dotted, shape));
  }

  private OnnxWriter random(String name, int... shape) {
    float[] values = new float[Arrays.stream(shape).reduce(1, (a, b) -> a * b)];
    for (int i = 0; i < values.length; i++) {
      values[i] = seed++;
    }
    return floatTensor(name, values, Arrays.stream(shape).asLongStream().toArray());
  }

  private void put(String name, String opType, String in, String other) {
    nodes.put(
        prefix + name,
        node(prefix + name, opType, List.of(in, other), List.of(prefix + name + "_output_0")));
  }

  private void linear(String path, String name, int in, int out) {
    weight(name + ".bias", out);
    String matrix = "onnx::MatMul_" + weights.size();
    weights.put(matrix, random(matrix, in, out));
    put(path + "/MatMul", "MatMul", "x", matrix);
    put(path + "/Add", "Add", name + ".bias", prefix + path + "/MatMul_output_0");
  }

  private void norm(String path, String name) {
    weight(name + ".weight", 8);
    weight(name + ".bias", 8);
    String eps = prefix + path + "/Constant_1_output_0";
    nodes.put(eps, constant(eps, floatTensor("", new float[] {1e-6f})));
    put(path + "/Add", "Add", "variance", eps);
  }

  private void tiny() {
    weight("embeddings.word_embeddings.weight", 11, 8);
    weight("embeddings.position_embeddings.weight", 5, 8);
    weight("embeddings.token_type_embeddings.weight", 2, 8);
    norm("/embeddings/LayerNorm", "embeddings.LayerNorm");
    for (int l = 0; l < 2; l++) {
      String path = "/encoder/layer." + l;
      String name = "encoder.layer." + l;
      for (String part : List.of("query", "key", "value")) {
        linear(path + "/attention/self/" + part, name + ".attention.self." + part, 8, 8);
      }
      linear(path + "/attention/output/dense", name + ".attention.output.dense", 8, 8);
      norm(path + "/attention/output/LayerNorm", name + ".attention.output.LayerNorm");
      linear(path + "/intermediate/dense", name + ".intermediate.dense", 8, 6);
      put(path + "/intermediate/intermediate_act_fn/Erf", "Erf", "x", "");
      linear(path + "/output/dense", name + ".output.dense", 6, 8);
      norm(path + "/output/LayerNorm", name + ".output.LayerNorm");
    }
    String self = prefix + "/encoder/layer.0/attention/self";
    nodes.put("shape", constant("shape", longTensor("", new long[] {0, 0, 2, 4}, 4)));
    nodes.put(
        "reshape",
        node("r", "Reshape", List.of(self + "/query/Add_output_0", "shape"), List.of("q")));
    nodes.put("divisor", constant("divisor", floatTensor("", new float[] {2})));
    put("/encoder/layer.0/attention/self/Div", "Div", "scores", "divisor");
  }

  private BertWeights read() throws OnnxException {
    OnnxWriter graph = new OnnxWriter();
    nodes.values().forEach(node -> graph.message(1, node));
    weights.values().forEach(weight -> graph.message(5, weight));
    byte[] bytes = model(graph);
    MemorySegment memory = arena.allocate(bytes.length).copyFrom(MemorySegment.ofArray(bytes));
    return BertWeights.from(OnnxFile.of(memory, "tiny.onnx", arena), arena);
  }

  private void assertRefused(String part) {
    String message = assertThrows(OnnxException.class, this::read).getMessage();
    assertTrue(message.startsWith("tiny.onnx: "), message);
    assertTrue(message.contains(part), message);
  }

  private static final BertConfig TINY = new BertConfig(2, 8, 2, 4, 6, 11, 5, 2, 1e-6f);

  @Test
  void tinyModel() throws OnnxException {
    tiny();
    BertWeights read = read();
    assertEquals(TINY, read.config());
    assertEquals(3 + 2 + 2 * 16, tensors(read).size());
    assertEquals(37, read.wordEmbeddings().getFloat(4, 5));
    assertEquals(weights.size(), tensors(read).size(), "all are used");
    long distinct =
        tensors(read).stream()
            .map(t -> t.segment().getAtIndex(ValueLayout.JAVA_FLOAT, 0))
            .distinct()
            .count();
    assertEquals(weights.size(), distinct, "none is used twice");
  }

  @Test
  void encoderInsideABiggerModel() throws OnnxException {
    prefix = "/bert";
    tiny();
    assertEquals(TINY, read().config());
    assertTrue(weights.containsKey("bert.embeddings.LayerNorm.bias"));
  }

  static Stream<String> names() {
    BertWeightsTest test = new BertWeightsTest();
    test.tiny();
    test.arena.close();
    return test.weights.keySet().stream();
  }

  @ParameterizedTest
  @MethodSource("names")
  void aMissingWeightIsNamed(String name) {
    tiny();
    weights.remove(name);
    assertRefused(name);
  }

  @ParameterizedTest
  @MethodSource("names")
  void aWeightOfAnotherShapeIsRefused(String name) {
    tiny();
    weights.put(name, floatTensor(name, new float[9], 3, 3));
    String message = assertThrows(OnnxException.class, this::read).getMessage();
    assertTrue(message.contains("expected"), message);
  }

  @Test
  void aMissingNodeIsNamed() {
    for (String path :
        List.of(
            "/encoder/layer.0/attention/self/key/MatMul",
            "/encoder/layer.0/attention/self/query/MatMul",
            "/encoder/layer.1/output/dense/MatMul",
            "/encoder/layer.1/attention/output/LayerNorm/Add",
            "/embeddings/LayerNorm/Add")) {
      tiny();
      nodes.remove(path);
      assertRefused(path);
    }
    tiny();
    nodes.remove("/encoder/layer.1/intermediate/intermediate_act_fn/Erf");
    assertRefused("no Erf below /encoder/layer.1/intermediate/");
  }

  @Test
  void otherNormsAndScalesAreRefused() {
    tiny();
    String eps = "/encoder/layer.1/output/LayerNorm/Constant_1_output_0";
    nodes.put(eps, constant(eps, floatTensor("", new float[] {1e-5f})));
    assertRefused("encoder.layer.1.output.LayerNorm: expected the epsilon");
    tiny();
    nodes.put("divisor", constant("divisor", floatTensor("", new float[] {3})));
    assertRefused("sqrt(4)");
  }

  @Test
  void headsFromWhatTheFileHas() throws OnnxException {
    for (long[] shape : new long[][] {{0, 0, -1, 4}, {1, -1, 2, 4}, {0, 0, 2, -1}}) {
      tiny();
      nodes.remove("divisor");
      nodes.put("shape", constant("shape", longTensor("", shape, 4)));
      assertEquals(TINY, read().config());
    }
    tiny();
    nodes.put("shape", constant("two", longTensor("", new long[] {2}, 1)));
    nodes.put("four", constant("four", longTensor("", new long[] {4}, 1)));
    nodes.put("concat", node("c", "Concat", List.of("b", "s", "two", "four"), List.of("shape")));
    assertEquals(TINY, read().config());
    tiny();
    nodes.remove("reshape");
    assertEquals(TINY, read().config(), "from the divisor");
    nodes.remove("divisor");
    assertRefused("number of heads");
  }

  @Test
  void fusedNormsAndTransposedMatrices() throws OnnxException {
    tiny();
    BertWeights expected = read();
    nodes.remove("/embeddings/LayerNorm/Add");
    String fused = "/embeddings/LayerNorm/LayerNormalization";
    nodes.put(
        fused,
        node(fused, "LayerNormalization", List.of("x"), List.of("y"))
            .message(5, new OnnxWriter().text(1, "epsilon").fixed32(2, 1e-6f)));
    // The matrix as PyTorch has it, [out, in], and a node that turns it.
    Tensor matrix = expected.layers().get(1).intermediate().weight();
    float[] turned = new float[48];
    for (int in = 0; in < 8; in++) {
      for (int out = 0; out < 6; out++) {
        turned[out * 8 + in] = matrix.getFloat(in, out);
      }
    }
    weights.put("w", floatTensor("w", turned, 6, 8));
    nodes.put("t", node("t", "Transpose", List.of("w"), List.of("wt")));
    put("/encoder/layer.1/intermediate/dense/MatMul", "MatMul", "x", "wt");
    assertSame(expected, read());
  }
}
