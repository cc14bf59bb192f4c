package dev.gatun.support;

import java.util.ArrayList;
import java.util.HexFormat;
import java.util.List;
import java.util.random.RandomGenerator;

/** Changes of {@link Mutations} that leave an ONNX file a message of Protocol Buffers. */
public final class WireMutations {
  private static final int VARINT = 0;
  private static final int FIXED64 = 1;
  private static final int BYTES = 2;
  private static final int FIXED32 = 5;

  private WireMutations() {}

  /** A field: a number, or bytes, which may be a message themselves. */
  private record Field(int number, int type, long value, byte[] content) {}

  /**
   * Changes one field, some messages deep: another number or name, one taken out, put in twice, in
   * another place, or taken from another message. What is no message any more is changed as bytes.
   */
  public static byte[] change(byte[] bytes, List<byte[]> seeds, RandomGenerator random) {
    List<Field> fields = parse(bytes);
    if (fields == null || fields.isEmpty()) {
      return Mutations.changeBytes(bytes, seeds, random);
    }
    int at = random.nextInt(fields.size());
    // The graph is the only big field of a model, and where all else is.
    for (int i = 0; i < fields.size() && random.nextInt(8) > 0; i++) {
      if (fields.get(i).content.length > bytes.length / 2) {
        at = i;
      }
    }
    Field field = fields.get(at);
    List<Field> inner = field.type == BYTES && random.nextInt(6) > 0 ? parse(field.content) : null;
    if (inner != null && !inner.isEmpty()) {
      byte[] content = change(field.content, List.of(field.content), random);
      fields.set(at, new Field(field.number, BYTES, 0, content));
      return bytes(fields);
    }
    Field other = fields.get(random.nextInt(fields.size()));
    switch (random.nextInt(8)) {
      case 0 -> fields.remove(at);
      case 1 -> fields.add(random.nextInt(fields.size() + 1), field);
      case 2 -> fields.add(at, new Field(field.number, other.type, other.value, other.content));
      case 3 -> fields.set(at, new Field(field.number, other.type, other.value, other.content));
      case 4 -> {
        fields.remove(at);
        fields.add(random.nextInt(fields.size() + 1), field);
      }
      case 5 ->
          fields.set(at, new Field(1 + random.nextInt(20), field.type, field.value, field.content));
      default -> fields.set(at, changed(field, seeds, random));
    }
    return bytes(fields);
  }

  private static Field changed(Field field, List<byte[]> seeds, RandomGenerator random) {
    return field.type == VARINT
        ? new Field(field.number, VARINT, Mutations.number(random), field.content)
        : new Field(
            field.number,
            field.type,
            0,
            field.type == BYTES
                ? Mutations.changeBytes(field.content, seeds, random)
                : fixed(field.content.length, random));
  }

  private static byte[] fixed(int length, RandomGenerator random) {
    byte[] bytes = new byte[length];
    random.nextBytes(bytes);
    if (random.nextBoolean()) { // an infinity or NaN
      byte[] special = HexFormat.of().parseHex(random.nextBoolean() ? "0000807f" : "0000c0ff");
      System.arraycopy(special, 0, bytes, length - 4, 4);
    }
    return bytes;
  }

  // ---- the wire ------------------------------------------------------------------------------

  /** The fields of a message, or null if it is none. */
  private static List<Field> parse(byte[] bytes) {
    List<Field> fields = new ArrayList<>();
    int[] at = {0};
    while (at[0] < bytes.length) {
      long tag = varint(bytes, at);
      if (at[0] < 0) {
        return null;
      }
      int type = (int) tag & 7;
      long value = 0;
      long length =
          switch (type) {
            case VARINT, BYTES -> varint(bytes, at);
            case FIXED64 -> 8;
            case FIXED32 -> 4;
            default -> -1;
          };
      if (at[0] < 0 || tag >>> 3 == 0 || tag >>> 3 > 1000) {
        return null;
      }
      if (type == VARINT) {
        value = length;
        length = 0;
      }
      if (length < 0 || length > bytes.length - at[0]) {
        return null;
      }
      byte[] content = new byte[(int) length];
      System.arraycopy(bytes, at[0], content, 0, content.length);
      at[0] += content.length;
      fields.add(new Field((int) (tag >>> 3), type, value, content));
    }
    return fields;
  }

  /** Puts at[0] below 0 if there is none. */
  private static long varint(byte[] bytes, int[] at) {
    long value = 0;
    for (int shift = 0; shift < 64 && at[0] >= 0 && at[0] < bytes.length; shift += 7) {
      byte b = bytes[at[0]++];
      value |= (long) (b & 0x7f) << shift;
      if (b >= 0) {
        return value;
      }
    }
    at[0] = -1;
    return 0;
  }

  private static byte[] bytes(List<Field> fields) {
    OnnxWriter writer = new OnnxWriter();
    for (Field field : fields) {
      writer.varint((long) field.number << 3 | field.type);
      if (field.type == VARINT) {
        writer.varint(field.value);
      } else if (field.type == BYTES) {
        writer.varint(field.content.length);
      }
      writer.raw(field.content);
    }
    return writer.toBytes();
  }
}
