package dev.gatun.model;

import static dev.gatun.support.OnnxWriter.floatTensor;
import static dev.gatun.support.OnnxWriter.longTensor;
import static dev.gatun.support.OnnxWriter.node;
import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import ai.onnxruntime.OrtException;
import dev.gatun.Tensor;
import dev.gatun.io.OnnxException;
import dev.gatun.io.OnnxFile;
import dev.gatun.support.OnnxWriter;
import dev.gatun.support.ReferenceBert;
import dev.gatun.support.TinyBert;
import java.io.IOException;
import java.io.InputStream;
import java.lang.foreign.Arena;
import java.lang.foreign.ValueLayout;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Arrays;
import java.util.List;
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
    "minilm, all-minilm-l6-v2.onnx, 6, 384, 12, 30522, 90261504",
    "bge-small, bge-small-en-v1.5.onnx, 12, 384, 12, 30522, 132848640",
    "bge-small-zh, bge-small-zh-v1.5.onnx, 4, 512, 8, 21128, 94765056",
    "e5-small, e5-small-v2.onnx, 12, 384, 12, 30522, 132848640"
  })
  void realModelComputesWhatOnnxRuntimeDoes(
      String name, String resource, int layers, int dim, int heads, int words, long bytes)
      throws IOException, OrtException {
    EmbeddingModelSpec spec = EmbeddingModelSpec.of(name);
    BertWeights weights = BertWeights.from(spec.openModel(arena), arena);
    assertEquals(
        new BertConfig(layers, dim, heads, dim / heads, 4 * dim, words, 512, 2, 1e-12f),
        weights.config());
    assertEquals(bytes, tensors(weights).stream().mapToLong(t -> t.segment().byteSize()).sum());

    int[] ids = spec.loadTokenizer().encode("A café in Zürich, 9 a.m.: 20 °C!").ids();
    OnnxBert.check(resource(resource), new ReferenceBert(weights), ids);
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
  }

  private static List<Tensor> tensors(BertWeights model) {
    return model.weights().names().stream().sorted().map(model.weights()::get).toList();
  }

  private static void assertSame(BertWeights expected, BertWeights actual) {
    assertEquals(expected.config(), actual.config());
    assertEquals(expected.weights().names(), actual.weights().names());
    List<Tensor> left = tensors(expected);
    List<Tensor> right = tensors(actual);
    for (int i = 0; i < left.size(); i++) {
      assertArrayEquals(left.get(i).shape(), right.get(i).shape());
      assertEquals(-1, left.get(i).segment().mismatch(right.get(i).segment()));
    }
  }

  // ---- a tiny model: 2 layers, 8 wide, 2 heads of 4, 6 between

  private static final BertConfig TINY = new BertConfig(2, 8, 2, 4, 6, 11, 5, 2, 1e-6f);

  private TinyBert tiny = TinyBert.bert("", 11, 5);

  private void tiny() {
    tiny = TinyBert.bert("", 11, 5);
  }

  private OnnxFile file() throws OnnxException {
    return tiny.file(arena);
  }

  private BertWeights read() throws OnnxException {
    return BertWeights.from(file(), arena);
  }

  private void assertRefused(String part) {
    String message = assertThrows(OnnxException.class, this::read).getMessage();
    assertTrue(message.startsWith("tiny.onnx: "), message);
    assertTrue(message.contains(part), message);
  }

  @Test
  void tinyModel() throws OnnxException {
    BertWeights read = read();
    assertEquals(TINY, read.config());
    assertEquals(3 + 2 + 2 * 16, tensors(read).size());
    assertArrayEquals(
        tiny.numbers.get("embeddings.word_embeddings.weight"),
        read.weights().get(Bert.WORDS).toFloatArray());
    assertEquals(tiny.weights.size(), tensors(read).size(), "all are used");
    long distinct =
        tensors(read).stream()
            .map(t -> t.segment().getAtIndex(ValueLayout.JAVA_FLOAT, 0))
            .distinct()
            .count();
    assertEquals(tiny.weights.size(), distinct, "none is used twice");
  }

  @Test
  void encoderInsideABiggerModel() throws OnnxException {
    tiny = TinyBert.bert("/bert", 11, 5);
    assertEquals(TINY, read().config());
    assertTrue(tiny.weights.containsKey("bert.embeddings.LayerNorm.bias"));
  }

  static Stream<String> names() {
    return TinyBert.bert("", 11, 5).weights.keySet().stream();
  }

  @ParameterizedTest
  @MethodSource("names")
  void aMissingWeightIsNamed(String name) {
    tiny.weights.remove(name);
    assertRefused(name);
  }

  @ParameterizedTest
  @MethodSource("names")
  void aWeightOfAnotherShapeIsRefused(String name) {
    tiny.weights.put(name, floatTensor(name, new float[9], 3, 3));
    String message = assertThrows(OnnxException.class, this::read).getMessage();
    assertTrue(message.contains("expected"), message);
  }

  @Test
  void aMissingNodeIsNamed() {
    for (String path :
        List.of(
            "/embeddings/position_embeddings/Gather",
            "/encoder/layer.0/attention/self/key/MatMul",
            "/encoder/layer.0/attention/self/query/MatMul",
            "/encoder/layer.1/attention/self/value/Add",
            "/encoder/layer.1/output/dense/MatMul",
            "/encoder/layer.1/attention/output/LayerNorm/Add",
            "/embeddings/LayerNorm/Mul")) {
      tiny();
      tiny.nodes.remove(path);
      assertRefused(path);
    }
    tiny();
    tiny.add("/encoder/layer.1/intermediate/intermediate_act_fn/Erf", "Tanh", "x");
    assertRefused("expected an exact GELU, got Tanh");
    tiny();
    tiny.add(
        "/encoder/layer.1/intermediate/intermediate_act_fn/Mul_1",
        "Mul",
        "/encoder/layer.1/intermediate/dense/Add_output_0",
        "/encoder/layer.1/intermediate/intermediate_act_fn/Constant_2_output_0");
    assertRefused("no Erf below /encoder/layer.1/intermediate/");
  }

  @Test
  void otherNormsAndScalesAreRefused() {
    String eps = "/encoder/layer.1/output/LayerNorm/Constant_1";
    for (float wrong : new float[] {1e-5f, -1, 0, Float.NaN, Float.POSITIVE_INFINITY}) {
      tiny();
      tiny.constant(eps, floatTensor("", new float[] {wrong}));
      assertRefused("encoder.layer.1.output.LayerNorm: expected");
    }
    tiny();
    tiny.constant("/encoder/layer.0/attention/self/Constant_1", floatTensor("", new float[] {3}));
    assertRefused("sqrt(4)");
    tiny();
    tiny.constant(
        "/encoder/layer.1/attention/self/Constant", longTensor("", new long[] {0, 0, 4, 2}, 4));
    assertRefused("number of heads");
  }

  @Test
  void headsFromWhatTheFileHas() throws OnnxException {
    String shape = "/encoder/layer.0/attention/self/Constant";
    for (long[] sizes : new long[][] {{0, 0, -1, 4}, {1, -1, 2, 4}, {0, 0, 2, -1}}) {
      tiny();
      tiny.constant(shape, longTensor("", sizes, 4));
      assertEquals(TINY, read().config());
    }
    tiny();
    tiny.nodes.put(
        shape,
        node(
            shape,
            "Concat",
            List.of(
                "b",
                "s",
                tiny.constant("/two", longTensor("", new long[] {2}, 1)),
                tiny.constant("/four", longTensor("", new long[] {4}, 1))),
            List.of(shape + "_output_0")));
    assertEquals(TINY, read().config());
    tiny();
    tiny.nodes.remove(shape);
    assertEquals(TINY, read().config(), "from the divisor");
    tiny.add(
        "/encoder/layer.0/attention/self/Div",
        "Mul",
        "/encoder/layer.0/attention/self/MatMul_output_0",
        "/encoder/layer.0/attention/self/Constant_1_output_0");
    tiny.nodes.put(
        "/encoder/layer.0/attention/self/Div",
        node(
            "/encoder/layer.0/attention/self/Mul",
            "Mul",
            List.of(
                "/encoder/layer.0/attention/self/MatMul_output_0",
                "/encoder/layer.0/attention/self/Constant_1_output_0"),
            List.of("/encoder/layer.0/attention/self/Div_output_0")));
    assertRefused("number of heads");
  }

  @Test
  void fusedNormsAndTransposedMatrices() throws OnnxException {
    BertWeights expected = read();
    String norm = "/embeddings/LayerNorm/";
    tiny.nodes.keySet().removeIf(name -> name.startsWith(norm));
    tiny.nodes.put(
        norm,
        node(
                norm + "LayerNormalization",
                "LayerNormalization",
                List.of(
                    "/embeddings/Add_2_output_0",
                    "embeddings.LayerNorm.weight",
                    "embeddings.LayerNorm.bias"),
                List.of(norm + "Add_1_output_0"))
            .message(5, new OnnxWriter().text(1, "epsilon").fixed32(2, 1e-6f)));
    // The matrix as PyTorch has it, [out, in], and a node that turns it.
    Tensor matrix =
        expected.weights().get("encoder.layer.1.intermediate.dense.weight").transpose(0, 1);
    float[] turned = new float[48];
    for (int in = 0; in < 8; in++) {
      for (int out = 0; out < 6; out++) {
        turned[out * 8 + in] = matrix.getFloat(in, out);
      }
    }
    String product = "/encoder/layer.1/intermediate/dense/MatMul";
    tiny.weights.put("w", floatTensor("w", turned, 6, 8));
    tiny.weights
        .keySet()
        .removeIf(name -> Arrays.equals(tiny.numbers.get(name), matrix.toFloatArray()));
    String x = "/encoder/layer.1/attention/output/LayerNorm/Add_1_output_0";
    tiny.add(product, "MatMul", x, tiny.add("/t", "Transpose", "w"));
    assertSame(expected, read());
    for (OnnxWriter bad :
        List.of(floatTensor("w", turned, 48), floatTensor("w", turned, 6, 2, 4))) {
      tiny.weights.put("w", bad);
      assertRefused("encoder.layer.1.intermediate.dense.weight");
    }
    tiny.add("/t", "Transpose");
    assertRefused("expected 1 inputs or more");
  }
}
