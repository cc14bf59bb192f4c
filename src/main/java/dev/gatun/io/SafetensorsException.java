package dev.gatun.io;

import dev.gatun.internal.Messages;
import java.nio.file.FileSystemException;
import java.nio.file.Path;

/**
 * A file that is not the safetensors file that was asked for: damaged, cut short, without the
 * tensor, or with numbers of a type that is not read. The message names the file, the entry where
 * one is to blame, what was expected and what came.
 */
public final class SafetensorsException extends FileSystemException {
  private static final long serialVersionUID = 1L;

  /**
   * Makes an exception.
   *
   * @param file the file
   * @param reason what was expected and what came
   */
  public SafetensorsException(Path file, String reason) {
    super(file.toString(), null, reason);
  }

  /** Returns file and reason on one line, whatever the names in them hold. */
  @Override
  public String getMessage() {
    return Messages.line(super.getMessage());
  }
}
