package dev.gatun.model;

import static dev.gatun.support.OnnxWriter.floatTensor;
import static dev.gatun.support.OnnxWriter.longTensor;
import static dev.gatun.support.OnnxWriter.node;
import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import ai.onnxruntime.OrtException;
import dev.gatun.GatunRuntime;
import dev.gatun.io.OnnxException;
import dev.gatun.io.OnnxFile;
import dev.gatun.support.OnnxWriter;
import dev.gatun.support.ReferenceBert;
import dev.gatun.support.TinyBert;
import java.io.IOException;
import java.io.InputStream;
import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.ValueSource;

/** Graphs laid out otherwise than PyTorch's export of BERT; ONNX Runtime runs each. */
class BertExportsTest {
  private static final int[] IDS = {3, 1, 4, 1, 5};
  private static final String SELF = "/encoder/layer.%d/attention/self/";
  private static final int HIDDEN = TinyBert.HIDDEN;

  @TempDir Path folder;
  private final Arena arena = Arena.ofShared();
  private TinyBert tiny = TinyBert.bert("", 11, 12);

  @AfterEach
  void close() {
    arena.close();
  }

  private BertWeights read() throws OnnxException {
    byte[] bytes = BertVariantsTest.nameless(tiny.bytes());
    MemorySegment memory = arena.allocate(bytes.length).copyFrom(MemorySegment.ofArray(bytes));
    OnnxFile file = OnnxFile.of(memory, "tiny.onnx", arena);
    assertFalse(BertReader.knows(file));
    return BertWeights.from(file, arena);
  }

  private void check() throws OnnxException, OrtException {
    byte[] bytes = BertVariantsTest.nameless(tiny.bytes());
    BertWeights weights = read();
    OnnxBert.check(bytes, new ReferenceBert(weights), IDS);
    OnnxBert.checkEncoder(bytes, weights, IDS);
  }

  private void assertRefused(String part) {
    String message = assertThrows(OnnxException.class, this::read).getMessage();
    assertTrue(message.contains(part), message);
    tiny = TinyBert.bert("", 11, 12);
  }

  // ---- queries, keys and values of one product -----------------------------------------------

  /** The matrix {@code [in, out]} that was made after a bias. */
  private String matrixOf(String bias) {
    List<String> names = List.copyOf(tiny.numbers.keySet());
    return names.get(names.indexOf(bias) + 1);
  }

  /** Replaces three products by one and parts of it, which are in the places of an order. */
  private void merge(int n, boolean split, int... order) {
    String self = SELF.formatted(n);
    float[] matrix = new float[3 * HIDDEN * HIDDEN];
    float[] bias = new float[3 * HIDDEN];
    List<String> parts = new ArrayList<>();
    for (int i = 0; i < 3; i++) {
      String part = List.of("query", "key", "value").get(order[i]);
      String old = "encoder.layer.%d.attention.self.%s.bias".formatted(n, part);
      String weight = matrixOf(old);
      for (int row = 0; row < HIDDEN; row++) {
        System.arraycopy(
            tiny.numbers.get(weight), row * HIDDEN, matrix, (3 * row + i) * HIDDEN, HIDDEN);
      }
      System.arraycopy(tiny.numbers.get(old), 0, bias, i * HIDDEN, HIDDEN);
      for (String name : List.of(old, weight)) {
        tiny.weights.remove(name);
        tiny.numbers.remove(name);
      }
      parts.add(self + part + "/Add_output_0");
      tiny.nodes.remove(self + part + "/MatMul");
      tiny.nodes.remove(self + part + "/Add");
    }
    tiny.weights.put("w" + n, floatTensor("w" + n, matrix, HIDDEN, 3 * HIDDEN));
    tiny.weights.put("b" + n, floatTensor("b" + n, bias, 3 * HIDDEN));
    String x =
        n == 0
            ? "/embeddings/LayerNorm/Add_1_output_0"
            : "/encoder/layer.%d/output/LayerNorm/Add_1_output_0".formatted(n - 1);
    String product = tiny.add(self + "qkv/Product", "MatMul", x, "w" + n);
    String sum = tiny.add(self + "qkv/Sum", "Add", product, "b" + n);
    if (split) {
      long[] sizes = {HIDDEN, HIDDEN, HIDDEN};
      String each = tiny.constant(self + "qkv/sizes", longTensor("", sizes, 3));
      tiny.nodes.put(
          self + "qkv/Split",
          node(self + "qkv/Split", "Split", List.of(sum, each), parts)
              .message(5, TinyBert.attribute("axis", -1)));
      return;
    }
    String axis = tiny.constant(self + "qkv/axis", longTensor("", new long[] {2}, 1));
    for (int i = 0; i < 3; i++) {
      String name = self + "qkv/Slice_" + i;
      long end = i == 2 ? Long.MAX_VALUE : (i + 1) * HIDDEN;
      String from =
          tiny.constant(name + "/from", longTensor("", new long[] {(long) i * HIDDEN}, 1));
      String to = tiny.constant(name + "/to", longTensor("", new long[] {end}, 1));
      List<String> inputs = List.of(sum, from, to, axis);
      tiny.nodes.put(name, node(name, "Slice", inputs, List.of(parts.get(i))));
    }
  }

  @ParameterizedTest
  @ValueSource(booleans = {true, false})
  void oneProductOfThree(boolean split) throws OnnxException, OrtException {
    merge(0, split, 0, 1, 2);
    merge(1, split, 2, 0, 1); // what is what is told by its use
    check();
  }

  // ---- Gemm ----------------------------------------------------------------------------------

  /** A product as Gemm of rows, its matrix turned. */
  private void gemm(String module, String x, int in, int out, boolean back) {
    String bias = module + ".bias";
    String path = "/" + module.replaceAll("\\.(?!\\d)", "/");
    String matrix = matrixOf(bias);
    float[] numbers = tiny.numbers.get(matrix);
    float[] turned = new float[in * out];
    for (int i = 0; i < turned.length; i++) {
      turned[i] = numbers[i % in * out + i / in];
    }
    tiny.weights.put(matrix, floatTensor(matrix, turned, out, in));
    String shape = tiny.constant(path + "/flat", longTensor("", new long[] {-1, in}, 2));
    String rows = tiny.add(path + "/Reshape", "Reshape", x, shape);
    tiny.nodes.remove(path + "/MatMul");
    String sum = path + "/Add_output_0";
    String product =
        tiny.add(TinyBert.attribute("transB", 1), path + "/Gemm", "Gemm", rows, matrix, bias);
    String deep = tiny.constant(path + "/deep", longTensor("", new long[] {1, -1, out}, 3));
    String operator = back ? "Reshape" : "Identity";
    List<String> inputs = back ? List.of(product, deep) : List.of(product);
    tiny.nodes.put(path + "/Add", node(path + "/Back", operator, inputs, List.of(sum)));
  }

  @Test
  void gemmOfRows() throws OnnxException, OrtException {
    String x = "/embeddings/LayerNorm/Add_1_output_0";
    String layer = "encoder.layer.0.";
    for (String part : List.of("query", "key", "value")) {
      gemm(layer + "attention.self." + part, x, HIDDEN, HIDDEN, true);
    }
    String context = SELF.formatted(0) + "Reshape_3_output_0";
    gemm(layer + "attention.output.dense", context, HIDDEN, HIDDEN, true);
    String attended = "/encoder/layer.0/attention/output/LayerNorm/Add_1_output_0";
    gemm(layer + "intermediate.dense", attended, HIDDEN, 6, false);
    String act = "/encoder/layer.0/intermediate/intermediate_act_fn/Mul_1_output_0";
    gemm(layer + "output.dense", act, 6, HIDDEN, true);
    check();
  }

  // ---- families and heads --------------------------------------------------------------------

  @Test
  void positionsBehindPadding() throws OnnxException, OrtException {
    tiny = TinyBert.roberta(11, 12);
    check();
    assertEquals(2, read().config().firstPosition());
    assertEquals(1, read().config().paddingId());
  }

  @Test
  void distilBert() throws OnnxException, OrtException {
    tiny = TinyBert.distilBert("", 11, 12);
    check();
    assertEquals(0, read().config().tokenTypes());
  }

  /** Tanh of the first token's state, or of another. */
  private void pooler(long token, String activation) {
    String last = "/encoder/layer.1/output/LayerNorm/Add_1_output_0";
    String index = tiny.constant("/n0", longTensor("", new long[] {token}));
    String first = tiny.add(TinyBert.attribute("axis", 1), "/n1", "Gather", last, index);
    String dense =
        tiny.add(
            TinyBert.attribute("transB", 1),
            "/n2",
            "Gemm",
            first,
            tiny.anonymous("w0", HIDDEN, HIDDEN),
            tiny.anonymous("b0", HIDDEN));
    String pooled = tiny.add("/n3", activation, dense);
    tiny.nodes.put("/n4", node("/n4", "Identity", List.of(pooled), List.of("pooled")));
    tiny.outputs = List.of("last_hidden_state", "pooled");
  }

  @Test
  void aPoolerWithoutItsName() throws OnnxException, OrtException {
    pooler(0, "Tanh");
    check();
    pooler(1, "Tanh");
    assertRefused("expected nothing behind the last layer");
    pooler(0, "Relu");
    assertRefused("expected nothing behind the last layer");
    pooler(0, "Tanh");
    String last = "/encoder/layer.1/output/LayerNorm/Add_1_output_0";
    tiny.add("/n5", "Add", last, "/n3_output_0");
    assertRefused("the value '/n3_output_0'");
  }

  // ---- close to attention --------------------------------------------------------------------

  @Test
  void otherOrders() {
    String self = SELF.formatted(1);
    for (int i = 0; i < 4; i++) {
      String from = i == 3 ? "MatMul_1_output_0" : "Reshape_%d_output_0".formatted(i);
      for (long[] order : new long[][] {{0, 1, 2, 3}, {0, 3, 2, 1}, {0, 1, 3, 2}}) {
        tiny.add(
            TinyBert.attribute("perm", order), self + "Transpose_" + i, "Transpose", self + from);
        assertRefused("rder");
      }
    }
  }

  @Test
  void masksOfOtherThings() throws OnnxException {
    String self = SELF.formatted(1);
    String scores = self + "Div_output_0";
    String state = "/encoder/layer.0/output/LayerNorm/Add_1_output_0";
    tiny.add(self + "Add", "Add", scores, tiny.add("/t", "Sqrt", state));
    assertRefused("expected a mask of texts");
    tiny.add(self + "Add", "Add", scores, self + "query/Add_output_0");
    assertRefused("expected a mask of texts");
    String made = tiny.add("/t", "Tanh", "/Mul_output_0");
    tiny.add(self + "Add", "Add", scores, made);
    assertRefused("expected a mask of");
    String table = "/table_output_0";
    OnnxWriter causal = OnnxWriter.tensor("", 9, 1, 1, 2, 2).bytes(9, new byte[] {1, 0, 1, 1});
    tiny.constant("/table", causal);
    String least = tiny.constant("/least", floatTensor("", new float[] {-1e4f}));
    tiny.add(self + "Add", "Where", table, scores, least);
    assertRefused("expected a mask of texts");
    String biases = tiny.constant("/table", longTensor("", new long[] {0, 1, 1, 0}, 1, 1, 2, 2));
    String real = tiny.add(TinyBert.attribute("to", 1), "/real", "Cast", biases);
    tiny.add(self + "Add", "Add", scores, real);
    assertRefused("expected a mask of texts");
    tiny.add(self + "Add", "Add", scores, "/Mul_output_0");
    read();
  }

  // ---- folders -------------------------------------------------------------------------------

  private static byte[] resource(String name) throws IOException {
    try (InputStream in = BertExportsTest.class.getResourceAsStream("/folders/" + name)) {
      return in.readAllBytes();
    }
  }

  private float[] embed(GatunRuntime runtime, Path folder) throws IOException {
    EmbeddingModelSpec spec = EmbeddingModelSpec.of(folder.toString());
    try (TextEmbedder model = TextEmbedder.load(runtime, spec)) {
      return model.embed("a b c");
    }
  }

  @Test
  void modelInOnnx() throws IOException {
    Path plain = Files.createDirectory(folder.resolve("plain"));
    Path below = Files.createDirectory(folder.resolve("below"));
    Path onnx = Files.createDirectory(below.resolve("onnx"));
    for (Path each : List.of(plain, below)) {
      Files.write(each.resolve("tokenizer.json"), resource("tokenizer.json"));
    }
    byte[] named = TinyBert.bert("", 20, 16).bytes();
    Files.write(plain.resolve("model.onnx"), named);
    Files.write(onnx.resolve("model.onnx"), BertVariantsTest.nameless(named));
    Files.writeString(below.resolve("config.json"), "{\"layer_norm_eps\": 1e-6}");
    try (GatunRuntime runtime = GatunRuntime.builder().threads(1).build()) {
      assertArrayEquals(embed(runtime, plain), embed(runtime, below));
      Files.writeString(below.resolve("config.json"), "{\"layer_norm_eps\": 1e-12}");
      String message = assertThrows(IOException.class, () -> embed(runtime, below)).getMessage();
      assertTrue(message.contains("layer_norm_eps"), message);
    }
  }

  /** Converters to half precision leave no epsilon below 1e-7; the graph's is computed with. */
  @Test
  void epsilonOfAConvertedModel() throws IOException {
    Files.writeString(folder.resolve("config.json"), "{\"layer_norm_eps\": 1e-12}");
    ModelConfig config = ModelConfig.read(folder);
    config.require(sizes(0x1p-23f), 12, true);
    assertThrows(OnnxException.class, () -> config.require(sizes(0x1p-23f), 12, false));
    assertThrows(OnnxException.class, () -> config.require(sizes(0x3p-24f), 12, true));
    assertThrows(OnnxException.class, () -> config.require(sizes(1e-5f), 12, true));
  }

  private static BertConfig sizes(float epsilon) {
    return new BertConfig(2, 8, 2, 4, 6, 11, 12, 2, epsilon);
  }
}
