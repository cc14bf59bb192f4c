package dev.gatun.io;

import dev.gatun.Tensor;
import java.io.IOException;
import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.nio.channels.FileChannel;
import java.nio.channels.FileChannel.MapMode;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.StandardOpenOption;
import java.util.Objects;

/**
 * NumPy's npy files as tensors. Reading maps the file and copies nothing; writing puts the new file
 * in place in one step, when it is complete.
 *
 * <p>Read are format versions 1.0, 2.0 and 3.0 with float32, int32, int64, uint8 or bool (as uint8)
 * elements in this machine's byte order and C order, of any size and at most 64 dimensions. Fortran
 * order is read where it makes no difference: at most one dimension above 1, or no elements.
 * Anything else is refused with an {@link NpyException} that says what was expected, and what was
 * found. Bytes after the data are left alone, as NumPy does.
 */
public final class Npy {
  /** A byte buffer ends at 2^31 - 1 bytes; reading in pieces of this size keeps each below that. */
  private static final long PIECE = 1L << 30;

  private Npy() {}

  /**
   * Maps a file and returns a tensor over its data, read-only and valid until the arena is closed.
   * Pages are read when they are touched, and are shared with every other process that maps the
   * file.
   *
   * <p>Where a writer other than NumPy has put the data at an offset that the element type cannot
   * be read at, the data is copied into the arena instead.
   *
   * <p>The file must not be cut short while the tensor is in use: a mapped page that is gone ends
   * the JVM when native code touches it. A file that is replaced by renaming, as {@link #write}
   * does, is safe.
   *
   * @param file an npy file on the default file system
   * @param arena gets the mapping
   * @return the tensor, of the file's element type and shape
   * @throws NpyException if the file is not a regular file or not an npy file as described above
   * @throws IOException if the file cannot be opened, read or mapped
   */
  public static Tensor map(Path file, Arena arena) throws IOException {
    Objects.requireNonNull(arena, "arena");
    if (Files.exists(file) && !Files.isRegularFile(file)) {
      // Opening a pipe would wait for its writer.
      throw new NpyException(
          file,
          "expected a regular file, it is a "
              + (Files.isDirectory(file) ? "directory" : "pipe or device"));
    }
    try (FileChannel channel = FileChannel.open(file, StandardOpenOption.READ)) {
      NpyHeader header = NpyHeader.read(channel, file);
      if (header.dataOffset % header.dtype.byteSize() != 0) {
        Tensor copy = Tensor.allocate(arena, header.dtype, header.shape);
        read(channel, header.dataOffset, copy.segment(), file);
        return copy.asReadOnly();
      }
      MemorySegment data =
          channel.map(MapMode.READ_ONLY, header.dataOffset, header.dataBytes, arena);
      return Tensor.of(data.asReadOnly(), header.dtype, header.shape);
    } catch (IllegalArgumentException e) {
      throw new NpyException(file, e.getMessage());
    } catch (UnsupportedOperationException e) {
      throw new NpyException(
          file, "expected a file on the default file system, this one cannot be mapped");
    }
  }

  private static void read(FileChannel channel, long position, MemorySegment target, Path file)
      throws IOException {
    long done = 0;
    while (done < target.byteSize()) {
      long piece = Math.min(PIECE, target.byteSize() - done);
      int count = channel.read(target.asSlice(done, piece).asByteBuffer(), position + done);
      if (count < 0) {
        throw new NpyException(file, "cut short while it was read");
      }
      done += count;
    }
  }

  /**
   * Writes a tensor as an npy file of version 1.0 in C order, whatever its strides. What was there
   * before is replaced when, and only when, the new file is complete; {@link NpyOutput} says how.
   *
   * @param file where to; its directory exists
   * @param tensor what to write
   * @throws IllegalArgumentException if the tensor has more than 64 extents, NumPy's limit
   * @throws IOException if the file cannot be written; then what was there before is still there
   *     and nothing else is
   */
  public static void write(Path file, Tensor tensor) throws IOException {
    Objects.requireNonNull(tensor, "tensor");
    try (NpyOutput output = NpyOutput.create(file)) {
      output.write(tensor);
      output.commit();
    }
  }
}
