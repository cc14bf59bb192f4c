package dev.gatun.nn;

import dev.gatun.DType;
import dev.gatun.GatunRuntime;
import dev.gatun.Tensor;
import dev.gatun.WeightFormat;
import dev.gatun.internal.LayerCall;
import dev.gatun.internal.LayerCalls;
import dev.gatun.internal.PackedOps;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.SegmentAllocator;
import java.util.Objects;

/**
 * A matrix {@code [in, out]} in the order in which the kernels of products read it: opaque bytes
 * with a header that says what they are, the same for every CPU, and without pointers, so that they
 * may be written to a file and mapped from it.
 *
 * <p>Immutable; any number of layers and threads may share it. The memory is the caller's, whose
 * arena must stay open as long as a layer uses it.
 */
public final class PackedWeight {

  private static final long ALIGNMENT = 64;

  /** More could overflow a sum of 32 bits. */
  private static final long MOST_INT8_INPUTS = 65536;

  private final MemorySegment segment;
  private final WeightFormat format;
  private final long in;
  private final long out;

  private PackedWeight(MemorySegment segment, WeightFormat format, long in, long out) {
    this.segment = segment;
    this.format = format;
    this.in = in;
    this.out = out;
  }

  /**
   * Packs a matrix of floats. A weight of NaN or infinity in a format of integers makes all results
   * of its output NaN.
   *
   * @param runtime whose threads pack
   * @param memory gives the memory, an {@link java.lang.foreign.Arena} for example
   * @param format what it becomes; AUTO is what {@link WeightFormat#AUTO} says. Not VIEW
   * @param weight {@code [in, out]} FLOAT32, BFLOAT16 or FLOAT16, of any strides; not kept
   * @return the packed weight
   * @throws IllegalArgumentException naming the argument that does not fit
   */
  public static PackedWeight pack(
      GatunRuntime runtime, SegmentAllocator memory, WeightFormat format, Tensor weight) {
    Objects.requireNonNull(weight, "weight");
    if (weight.dtype() != DType.FLOAT32
        && weight.dtype() != DType.BFLOAT16
        && weight.dtype() != DType.FLOAT16) {
      throw Rows.bad("weight", "[in, out] float32, bfloat16 or float16", weight);
    }
    return pack(runtime, memory, format, weight, MemorySegment.NULL);
  }

  /**
   * Packs a matrix of integers, whose numbers and scales stay as they are.
   *
   * @param runtime whose threads pack
   * @param memory gives the memory
   * @param weight {@code [in, out]} INT8, of any strides; not kept
   * @param scales {@code [out]} FLOAT32: a weight is its number times the scale of its output
   * @return the packed weight, of the format INT8
   * @throws IllegalArgumentException naming the argument that does not fit
   */
  public static PackedWeight pack(
      GatunRuntime runtime, SegmentAllocator memory, Tensor weight, Tensor scales) {
    Objects.requireNonNull(weight, "weight");
    Objects.requireNonNull(scales, "scales");
    if (weight.dtype() != DType.INT8 || weight.rank() != 2) {
      throw Rows.bad("weight", "[in, out] int8", weight);
    }
    MemorySegment vector = Rows.vector("scales", scales, weight.size(1));
    return pack(runtime, memory, WeightFormat.INT8, weight, vector);
  }

  private static PackedWeight pack(
      GatunRuntime runtime,
      SegmentAllocator memory,
      WeightFormat asked,
      Tensor weight,
      MemorySegment scales) {
    Objects.requireNonNull(runtime, "runtime");
    Objects.requireNonNull(memory, "memory");
    if (weight.rank() != 2 || weight.size(0) < 1 || weight.size(1) < 1) {
      throw Rows.bad("weight", "[in, out]", weight);
    }
    WeightFormat format =
        Objects.requireNonNull(asked, "format") == WeightFormat.AUTO
            ? WeightFormat.of(weight.dtype())
            : asked;
    long in = weight.size(0);
    long out = weight.size(1);
    if (format == WeightFormat.INT8 && in > MOST_INT8_INPUTS) {
      throw Rows.bad("weight", "at most %d inputs for INT8".formatted(MOST_INT8_INPUTS), weight);
    }
    MemorySegment packed = allocate(memory, PackedOps.packedBytes(format, in, out));
    try (LayerCall call = LayerCalls.begin(runtime, null)) {
      PackedOps.pack(
          call.rows(),
          format,
          weight.dtype(),
          in,
          out,
          weight.stride(0),
          weight.stride(1),
          weight.segment(),
          scales,
          packed);
    }
    return new PackedWeight(packed.asReadOnly(), format, in, out);
  }

  /** What an allocator has given: anyone may implement that interface. */
  private static MemorySegment allocate(SegmentAllocator memory, long bytes) {
    MemorySegment given = Objects.requireNonNull(memory.allocate(bytes, ALIGNMENT), "memory");
    if (!given.isNative()
        || given.isReadOnly()
        || given.byteSize() < bytes
        || given.address() % ALIGNMENT != 0) {
      throw new IllegalArgumentException(
          "memory: expected %d bytes of native memory that can be written, at a multiple of %d, got %s"
              .formatted(bytes, ALIGNMENT, given));
    }
    return given.asSlice(0, bytes);
  }

  /**
   * Takes a weight that was packed before, from a file for example.
   *
   * @param packed begins with what {@link #segment} was, at a multiple of 64; longer is allowed
   * @return the packed weight, in the same memory
   * @throws IllegalArgumentException saying why this is no packed weight, or none that this version
   *     knows
   */
  public static PackedWeight of(MemorySegment packed) {
    Objects.requireNonNull(packed, "packed");
    if (!packed.isNative() || packed.address() == 0 || packed.address() % ALIGNMENT != 0) {
      throw new IllegalArgumentException(
          "packed: expected native memory at a multiple of %d bytes, got %s"
              .formatted(ALIGNMENT, packed));
    }
    PackedOps.Header header = PackedOps.read(packed);
    return new PackedWeight(
        packed.asSlice(0, header.bytes()).asReadOnly(), header.format(), header.in(), header.out());
  }

  /** {@return the bytes, header included; read-only} */
  public MemorySegment segment() {
    return segment;
  }

  /** {@return what it is packed as; not AUTO or VIEW} */
  public WeightFormat format() {
    return format;
  }

  /** {@return rows of the matrix} */
  public long in() {
    return in;
  }

  /** {@return columns of the matrix} */
  public long out() {
    return out;
  }

  /** Describes the weight on one line. */
  @Override
  public String toString() {
    return "PackedWeight([%d, %d] %s, %d bytes)".formatted(in, out, format, segment.byteSize());
  }
}
