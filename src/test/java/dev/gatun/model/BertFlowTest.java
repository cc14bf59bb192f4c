package dev.gatun.model;

import static dev.gatun.support.OnnxWriter.floatTensor;
import static dev.gatun.support.OnnxWriter.longTensor;
import static dev.gatun.support.OnnxWriter.node;
import static dev.gatun.support.OnnxWriter.tensor;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import dev.gatun.io.OnnxException;
import dev.gatun.support.OnnxWriter;
import dev.gatun.support.TinyBert;
import java.lang.foreign.Arena;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.util.List;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.ValueSource;

/** Graphs that compute something close to an encoder, by an attribute, a number or a way. */
class BertFlowTest {
  private static final String SELF = "/encoder/layer.1/attention/self/";
  private static final String SCORES = SELF + "MatMul_output_0";
  private static final String DIV = SELF + "Div";
  private static final String Q = SELF + "Transpose_0_output_0";
  private static final String K = SELF + "Transpose_1_output_0";
  private static final String V = SELF + "Transpose_2_output_0";

  private final Arena arena = Arena.ofShared();
  private TinyBert tiny = TinyBert.bert("", 11, 12);

  @AfterEach
  void close() {
    arena.close();
  }

  private void read() throws OnnxException {
    BertConfig config = BertWeights.from(tiny.file(arena), arena).config();
    assertEquals(4, config.headDim());
  }

  private void assertRefused(String... parts) {
    String message = assertThrows(OnnxException.class, this::read).getMessage();
    for (String part : parts) {
      assertTrue(message.contains(part), message);
    }
    tiny = TinyBert.bert("", 11, 12);
  }

  private static byte[] doubleBytes(double value) {
    return ByteBuffer.allocate(8).order(ByteOrder.LITTLE_ENDIAN).putDouble(value).array();
  }

  private static OnnxWriter doubleTensor(double value) {
    return tensor("", 11).bytes(9, doubleBytes(value));
  }

  private String cast(String value) {
    return tiny.add(TinyBert.attribute("to", 1), "/cast", "Cast", value);
  }

  private String floatConstant(float value) {
    tiny.nodes.put(
        "/f",
        node("/f", "Constant", List.of(), List.of("f"))
            .message(5, new OnnxWriter().text(1, "value_float").fixed32(2, value).number(20, 1)));
    return "f";
  }

  // ---- the scale of scores -------------------------------------------------------------------

  @Test
  void otherScales() throws OnnxException {
    tiny.add(DIV, "Div", SCORES, floatConstant(2));
    read();
    tiny.add(DIV, "Div", SCORES, floatConstant(7));
    assertRefused("expected", "7.0");
    tiny.add(DIV, "Div", SCORES, cast(tiny.constant("/c", longTensor("", new long[] {2}))));
    read();
    tiny.add(DIV, "Div", SCORES, cast(tiny.constant("/c", floatTensor("", new float[] {7}))));
    assertRefused("expected", "7.0");
    tiny.add(DIV, "Div", SCORES, cast(tiny.constant("/c", doubleTensor(2))));
    read();
    OnnxWriter list = tensor("", 11).bytes(10, doubleBytes(2));
    tiny.add(DIV, "Div", SCORES, cast(tiny.constant("/c", list)));
    read();
    tiny.add(DIV, "Div", SCORES, cast(tiny.constant("/c", doubleTensor(7))));
    assertRefused("expected", "7.0");
    tiny.add(DIV, "Div", SCORES, tiny.constant("/c", doubleTensor(7)));
    assertRefused(DIV, "expected a number that is known");
    tiny.add(DIV, "Div", SCORES, "attention_mask");
    assertRefused(DIV, "expected a number that is known");
  }

  @Test
  void scoresAreScaledOnce() throws OnnxException {
    tiny.add(SELF + "Add", "Add", SCORES, "/Mul_output_0");
    assertRefused("expected scores divided by sqrt(4)");
    tiny.add(SELF + "Twice", "Div", DIV + "_output_0", SELF + "Constant_1_output_0");
    tiny.add(SELF + "Add", "Add", SELF + "Twice_output_0", "/Mul_output_0");
    assertRefused("expected scores divided by sqrt(4)");
    // As SDPA is exported: both sides by the fourth root, of a size of the query.
    tiny.add(SELF + "Add", "Add", SCORES, "/Mul_output_0");
    String shape = tiny.add(SELF + "Shape", "Shape", Q);
    String last = tiny.constant("/last", longTensor("", new long[] {-1}, 1));
    String end = tiny.constant("/end", longTensor("", new long[] {Long.MAX_VALUE}, 1));
    String size = tiny.add(SELF + "Slice", "Slice", shape, last, end);
    String real = tiny.add(TinyBert.attribute("to", 1), SELF + "Cast", "Cast", size);
    String root = tiny.add(SELF + "Sqrt", "Sqrt", real);
    String one = tiny.constant("/one", floatTensor("", new float[] {1}));
    String scale = tiny.add(SELF + "Div_1", "Div", one, root);
    String half = tiny.add(SELF + "Sqrt_1", "Sqrt", scale);
    String q = tiny.add(SELF + "Mul", "Mul", Q, half);
    String k = tiny.add(SELF + "Mul_1", "Mul", K, half);
    tiny.add(SELF + "MatMul", "MatMul", q, k);
    read();
    tiny.add(SELF + "MatMul", "MatMul", q, K);
    assertRefused("expected scores divided by sqrt(4)");
  }

  @Test
  void projectionsInOtherPlaces() {
    tiny.add(SELF + "MatMul", "MatMul", K, Q);
    assertRefused(SELF + "MatMul", "/query/Add");
    tiny.add(SELF + "MatMul", "MatMul", Q, V);
    tiny.add(SELF + "MatMul_1", "MatMul", SELF + "Softmax_output_0", K);
    assertRefused(SELF + "MatMul_1", "/value/Add");
    tiny.add(SELF + "Value", "Div", V, SELF + "Constant_1_output_0");
    tiny.add(SELF + "MatMul_1", "MatMul", SELF + "Softmax_output_0", SELF + "Value_output_0");
    assertRefused(SELF + "MatMul_1", "expected no factor");
  }

  // ---- attributes ----------------------------------------------------------------------------

  @Test
  void axesOfSoftmax() throws OnnxException {
    for (int axis : new int[] {3, -1, 1, 2, -2, 0}) {
      tiny.add(
          TinyBert.attribute("axis", axis), SELF + "Softmax", "Softmax", SELF + "Add_output_0");
      if (axis == 3 || axis == -1) {
        read();
      } else {
        assertRefused(SELF + "Softmax", "expected the axis -1 or 3", "got " + axis);
      }
    }
  }

  @Test
  void orderOfATurnedMatrix() throws OnnxException {
    String product = SELF + "query/MatMul";
    String x = "/encoder/layer.0/output/LayerNorm/Add_1_output_0";
    tiny.anonymous("w", 8, 8);
    for (long[] order : new long[][] {{1, 0}, {0, 1}}) {
      tiny.weights.keySet().removeIf(name -> name.equals(queryWeight()));
      tiny.weights.putIfAbsent("w", floatTensor("w", new float[64], 8, 8));
      tiny.add(
          product,
          "MatMul",
          x,
          tiny.add(TinyBert.attribute("perm", order), "/t", "Transpose", "w"));
      if (order[0] == 1) {
        read();
      } else {
        assertRefused("/t", "expected the order [1, 0], got [0, 1]");
      }
    }
  }

  /** The first matrix of the second layer. */
  private String queryWeight() {
    List<String> names = List.copyOf(tiny.weights.keySet());
    int bias = names.indexOf("encoder.layer.1.attention.self.query.bias");
    return names.get(bias + 1).startsWith("onnx::") ? names.get(bias + 1) : "";
  }

  @Test
  void axesOfNorms() {
    String norm = "/encoder/layer.1/output/LayerNorm/";
    tiny.add(
        TinyBert.attribute("axes", 1), norm + "ReduceMean_1", "ReduceMean", norm + "Pow_output_0");
    assertRefused(norm + "ReduceMean_1", "expected the axis -1 or 2, got [1]");
    tiny.add(
        TinyBert.attribute("axes", 1),
        norm + "ReduceMean",
        "ReduceMean",
        "/encoder/layer.1/output/Add_output_0");
    assertRefused(norm + "ReduceMean", "expected the axis -1 or 2, got [1]");
  }

  @ParameterizedTest
  @ValueSource(strings = {"exclusive", "reverse"})
  void countsOfAnotherKind(String attribute) throws OnnxException {
    for (int value = 0; value < 2; value++) {
      tiny = TinyBert.roberta(11, 12);
      tiny.nodes.get("/embeddings/CumSum").message(5, TinyBert.attribute(attribute, value));
      if (value == 0) {
        read();
      } else {
        assertRefused("position ids");
      }
    }
  }

  // ---- GELU ----------------------------------------------------------------------------------

  @Test
  void numbersOfGeluThatNothingReads() {
    String act = "/encoder/layer.1/intermediate/intermediate_act_fn/";
    for (String input : new String[] {tiny.constant("/d", doubleTensor(3)), "attention_mask"}) {
      tiny.constant("/d", doubleTensor(3));
      tiny.add(act + "Mul_1", "Mul", act + "Mul_output_0", input);
      assertRefused(act + "Mul_1", "expected the layer's output or one number");
    }
  }
}
