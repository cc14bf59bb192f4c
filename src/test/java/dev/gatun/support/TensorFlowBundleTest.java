package dev.gatun.support;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import dev.gatun.Tensor;
import java.io.ByteArrayOutputStream;
import java.io.IOException;
import java.lang.foreign.Arena;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import java.util.Map;
import java.util.Set;
import java.util.zip.CRC32C;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

/** A bundle byte by byte, as its formats are described, and names of BERT's variables. */
class TensorFlowBundleTest {
  @TempDir Path folder;

  /** Bytes, texts and more of them in a row. */
  private static byte[] bytes(Object... parts) {
    ByteArrayOutputStream out = new ByteArrayOutputStream();
    for (Object part : parts) {
      switch (part) {
        case Integer number -> out.write(number);
        case String text -> out.writeBytes(text.getBytes(StandardCharsets.UTF_8));
        case byte[] more -> out.writeBytes(more);
        default -> throw new AssertionError(part);
      }
    }
    return out.toByteArray();
  }

  private static byte[] checksum(byte[] of) {
    CRC32C sum = new CRC32C();
    sum.update(of);
    long value = sum.getValue();
    int masked = (int) ((value >>> 15 | value << 17 & 0xffffffffL) + 0xa282ead8L);
    return ByteBuffer.allocate(4).order(ByteOrder.LITTLE_ENDIAN).putInt(masked).array();
  }

  private static byte[] floats(float... values) {
    ByteBuffer buffer = ByteBuffer.allocate(values.length * 4).order(ByteOrder.LITTLE_ENDIAN);
    for (float value : values) {
      buffer.putFloat(value);
    }
    return buffer.array();
  }

  /** Entries, one place to start from, and the trailer. */
  private static byte[] block(byte[] entries) {
    byte[] all = bytes(entries, new byte[4], new byte[] {1, 0, 0, 0}, 0);
    return bytes(all, checksum(all));
  }

  private void write(byte[] first, byte[] second, int type) throws IOException {
    byte[] matrix =
        bytes(8, type, 0x12, 8, 0x12, 2, 8, 2, 0x12, 2, 8, 3, 0x28, 24, 0x35, checksum(first));
    byte[] vector = bytes(8, 1, 0x12, 4, 0x12, 2, 8, 3, 0x20, 24, 0x28, 12, 0x35, checksum(second));
    byte[] entries =
        block(
            bytes(
                bytes(0, 0, 6, 8, 1, 0x1a, 2, 8, 1), // the header of the bundle
                bytes(0, 8, matrix.length, "a/kernel", matrix),
                bytes(2, 4, vector.length, "bias", vector))); // a/ as before
    byte[] blocks = block(bytes(0, 1, 2, "b", 0, entries.length - 5));
    byte[] handles =
        bytes(0, 0, entries.length & 0x7f | 0x80, entries.length >> 7, blocks.length - 5);
    byte[] footer = bytes(handles, new byte[40 - handles.length]);
    byte[] magic = {0x57, (byte) 0xfb, (byte) 0x80, (byte) 0x8b, 0x24, 0x75, 0x47, (byte) 0xdb};
    Files.write(folder.resolve("variables.index"), bytes(entries, blocks, footer, magic));
    Files.write(folder.resolve("variables.data-00000-of-00001"), bytes(first, second));
  }

  private Map<String, Tensor> read(Arena arena) throws IOException {
    return TensorFlowBundle.map(folder, arena).tensors();
  }

  @Test
  void reads() throws IOException {
    write(floats(1, 2, 3, 4, 5, 6), floats(7, 8, 9), 1);
    try (Arena arena = Arena.ofShared()) {
      Map<String, Tensor> tensors = read(arena);
      assertEquals(Set.of("a/kernel", "a/bias"), tensors.keySet());
      assertArrayEquals(new long[] {2, 3}, tensors.get("a/kernel").shape());
      assertArrayEquals(new float[] {1, 2, 3, 4, 5, 6}, tensors.get("a/kernel").toFloatArray());
      assertArrayEquals(new float[] {7, 8, 9}, tensors.get("a/bias").toFloatArray());
    }
  }

  @Test
  void refuses() throws IOException {
    write(floats(1, 2, 3, 4, 5, 6), floats(7, 8, 9), 3);
    refused("float32 for a/kernel");
    write(floats(1, 2, 3, 4, 5, 6), floats(7, 8, 9), 1);
    byte[] index = Files.readAllBytes(folder.resolve("variables.index"));
    for (int n = 0; n < index.length - 48; n++) { // every bit of the blocks has its checksum
      byte[] damaged = index.clone();
      damaged[n] ^= 4;
      Files.write(folder.resolve("variables.index"), damaged);
      refused("bundle: expected ");
    }
    Files.write(folder.resolve("variables.index"), index);
    Path data = folder.resolve("variables.data-00000-of-00001");
    Files.write(data, floats(1, 2, 3, 4, 5, 6, 7, 8, 1));
    refused("the checksum of a/bias");
    Files.write(data, floats(1, 2, 3, 4, 5, 6, 7, 8));
    refused("a/bias inside of the data");
    Files.write(folder.resolve("variables.index"), new byte[47]);
    refused("a footer");
  }

  private void refused(String reason) {
    try (Arena arena = Arena.ofShared()) {
      String message = assertThrows(IllegalArgumentException.class, () -> read(arena)).getMessage();
      assertTrue(message.contains(reason), message);
    }
  }

  @Test
  void names() {
    for (List<String> pair :
        List.of(
            List.of(
                "module/bert/encoder/layer_11/attention/self/query/kernel",
                "bert.encoder.layer.11.attention.self.query.weight"),
            List.of(
                "module/bert/encoder/layer_0/output/LayerNorm/beta",
                "bert.encoder.layer.0.output.LayerNorm.bias"),
            List.of(
                "module/bert/embeddings/word_embeddings", "bert.embeddings.word_embeddings.weight"),
            List.of("module/cls/predictions/output_bias", "cls.predictions.bias"),
            List.of(
                "module/cls/predictions/transform/LayerNorm/gamma",
                "cls.predictions.transform.LayerNorm.weight"))) {
      assertEquals(pair.get(1), BertJars.rename(pair.getFirst()));
    }
  }
}
