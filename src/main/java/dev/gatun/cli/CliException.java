package dev.gatun.cli;

import java.io.IOException;
import java.nio.channels.ClosedByInterruptException;
import java.nio.file.AccessDeniedException;
import java.nio.file.FileSystemException;
import java.nio.file.NoSuchFileException;
import java.nio.file.Path;

/**
 * A mistake of whoever typed the command: its message is the one line that is printed, and the exit
 * code is 2.
 */
final class CliException extends RuntimeException {
  private static final long serialVersionUID = 1L;

  CliException(String message) {
    super(message);
  }

  CliException(String message, Throwable cause) {
    super(message, cause);
  }

  /** For a file that cannot be read or written. */
  static CliException of(String option, Path file, IOException e) {
    return of(option + " " + file, e);
  }

  /** For an input or an output that has no file name. */
  static CliException of(String name, IOException e) {
    String reason =
        switch (e) {
          case NoSuchFileException _ -> "no such file";
          case AccessDeniedException _ -> "permission denied";
          case ClosedByInterruptException _ -> "the thread was interrupted";
          case FileSystemException f when f.getReason() != null -> f.getReason();
          default -> e.getMessage() == null ? e.getClass().getSimpleName() : e.getMessage();
        };
    return new CliException(name + ": " + reason, e);
  }
}
