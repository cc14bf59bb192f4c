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
  private final boolean quantized;

  private TinyBert(
      String scope, int vocabulary, int positions, boolean distilled, boolean quantized) {
    this.scope = scope;
    this.distilled = distilled;
    this.quantized = quantized;
    this.vocabulary = vocabulary;
    this.positions = positions;
  }

  /**
   * An encoder whose positions count from 0.
   *
   * @param scope what it is called inside a bigger model: "", or "/bert"
   */
  public static TinyBert bert(String scope, int vocabulary, int positions) {
    TinyBert model = new TinyBert(scope, vocabulary, positions, false, false);
    model.embeddings(2, model.placesFrom(0));
    return model.layers();
  }

  /**
   * The same as ONNX Runtime's dynamic quantization leaves it. Matrices and tables have their names
   * in {@link #numbers}, dequantized, and with {@code _quantized}, {@code _scale} and {@code
   * _zero_point} in {@link #weights}.
   */
  public static TinyBert quantizedBert(String scope, int vocabulary, int positions) {
    TinyBert model = new TinyBert(scope, vocabulary, positions, false, true);
    model.embeddings(2, model.placesFrom(0));
    return model.layers();
  }

  /** The same of {@link #distilBert}. */
  public static TinyBert quantizedDistilBert(String scope, int vocabulary, int positions) {
    TinyBert model = new TinyBert(scope, vocabulary, positions, true, true);
    model.embeddings(0, model.placesFrom(0));
    return model.layers();
  }

  /** An encoder whose positions count from behind those of padding, which has the id 1. */
  public static TinyBert roberta(int vocabulary, int positions) {
    TinyBert model = new TinyBert("", vocabulary, positions, false, false);
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
    TinyBert model = new TinyBert(scope, vocabulary, positions, true, false);
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
    String word = lookUp("word", vocabulary, "input_ids");
    String type = types == 0 ? null : lookUp("token_type", types, "token_type_ids");
    String position = lookUp("position", positions, places);
    String both = types == 0 ? word : add("/embeddings/Add_1", "Add", word, type);
    norm("embeddings.LayerNorm", add("/embeddings/Add_2", "Add", both, position));
  }

  private String lookUp(String kind, int rows, String ids) {
    String gather = "/embeddings/%s_embeddings/Gather".formatted(kind);
    String name = "embeddings.%s_embeddings.weight".formatted(kind);
    if (!quantized) {
      return add(gather, "Gather", weight(name, rows, HIDDEN), ids);
    }
    String table = scope.isEmpty() ? name : scope.substring(1) + "." + name;
    quantizedWeight(table, true, rows, HIDDEN);
    return add(
        gather + "_output_0_DequantizeLinear",
        "DequantizeLinear",
        add(gather, "Gather", table + "_quantized", ids),
        table + "_scale",
        table + "_zero_point");
  }

  /** INT8 with a scale for each column, or UINT8 with one scale and zero point. */
  private void quantizedWeight(String name, boolean table, int rows, int columns) {
    int zero = table ? 119 : 0;
    float[] scales = new float[table ? 1 : columns];
    for (int i = 0; i < scales.length; i++) {
      scales[i] = 0.01f + 0.005f * random.nextFloat();
    }
    byte[] bytes = new byte[rows * columns];
    float[] values = new float[bytes.length];
    for (int i = 0; i < bytes.length; i++) {
      int number = zero + random.nextInt(-64, 65);
      bytes[i] = (byte) number;
      values[i] = (number - zero) * scales[table ? 0 : i % columns];
    }
    numbers.put(name, values);
    int type = table ? 2 : 3;
    String suffixed = name + "_quantized";
    weights.put(suffixed, OnnxWriter.tensor(suffixed, type, rows, columns).bytes(9, bytes));
    weights.put(name + "_scale", scales(name, scales, table));
    weights.put(name + "_zero_point", zeroPoint(name, zero, table ? -1 : columns));
  }

  private static OnnxWriter scales(String name, float[] scales, boolean one) {
    return one
        ? floatTensor(name + "_scale", scales)
        : floatTensor(name + "_scale", scales, scales.length);
  }

  /** Of each column of INT8, or of all of UINT8 if the columns are -1: a list, as it is written. */
  public static OnnxWriter zeroPoint(String name, int zero, int columns) {
    OnnxWriter list = new OnnxWriter();
    for (int i = 0; i < Math.abs(columns); i++) {
      list.varint(zero);
    }
    String suffixed = name + "_zero_point";
    OnnxWriter tensor =
        columns < 0 ? OnnxWriter.tensor(suffixed, 2) : OnnxWriter.tensor(suffixed, 3, columns);
    return tensor.message(5, list);
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
    String matrix = "onnx::MatMul_" + weights.size();
    String product =
        quantized
            ? quantizedProduct(path(name), x, matrix, in, out)
            : add(path(name) + "/MatMul", "MatMul", x, anonymous(matrix, in, out));
    return add(path(name) + "/Add", "Add", bias, product);
  }

  private String quantizedProduct(String path, String x, String matrix, int in, int out) {
    quantizedWeight(matrix, false, in, out);
    String node = x + "_QuantizeLinear";
    if (!nodes.containsKey(node)) {
      List<String> outputs = List.of(x + "_quantized", x + "_scale", x + "_zero_point");
      nodes.put(node, OnnxWriter.node(node, "DynamicQuantizeLinear", List.of(x), outputs));
    }
    String scales = add(path + "/MatMul_quant_scales_mul", "Mul", x + "_scale", matrix + "_scale");
    String product =
        add(
            path + "/MatMul_quant",
            "MatMulInteger",
            x + "_quantized",
            matrix + "_quantized",
            x + "_zero_point",
            matrix + "_zero_point");
    String cast = add(attribute("to", 1), path + "/MatMul_quant_cast", "Cast", product);
    return add(path + "/MatMul_quant_output_scale_mul", "Mul", cast, scales);
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
    return bytes(new OnnxWriter());
  }

  /** The same with a graph that has nodes already. */
  public byte[] bytes(OnnxWriter graph) {
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
