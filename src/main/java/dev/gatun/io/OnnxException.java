package dev.gatun.io;

import dev.gatun.internal.Messages;
import java.nio.file.FileSystemException;

/**
 * A file that is not the ONNX model that was asked for: damaged, cut short, without the initialiser
 * or node, or with data of a type that is not read. The message names the file, and the byte where
 * one is to blame.
 */
public final class OnnxException extends FileSystemException {
  private static final long serialVersionUID = 1L;

  /**
   * Makes an exception.
   *
   * @param source the file, or what the bytes came from
   * @param reason what was expected and what came
   */
  public OnnxException(String source, String reason) {
    super(source, null, reason);
  }

  /** Returns file and reason on one line, whatever the names in them hold. */
  @Override
  public String getMessage() {
    return Messages.line(super.getMessage());
  }
}
