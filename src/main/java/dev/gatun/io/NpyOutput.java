package dev.gatun.io;

import dev.gatun.Tensor;
import java.io.IOException;
import java.lang.foreign.MemorySegment;
import java.nio.file.Path;

/**
 * An npy file on its way: {@link #create} makes a temporary file in the directory of the one that
 * is asked for, {@link #write} fills it, {@link #commit} renames it, which replaces what was there
 * before in one step. Closing it before that deletes it. So a place that cannot be written shows
 * before a long computation and not after it, and several files appear together or not at all:
 *
 * <pre>{@code
 * try (NpyOutput out = NpyOutput.create(outFile); NpyOutput lse = NpyOutput.create(lseFile)) {
 *   …
 *   out.write(outTensor);
 *   lse.write(lseTensor);
 *   out.commit();
 *   lse.commit();
 * }
 * }</pre>
 *
 * <p>The data is not forced to the disk. A symbolic link is followed. A file that is replaced hands
 * its permissions to the new one; other hard links to it keep the old content.
 *
 * <p>For one thread at a time, except for {@link #close}, which any thread may call (a shutdown
 * hook, say).
 */
public final class NpyOutput implements AutoCloseable {
  private final TemporaryFile output;

  private NpyOutput(TemporaryFile output) {
    this.output = output;
  }

  /**
   * Makes the temporary file.
   *
   * @param file where the data will be; its directory exists
   * @return the output, empty
   * @throws IOException if there can be no such file
   */
  public static NpyOutput create(Path file) throws IOException {
    return new NpyOutput(TemporaryFile.create(file));
  }

  /**
   * Writes the header and the tensor's elements in C order, whatever its strides.
   *
   * @param tensor what to write
   * @throws IOException if that is not possible, the disk being full, say; this output is closed
   *     then
   * @throws IllegalArgumentException if it has more than 64 extents, NumPy's limit
   * @throws IllegalStateException if this was written or closed before
   */
  public void write(Tensor tensor) throws IOException {
    write(tensor, TemporaryFile.WRITE_PIECE, TemporaryFile.REORDER_PIECE);
  }

  void write(Tensor tensor, long writePiece, long reorderPiece) throws IOException {
    output.fill(
        () -> {
          byte[] header = NpyHeader.bytes(tensor.dtype(), tensor.shape());
          output.write(MemorySegment.ofArray(header), writePiece);
          output.write(tensor, writePiece, reorderPiece);
        });
  }

  /**
   * Puts the file in place.
   *
   * @throws IOException if that is not possible; then what was there before is still there
   * @throws IllegalStateException if nothing was written, or if this was committed or closed before
   */
  public void commit() throws IOException {
    output.commit();
  }

  /** Deletes the temporary file unless it was committed. Calling this again does nothing. */
  @Override
  public void close() {
    output.close();
  }
}
