package dev.gatun.io;

import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import java.nio.ByteOrder;
import java.nio.charset.StandardCharsets;

/**
 * Reads the fields of one protobuf message in order. Every step goes forward and stays inside the
 * message, whatever the bytes are.
 */
final class Wire {
  static final int VARINT = 0;
  static final int FIXED64 = 1;
  static final int BYTES = 2;
  static final int FIXED32 = 5;

  /** Names in real models have tens of bytes. */
  private static final int MAX_NAME_BYTES = 4096;

  private static final ValueLayout.OfInt INT =
      ValueLayout.JAVA_INT_UNALIGNED.withOrder(ByteOrder.LITTLE_ENDIAN);

  private final MemorySegment data;
  private final String source;
  private long position;
  private final long end;

  /** Of the field that {@link #next} found. */
  int field;

  int type;

  /** Where its content starts, and how long it is. */
  long start;

  long length;

  /** Its content if its type is VARINT. */
  long number;

  Wire(MemorySegment data, String source, long start, long end) {
    this.data = data;
    this.source = source;
    this.position = start;
    this.end = end;
  }

  /** The message that is the content of this field. */
  Wire message() throws OnnxException {
    expect(BYTES);
    return new Wire(data, source, start, start + length);
  }

  /** Goes to the next field; false behind the last one. */
  boolean next() throws OnnxException {
    if (position == end) {
      return false;
    }
    long at = position;
    long tag = varint();
    type = (int) tag & 7;
    if (tag >>> 32 != 0 || tag >>> 3 == 0) {
      throw error(at, "expected a protobuf field, got tag 0x%x".formatted(tag));
    }
    field = (int) (tag >>> 3);
    start = position;
    switch (type) {
      case VARINT -> {
        number = varint();
        length = position - start;
      }
      case FIXED64 -> length = Long.BYTES;
      case FIXED32 -> length = Integer.BYTES;
      case BYTES -> {
        length = varint();
        start = position;
      }
      default ->
          throw error(at, "expected a protobuf field, got wire type %d".formatted((int) tag & 7));
    }
    if (length < 0 || length > end - start) {
      throw error(
          at,
          "field %d has %s bytes, only %d are left"
              .formatted(field, Long.toUnsignedString(length), end - start));
    }
    position = start + length;
    return true;
  }

  /** True while numbers are left, for a message that consists of bare varints. */
  boolean hasMore() {
    return position < end;
  }

  /** The next bare varint. */
  long varint() throws OnnxException {
    long at = position;
    long value = 0;
    for (int shift = 0; shift < 64; shift += 7) {
      if (position == end) {
        throw error(at, "a number is cut short");
      }
      byte b = data.get(ValueLayout.JAVA_BYTE, position++);
      value |= (long) (b & 0x7f) << shift;
      if (b >= 0) {
        return value;
      }
    }
    throw error(at, "a number has more than 10 bytes");
  }

  long expectNumber() throws OnnxException {
    expect(VARINT);
    return number;
  }

  float expectFloat() throws OnnxException {
    expect(FIXED32);
    return Float.intBitsToFloat(data.get(INT, start));
  }

  String expectName() throws OnnxException {
    expect(BYTES);
    if (length > MAX_NAME_BYTES) {
      throw error(
          start, "expected a name of at most %d bytes, got %d".formatted(MAX_NAME_BYTES, length));
    }
    byte[] bytes = data.asSlice(start, length).toArray(ValueLayout.JAVA_BYTE);
    return new String(bytes, StandardCharsets.UTF_8);
  }

  void expect(int expected) throws OnnxException {
    if (type != expected) {
      throw error(
          start, "field %d: expected wire type %d, got %d".formatted(field, expected, type));
    }
  }

  OnnxException error(long at, String reason) {
    return new OnnxException(source, "at byte %d: %s".formatted(at, reason));
  }
}
