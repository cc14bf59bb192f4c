package dev.gatun.io;

import dev.gatun.internal.Messages;

/**
 * A file that is not the ONNX model that was asked for: damaged, cut short, without the initializer
 * or node, or with data of a type that is not read. The message names the file, and the byte where
 * one is to blame.
 */
public final class OnnxException extends OneLineException {
  private static final long serialVersionUID = 1L;

  /** Names of a file may have 4096 bytes, and a message several. */
  private static final int SHOWN_CHARACTERS = 1000;

  /**
   * Makes an exception.
   *
   * @param source the file, or what the bytes came from
   * @param reason what was expected, and what was found; shown on one line, of at most 1000
   *     characters
   */
  public OnnxException(String source, String reason) {
    super(source, Messages.shortened(reason, SHOWN_CHARACTERS));
  }
}
