package dev.gatun.io;

import dev.gatun.internal.Messages;
import java.nio.file.FileSystemException;
import java.nio.file.Path;

/**
 * A file that is not the npy file that was asked for: damaged, cut short, or of a version, element
 * type or order that is not read. The message names the file, what was expected and what came.
 */
public final class NpyException extends FileSystemException {
  private static final long serialVersionUID = 1L;

  NpyException(Path file, String reason) {
    super(file.toString(), null, reason);
  }

  /** Returns file and reason on one line, whatever the names in them hold. */
  @Override
  public String getMessage() {
    return Messages.line(super.getMessage());
  }
}
