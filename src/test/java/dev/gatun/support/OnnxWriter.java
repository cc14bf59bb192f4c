package dev.gatun.support;

import java.io.ByteArrayOutputStream;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.nio.charset.StandardCharsets;
import java.util.List;

/** Writes protobuf messages, and with them small ONNX models: valid ones and others. */
public final class OnnxWriter {
  private final ByteArrayOutputStream out = new ByteArrayOutputStream();

  public OnnxWriter varint(long value) {
    for (; (value & ~0x7fL) != 0; value >>>= 7) {
      out.write((int) (value & 0x7f | 0x80));
    }
    out.write((int) value);
    return this;
  }

  public OnnxWriter raw(byte... bytes) {
    out.writeBytes(bytes);
    return this;
  }

  public OnnxWriter number(int field, long value) {
    return varint((long) field << 3).varint(value);
  }

  public OnnxWriter bytes(int field, byte[] bytes) {
    return varint((long) field << 3 | 2).varint(bytes.length).raw(bytes);
  }

  public OnnxWriter text(int field, String text) {
    return bytes(field, text.getBytes(StandardCharsets.UTF_8));
  }

  public OnnxWriter message(int field, OnnxWriter message) {
    return bytes(field, message.toBytes());
  }

  public OnnxWriter fixed32(int field, float value) {
    return varint((long) field << 3 | 5).raw(floats(value));
  }

  public byte[] toBytes() {
    return out.toByteArray();
  }

  public static byte[] floats(float... values) {
    ByteBuffer buffer = buffer(values.length * Float.BYTES);
    for (float value : values) {
      buffer.putFloat(value);
    }
    return buffer.array();
  }

  public static byte[] ints(int... values) {
    ByteBuffer buffer = buffer(values.length * Integer.BYTES);
    for (int value : values) {
      buffer.putInt(value);
    }
    return buffer.array();
  }

  public static byte[] longs(long... values) {
    ByteBuffer buffer = buffer(values.length * Long.BYTES);
    for (long value : values) {
      buffer.putLong(value);
    }
    return buffer.array();
  }

  private static ByteBuffer buffer(int bytes) {
    return ByteBuffer.allocate(bytes).order(ByteOrder.LITTLE_ENDIAN);
  }

  /** TensorProto without data. */
  public static OnnxWriter tensor(String name, int dataType, long... shape) {
    OnnxWriter tensor = new OnnxWriter();
    for (long size : shape) {
      tensor.number(1, size);
    }
    return tensor.number(2, dataType).text(8, name);
  }

  public static OnnxWriter floatTensor(String name, float[] values, long... shape) {
    return tensor(name, 1, shape).bytes(9, floats(values));
  }

  public static OnnxWriter longTensor(String name, long[] values, long... shape) {
    return tensor(name, 7, shape).bytes(9, longs(values));
  }

  /** NodeProto. */
  public static OnnxWriter node(String name, String opType, List<String> in, List<String> out) {
    OnnxWriter node = new OnnxWriter();
    in.forEach(value -> node.text(1, value));
    out.forEach(value -> node.text(2, value));
    return node.text(3, name).text(4, opType);
  }

  /** A Constant node whose output has the name of the tensor. */
  public static OnnxWriter constant(String output, OnnxWriter tensor) {
    return node("make " + output, "Constant", List.of(), List.of(output))
        .message(5, new OnnxWriter().text(1, "value").message(5, tensor).number(20, 4));
  }

  /** ModelProto. */
  public static byte[] model(OnnxWriter graph) {
    return new OnnxWriter()
        .number(1, 7)
        .text(2, "gatun")
        .message(7, graph)
        .message(8, new OnnxWriter().number(2, 14))
        .toBytes();
  }
}
