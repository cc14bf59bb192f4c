package dev.gatun.io;

import java.nio.file.Path;

/**
 * A file that is not the safetensors file that was asked for: damaged, cut short, without the
 * tensor, or with numbers of a type that is not read. The message names the file, the entry where
 * one is to blame, the expected and the actual value.
 */
public final class SafetensorsException extends OneLineException {
  private static final long serialVersionUID = 1L;

  /**
   * Makes an exception.
   *
   * @param file the file
   * @param reason the expected and the actual value
   */
  public SafetensorsException(Path file, String reason) {
    super(file.toString(), reason);
  }
}
