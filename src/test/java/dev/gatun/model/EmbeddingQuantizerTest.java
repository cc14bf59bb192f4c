package dev.gatun.model;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.util.Random;
import org.junit.jupiter.api.Test;

/** Vectors of bytes and bits, and how vectors are compared. */
class EmbeddingQuantizerTest {

  private static void refused(String text, Runnable call) {
    String message = assertThrows(IllegalArgumentException.class, call::run).getMessage();
    assertTrue(message.contains(text), message);
  }

  /** numpy.packbits([1, 0, 0, 0, 0, 0, 0, 1, 1, 1, 1, 1, 1, 1, 1, 1]) is [129, 255]. */
  @Test
  void bits() {
    float[] vector = {1, 0, -0f, -1, -2, -3, -4, 1e-30f, 1, 2, 3, 4, 5, 6, 7, 8};
    assertArrayEquals(
        new byte[] {(byte) 129, (byte) 255}, EmbeddingQuantizer.ubinary().quantize(vector));
    assertArrayEquals(new byte[] {1, 127}, EmbeddingQuantizer.binary().quantize(vector));
    float[] none = new float[8];
    assertArrayEquals(new byte[] {-128}, EmbeddingQuantizer.binary().quantize(none));
    refused("vector: expected a multiple of 8", () -> EmbeddingQuantizer.binary().quantize(1, 2));
    none[3] = Float.NaN;
    refused("vector[3]: expected a number", () -> EmbeddingQuantizer.binary().quantize(none));
  }

  @Test
  void differentBits() {
    assertEquals(0, EmbeddingQuantizer.hammingDistance(new byte[] {-1, 5}, new byte[] {-1, 5}));
    assertEquals(9, EmbeddingQuantizer.hammingDistance(new byte[] {-1, 5}, new byte[] {0, 4}));
    refused(
        "b: expected 1 bytes", () -> EmbeddingQuantizer.hammingDistance(new byte[1], new byte[2]));
  }

  /** By hand: a range of 0 .. 255 has steps of 1, and int8 is rounded toward 0, uint8 down. */
  @Test
  void bytes() {
    float[][] range = {{0, 5, -255}, {255, 5, 255}};
    EmbeddingQuantizer unsigned = EmbeddingQuantizer.uint8(range);
    EmbeddingQuantizer signed = EmbeddingQuantizer.int8(range);
    assertArrayEquals(new byte[] {3, 0, 127}, unsigned.quantize(3.7f, 5, 0));
    assertArrayEquals(new byte[] {-124, -128, 0}, signed.quantize(3.7f, 5, 0));
    assertArrayEquals(new byte[] {(byte) 200, 0, (byte) 255}, unsigned.quantize(200.5f, 9, 255));
    assertArrayEquals(new byte[] {72, -128, 127}, signed.quantize(200.5f, 9, 255));
    // Beyond the range.
    assertArrayEquals(new byte[] {0, 0, (byte) 255}, unsigned.quantize(-3, 5, 1000));
    assertArrayEquals(new byte[] {-128, -128, 127}, signed.quantize(-3, 5, 1000));
  }

  /** The formula in double; float32 may be one less or more where it is next to a whole number. */
  @Test
  void bytesOfManyVectors() {
    Random random = new Random(1);
    float[][] vectors = new float[50][16];
    for (float[] vector : vectors) {
      for (int i = 0; i < vector.length; i++) {
        vector[i] = (float) random.nextGaussian() * (i + 1);
      }
    }
    EmbeddingQuantizer unsigned = EmbeddingQuantizer.uint8(vectors);
    EmbeddingQuantizer signed = EmbeddingQuantizer.int8(vectors);
    for (int i = 0; i < 16; i++) {
      double least = Double.POSITIVE_INFINITY;
      double most = Double.NEGATIVE_INFINITY;
      for (float[] vector : vectors) {
        least = Math.min(least, vector[i]);
        most = Math.max(most, vector[i]);
      }
      for (float[] vector : vectors) {
        double place = (vector[i] - least) / ((most - least) / 255);
        int up = Byte.toUnsignedInt(unsigned.quantize(vector)[i]);
        int about = signed.quantize(vector)[i];
        assertEquals(place, up + 0.5, 0.5 + 1e-4);
        double toward = place - 128;
        assertEquals(toward, about + 0.5 * Math.signum(toward), 0.5 + 1e-4);
      }
    }
  }

  @Test
  void calibrationsThatAreRefused() {
    refused("calibration: expected at least one vector", EmbeddingQuantizer::int8);
    refused(
        "calibration[1]: expected 2 elements, got 1",
        () -> EmbeddingQuantizer.int8(new float[2], new float[1]));
    refused(
        "calibration[0][1]: expected a finite number, got NaN",
        () -> EmbeddingQuantizer.uint8(new float[] {0, Float.NaN}));
    EmbeddingQuantizer two = EmbeddingQuantizer.int8(new float[2]);
    refused("vector: expected 2 elements, got 3", () -> two.quantize(1, 2, 3));
    refused("vector[1]: expected a number, got NaN", () -> two.quantize(1, Float.NaN));
  }

  @Test
  void similarities() {
    float[] a = {3, 4};
    float[] b = {4, -3};
    float[] c = {6, 8};
    assertEquals(0, Similarity.COSINE.score(a, b));
    assertEquals(1, Similarity.COSINE.score(a, c), 1e-15);
    assertEquals(0, Similarity.COSINE.score(a, new float[2]));
    assertEquals(50, Similarity.DOT.score(a, c));
    assertEquals(-5, Similarity.EUCLIDEAN.score(a, c));
    assertEquals(-7, Similarity.MANHATTAN.score(a, c));
    assertEquals(-8, Similarity.MANHATTAN.score(a, b));
    for (Similarity similarity : Similarity.values()) {
      refused("b: expected 2 elements", () -> similarity.score(a, new float[3]));
    }
  }
}
