package dev.gatun.io;

import dev.gatun.DType;
import dev.gatun.internal.Messages;
import java.nio.charset.StandardCharsets;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Comparator;
import java.util.HashMap;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;

/**
 * What stands before the data of a safetensors file, as far as it is no question of JSON: the types
 * of elements, and the rules for shapes and offsets. {@link SafetensorsJson} reads and writes it.
 */
final class SafetensorsHeader {
  /** The limit of the format's own library. */
  static final int MAX_LENGTH = 100_000_000;

  /** Names in real models have tens of characters; OnnxFile has the same limits. */
  static final int MAX_NAME_LENGTH = 4096;

  static final int MAX_ENTRIES = 1 << 20;
  static final int MAX_RANK = 64;

  /** Trainers write whole configurations into one value. */
  static final int MAX_VALUE_LENGTH = 16 << 20;

  /** The one name that is no tensor's. */
  static final String METADATA = "__metadata__";

  /**
   * What the format calls the types of elements, in the order in which its own library arranges the
   * data, the last one first.
   */
  enum Type {
    BOOL(8),
    F4(4),
    F6_E2M3(6),
    F6_E3M2(6),
    U8(8),
    I8(8),
    F8_E5M2(8),
    F8_E4M3(8),
    F8_E8M0(8),
    F8_E4M3FNUZ(8),
    F8_E5M2FNUZ(8),
    I16(16),
    U16(16),
    F16(16),
    BF16(16),
    I32(32, DType.INT32),
    U32(32),
    F32(32, DType.FLOAT32),
    C64(64),
    F64(64),
    I64(64, DType.INT64),
    U64(64);

    private static final Map<String, Type> BY_NAME = new HashMap<>();

    static {
      for (Type type : values()) {
        BY_NAME.put(type.name(), type);
      }
    }

    /** Of one element. */
    final int bits;

    /** The same type as Gatun calls it, or null. */
    final DType dtype;

    Type(int bits) {
      this(bits, null);
    }

    Type(int bits, DType dtype) {
      this.bits = bits;
      this.dtype = dtype;
    }

    /** What holds it as it is, or null. */
    DType stored() {
      return switch (this) {
        case BF16 -> DType.BFLOAT16;
        case F16 -> DType.FLOAT16;
        case I8 -> DType.INT8;
        case U8 -> DType.UINT8;
        default -> dtype;
      };
    }

    static Type of(DType dtype) {
      return switch (dtype) {
        case FLOAT32 -> F32;
        case INT32 -> I32;
        case INT64 -> I64;
        case BFLOAT16 -> BF16;
        case FLOAT16 -> F16;
        case INT8 -> I8;
        case UINT8 -> U8;
      };
    }

    /** The type of this name, or null. */
    static Type of(String name) {
      return BY_NAME.get(name);
    }
  }

  /** One tensor. Its data are the bytes from begin to before end, counted behind the header. */
  record Entry(String name, Type type, long[] shape, long begin, long end) {
    long bytes() {
      return end - begin;
    }

    long elements() {
      return bytes() * Byte.SIZE / type.bits;
    }

    /** Name, shape and type, as messages show them. */
    @Override
    public String toString() {
      return "%s %s %s".formatted(Messages.quoted(name), Messages.sizes(shape), type);
    }
  }

  private static final class ByOffset implements Comparator<Entry> {
    @Override
    public int compare(Entry one, Entry other) {
      int begins = Long.compare(one.begin, other.begin);
      return begins == 0 ? Long.compare(one.end, other.end) : begins;
    }
  }

  /** In the order of the file. */
  final Map<String, Entry> entries = new LinkedHashMap<>();

  final Map<String, String> metadata = new LinkedHashMap<>();

  /**
   * Checks all that the format says about shapes and offsets: each tensor takes the bytes that its
   * shape and type ask for, and together they are the file's data, each byte once.
   */
  void check(Path file, long dataBytes) throws SafetensorsException {
    for (Entry entry : entries.values()) {
      checkSize(file, entry);
    }
    List<Entry> byOffset = new ArrayList<>(entries.values());
    byOffset.sort(new ByOffset());
    Entry previous = null;
    long expected = 0;
    for (Entry entry : byOffset) {
      if (entry.begin != expected) {
        throw error(
            file,
            entry,
            "expected its data to begin at byte %d, %s, got %d: %s"
                .formatted(
                    expected,
                    previous == null ? "as the first ones" : "behind those of " + previous,
                    entry.begin,
                    entry.begin < expected ? "they overlap" : "there is a hole"));
      }
      expected = entry.end;
      previous = entry;
    }
    if (expected != dataBytes) {
      throw new SafetensorsException(
          file,
          "%sexpected %d bytes of data behind the header, got %d"
              .formatted(expected > dataBytes ? "cut short: " : "", expected, dataBytes));
    }
  }

  private static void checkSize(Path file, Entry entry) throws SafetensorsException {
    // A size of 0 must not hide an overflow of the others: strides are products of those. With room
    // for any element type, so that nothing can go wrong after a conversion either.
    long limit = Long.MAX_VALUE / Long.BYTES;
    long most = 1;
    long elements = 1;
    for (long size : entry.shape) {
      most = Math.multiplyHigh(most, Math.max(1, size)) == 0 ? most * Math.max(1, size) : -1;
      if (most < 0 || most > limit) {
        throw error(file, entry, "expected a shape of less than 2^60 elements");
      }
      elements *= size;
    }
    // Split, since 2^60 elements of 64 bits are more bits than a long counts.
    long whole = elements / Byte.SIZE * entry.type.bits;
    long restBits = elements % Byte.SIZE * entry.type.bits;
    if (restBits % Byte.SIZE != 0) {
      throw error(
          file,
          entry,
          "expected elements of %d bits to fill whole bytes, got %d elements"
              .formatted(entry.type.bits, elements));
    }
    long bytes = whole + restBits / Byte.SIZE;
    if (entry.begin > entry.end || entry.bytes() != bytes) {
      throw error(
          file,
          entry,
          "expected %d bytes of data, got the offsets %d and %d"
              .formatted(bytes, entry.begin, entry.end));
    }
  }

  static SafetensorsException error(Path file, Entry entry, String reason) {
    return new SafetensorsException(file, "tensor %s: %s".formatted(entry, reason));
  }

  /** False for a string with half a surrogate pair, which UTF-8 cannot hold. */
  static boolean isUnicode(String text) {
    for (int i = 0; i < text.length(); i++) {
      if (Character.isSurrogate(text.charAt(i))) {
        return StandardCharsets.UTF_8.newEncoder().canEncode(text);
      }
    }
    return true;
  }
}
