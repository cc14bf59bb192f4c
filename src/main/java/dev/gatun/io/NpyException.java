package dev.gatun.io;

import java.nio.file.Path;

/**
 * A file that is not the npy file that was asked for: damaged, cut short, or of a version, element
 * type or order that is not read. The message names the file, the expected and the actual value.
 */
public final class NpyException extends OneLineException {
  private static final long serialVersionUID = 1L;

  NpyException(Path file, String reason) {
    super(file.toString(), reason);
  }
}
