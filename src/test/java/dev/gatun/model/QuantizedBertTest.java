package dev.gatun.model;

import static dev.gatun.support.OnnxWriter.floatTensor;
import static dev.gatun.support.OnnxWriter.node;
import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertNull;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import ai.onnxruntime.OrtException;
import dev.gatun.DType;
import dev.gatun.GatunRuntime;
import dev.gatun.Tensor;
import dev.gatun.io.OnnxException;
import dev.gatun.nn.TextEncoder;
import dev.gatun.support.Dequantized;
import dev.gatun.support.OnnxWriter;
import dev.gatun.support.ReferenceBert;
import dev.gatun.support.TinyBert;
import java.io.IOException;
import java.lang.foreign.Arena;
import java.util.Arrays;
import java.util.List;
import java.util.stream.Stream;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;
import org.junit.jupiter.params.provider.MethodSource;

/** Graphs as ONNX Runtime's dynamic quantization leaves them. */
class QuantizedBertTest {

  private static final String[] TEXTS = {
    "The cat sits on the mat.",
    "A café in Zürich, 9 a.m.: 20 °C!",
    "Native code sees one step at a time, and would refuse the second when the first has been"
        + " written.",
    "no"
  };

  private final Arena arena = Arena.ofShared();

  @AfterEach
  void closeArena() {
    arena.close();
  }

  // ---- real models

  @ParameterizedTest
  @CsvSource({"minilm, 6", "bge-small, 12", "e5-small, 12"})
  void realModelHasTheRoundedNumbersOfTheFloats(String name, int layers) throws IOException {
    BertWeights floats = BertWeights.from(EmbeddingModelSpec.of(name).openModel(arena), arena);
    EmbeddingModelSpec spec = EmbeddingModelSpec.of(name + "-q");
    BertWeights read = BertWeights.from(spec.openModel(arena), arena);
    assertEquals(floats.config(), read.config());
    assertEquals(floats.weights().names(), read.weights().names());
    int matrices = 0;
    for (String weight : read.weights().names()) {
      Tensor expected = floats.weights().get(weight);
      Tensor actual = read.weights().get(weight);
      assertArrayEquals(expected.shape(), actual.shape(), weight);
      Tensor scales = read.weights().scales(weight);
      if (actual.dtype() == DType.INT8) {
        matrices++;
        assertArrayEquals(new long[] {actual.size(0)}, scales.shape(), weight);
        assertEquals(0, read.weights().zeroPoint(weight));
        assertRounded(weight, expected, actual, scales);
      } else if (weight.equals(Bert.WORDS)) {
        assertEquals(DType.UINT8, actual.dtype());
        assertArrayEquals(new long[] {1}, scales.shape());
        assertEquals(128, read.weights().zeroPoint(weight));
      } else if (weight.equals(Bert.POSITIONS) || weight.equals(Bert.TYPES)) {
        assertEquals(DType.FLOAT32, actual.dtype());
        assertNull(scales);
      } else {
        assertNull(scales);
        assertArrayEquals(expected.toFloatArray(), actual.toFloatArray(), weight);
      }
    }
    assertEquals(6 * layers, matrices);
    BertWeights back = Dequantized.of(read, arena);
    for (String table : List.of(Bert.WORDS, Bert.POSITIONS, Bert.TYPES)) {
      assertNear(table, floats.weights().get(table), back.weights().get(table));
    }
  }

  private static void assertRounded(String name, Tensor floats, Tensor numbers, Tensor scales) {
    for (int out = 0; out < numbers.size(0); out++) {
      float scale = scales.getFloat(out);
      for (int in = 0; in < numbers.size(1); in++) {
        int number = Dequantized.number(numbers, out, in);
        if (Math.rint(floats.getFloat(out, in) / scale) != number) {
          throw new AssertionError(
              "%s[%d][%d]: %s is no %d times %s"
                  .formatted(name, out, in, floats.getFloat(out, in), number, scale));
        }
      }
    }
  }

  /** Of a table with one scale: half of it is lost at most, which is found from the elements. */
  private static void assertNear(String name, Tensor floats, Tensor numbers) {
    float[] expected = floats.toFloatArray();
    float[] actual = numbers.toFloatArray();
    float least = 0;
    float most = 0;
    for (float element : expected) {
      least = Math.min(least, element);
      most = Math.max(most, element);
    }
    float scale = (most - least) / 255;
    double worst = 0;
    for (int i = 0; i < expected.length; i++) {
      worst = Math.max(worst, Math.abs((double) expected[i] - actual[i]));
    }
    assertTrue(worst > 0 && worst <= 1.1 * scale, "%s: %s, scale %s".formatted(name, worst, scale));
  }

  /** Weights made floats, words as they are: what is computed with them, in double and by Gatun. */
  @Test
  void realModelComputesWhatItsWeightsSay() throws IOException, OrtException {
    EmbeddingModelSpec spec = EmbeddingModelSpec.MINILM_Q;
    BertWeights read = BertWeights.from(spec.openModel(arena), arena);
    BertWeights floats = Dequantized.of(read, arena);
    Tokenizer tokenizer = spec.loadTokenizer();
    try (GatunRuntime runtime = GatunRuntime.create();
        OnnxBert exact = new OnnxBert(EmbeddingModelSpec.MINILM, 1);
        OnnxBert theirs = new OnnxBert(spec, 1)) {
      TextEncoder all = Bert.of("floats", runtime, floats, arena);
      TextEncoder words =
          Bert.of("words", runtime, Dequantized.but(Bert.WORDS, read, arena), arena);
      for (String text : TEXTS) {
        int[] ids = tokenizer.encode(text).ids();
        float[] hidden = forward(words, ids);
        assertArrayEquals(forward(all, ids), hidden, "bits of a table of bytes");
        double[][] want = new ReferenceBert(floats).forward(ids);
        for (int i = 0; i < hidden.length; i++) {
          assertEquals(want[i / 384][i % 384], hidden[i], 2e-5);
        }
        double ours = cosine(mean(exact.hidden(ids)[0]), mean(hidden));
        double others = cosine(mean(exact.hidden(ids)[0]), mean(theirs.hidden(ids)[0]));
        assertTrue(ours > 0.99 && ours > others, "%s: %s, %s".formatted(text, ours, others));
      }
    }
  }

  private float[] forward(TextEncoder encoder, int[] ids) {
    Tensor out = Tensor.allocate(arena, DType.FLOAT32, ids.length, encoder.dim());
    encoder.forward(Tensor.copyOf(arena, ids, ids.length), out);
    return out.toFloatArray();
  }

  private static double[] mean(float[] hidden) {
    double[] mean = new double[384];
    for (int i = 0; i < hidden.length; i++) {
      mean[i % 384] += hidden[i];
    }
    return mean;
  }

  private static double cosine(double[] a, double[] b) {
    double ab = 0;
    double aa = 0;
    double bb = 0;
    for (int i = 0; i < a.length; i++) {
      ab += a[i] * b[i];
      aa += a[i] * a[i];
      bb += b[i] * b[i];
    }
    return ab / Math.sqrt(aa * bb);
  }

  // ---- a tiny model: 2 layers, 8 wide, 2 heads of 4, 6 between

  private static final String QUERY = "/encoder/layer.0/attention/self/query/";
  private static final String X = "/embeddings/LayerNorm/Add_1_output_0";

  private TinyBert tiny = TinyBert.quantizedBert("", 11, 5);

  private void tiny() {
    tiny = TinyBert.quantizedBert("", 11, 5);
  }

  private BertWeights read() throws OnnxException {
    return BertWeights.from(tiny.file(arena), arena);
  }

  private void assertRefused(String part) {
    String message = assertThrows(OnnxException.class, this::read).getMessage();
    assertTrue(message.startsWith("tiny.onnx: "), message);
    assertTrue(message.contains(part), message);
  }

  /** The name of the matrix that a layer multiplies with, before the suffixes. */
  private String matrix(String product) {
    return new String(tiny.nodes.get(product + "MatMul_quant_scales_mul").toBytes())
        .replaceAll("(?s).*(onnx::MatMul_\\d+)_scale.*", "$1");
  }

  @Test
  void tinyModel() throws OnnxException, OrtException {
    BertWeights read = read();
    assertEquals(new BertConfig(2, 8, 2, 4, 6, 11, 5, 2, 1e-6f), read.config());
    BertWeights floats = Dequantized.of(read, arena);
    for (String table : List.of(Bert.WORDS, Bert.POSITIONS, Bert.TYPES)) {
      assertArrayEquals(tiny.numbers.get(table), floats.weights().get(table).toFloatArray());
    }
    assertEquals(119, read.weights().zeroPoint(Bert.WORDS));
    String query = "encoder.layer.0.attention.self.query.weight";
    Tensor weight = read.weights().get(query);
    assertEquals(DType.INT8, weight.dtype());
    assertEquals(1, weight.stride(0), "a view of [in, out]");
    assertArrayEquals(
        tiny.numbers.get(matrix(QUERY)),
        floats.weights().get(query).transpose(0, 1).toFloatArray());
    assertNull(read.weights().scales("encoder.layer.0.attention.self.query.bias"));
    assertNull(read.weights().scales("encoder.layer.0.attention.output.LayerNorm.weight"));

    int[] ids = {3, 1, 10, 4};
    double[][] want = new ReferenceBert(floats).forward(ids);
    float[] hidden = OnnxBert.hidden(tiny.bytes(), ids);
    for (int i = 0; i < hidden.length; i++) { // they round x to 8 bits
      assertEquals(want[i / 8][i % 8], hidden[i], 0.15);
    }
    try (GatunRuntime runtime = GatunRuntime.create()) {
      BertWeights words = Dequantized.but(Bert.WORDS, read, arena);
      float[] ours = forward(Bert.of("tiny", runtime, words, arena), ids);
      for (int i = 0; i < ours.length; i++) {
        assertEquals(want[i / 8][i % 8], ours[i], 1e-5);
      }
    }
  }

  @Test
  void otherFamiliesAndScopes() throws OnnxException {
    BertConfig config = read().config();
    tiny = TinyBert.quantizedBert("/bert", 11, 5);
    assertEquals(config, read().config());
    tiny = TinyBert.quantizedDistilBert("", 11, 5);
    BertWeights read = read();
    assertEquals(0, read.config().tokenTypes());
    assertEquals(DType.INT8, read.weights().get("transformer.layer.1.ffn.lin2.weight").dtype());
    assertEquals(8, read.weights().scales("transformer.layer.1.ffn.lin2.weight").size(0));
  }

  @Test
  void oneScaleForAllOutputs() throws OnnxException {
    String matrix = matrix(QUERY);
    for (long[] shape : new long[][] {{}, {1}}) {
      tiny.weights.put(
          matrix + "_scale", floatTensor(matrix + "_scale", new float[] {0.25f}, shape));
      tiny.weights.put(
          matrix + "_zero_point",
          OnnxWriter.tensor(matrix + "_zero_point", 3, shape).bytes(9, new byte[1]));
      float[] scales =
          read().weights().scales("encoder.layer.0.attention.self.query.weight").toFloatArray();
      float[] expected = new float[8];
      Arrays.fill(expected, 0.25f);
      assertArrayEquals(expected, scales);
    }
  }

  static Stream<String> names() {
    return TinyBert.quantizedBert("", 11, 5).weights.keySet().stream();
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
    assertRefused("expected");
  }

  @Test
  void otherZeroPointsAreRefused() {
    String matrix = matrix(QUERY);
    for (byte number : new byte[] {1, -1, -128}) {
      for (int at : new int[] {0, 7}) {
        tiny();
        byte[] zeros = new byte[8];
        zeros[at] = number;
        String name = matrix + "_zero_point";
        tiny.weights.put(name, OnnxWriter.tensor(name, 3, 8).bytes(9, zeros));
        assertRefused(
            "weight encoder.layer.0.attention.self.query.weight: expected the zero point 0, got %d"
                .formatted(number));
      }
    }
    tiny();
    String name = matrix + "_zero_point";
    tiny.weights.put(name, OnnxWriter.tensor(name, 2, 8).bytes(9, new byte[8]));
    assertRefused("expected [8] int8");
    tiny.weights.put(name, OnnxWriter.tensor(name, 3, 6).bytes(9, new byte[6]));
    assertRefused("expected [8] int8");
    tiny();
    String quantized = matrix + "_quantized";
    tiny.weights.put(quantized, OnnxWriter.tensor(quantized, 2, 8, 8).bytes(9, new byte[64]));
    assertRefused("query.weight: expected [8, 8] int8");
  }

  @Test
  void otherScalesAreRefused() {
    String name = matrix(QUERY) + "_scale";
    for (float wrong : new float[] {0, -1, Float.NaN, Float.POSITIVE_INFINITY}) {
      tiny();
      float[] scales = {1, 1, 1, 1, 1, 1, 1, wrong};
      tiny.weights.put(name, floatTensor(name, scales, 8));
      assertRefused("expected scales that are finite and above 0, got " + wrong);
      tiny();
      String words = Bert.WORDS + "_scale";
      tiny.weights.put(words, floatTensor(words, new float[] {wrong}));
      assertRefused("weight " + Bert.WORDS + ": expected scales that are finite and above 0");
    }
    tiny();
    tiny.weights.put(name, floatTensor(name, new float[6], 6));
    assertRefused("scale: expected [8] float32");
    // of another layer's input, and without the input's
    tiny();
    String other = "/encoder/layer.0/attention/output/LayerNorm/Add_1_output_0_scale";
    tiny.add(QUERY + "MatMul_quant_scales_mul", "Mul", other, name);
    assertRefused("expected '" + X + "_scale'");
    tiny.add(QUERY + "MatMul_quant_scales_mul", "Add", X + "_scale", name);
    assertRefused("of Mul, got Add");
    tiny.add(QUERY + "MatMul_quant_scales_mul", "Mul", X + "_scale", X + "_scale");
    assertRefused("is no constant");
  }

  @Test
  void productsOfAnotherValueAreRefused() {
    String other = "/encoder/layer.0/attention/output/LayerNorm/Add_1_output_0";
    String matrix = matrix(QUERY);
    String product = QUERY + "MatMul_quant";
    String[][] inputs = {
      {other + "_quantized", matrix + "_quantized", other + "_zero_point", matrix + "_zero_point"},
      {other + "_quantized", matrix + "_quantized", X + "_zero_point", matrix + "_zero_point"},
      {X + "_quantized", matrix + "_quantized", other + "_zero_point", matrix + "_zero_point"},
      {X + "_zero_point", matrix + "_quantized", X + "_quantized", matrix + "_zero_point"},
      {X + "_quantized", matrix + "_quantized", matrix + "_zero_point", matrix + "_zero_point"},
      {X + "_quantized", matrix + "_quantized", X + "_zero_point"},
      {X + "_quantized", matrix + "_quantized"},
      {matrix + "_quantized", X + "_quantized", X + "_zero_point", matrix + "_zero_point"}
    };
    for (String[] wrong : inputs) {
      tiny();
      tiny.add(product, "MatMulInteger", wrong);
      assertRefused("expected");
    }
    tiny();
    tiny.add(product, "MatMul", inputs[0]);
    assertRefused("expected 2 inputs");
    tiny.add(product, "QLinearMatMul", inputs[0]);
    assertRefused("expected MatMul or MatMulInteger");
    // x is quantized from another value
    tiny();
    String quantizer = X + "_QuantizeLinear";
    List<String> outputs = List.of(X + "_quantized", X + "_scale", X + "_zero_point");
    tiny.nodes.put(
        quantizer,
        node(quantizer, "DynamicQuantizeLinear", List.of("/embeddings/Add_2_output_0"), outputs));
    assertRefused("expected the input '" + X + "'");
    tiny.nodes.put(quantizer, node(quantizer, "QuantizeLinear", List.of(X), outputs));
    assertRefused("of DynamicQuantizeLinear, got QuantizeLinear");
    tiny.nodes.put(
        quantizer, node(quantizer, "DynamicQuantizeLinear", List.of(X), outputs.subList(0, 2)));
    assertRefused("expected 3 outputs");
    tiny.nodes.remove(quantizer);
    assertRefused("of DynamicQuantizeLinear, got none");
  }

  @Test
  void whatFollowsAProductIsChecked() {
    String cast = QUERY + "MatMul_quant_cast";
    String integers = QUERY + "MatMul_quant_output_0";
    tiny.add(TinyBert.attribute("to", 10), cast, "Cast", integers);
    assertRefused("expected a cast to float, got type 10");
    tiny.add(cast, "Neg", integers);
    assertRefused("in one Cast");
    tiny();
    tiny.add("/more", "Neg", integers);
    assertRefused("in one Cast");
    tiny();
    String scaled = QUERY + "MatMul_quant_output_scale_mul";
    String scales = QUERY + "MatMul_quant_scales_mul_output_0";
    tiny.add(scaled, "Add", QUERY + "MatMul_quant_cast_output_0", scales);
    assertRefused("in one Mul");
    tiny.add(scaled, "Mul", QUERY + "MatMul_quant_cast_output_0", X + "_scale");
    assertRefused("of Mul, got DynamicQuantizeLinear");
    tiny();
    tiny.add(
        QUERY + "Add",
        "Add",
        "encoder.layer.0.attention.self.query.bias",
        QUERY + "MatMul_quant_cast_output_0");
    assertRefused("expected");
  }

  @Test
  void whatIsLeftOverIsRefused() {
    tiny.weights.put("more", OnnxWriter.tensor("more", 3, 2).bytes(9, new byte[2]));
    assertRefused("'more' [2] INT8 is nothing that Gatun reads");
    tiny.weights.put("more", OnnxWriter.tensor("more", 2, 2).bytes(9, new byte[2]));
    assertRefused("'more' [2] UINT8 is nothing that Gatun reads");
    tiny();
    String last = "/encoder/layer.1/output/LayerNorm/Add_1_output_0";
    tiny.nodes.put("q", node("q", "DynamicQuantizeLinear", List.of(last), List.of("a", "b", "c")));
    assertRefused("expected nothing behind the last layer");
    // a layer's matrix is another's
    tiny();
    String matrix = matrix(QUERY);
    String other = matrix("/encoder/layer.0/attention/self/key/");
    tiny.add(
        QUERY + "MatMul_quant",
        "MatMulInteger",
        X + "_quantized",
        other + "_quantized",
        X + "_zero_point",
        other + "_zero_point");
    tiny.add(QUERY + "MatMul_quant_scales_mul", "Mul", X + "_scale", other + "_scale");
    assertRefused("the weight '" + matrix);
  }

  @Test
  void otherTablesAreRefused() throws OnnxException {
    String gather = "/embeddings/word_embeddings/Gather";
    String dequantize = gather + "_output_0_DequantizeLinear";
    String rows = gather + "_output_0";
    String words = Bert.WORDS;
    tiny.add(dequantize, "DequantizeLinear", rows, words + "_scale");
    assertRefused("expected 3 inputs");
    tiny.add(dequantize, "Cast", rows);
    assertRefused("weight " + words + ": expected [any, any] float32");
    tiny.add(dequantize, "DequantizeLinear", words + "_scale", rows, words + "_zero_point");
    assertRefused("expected the input '" + rows + "'");
    tiny();
    tiny.add("/more", "Neg", rows);
    assertRefused("in one DequantizeLinear");
    tiny();
    String name = words + "_zero_point";
    tiny.weights.put(name, OnnxWriter.tensor(name, 3).bytes(9, new byte[1]));
    assertRefused("expected [] uint8");
    tiny.weights.put(name, OnnxWriter.tensor(name, 2, 11).bytes(9, new byte[11]));
    assertRefused("expected [1] uint8");
    tiny.weights.put(name, OnnxWriter.tensor(name, 2, 1).bytes(9, new byte[] {-1}));
    assertEquals(255, read().weights().zeroPoint(words));
    tiny.weights.put(
        words + "_quantized",
        OnnxWriter.tensor(words + "_quantized", 3, 11, 8).bytes(9, new byte[88]));
    assertRefused("weight " + words + ": expected [any, any] uint8");
    // the sum takes what has not been dequantized
    tiny();
    tiny.add("/embeddings/Add_1", "Add", rows, rows);
    assertRefused("expected");
  }
}
