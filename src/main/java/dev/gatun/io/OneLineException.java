package dev.gatun.io;

import dev.gatun.internal.Messages;
import java.nio.file.FileSystemException;

/** What is wrong with a file, on one line whatever the names in it hold. */
class OneLineException extends FileSystemException {
  private static final long serialVersionUID = 1L;

  OneLineException(String file, String reason) {
    super(file, null, reason);
  }

  /** Returns file and reason on one line. */
  @Override
  public String getMessage() {
    return Messages.line(super.getMessage());
  }
}
