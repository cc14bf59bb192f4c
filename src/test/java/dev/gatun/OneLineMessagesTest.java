package dev.gatun;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import dev.gatun.internal.Messages;
import dev.gatun.io.Npy;
import dev.gatun.io.NpyException;
import dev.gatun.io.NpyOutput;
import dev.gatun.io.OnnxException;
import dev.gatun.io.OnnxFile;
import dev.gatun.io.Safetensors;
import dev.gatun.io.SafetensorsException;
import dev.gatun.model.Weights;
import dev.gatun.nn.RMSNorm;
import dev.gatun.support.OnnxWriter;
import java.io.IOException;
import java.lang.foreign.Arena;
import java.nio.file.FileSystemException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Arrays;
import java.util.Map;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.function.Executable;
import org.junit.jupiter.api.io.TempDir;

/** Whatever names and shapes from outside hold, a message is one line that can be read. */
class OneLineMessagesTest {
  private static final String NASTY = "a\nb\u001b[2J\u2028c";
  private static final int LONGEST = 500;

  @TempDir Path directory;
  private final Arena arena = Arena.ofConfined();

  @AfterEach
  void close() {
    arena.close();
  }

  private static String message(Class<? extends Exception> type, Executable call) {
    String message = assertThrows(type, call).getMessage();
    assertEquals(Messages.line(message), message);
    return message;
  }

  private static void assertShort(String message) {
    assertTrue(message.length() <= LONGEST, message.length() + " characters");
  }

  private Path file(byte... content) throws IOException {
    return Files.write(directory.resolve(NASTY), content);
  }

  @Test
  void fileNames() throws IOException {
    Path file = file(new byte[100]);
    String name = "a\\nb\\u001b[2J\\u2028c: ";
    assertTrue(message(NpyException.class, () -> Npy.map(file, arena)).contains(name));
    assertTrue(
        message(SafetensorsException.class, () -> Safetensors.map(file, arena)).contains(name));
    assertTrue(message(OnnxException.class, () -> OnnxFile.map(file, arena)).contains(name));
    Path folder = Files.createDirectory(directory.resolve("folder" + NASTY));
    assertTrue(
        message(FileSystemException.class, () -> NpyOutput.create(folder)).contains("directory"));
    try (NpyOutput output = NpyOutput.create(directory.resolve("o" + NASTY))) {
      assertTrue(message(IllegalStateException.class, output::commit).contains("nothing was"));
    }
  }

  /** What the exception is made of stays as it is, for programs. */
  @Test
  void fileNames_canBeAskedFor() throws IOException {
    Path file = file(new byte[100]);
    NpyException e = assertThrows(NpyException.class, () -> Npy.map(file, arena));
    assertEquals(file.toString(), e.getFile());
  }

  @Test
  void tensorNames() throws IOException {
    String longName = "x".repeat(4000);
    OnnxWriter graph =
        new OnnxWriter()
            .message(5, OnnxWriter.floatTensor(NASTY, new float[] {1}, 2))
            .message(5, OnnxWriter.floatTensor(longName, new float[] {1}, 2));
    OnnxFile onnx = OnnxFile.map(file(OnnxWriter.model(graph)), arena);
    for (String name : new String[] {NASTY, longName, "none" + NASTY, "none" + longName}) {
      String missing = message(OnnxException.class, () -> onnx.initializer(name));
      assertTrue(missing.contains("'"), missing);
      assertShort(missing);
    }
    Path file = directory.resolve("t.safetensors");
    Safetensors.write(file, Map.of(NASTY, Tensor.copyOf(arena, new float[1], 1)), Map.of());
    Weights weights = Weights.of(Safetensors.map(file, arena), arena);
    message(IllegalArgumentException.class, () -> weights.matrix(NASTY));
    message(IllegalArgumentException.class, () -> weights.get("none" + NASTY));
  }

  @Test
  void shapes() throws IOException {
    long[] shape = new long[1000];
    Arrays.fill(shape, 1);
    Tensor tensor = Tensor.allocate(arena, DType.FLOAT32, shape);
    assertShort(tensor.toString());
    assertShort(message(IllegalArgumentException.class, () -> tensor.reshape(2)));
    assertShort(message(IndexOutOfBoundsException.class, () -> tensor.getFloat(0)));
    try (GatunRuntime runtime = GatunRuntime.create()) {
      Tensor out = Tensor.allocate(arena, DType.FLOAT32, 1, 1, 1, 1);
      assertShort(
          message(
              IllegalArgumentException.class,
              () ->
                  runtime
                      .attention(AttentionSpec.builder().build())
                      .forward(tensor, tensor, tensor, out)));
      assertShort(
          message(IllegalArgumentException.class, () -> new RMSNorm(runtime, tensor, 1e-5f)));
    }
    Path file = directory.resolve("x.npy");
    assertEquals(
        "tensor: expected at most 64 extents, got 1000",
        message(IllegalArgumentException.class, () -> Npy.write(file, tensor)));
    assertFalse(Files.exists(file));
  }
}
