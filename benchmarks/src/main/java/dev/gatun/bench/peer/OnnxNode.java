package dev.gatun.bench.peer;

import dev.gatun.support.OnnxWriter;
import java.util.ArrayList;
import java.util.List;

/** An ONNX model of one node; field numbers are those of {@code onnx.proto}. */
final class OnnxNode {
  static final int FLOAT = 1;
  static final int INT32 = 6;

  private static final int IR_VERSION = 10;
  private static final int ATTRIBUTE_INT = 2;

  private final String domain;
  private final String operator;
  private final int opset;
  private final List<String> inputs = new ArrayList<>();
  private final List<OnnxWriter> inputTypes = new ArrayList<>();
  private final List<String> outputs = new ArrayList<>();
  private final List<OnnxWriter> attributes = new ArrayList<>();

  OnnxNode(String domain, int opset, String operator) {
    this.domain = domain;
    this.opset = opset;
    this.operator = operator;
  }

  OnnxNode input(String name, int type, long... shape) {
    OnnxWriter dims = new OnnxWriter();
    for (long size : shape) {
      dims.message(1, new OnnxWriter().number(1, size));
    }
    inputs.add(name);
    inputTypes.add(value(name, new OnnxWriter().number(1, type).message(2, dims)));
    return this;
  }

  /** A float32 output, of the shape that the operator gives it. */
  OnnxNode output(String name) {
    outputs.add(name);
    return this;
  }

  OnnxNode attribute(String name, long value) {
    attributes.add(new OnnxWriter().text(1, name).number(3, value).number(20, ATTRIBUTE_INT));
    return this;
  }

  private static OnnxWriter value(String name, OnnxWriter tensor) {
    return new OnnxWriter().text(1, name).message(2, new OnnxWriter().message(1, tensor));
  }

  byte[] model() {
    OnnxWriter node = OnnxWriter.node("one", operator, inputs, outputs);
    attributes.forEach(attribute -> node.message(5, attribute));
    node.text(7, domain);
    OnnxWriter graph = new OnnxWriter().message(1, node).text(2, "one");
    inputTypes.forEach(type -> graph.message(11, type));
    outputs.forEach(name -> graph.message(12, value(name, new OnnxWriter().number(1, FLOAT))));
    return new OnnxWriter()
        .number(1, IR_VERSION)
        .message(7, graph)
        .message(8, new OnnxWriter().text(1, domain).number(2, opset))
        .toBytes();
  }
}
