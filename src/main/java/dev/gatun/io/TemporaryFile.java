package dev.gatun.io;

import dev.gatun.Tensor;
import dev.gatun.internal.ExitHook;
import dev.gatun.internal.Messages;
import java.io.IOException;
import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.nio.ByteBuffer;
import java.nio.channels.ClosedByInterruptException;
import java.nio.channels.ClosedChannelException;
import java.nio.channels.FileChannel;
import java.nio.file.AccessDeniedException;
import java.nio.file.FileAlreadyExistsException;
import java.nio.file.FileSystemException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.StandardCopyOption;
import java.nio.file.StandardOpenOption;
import java.nio.file.attribute.PosixFileAttributeView;
import java.util.HexFormat;
import java.util.concurrent.ThreadLocalRandom;

/**
 * A file on its way: {@link #create} makes a temporary file in the directory of the one that is
 * asked for, {@link #fill} fills it, {@link #commit} renames it, which replaces what was there
 * before in one step. Closing it before that deletes it, and so does the end of the JVM, by a
 * signal too: a shutdown hook, which goes with the file, is there before the file is.
 *
 * <p>The data is not forced to the disk. A symbolic link is followed. A file that is replaced hands
 * its permissions to the new one; other hard links to it keep the old content.
 *
 * <p>For one thread at a time, except for {@link #close}, which any thread may call.
 */
final class TemporaryFile implements AutoCloseable {
  /** A byte buffer ends at 2^31 - 1 bytes; writing in pieces of this size keeps each below that. */
  static final long WRITE_PIECE = 1L << 30;

  /** Views that are not contiguous are put in order through a buffer of this size. */
  static final long REORDER_PIECE = 4L << 20;

  private final Path file;
  private final Path target;
  private final Path temporary;

  /** Null until the file is about to exist. */
  private ExitHook hook;

  /** Null until the file exists. */
  private FileChannel channel;

  private boolean done;

  /** Writes all that the file will hold. */
  interface Content {
    void write() throws IOException;
  }

  private TemporaryFile(Path file, Path target, Path temporary) {
    this.file = file;
    this.target = target;
    this.temporary = temporary;
  }

  /** Makes the temporary file, empty. The directory of the file has to exist. */
  static TemporaryFile create(Path file) throws IOException {
    boolean exists = Files.exists(file);
    if (exists && !Files.isRegularFile(file)) {
      String kind = Files.isDirectory(file) ? "directory" : "pipe or device";
      throw failure(file, "expected a regular file or none, it is a " + kind, null);
    }
    if (exists && !Files.isWritable(file)) {
      throw failure(file, "the file that is there is write-protected", null);
    }
    if (!exists && Files.isSymbolicLink(file)) {
      throw failure(file, "it is a symbolic link to a file that does not exist", null);
    }
    Path target = exists ? file.toRealPath() : file.toAbsolutePath();
    Path directory = target.getParent();
    if (directory == null || !Files.isDirectory(directory)) {
      throw failure(file, "its directory does not exist", null);
    }
    while (true) {
      // Short whatever the target is called, since a file name ends at 255 bytes.
      // Files.createTempFile is no help: it takes away the permissions that the umask grants.
      String random = HexFormat.of().toHexDigits(ThreadLocalRandom.current().nextLong());
      Path temporary = directory.resolve(".gatun-" + random + ".tmp");
      TemporaryFile created = new TemporaryFile(file, target, temporary);
      try {
        created.open();
        return created;
      } catch (FileAlreadyExistsException e) {
        continue;
      } catch (IOException e) {
        throw failure(file, "cannot create a file in its directory: " + reason(e), e);
      }
    }
  }

  private void open() throws IOException {
    hook = ExitHook.add("gatun-temporary-file", this::delete);
    boolean opened = false;
    try {
      openUnlessDone();
      opened = true;
    } finally {
      if (!opened) {
        hook.close();
      }
    }
  }

  /** The hook may have run meanwhile: what it did not find it would never delete. */
  private synchronized void openUnlessDone() throws IOException {
    if (done) {
      throw new IOException("the JVM is shutting down");
    }
    channel = FileChannel.open(temporary, StandardOpenOption.CREATE_NEW, StandardOpenOption.WRITE);
  }

  /**
   * Runs what writes the content, once. If that fails, this is closed.
   *
   * @throws IllegalStateException if this was filled or closed before
   */
  void fill(Content content) throws IOException {
    if (!channel.isOpen()) {
      throw new IllegalStateException(
          Messages.line(file.toString()) + ": written or closed before");
    }
    boolean complete = false;
    try (FileChannel _ = channel) {
      content.write();
      complete = true;
    } catch (IOException e) {
      throw failure(file, reason(e), e);
    } finally {
      if (!complete) {
        close();
      }
    }
  }

  /** Appends bytes, native or of an array. Only within {@link #fill}. */
  void write(MemorySegment data) throws IOException {
    write(data, WRITE_PIECE);
  }

  /** Appends the elements in row-major order, whatever the strides. Only within {@link #fill}. */
  void write(Tensor tensor) throws IOException {
    write(tensor, WRITE_PIECE, REORDER_PIECE);
  }

  void write(MemorySegment data, long piece) throws IOException {
    for (long from = 0; from < data.byteSize(); from += piece) {
      ByteBuffer bytes = data.asSlice(from, Math.min(piece, data.byteSize() - from)).asByteBuffer();
      while (bytes.hasRemaining()) {
        channel.write(bytes);
      }
    }
  }

  void write(Tensor tensor, long writePiece, long reorderPiece) throws IOException {
    long bytes = tensor.elements() * tensor.dtype().byteSize();
    if (tensor.isContiguous()) {
      write(tensor.segment().asSlice(0, bytes), writePiece);
    } else if (bytes > 0) {
      try (Arena arena = Arena.ofConfined()) {
        reorder(tensor, arena.allocate(Math.min(bytes, reorderPiece), 64), writePiece);
      }
    }
  }

  /**
   * Copies as many slices of the first dimension as the buffer holds, or goes into one that is too
   * big for it.
   */
  private void reorder(Tensor tensor, MemorySegment buffer, long writePiece) throws IOException {
    long extent = tensor.size(0);
    long sliceBytes = tensor.elements() / extent * tensor.dtype().byteSize();
    if (sliceBytes > buffer.byteSize()) {
      for (long i = 0; i < extent; i++) {
        reorder(tensor.select(0, i), buffer, writePiece);
      }
      return;
    }
    long step = buffer.byteSize() / sliceBytes;
    for (long from = 0; from < extent; from += step) {
      Tensor piece = tensor.slice(0, from, Math.min(extent, from + step));
      MemorySegment ordered = buffer.asSlice(0, piece.elements() * piece.dtype().byteSize());
      Tensor.of(ordered, piece.dtype(), piece.shape()).copyFrom(piece);
      write(ordered, writePiece);
    }
  }

  /**
   * Puts the file in place. If that fails, what was there before is still there.
   *
   * @throws IllegalStateException if nothing was written, or if this was committed or closed before
   */
  void commit() throws IOException {
    putInPlace();
    hook.close();
  }

  private synchronized void putInPlace() throws IOException {
    if (done || channel.isOpen()) {
      throw new IllegalStateException(
          Messages.line(file.toString())
              + (done ? ": committed or closed before" : ": nothing was written"));
    }
    try {
      keepPermissions();
      Files.move(temporary, target, StandardCopyOption.ATOMIC_MOVE);
      done = true;
    } catch (IOException e) {
      throw failure(file, "cannot be put in place: " + reason(e), e);
    }
  }

  private void keepPermissions() {
    try {
      PosixFileAttributeView old = Files.getFileAttributeView(target, PosixFileAttributeView.class);
      PosixFileAttributeView now =
          Files.getFileAttributeView(temporary, PosixFileAttributeView.class);
      if (old != null && Files.exists(target)) {
        now.setPermissions(old.readAttributes().permissions());
      }
    } catch (IOException e) {
      // A file system without permissions has none to keep.
    }
  }

  /** Deletes the temporary file unless it was committed. Calling this again does nothing. */
  @Override
  public void close() {
    delete();
    hook.close();
  }

  private synchronized void delete() {
    if (done) {
      return;
    }
    done = true;
    if (channel == null) {
      return; // it will not be opened any more
    }
    try {
      channel.close();
    } catch (IOException e) {
      // What it held is not wanted.
    }
    try {
      Files.deleteIfExists(temporary);
    } catch (IOException e) {
      // The caller has met the failure that matters already.
    }
  }

  private static FileSystemException failure(Path file, String reason, Throwable cause) {
    FileSystemException failure = new OneLineException(file.toString(), reason);
    failure.initCause(cause);
    return failure;
  }

  private static String reason(IOException e) {
    return switch (e) {
      case AccessDeniedException _ -> "permission denied";
      case ClosedByInterruptException _ -> "the thread was interrupted while it wrote";
      case ClosedChannelException _ -> "closed by another thread while it was written";
      case FileSystemException f when f.getReason() != null -> f.getReason();
      default -> e.getMessage() == null ? e.getClass().getSimpleName() : e.getMessage();
    };
  }
}
