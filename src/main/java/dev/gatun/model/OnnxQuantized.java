package dev.gatun.model;

import dev.gatun.DType;
import dev.gatun.Tensor;
import dev.gatun.io.OnnxException;
import dev.gatun.io.OnnxFile.Node;
import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;

/**
 * What ONNX Runtime's dynamic quantization makes of a graph, read back. A product x · W becomes
 *
 * <pre>{@code
 * q, scale, zero = DynamicQuantizeLinear(x)                    may serve several products
 * MatMulInteger(q, weight_quantized, zero, weight_zero_point)
 *   → Cast to float → Mul by Mul(scale, weight_scale)
 * }</pre>
 *
 * and a look-up in a table Gather(table_quantized) → DequantizeLinear. How the graph quantizes x is
 * not what Gatun does: one scale for the whole tensor there, one for each row here.
 */
final class OnnxQuantized {

  /** TensorProto.DataType. */
  private static final int FLOAT = 1;

  private final OnnxGraph graph;
  private final Arena arena;

  /**
   * Prepares to read.
   *
   * @param arena gets scales
   */
  OnnxQuantized(OnnxGraph graph, Arena arena) {
    this.graph = graph;
    this.arena = arena;
  }

  // ---- products ------------------------------------------------------------------------------

  /**
   * A product that was read.
   *
   * @param weight {@code [in, out]} INT8
   * @param scales {@code [out]} FLOAT32
   * @param value what it computes
   */
  record Product(Tensor weight, Tensor scales, String value) {}

  /** What a MatMulInteger multiplies, before it is quantized. */
  String inputOf(Node product) throws OnnxException {
    return graph.input(quantizer(product), 0);
  }

  private Node quantizer(Node product) throws OnnxException {
    if (product.inputs().size() != 4) {
      throw graph.error("%s: expected 4 inputs, got %s".formatted(product, product.inputs()));
    }
    Node quantizer = graph.producer(graph.input(product, 0), "DynamicQuantizeLinear");
    if (quantizer.outputs().size() != 3) {
      throw graph.error("%s: expected 3 outputs, got %s".formatted(quantizer, quantizer.outputs()));
    }
    require(product, graph.input(product, 0), quantizer.outputs().get(0));
    require(product, graph.input(product, 2), quantizer.outputs().get(2));
    return quantizer;
  }

  /** Reads a MatMulInteger of x, which {@link #inputOf} returned. */
  Product product(String name, Node product, int in, int out) throws OnnxException {
    Node quantizer = quantizer(product);
    Tensor weight = graph.weight(name, graph.input(product, 1), DType.INT8, in, out);
    int outputs = (int) weight.size(1);
    String zeroPoint = graph.input(product, 3);
    for (byte number : bytes(vector(name + " zero point", zeroPoint, DType.INT8, outputs))) {
      if (number != 0) {
        throw graph.error(
            "weight %s: expected the zero point 0, got %d in '%s'"
                .formatted(name, number, zeroPoint));
      }
    }
    Node cast = graph.consumer(graph.output(product), "Cast");
    if (cast.longAttribute("to", 0) != FLOAT) {
      throw graph.error(
          "%s: expected a cast to float, got type %d".formatted(cast, cast.longAttribute("to", 0)));
    }
    Node scaled = graph.consumer(graph.output(cast), "Mul");
    Node factors = graph.producer(graph.other(scaled, graph.output(cast)), "Mul");
    String scale = graph.other(factors, quantizer.outputs().get(1));
    Tensor scales = scales(name, vector(name + " scale", scale, DType.FLOAT32, outputs), outputs);
    return new Product(weight, scales, graph.output(scaled));
  }

  /** One number for each output, or for all. */
  private Tensor vector(String name, String value, DType dtype, int outputs) throws OnnxException {
    Tensor known = graph.isConstant(value) ? graph.file.constant(value) : null;
    if (known != null && known.rank() == 0) {
      return graph.weight(name, value, dtype);
    }
    return graph.weight(name, value, dtype, known != null && known.elements() == 1 ? 1 : outputs);
  }

  private Tensor scales(String name, Tensor given, int outputs) throws OnnxException {
    float[] numbers = given.toFloatArray();
    float[] scales = new float[outputs];
    for (int i = 0; i < outputs; i++) {
      scales[i] = requireScale(name, numbers[numbers.length == 1 ? 0 : i]);
    }
    return Tensor.copyOf(arena, scales, outputs).asReadOnly();
  }

  private float requireScale(String name, float scale) throws OnnxException {
    if (!(scale > 0) || Float.isInfinite(scale)) {
      throw graph.error(
          "weight %s: expected scales that are finite and above 0, got %s".formatted(name, scale));
    }
    return scale;
  }

  // ---- tables --------------------------------------------------------------------------------

  /**
   * A table that was read.
   *
   * @param numbers {@code [rows, columns]} UINT8
   * @param scale of a number less the zero point
   * @param value the rows that are looked up
   */
  record Table(Tensor numbers, float scale, int zeroPoint, String value) {

    /** As FLOAT32, {@code [rows, columns]}, with the bits that DequantizeLinear gives. */
    Tensor dequantized(Arena arena) {
      Tensor table = Tensor.allocate(arena, DType.FLOAT32, numbers.shape());
      MemorySegment from = numbers.segment();
      for (long i = 0; i < numbers.elements(); i++) {
        int number = Byte.toUnsignedInt(from.get(ValueLayout.JAVA_BYTE, i));
        table.segment().setAtIndex(ValueLayout.JAVA_FLOAT, i, (number - zeroPoint) * scale);
      }
      return table.asReadOnly();
    }
  }

  /** Whether a Gather looks up numbers that are quantized. */
  boolean isQuantized(Node gather) throws OnnxException {
    for (Node node : graph.consumers(graph.output(gather))) {
      if (node.opType().equals("DequantizeLinear")) {
        return true;
      }
    }
    return false;
  }

  /** Reads the table of a Gather, whose columns may be -1 for any. */
  Table table(String name, Node gather, int columns) throws OnnxException {
    Tensor numbers = graph.weight(name, graph.input(gather, 0), DType.UINT8, -1, columns);
    Node dequantize = graph.consumer(graph.output(gather), "DequantizeLinear");
    if (dequantize.inputs().size() != 3) {
      throw graph.error("%s: expected 3 inputs, got %s".formatted(dequantize, dequantize.inputs()));
    }
    require(dequantize, graph.input(dequantize, 0), graph.output(gather));
    float scale =
        vector(name + " scale", graph.input(dequantize, 1), DType.FLOAT32, 1).toFloatArray()[0];
    Tensor zero = vector(name + " zero point", graph.input(dequantize, 2), DType.UINT8, 1);
    return new Table(
        numbers,
        requireScale(name, scale),
        Byte.toUnsignedInt(bytes(zero)[0]),
        graph.output(dequantize));
  }

  // ---- common --------------------------------------------------------------------------------

  private static byte[] bytes(Tensor tensor) {
    return tensor.segment().toArray(ValueLayout.JAVA_BYTE);
  }

  private void require(Node node, String value, String expected) throws OnnxException {
    if (!graph.same(value, expected)) {
      throw graph.error("%s: expected the input '%s', got '%s'".formatted(node, expected, value));
    }
  }
}
