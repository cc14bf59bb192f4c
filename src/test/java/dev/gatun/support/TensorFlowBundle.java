package dev.gatun.support;

import dev.gatun.DType;
import dev.gatun.Tensor;
import java.io.IOException;
import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.nio.channels.FileChannel;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Arrays;
import java.util.Map;
import java.util.TreeMap;
import java.util.zip.CRC32C;

/**
 * The variables of a TensorFlow checkpoint of version 2 ("bundle"): {@code variables.index} is a
 * table of LevelDB's kind, whose keys share prefixes and whose values are BundleEntryProto, and
 * {@code variables.data-00000-of-00001} holds the numbers. Uncompressed blocks, one data file and
 * float32 variables are read; anything else is refused, as is what does not have its checksum.
 */
public final class TensorFlowBundle {
  private static final int FOOTER = 48;
  private static final long MAGIC = 0xdb4775248b80fb57L;
  private static final int TRAILER = 1 + Integer.BYTES;
  private static final int FLOAT = 1;

  /** Where a variable lies. */
  private record Entry(long[] shape, long offset, long size, int checksum) {}

  private final Map<String, Entry> entries = new TreeMap<>();
  private final MemorySegment data;

  private TensorFlowBundle(ByteBuffer index, MemorySegment data) {
    this.data = data;
    require(index.limit() >= FOOTER, "a footer of 48 bytes");
    index.order(ByteOrder.LITTLE_ENDIAN);
    require(index.getLong(index.limit() - Long.BYTES) == MAGIC, "the magic number of a table");
    ByteBuffer footer = part(index, index.limit() - FOOTER, FOOTER);
    varint(footer); // of the block of filters
    varint(footer);
    Map<String, ByteBuffer> blocks = block(index, varint(footer), varint(footer));
    for (ByteBuffer handle : blocks.values()) {
      block(index, varint(handle), varint(handle))
          .forEach(
              (name, value) -> {
                if (!name.isEmpty()) { // the header of the bundle
                  entries.put(name, entry(name, value));
                }
              });
    }
  }

  /**
   * Maps a bundle.
   *
   * @param folder with variables.index and variables.data-00000-of-00001
   */
  public static TensorFlowBundle map(Path folder, Arena arena) throws IOException {
    byte[] index = Files.readAllBytes(folder.resolve("variables.index"));
    try (FileChannel file = FileChannel.open(folder.resolve("variables.data-00000-of-00001"))) {
      return new TensorFlowBundle(
          ByteBuffer.wrap(index),
          file.map(FileChannel.MapMode.READ_ONLY, 0, file.size(), arena).asReadOnly());
    }
  }

  /** The variables by name, where they lie. */
  public Map<String, Tensor> tensors() {
    Map<String, Tensor> tensors = new TreeMap<>();
    entries.forEach(
        (name, entry) -> {
          MemorySegment bytes = data.asSlice(entry.offset, entry.size);
          CRC32C sum = new CRC32C();
          sum.update(bytes.asByteBuffer());
          require(masked(sum) == entry.checksum, "the checksum of " + name);
          tensors.put(name, Tensor.of(bytes, DType.FLOAT32, entry.shape));
        });
    return tensors;
  }

  // ---- table ---------------------------------------------------------------------------------

  private static Map<String, ByteBuffer> block(ByteBuffer table, long offset, long size) {
    require(offset + size + TRAILER <= table.limit(), "blocks inside of the file");
    ByteBuffer block = part(table, offset, size);
    ByteBuffer trailer = part(table, offset + size, TRAILER);
    require(trailer.get() == 0, "blocks that are not compressed");
    CRC32C sum = new CRC32C();
    sum.update(part(table, offset, size + 1));
    require(masked(sum) == trailer.getInt(), "the checksum of a block");
    int restarts = block.getInt((int) size - Integer.BYTES);
    block.limit((int) size - (1 + restarts) * Integer.BYTES);
    Map<String, ByteBuffer> entries = new TreeMap<>();
    byte[] key = {};
    while (block.hasRemaining()) {
      int shared = (int) varint(block);
      int own = (int) varint(block);
      int length = (int) varint(block);
      require(shared <= key.length, "keys that share what there is");
      key = Arrays.copyOf(key, shared + own);
      block.get(key, shared, own);
      entries.put(new String(key, StandardCharsets.UTF_8), part(block, block.position(), length));
      block.position(block.position() + length);
    }
    return entries;
  }

  private static ByteBuffer part(ByteBuffer buffer, long offset, long size) {
    return buffer.slice((int) offset, (int) size).order(ByteOrder.LITTLE_ENDIAN);
  }

  private static long varint(ByteBuffer from) {
    long value = 0;
    for (int shift = 0; shift < Long.SIZE; shift += 7) {
      byte next = from.get();
      value |= (next & 0x7fL) << shift;
      if (next >= 0) {
        return value;
      }
    }
    throw new IllegalArgumentException("bundle: expected numbers of at most 64 bits");
  }

  /** As LevelDB stores them: of data that contain checksums the plain one would be weak. */
  static int masked(CRC32C sum) {
    return Integer.rotateRight((int) sum.getValue(), 15) + 0xa282ead8;
  }

  // ---- BundleEntryProto ----------------------------------------------------------------------

  private Entry entry(String name, ByteBuffer value) {
    long type = 0;
    long[] shape = {};
    long offset = 0;
    long size = 0;
    int checksum = 0;
    while (value.hasRemaining()) {
      int field = (int) varint(value);
      switch (field) {
        case 1 << 3 -> type = varint(value);
        case 2 << 3 | 2 -> {
          int length = (int) varint(value);
          shape = shape(part(value, value.position(), length));
          value.position(value.position() + length);
        }
        case 3 << 3 -> require(varint(value) == 0, "one file of data");
        case 4 << 3 -> offset = varint(value);
        case 5 << 3 -> size = varint(value);
        case 6 << 3 | 5 -> checksum = value.getInt();
        default -> require(false, "fields 1 to 6 of %s, not %d,".formatted(name, field >> 3));
      }
    }
    require(type == FLOAT, "float32 for " + name);
    long elements = Arrays.stream(shape).reduce(1, Math::multiplyExact);
    require(size == elements * Float.BYTES, "as many bytes as the shape of " + name + " has");
    require(offset + size <= data.byteSize(), name + " inside of the data");
    return new Entry(shape, offset, size, checksum);
  }

  /** TensorShapeProto: a list of dimensions, each with its size. */
  private static long[] shape(ByteBuffer proto) {
    long[] shape = {};
    while (proto.hasRemaining()) {
      require(varint(proto) == (2 << 3 | 2), "dimensions in a shape");
      long length = varint(proto);
      ByteBuffer dim = part(proto, proto.position(), length);
      proto.position(proto.position() + (int) length);
      require(varint(dim) == 1 << 3, "the size of a dimension");
      shape = Arrays.copyOf(shape, shape.length + 1);
      shape[shape.length - 1] = varint(dim);
    }
    return shape;
  }

  private static void require(boolean fits, String what) {
    if (!fits) {
      throw new IllegalArgumentException("bundle: expected " + what + ", got none");
    }
  }
}
