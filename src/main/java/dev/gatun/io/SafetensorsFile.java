package dev.gatun.io;

import dev.gatun.DType;
import dev.gatun.Tensor;
import dev.gatun.internal.Messages;
import dev.gatun.io.SafetensorsHeader.Entry;
import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import java.nio.ByteOrder;
import java.nio.file.Path;
import java.util.Collections;
import java.util.Map;
import java.util.Set;

/**
 * The tensors of a safetensors file that {@link Safetensors#map} has mapped. Names, types, shapes
 * and offsets have been read and checked; the numbers are read when they are touched.
 *
 * <p>There are three ways to the numbers. {@link #tensor(String)} is a view of the file: nothing is
 * copied, and it is valid as long as the arena of the mapping. {@link #tensor(String, Arena)} is a
 * copy in another arena, in a type that Gatun computes with. {@link #stored} is a view in the type
 * of the file, for weights that are packed. {@link #isView} says whether the first one is possible,
 * so that this takes memory only where it has to:
 *
 * {@snippet :
 * Tensor weight = file.isView(name) ? file.tensor(name) : file.tensor(name, arena);
 * }
 *
 * <p>Immutable. Any number of threads may use one object, if the arena of the mapping allows them
 * to.
 */
public final class SafetensorsFile {
  private static final ValueLayout.OfShort SHORT =
      ValueLayout.JAVA_SHORT_UNALIGNED.withOrder(ByteOrder.LITTLE_ENDIAN);
  private static final ValueLayout.OfLong LONG =
      ValueLayout.JAVA_LONG_UNALIGNED.withOrder(ByteOrder.LITTLE_ENDIAN);
  private static final ValueLayout.OfDouble DOUBLE =
      ValueLayout.JAVA_DOUBLE_UNALIGNED.withOrder(ByteOrder.LITTLE_ENDIAN);

  /** Numbers converted at a time, by arrays on the heap that stay in the cache. */
  private static final int PIECE = 1 << 12;

  private final Path file;
  private final Map<String, Entry> entries;
  private final Map<String, String> metadata;
  private final long dataOffset;
  private final MemorySegment data;

  SafetensorsFile(Path file, SafetensorsHeader header, long dataOffset, MemorySegment data) {
    this.file = file;
    this.entries = header.entries;
    this.metadata = Collections.unmodifiableMap(header.metadata);
    this.dataOffset = dataOffset;
    this.data = data.asReadOnly();
  }

  /** {@return where the file is, as it was given} */
  public Path file() {
    return file;
  }

  /** {@return the names of all tensors, unmodifiable, in the order of the header} */
  public Set<String> names() {
    return Collections.unmodifiableSet(entries.keySet());
  }

  /**
   * {@return the texts that the file holds beside its tensors, under {@code __metadata__}:
   * unmodifiable, in the order of the header; empty if there are none}
   */
  public Map<String, String> metadata() {
    return metadata;
  }

  /**
   * Returns the shape of a tensor.
   *
   * @param name as in {@link #names}
   * @return a copy, outermost dimension first; empty for a single number
   * @throws SafetensorsException if there is no such tensor
   */
  public long[] shape(String name) throws SafetensorsException {
    return entry(name).shape().clone();
  }

  /**
   * Returns the type of a tensor's elements.
   *
   * @param name as in {@link #names}
   * @return as the format calls it: {@code F32}, {@code BF16} …
   * @throws SafetensorsException if there is no such tensor
   */
  public String dtype(String name) throws SafetensorsException {
    return entry(name).type().name();
  }

  /**
   * Says whether a tensor can be had as a view of the file: its type is F32, I32 or I64, and its
   * data begin at a multiple of the element size. The format does not ask for that, but its own
   * library and {@link Safetensors#write} see to it.
   *
   * @param name as in {@link #names}
   * @return true if {@link #tensor(String)} returns it
   * @throws SafetensorsException if there is no such tensor
   */
  public boolean isView(String name) throws SafetensorsException {
    Entry entry = entry(name);
    return entry.type().dtype != null && isAligned(entry);
  }

  /**
   * Returns a tensor as it lies in the file. Nothing is copied and nothing is read before it is
   * touched.
   *
   * @param name as in {@link #names}
   * @return a read-only view, valid as long as the arena of the mapping: FLOAT32 for F32, INT32 for
   *     I32, INT64 for I64
   * @throws SafetensorsException if there is no such tensor, it is of another type, or its data lie
   *     at no multiple of the element size, where a {@link Tensor} cannot be
   */
  public Tensor tensor(String name) throws SafetensorsException {
    Entry entry = entry(name);
    DType dtype = entry.type().dtype;
    if (dtype == null) {
      throw error(
          entry,
          "expected F32, I32 or I64 for a view of the file; tensor(name, arena) converts F16, BF16"
              + " and F64");
    }
    if (!isAligned(entry)) {
      throw error(
          entry,
          ("expected data at a multiple of %d bytes for a view of the file, got byte %d;"
                  + " tensor(name, arena) copies them")
              .formatted(dtype.byteSize(), dataOffset + entry.begin()));
    }
    return Tensor.of(bytes(entry), dtype, entry.shape());
  }

  /**
   * Returns a tensor as it lies in the file, in its own type.
   *
   * @param name as in {@link #names}
   * @return a read-only view, valid as long as the arena of the mapping; null if its type is none
   *     of {@link DType}, or its data lie at no multiple of the element size
   * @throws SafetensorsException if there is no such tensor
   */
  public Tensor stored(String name) throws SafetensorsException {
    Entry entry = entry(name);
    DType dtype = entry.type().stored();
    return dtype == null || bytes(entry).address() % dtype.byteSize() != 0
        ? null
        : Tensor.of(bytes(entry), dtype, entry.shape());
  }

  /**
   * Copies a tensor into other memory, with its numbers in a type that operations take. They come
   * from any address.
   *
   * <ul>
   *   <li>F32 and I32 stay what they are, to the bit.
   *   <li>F16 and BF16 become FLOAT32, which holds each of their values.
   *   <li>F64 becomes FLOAT32 by rounding to the nearest; what is beyond it becomes infinite.
   *   <li>I64 becomes INT32, and is refused if one of its numbers does not fit.
   * </ul>
   *
   * @param name as in {@link #names}
   * @param arena owns the copy, which {@link Tensor#allocate} takes from it
   * @return a tensor of the same shape, row-major, FLOAT32 or INT32; it may be written
   * @throws SafetensorsException if there is no such tensor, it is of another type, or it is I64
   *     with a number that is no INT32
   * @throws dev.gatun.GatunException if there is no memory for the copy
   */
  public Tensor tensor(String name, Arena arena) throws SafetensorsException {
    Entry entry = entry(name);
    MemorySegment from = bytes(entry);
    switch (entry.type()) {
      case F32, I32 -> {
        Tensor tensor = Tensor.allocate(arena, entry.type().dtype, entry.shape());
        tensor.segment().copyFrom(from);
        return tensor;
      }
      case F16, BF16, F64 -> {
        Tensor tensor = Tensor.allocate(arena, DType.FLOAT32, entry.shape());
        convertFloats(entry, from, tensor.segment());
        return tensor;
      }
      case I64 -> {
        Tensor tensor = Tensor.allocate(arena, DType.INT32, entry.shape());
        convertLongs(entry, from, tensor.segment());
        return tensor;
      }
      default -> throw error(entry, "expected the type F32, F16, BF16, F64, I32 or I64");
    }
  }

  private static void convertFloats(Entry entry, MemorySegment from, MemorySegment to) {
    short[] halves = new short[PIECE];
    double[] doubles = new double[PIECE];
    float[] floats = new float[PIECE];
    for (long done = 0, all = entry.elements(); done < all; done += PIECE) {
      int count = (int) Math.min(PIECE, all - done);
      switch (entry.type()) {
        case F16 -> {
          MemorySegment.copy(from, SHORT, done * Short.BYTES, halves, 0, count);
          for (int i = 0; i < count; i++) {
            floats[i] = Float.float16ToFloat(halves[i]);
          }
        }
        case BF16 -> {
          MemorySegment.copy(from, SHORT, done * Short.BYTES, halves, 0, count);
          for (int i = 0; i < count; i++) {
            floats[i] = Float.intBitsToFloat(halves[i] << 16);
          }
        }
        default -> {
          MemorySegment.copy(from, DOUBLE, done * Double.BYTES, doubles, 0, count);
          for (int i = 0; i < count; i++) {
            floats[i] = (float) doubles[i];
          }
        }
      }
      MemorySegment.copy(floats, 0, to, ValueLayout.JAVA_FLOAT, done * Float.BYTES, count);
    }
  }

  private void convertLongs(Entry entry, MemorySegment from, MemorySegment to)
      throws SafetensorsException {
    long[] longs = new long[PIECE];
    int[] ints = new int[PIECE];
    for (long done = 0, all = entry.elements(); done < all; done += PIECE) {
      int count = (int) Math.min(PIECE, all - done);
      MemorySegment.copy(from, LONG, done * Long.BYTES, longs, 0, count);
      for (int i = 0; i < count; i++) {
        ints[i] = (int) longs[i];
        if (ints[i] != longs[i]) {
          throw error(
              entry,
              "expected numbers of -2^31 … 2^31 - 1 for int32, got %d as element %d"
                  .formatted(longs[i], done + i));
        }
      }
      MemorySegment.copy(ints, 0, to, ValueLayout.JAVA_INT, done * Integer.BYTES, count);
    }
  }

  /** Number of tensors, and where they are. */
  @Override
  public String toString() {
    return "SafetensorsFile(%s, %d tensors)".formatted(file, entries.size());
  }

  private Entry entry(String name) throws SafetensorsException {
    Entry entry = entries.get(name);
    if (entry == null) {
      throw new SafetensorsException(
          file, "no tensor %s among its %d".formatted(Messages.quoted(name), entries.size()));
    }
    return entry;
  }

  private boolean isAligned(Entry entry) {
    return bytes(entry).address() % entry.type().dtype.byteSize() == 0;
  }

  private MemorySegment bytes(Entry entry) {
    return data.asSlice(entry.begin(), entry.bytes());
  }

  private SafetensorsException error(Entry entry, String reason) {
    return SafetensorsHeader.error(file, entry, reason);
  }
}
