package dev.gatun.internal;

import dev.gatun.DType;
import dev.gatun.WeightFormat;
import dev.gatun.internal.gatun.gatun_h;
import dev.gatun.internal.gatun.gatun_pack_desc;
import dev.gatun.internal.gatun.gatun_packed_info;
import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;

/** Packed weights of {@code gatun.h}: making and checking them. Products are {@link RowSteps}. */
public final class PackedOps {

  private static final int MESSAGE_BYTES = 256;

  private PackedOps() {}

  /** The size of a packed weight in bytes. */
  public static long packedBytes(WeightFormat format, long in, long out) {
    try (Arena arena = Arena.ofConfined()) {
      MemorySegment pack = describe(arena, format, DType.FLOAT32, in, out, out, 1);
      MemorySegment bytes = arena.allocate(ValueLayout.JAVA_LONG);
      MemorySegment message = arena.allocate(MESSAGE_BYTES);
      check(gatun_h.gatun_pack_size(pack, bytes, message, MESSAGE_BYTES), message);
      return bytes.get(ValueLayout.JAVA_LONG, 0);
    }
  }

  /**
   * Packs a matrix.
   *
   * @param rows whose context does it
   * @param format what it becomes; not AUTO or VIEW
   * @param dtype of the source: FLOAT32, BFLOAT16, FLOAT16 or INT8
   * @param in rows of the matrix
   * @param out columns of the matrix
   * @param inStride elements from a row to the next
   * @param outStride elements from a column to the next
   * @param source the matrix
   * @param scales {@code [out]} of an INT8 source, else NULL
   * @param packed receives {@link #packedBytes}, aligned to 64
   */
  public static void pack(
      RowOps rows,
      WeightFormat format,
      DType dtype,
      long in,
      long out,
      long inStride,
      long outStride,
      MemorySegment source,
      MemorySegment scales,
      MemorySegment packed) {
    try (Arena arena = Arena.ofConfined()) {
      MemorySegment pack = describe(arena, format, dtype, in, out, inStride, outStride);
      MemorySegment message = arena.allocate(MESSAGE_BYTES);
      int status =
          gatun_h.gatun_pack(
              rows.context(),
              pack,
              source,
              scales,
              packed,
              packed.byteSize(),
              message,
              MESSAGE_BYTES);
      if (status == Native.Abi.OVERLAP) {
        throw new IllegalArgumentException(
            "memory: expected memory of its own, got memory shared with the weight or its scales");
      }
      check(status, message);
    }
  }

  private static void check(int status, MemorySegment message) {
    if (status != Native.Abi.OK) {
      throw Native.failure(status, message.getString(0));
    }
  }

  private static MemorySegment describe(
      Arena arena,
      WeightFormat format,
      DType dtype,
      long in,
      long out,
      long inStride,
      long outStride) {
    MemorySegment pack = gatun_pack_desc.allocate(arena);
    gatun_pack_desc.struct_size(pack, (int) gatun_pack_desc.sizeof());
    gatun_pack_desc.format(pack, code(format));
    gatun_pack_desc.dtype(pack, code(dtype));
    gatun_pack_desc.in_features(pack, in);
    gatun_pack_desc.out_features(pack, out);
    gatun_pack_desc.in_stride(pack, inStride);
    gatun_pack_desc.out_stride(pack, outStride);
    return pack;
  }

  /**
   * What the header of a packed weight says.
   *
   * @param format of the weights
   * @param in rows of the matrix
   * @param out columns of the matrix
   * @param bytes header included
   */
  public record Header(WeightFormat format, long in, long out, long bytes) {}

  /** Checks the header of a packed weight, whose bytes may come from anywhere. */
  public static Header read(MemorySegment packed) {
    Functions.PACKED_FILES.load();
    try (Arena arena = Arena.ofConfined()) {
      MemorySegment info = gatun_packed_info.allocate(arena);
      gatun_packed_info.struct_size(info, (int) gatun_packed_info.sizeof());
      MemorySegment message = arena.allocate(MESSAGE_BYTES);
      check(
          gatun_h.gatun_packed_check(packed, packed.byteSize(), info, message, MESSAGE_BYTES),
          message);
      return new Header(
          format(gatun_packed_info.format(info)),
          gatun_packed_info.in_features(info),
          gatun_packed_info.out_features(info),
          gatun_packed_info.bytes(info));
    }
  }

  static int code(WeightFormat format) {
    return switch (format) {
      case FP32 -> gatun_h.GATUN_WEIGHTS_F32();
      case BF16 -> gatun_h.GATUN_WEIGHTS_BF16();
      case FP16 -> gatun_h.GATUN_WEIGHTS_F16();
      case INT8 -> gatun_h.GATUN_WEIGHTS_I8();
      case Q8_0 -> gatun_h.GATUN_WEIGHTS_Q8_0();
      case Q4_0 -> gatun_h.GATUN_WEIGHTS_Q4_0();
      case AUTO, VIEW ->
          throw new IllegalArgumentException("format: expected one that is packed, got " + format);
    };
  }

  private static WeightFormat format(int code) {
    for (WeightFormat format : WeightFormat.values()) {
      if (format != WeightFormat.AUTO && format != WeightFormat.VIEW && code(format) == code) {
        return format;
      }
    }
    throw new AssertionError(code);
  }

  private static int code(DType dtype) {
    return switch (dtype) {
      case FLOAT32 -> gatun_h.GATUN_DTYPE_F32();
      case BFLOAT16 -> gatun_h.GATUN_DTYPE_BF16();
      case FLOAT16 -> gatun_h.GATUN_DTYPE_F16();
      case INT8 -> gatun_h.GATUN_DTYPE_I8();
      case INT32, INT64, UINT8 ->
          throw new IllegalArgumentException(
              "weight: expected float32, bfloat16, float16 or int8, got " + dtype);
    };
  }
}
