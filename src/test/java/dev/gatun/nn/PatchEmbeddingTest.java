package dev.gatun.nn;

import static dev.gatun.nn.Layers.SEED;
import static dev.gatun.nn.Layers.refused;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;

import dev.gatun.DType;
import dev.gatun.Tensor;
import dev.gatun.Workspace;
import dev.gatun.support.Placement;
import java.lang.foreign.Arena;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.Tag;
import org.junit.jupiter.api.Test;

class PatchEmbeddingTest {

  /** Images of 6 by 12 in 2 by 4 patches, so that no size can stand for another. */
  private static final int CHANNELS = 5;

  private static final int PATCH = 3;
  private static final int DOWN = 2;
  private static final int ACROSS = 4;
  private static final int ROWS = 1 + DOWN * ACROSS;
  private static final int DIM = 7;

  /** Products of 45 terms, of size 1 by Layers.weight, then sums; norms keep the size. */
  private static final double BOUND = 1e-5;

  private final Arena arena = Arena.ofShared();
  private final Parts parts = new Parts(arena, SEED);
  private final Tensor weight =
      Layers.weight(arena, parts.random, DIM, CHANNELS * PATCH * PATCH)
          .reshape(DIM, CHANNELS, PATCH, PATCH);
  private final Tensor bias = parts.normal(DIM);
  private final Tensor classToken = parts.normal(DIM);
  private final Tensor positions = parts.normal(ROWS, DIM);

  @AfterEach
  void close() {
    arena.close();
  }

  private PatchEmbedding make(Tensor weight, Tensor classToken, Tensor positions) {
    return new PatchEmbedding(
        parts.runtime, arena, 6, 12, weight, bias, classToken, positions, null);
  }

  /** A convolution whose stride is its size, then the rows that are added. */
  private double[] expected(Tensor images, boolean biased) {
    int batch = (int) images.size(0);
    double[] want = new double[batch * ROWS * DIM];
    for (int b = 0; b < batch; b++) {
      for (int i = 0; i < DIM; i++) {
        want[b * ROWS * DIM + i] = classToken.getFloat(i) + positions.getFloat(0, i);
      }
      for (int row = 0; row < DOWN; row++) {
        for (int column = 0; column < ACROSS; column++) {
          int n = 1 + row * ACROSS + column;
          for (int i = 0; i < DIM; i++) {
            double sum = positions.getFloat(n, i) + (biased ? bias.getFloat(i) : 0);
            for (int c = 0; c < CHANNELS; c++) {
              for (int y = 0; y < PATCH; y++) {
                for (int x = 0; x < PATCH; x++) {
                  sum +=
                      (double) weight.getFloat(i, c, y, x)
                          * images.getFloat(b, c, row * PATCH + y, column * PATCH + x);
                }
              }
            }
            want[(b * ROWS + n) * DIM + i] = sum;
          }
        }
      }
    }
    return want;
  }

  private void check(PatchEmbedding embedding, Tensor images, double[] want) {
    assertEquals(ROWS, embedding.rows());
    Placement.Placed out = Placement.BSHD.empty(arena, (int) images.size(0), ROWS, 1, DIM);
    try (Workspace workspace = parts.runtime.newWorkspace()) {
      for (Workspace given : new Workspace[] {null, workspace, workspace}) {
        out.spoil();
        embedding.forward(given, images, Layers.sequences(out));
        Layers.checkClose(want, out.tensor().toFloatArray(), BOUND);
        out.checkSurroundings();
      }
    }
  }

  @Test
  void againstAConvolution() {
    for (int batch : new int[] {1, 3}) {
      Tensor images = parts.normal(batch, CHANNELS, 6, 12);
      check(make(weight, classToken, positions), images, expected(images, true));
      // As files have them.
      check(
          make(weight, classToken.reshape(1, 1, DIM), positions.reshape(1, ROWS, DIM)),
          images,
          expected(images, true));
      Tensor gamma = parts.normal(DIM);
      double[] want = expected(images, false);
      Parts.normalize(want, gamma, null, 1e-5);
      check(
          new PatchEmbedding(
              parts.runtime,
              arena,
              6,
              12,
              weight,
              null,
              classToken,
              positions,
              new LayerNorm(parts.runtime, gamma, null, 1e-5f)),
          images,
          want);
    }
    make(weight, classToken, positions)
        .forward(null, parts.zeros(0, CHANNELS, 6, 12), parts.zeros(0, ROWS, DIM));
  }

  /** A patch that is the whole image, and patches of one point. */
  @Test
  void extremes() {
    Tensor images = parts.normal(2, 1, 2, 2);
    Tensor zero = parts.zeros(1);
    Tensor one = Tensor.copyOf(arena, new float[] {1, 2, 3, 4}, 1, 1, 2, 2);
    Tensor out = parts.zeros(2, 2, 1);
    new PatchEmbedding(parts.runtime, arena, 2, 2, one, null, zero, parts.zeros(2, 1), null)
        .forward(null, images, out);
    Tensor points = parts.zeros(2, 5, 1);
    new PatchEmbedding(
            parts.runtime,
            arena,
            2,
            2,
            one.slice(2, 1, 2).slice(3, 1, 2),
            null,
            zero,
            parts.zeros(5, 1),
            null)
        .forward(null, images, points);
    for (int b = 0; b < 2; b++) {
      double sum = 0;
      for (int n = 0; n < 4; n++) {
        float value = images.getFloat(b, 0, n / 2, n % 2);
        sum += (n + 1) * value;
        assertEquals(4 * value, points.getFloat(b, n + 1, 0));
      }
      assertEquals(sum, out.getFloat(b, 1, 0), 1e-5);
    }
  }

  private void refusedSize(String start, int height, int width) {
    refused(
        start,
        () ->
            new PatchEmbedding(
                parts.runtime, arena, height, width, weight, bias, classToken, positions, null));
  }

  @Test
  void parametersThatAreRefused() {
    refused("weight:", () -> make(weight.reshape(DIM, 45), classToken, positions));
    refused("weight:", () -> make(weight.slice(3, 0, 2), classToken, positions));
    refused("weight:", () -> make(parts.zeros(DIM, CHANNELS, 0, 0), classToken, positions));
    refused("weight:", () -> make(weight.transpose(2, 3), classToken, positions));
    refused(
        "weight: expected [dim, channels, patch, patch] float32, contiguous, got [7, 5, 3, 3]"
            + " int32",
        () -> make(Tensor.allocate(arena, DType.INT32, 7, 5, 3, 3), classToken, positions));
    refusedSize("height, width: expected multiples of 3, got 7 and 12", 7, 12);
    refusedSize("height, width:", 6, 13);
    refusedSize("height, width:", 0, 12);
    refusedSize("height, width:", 6, -3);
    refused(
        "classToken: expected 7 elements float32, got [6]",
        () -> make(weight, classToken.slice(0, 0, 6), positions));
    refused(
        "positions: expected [9, 7] float32, got [8, 7]",
        () -> make(weight, classToken, positions.slice(0, 1, 9)));
    refused(
        "norm: expected 7, got 8",
        () ->
            new PatchEmbedding(
                parts.runtime, arena, 6, 12, weight, bias, classToken, positions, parts.norm(8)));
    for (int size : new int[] {6, 8}) {
      refused(
          "bias: expected 7 elements float32, got [%d]".formatted(size),
          () ->
              new PatchEmbedding(
                  parts.runtime,
                  arena,
                  6,
                  12,
                  weight,
                  parts.zeros(size),
                  classToken,
                  positions,
                  null));
    }
    assertThrows(NullPointerException.class, () -> make(null, classToken, positions));
    assertThrows(NullPointerException.class, () -> make(weight, null, positions));
    assertThrows(NullPointerException.class, () -> make(weight, classToken, null));
    assertThrows(
        NullPointerException.class,
        () -> new PatchEmbedding(null, arena, 6, 12, weight, bias, classToken, positions, null));
  }

  @Test
  @Tag("asan")
  void argumentsThatAreRefused() {
    PatchEmbedding embedding = make(weight, classToken, positions);
    Tensor images = parts.zeros(2, CHANNELS, 6, 12);
    Placement.Placed placed = Placement.BSHD.empty(arena, 2, ROWS, 1, DIM);
    Tensor out = Layers.sequences(placed);
    refused(
        "images: expected [batch, 5, 6, 12] float32, contiguous, got [2, 5, 12, 6]",
        () -> embedding.forward(null, images.reshape(2, CHANNELS, 12, 6), out));
    refused("images:", () -> embedding.forward(null, images.slice(1, 0, 3), out));
    refused("images:", () -> embedding.forward(null, images.reshape(2, 30, 12), out));
    refused(
        "images:",
        () -> embedding.forward(null, Tensor.allocate(arena, DType.INT32, 2, 5, 6, 12), out));
    Tensor last = parts.zeros(2, 6, 12, CHANNELS).transpose(1, 3).transpose(2, 3);
    refused("images:", () -> embedding.forward(null, last, out)); // channels last
    refused("out:", () -> embedding.forward(null, images, out.slice(0, 0, 1)));
    refused("out:", () -> embedding.forward(null, images, out.slice(1, 0, ROWS - 1)));
    refused("out:", () -> embedding.forward(null, images, out.reshape(2 * ROWS, DIM)));
    refused("out:", () -> embedding.forward(null, images, out.asReadOnly()));
    try (Workspace foreign = Layers.runtime(1).newWorkspace()) {
      refused("workspace:", () -> embedding.forward(foreign, images, out));
    }
    assertThrows(NullPointerException.class, () -> embedding.forward(null, null, out));
    assertThrows(NullPointerException.class, () -> embedding.forward(null, images, null));
    placed.checkUntouched();
    embedding.forward(null, images, out);
  }
}
