package dev.gatun.io;

import dev.gatun.GatunException;
import dev.gatun.Tensor;
import dev.gatun.internal.Json;
import dev.gatun.internal.Messages;
import dev.gatun.io.SafetensorsHeader.Entry;
import dev.gatun.io.SafetensorsHeader.Type;
import java.io.IOException;
import java.io.InputStream;
import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.nio.channels.FileChannel;
import java.nio.channels.FileChannel.MapMode;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.StandardOpenOption;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.Comparator;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.Objects;
import java.util.TreeMap;

/**
 * Files of named tensors in Hugging Face's safetensors format. Reading maps the file and copies
 * nothing; writing puts the new file in place in one step, when it is complete.
 *
 * <p>A file is the length of its header (8 bytes, little-endian), the header, a JSON object of
 * {@code name: {"dtype": …, "shape": […], "data_offsets": [begin, end]}} with an optional {@code
 * "__metadata__"} of texts, and the data. Any damage to it, and anything that the format forbids,
 * is refused with a {@link SafetensorsException} before a tensor is handed out: a header longer
 * than 100,000,000 bytes or than the file, names that come twice, sizes that do not fit their
 * shape, data that overlap, leave holes or end elsewhere than the file. Beyond the format's rules a
 * name may have 4096 characters, a text 2<sup>24</sup>, a tensor 64 dimensions and less than
 * 2<sup>60</sup> elements, and a file 2<sup>20</sup> tensors and texts together, so that the memory
 * that a header takes is bounded by its length. Keys of a tensor other than the three are passed
 * over.
 *
 * <p>The JSON is read and written by {@code com.fasterxml.jackson.core:jackson-core} 2.16 or newer,
 * on the class path or on the module path. There it needs {@code --add-modules
 * com.fasterxml.jackson.core}, unless another module asks for it.
 */
public final class Safetensors {
  private static final int LENGTH_BYTES = Long.BYTES;

  /** Those of models with thousands of tensors have some hundred kilobytes. */
  private static final int MAX_INDEX = 16 << 20;

  /** Of the data in the file, when written. */
  private static final int ALIGNMENT = 8;

  private static final int MOST_ALIGNMENT = 4096;

  static {
    Json.allowClassPath();
  }

  private Safetensors() {}

  /**
   * Maps a file and reads its header. Pages of the data are read when they are touched, and are
   * shared with every other process that maps the file.
   *
   * <p>The file must not be cut short while its tensors are in use: a mapped page that is gone ends
   * the JVM when native code touches it. A file that is replaced by renaming, as {@link #write}
   * does, is safe.
   *
   * @param file a safetensors file on the default file system, of any size
   * @param arena gets the mapping, and decides how long {@link SafetensorsFile#tensor(String)}'s
   *     views are valid and which threads may use them
   * @return its tensors
   * @throws SafetensorsException if the file is not a regular file or not a safetensors file
   * @throws IOException if the file cannot be opened, read or mapped
   * @throws GatunException if jackson-core is missing
   */
  public static SafetensorsFile map(Path file, Arena arena) throws IOException {
    Objects.requireNonNull(arena, "arena");
    if (Files.exists(file) && !Files.isRegularFile(file)) {
      // Opening a pipe would wait for its writer.
      throw new SafetensorsException(
          file,
          "expected a regular file, it is a "
              + (Files.isDirectory(file) ? "directory" : "pipe or device"));
    }
    try (FileChannel channel = FileChannel.open(file, StandardOpenOption.READ)) {
      long size = channel.size();
      long dataOffset = LENGTH_BYTES + headerLength(channel, size, file);
      SafetensorsHeader header = readHeader(new HeaderStream(channel, dataOffset), file);
      header.check(file, size - dataOffset);
      MemorySegment data = channel.map(MapMode.READ_ONLY, dataOffset, size - dataOffset, arena);
      return new SafetensorsFile(file, header, dataOffset, data);
    } catch (UnsupportedOperationException e) {
      throw new SafetensorsException(
          file, "expected a file on the default file system, this one cannot be mapped");
    }
  }

  private static long headerLength(FileChannel channel, long size, Path file) throws IOException {
    ByteBuffer start = ByteBuffer.allocate(LENGTH_BYTES + 1).order(ByteOrder.LITTLE_ENDIAN);
    while (start.hasRemaining() && channel.read(start, start.position()) >= 0) {}
    if (start.position() < LENGTH_BYTES) {
      throw new SafetensorsException(
          file,
          "cut short: expected the header's length in %d bytes, the file has %d"
              .formatted(LENGTH_BYTES, size));
    }
    long length = start.getLong(0);
    if (length < 0 || length > SafetensorsHeader.MAX_LENGTH) {
      if (start.get(0) == '{') {
        refuseJson(channel, size, file);
      }
      throw new SafetensorsException(
          file,
          "expected a header of at most %d bytes, got %s"
              .formatted(SafetensorsHeader.MAX_LENGTH, Long.toUnsignedString(length)));
    }
    if (length > size - LENGTH_BYTES) {
      throw new SafetensorsException(
          file,
          "cut short: expected a header of %d bytes, got %d"
              .formatted(length, size - LENGTH_BYTES));
    }
    if (length == 0 || start.get(LENGTH_BYTES) != '{') {
      throw new SafetensorsException(
          file,
          "expected the header to begin with '{', got "
              + (length == 0 ? "none" : "byte 0x%02x".formatted(start.get(LENGTH_BYTES))));
    }
    return length;
  }

  /** An index, model.safetensors.index.json, only says which file has which tensor. */
  private static void refuseJson(FileChannel channel, long size, Path file) throws IOException {
    if (size > MAX_INDEX) {
      return;
    }
    ByteBuffer text = ByteBuffer.allocate((int) size);
    while (text.hasRemaining() && channel.read(text, text.position()) >= 0) {}
    Json json;
    try {
      json = Json.parse(Arrays.copyOf(text.array(), text.position()));
    } catch (IllegalArgumentException e) {
      return;
    }
    throw new SafetensorsException(
        file,
        "expected a safetensors file, got JSON"
            + (json.find("weight_map").isObject()
                ? ": an index, which says in which files the tensors are; map those"
                : " of another kind"));
  }

  private static SafetensorsHeader readHeader(InputStream in, Path file) throws IOException {
    Json.load("a safetensors file");
    try {
      return SafetensorsJson.read(in, file);
    } catch (LinkageError e) {
      throw Json.missing("a safetensors file", e);
    }
  }

  /** The header in the file, read through a small buffer whatever its length. */
  private static final class HeaderStream extends InputStream {
    private final FileChannel channel;
    private final long end;
    private long position = LENGTH_BYTES;

    HeaderStream(FileChannel channel, long end) {
      this.channel = channel;
      this.end = end;
    }

    @Override
    public int read() throws IOException {
      byte[] one = new byte[1];
      return read(one, 0, 1) < 0 ? -1 : Byte.toUnsignedInt(one[0]);
    }

    @Override
    public int read(byte[] bytes, int offset, int length) throws IOException {
      int wanted = (int) Math.min(length, end - position);
      if (wanted == 0) {
        return length == 0 ? 0 : -1;
      }
      int count = channel.read(ByteBuffer.wrap(bytes, offset, wanted), position);
      position += Math.max(0, count);
      return count;
    }
  }

  /**
   * Writes tensors as a safetensors file, each in row-major order whatever its strides. What was
   * there before is replaced when, and only when, the new file is complete; nothing is forced to
   * the disk.
   *
   * <p>The data lie as the format's own library puts them, so that equal tensors give equal files:
   * types of more bytes first (I64, F32, I32, BF16, F16, I8, U8), and by name among each. Behind a
   * header that blanks fill up to a multiple of 8 bytes, all are aligned to their element size. The
   * mapped file a tensor comes from may be the file that is replaced.
   *
   * @param file where to; its directory exists
   * @param tensors what to write, by name; FLOAT32 becomes F32, INT32 I32, INT64 I64 and so on
   * @param metadata texts to write beside them; may be empty
   * @throws IllegalArgumentException if a name is {@code __metadata__}, or is longer than {@link
   *     #map} reads or not Unicode, or if there are more of them
   * @throws IOException if the file cannot be written; then what was there before is still there
   *     and nothing else is
   * @throws GatunException if jackson-core is missing
   */
  public static void write(Path file, Map<String, Tensor> tensors, Map<String, String> metadata)
      throws IOException {
    write(file, tensors, metadata, ALIGNMENT);
  }

  /**
   * The same, with blanks behind the header up to a multiple of more bytes than 8, for data that
   * are used where they are mapped.
   *
   * @param file where to; its directory exists
   * @param tensors what to write, by name
   * @param metadata texts to write beside them; may be empty
   * @param alignment of the first tensor in the file, in bytes: a multiple of 8, at most 4096
   * @throws IllegalArgumentException also if the alignment is none
   * @throws IOException if the file cannot be written
   */
  public static void write(
      Path file, Map<String, Tensor> tensors, Map<String, String> metadata, int alignment)
      throws IOException {
    Objects.requireNonNull(file, "file");
    if (alignment < ALIGNMENT || alignment > MOST_ALIGNMENT || alignment % ALIGNMENT != 0) {
      throw new IllegalArgumentException(
          "alignment: expected a multiple of %d up to %d, got %d"
              .formatted(ALIGNMENT, MOST_ALIGNMENT, alignment));
    }
    // header and data of one state
    writeOnce(file, new HashMap<>(tensors), new HashMap<>(metadata), alignment);
  }

  private static void writeOnce(
      Path file, Map<String, Tensor> tensors, Map<String, String> metadata, int alignment)
      throws IOException {
    if ((long) tensors.size() + metadata.size() > SafetensorsHeader.MAX_ENTRIES) {
      throw new IllegalArgumentException(
          "tensors, metadata: expected at most %d together, got %d and %d"
              .formatted(SafetensorsHeader.MAX_ENTRIES, tensors.size(), metadata.size()));
    }
    metadata.forEach(
        (key, value) -> {
          checkText("metadata", key, key, SafetensorsHeader.MAX_NAME_LENGTH);
          checkText("metadata", key, value, SafetensorsHeader.MAX_VALUE_LENGTH);
        });
    List<Entry> entries = arrange(tensors);
    byte[] header = header(entries, new TreeMap<>(metadata), alignment);
    try (TemporaryFile output = TemporaryFile.create(file)) {
      output.fill(
          () -> {
            output.write(MemorySegment.ofArray(header));
            for (Entry entry : entries) {
              output.write(tensors.get(entry.name()));
            }
          });
      output.commit();
    }
  }

  private static List<Entry> arrange(Map<String, Tensor> tensors) {
    List<Entry> entries = new ArrayList<>();
    tensors.forEach(
        (name, tensor) -> {
          checkText("tensors", name, name, SafetensorsHeader.MAX_NAME_LENGTH);
          if (name.equals(SafetensorsHeader.METADATA)) {
            throw new IllegalArgumentException(
                "tensors: expected names other than '%s', which is the metadata's"
                    .formatted(SafetensorsHeader.METADATA));
          }
          if (tensor.rank() > SafetensorsHeader.MAX_RANK) {
            throw new IllegalArgumentException(
                "tensors: expected at most %d dimensions, got %d for %s"
                    .formatted(SafetensorsHeader.MAX_RANK, tensor.rank(), Messages.quoted(name)));
          }
          long bytes = tensor.elements() * tensor.dtype().byteSize();
          entries.add(new Entry(name, Type.of(tensor.dtype()), tensor.shape(), 0, bytes));
        });
    entries.sort(
        Comparator.comparing(Entry::type)
            .reversed()
            .thenComparing(
                entry -> entry.name().getBytes(StandardCharsets.UTF_8), Arrays::compareUnsigned));
    long offset = 0;
    for (int i = 0; i < entries.size(); i++) {
      Entry entry = entries.get(i);
      long end = Math.addExact(offset, entry.end());
      entries.set(i, new Entry(entry.name(), entry.type(), entry.shape(), offset, end));
      offset = end;
    }
    return entries;
  }

  private static byte[] header(List<Entry> entries, Map<String, String> metadata, int alignment) {
    byte[] text;
    Json.load("a safetensors file");
    try {
      text = SafetensorsJson.text(entries, metadata).getBytes(StandardCharsets.UTF_8);
    } catch (LinkageError e) {
      throw Json.missing("a safetensors file", e);
    }
    int length = Math.ceilDiv(LENGTH_BYTES + text.length, alignment) * alignment - LENGTH_BYTES;
    if (length > SafetensorsHeader.MAX_LENGTH) {
      throw new IllegalArgumentException(
          "tensors, metadata: expected a header of at most %d bytes, got %d"
              .formatted(SafetensorsHeader.MAX_LENGTH, length));
    }
    byte[] header = new byte[LENGTH_BYTES + length];
    Arrays.fill(header, (byte) ' ');
    ByteBuffer.wrap(header).order(ByteOrder.LITTLE_ENDIAN).putLong(length).put(text);
    return header;
  }

  private static void checkText(String argument, String name, String text, int most) {
    if (text.length() > most) {
      throw new IllegalArgumentException(
          "%s: expected names of at most %d characters and texts of at most %d, got %d for %s"
              .formatted(
                  argument,
                  SafetensorsHeader.MAX_NAME_LENGTH,
                  SafetensorsHeader.MAX_VALUE_LENGTH,
                  text.length(),
                  Messages.quoted(name)));
    }
    if (!SafetensorsHeader.isUnicode(text)) {
      throw new IllegalArgumentException(
          "%s: expected Unicode, got half a surrogate pair for %s"
              .formatted(argument, Messages.quoted(name)));
    }
  }
}
