package dev.gatun.support;

import static dev.gatun.support.OnnxWriter.floatTensor;
import static dev.gatun.support.OnnxWriter.longTensor;

import dev.gatun.io.OnnxException;
import dev.gatun.io.OnnxFile;
import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.util.Arrays;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Random;

/**
 * Writes an encoder as PyTorch exports it, small and with random weights: 2 layers, 8 wide, 2 heads
 * of 4, 6 between. ONNX Runtime runs it. Parts may be replaced and taken out by their names before
 * the bytes are made.
 */
public final class TinyBert {
  public static final int LAYERS = 2;
  public static final int HIDDEN = 8;

  private static final int INNER = 6;
  private static final int INTS = 7;

  /** Initializers by name. */
  public final Map<String, OnnxWriter> weights = new LinkedHashMap<>();

  /** The numbers of the initializers. */
  public final Map<String, float[]> numbers = new LinkedHashMap<>();

  /** Nodes by name. */
  public final Map<String, OnnxWriter> nodes = new LinkedHashMap<>();

  /** Names of outputs of the graph. */
  public List<String> outputs = List.of("last_hidden_state");

  private final Random random = new Random(3);
  private final String scope;
  private final int vocabulary;
  private final int positions;
  private final boolean distilled;

  private TinyBert(String scope, int vocabulary, int positions, boolean distilled) {
    this.scope = scope;
    this.distilled = distilled;
    this.vocabulary = vocabulary;
    this.positions = positions;
  }

  /**
   * An encoder whose positions count from 0.
   *
   * @param scope what it is called inside a bigger model: "", or "/bert"
   */
  public static TinyBert bert(String scope, int vocabulary, int positions) {
    TinyBert model = new TinyBert(scope, vocabulary, positions, false);
    model.embeddings(2, model.placesFrom(0));
    return model.layers();
  }

  /** An encoder whose positions count from behind those of padding, which has the id 1. */
  public static TinyBert roberta(int vocabulary, int positions) {
    TinyBert model = new TinyBert("", vocabulary, positions, false);
    model.embeddings(1, model.countedPlaces(1));
    return model.layers();
  }

  /**
   * DistilBERT: other names, no token types, queries divided instead of scores, and a mask that
   * replaces scores.
   *
   * @param scope what it is called inside a bigger model: "", or "/distilbert"
   */
  public static TinyBert distilBert(String scope, int vocabulary, int positions) {
    TinyBert model = new TinyBert(scope, vocabulary, positions, true);
    model.embeddings(0, model.placesFrom(0));
    return model.layers();
  }

  /** What the family calls a module of BERT. */
  private String module(String name) {
    return !distilled
        ? name
        : name.replace("encoder.layer", "transformer.layer")
            .replaceAll("attention\\.self\\.(.)\\w+", "attention.$1_lin")
            .replace("attention.self", "attention")
            .replace("attention.output.dense", "attention.out_lin")
            .replace("attention.output.LayerNorm", "sa_layer_norm")
            .replace("attention.output", "sa")
            .replace("intermediate.intermediate_act_fn", "ffn.activation")
            .replace("intermediate.dense", "ffn.lin1")
            .replace("output.dense", "ffn.lin2")
            .replace("output.LayerNorm", "output_layer_norm");
  }

  // ---- parts ---------------------------------------------------------------------------------

  /** Adds a node whose output has its name with {@code _output_0}; returns that. */
  public String add(String name, String operator, String... inputs) {
    String full = scope + name;
    String output = full + "_output_0";
    nodes.put(full, OnnxWriter.node(full, operator, List.of(inputs), List.of(output)));
    return output;
  }

  /** Adds a node with an attribute. */
  public String add(OnnxWriter attribute, String name, String operator, String... inputs) {
    String output = add(name, operator, inputs);
    nodes.get(scope + name).message(5, attribute);
    return output;
  }

  /** An INT attribute of one number, or an INTS attribute. */
  public static OnnxWriter attribute(String name, long... values) {
    OnnxWriter attribute = new OnnxWriter().text(1, name);
    if (values.length == 1 && !name.equals("axes")) {
      return attribute.number(3, values[0]).number(20, 2);
    }
    for (long value : values) {
      attribute.number(8, value);
    }
    return attribute.number(20, INTS);
  }

  /** Adds a Constant node. */
  public String constant(String name, OnnxWriter tensor) {
    String full = scope + name;
    String output = full + "_output_0";
    nodes.put(
        full,
        OnnxWriter.node(full, "Constant", List.of(), List.of(output))
            .message(5, new OnnxWriter().text(1, "value").message(5, tensor).number(20, 4)));
    return output;
  }

  private String number(String name, float value) {
    return constant(name, floatTensor("", new float[] {value}));
  }

  private String wholes(String name, long... values) {
    return constant(name, longTensor("", values, values.length));
  }

  /** Adds an initializer of random numbers under the name that PyTorch gives it here. */
  private String weight(String name, long... shape) {
    return anonymous(scope.isEmpty() ? name : scope.substring(1) + "." + name, shape);
  }

  /** Adds an initializer of random numbers. */
  public String anonymous(String name, long... shape) {
    float[] values = new float[(int) Arrays.stream(shape).reduce(1, (a, b) -> a * b)];
    for (int i = 0; i < values.length; i++) {
      values[i] = (float) random.nextGaussian(name.contains("LayerNorm.weight") ? 1 : 0, 0.4);
    }
    numbers.put(name, values);
    weights.put(name, floatTensor(name, values, shape));
    return name;
  }

  // ---- the model -----------------------------------------------------------------------------

  private String placesFrom(int first) {
    long[] table = new long[positions - first];
    Arrays.setAll(table, i -> first + i);
    String shape = add("/embeddings/Shape", "Shape", "input_ids");
    String end =
        add(
            "/embeddings/Slice_1",
            "Slice",
            shape,
            wholes("/embeddings/Constant_1", 1),
            wholes("/embeddings/Constant_2", 2));
    return add(
        "/embeddings/Slice",
        "Slice",
        constant("/embeddings/Constant", longTensor("", table, 1, table.length)),
        wholes("/embeddings/Constant_3", 0),
        end,
        wholes("/embeddings/Constant_4", 1));
  }

  private String countedPlaces(long padding) {
    OnnxWriter id = longTensor("", new long[] {padding});
    String equal =
        add("/embeddings/Equal", "Equal", "input_ids", constant("/embeddings/Constant", id));
    String not = add("/embeddings/Not", "Not", equal);
    String mask = add(attribute("to", 6), "/embeddings/Cast", "Cast", not);
    String axis = constant("/embeddings/Constant_1", longTensor("", new long[] {1}));
    String count = add("/embeddings/CumSum", "CumSum", mask, axis);
    String past = constant("/embeddings/Constant_2", intNumber(0));
    String sum = add("/embeddings/Add", "Add", count, past);
    String product = add("/embeddings/Mul", "Mul", sum, mask);
    String wide = add(attribute("to", 7), "/embeddings/Cast_1", "Cast", product);
    return add("/embeddings/Add_3", "Add", wide, constant("/embeddings/Constant_3", id));
  }

  private static OnnxWriter intNumber(int value) {
    return OnnxWriter.tensor("", 6).bytes(9, OnnxWriter.ints(value));
  }

  private void embeddings(int types, String places) {
    String table = "embeddings.%s_embeddings.weight";
    String gather = "/embeddings/%s_embeddings/Gather";
    String word =
        add(
            gather.formatted("word"),
            "Gather",
            weight(table.formatted("word"), vocabulary, HIDDEN),
            "input_ids");
    String type =
        types == 0
            ? null
            : add(
                gather.formatted("token_type"),
                "Gather",
                weight(table.formatted("token_type"), types, HIDDEN),
                "token_type_ids");
    String position =
        add(
            gather.formatted("position"),
            "Gather",
            weight(table.formatted("position"), positions, HIDDEN),
            places);
    String both = types == 0 ? word : add("/embeddings/Add_1", "Add", word, type);
    norm("embeddings.LayerNorm", add("/embeddings/Add_2", "Add", both, position));
  }

  private static String path(String name) {
    return "/" + name.replaceAll("\\.(?!\\d)", "/");
  }

  private String norm(String module, String x) {
    String name = module(module);
    String path = path(name);
    String mean = add(attribute("axes", -1), path + "/ReduceMean", "ReduceMean", x);
    String centered = add(path + "/Sub", "Sub", x, mean);
    String square = add(path + "/Pow", "Pow", centered, number(path + "/Constant", 2));
    String variance = add(attribute("axes", -1), path + "/ReduceMean_1", "ReduceMean", square);
    String sum = add(path + "/Add", "Add", variance, number(path + "/Constant_1", 1e-6f));
    String unit = add(path + "/Div", "Div", centered, add(path + "/Sqrt", "Sqrt", sum));
    String scaled = add(path + "/Mul", "Mul", unit, weight(name + ".weight", HIDDEN));
    return add(path + "/Add_1", "Add", scaled, weight(name + ".bias", HIDDEN));
  }

  private String linear(String module, String x, int in, int out) {
    String name = module(module);
    String bias = weight(name + ".bias", out);
    String product =
        add(
            path(name) + "/MatMul",
            "MatMul",
            x,
            anonymous("onnx::MatMul_" + weights.size(), in, out));
    return add(path(name) + "/Add", "Add", bias, product);
  }

  private String mask() {
    if (distilled) {
      String equal =
          add("/transformer/Equal", "Equal", "attention_mask", wholes("/transformer/Constant", 0));
      String shape = wholes("/transformer/Constant_1", 1, 1, 1, -1); // of one text
      return add("/transformer/Reshape", "Reshape", equal, shape);
    }
    String one = add("/Unsqueeze", "Unsqueeze", "attention_mask", wholes("/Constant_1", 1));
    String two = add("/Unsqueeze_1", "Unsqueeze", one, wholes("/Constant_2", 2));
    String real = add(attribute("to", 1), "/Cast", "Cast", two);
    String padded = add("/Sub", "Sub", number("/Constant", 1), real);
    return add("/Mul", "Mul", padded, number("/Constant_3", -10000));
  }

  private TinyBert layers() {
    String mask = mask();
    String x = scope + "/embeddings/LayerNorm/Add_1_output_0";
    for (int n = 0; n < LAYERS; n++) {
      String name = "encoder.layer." + n;
      String attended = attention(name, x, mask);
      x = feedForward(name, attended);
    }
    nodes.put("output", OnnxWriter.node("output", "Identity", List.of(x), outputs));
    return this;
  }

  private String attention(String name, String x, String mask) {
    String self = path(module(name + ".attention.self"));
    String shape = wholes(self + "/Constant", 0, 0, 2, 4);
    String[] heads = new String[3];
    for (int i = 0; i < 3; i++) {
      String part = List.of("query", "key", "value").get(i);
      String rows = linear(name + ".attention.self." + part, x, HIDDEN, HIDDEN);
      String split = add(self + "/Reshape_" + i, "Reshape", rows, shape);
      long[] order = i == 1 ? new long[] {0, 2, 3, 1} : new long[] {0, 2, 1, 3};
      heads[i] = add(attribute("perm", order), self + "/Transpose_" + i, "Transpose", split);
    }
    String scores;
    if (distilled) {
      String scaled = add(self + "/Div", "Div", heads[0], number(self + "/Constant_1", 2));
      String product = add(self + "/MatMul", "MatMul", scaled, heads[1]);
      String least = number(self + "/Constant_3", -Float.MAX_VALUE);
      scores = add(self + "/Where", "Where", mask, least, product);
    } else {
      String product = add(self + "/MatMul", "MatMul", heads[0], heads[1]);
      String scaled = add(self + "/Div", "Div", product, number(self + "/Constant_1", 2));
      scores = add(self + "/Add", "Add", scaled, mask);
    }
    String weights = add(self + "/Softmax", "Softmax", scores);
    String context = add(self + "/MatMul_1", "MatMul", weights, heads[2]);
    String rows = add(attribute("perm", 0, 2, 1, 3), self + "/Transpose_3", "Transpose", context);
    String merged =
        add(self + "/Reshape_3", "Reshape", rows, wholes(self + "/Constant_2", 0, 0, HIDDEN));
    String output = linear(name + ".attention.output.dense", merged, HIDDEN, HIDDEN);
    return norm(
        name + ".attention.output.LayerNorm",
        add(path(module(name + ".attention.output")) + "/Add", "Add", output, x));
  }

  private String feedForward(String name, String x) {
    String act = path(module(name + ".intermediate.intermediate_act_fn"));
    String h = linear(name + ".intermediate.dense", x, HIDDEN, INNER);
    String part = add(act + "/Div", "Div", h, number(act + "/Constant", (float) Math.sqrt(2)));
    String erf = add(act + "/Erf", "Erf", part);
    String sum = add(act + "/Add", "Add", erf, number(act + "/Constant_1", 1));
    String product = add(act + "/Mul", "Mul", h, sum);
    String half = add(act + "/Mul_1", "Mul", product, number(act + "/Constant_2", 0.5f));
    String output = linear(name + ".output.dense", half, INNER, HIDDEN);
    return norm(name + ".output.LayerNorm", add(path(name) + "/output/Add", "Add", output, x));
  }

  // ---- bytes ---------------------------------------------------------------------------------

  private static OnnxWriter value(String name, int type) {
    OnnxWriter tensor = new OnnxWriter().number(1, type);
    return new OnnxWriter().text(1, name).message(2, new OnnxWriter().message(1, tensor));
  }

  /** ModelProto. */
  public OnnxFile file(Arena arena) throws OnnxException {
    byte[] bytes = bytes();
    MemorySegment memory = arena.allocate(bytes.length).copyFrom(MemorySegment.ofArray(bytes));
    return OnnxFile.of(memory, "tiny.onnx", arena);
  }

  public byte[] bytes() {
    OnnxWriter graph = new OnnxWriter();
    nodes.values().forEach(node -> graph.message(1, node));
    graph.text(2, "tiny");
    weights.values().forEach(weight -> graph.message(5, weight));
    List<String> inputs = List.of("input_ids", "attention_mask", "token_type_ids");
    for (String input : distilled ? inputs.subList(0, 2) : inputs) {
      graph.message(11, value(input, 7));
    }
    outputs.forEach(output -> graph.message(12, value(output, 1)));
    return OnnxWriter.model(graph);
  }
}
