package dev.gatun.model;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertSame;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import ai.onnxruntime.OrtException;
import dev.gatun.DType;
import dev.gatun.io.OnnxException;
import dev.gatun.io.OnnxFile;
import dev.gatun.support.OnnxWriter;
import dev.gatun.support.ReferenceBert;
import dev.gatun.support.TinyBert;
import java.io.ByteArrayOutputStream;
import java.io.IOException;
import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

/** Graphs without PyTorch's names, of other operators and types; ONNX Runtime runs each. */
class BertVariantsTest {
  private static final int[] IDS = {3, 1, 4, 1, 5};

  @TempDir Path folder;
  private final Arena arena = Arena.ofShared();
  private final TinyBert tiny = TinyBert.bert("", 11, 12);

  @AfterEach
  void close() {
    arena.close();
  }

  /** The bytes without the names that a reader could go by, all as long as before. */
  private byte[] nameless() {
    return nameless(tiny.bytes());
  }

  /** The same of another model. */
  static byte[] nameless(byte[] bytes) {
    return new String(bytes, StandardCharsets.ISO_8859_1)
        .replace("/attention/q_lin/", "/attention/node0/")
        .replace("/attention/k_lin/", "/attention/node1/")
        .replace("/self/query/", "/self/node0/")
        .replace("/self/key/", "/self/n_1/")
        .replace("embeddings/Gather", "embxxdings/Gxther")
        .getBytes(StandardCharsets.ISO_8859_1);
  }

  private BertWeights read(byte[] bytes) throws OnnxException {
    MemorySegment memory = arena.allocate(bytes.length).copyFrom(MemorySegment.ofArray(bytes));
    return BertWeights.from(OnnxFile.of(memory, "tiny.onnx", arena), arena);
  }

  private void check(byte[] bytes) throws OnnxException, OrtException {
    BertWeights weights = read(bytes);
    OnnxBert.check(bytes, new ReferenceBert(weights), IDS);
    OnnxBert.checkEncoder(bytes, weights, IDS);
  }

  /** Norms and GELU as operators, of opset 20. */
  private byte[] operators(String approximate) {
    for (String norm : List.copyOf(tiny.nodes.keySet())) {
      if (!norm.endsWith("LayerNorm/Add_1")) {
        continue;
      }
      String path = norm.substring(0, norm.length() - "/Add_1".length());
      String name = path.substring(1).replace('/', '.');
      String x =
          path.equals("/embeddings/LayerNorm")
              ? "/embeddings/Add_2"
              : path.replace("LayerNorm", "Add");
      tiny.nodes.keySet().removeIf(n -> n.startsWith(path + "/") && !n.equals(norm));
      tiny.nodes.put(
          norm,
          OnnxWriter.node(
                  path + "/LN",
                  "LayerNormalization",
                  List.of(x + "_output_0", name + ".weight", name + ".bias"),
                  List.of(norm + "_output_0"))
              .message(5, new OnnxWriter().text(1, "epsilon").fixed32(2, 1e-6f).number(20, 1)));
    }
    for (int n = 0; n < TinyBert.LAYERS; n++) {
      String act = "/encoder/layer.%d/intermediate/intermediate_act_fn/Mul_1".formatted(n);
      tiny.add(
          new OnnxWriter().text(1, "approximate").text(4, approximate).number(20, 3),
          act,
          "Gelu",
          "/encoder/layer.%d/intermediate/dense/Add_output_0".formatted(n));
      String below = act.substring(0, act.length() - "Mul_1".length());
      tiny.nodes.keySet().removeIf(name -> name.startsWith(below) && !name.equals(act));
    }
    byte[] bytes = nameless();
    bytes[bytes.length - 1] = 20; // the opset
    return bytes;
  }

  @Test
  void nodesOfOtherNames() throws OnnxException, OrtException {
    byte[] bytes = nameless();
    check(bytes);
    BertWeights named = read(tiny.bytes());
    BertWeights read = read(bytes);
    assertEquals(named.config(), read.config());
    for (String name : named.weights().names()) {
      assertArrayEquals(
          named.weights().get(name).toFloatArray(), read.weights().get(name).toFloatArray(), name);
    }
  }

  @Test
  void layerNormalizationAndGelu() throws OnnxException, OrtException {
    check(operators("none"));
    String message = assertThrows(OnnxException.class, () -> read(operators("tanh"))).getMessage();
    assertTrue(message.contains("expected an exact GELU, got 'tanh'"), message);
  }

  @Test
  void aWeightThatIsLeftOver() {
    tiny.anonymous("adapter", 8, 8);
    String message = assertThrows(OnnxException.class, () -> read(nameless())).getMessage();
    assertTrue(message.contains("the weight 'adapter'"), message);
  }

  @Test
  void halfPrecision() throws OnnxException, OrtException {
    for (String name : List.copyOf(tiny.numbers.keySet())) {
      float[] values = tiny.numbers.get(name);
      ByteBuffer halves = ByteBuffer.allocate(2 * values.length).order(ByteOrder.LITTLE_ENDIAN);
      for (float value : values) {
        halves.putShort(Float.floatToFloat16(value));
      }
      tiny.weights.put(name, half(tiny.weights.get(name), halves.array()));
    }
    OnnxWriter casts = new OnnxWriter();
    for (String name : tiny.numbers.keySet()) {
      casts.message(
          1,
          OnnxWriter.node("to " + name, "Cast", List.of(name + "_half"), List.of(name))
              .message(5, TinyBert.attribute("to", 1)));
    }
    byte[] bytes = tiny.bytes(casts);
    check(bytes);
    BertWeights read = read(bytes);
    assertEquals(DType.FLOAT16, read.weights().stored(Bert.WORDS).dtype());
    assertEquals(DType.FLOAT32, read.weights().get(Bert.WORDS).dtype());
    assertSame(read.weights().get(Bert.WORDS), read.weights().get(Bert.WORDS));
  }

  /** A tensor of the same shape, its name with {@code _half}. */
  private static OnnxWriter half(OnnxWriter tensor, byte[] halves) {
    Tensors parsed = Tensors.parse(tensor.toBytes());
    return OnnxWriter.tensor(parsed.name() + "_half", 10, parsed.shape()).bytes(9, halves);
  }

  @Test
  void externalData() throws IOException, OrtException {
    byte[] inside = nameless();
    ByteArrayOutputStream data = new ByteArrayOutputStream();
    for (String name : List.copyOf(tiny.numbers.keySet())) {
      Tensors parsed = Tensors.parse(tiny.weights.get(name).toBytes());
      byte[] floats = OnnxWriter.floats(tiny.numbers.get(name));
      tiny.weights.put(name, external(parsed, "tiny.data", data.size(), floats.length));
      data.writeBytes(floats);
    }
    Path model = Files.write(folder.resolve("tiny.onnx"), nameless());
    Path beside = Files.write(folder.resolve("tiny.data"), data.toByteArray());
    BertWeights read = BertWeights.from(OnnxFile.map(model, arena), arena);
    OnnxBert.check(inside, new ReferenceBert(read), IDS);
    OnnxBert.checkEncoder(inside, read, IDS);
    assertMessage("there is no folder", () -> read(nameless()));
    Files.write(beside, new byte[64]);
    assertMessage("'tiny.data', which has 64", () -> readFolder(model));
    Files.delete(beside);
    assertMessage("expected its data in the file", () -> readFolder(model));
    String first = tiny.numbers.keySet().iterator().next();
    Tensors parsed = Tensors.parse(OnnxWriter.tensor(first, 1, 11, 8).toBytes());
    for (String location : List.of("../tiny.data", "/tiny.data", "..", "a/b")) {
      tiny.weights.put(first, external(parsed, location, 0, 11 * 8 * 4));
      Files.write(model, nameless());
      assertMessage("expected the name of a file beside the model", () -> readFolder(model));
    }
  }

  private void readFolder(Path model) throws IOException {
    BertWeights.from(OnnxFile.map(model, arena), arena);
  }

  private static void assertMessage(
      String part, org.junit.jupiter.api.function.Executable executable) {
    String message = assertThrows(OnnxException.class, executable).getMessage();
    assertTrue(message.contains(part), message);
  }

  private static OnnxWriter external(Tensors tensor, String location, long offset, long length) {
    return OnnxWriter.tensor(tensor.name(), 1, tensor.shape())
        .message(13, new OnnxWriter().text(1, "location").text(2, location))
        .message(13, new OnnxWriter().text(1, "offset").text(2, Long.toString(offset)))
        .message(13, new OnnxWriter().text(1, "length").text(2, Long.toString(length)))
        .number(14, 1);
  }

  /** Name and shape of what {@link OnnxWriter#tensor} writes, small sizes as they are here. */
  private record Tensors(String name, long[] shape) {
    static Tensors parse(byte[] bytes) {
      int rank = 0;
      while (bytes[2 * rank] == 8) {
        rank++;
      }
      long[] shape = new long[rank];
      for (int i = 0; i < rank; i++) {
        shape[i] = bytes[2 * i + 1];
      }
      int at = 2 * rank + 2;
      return new Tensors(new String(bytes, at + 2, bytes[at + 1], StandardCharsets.UTF_8), shape);
    }
  }
}
