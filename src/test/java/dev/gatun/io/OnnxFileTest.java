package dev.gatun.io;

import static dev.gatun.support.OnnxWriter.constant;
import static dev.gatun.support.OnnxWriter.floatTensor;
import static dev.gatun.support.OnnxWriter.floats;
import static dev.gatun.support.OnnxWriter.ints;
import static dev.gatun.support.OnnxWriter.longTensor;
import static dev.gatun.support.OnnxWriter.model;
import static dev.gatun.support.OnnxWriter.node;
import static dev.gatun.support.OnnxWriter.tensor;
import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertNotEquals;
import static org.junit.jupiter.api.Assertions.assertNull;
import static org.junit.jupiter.api.Assertions.assertSame;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTimeoutPreemptively;
import static org.junit.jupiter.api.Assertions.assertTrue;

import dev.gatun.DType;
import dev.gatun.Tensor;
import dev.gatun.support.OnnxWriter;
import java.io.ByteArrayInputStream;
import java.io.IOException;
import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import java.nio.ByteBuffer;
import java.nio.channels.FileChannel;
import java.nio.file.Files;
import java.nio.file.NoSuchFileException;
import java.nio.file.Path;
import java.nio.file.StandardOpenOption;
import java.time.Duration;
import java.util.Arrays;
import java.util.List;
import java.util.Random;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.function.Executable;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.ValueSource;

class OnnxFileTest {
  private static final String SOURCE = "some.onnx";

  @TempDir Path directory;
  private final Arena arena = Arena.ofShared();

  @AfterEach
  void closeArena() {
    arena.close();
  }

  private OnnxFile open(byte[] bytes) throws OnnxException {
    return OnnxFile.of(
        arena.allocate(bytes.length, 16).copyFrom(MemorySegment.ofArray(bytes)), SOURCE, arena);
  }

  private OnnxFile open(OnnxWriter tensor) throws OnnxException {
    return open(model(new OnnxWriter().message(5, tensor)));
  }

  private static void assertMessage(String part, Executable executable) {
    String message = assertThrows(OnnxException.class, executable).getMessage();
    assertTrue(message.startsWith(SOURCE), message);
    assertTrue(message.contains(part), message);
  }

  // ---- structure

  @Test
  void nodesAndInitializersInTheOrderOfTheFile() throws OnnxException {
    OnnxFile file =
        open(
            model(
                new OnnxWriter()
                    .message(1, node("first", "MatMul", List.of("x", "w"), List.of("y")))
                    .message(1, node("second", "Split", List.of("y", ""), List.of("a", "b")))
                    .text(2, "main_graph")
                    .message(5, floatTensor("w", new float[] {1, 2, 3, 4, 5, 6}, 2, 3))
                    .message(5, longTensor("n", new long[] {-7}))));
    assertEquals("[MatMul 'first', Split 'second']", file.nodes().toString());
    assertEquals("['w' [2, 3] FLOAT, 'n' [] INT64]", file.initializers().toString());
    OnnxFile.Node split = file.node("second");
    assertEquals("Split", split.opType());
    assertEquals(List.of("y", ""), split.inputs());
    assertEquals(List.of("a", "b"), split.outputs());
    assertSame(split, file.producer("b"));
    assertNull(file.producer("x"));
    assertNull(file.node("third"));
    assertEquals(SOURCE, file.source());
    assertThrows(UnsupportedOperationException.class, () -> split.inputs().add("z"));
    assertThrows(UnsupportedOperationException.class, () -> file.nodes().clear());
    assertThrows(UnsupportedOperationException.class, () -> file.initializers().clear());
  }

  @Test
  void constantsAndAttributesOfNodes() throws OnnxException {
    OnnxWriter norm =
        node("norm", "LayerNormalization", List.of("x"), List.of("y"))
            .message(5, new OnnxWriter().text(1, "axis").number(3, -1))
            .message(5, new OnnxWriter().fixed32(2, 0.25f).text(1, "epsilon"));
    OnnxFile file =
        open(
            model(
                new OnnxWriter()
                    .message(1, constant("c", longTensor("", new long[] {12}, 1)))
                    .message(1, norm)
                    .message(5, floatTensor("w", new float[] {3}))));
    assertEquals(12, file.constant("c").getLong(0));
    assertEquals(3, file.constant("w").getFloat());
    assertNull(file.constant("y"));
    assertNull(file.constant("nothing"));
    assertEquals(0.25f, file.node("norm").floatAttribute("epsilon", 1));
    assertEquals(1, file.node("norm").floatAttribute("axis", 1));
  }

  @Test
  void inputsAndOutputs() throws OnnxException {
    OnnxFile file =
        open(
            model(
                new OnnxWriter()
                    .message(11, new OnnxWriter().text(1, "x"))
                    .message(11, new OnnxWriter().text(1, "y"))
                    .message(12, new OnnxWriter().text(1, "z"))));
    assertEquals(List.of("x", "y"), file.inputs());
    assertEquals(List.of("z"), file.outputs());
    assertThrows(UnsupportedOperationException.class, () -> file.inputs().clear());
    assertThrows(UnsupportedOperationException.class, () -> file.outputs().clear());
  }

  @Test
  void identityNodesAreFollowed() throws OnnxException {
    OnnxFile file =
        open(
            model(
                new OnnxWriter()
                    .message(1, node("i", "Identity", List.of("w"), List.of("a")))
                    .message(1, node("j", "Identity", List.of("a"), List.of("b")))
                    .message(1, node("k", "Identity", List.of("c"), List.of("d")))
                    .message(1, node("l", "Identity", List.of("x"), List.of("y")))
                    .message(1, constant("c", longTensor("", new long[] {12}, 1)))
                    .message(5, floatTensor("w", new float[] {3}))));
    assertEquals("w", file.origin("b"));
    assertEquals("x", file.origin("y"));
    assertEquals("z", file.origin("z"));
    assertSame(file.initializer("w"), file.constant("b"));
    assertEquals("FLOAT", file.describe("b").dataType());
    assertEquals(12, file.constant("d").getLong(0));
    assertNull(file.constant("y"));
    assertNull(file.describe("y"));
    OnnxFile circle =
        open(
            model(
                new OnnxWriter()
                    .message(1, node("i", "Identity", List.of("b"), List.of("a")))
                    .message(1, node("j", "Identity", List.of("a"), List.of("b")))));
    assertMessage("lead back to themselves", () -> circle.origin("a"));
    assertMessage("lead back to themselves", () -> circle.constant("b"));
  }

  /** What ConstantOfShape fills with is no constant of that shape. */
  @Test
  void onlyConstantNodesAreConstants() throws OnnxException {
    OnnxWriter fill =
        node("f", "ConstantOfShape", List.of("shape"), List.of("zeros"))
            .message(
                5,
                new OnnxWriter()
                    .text(1, "value")
                    .message(5, longTensor("", new long[] {7}, 1))
                    .number(20, 4));
    OnnxFile file = open(model(new OnnxWriter().message(1, fill)));
    assertNull(file.constant("zeros"));
    assertEquals(7, file.value(file.node("f")).getLong(0));
  }

  @Test
  void aValueIsComputedOnce() {
    OnnxWriter twice =
        new OnnxWriter()
            .message(1, node("a", "Add", List.of("x", "y"), List.of("z")))
            .message(1, node("b", "Mul", List.of("x", "y"), List.of("z")));
    assertMessage("a second node computes 'z'", () -> open(model(twice)));
    OnnxWriter both =
        new OnnxWriter()
            .message(1, node("a", "Add", List.of("x", "y"), List.of("z")))
            .message(5, floatTensor("z", new float[] {3}));
    assertMessage("'z' is an initializer and computed as well", () -> open(model(both)));
  }

  @Test
  void messagesAreOneShortLine() {
    String name = "a\nb\u001b[2J" + "x".repeat(4000);
    OnnxWriter twice = new OnnxWriter().message(5, tensor(name, 1)).message(5, tensor(name, 1));
    String message = assertThrows(OnnxException.class, () -> open(model(twice))).getMessage();
    assertFalse(message.chars().anyMatch(Character::isISOControl), message);
    assertTrue(message.length() < 1200, message);
    message = new OnnxException(SOURCE, name).getMessage();
    assertFalse(message.chars().anyMatch(Character::isISOControl), message);
    assertTrue(message.length() < 1200, message);
  }

  // ---- numbers

  @ParameterizedTest
  @ValueSource(ints = {0, 1, 2, 3, 4, 5, 6, 7})
  void rawDataAtAnyAddress(int shift) throws IOException {
    // The documentation of the graph moves everything behind it.
    byte[] bytes =
        model(
            new OnnxWriter()
                .text(10, "x".repeat(shift))
                .message(5, floatTensor("f", new float[] {1.5f, -2, Float.NaN}, 3))
                .message(5, tensor("i", 6, 2).bytes(9, ints(1, -2)))
                .message(5, longTensor("l", new long[] {1, Long.MIN_VALUE}, 2, 1)));
    Path path = Files.write(directory.resolve("model.onnx"), bytes);
    MemorySegment memory = arena.allocate(bytes.length).copyFrom(MemorySegment.ofArray(bytes));
    for (OnnxFile file :
        List.of(
            OnnxFile.map(path, arena),
            OnnxFile.of(memory, SOURCE, arena),
            OnnxFile.read(new ByteArrayInputStream(bytes), bytes.length, SOURCE, arena))) {
      Tensor f = file.initializer("f");
      assertArrayEquals(new float[] {1.5f, -2, Float.NaN}, f.toFloatArray());
      Tensor l = file.initializer("l");
      assertArrayEquals(new long[] {2, 1}, l.shape());
      assertEquals(Long.MIN_VALUE, l.getLong(1, 0));
      Tensor i = file.initializer("i");
      assertEquals(DType.INT32, i.dtype());
      assertEquals(-2, i.getInt(1));
      for (Tensor tensor : List.of(f, i, l)) {
        assertEquals(0, tensor.segment().address() % tensor.dtype().byteSize());
        assertTrue(tensor.isReadOnly());
      }
      assertSame(f, file.initializer("f"));
      // Once more, behind what the moves have left.
      assertEquals(1.5f, f.getFloat(0));
    }
    assertArrayEquals(bytes, memory.toArray(ValueLayout.JAVA_BYTE), "nothing is written");
    assertArrayEquals(bytes, Files.readAllBytes(path), "nothing is written");
  }

  @Test
  void alignedRawDataIsAView() throws OnnxException {
    int views = 0;
    for (int shift = 0; shift < 4; shift++) {
      byte[] bytes =
          model(
              new OnnxWriter()
                  .text(10, "x".repeat(shift))
                  .message(5, floatTensor("f", new float[] {1, 2}, 2)));
      MemorySegment memory = arena.allocate(bytes.length, 16);
      memory.copyFrom(MemorySegment.ofArray(bytes));
      Tensor tensor = OnnxFile.of(memory, SOURCE, arena).initializer("f");
      long offset = tensor.segment().address() - memory.address();
      views += offset >= 0 && offset < bytes.length ? 1 : 0;
    }
    assertEquals(1, views);
  }

  @Test
  void readMovesInPlaceAndTakesNoFurtherMemory() throws IOException {
    for (int shift = 0; shift < 4; shift++) {
      byte[] bytes =
          model(
              new OnnxWriter()
                  .text(10, "x".repeat(shift))
                  .message(5, floatTensor("f", new float[] {1, 2}, 2))
                  .message(5, floatTensor("g", new float[] {3, 4}, 2)));
      OnnxFile file = OnnxFile.read(new ByteArrayInputStream(bytes), bytes.length, SOURCE, arena);
      long distance =
          file.initializer("g").segment().address() - file.initializer("f").segment().address();
      assertTrue(distance > 0 && distance < bytes.length, "distance " + distance);
      assertArrayEquals(new float[] {1, 2}, file.initializer("f").toFloatArray());
      assertArrayEquals(new float[] {3, 4}, file.initializer("g").toFloatArray());
    }
  }

  @Test
  void listsOfNumbers() throws OnnxException {
    OnnxWriter packedInts = new OnnxWriter().varint(-1).varint(300);
    OnnxWriter graph =
        new OnnxWriter()
            .message(5, tensor("packed", 1, 3).bytes(4, floats(1, 2, 3)))
            .message(5, tensor("mixed", 1, 3).fixed32(4, 1).bytes(4, floats(2)).fixed32(4, 3))
            .message(5, tensor("ints", 6, 3).bytes(5, packedInts.toBytes()).number(5, 7))
            .message(5, tensor("longs", 7, 2).number(7, Long.MIN_VALUE).number(7, 5))
            .message(5, tensor("scalar", 7).number(7, 9))
            .message(5, tensor("empty", 1, 3, 0))
            .message(
                5,
                new OnnxWriter()
                    .bytes(1, new byte[] {2, 1})
                    .number(2, 1)
                    .text(8, "dims")
                    .bytes(9, floats(8, 9)));
    OnnxFile file = open(model(graph));
    assertArrayEquals(new float[] {1, 2, 3}, file.initializer("packed").toFloatArray());
    assertArrayEquals(new float[] {1, 2, 3}, file.initializer("mixed").toFloatArray());
    assertEquals(-1, file.initializer("ints").getInt(0));
    assertEquals(300, file.initializer("ints").getInt(1));
    assertEquals(7, file.initializer("ints").getInt(2));
    assertEquals(Long.MIN_VALUE, file.initializer("longs").getLong(0));
    assertEquals(9, file.initializer("scalar").getLong());
    assertEquals(0, file.initializer("empty").elements());
    assertArrayEquals(new long[] {2, 1}, file.initializer("dims").shape());
    assertEquals(9, file.initializer("dims").getFloat(1, 0));
  }

  private static byte[] bytes(Tensor tensor) {
    return tensor.segment().toArray(ValueLayout.JAVA_BYTE);
  }

  @Test
  void bytesRawAndInLists() throws OnnxException {
    byte[] numbers = {0, 127, -128, -1};
    OnnxWriter negative = new OnnxWriter().varint(0).varint(127).varint(-128).varint(-1);
    OnnxWriter positive = new OnnxWriter().varint(0).varint(127).varint(128).varint(255);
    OnnxFile file =
        open(
            model(
                new OnnxWriter()
                    .message(5, tensor("i", 3, 4).bytes(9, numbers))
                    .message(5, tensor("u", 2, 2, 2).bytes(9, numbers))
                    .message(5, tensor("i list", 3, 4).message(5, negative))
                    .message(5, tensor("u list", 2, 4).message(5, positive))
                    .message(5, tensor("one", 2).number(5, 128))
                    .message(5, tensor("small", 3, 1).number(5, -129))
                    .message(5, tensor("large", 3, 1).number(5, 128))
                    .message(5, tensor("below", 2, 1).number(5, -1))
                    .message(5, tensor("above", 2, 1).number(5, 256))
                    .message(5, tensor("short", 3, 4).bytes(9, new byte[3]))));
    for (String name : new String[] {"i", "u", "i list", "u list"}) {
      Tensor tensor = file.initializer(name);
      assertEquals(name.startsWith("i") ? DType.INT8 : DType.UINT8, tensor.dtype());
      assertArrayEquals(numbers, bytes(tensor), name);
    }
    assertArrayEquals(new long[] {2, 2}, file.initializer("u").shape());
    assertArrayEquals(new byte[] {-128}, bytes(file.initializer("one")));
    assertMessage("expected numbers of -128 .. 127, got -129", () -> file.initializer("small"));
    assertMessage("expected numbers of -128 .. 127, got 128", () -> file.initializer("large"));
    assertMessage("expected numbers of 0 .. 255, got -1", () -> file.initializer("below"));
    assertMessage("expected numbers of 0 .. 255, got 256", () -> file.initializer("above"));
    assertMessage("expected 4 bytes, got 3", () -> file.initializer("short"));
  }

  // ---- refusals

  @Test
  void otherTypesAreRefusedWhenAskedFor() throws OnnxException {
    OnnxFile file =
        open(
            model(
                new OnnxWriter()
                    .message(5, tensor("q", 11, 4).bytes(9, new byte[32]))
                    .message(5, tensor("new", 99, 1))
                    .message(5, tensor("far", 1, 4).number(14, 1))
                    .message(5, floatTensor("f", new float[] {1}, 1))));
    assertEquals(1, file.initializer("f").getFloat(0));
    assertMessage("'q' [4] DOUBLE", () -> file.initializer("q"));
    assertMessage("'new' [1] type 99", () -> file.initializer("new"));
    assertMessage("there is no folder", () -> file.initializer("far"));
    assertMessage("no initializer 'w'", () -> file.initializer("w"));
  }

  @Test
  void dataThatDoNotFitTheShape() throws OnnxException {
    assertMessage(
        "'t' [2, 3] FLOAT at byte 13: expected 24 bytes, got 20",
        () -> open(floatTensor("t", new float[5], 2, 3)).initializer("t"));
    assertMessage(
        "expected 6 numbers, got 1", () -> open(tensor("t", 7, 6).number(7, 1)).initializer("t"));
    assertMessage("expected 1 numbers, got 0", () -> open(tensor("t", 1, 1)).initializer("t"));
    assertMessage("sizes >= 0", () -> open(floatTensor("t", new float[1], -1)).initializer("t"));
    assertMessage(
        "2^63", () -> open(floatTensor("t", new float[1], 1L << 31, 1L << 31)).initializer("t"));
    assertMessage(
        "expected 4000000000000 numbers",
        () -> open(tensor("t", 7, 4_000_000_000_000L).number(7, 1)).initializer("t"));
    assertMessage(
        "a multiple of 4", () -> open(tensor("t", 1, 1).bytes(4, new byte[5])).initializer("t"));
    assertMessage(
        "field 9: expected wire type 2, got 0", () -> open(tensor("t", 1, 1).number(9, 1)));
  }

  @Test
  void filesThatAreNone() {
    assertMessage("found no graph", () -> open(new byte[0]));
    assertMessage("at byte 0", () -> open("{\"json\": true}".getBytes()));
    assertMessage("wire type 3", () -> open(new byte[] {0x3b}));
    assertMessage("tag 0x0", () -> open(new byte[] {0}));
    assertMessage("cut short", () -> open(new byte[] {0x3a, (byte) 0x80}));
    byte[] endless = new byte[16];
    Arrays.fill(endless, (byte) 0xff);
    assertMessage("more than 10 bytes", () -> open(endless));
    assertMessage(
        "18446744073709551615 bytes, only 0",
        () -> open(new OnnxWriter().varint(7 << 3 | 2).varint(-1).toBytes()));
    assertMessage(
        "a second initializer 't'",
        () -> open(model(new OnnxWriter().message(5, tensor("t", 1)).message(5, tensor("t", 1)))));
    assertMessage("at most 4096", () -> open(tensor("n".repeat(4097), 1)));
    assertMessage("at most 64 dimensions", () -> open(tensor("t", 1, new long[65])));
    assertThrows(
        IllegalArgumentException.class,
        () -> OnnxFile.of(MemorySegment.ofArray(new byte[9]), SOURCE, arena));
  }

  @Test
  void aMillionEmptyNodes() {
    OnnxWriter graph = new OnnxWriter();
    for (int i = 0; i <= 1 << 20; i++) {
      graph.raw((byte) 0x0a, (byte) 0);
    }
    assertMessage("at most 1048576", () -> open(model(graph)));
  }

  @Test
  void streamsOfAnotherLength() {
    byte[] bytes = model(new OnnxWriter());
    for (int wrong : new int[] {-1, 1}) {
      assertMessage(
          "expected %d bytes".formatted(bytes.length + wrong),
          () ->
              OnnxFile.read(new ByteArrayInputStream(bytes), bytes.length + wrong, SOURCE, arena));
    }
    assertThrows(
        IllegalArgumentException.class,
        () -> OnnxFile.read(new ByteArrayInputStream(bytes), -1, SOURCE, arena));
  }

  @Test
  void pathsThatAreNoFile() {
    assertThrows(NoSuchFileException.class, () -> OnnxFile.map(directory.resolve("none"), arena));
    assertThrows(OnnxException.class, () -> OnnxFile.map(directory, arena));
  }

  @Test
  void beyondTwoGiB() throws IOException {
    Path path = directory.resolve("big.onnx");
    byte[] graph =
        new OnnxWriter()
            .message(7, new OnnxWriter().message(5, floatTensor("t", new float[] {1, 2}, 2)))
            .toBytes();
    long gap = 2_500_000_001L;
    byte[] start = new OnnxWriter().varint(99 << 3 | 2).varint(gap).toBytes();
    try (FileChannel channel =
        FileChannel.open(
            path,
            StandardOpenOption.CREATE_NEW,
            StandardOpenOption.WRITE,
            StandardOpenOption.SPARSE)) {
      channel.write(ByteBuffer.wrap(start));
      channel.write(ByteBuffer.wrap(graph), start.length + gap);
    }
    OnnxFile file = OnnxFile.map(path, arena);
    assertArrayEquals(new float[] {1, 2}, file.initializer("t").toFloatArray());
  }

  // ---- damage

  private static byte[] sample() {
    return model(
        new OnnxWriter()
            .message(1, node("first", "MatMul", List.of("x", "w"), List.of("y")))
            .message(1, constant("c", floatTensor("", new float[] {5.65f})))
            .message(
                1,
                node("norm", "LayerNormalization", List.of("y"), List.of("z"))
                    .message(5, new OnnxWriter().text(1, "epsilon").fixed32(2, 1e-12f)))
            .message(5, floatTensor("w", new float[] {1, 2, 3, 4, 5, 6}, 2, 3))
            .message(5, tensor("list", 1, 3).bytes(4, floats(1, 2, 3)))
            .message(5, tensor("ints", 6, 2).number(5, -1).number(5, 1))
            .message(5, tensor("longs", 7, 2).bytes(7, new byte[] {1, 2}))
            .message(5, longTensor("ids", new long[] {0, 1}, 1, 2)));
  }

  /** Opens, and asks for all there is. True if nothing was refused. */
  private static boolean use(byte[] bytes, boolean owned) {
    try (Arena arena = Arena.ofConfined()) {
      OnnxFile file =
          owned
              ? OnnxFile.read(new ByteArrayInputStream(bytes), bytes.length, SOURCE, arena)
              : OnnxFile.of(
                  arena
                      .allocate(bytes.length + 1)
                      .asSlice(0, bytes.length)
                      .copyFrom(MemorySegment.ofArray(bytes)),
                  SOURCE,
                  arena);
      boolean good = true;
      for (OnnxFile.Initializer initializer : file.initializers()) {
        try {
          file.initializer(initializer.name()).toString();
        } catch (OnnxException e) {
          good = false;
        }
      }
      for (OnnxFile.Node node : file.nodes()) {
        for (String output : node.outputs()) {
          try {
            file.constant(output);
          } catch (OnnxException e) {
            good = false;
          }
        }
      }
      return good;
    } catch (OnnxException e) {
      assertTrue(e.getMessage().startsWith(SOURCE + ": "), e.getMessage());
      return false;
    } catch (IOException e) {
      throw new AssertionError(e);
    }
  }

  @Test
  void cutAnywhere() {
    byte[] bytes = sample();
    assertTrue(use(bytes, false));
    assertTrue(use(bytes, true));
    int refused = 0;
    for (int length = 0; length < bytes.length; length++) {
      refused += use(Arrays.copyOf(bytes, length), length % 2 == 0) ? 0 : 1;
    }
    // What follows the graph may be missing: the list of operator sets, and half of it not.
    assertEquals(bytes.length - 1, refused);
  }

  @Test
  void twoThousandMutations() {
    byte[] good = sample();
    Random random = new Random(20);
    int refused = 0;
    for (int i = 0; i < 2000; i++) {
      byte[] bytes = good.clone();
      for (int flips = 1 + random.nextInt(4); flips > 0; flips--) {
        int at = random.nextInt(bytes.length);
        bytes[at] =
            random.nextBoolean()
                ? (byte) random.nextInt()
                : (byte) (bytes[at] ^ 1 << random.nextInt(8));
      }
      if (random.nextInt(4) == 0) {
        bytes = Arrays.copyOf(bytes, random.nextInt(bytes.length));
      }
      byte[] damaged = bytes;
      boolean owned = random.nextBoolean();
      boolean used = assertTimeoutPreemptively(Duration.ofSeconds(10), () -> use(damaged, owned));
      refused += used ? 0 : 1;
    }
    assertNotEquals(0, refused);
    assertTrue(refused < 2000, "refused " + refused);
  }
}
