package dev.gatun.cli;

import dev.gatun.model.EmbeddingQuantizer;
import java.util.Locale;

/** What the numbers of a printed vector are. */
enum OutputType {
  FLOAT32,
  INT8,
  UINT8,
  BINARY,
  UBINARY;

  private static final int BITS = 8;

  /** Whether the range of all vectors has to be known before the first one is printed. */
  boolean isRanged() {
    return this == INT8 || this == UINT8;
  }

  /** Refuses vectors whose bits fill no whole bytes. */
  void require(int dimensions) {
    if ((this == BINARY || this == UBINARY) && dimensions % BITS != 0) {
      throw new CliException(
          "--output-type %s: expected vectors of a multiple of 8 numbers, got %d"
              .formatted(this, dimensions));
    }
  }

  /** Makes what quantizes; null of floats. Vectors count where there are ranges. */
  EmbeddingQuantizer quantizer(float[]... vectors) {
    return switch (this) {
      case FLOAT32 -> null;
      case INT8 -> EmbeddingQuantizer.int8(vectors);
      case UINT8 -> EmbeddingQuantizer.uint8(vectors);
      case BINARY -> EmbeddingQuantizer.binary();
      case UBINARY -> EmbeddingQuantizer.ubinary();
    };
  }

  /** The bytes of a vector as numbers. */
  StringBuilder numbers(byte[] bytes, char separator) {
    boolean unsigned = this == UINT8 || this == UBINARY;
    StringBuilder line = new StringBuilder(4 * bytes.length);
    for (int i = 0; i < bytes.length; i++) {
      if (i > 0) {
        line.append(separator);
      }
      line.append(unsigned ? Byte.toUnsignedInt(bytes[i]) : bytes[i]);
    }
    return line;
  }

  /** The word that options have for it. */
  @Override
  public String toString() {
    return name().toLowerCase(Locale.ROOT);
  }
}
