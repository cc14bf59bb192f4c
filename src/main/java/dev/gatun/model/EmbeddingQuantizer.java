package dev.gatun.model;

import java.util.Objects;

/**
 * Makes vectors of bytes, or of bits, of vectors of floats: 4 or 32 times smaller. Its numbers are
 * those of sentence-transformers' {@code quantize_embeddings}, computed in float32 as there.
 *
 * {@snippet :
 * EmbeddingQuantizer binary = EmbeddingQuantizer.ubinary();
 * byte[] cat = binary.quantize(model.embed("A cat."));
 * byte[] dog = binary.quantize(model.embed("A dog."));
 * int different = EmbeddingQuantizer.hammingDistance(cat, dog);
 * }
 *
 * <p>Immutable; any number of threads may share it.
 */
public final class EmbeddingQuantizer {
  private static final int STEPS = 255;
  private static final int BITS = 8;

  private enum Type {
    INT8,
    UINT8,
    BINARY,
    UBINARY
  }

  private final Type type;

  /** Of each element; null for bits. */
  private final float[] starts;

  private final float[] steps;

  private EmbeddingQuantizer(Type type, float[] starts, float[] steps) {
    this.type = type;
    this.starts = starts;
    this.steps = steps;
  }

  /**
   * Bytes from -128 on: {@code (x - minimum) / ((maximum - minimum) / 255) - 128}, rounded toward
   * 0. An element beyond the range becomes -128 or 127; one that has the same value in all vectors
   * becomes -128.
   *
   * @param calibration vectors whose minima and maxima count for each element, at least one; a few
   *     hundred are enough. Those that are to be quantized are what sentence-transformers takes
   * @return a new quantizer
   * @throws IllegalArgumentException if there is none, they have different lengths, or an element
   *     is not finite
   */
  public static EmbeddingQuantizer int8(float[]... calibration) {
    return ranged(Type.INT8, calibration);
  }

  /**
   * The same without 128 subtracted: bytes from 0 on, unsigned, rounded down.
   *
   * @param calibration as of {@link #int8}
   * @return a new quantizer
   * @throws IllegalArgumentException as of {@link #int8}
   */
  public static EmbeddingQuantizer uint8(float[]... calibration) {
    return ranged(Type.UINT8, calibration);
  }

  /**
   * Bits, 1 for what is greater than 0, eight in a byte with the first one highest; 128 is
   * subtracted from each byte.
   *
   * @return the quantizer
   */
  public static EmbeddingQuantizer binary() {
    return new EmbeddingQuantizer(Type.BINARY, null, null);
  }

  /**
   * The same without 128 subtracted: unsigned bytes.
   *
   * @return the quantizer
   */
  public static EmbeddingQuantizer ubinary() {
    return new EmbeddingQuantizer(Type.UBINARY, null, null);
  }

  private static EmbeddingQuantizer ranged(Type type, float[]... calibration) {
    if (calibration.length == 0) {
      throw new IllegalArgumentException("calibration: expected at least one vector, got none");
    }
    float[] least = calibration[0].clone();
    float[] most = calibration[0].clone();
    for (int n = 0; n < calibration.length; n++) {
      float[] vector = calibration[n];
      requireLength("calibration[%d]".formatted(n), least.length, vector);
      for (int i = 0; i < vector.length; i++) {
        if (!Float.isFinite(vector[i])) {
          throw new IllegalArgumentException(
              "calibration[%d][%d]: expected a finite number, got %s".formatted(n, i, vector[i]));
        }
        least[i] = Math.min(least[i], vector[i]);
        most[i] = Math.max(most[i], vector[i]);
      }
    }
    float[] steps = new float[least.length];
    for (int i = 0; i < steps.length; i++) {
      steps[i] = (most[i] - least[i]) / STEPS;
    }
    return new EmbeddingQuantizer(type, least, steps);
  }

  private static void requireLength(String name, int expected, float... vector) {
    Objects.requireNonNull(vector, name);
    if (vector.length != expected) {
      throw new IllegalArgumentException(
          "%s: expected %d elements, got %d".formatted(name, expected, vector.length));
    }
  }

  /**
   * Quantizes a vector.
   *
   * @param vector of the length that those of the calibration have, or for bits of a multiple of 8
   * @return a new array: of as many bytes as the vector has elements, or an eighth of that; {@link
   *     Byte#toUnsignedInt} makes numbers of unsigned ones
   * @throws IllegalArgumentException if the length does not fit, or an element is NaN
   */
  public byte[] quantize(float... vector) {
    for (int i = 0; i < vector.length; i++) {
      if (Float.isNaN(vector[i])) {
        throw new IllegalArgumentException("vector[%d]: expected a number, got NaN".formatted(i));
      }
    }
    return starts == null ? bits(vector) : bytes(vector);
  }

  private byte[] bits(float... vector) {
    if (vector.length % BITS != 0) {
      throw new IllegalArgumentException(
          "vector: expected a multiple of 8 elements, got " + vector.length);
    }
    int subtracted = type == Type.BINARY ? 1 << (BITS - 1) : 0;
    byte[] bytes = new byte[vector.length / BITS];
    for (int n = 0; n < bytes.length; n++) {
      int eight = 0;
      for (int i = n * BITS; i < (n + 1) * BITS; i++) {
        eight = eight << 1 | (vector[i] > 0 ? 1 : 0);
      }
      bytes[n] = (byte) (eight - subtracted);
    }
    return bytes;
  }

  private byte[] bytes(float... vector) {
    requireLength("vector", starts.length, vector);
    byte[] bytes = new byte[vector.length];
    for (int i = 0; i < bytes.length; i++) {
      float place = steps[i] == 0 ? 0 : (vector[i] - starts[i]) / steps[i];
      place = Math.clamp(place, 0, STEPS);
      bytes[i] = (byte) (type == Type.INT8 ? place + Byte.MIN_VALUE : place);
    }
    return bytes;
  }

  /**
   * Counts the bits in which two vectors of bits differ: less is more alike.
   *
   * @param a of {@link #binary} or {@link #ubinary}
   * @param b of the same quantizer, of the same length
   * @return 0 to eight times the length
   * @throws IllegalArgumentException if their lengths differ
   */
  public static int hammingDistance(byte[] a, byte[] b) {
    if (a.length != b.length) {
      throw new IllegalArgumentException(
          "b: expected %d bytes, as a has, got %d".formatted(a.length, b.length));
    }
    int count = 0;
    for (int i = 0; i < a.length; i++) {
      count += Integer.bitCount((a[i] ^ b[i]) & 0xff);
    }
    return count;
  }
}
