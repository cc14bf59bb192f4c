package dev.gatun.support;

import java.io.ByteArrayOutputStream;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.nio.charset.StandardCharsets;
import java.util.ArrayList;
import java.util.List;

/**
 * Writes an ONNX model of one node, whose outputs are float32, in Protocol Buffers' wire format.
 * Field numbers are those of {@code onnx.proto}.
 */
public final class OnnxModel {

  private static final int IR_VERSION = 10;
  private static final int ATTRIBUTE_FLOAT = 1;
  private static final int ATTRIBUTE_INT = 2;

  /** Element types of a tensor. */
  public static final int FLOAT = 1;

  public static final int INT32 = 6;
  public static final int BOOL = 9;

  private final String domain;
  private final long opset;
  private final Message node = new Message();
  private final List<Message> inputs = new ArrayList<>();
  private final List<Message> outputs = new ArrayList<>();

  public OnnxModel(String domain, long opset, String operator, String... outputs) {
    this.domain = domain;
    this.opset = opset;
    for (String output : outputs) {
      this.outputs.add(value(output, FLOAT));
      node.text(2, output);
    }
    node.text(4, operator).text(7, domain);
  }

  /** Adds an input; a name of "" leaves an optional one out. */
  public OnnxModel input(String name, int type, long... shape) {
    node.text(1, name);
    if (!name.isEmpty()) {
      inputs.add(value(name, type, shape));
    }
    return this;
  }

  public OnnxModel attribute(String name, long value) {
    node.message(5, new Message().text(1, name).number(3, value).number(20, ATTRIBUTE_INT));
    return this;
  }

  public OnnxModel attribute(String name, float value) {
    node.message(5, new Message().text(1, name).real(2, value).number(20, ATTRIBUTE_FLOAT));
    return this;
  }

  public byte[] bytes() {
    Message graph = new Message().message(1, node).text(2, "one");
    inputs.forEach(input -> graph.message(11, input));
    outputs.forEach(output -> graph.message(12, output));
    Message model = new Message().number(1, IR_VERSION).message(7, graph);
    model.message(8, new Message().text(1, domain).number(2, opset));
    return model.bytes.toByteArray();
  }

  private static Message value(String name, int type, long... shape) {
    Message tensor = new Message().number(1, type);
    if (shape.length > 0) {
      Message dims = new Message();
      for (long size : shape) {
        dims.message(1, new Message().number(1, size));
      }
      tensor.message(2, dims);
    }
    return new Message().text(1, name).message(2, new Message().message(1, tensor));
  }

  private static final class Message {
    private static final int VARINT = 0;
    private static final int BYTES = 2;
    private static final int FIXED32 = 5;

    private final ByteArrayOutputStream bytes = new ByteArrayOutputStream();

    Message number(int field, long value) {
      varint((long) field << 3 | VARINT);
      varint(value);
      return this;
    }

    Message real(int field, float value) {
      varint((long) field << 3 | FIXED32);
      bytes.writeBytes(
          ByteBuffer.allocate(4).order(ByteOrder.LITTLE_ENDIAN).putFloat(value).array());
      return this;
    }

    Message text(int field, String value) {
      return content(field, value.getBytes(StandardCharsets.UTF_8));
    }

    Message message(int field, Message value) {
      return content(field, value.bytes.toByteArray());
    }

    private Message content(int field, byte[] content) {
      varint((long) field << 3 | BYTES);
      varint(content.length);
      bytes.writeBytes(content);
      return this;
    }

    private void varint(long value) {
      long rest = value;
      while ((rest & ~0x7fL) != 0) {
        bytes.write((int) (rest & 0x7f | 0x80));
        rest >>>= 7;
      }
      bytes.write((int) rest);
    }
  }
}
