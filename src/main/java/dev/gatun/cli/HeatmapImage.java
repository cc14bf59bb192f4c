package dev.gatun.cli;

import java.awt.image.BufferedImage;
import java.io.ByteArrayOutputStream;
import java.io.IOException;
import javax.imageio.ImageIO;
import javax.imageio.ImageWriter;
import javax.imageio.stream.MemoryCacheImageOutputStream;

/**
 * Maps as a PNG image: a square of pixels for each cell, rows of maps below each other. Needs the
 * JDK's module java.desktop, and no screen.
 */
final class HeatmapImage {
  private static final int ALONE = 768;
  private static final int AMONG_OTHERS = 128;
  private static final int GAP = 6;
  private static final int BACKGROUND = 0x000000;
  private static final int NOT_A_NUMBER = 0xff5fb0;

  /** What an image may have, far beyond what a viewer shows. */
  static final long MOST_PIXELS = 1L << 28;

  private HeatmapImage() {}

  /** Pixels along a cell's side: small maps are enlarged. */
  private static int side(Heatmaps maps) {
    int wanted = maps.maps() == 1 ? ALONE : AMONG_OTHERS;
    return Math.max(1, wanted / Math.max(maps.mapRows(), maps.mapColumns()));
  }

  private static long width(Heatmaps maps) {
    return maps.heads().size() * ((long) side(maps) * maps.mapColumns() + GAP) - GAP;
  }

  private static long height(Heatmaps maps) {
    return maps.rows().size() * ((long) side(maps) * maps.mapRows() + GAP) - GAP;
  }

  static long pixels(Heatmaps maps) {
    return Math.multiplyExact(width(maps), height(maps));
  }

  static byte[] bytes(Heatmaps maps) {
    int side = side(maps);
    BufferedImage image =
        new BufferedImage((int) width(maps), (int) height(maps), BufferedImage.TYPE_INT_RGB);
    for (int y = 0; y < image.getHeight(); y++) {
      for (int x = 0; x < image.getWidth(); x++) {
        image.setRGB(x, y, BACKGROUND);
      }
    }
    for (int map = 0; map < maps.maps(); map++) {
      int left = map % maps.heads().size() * (side * maps.mapColumns() + GAP);
      int above = map / maps.heads().size() * (side * maps.mapRows() + GAP);
      draw(maps, map, image, left, above, side);
    }
    return png(image);
  }

  private static void draw(
      Heatmaps maps, int map, BufferedImage image, int left, int above, int side) {
    float largest = maps.largest(map);
    for (int y = 0; y < side * maps.mapRows(); y++) {
      for (int x = 0; x < side * maps.mapColumns(); x++) {
        float weight = maps.weight(map, y / side, x / side);
        int color = Float.isNaN(weight) ? NOT_A_NUMBER : ColorScale.DARK.rgb(weight, largest);
        image.setRGB(left + x, above + y, color);
      }
    }
  }

  private static byte[] png(BufferedImage image) {
    ByteArrayOutputStream bytes = new ByteArrayOutputStream();
    ImageWriter writer = ImageIO.getImageWritersByFormatName("png").next();
    // Not ImageIO.write, which keeps a file of its own on the disk.
    try (MemoryCacheImageOutputStream out = new MemoryCacheImageOutputStream(bytes)) {
      writer.setOutput(out);
      writer.write(image);
    } catch (IOException e) {
      throw new AssertionError("an array throws none", e);
    } finally {
      writer.dispose();
    }
    return bytes.toByteArray();
  }
}
