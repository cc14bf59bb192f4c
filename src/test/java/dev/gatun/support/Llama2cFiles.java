package dev.gatun.support;

import java.io.IOException;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Random;

/** A small random model in llama2.c's format: every byte, and pairs of some letters. */
public final class Llama2cFiles {
  public static final int VOCABULARY = 300;
  public static final int POSITIONS = 48;

  private static final int DIM = 32;
  private static final int HIDDEN = 40;
  private static final int LAYERS = 2;
  private static final int KV = 16;

  private Llama2cFiles() {}

  public static Path write(Path folder) throws IOException {
    return write(folder, 7);
  }

  public static Path write(Path folder, long seed) throws IOException {
    Random random = new Random(seed);
    int floats =
        VOCABULARY * DIM
            + LAYERS * (2 * DIM + 2 * DIM * DIM + 2 * DIM * KV + 3 * DIM * HIDDEN)
            + DIM
            + POSITIONS * (DIM / 4);
    ByteBuffer model = ByteBuffer.allocate(28 + 4 * floats).order(ByteOrder.LITTLE_ENDIAN);
    for (int n : new int[] {DIM, HIDDEN, LAYERS, 4, 2, VOCABULARY, POSITIONS}) {
      model.putInt(n);
    }
    for (int n = 0; n < floats; n++) {
      model.putFloat((float) random.nextGaussian() * 0.4f);
    }
    Files.write(folder.resolve("small.bin"), model.array());
    ByteBuffer tokens = ByteBuffer.allocate(1 << 14).order(ByteOrder.LITTLE_ENDIAN).putInt(6);
    for (int n = 0; n < VOCABULARY; n++) {
      byte[] bytes = token(n).getBytes(StandardCharsets.UTF_8);
      tokens.putFloat(-n).putInt(bytes.length).put(bytes);
    }
    byte[] written = new byte[tokens.position()];
    tokens.flip().get(written);
    Files.write(folder.resolve("tok.bin"), written);
    return folder;
  }

  private static String token(int n) {
    if (n < 3) {
      return new String[] {"<unk>", "\n<s>\n", "\n</s>\n"}[n];
    }
    if (n < 259) {
      return "<0x%02X>".formatted(n - 3);
    }
    return n < 286
        ? " abcdefghijklmnopqrstuvwxyz".charAt(n - 259) + ""
        : " " + (char) ('a' + n - 286);
  }
}
