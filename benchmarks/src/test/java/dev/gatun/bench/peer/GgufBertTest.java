package dev.gatun.bench.peer;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import dev.gatun.Tensor;
import dev.gatun.model.BertWeights;
import dev.gatun.model.EmbeddingModelSpec;
import java.io.FileNotFoundException;
import java.io.IOException;
import java.lang.foreign.Arena;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

/** The GGUF file that llama.cpp gets, and what is said where that is not there. */
class GgufBertTest {

  @Test
  void blocksHaveAScaleAndSignedBytes() {
    float[] values = new float[64];
    for (int i = 0; i < 32; i++) {
      values[i] = (i - 16) / 8f;
    }
    try (Arena arena = Arena.ofConfined()) {
      ByteBuffer blocks =
          ByteBuffer.wrap(GgufBert.quantized(Tensor.copyOf(arena, values, 2, 32)))
              .order(ByteOrder.LITTLE_ENDIAN);
      assertEquals(2 * 34, blocks.capacity());
      assertEquals(2 / 127f, Float.float16ToFloat(blocks.getShort(0)), 1e-5f);
      assertEquals(-127, blocks.get(2));
      assertEquals(0, blocks.get(2 + 16));
      assertEquals(0, blocks.getShort(34), "zeros");
    }
  }

  @Test
  void theFileIsWholeAndInOrder(@TempDir Path folder) throws IOException {
    Path file = folder.resolve("minilm.gguf");
    try (Arena arena = Arena.ofConfined()) {
      GgufBert.write(
          BertWeights.from(EmbeddingModelSpec.MINILM.openModel(arena), arena), true, file);
    }
    byte[] bytes = Files.readAllBytes(file);
    ByteBuffer buffer = ByteBuffer.wrap(bytes).order(ByteOrder.LITTLE_ENDIAN);
    assertEquals("GGUF", new String(bytes, 0, 4, StandardCharsets.US_ASCII));
    assertEquals(3, buffer.getInt(4));
    assertEquals(5 + 6 * 16, buffer.getLong(8), "tensors");
    assertEquals(12, buffer.getLong(16), "keys");
    assertEquals(0, bytes.length % 32);
    long matrices = 30522L * 384 + 6L * (4 * 384 * 384 + 2 * 384 * 1536);
    assertTrue(bytes.length > matrices / 32 * 34, "all matrices as Q8_0");
    assertTrue(bytes.length < matrices / 32 * 34 + 2_000_000, "and nothing but them is large");
  }

  @Test
  void oneThatIsNotThereSaysSo(@TempDir Path folder) throws IOException {
    String before = System.getProperty(PeerJars.PROPERTY);
    System.setProperty(PeerJars.PROPERTY, folder.toString());
    try {
      FileNotFoundException e =
          assertThrows(
              FileNotFoundException.class, () -> EmbeddingEngine.llamaCpp(true, 1).close());
      assertEquals("llama.cpp: it is not there; make bench fetches it", e.getMessage());
    } finally {
      if (before == null) {
        System.clearProperty(PeerJars.PROPERTY);
      } else {
        System.setProperty(PeerJars.PROPERTY, before);
      }
    }
  }
}
