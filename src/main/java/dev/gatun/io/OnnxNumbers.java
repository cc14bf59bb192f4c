package dev.gatun.io;

import dev.gatun.DType;
import dev.gatun.Tensor;
import dev.gatun.io.OnnxFile.Initializer;
import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import java.nio.ByteOrder;

/** The numbers of an initializer: where they lie in the file, moved a little, or copied. */
final class OnnxNumbers {
  /** TensorProto.DataType. */
  private static final int FLOAT = 1;

  private static final int UINT8 = 2;
  private static final int INT8 = 3;
  private static final int INT32 = 6;
  private static final int INT64 = 7;
  private static final int FLOAT16 = 10;
  private static final int DOUBLE = 11;

  private static final ValueLayout.OfDouble REAL =
      ValueLayout.JAVA_DOUBLE_UNALIGNED.withOrder(ByteOrder.LITTLE_ENDIAN);

  private final MemorySegment data;
  private final String source;
  private final Arena arena;

  /** True if the memory is the file's own, to be written to. */
  private final boolean owned;

  private final OnnxExternalData external;

  OnnxNumbers(
      MemorySegment data, String source, Arena arena, boolean owned, OnnxExternalData external) {
    this.external = external;
    this.data = data;
    this.source = source;
    this.arena = arena;
    this.owned = owned;
  }

  Tensor read(Initializer initializer) throws OnnxException {
    DType dtype =
        switch (initializer.dataType) {
          case FLOAT -> DType.FLOAT32;
          case UINT8 -> DType.UINT8;
          case INT8 -> DType.INT8;
          case INT32 -> DType.INT32;
          case INT64 -> DType.INT64;
          case FLOAT16 -> DType.FLOAT16;
          default ->
              throw error(
                  initializer, "expected the type FLOAT, FLOAT16, INT8, UINT8, INT32 or INT64");
        };
    long bytes = byteSize(initializer, dtype);
    MemorySegment numbers;
    if (initializer.external) {
      numbers = external(initializer, dtype, bytes);
    } else if (initializer.raw >= 0) {
      if (initializer.rawBytes != bytes) {
        throw error(
            initializer, "expected %d bytes, got %d".formatted(bytes, initializer.rawBytes));
      }
      numbers = aligned(initializer, dtype);
    } else {
      numbers = readList(initializer, dtype, bytes);
    }
    try {
      return Tensor.of(numbers.asReadOnly(), dtype, initializer.shape());
    } catch (IllegalArgumentException e) {
      throw error(initializer, e.getMessage());
    }
  }

  /** One DOUBLE as raw bytes or as a list, NaN if it is anything else. */
  double readDouble(Initializer initializer) throws OnnxException {
    if (initializer.external || initializer.dataType != DOUBLE) {
      return Double.NaN;
    }
    for (long size : initializer.shape()) {
      if (size != 1) {
        return Double.NaN;
      }
    }
    if (initializer.raw >= 0) {
      return initializer.rawBytes == Double.BYTES ? data.get(REAL, initializer.raw) : Double.NaN;
    }
    double number = Double.NaN;
    Wire wire = new Wire(data, source, initializer.start, initializer.end);
    while (wire.next()) {
      if (wire.field == 10) {
        if (wire.length != Double.BYTES || wire.type == Wire.VARINT || !Double.isNaN(number)) {
          return Double.NaN;
        }
        number = data.get(REAL, wire.start);
      }
    }
    return number;
  }

  private long byteSize(Initializer initializer, DType dtype) throws OnnxException {
    long bytes = dtype.byteSize();
    for (long size : initializer.shape()) {
      if (size < 0) {
        throw error(initializer, "expected sizes >= 0");
      }
      if (Math.multiplyHigh(bytes, size) != 0 || bytes * size < 0) {
        throw error(initializer, "more than 2^63 bytes");
      }
      bytes *= size;
    }
    return bytes;
  }

  /** Mapped where they lie at a multiple of the element size, else copied. */
  private MemorySegment external(Initializer initializer, DType dtype, long bytes)
      throws OnnxException {
    try {
      MemorySegment numbers = external.find(initializer.place, bytes);
      return (numbers.address() & (dtype.byteSize() - 1)) == 0
          ? numbers
          : allocate(dtype, bytes).copyFrom(numbers);
    } catch (IllegalArgumentException e) {
      throw error(initializer, e.getMessage());
    }
  }

  /** The raw bytes at an address that suits the type. Both platforms are little-endian, as ONNX. */
  private MemorySegment aligned(Initializer initializer, DType dtype) {
    MemorySegment raw = data.asSlice(initializer.raw, initializer.rawBytes);
    long shift = raw.address() & (dtype.byteSize() - 1);
    if (shift == 0) {
      return raw;
    }
    if (owned && initializer.raw - shift >= initializer.start) {
      // Over tag, length and name, which have been read.
      initializer.raw -= shift;
      return data.asSlice(initializer.raw, initializer.rawBytes).copyFrom(raw);
    }
    return allocate(dtype, raw.byteSize()).copyFrom(raw);
  }

  private MemorySegment readList(Initializer initializer, DType dtype, long bytes)
      throws OnnxException {
    int field =
        switch (dtype) {
          case FLOAT32 -> 4;
          case INT32, INT8, UINT8, FLOAT16 -> 5;
          case INT64 -> 7;
          case BFLOAT16 -> throw new AssertionError(dtype);
        };
    // Counted before memory is taken: the shape may promise anything.
    long count = 0;
    Wire wire = new Wire(data, source, initializer.start, initializer.end);
    while (wire.next()) {
      if (wire.field == field) {
        count += listLength(wire, dtype);
      }
    }
    if (count != bytes / dtype.byteSize()) {
      throw error(
          initializer, "expected %d numbers, got %d".formatted(bytes / dtype.byteSize(), count));
    }
    MemorySegment numbers = allocate(dtype, bytes);
    long index = 0;
    wire = new Wire(data, source, initializer.start, initializer.end);
    while (wire.next()) {
      if (wire.field != field) {
        continue;
      }
      if (dtype == DType.FLOAT32) {
        MemorySegment.copy(data, wire.start, numbers, index * Float.BYTES, wire.length);
        index += wire.length / Float.BYTES;
      } else if (wire.type == Wire.VARINT) {
        set(initializer, numbers, dtype, index++, wire.number);
      } else {
        for (Wire list = wire.message(); list.hasMore(); ) {
          set(initializer, numbers, dtype, index++, list.varint());
        }
      }
    }
    return numbers;
  }

  private static long listLength(Wire wire, DType dtype) throws OnnxException {
    if (dtype == DType.FLOAT32) {
      if (wire.type != Wire.FIXED32) {
        wire.expect(Wire.BYTES);
      }
      if (wire.length % Float.BYTES != 0) {
        throw wire.error(
            wire.start, "expected a multiple of 4 bytes, got %d".formatted(wire.length));
      }
      return wire.length / Float.BYTES;
    }
    if (wire.type == Wire.VARINT) {
      return 1;
    }
    long count = 0;
    for (Wire list = wire.message(); list.hasMore(); count++) {
      list.varint();
    }
    return count;
  }

  private void set(
      Initializer initializer, MemorySegment numbers, DType dtype, long index, long value)
      throws OnnxException {
    switch (dtype) {
      case INT32 -> numbers.setAtIndex(ValueLayout.JAVA_INT, index, (int) value);
      case INT64 -> numbers.setAtIndex(ValueLayout.JAVA_LONG, index, value);
      case INT8, UINT8 -> {
        int least = dtype == DType.INT8 ? Byte.MIN_VALUE : 0;
        if (value < least || value > least + 255) {
          throw error(
              initializer,
              "expected numbers of %d .. %d, got %d".formatted(least, least + 255, value));
        }
        numbers.set(ValueLayout.JAVA_BYTE, index, (byte) value);
      }
      case FLOAT16 -> {
        if (value < 0 || value > 0xffff) {
          throw error(initializer, "expected bits of 0 .. 65535, got %d".formatted(value));
        }
        numbers.setAtIndex(ValueLayout.JAVA_SHORT, index, (short) value);
      }
      case FLOAT32, BFLOAT16 -> throw new AssertionError(dtype);
    }
  }

  private MemorySegment allocate(DType dtype, long bytes) {
    return Tensor.allocate(arena, dtype, bytes / dtype.byteSize()).segment();
  }

  private OnnxException error(Initializer initializer, String reason) {
    return new OnnxException(
        source, "initializer %s at byte %d: %s".formatted(initializer, initializer.start, reason));
  }
}
