package dev.gatun.model;

import static dev.gatun.support.OnnxWriter.floatTensor;
import static dev.gatun.support.OnnxWriter.longTensor;
import static dev.gatun.support.OnnxWriter.node;
import static dev.gatun.support.OnnxWriter.tensor;
import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertNull;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import ai.onnxruntime.OrtException;
import dev.gatun.io.OnnxException;
import dev.gatun.support.OnnxWriter;
import dev.gatun.support.ReferenceBert;
import dev.gatun.support.TinyBert;
import java.lang.foreign.Arena;
import java.util.List;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.ValueSource;

/** What a graph has beside a plain encoder is followed, or refused by name. */
class BertLeftoversTest {
  private static final int ROWS = 12;

  private final Arena arena = Arena.ofShared();
  private TinyBert tiny = TinyBert.bert("", 11, ROWS);

  @AfterEach
  void close() {
    arena.close();
  }

  private BertWeights read() throws OnnxException {
    return BertWeights.from(tiny.file(arena), arena);
  }

  private void assertRefused(String... parts) {
    String message = assertThrows(OnnxException.class, this::read).getMessage();
    assertTrue(message.startsWith("tiny.onnx: "), message);
    for (String part : parts) {
      assertTrue(message.contains(part), message);
    }
  }

  /** Against ONNX Runtime, which runs the same bytes. */
  private void checkComputed(int... ids) throws OnnxException, OrtException {
    OnnxBert.check(tiny.bytes(), new ReferenceBert(read()), ids);
  }

  // ---- positions and token types -------------------------------------------------------------

  @Test
  void positionsFromZero() throws OnnxException, OrtException {
    checkComputed(2, 5, 1, 7, 3);
    assertEquals(0, read().config().firstPosition());
    assertEquals(-1, read().config().paddingId());
  }

  @Test
  void positionsBehindPadding() throws OnnxException, OrtException {
    tiny = TinyBert.roberta(11, ROWS);
    checkComputed(2, 5, 4, 7, 3);
    checkComputed(2, 5, 1, 1, 7, 3, 1);
    BertConfig config = read().config();
    assertEquals(2, config.firstPosition());
    assertEquals(1, config.paddingId());
    assertEquals(ROWS - 2, config.positions());
  }

  /** Its own names, no token types, queries divided, scores masked by selection. */
  @Test
  void distilBert() throws OnnxException, OrtException {
    for (String scope : new String[] {"", "/distilbert"}) {
      tiny = TinyBert.distilBert(scope, 11, ROWS);
      checkComputed(2, 5, 1, 7, 3);
      BertWeights weights = read();
      assertEquals(new BertConfig(2, 8, 2, 4, 6, 11, ROWS, 0, 1e-6f), weights.config());
      assertNull(weights.weights().find(Bert.TYPES));
    }
    String last = "/distilbert/transformer/layer.1/output_layer_norm/Add_1_output_0";
    tiny.nodes.put(
        "h", node("/vocab_transform/MatMul", "MatMul", List.of(last, "m"), List.of("l")));
    tiny.anonymous("m", 8, 8);
    tiny.anonymous("vocab_transform.bias", 8);
    read();
    tiny.anonymous("classifier.bias", 8);
    assertRefused("classifier.bias");
    tiny = TinyBert.distilBert("", 11, ROWS);
    tiny.add("/ReduceMean", "ReduceMean", "/transformer/layer.1/output_layer_norm/Add_1_output_0");
    assertRefused("/ReduceMean", "behind the last layer of /transformer");
    tiny = TinyBert.distilBert("", 11, ROWS);
    tiny.constant("/transformer/layer.1/attention/Constant_1", floatTensor("", new float[] {3}));
    assertRefused("sqrt(4), the head size, got 3.0");
    tiny = TinyBert.distilBert("", 11, ROWS);
    tiny.add("/transformer/layer.0/ffn/activation/Erf", "Tanh", "x");
    assertRefused("exact GELU");
    tiny = TinyBert.distilBert("", 11, ROWS);
    String sum = "/embeddings/Add_2";
    tiny.add(sum, "Add", sum + "x", "/embeddings/position_embeddings/Gather_output_0");
    String word = "/embeddings/word_embeddings/Gather_output_0";
    tiny.add(sum + "x", "Mul", word, word);
    assertRefused("embeddings: expected the sum of words and positions, got");
  }

  @Test
  void tablesOfPositions() throws OnnxException, OrtException {
    String table = "/embeddings/Constant";
    // A buffer that begins elsewhere, and one that is shorter than the table.
    tiny.constant(table, longTensor("", new long[] {3, 4, 5, 6, 7, 8}, 1, 6));
    checkComputed(2, 5, 1, 7, 3);
    assertEquals(3, read().config().firstPosition());
    assertEquals(6, read().config().positions());
    for (long[] wrong : new long[][] {{0, 2, 4}, {5, 4, 3}, {-1, 0, 1}, {12, 13}, {}}) {
      tiny.constant(table, longTensor("", wrong, 1, wrong.length));
      assertRefused("position ids: expected", "position_embeddings/Gather");
    }
    tiny = TinyBert.bert("", 11, ROWS);
    tiny.constant("/embeddings/Constant_3", longTensor("", new long[] {1}, 1));
    assertRefused("position ids", "/embeddings/position_embeddings/Gather");
  }

  @Test
  void otherPositionsAreRefused() {
    tiny = TinyBert.roberta(11, ROWS);
    tiny.constant("/embeddings/Constant_3", longTensor("", new long[] {0}));
    assertRefused("position ids");
    tiny = TinyBert.roberta(11, ROWS);
    tiny.add("/embeddings/Mul", "Mul", "/embeddings/Cast_output_0", "/embeddings/Cast_output_0");
    assertRefused("position ids");
    tiny = TinyBert.roberta(11, ROWS);
    tiny.constant("/embeddings/Constant_3", longTensor("", new long[] {ROWS}));
    assertRefused("position ids");
    String table = "embeddings.position_embeddings.weight";
    tiny = TinyBert.bert("", 11, ROWS);
    // Given by whoever runs the graph, and nothing says how.
    tiny.add("/embeddings/position_embeddings/Gather", "Gather", table, "position_ids");
    assertRefused("position ids");
  }

  @Test
  void tokenTypes() throws OnnxException, OrtException {
    String gather = "/embeddings/token_type_embeddings/Gather";
    String table = "embeddings.token_type_embeddings.weight";
    for (long type : new long[] {0, 1}) {
      tiny = TinyBert.bert("", 11, ROWS);
      tiny.add(gather, "Gather", table, tiny.constant("/t", longTensor("", new long[] {type})));
      if (type == 0) {
        checkComputed(2, 5, 3);
      } else {
        assertRefused("token types", gather);
      }
      // The same by a shape that is filled.
      tiny = TinyBert.bert("", 11, ROWS);
      String shape = tiny.add("/shape", "Shape", "input_ids");
      tiny.add(gather, "Gather", table, tiny.add("/filled", "ConstantOfShape", shape));
      OnnxWriter fill = longTensor("", new long[] {type}, 1);
      tiny.nodes
          .get("/filled")
          .message(5, new OnnxWriter().text(1, "value").message(5, fill).number(20, 4));
      if (type == 0) {
        checkComputed(2, 5, 3);
      } else {
        assertRefused("token types", gather);
      }
    }
  }

  // ---- shared weights ------------------------------------------------------------------------

  /** Exporters merge equal tensors, and put an Identity node before all uses but one. */
  @Test
  void identityNodes() throws OnnxException, OrtException {
    String kept = "encoder.layer.0.output.LayerNorm.weight";
    String merged = "encoder.layer.1.output.LayerNorm.weight";
    tiny.weights.remove(merged);
    tiny.nodes.put("i", node("i", "Identity", List.of(kept), List.of("between")));
    tiny.nodes.put("j", node("j", "Identity", List.of("between"), List.of(merged)));
    checkComputed(2, 5, 1, 7, 3);
    assertArrayEquals(tiny.numbers.get(kept), read().weights().get(merged).toFloatArray());
    // On the way of values as well.
    tiny.nodes.put(
        "k", node("k", "Identity", List.of("/encoder/layer.0/output/Add_output_0"), List.of("r")));
    tiny.add(
        "/encoder/layer.0/output/LayerNorm/Sub",
        "Sub",
        "r",
        "/encoder/layer.0/output/LayerNorm/ReduceMean_output_0");
    checkComputed(2, 5, 1, 7, 3);
    tiny.nodes.put("i", node("i", "Identity", List.of(merged), List.of("between")));
    assertRefused("lead back to themselves");
  }

  /** What a node uses is the weight, whatever name it has. */
  @Test
  void mergedNames() throws OnnxException, OrtException {
    String norm = "/encoder/layer.1/output/LayerNorm/";
    tiny.weights.remove("encoder.layer.1.output.LayerNorm.bias");
    tiny.add(norm + "Add_1", "Add", norm + "Mul_output_0", "embeddings.LayerNorm.bias");
    checkComputed(2, 5, 1, 7, 3);
  }

  // ---- leftovers -----------------------------------------------------------------------------

  @ParameterizedTest
  @ValueSource(
      strings = {
        "encoder.layer.0.attention.self.distance_embedding.weight",
        "encoder.layer.2.attention.self.query.bias",
        "encoder.layer.0.attention.self.q_norm.weight",
        "embeddings.word_embeddings_2.weight",
        "embeddings_project.weight",
        "classifier.weight",
        "onnx::MatMul_99"
      })
  void weightsThatNothingReads(String name) {
    tiny.anonymous(name, 8, 8);
    assertRefused("'" + name + "' [8, 8] FLOAT is nothing that Gatun reads");
  }

  @Test
  void constantsThatNothingReads() {
    tiny.constant("/alibi", floatTensor("", new float[4], 2, 2));
    assertRefused("'/alibi' [2, 2] FLOAT is nothing that Gatun reads");
    tiny = TinyBert.bert("", 11, ROWS);
    tiny.weights.put("q", tensor("q", 3, 4).bytes(9, new byte[4]));
    assertRefused("'q' [4] INT8 is nothing that Gatun reads");
  }

  @Test
  void whatIsKnownToBeUnneeded() throws OnnxException, OrtException {
    tiny.weights.put(
        "embeddings.position_ids", longTensor("embeddings.position_ids", new long[3], 1, 3));
    tiny.anonymous("pooler.dense.bias", 8);
    tiny.anonymous("cls.predictions.bias", 11);
    String product =
        tiny.add(
            "/pooler/dense/MatMul",
            "MatMul",
            "last_hidden_state",
            tiny.anonymous("onnx::MatMul_500", 8, 8));
    String sum = tiny.add("/pooler/dense/Add", "Add", product, "pooler.dense.bias");
    tiny.nodes.put(
        "tanh", node("/pooler/activation/Tanh", "Tanh", List.of(sum), List.of("pooler_output")));
    tiny.outputs = List.of("last_hidden_state", "pooler_output");
    checkComputed(2, 5, 1, 7, 3);
  }

  @Test
  void nodesBehindTheLastLayer() {
    tiny.add("/Tanh", "Tanh", "last_hidden_state");
    assertRefused("Tanh '/Tanh': expected nothing behind the last layer");
    tiny = TinyBert.bert("", 11, ROWS);
    tiny.outputs = List.of("last_hidden_state", "sentence_embedding");
    tiny.add("/ReduceMean", "ReduceMean", "/encoder/layer.1/output/LayerNorm/Add_1_output_0");
    tiny.nodes.put(
        "s", node("s", "Identity", List.of("/ReduceMean_output_0"), List.of("sentence_embedding")));
    assertRefused("ReduceMean '/ReduceMean': expected nothing behind");
  }

  @Test
  void otherOutputs() throws OnnxException {
    tiny.outputs = List.of("last_hidden_state", "/encoder/layer.0/output/LayerNorm/Add_1_output_0");
    read();
    tiny.outputs = List.of("/encoder/layer.0/output/LayerNorm/Add_1_output_0");
    assertRefused("outputs [/encoder/layer.0", "expected the last state");
    tiny.outputs = List.of("last_hidden_state", "/embeddings/Add_2_output_0");
    assertRefused("output '/embeddings/Add_2_output_0'");
    tiny.outputs = List.of("last_hidden_state", "nothing");
    assertRefused("output 'nothing'", "what nothing computes");
  }

  // ---- ways of values ------------------------------------------------------------------------

  @Test
  void otherWaysAreRefused() {
    String first = "/encoder/layer.0/";
    String x = "/embeddings/LayerNorm/Add_1_output_0";
    // The norm before the layer.
    tiny.add(
        first + "output/LayerNorm/Sub", "Sub", x, first + "output/LayerNorm/ReduceMean_output_0");
    assertRefused("ReduceMean");
    tiny = TinyBert.bert("", 11, ROWS);
    // No residual.
    tiny.add(first + "output/Add", "Add", first + "output/dense/Add_output_0", "other");
    assertRefused(first + "output/Add", "got 'other'");
    tiny = TinyBert.bert("", 11, ROWS);
    // Another input of the keys.
    tiny.add(
        first + "attention/self/key/MatMul",
        "MatMul",
        "/embeddings/Add_2_output_0",
        "onnx::MatMul_8");
    assertRefused(first + "attention/self/key/MatMul", "expected the input '" + x);
    tiny = TinyBert.bert("", 11, ROWS);
    // A norm of queries without weights.
    tiny.add(
        first + "attention/self/Transpose_0",
        "LpNormalization",
        first + "attention/self/Reshape_0_output_0");
    assertRefused("LpNormalization", "expected plain attention");
    tiny = TinyBert.bert("", 11, ROWS);
    // A fourth term.
    tiny.add(
        "/embeddings/Add_2",
        "Add",
        "/embeddings/Add_1_output_0",
        tiny.add(
            "/embeddings/more",
            "Mul",
            "/embeddings/position_embeddings/Gather_output_0",
            "/embeddings/word_embeddings/Gather_output_0"));
    assertRefused("embeddings: expected the sum");
    tiny = TinyBert.bert("", 11, ROWS);
    // A factor.
    String act = first + "intermediate/intermediate_act_fn/";
    tiny.constant(act + "Constant_2", floatTensor("", new float[] {0.25f}));
    assertRefused(act + "Mul_1", "got 0.25");
  }
}
