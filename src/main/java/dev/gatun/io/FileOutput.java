package dev.gatun.io;

import java.io.IOException;
import java.lang.foreign.MemorySegment;
import java.nio.file.Path;

/**
 * A file of any bytes on its way, as {@link NpyOutput} is one of numbers: {@link #create} makes a
 * temporary file in the directory of the one that is asked for, {@link #write} fills it, {@link
 * #commit} renames it, which replaces what was there before in one step. Closing it before that
 * deletes it.
 *
 * <p>For one thread at a time, except for {@link #close}, which any thread may call.
 */
public final class FileOutput implements AutoCloseable {
  private final TemporaryFile output;

  private FileOutput(TemporaryFile output) {
    this.output = output;
  }

  /**
   * Makes the temporary file.
   *
   * @param file where the bytes will be; its directory exists
   * @return the output, empty
   * @throws IOException if there can be no such file
   */
  public static FileOutput create(Path file) throws IOException {
    return new FileOutput(TemporaryFile.create(file));
  }

  /**
   * Writes all that the file will hold.
   *
   * @param bytes the content
   * @throws IOException if that is not possible, the disk being full, say; this output is closed
   *     then
   * @throws IllegalStateException if this was written or closed before
   */
  public void write(byte[] bytes) throws IOException {
    output.fill(() -> output.write(MemorySegment.ofArray(bytes)));
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
