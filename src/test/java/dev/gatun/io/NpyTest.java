package dev.gatun.io;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertSame;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;
import static org.junit.jupiter.api.Assumptions.assumeTrue;

import dev.gatun.DType;
import dev.gatun.Tensor;
import java.io.IOException;
import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.nio.channels.FileChannel;
import java.nio.charset.StandardCharsets;
import java.nio.file.FileSystemException;
import java.nio.file.Files;
import java.nio.file.NoSuchFileException;
import java.nio.file.Path;
import java.nio.file.StandardOpenOption;
import java.nio.file.attribute.PosixFilePermission;
import java.nio.file.attribute.PosixFilePermissions;
import java.util.Arrays;
import java.util.List;
import java.util.Set;
import java.util.stream.Stream;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.Arguments;
import org.junit.jupiter.params.provider.CsvSource;
import org.junit.jupiter.params.provider.MethodSource;
import org.junit.jupiter.params.provider.ValueSource;

class NpyTest {
  private static final String HEADER =
      "{'descr': '<f4', 'fortran_order': False, 'shape': (2, 3), }";

  @TempDir Path directory;
  private final Arena arena = Arena.ofShared();

  @AfterEach
  void closeArena() {
    arena.close();
  }

  // ---- reading

  @Test
  void golden_numpyFile() throws IOException {
    // numpy.save(…, numpy.array([[1.5, -2.0, 0.0]], dtype='<f4')), NumPy 2.4
    byte[] bytes = golden("{'descr': '<f4', 'fortran_order': False, 'shape': (1, 3), }");
    byte[] data = {0, 0, (byte) 0xc0, 0x3f, 0, 0, 0, (byte) 0xc0, 0, 0, 0, 0};
    Tensor tensor = map(concat(bytes, data));
    assertEquals(DType.FLOAT32, tensor.dtype());
    assertArrayEquals(new long[] {1, 3}, tensor.shape());
    assertArrayEquals(new float[] {1.5f, -2, 0}, tensor.toFloatArray());
    assertTrue(tensor.segment().isReadOnly());
    assertTrue(tensor.segment().isMapped());
  }

  /** The 128 bytes that NumPy writes before small arrays, padded to a multiple of 64. */
  private static byte[] golden(String header) {
    byte[] bytes = new byte[128];
    Arrays.fill(bytes, (byte) ' ');
    byte[] start = {(byte) 0x93, 0x4e, 0x55, 0x4d, 0x50, 0x59, 1, 0, 0x76, 0};
    System.arraycopy(start, 0, bytes, 0, start.length);
    byte[] text = header.getBytes(StandardCharsets.US_ASCII);
    System.arraycopy(text, 0, bytes, start.length, text.length);
    bytes[127] = '\n';
    return bytes;
  }

  @ParameterizedTest
  @CsvSource({"1, 118", "1, 54", "2, 116", "2, 70000", "3, 116", "3, 65536"})
  void versions_withShortAndLongHeaders(int version, int headerLength) throws IOException {
    byte[] file =
        concat(
            start(version, padded(HEADER, Math.max(HEADER.length() + 1, headerLength))), data(6));
    assertArrayEquals(new float[] {0, 1, 2, 3, 4, 5}, map(file).toFloatArray());
  }

  @ParameterizedTest
  @ValueSource(
      strings = {
        "{'descr': '<f4', 'fortran_order': False, 'shape': (2, 3), }",
        "{'descr': '=f4', 'fortran_order': False, 'shape': (2, 3)}",
        "{'descr': '|f4', 'fortran_order': False, 'shape': (2, 3)}",
        "{'descr': 'f4', 'fortran_order': False, 'shape': (2, 3)}",
        "{\"shape\": (2,3,), \"fortran_order\":False,\"descr\":\"<f4\"}",
        "{'descr': '<f4', 'fortran_order': False, 'shape': (2L, 3L), }",
        "  { 'descr' : '<f4' ,\n'fortran_order' : False , 'shape' : ( 2 , 3 , ) , }  \n\n",
      })
  void header_spellings(String header) throws IOException {
    assertArrayEquals(
        new float[] {0, 1, 2, 3, 4, 5}, map(concat(start(1, header), data(6))).toFloatArray());
  }

  @Test
  void integers() throws IOException {
    byte[] four =
        ByteBuffer.allocate(12)
            .order(ByteOrder.LITTLE_ENDIAN)
            .putInt(7)
            .putInt(-1)
            .putInt(1 << 30)
            .array();
    Tensor ints =
        map(concat(start(1, "{'descr': '<i4', 'fortran_order': False, 'shape': (3,), }"), four));
    assertEquals(DType.INT32, ints.dtype());
    assertEquals(List.of(7, -1, 1 << 30), List.of(ints.getInt(0), ints.getInt(1), ints.getInt(2)));
    byte[] eight =
        ByteBuffer.allocate(16)
            .order(ByteOrder.LITTLE_ENDIAN)
            .putLong(-2)
            .putLong(1L << 40)
            .array();
    Tensor longs =
        map(concat(start(1, "{'descr': '<i8', 'fortran_order': False, 'shape': (2,), }"), eight));
    assertEquals(DType.INT64, longs.dtype());
    assertEquals(List.of(-2L, 1L << 40), List.of(longs.getLong(0), longs.getLong(1)));
  }

  /** Booleans are bytes of 0 and 1; a byte has no order. */
  @ParameterizedTest
  @ValueSource(strings = {"|u1", "|b1", "<u1", ">u1", "u1"})
  void bytes(String descr) throws IOException {
    String header = "{'descr': '" + descr + "', 'fortran_order': False, 'shape': (3,), }";
    Tensor tensor = map(concat(start(1, header), new byte[] {0, 1, -1}));
    assertEquals(DType.UINT8, tensor.dtype());
    assertArrayEquals(new byte[] {0, 1, -1}, tensor.segment().toArray(ValueLayout.JAVA_BYTE));
    Path file = directory.resolve("bytes.npy");
    Npy.write(file, tensor);
    Tensor again = Npy.map(file, arena);
    assertEquals(DType.UINT8, again.dtype());
    assertEquals(-1, again.segment().mismatch(tensor.segment()));
  }

  @ParameterizedTest
  @CsvSource({"1, 0", "1, 1", "1, 3", "2, 2", "3, 1"})
  void unalignedData_isCopied(int version, int shift) throws IOException {
    int aligned = (version == 1 ? 10 : 12) + 116;
    String header = padded(HEADER, 116 + (-aligned & 3) + shift);
    Tensor tensor = map(concat(start(version, header), data(6)));
    assertArrayEquals(new float[] {0, 1, 2, 3, 4, 5}, tensor.toFloatArray());
    assertEquals(shift == 0, tensor.segment().isMapped());
    assertTrue(tensor.segment().isReadOnly());
    assertEquals(0, tensor.segment().address() % 4);
  }

  @ParameterizedTest
  @ValueSource(strings = {"(0,)", "(2, 0, 3)", "(0, 0)", "(0, 1000000)"})
  void emptyShapes(String shape) throws IOException {
    Tensor tensor =
        map(start(1, "{'descr': '<f4', 'fortran_order': False, 'shape': " + shape + ", }"));
    assertEquals(0, tensor.elements());
    assertEquals(
        shape.replace(",)", ")"),
        Arrays.toString(tensor.shape()).replace('[', '(').replace(']', ')'));
  }

  /** Numbers lie the same in both orders. */
  @ParameterizedTest
  @ValueSource(
      strings = {"(6,)", "(6, 1)", "(1, 6)", "(1, 6, 1, 1)", "(0, 3)", "(2, 0, 3)", "(1, 1)", "()"})
  void fortranOrderThatMakesNoDifference(String shape) throws IOException {
    String header = "{'descr': '<f4', 'fortran_order': %s, 'shape': " + shape + ", }";
    Tensor fortran = map(concat(start(1, header.formatted("True")), data(6)));
    Tensor c = map(concat(start(1, header.formatted("False")), data(6)));
    assertArrayEquals(c.shape(), fortran.shape());
    assertArrayEquals(c.toFloatArray(), fortran.toFloatArray());
  }

  @Test
  void scalarShape() throws IOException {
    Tensor tensor =
        map(concat(start(1, "{'descr': '<f4', 'fortran_order': False, 'shape': (), }"), data(1)));
    assertEquals(0, tensor.rank());
    assertEquals(1, tensor.elements());
  }

  @Test
  void bytesAfterTheData_areLeftAlone() throws IOException {
    assertArrayEquals(
        new float[] {0, 1, 2, 3, 4, 5}, map(concat(start(1, HEADER), data(9))).toFloatArray());
  }

  @Test
  void moreThan2GiB_isMapped() throws IOException {
    Path file = directory.resolve("big.npy");
    long elements = (3L << 30) / 4;
    byte[] header =
        start(
            1,
            padded(
                "{'descr': '<f4', 'fortran_order': False, 'shape': (" + elements + ",), }", 118));
    try (FileChannel channel =
        FileChannel.open(
            file,
            StandardOpenOption.CREATE_NEW,
            StandardOpenOption.SPARSE,
            StandardOpenOption.WRITE)) {
      channel.write(ByteBuffer.wrap(header));
      channel.write(ByteBuffer.wrap(data(6), 20, 4), header.length + (elements - 1) * 4);
    } catch (IOException e) {
      assumeTrue(false, "no sparse files here: " + e);
    }
    Tensor tensor = Npy.map(file, arena);
    assertEquals(5, tensor.getFloat(elements - 1));
    assertEquals(0, tensor.getFloat(elements / 2));
  }

  static Stream<Arguments> malformed() {
    String big = "9223372036854775807";
    return Stream.of(
        bad("empty file", new byte[0], "cut short"),
        bad("part of the magic bytes", new byte[] {(byte) 0x93, 'N'}, "cut short"),
        bad("no version", new byte[] {(byte) 0x93, 'N', 'U', 'M', 'P', 'Y', 1}, "cut short"),
        bad(
            "no header length",
            new byte[] {(byte) 0x93, 'N', 'U', 'M', 'P', 'Y', 1, 0, 5},
            "cut short"),
        bad(
            "half a 4-byte length",
            new byte[] {(byte) 0x93, 'N', 'U', 'M', 'P', 'Y', 2, 0, 5, 0},
            "cut short"),
        bad(
            "other magic",
            "PK\3\4 something else".getBytes(StandardCharsets.ISO_8859_1),
            "not an npy file"),
        bad("other short file", "x".getBytes(StandardCharsets.ISO_8859_1), "not an npy file"),
        bad("version 0", start(0, HEADER), "version 1.0, 2.0 or 3.0, got 0.0"),
        bad("version 4", start(4, HEADER), "version 1.0, 2.0 or 3.0, got 4.0"),
        bad("version 1.1", version(start(1, HEADER), 1, 1), "got 1.1"),
        bad(
            "header length past the end",
            Arrays.copyOf(start(1, HEADER), 30),
            "cut short: expected a header of"),
        bad(
            "header length of 4 GiB",
            length4(start(2, HEADER), -1),
            "cut short: expected a header of 4294967295"),
        bad("header of 2 MiB", start(2, padded(HEADER, 2 << 20)), "at most 1048576 bytes"),
        bad("header not in UTF-8", invalidUtf8(), "UTF-8"),
        bad("no data", start(1, HEADER), "expected 24 bytes of data for shape (2, 3), got 0"),
        bad("data too short", concat(start(1, HEADER), new byte[23]), "got 23"),
        header(
            "Fortran order",
            "{'descr': '<f4', 'fortran_order': True, 'shape': (2, 1, 3), }",
            "C order"),
        header(
            "65 extents",
            "{'descr': '<f4', 'fortran_order': False, 'shape': (%s), }".formatted("1, ".repeat(65)),
            "at most 64 extents"),
        header(
            "big-endian",
            "{'descr': '>f4', 'fortran_order': False, 'shape': (2, 3), }",
            "big-endian"),
        header(
            "float64",
            "{'descr': '<f8', 'fortran_order': False, 'shape': (2, 3), }",
            "got descr '<f8'"),
        header(
            "float16",
            "{'descr': '<f2', 'fortran_order': False, 'shape': (2, 3), }",
            "got descr '<f2'"),
        header(
            "bytes",
            "{'descr': '|i1', 'fortran_order': False, 'shape': (2, 3), }",
            "got descr '|i1'"),
        header(
            "empty descr",
            "{'descr': '', 'fortran_order': False, 'shape': (2, 3), }",
            "got descr ''"),
        header(
            "objects",
            "{'descr': '|O', 'fortran_order': False, 'shape': (2, 3), }",
            "got descr '|O'"),
        header(
            "structured",
            "{'descr': [('a', '<f4')], 'fortran_order': False, 'shape': (2,), }",
            "structured"),
        header(
            "negative", "{'descr': '<f4', 'fortran_order': False, 'shape': (2, -3), }", "got '-3'"),
        header(
            "2^63",
            "{'descr': '<f4', 'fortran_order': False, 'shape': (9223372036854775808,), }",
            "2^63 - 1"),
        header(
            "product over 2^63",
            "{'descr': '<f4', 'fortran_order': False, 'shape': (" + big + ", 2), }",
            "2^63"),
        header(
            "2^63 bytes",
            "{'descr': '<f4', 'fortran_order': False, 'shape': (" + big + ",), }",
            "2^63"),
        header(
            "wraps to 0",
            "{'descr': '<f4', 'fortran_order': False, 'shape': (4294967296, 4294967296), }",
            "2^63"),
        header(
            "overflow behind 0",
            "{'descr': '<f4', 'fortran_order': False, 'shape': (0, " + big + "), }",
            "2^63"),
        header(
            "more than there is",
            "{'descr': '<f4', 'fortran_order': False, 'shape': (1000000000000,), }",
            "cut short"),
        header(
            "no tuple", "{'descr': '<f4', 'fortran_order': False, 'shape': (6), }", "expected ','"),
        header(
            "list", "{'descr': '<f4', 'fortran_order': False, 'shape': [2, 3], }", "expected '('"),
        header(
            "missing comma",
            "{'descr': '<f4', 'fortran_order': False, 'shape': (2 3), }",
            "expected ','"),
        header(
            "two commas",
            "{'descr': '<f4', 'fortran_order': False, 'shape': (2,, 3), }",
            "whole number"),
        header(
            "a lone comma",
            "{'descr': '<f4', 'fortran_order': False, 'shape': (,), }",
            "whole number"),
        header(
            "fraction",
            "{'descr': '<f4', 'fortran_order': False, 'shape': (2.0, 3), }",
            "expected ','"),
        header(
            "plus sign",
            "{'descr': '<f4', 'fortran_order': False, 'shape': (+2, 3), }",
            "whole number"),
        header(
            "hexadecimal",
            "{'descr': '<f4', 'fortran_order': False, 'shape': (0x2, 3), }",
            "expected ','"),
        header(
            "name as extent",
            "{'descr': '<f4', 'fortran_order': False, 'shape': (n, 3), }",
            "whole number"),
        header(
            "bare minus",
            "{'descr': '<f4', 'fortran_order': False, 'shape': (-, 3), }",
            "whole number"),
        header(
            "number as order",
            "{'descr': '<f4', 'fortran_order': 0, 'shape': (2, 3), }",
            "True or False"),
        header(
            "other case",
            "{'descr': '<f4', 'fortran_order': false, 'shape': (2, 3), }",
            "True or False"),
        header(
            "longer word",
            "{'descr': '<f4', 'fortran_order': Falsely, 'shape': (2, 3), }",
            "expected ','"),
        header("no descr", "{'fortran_order': False, 'shape': (2, 3), }", "'descr'"),
        header("no order", "{'descr': '<f4', 'shape': (2, 3), }", "'fortran_order'"),
        header("no shape", "{'descr': '<f4', 'fortran_order': False, }", "'shape'"),
        header(
            "a key more",
            "{'descr': '<f4', 'fortran_order': False, 'shape': (2, 3), 'x': 1, }",
            "got 'x'"),
        header(
            "a key twice",
            "{'descr': '<f4', 'descr': '<f4', 'fortran_order': False, 'shape': (2, 3), }",
            "twice"),
        header(
            "key unquoted",
            "{descr: '<f4', 'fortran_order': False, 'shape': (2, 3), }",
            "quoted key"),
        header("quote not closed", "{'descr': '<f4, 'fortran_order: False", "expected ','"),
        header("last quote not closed", "{'descr': '<f4", "quoted type string"),
        header(
            "escape", "{'descr': '\\x3cf4', 'fortran_order': False, 'shape': (2, 3), }", "escapes"),
        header(
            "no colon",
            "{'descr' '<f4', 'fortran_order': False, 'shape': (2, 3), }",
            "expected ':'"),
        header(
            "no comma",
            "{'descr': '<f4' 'fortran_order': False, 'shape': (2, 3), }",
            "expected ','"),
        header(
            "not closed",
            "{'descr': '<f4', 'fortran_order': False, 'shape': (2, 3), ",
            "quoted key"),
        header(
            "shape not closed",
            "{'descr': '<f4', 'fortran_order': False, 'shape': (2, 3",
            "expected ','"),
        header("two dictionaries", HEADER + HEADER, "blanks to the header's end"),
        header("text after it", HEADER + " x", "blanks to the header's end"),
        header("zero byte after it", HEADER + "\0", "blanks to the header's end"),
        header("no dictionary", "('descr', '<f4')", "expected '{'"),
        header("blank", "    ", "expected '{'"),
        header("nothing", "", "expected '{'"));
  }

  private static Arguments header(String name, String header, String expected) {
    return bad(name, concat(start(1, header), data(6)), expected);
  }

  private static Arguments bad(String name, byte[] file, String expected) {
    return Arguments.of(name, file, expected);
  }

  @ParameterizedTest(name = "{0}")
  @MethodSource
  void malformed(String name, byte[] file, String expected) throws IOException {
    NpyException e = assertThrows(NpyException.class, () -> map(file));
    assertTrue(e.getMessage().startsWith(directory.toString()), e.getMessage());
    assertTrue(e.getReason().contains(expected), e.getReason());
    assertFalse(e.getMessage().chars().anyMatch(Character::isISOControl), e.getMessage());
  }

  /**
   * No cut and no flipped byte of a good file does anything but succeed or throw an NpyException.
   */
  @Test
  void damagedFiles_neverFailOtherwise() throws IOException {
    byte[] good = concat(start(1, HEADER), data(6));
    for (int length = 0; length < good.length; length++) {
      byte[] cut = Arrays.copyOf(good, length);
      assertThrows(NpyException.class, () -> map(cut));
    }
    for (int at = 0; at < good.length - 24; at++) {
      for (int bit = 0; bit < 8; bit++) {
        byte[] flipped = good.clone();
        flipped[at] ^= (byte) (1 << bit);
        try {
          Tensor tensor = map(flipped);
          assertTrue(
              tensor.elements() * tensor.dtype().byteSize() <= 24, "byte " + at + " bit " + bit);
        } catch (NpyException e) {
          // As it should be.
        }
      }
    }
  }

  @Test
  void missingFile() {
    Path file = directory.resolve("none.npy");
    NoSuchFileException e = assertThrows(NoSuchFileException.class, () -> Npy.map(file, arena));
    assertEquals(file.toString(), e.getFile());
  }

  @Test
  void notAFile() {
    assertTrue(
        assertThrows(NpyException.class, () -> Npy.map(directory, arena))
            .getReason()
            .contains("directory"));
    Path device = Path.of("/dev/zero");
    assumeTrue(Files.exists(device));
    assertTrue(
        assertThrows(NpyException.class, () -> Npy.map(device, arena))
            .getReason()
            .contains("device"));
  }

  // ---- writing

  @Test
  void write_isWhatNumPyWrites() throws IOException {
    Path file = directory.resolve("a.npy");
    Npy.write(file, Tensor.copyOf(arena, new float[] {0, 1, 2, 3, 4, 5}, 2, 3));
    assertArrayEquals(concat(golden(HEADER), data(6)), Files.readAllBytes(file));
    Npy.write(file, Tensor.copyOf(arena, new int[] {0, 0, 0}, 3));
    byte[] ints = golden("{'descr': '<i4', 'fortran_order': False, 'shape': (3,), }");
    assertArrayEquals(concat(ints, new byte[12]), Files.readAllBytes(file));
    Npy.write(file, Tensor.allocate(arena, DType.INT64));
    byte[] scalar = golden("{'descr': '<i8', 'fortran_order': False, 'shape': (), }");
    assertArrayEquals(concat(scalar, new byte[8]), Files.readAllBytes(file));
    Npy.write(file, Tensor.allocate(arena, DType.FLOAT32, 0, 4));
    byte[] empty = golden("{'descr': '<f4', 'fortran_order': False, 'shape': (0, 4), }");
    assertArrayEquals(empty, Files.readAllBytes(file));
    assertEquals(List.of(file), list());
  }

  @Test
  void write_longHeader_isAligned() throws IOException {
    Path file = directory.resolve("a.npy");
    long[] shape = new long[30];
    Arrays.fill(shape, 1);
    Npy.write(file, Tensor.copyOf(arena, new float[] {3}, shape));
    assertEquals(192 + 4, Files.size(file));
    assertArrayEquals(shape, Npy.map(file, arena).shape());
  }

  /** Views of every kind, with pieces from one element to all of it. */
  @ParameterizedTest
  @ValueSource(longs = {4, 8, 12, 40, 240, 1 << 20})
  void write_views_inCOrder(long piece) throws IOException {
    float[] numbers = new float[2 * 3 * 4 * 10];
    for (int i = 0; i < numbers.length; i++) {
      numbers[i] = i;
    }
    Tensor whole = Tensor.copyOf(arena, numbers, 2, 3, 4, 10);
    Tensor broadcast =
        Tensor.ofStrided(whole.segment(), DType.FLOAT32, new long[] {3, 5}, new long[] {0, 2});
    List<Tensor> views =
        List.of(
            whole,
            whole.transpose(1, 2),
            whole.transpose(0, 3),
            whole.slice(3, 2, 7),
            whole.slice(0, 1, 2),
            whole.slice(1, 1, 3).transpose(1, 2),
            whole.select(2, 3),
            whole.slice(3, 4, 4).transpose(1, 2),
            broadcast);
    for (Tensor view : views) {
      Path file = directory.resolve("view.npy");
      try (NpyOutput output = NpyOutput.create(file)) {
        output.write(view, piece, piece);
        output.commit();
      }
      Tensor read = Npy.map(file, arena);
      assertArrayEquals(view.shape(), read.shape());
      assertArrayEquals(view.toFloatArray(), read.toFloatArray());
    }
  }

  @Test
  void write_replacesAtOnce_andKeepsPermissions() throws IOException {
    Path file = directory.resolve("a.npy");
    Npy.write(file, Tensor.copyOf(arena, new float[] {1}, 1));
    Tensor old = Npy.map(file, arena);
    Set<PosixFilePermission> permissions = PosixFilePermissions.fromString("rw-r-----");
    Files.setPosixFilePermissions(file, permissions);
    Npy.write(file, Tensor.copyOf(arena, new float[] {2, 3}, 2));
    assertEquals(1, old.getFloat(0)); // the mapping holds the file that was
    assertArrayEquals(new float[] {2, 3}, Npy.map(file, arena).toFloatArray());
    assertEquals(permissions, Files.getPosixFilePermissions(file));
    assertEquals(List.of(file), list());
  }

  @Test
  void write_newFile_hasTheUmasksPermissions() throws IOException {
    Path plain = Files.createFile(directory.resolve("plain"));
    Path file = directory.resolve("a.npy");
    Npy.write(file, Tensor.copyOf(arena, new float[] {1}, 1));
    assertEquals(Files.getPosixFilePermissions(plain), Files.getPosixFilePermissions(file));
  }

  @Test
  void write_overItsOwnInput() throws IOException {
    Path file = directory.resolve("a.npy");
    Npy.write(file, Tensor.copyOf(arena, new float[] {0, 1, 2, 3, 4, 5}, 2, 3));
    Npy.write(file, Npy.map(file, arena).transpose(0, 1));
    assertArrayEquals(new float[] {0, 3, 1, 4, 2, 5}, Npy.map(file, arena).toFloatArray());
  }

  @Test
  void write_followsASymbolicLink() throws IOException {
    Path file = Files.createFile(directory.resolve("file"));
    Path link = Files.createSymbolicLink(directory.resolve("link"), file);
    Npy.write(link, Tensor.copyOf(arena, new float[] {1}, 1));
    assertTrue(Files.isSymbolicLink(link));
    assertEquals(132, Files.size(file));
    Path dangling =
        Files.createSymbolicLink(directory.resolve("dangling"), directory.resolve("none"));
    assertThrows(
        FileSystemException.class,
        () -> Npy.write(dangling, Tensor.copyOf(arena, new float[] {1}, 1)));
    assertTrue(Files.isSymbolicLink(dangling));
  }

  @Test
  void write_nameOf255Bytes() throws IOException {
    Path file = directory.resolve("n".repeat(255));
    Npy.write(file, Tensor.copyOf(arena, new float[] {1}, 1));
    assertEquals(List.of(file), list());
  }

  @Test
  void failure_leavesTheOldFileAndNothingElse() throws IOException {
    Path file = directory.resolve("a.npy");
    Npy.write(file, Tensor.copyOf(arena, new float[] {1}, 1));
    Tensor closed;
    try (Arena gone = Arena.ofConfined()) {
      closed = Tensor.allocate(gone, DType.FLOAT32, 2, 3);
    }
    assertThrows(IllegalStateException.class, () -> Npy.write(file, closed));
    assertThrows(IllegalStateException.class, () -> Npy.write(file, closed.transpose(0, 1)));
    assertThrows(NullPointerException.class, () -> Npy.write(file, null));
    Thread.currentThread().interrupt(); // closes the channel in the middle of the write
    assertThrows(
        IOException.class, () -> Npy.write(file, Tensor.allocate(arena, DType.FLOAT32, 5)));
    assertTrue(Thread.interrupted());
    assertArrayEquals(new float[] {1}, Npy.map(file, arena).toFloatArray());
    assertEquals(List.of(file), list());
  }

  @Test
  void output_closedBeforeCommit_leavesNothing() throws IOException {
    Path file = directory.resolve("a.npy");
    try (NpyOutput output = NpyOutput.create(file)) {
      assertEquals(1, list().size());
      output.write(Tensor.copyOf(arena, new float[] {1}, 1));
      assertFalse(Files.exists(file));
    }
    assertEquals(List.of(), list());
  }

  @Test
  void output_statesAreChecked() throws IOException {
    Tensor tensor = Tensor.copyOf(arena, new float[] {1}, 1);
    NpyOutput output = NpyOutput.create(directory.resolve("a.npy"));
    assertThrows(IllegalStateException.class, output::commit);
    output.write(tensor);
    assertThrows(IllegalStateException.class, () -> output.write(tensor));
    output.commit();
    assertThrows(IllegalStateException.class, output::commit);
    output.close();
    output.close();
    assertEquals(1, list().size());
    NpyOutput closed = NpyOutput.create(directory.resolve("b.npy"));
    closed.close();
    assertThrows(IllegalStateException.class, () -> closed.write(tensor));
    assertThrows(IllegalStateException.class, closed::commit);
    assertEquals(1, list().size());
  }

  @Test
  void output_placesThatCannotBe() throws IOException {
    Tensor tensor = Tensor.copyOf(arena, new float[] {1}, 1);
    Path missing = directory.resolve("none").resolve("a.npy");
    FileSystemException e =
        assertThrows(FileSystemException.class, () -> Npy.write(missing, tensor));
    assertEquals(missing + ": its directory does not exist", e.getMessage());
    e = assertThrows(FileSystemException.class, () -> Npy.write(directory, tensor));
    assertEquals(
        directory + ": expected a regular file or none, it is a directory", e.getMessage());
    Path full = Path.of("/dev/full");
    assumeTrue(Files.exists(full));
    e = assertThrows(FileSystemException.class, () -> Npy.write(full, tensor));
    assertEquals(
        full + ": expected a regular file or none, it is a pipe or device", e.getMessage());
    // Not even root makes files there.
    Path unwritable = Path.of("/proc/self/a.npy");
    assumeTrue(Files.isDirectory(unwritable.getParent()));
    e = assertThrows(FileSystemException.class, () -> Npy.write(unwritable, tensor));
    assertTrue(
        e.getMessage().startsWith(unwritable + ": cannot create a file in its directory"),
        e.getMessage());
  }

  @Test
  void output_writeProtectedFile_isNotReplaced() throws IOException {
    Path file = Files.write(directory.resolve("a.npy"), new byte[] {1});
    Files.setPosixFilePermissions(file, PosixFilePermissions.fromString("r--r--r--"));
    assumeTrue(!Files.isWritable(file), "root may write everything");
    assertThrows(
        FileSystemException.class, () -> Npy.write(file, Tensor.allocate(arena, DType.FLOAT32, 1)));
    assertArrayEquals(new byte[] {1}, Files.readAllBytes(file));
  }

  @Test
  void mapping_holdsTheArenasRules() throws IOException {
    Path file = directory.resolve("a.npy");
    Npy.write(file, Tensor.copyOf(arena, new float[] {1}, 1));
    Tensor tensor;
    try (Arena short_ = Arena.ofConfined()) {
      tensor = Npy.map(file, short_);
      MemorySegment segment = tensor.segment();
      assertSame(segment.scope(), short_.scope());
    }
    assertThrows(IllegalStateException.class, () -> tensor.getFloat(0));
    assertThrows(NullPointerException.class, () -> Npy.map(file, null));
  }

  // ---- files of bytes

  private Tensor map(byte[] bytes) throws IOException {
    Path file = Files.createTempFile(directory, "t", "");
    Files.write(file, bytes);
    return Npy.map(file, arena);
  }

  private List<Path> list() throws IOException {
    try (Stream<Path> files = Files.list(directory)) {
      return files.toList();
    }
  }

  private static byte[] start(int version, String header) {
    byte[] text = header.getBytes(StandardCharsets.ISO_8859_1);
    ByteBuffer bytes =
        ByteBuffer.allocate((version == 1 ? 10 : 12) + text.length).order(ByteOrder.LITTLE_ENDIAN);
    bytes.put(new byte[] {(byte) 0x93, 'N', 'U', 'M', 'P', 'Y', (byte) version, 0});
    if (version == 1) {
      bytes.putShort((short) text.length);
    } else {
      bytes.putInt(text.length);
    }
    return bytes.put(text).array();
  }

  private static byte[] version(byte[] file, int major, int minor) {
    file[6] = (byte) major;
    file[7] = (byte) minor;
    return file;
  }

  private static byte[] length4(byte[] file, int length) {
    ByteBuffer.wrap(file).order(ByteOrder.LITTLE_ENDIAN).putInt(8, length);
    return file;
  }

  private static byte[] invalidUtf8() {
    byte[] file = concat(start(3, HEADER + "  "), data(6));
    file[12 + HEADER.length()] = (byte) 0xff;
    return file;
  }

  private static String padded(String header, int length) {
    return header + " ".repeat(length - header.length() - 1) + "\n";
  }

  /** 0, 1, 2 … as little-endian float32. */
  private static byte[] data(int count) {
    ByteBuffer bytes = ByteBuffer.allocate(4 * count).order(ByteOrder.LITTLE_ENDIAN);
    for (int i = 0; i < count; i++) {
      bytes.putFloat(i);
    }
    return bytes.array();
  }

  private static byte[] concat(byte[] a, byte[] b) {
    byte[] both = Arrays.copyOf(a, a.length + b.length);
    System.arraycopy(b, 0, both, a.length, b.length);
    return both;
  }
}
