package dev.gatun.io;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertNotEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTimeoutPreemptively;
import static org.junit.jupiter.api.Assertions.assertTrue;
import static org.junit.jupiter.api.Assumptions.assumeTrue;

import dev.gatun.DType;
import dev.gatun.Tensor;
import dev.gatun.support.ChildJvm;
import java.io.IOException;
import java.lang.foreign.Arena;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.nio.channels.FileChannel;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.NoSuchFileException;
import java.nio.file.Path;
import java.nio.file.StandardOpenOption;
import java.time.Duration;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.HashMap;
import java.util.HexFormat;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Random;
import java.util.stream.IntStream;
import java.util.stream.Stream;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.function.Executable;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.Arguments;
import org.junit.jupiter.params.provider.CsvSource;
import org.junit.jupiter.params.provider.MethodSource;
import org.junit.jupiter.params.provider.ValueSource;

class SafetensorsTest {
  private static final String TWO_BY_THREE =
      "{\"w\":{\"dtype\":\"F32\",\"shape\":[2,3],\"data_offsets\":[0,24]}}";
  private static final float[] SIX = {0, 1, 2, 3, 4, 5};

  @TempDir Path directory;
  private final Arena arena = Arena.ofShared();

  @AfterEach
  void closeArena() {
    arena.close();
  }

  // ---- files written by hand

  private static byte[] file(String header, byte[] data) {
    return file(header.getBytes(StandardCharsets.UTF_8), data);
  }

  private static byte[] file(byte[] header, byte[] data) {
    return little(8 + header.length + data.length)
        .putLong(header.length)
        .put(header)
        .put(data)
        .array();
  }

  private static ByteBuffer little(int size) {
    return ByteBuffer.allocate(size).order(ByteOrder.LITTLE_ENDIAN);
  }

  private static String entry(String name, String dtype, String shape, long begin, long end) {
    return "\"%s\":{\"dtype\":\"%s\",\"shape\":%s,\"data_offsets\":[%d,%d]}"
        .formatted(name, dtype, shape, begin, end);
  }

  private static byte[] floats(float... numbers) {
    ByteBuffer bytes = little(numbers.length * 4);
    for (float number : numbers) {
      bytes.putFloat(number);
    }
    return bytes.array();
  }

  private SafetensorsFile map(String header, byte[] data) throws IOException {
    return map(file(header, data));
  }

  private SafetensorsFile map(byte[] bytes) throws IOException {
    return Safetensors.map(Files.write(directory.resolve("a.safetensors"), bytes), arena);
  }

  private void assertRefused(String part, Executable executable) {
    SafetensorsException e = assertThrows(SafetensorsException.class, executable);
    assertTrue(e.getMessage().startsWith(directory.toString()), e.getMessage());
    assertTrue(e.getReason().contains(part), e.getReason());
    assertFalse(e.getMessage().chars().anyMatch(Character::isISOControl), e.getMessage());
    assertTrue(e.getMessage().length() < 1000, e.getMessage());
  }

  private List<Path> list() throws IOException {
    try (Stream<Path> files = Files.list(directory)) {
      return files.toList();
    }
  }

  // ---- reading

  @Test
  void viewsOfAFileByAnotherWriter() throws IOException {
    byte[] data =
        little(64)
            .putLong(1L << 40)
            .put(floats(SIX))
            .putInt(-7)
            .putInt(8)
            .put(new byte[24])
            .array();
    String header =
        "{"
            + entry("last.bytes", "U8", "[24]", 40, 64)
            + ",\"__metadata__\":{\"format\":\"pt\",\"ünï\":\"\\u20ac\\n\"},"
            + entry("a.long", "I64", "[1]", 0, 8)
            + ", "
            + entry("a.weight", "F32", "[2, 3]", 8, 32)
            + ","
            + entry("ids", "I32", "[2]", 32, 40)
            + "}";
    // The header has two more bytes than characters.
    SafetensorsFile file = map(header + " ".repeat(-header.length() - 2 & 7), data);
    assertEquals(List.of("last.bytes", "a.long", "a.weight", "ids"), List.copyOf(file.names()));
    assertEquals(Map.of("format", "pt", "ünï", "€\n"), file.metadata());
    assertEquals(directory.resolve("a.safetensors"), file.file());
    assertEquals("SafetensorsFile(" + file.file() + ", 4 tensors)", file.toString());

    Tensor weight = file.tensor("a.weight");
    assertEquals(DType.FLOAT32, weight.dtype());
    assertArrayEquals(new long[] {2, 3}, weight.shape());
    assertArrayEquals(SIX, weight.toFloatArray());
    assertTrue(weight.isReadOnly());
    assertTrue(weight.segment().isMapped());
    assertEquals(1L << 40, file.tensor("a.long").getLong(0));
    Tensor ids = file.tensor("ids");
    assertEquals(DType.INT32, ids.dtype());
    assertEquals(List.of(-7, 8), List.of(ids.getInt(0), ids.getInt(1)));

    assertTrue(file.isView("ids"));
    assertFalse(file.isView("last.bytes"));
    assertEquals("U8", file.dtype("last.bytes"));
    assertArrayEquals(new long[] {24}, file.shape("last.bytes"));
    assertRefused("'last.bytes' [24] U8: expected F32", () -> file.tensor("last.bytes"));
    assertRefused("[24] U8: expected the type F32", () -> file.tensor("last.bytes", arena));
    for (Executable call :
        List.<Executable>of(
            () -> file.tensor("none"),
            () -> file.tensor("none", arena),
            () -> file.shape("none"),
            () -> file.dtype("none"),
            () -> file.isView("none"))) {
      assertRefused("no tensor 'none' among its 4", call);
    }
    assertThrows(UnsupportedOperationException.class, () -> file.names().clear());
    assertThrows(UnsupportedOperationException.class, () -> file.metadata().clear());
    file.shape("ids")[0] = 9;
    assertArrayEquals(new long[] {2}, file.shape("ids"));
  }

  @Test
  void copiesAreOwnMemory() throws IOException {
    SafetensorsFile file = map(TWO_BY_THREE, floats(SIX));
    Tensor copy = file.tensor("w", arena);
    assertFalse(copy.isReadOnly());
    assertFalse(copy.segment().isMapped());
    copy.setFloat(9, 0, 0);
    assertEquals(0, file.tensor("w", arena).getFloat(0, 0));
  }

  @ParameterizedTest
  @ValueSource(ints = {0, 1, 2, 3, 4, 5, 6, 7})
  void dataAtAnyAddress(int shift) throws IOException {
    String header = "{" + entry("l", "I64", "[1]", 0, 8) + "," + entry("f", "F32", "[6]", 8, 32);
    header += "," + entry("d", "F64", "[1]", 32, 40) + "," + entry("h", "F16", "[2]", 40, 44) + "}";
    header += " ".repeat((-8 - header.length() & 7) + shift);
    byte[] data =
        little(44)
            .putLong(5)
            .put(floats(SIX))
            .putDouble(0.1)
            .putShort((short) 0x3c00)
            .putShort((short) 0xc000)
            .array();
    SafetensorsFile file = map(header, data);
    assertEquals(shift % 4 == 0, file.isView("f"));
    assertEquals(shift == 0, file.isView("l"));
    if (shift % 4 == 0) {
      assertArrayEquals(SIX, file.tensor("f").toFloatArray());
    } else {
      assertRefused(
          "'f' [6] F32: expected data at a multiple of 4 bytes for a view of the file, got byte "
              + (16 + header.length()),
          () -> file.tensor("f"));
    }
    if (shift != 0) {
      assertRefused("a multiple of 8 bytes", () -> file.tensor("l"));
    }
    assertArrayEquals(SIX, file.tensor("f", arena).toFloatArray());
    assertEquals(5, file.tensor("l", arena).getInt(0));
    assertEquals(0.1f, file.tensor("d", arena).getFloat(0));
    assertArrayEquals(new float[] {1, -2}, file.tensor("h", arena).toFloatArray());
  }

  @Test
  void everyHalf() throws IOException {
    ByteBuffer data = little(4 << 16);
    for (int bits = 0; bits < 1 << 16; bits++) {
      data.putShort(2 * bits, (short) bits);
      data.putShort((2 << 16) + 2 * bits, (short) bits);
    }
    SafetensorsFile file =
        map(
            "{%s,%s}"
                .formatted(
                    entry("f16", "F16", "[256,256]", 0, 2 << 16),
                    entry("bf16", "BF16", "[65536]", 2 << 16, 4 << 16)),
            data.array());
    float[] f16 = file.tensor("f16", arena).toFloatArray();
    float[] bf16 = file.tensor("bf16", arena).toFloatArray();
    assertEquals(DType.FLOAT32, file.tensor("f16", arena).dtype());
    assertArrayEquals(new long[] {256, 256}, file.tensor("f16", arena).shape());
    for (int bits = 0; bits < 1 << 16; bits++) {
      assertEquals(binary(bits, 5, 10), f16[bits]);
      assertEquals(binary(bits, 8, 7), bf16[bits]);
    }
  }

  /** Sign, exponent and fraction of a 16-bit number, by the definition. */
  private static float binary(int bits, int exponentBits, int fractionBits) {
    int exponent = bits >> fractionBits & (1 << exponentBits) - 1;
    double fraction = (bits & (1 << fractionBits) - 1) / (double) (1 << fractionBits);
    int bias = (1 << exponentBits - 1) - 1;
    double size =
        exponent == 0
            ? fraction * Math.pow(2, 1 - bias)
            : exponent < 2 * bias + 1
                ? (1 + fraction) * Math.pow(2, exponent - bias)
                : fraction == 0 ? Double.POSITIVE_INFINITY : Double.NaN;
    return (float) (bits >> 15 == 0 ? size : -size);
  }

  @Test
  void doublesAndLongsAreConverted_inPieces() throws IOException {
    int count = 10_001;
    ByteBuffer data = little(16 * count);
    Random random = new Random(1);
    double[] doubles = random.doubles(count, -1e3, 1e3).toArray();
    doubles[0] = 1e300;
    doubles[1] = -0.0;
    doubles[2] = Double.NaN;
    int[] ints = random.ints(count).toArray();
    ints[count - 1] = Integer.MIN_VALUE;
    ints[count - 2] = Integer.MAX_VALUE;
    for (int i = 0; i < count; i++) {
      data.putDouble(8 * i, doubles[i]);
      data.putLong(8 * (count + i), ints[i]);
    }
    String header =
        "{%s,%s}"
            .formatted(
                entry("d", "F64", "[73,137]", 0, 8L * count),
                entry("l", "I64", "[10001]", 8L * count, 16L * count));
    SafetensorsFile file = map(header, data.array());
    float[] floats = file.tensor("d", arena).toFloatArray();
    Tensor numbers = file.tensor("l", arena);
    assertEquals(DType.INT32, numbers.dtype());
    for (int i = 0; i < count; i++) {
      assertEquals((float) doubles[i], floats[i]);
      assertEquals(ints[i], numbers.getInt(i));
    }
    for (long wrong : new long[] {1L << 31, (-1L << 31) - 1, 1L << 32, Long.MIN_VALUE}) {
      data.putLong(8 * (count + 9000), wrong);
      SafetensorsFile other = map(header, data.array());
      assertRefused(
          "'l' [10001] I64: expected numbers of -2^31 … 2^31 - 1 for int32, got %d as element 9000"
              .formatted(wrong),
          () -> other.tensor("l", arena));
    }
  }

  @Test
  void emptyTensorsAndScalars() throws IOException {
    String header =
        "{"
            + Stream.of(
                    entry("scalar", "F32", "[]", 0, 4),
                    entry("e1", "F32", "[0]", 4, 4),
                    entry("e2", "F32", "[3,0,1000000]", 4, 4),
                    entry("e3", "BF16", "[0,5]", 0, 0),
                    entry("i", "I32", "[]", 4, 8),
                    entry("e4", "F4", "[0]", 8, 8))
                .reduce((a, b) -> a + "," + b)
                .get()
            + "}";
    byte[] data = little(8).putFloat(1.5f).putInt(3).array();
    SafetensorsFile file = map(header + " ".repeat(-header.length() & 7), data);
    assertEquals(1.5f, file.tensor("scalar").getFloat());
    assertEquals(0, file.tensor("scalar").rank());
    assertEquals(3, file.tensor("i", arena).getInt());
    for (String name : List.of("e1", "e2")) {
      assertEquals(0, file.tensor(name).elements());
      assertArrayEquals(file.shape(name), file.tensor(name).shape());
      assertArrayEquals(file.shape(name), file.tensor(name, arena).shape());
    }
    assertArrayEquals(new long[] {0, 5}, file.tensor("e3", arena).shape());
  }

  @ParameterizedTest
  @ValueSource(
      strings = {
        "{}",
        "{}      ",
        "{ \n\t}\r\n ",
        "{\"__metadata__\":{}}",
        "{\"__metadata__\":null}",
        "{\"__metadata__\":{\"a\":\"\"}}",
      })
  void noTensors(String header) throws IOException {
    assertEquals(0, map(header, new byte[0]).names().size());
  }

  @Test
  void unknownKeysArePassedOver() throws IOException {
    String header =
        "{\"w\":{\"x\":[[{\"y\":1.5}],null],\"dtype\":\"F32\",\"shape\":[1],"
            + "\"data_offsets\":[0,4],\"z\":true}}";
    assertEquals(2, map(header, floats(2)).tensor("w", arena).getFloat(0));
  }

  @Test
  void smallTypesFillBytes() throws IOException {
    SafetensorsFile file =
        map(
            "{%s,%s,%s}"
                .formatted(
                    entry("four", "F4", "[2,3]", 0, 3),
                    entry("six", "F6_E2M3", "[4]", 3, 6),
                    entry("c", "C64", "[1]", 6, 14)),
            new byte[14]);
    assertEquals("F6_E2M3", file.dtype("six"));
    assertRefused(
        "'t' [3] F4: expected elements of 4 bits to fill whole bytes, got 3 elements",
        () -> map("{" + entry("t", "F4", "[3]", 0, 2) + "}", new byte[2]));
  }

  @Test
  void beyondTwoGiB() throws IOException {
    long bytes = 3L << 30;
    String header = "{" + entry("u", "U8", "[" + bytes + "]", 0, bytes) + ",";
    header += entry("f", "F32", "[2]", bytes, bytes + 8) + "}";
    header += " ".repeat(-header.length() & 7);
    Path path = directory.resolve("big.safetensors");
    try (FileChannel channel =
        FileChannel.open(
            path,
            StandardOpenOption.CREATE_NEW,
            StandardOpenOption.SPARSE,
            StandardOpenOption.WRITE)) {
      channel.write(ByteBuffer.wrap(file(header, new byte[0])));
      channel.write(ByteBuffer.wrap(floats(1, 2)), 8 + header.length() + bytes);
    } catch (IOException e) {
      assumeTrue(false, "no sparse files here: " + e);
    }
    SafetensorsFile file = Safetensors.map(path, arena);
    assertArrayEquals(new float[] {1, 2}, file.tensor("f").toFloatArray());
    assertArrayEquals(new float[] {1, 2}, file.tensor("f", arena).toFloatArray());
  }

  // ---- refusals

  @Test
  void anIndexIsNamedAsWhatItIs() {
    String index =
        """
        {
          "metadata": {"total_size": 8},
          "weight_map": {
            "a": "model-00001-of-00002.safetensors",
            "b": "model-00002-of-00002.safetensors"
          }
        }
        """;
    for (String text : new String[] {index, index.replaceAll("\\s", "")}) {
      assertRefused(
          "got JSON: an index, which says in which files the tensors are",
          () -> map(text.getBytes(StandardCharsets.UTF_8)));
    }
    assertRefused(
        "got JSON of another kind",
        () -> map("{\"weight_map\": 1}".getBytes(StandardCharsets.UTF_8)));
    assertRefused(
        "expected a header of at most 100000000 bytes",
        () -> map("{\"weight_map\": ".getBytes(StandardCharsets.UTF_8)));
  }

  static Stream<Arguments> malformed() {
    byte[] pair = floats(1, 2);
    String one = entry("a", "F32", "[1]", 0, 4);
    String big = "9223372036854775807";
    return Stream.of(
        bad("empty file", new byte[0], "cut short: expected the header's length in 8 bytes, "),
        bad("seven bytes", new byte[7], "the file has 7"),
        bad("no header", new byte[8], "expected the header to begin with '{', got none"),
        bad("longer than the file", little(9).putLong(2).array(), "expected a header of 2 bytes"),
        bad("100 MB that are not there", little(9).putLong(100_000_000).array(), "cut short"),
        bad("over 100 MB", little(9).putLong(100_000_001).array(), "at most 100000000 bytes"),
        bad("2^64 - 1", little(9).putLong(-1).array(), "got 18446744073709551615"),
        bad("2^63", little(9).putLong(1L << 63).array(), "got 9223372036854775808"),
        bad("a zip file", file("PK", new byte[9]), "begin with '{', got byte 0x50"),
        bad("a blank first", file(" {}", new byte[0]), "got byte 0x20"),
        bad("a byte order mark", file("\ufeff{}", new byte[0]), "got byte 0xef"),
        bad(
            "UTF-16",
            file("{}".getBytes(StandardCharsets.UTF_16LE), new byte[0]),
            "damaged header: expected JSON at character 2"),
        bad(
            "Latin 1",
            file("{\"\u00e9\":1}".getBytes(StandardCharsets.ISO_8859_1), new byte[0]),
            "expected UTF-8"),
        bad("overlong UTF-8", file(hex("7b22c0afe2227d"), new byte[0]), "expected UTF-8"),
        bad("surrogate in UTF-8", file(hex("7b22eda080223a317d"), new byte[0]), "expected UTF-8"),
        header("not closed", "{" + one, pair, "expected JSON at character"),
        header("only open", "{", pair, "expected JSON"),
        header("text behind", "{" + one + "} x", floats(1), "expected JSON"),
        header("two objects", "{" + one + "}{}", floats(1), "nothing but blanks behind the object"),
        header("zero byte behind", "{" + one + "}\0", floats(1), "expected JSON"),
        header("a comma more", "{" + one + ",}", floats(1), "expected JSON"),
        header("no quotes", "{a:1}", pair, "expected JSON"),
        header("apostrophes", "{'a':1}", pair, "expected JSON"),
        header("a comment", "{/* */" + one + "}", floats(1), "expected JSON"),
        header("a line break in a name", "{\"a\nb\":1}", pair, "expected JSON"),
        header("a bad escape", "{\"a\\x\":1}", pair, "expected JSON"),
        header("NaN", "{\"a\":NaN}", pair, "expected JSON"),
        header("a tensor that is a number", "{\"a\":1}", pair, "an object as tensor 'a' at char"),
        header("a tensor that is null", "{\"a\":null}", pair, "got value null"),
        header("a tensor that is a list", "{\"a\":[]}", pair, "got start array"),
        header("half a surrogate pair", "{\"\\ud800\":{}}", pair, "urrogate pair"),
        header("metadata a text", "{\"__metadata__\":\"x\"}", pair, "an object as '__metadata__'"),
        header(
            "metadata a number", "{\"__metadata__\":{\"n\":1}}", pair, "a string as metadata 'n'"),
        header("metadata nested", "{\"__metadata__\":{\"n\":{}}}", pair, "a string as metadata"),
        header(
            "metadata of half a pair",
            "{\"__metadata__\":{\"n\":\"\\udc00x\"}}",
            pair,
            "surrogate pair"),
        header("metadata twice", "{\"__metadata__\":{},\"__metadata__\":{}}", pair, "got it twice"),
        header(
            "a metadata key twice",
            "{\"__metadata__\":{\"k\":\"1\",\"k\":\"1\"}}",
            pair,
            "the name 'k' once"),
        header("a name twice", "{" + one + "," + one + "}", floats(1), "the name 'a' once"),
        header(
            "a name twice, spelt differently",
            "{" + one + "," + entry("\\u0061", "F32", "[1]", 4, 8) + "}",
            pair,
            "the name 'a' once"),
        header(
            "dtype twice",
            "{\"a\":{\"dtype\":\"F32\",\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[0,4]}}",
            floats(1),
            "tensor 'a': expected the key 'dtype' once"),
        header(
            "shape twice",
            "{\"a\":{\"dtype\":\"F32\",\"shape\":[1],\"shape\":[1],\"data_offsets\":[0,4]}}",
            floats(1),
            "the key 'shape' once"),
        header(
            "offsets twice",
            "{\"a\":{\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[0,4],\"data_offsets\":[0,4]}}",
            floats(1),
            "the key 'data_offsets' once"),
        header(
            "no dtype",
            "{\"a\":{\"shape\":[1],\"data_offsets\":[0,4]}}",
            floats(1),
            "tensor 'a': expected a 'dtype', found none"),
        header(
            "no shape",
            "{\"a\":{\"dtype\":\"F32\",\"data_offsets\":[0,4]}}",
            floats(1),
            "expected a 'shape'"),
        header(
            "no offsets",
            "{\"a\":{\"dtype\":\"F32\",\"shape\":[1],\"offsets\":[0,4]}}",
            floats(1),
            "expected two 'data_offsets'"),
        header(
            "one offset",
            "{\"a\":{\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[0]}}",
            floats(1),
            "expected two 'data_offsets'"),
        header(
            "three offsets",
            "{\"a\":{\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[0,4,8]}}",
            floats(1),
            "at most 2 numbers as 'data_offsets', got more"),
        header("unknown type", "{" + entry("a", "F33", "[1]", 0, 4) + "}", pair, "F32, C64"),
        header(
            "type in small letters", "{" + entry("a", "f32", "[1]", 0, 4) + "}", pair, "got 'f32'"),
        header(
            "type a number",
            "{\"a\":{\"dtype\":1,\"shape\":[1],\"data_offsets\":[0,4]}}",
            pair,
            "a string as 'dtype' of tensor 'a'"),
        shape("a number", "1", "a list as 'shape' of tensor 'a'"),
        shape("null", "null", "a list as 'shape'"),
        shape("of texts", "[\"1\"]", "whole numbers as 'shape' of tensor 'a'"),
        shape("of a fraction", "[1.0]", "whole numbers"),
        shape("with an exponent", "[1e0]", "whole numbers"),
        shape("of lists", "[[1]]", "whole numbers"),
        shape("negative", "[-1]", "expected numbers of 0 … 2^63 - 1 as 'shape', got '-1'"),
        shape("minus zero", "[-0]", "got '-0'"),
        shape("2^63", "[9223372036854775808]", "got '9223372036854775808'"),
        shape("2^64 + 1", "[18446744073709551617]", "got '18446744073709551617'"),
        shape("900 digits", "[1" + "0".repeat(900) + "]", "0…'"),
        shape("2000 digits", "[1" + "0".repeat(2000) + "]", "damaged header"),
        shape("of a leading zero", "[01]", "expected JSON"),
        shape("2^63 - 1", "[" + big + "]", "[9223372036854775807] F32: expected a shape of less"),
        shape("product of 2^64", "[4294967296,4294967296]", "less than 2^60 elements"),
        shape("product of 2^64 + 4", "[2,9223372036854775810]", "0 … 2^63 - 1"),
        shape("overflow behind 0", "[0," + big + "," + big + "]", "less than 2^60 elements"),
        shape("2^60", "[1152921504606846976]", "less than 2^60 elements"),
        shape("2^60 - 1", "[1152921504606846975]", "expected 4611686018427387900 bytes of data"),
        shape("of 65 dimensions", "[1" + ",1".repeat(64) + "]", "at most 64 numbers as 'shape'"),
        shape("too small", "[]", "'a' [] F32: expected 4 bytes of data, got the offsets 0 and 8"),
        shape("too big", "[3]", "'a' [3] F32: expected 12 bytes of data, got the offsets 0 and 8"),
        offsets("reversed", 8, 0, "got the offsets 8 and 0"),
        offsets("beyond the file", 0, 16, "expected 8 bytes of data, got the offsets 0 and 16"),
        header(
            "huge offsets",
            "{\"a\":{\"dtype\":\"U8\",\"shape\":[8],\"data_offsets\":[" + big + ",7]}}",
            pair,
            "got the offsets 9223372036854775807 and 7"),
        header(
            "a hole first",
            "{" + entry("a", "F32", "[1]", 4, 8) + "}",
            pair,
            "expected its data to begin at byte 0, as the first ones, got 4: there is a hole"),
        header(
            "a hole between",
            "{" + one + "," + entry("b", "F32", "[1]", 8, 12) + "}",
            floats(1, 2, 3),
            "'b' [1] F32: expected its data to begin at byte 4, behind those of 'a' [1] F32, got"
                + " 8"),
        header(
            "a hole last",
            "{" + one + "}",
            pair,
            "expected 4 bytes of data behind the header, got 8"),
        header(
            "the same data twice",
            "{" + one + "," + entry("b", "I32", "[1]", 0, 4) + "}",
            floats(1),
            "got 0: they overlap"),
        header(
            "data that overlap",
            "{" + entry("b", "U8", "[4]", 2, 6) + "," + one + "}",
            pair,
            "'b' [4] U8: expected its data to begin at byte 4, behind those of 'a'"),
        header(
            "an empty tensor in the middle of another",
            "{" + entry("b", "U8", "[0]", 2, 2) + "," + one + "}",
            floats(1),
            "got 2: they overlap"),
        header(
            "an empty tensor behind the file",
            "{" + one + "," + entry("b", "U8", "[0]", 9, 9) + "}",
            floats(1),
            "there is a hole"),
        header("data cut short", "{" + one + "}", new byte[3], "cut short: expected 4 bytes"),
        header("no data", "{" + one + "}", new byte[0], "cut short: expected 4 bytes"),
        header("data without a tensor", "{}", new byte[1], "expected 0 bytes of data behind"),
        header(
            "a long name", "{\"" + "n".repeat(4097) + "\":1}", pair, "names of at most 4096 char"),
        header(
            "a name of 10 MB", "{\"" + "n".repeat(10 << 20) + "\":1}", pair, "at most 4096 char"),
        header("control characters", "{\"a\\u0000\\n\\u2028\":1}", pair, "'a\\u0000\\n\\u2028'"),
        header("depth", "{\"a\":{\"x\":" + "[".repeat(100_000), pair, "damaged header"));
  }

  private static Arguments bad(String name, byte[] file, String expected) {
    return Arguments.of(name, file, expected);
  }

  private static Arguments header(String name, String header, byte[] data, String expected) {
    return bad(name, file(header, data), expected);
  }

  private static Arguments shape(String name, String shape, String expected) {
    return header(
        "shape " + name, "{" + entry("a", "F32", shape, 0, 8) + "}", new byte[8], expected);
  }

  private static Arguments offsets(String name, long begin, long end, String expected) {
    return header(
        "offsets " + name, "{" + entry("a", "F32", "[2]", begin, end) + "}", new byte[8], expected);
  }

  private static byte[] hex(String text) {
    return HexFormat.of().parseHex(text);
  }

  @ParameterizedTest(name = "{0}")
  @MethodSource
  void malformed(String name, byte[] file, String expected) {
    assertRefused(expected, () -> map(file));
  }

  @Test
  void aMillionEntries() {
    StringBuilder header = new StringBuilder("{\"__metadata__\":{");
    for (int i = 0; i <= 1 << 20; i++) {
      header.append(i == 0 ? "\"" : ",\"").append(i).append("\":\"\"");
    }
    assertRefused(
        "at most 1048576 tensors and pieces of metadata",
        () -> map(header.append("}}").toString(), new byte[0]));
  }

  /** A header of the greatest length, all of it one text, takes no more memory than is allowed. */
  @Test
  void aHundredMegabytes() throws IOException {
    Path path = directory.resolve("long.safetensors");
    try (FileChannel channel =
        FileChannel.open(path, StandardOpenOption.CREATE_NEW, StandardOpenOption.WRITE)) {
      channel.write(
          little(25)
              .putLong(100_000_000)
              .put("{\"__metadata__\":{\"x\":\"".getBytes(StandardCharsets.UTF_8), 0, 17)
              .flip());
      byte[] piece = new byte[1 << 20];
      Arrays.fill(piece, (byte) 'x');
      channel.write(ByteBuffer.wrap("\"x\":\"".getBytes(StandardCharsets.UTF_8)));
      for (long size; (size = channel.size()) < 100_000_008; ) {
        channel.write(ByteBuffer.wrap(piece, 0, (int) Math.min(piece.length, 100_000_008 - size)));
      }
    }
    assertRefused("at most 16777216", () -> Safetensors.map(path, arena));
  }

  @Test
  void pathsThatAreNoFile() {
    Path none = directory.resolve("none");
    NoSuchFileException e =
        assertThrows(NoSuchFileException.class, () -> Safetensors.map(none, arena));
    assertEquals(none.toString(), e.getFile());
    assertRefused(
        "expected a regular file, it is a directory", () -> Safetensors.map(directory, arena));
    assertThrows(NullPointerException.class, () -> Safetensors.map(none, null));
    Path device = Path.of("/dev/zero");
    assumeTrue(Files.exists(device));
    assertTrue(
        assertThrows(SafetensorsException.class, () -> Safetensors.map(device, arena))
            .getReason()
            .contains("device"));
  }

  @Test
  void viewsLiveAsLongAsTheArena() throws IOException {
    byte[] bytes = file(TWO_BY_THREE + " ".repeat(-TWO_BY_THREE.length() & 7), floats(SIX));
    Path path = Files.write(directory.resolve("a.safetensors"), bytes);
    Tensor view;
    SafetensorsFile file;
    try (Arena gone = Arena.ofConfined()) {
      file = Safetensors.map(path, gone);
      view = file.tensor("w");
      assertEquals(5, view.getFloat(1, 2));
    }
    assertThrows(IllegalStateException.class, () -> view.getFloat(1, 2));
    assertThrows(IllegalStateException.class, () -> file.tensor("w", arena));
    assertArrayEquals(new long[] {2, 3}, file.shape("w"));
  }

  // ---- damage

  private static byte[] sample() {
    ByteBuffer data = little(44).putLong(-3).put(floats(SIX)).putInt(6).putInt(-7);
    data.putShort((short) 0x4000).putShort((short) 0x3f80);
    String header =
        "{\"__metadata__\":{\"format\":\"pt\",\"\u00fc\":\"\\\"\"},"
            + Stream.of(
                    entry("l", "I64", "[1]", 0, 8),
                    entry("w.\u00e4", "F32", "[2,3]", 8, 32),
                    entry("i", "I32", "[2,1]", 32, 40),
                    entry("h", "F16", "[]", 40, 42),
                    entry("e", "U8", "[0,7]", 42, 42),
                    entry("b", "BF16", "[1]", 42, 44))
                .reduce((a, b) -> a + "," + b)
                .get()
            + "}";
    return file(header, data.array());
  }

  /** Opens, and asks for all there is. True if nothing was refused. */
  private boolean use(byte[] bytes) throws IOException {
    Path path = directory.resolve("damaged.safetensors");
    Files.write(path, bytes);
    boolean good = true;
    try (Arena own = Arena.ofConfined()) {
      SafetensorsFile file = Safetensors.map(path, own);
      for (String name : file.names()) {
        try {
          if (file.isView(name)) {
            file.tensor(name).toString();
          }
          file.tensor(name, own).toString();
        } catch (SafetensorsException e) {
          good &= name.equals("e");
        }
      }
    } catch (SafetensorsException e) {
      assertTrue(e.getMessage().startsWith(path + ": "), e.getMessage());
      assertFalse(e.getMessage().chars().anyMatch(Character::isISOControl), e.getMessage());
      return false;
    }
    return good;
  }

  @Test
  void cutAnywhere() throws IOException {
    byte[] bytes = sample();
    assertTrue(use(bytes));
    for (int length = 0; length < bytes.length; length++) {
      assertFalse(use(Arrays.copyOf(bytes, length)), "of " + length + " bytes");
    }
    assertFalse(use(Arrays.copyOf(bytes, bytes.length + 1)));
  }

  @Test
  void threeThousandMutations() {
    int refused = assertTimeoutPreemptively(Duration.ofSeconds(60), this::mutate);
    assertNotEquals(0, refused);
    assertTrue(refused < 3000, "refused " + refused);
  }

  private int mutate() throws IOException {
    byte[] good = sample();
    int headerEnd = good.length - 44;
    String[] pieces = {
      "\"", "{", "}", "[", "]", ",", ":", "-", "0", "9", "e5", "\\", "null", "\\u0000"
    };
    Random random = new Random(21);
    int refused = 0;
    for (int i = 0; i < 3000; i++) {
      byte[] bytes = good.clone();
      for (int flips = 1 + random.nextInt(3); flips > 0; flips--) {
        int at = random.nextInt(random.nextInt(8) == 0 ? 8 : headerEnd);
        switch (random.nextInt(4)) {
          case 0 -> bytes[at] = (byte) random.nextInt();
          case 1 -> bytes[at] ^= (byte) (1 << random.nextInt(8));
          case 2 -> {
            byte[] piece = pieces[random.nextInt(pieces.length)].getBytes(StandardCharsets.UTF_8);
            System.arraycopy(piece, 0, bytes, at, Math.min(piece.length, headerEnd - at));
          }
          default -> {
            // A piece of the header once more, elsewhere.
            int from = 8 + random.nextInt(headerEnd - 8);
            int length = random.nextInt(Math.min(40, headerEnd - Math.max(from, at)));
            System.arraycopy(bytes, from, bytes, at, length);
          }
        }
      }
      if (random.nextInt(8) == 0) {
        bytes = Arrays.copyOf(bytes, random.nextInt(bytes.length + 20));
      }
      refused += use(bytes) ? 0 : 1;
    }
    return refused;
  }

  // ---- writing

  @Test
  void write_isWhatTheFormatsLibraryWrites() throws IOException {
    Path path = directory.resolve("a.safetensors");
    Tensor six = Tensor.copyOf(arena, SIX, 1, 2, 3);
    Safetensors.write(path, Map.of("attn.0", six), Map.of());
    String header = "{\"attn.0\":{\"dtype\":\"F32\",\"shape\":[1,2,3],\"data_offsets\":[0,24]}}";
    assertEquals(64, header.length());
    assertArrayEquals(file(header, floats(SIX)), Files.readAllBytes(path));

    Safetensors.write(path, Map.of(), Map.of());
    assertArrayEquals(file("{}      ", new byte[0]), Files.readAllBytes(path));

    Safetensors.write(path, Map.of(), Map.of("framework", "pt"));
    assertArrayEquals(
        file("{\"__metadata__\":{\"framework\":\"pt\"}}     ", new byte[0]),
        Files.readAllBytes(path));
    assertEquals(List.of(path), list());
  }

  @Test
  void write_orderIsByTypeAndName() throws IOException {
    Map<String, Tensor> tensors = new HashMap<>();
    tensors.put("c", Tensor.copyOf(arena, new float[] {1}, 1));
    tensors.put("B", Tensor.copyOf(arena, new float[] {2}));
    tensors.put("a", Tensor.copyOf(arena, new int[] {3}, 1));
    tensors.put("z", Tensor.allocate(arena, DType.INT64, 1));
    tensors.put("e", Tensor.allocate(arena, DType.FLOAT32, 0, 3));
    Path path = directory.resolve("a.safetensors");
    Safetensors.write(path, tensors, Map.of("k2", "", "k1", "v"));
    String header =
        "{\"__metadata__\":{\"k1\":\"v\",\"k2\":\"\"},"
            + Stream.of(
                    entry("z", "I64", "[1]", 0, 8),
                    entry("B", "F32", "[]", 8, 12),
                    entry("c", "F32", "[1]", 12, 16),
                    entry("e", "F32", "[0,3]", 16, 16),
                    entry("a", "I32", "[1]", 16, 20))
                .reduce((a, b) -> a + "," + b)
                .get()
            + "}";
    byte[] data = little(20).putLong(0).putFloat(2).putFloat(1).putInt(3).array();
    assertArrayEquals(
        file(header + " ".repeat(-header.length() & 7), data), Files.readAllBytes(path));
    Map<String, Tensor> sameInOtherOrder = new LinkedHashMap<>();
    tensors.keySet().stream().sorted().forEach(n -> sameInOtherOrder.put(n, tensors.get(n)));
    Path other = directory.resolve("b.safetensors");
    Safetensors.write(other, sameInOtherOrder, Map.of("k1", "v", "k2", ""));
    assertEquals(-1, Files.mismatch(path, other));
    SafetensorsFile file = Safetensors.map(path, arena);
    for (String name : file.names()) {
      assertTrue(file.isView(name), name);
    }
  }

  @ParameterizedTest
  @CsvSource({"1", "2", "3", "4"})
  void roundTrip(long seed) throws IOException {
    Random random = new Random(seed);
    Map<String, Tensor> tensors = new LinkedHashMap<>();
    for (int i = 0; i < 50; i++) {
      long[] shape = random.longs(random.nextInt(5), 0, 6).toArray();
      int size = (int) Arrays.stream(shape).reduce(1, (a, b) -> a * b);
      float[] numbers = new float[size];
      IntStream.range(0, size).forEach(k -> numbers[k] = Float.intBitsToFloat(random.nextInt()));
      tensors.put(
          "layer." + i + ".weight",
          random.nextInt(3) == 0
              ? Tensor.copyOf(arena, random.ints(size).toArray(), shape)
              : Tensor.copyOf(arena, numbers, shape));
    }
    Path path = directory.resolve("a.safetensors");
    Safetensors.write(path, tensors, Map.of("seed", "" + seed));
    SafetensorsFile file = Safetensors.map(path, arena);
    assertEquals(tensors.keySet(), file.names());
    assertEquals(Map.of("seed", "" + seed), file.metadata());
    for (String name : tensors.keySet()) {
      Tensor written = tensors.get(name);
      for (Tensor read : List.of(file.tensor(name), file.tensor(name, arena))) {
        assertEquals(written.dtype(), read.dtype());
        assertArrayEquals(written.shape(), read.shape());
        assertEquals(-1, written.segment().mismatch(read.segment()), name);
      }
    }
  }

  @Test
  void write_views_inRowMajorOrder() throws IOException {
    float[] numbers = new float[2 * 3 * 4 * 10];
    for (int i = 0; i < numbers.length; i++) {
      numbers[i] = i;
    }
    Tensor whole = Tensor.copyOf(arena, numbers, 2, 3, 4, 10);
    Tensor big = Tensor.allocate(arena, DType.FLOAT32, 1500, 1000);
    big.setFloat(7, 1234, 567);
    Map<String, Tensor> views =
        Map.of(
            "transposed", whole.transpose(1, 2),
            "reversed", whole.transpose(0, 3),
            "sliced", whole.slice(3, 2, 7),
            "selected", whole.select(2, 3),
            "empty", whole.slice(3, 4, 4).transpose(1, 2),
            "repeated",
                Tensor.ofStrided(
                    whole.segment(), DType.FLOAT32, new long[] {3, 5}, new long[] {0, 2}),
            "big", big.transpose(0, 1));
    Path path = directory.resolve("a.safetensors");
    Safetensors.write(path, views, Map.of());
    SafetensorsFile file = Safetensors.map(path, arena);
    for (String name : views.keySet()) {
      assertArrayEquals(views.get(name).shape(), file.shape(name));
      assertArrayEquals(views.get(name).toFloatArray(), file.tensor(name).toFloatArray(), name);
    }
    assertEquals(7, file.tensor("big").getFloat(567, 1234));
  }

  @Test
  void names_ofAnyCharacters() throws IOException {
    List<String> names =
        List.of(
            "", " ", "\"quoted\\\"", "new\nline", "\0", "\u007f", "größe", "层.0", "🙂", "\uffff");
    Map<String, Tensor> tensors = new LinkedHashMap<>();
    Map<String, String> metadata = new LinkedHashMap<>();
    for (String name : names) {
      tensors.put(name, Tensor.copyOf(arena, new float[] {tensors.size()}));
      metadata.put(name, name);
    }
    Path path = directory.resolve("a.safetensors");
    Safetensors.write(path, tensors, metadata);
    SafetensorsFile file = Safetensors.map(path, arena);
    assertEquals(tensors.keySet(), file.names());
    assertEquals(metadata, file.metadata());
    for (int i = 0; i < names.size(); i++) {
      assertEquals(i, file.tensor(names.get(i)).getFloat());
    }
    // By the bytes of UTF-8, where the last of two bytes' worth comes before the smiley.
    List<String> order = new ArrayList<>(file.names());
    assertTrue(order.indexOf("\uffff") < order.indexOf("🙂"), order.toString());
    String text = new String(Files.readAllBytes(path), StandardCharsets.UTF_8);
    assertTrue(text.contains("🙂") && text.contains("größe"), text);
  }

  @Test
  void write_overItsOwnInput() throws IOException {
    Path path = directory.resolve("a.safetensors");
    Safetensors.write(path, Map.of("w", Tensor.copyOf(arena, SIX, 2, 3)), Map.of());
    Tensor old = Safetensors.map(path, arena).tensor("w");
    Safetensors.write(path, Map.of("w", old.transpose(0, 1), "v", old), Map.of());
    assertArrayEquals(SIX, old.toFloatArray()); // the mapping holds the file that was
    SafetensorsFile file = Safetensors.map(path, arena);
    assertArrayEquals(new float[] {0, 3, 1, 4, 2, 5}, file.tensor("w").toFloatArray());
    assertArrayEquals(SIX, file.tensor("v").toFloatArray());
    assertEquals(List.of(path), list());
  }

  @Test
  void write_refusals_leaveTheOldFile() throws IOException {
    Path path = directory.resolve("a.safetensors");
    Tensor one = Tensor.copyOf(arena, new float[] {1}, 1);
    Safetensors.write(path, Map.of("a", one), Map.of());
    byte[] before = Files.readAllBytes(path);
    long[] ones = new long[65];
    Arrays.fill(ones, 1);
    List<Executable> wrong =
        List.of(
            () -> Safetensors.write(path, Map.of("__metadata__", one), Map.of()),
            () -> Safetensors.write(path, Map.of("n".repeat(4097), one), Map.of()),
            () -> Safetensors.write(path, Map.of("\ud800", one), Map.of()),
            () -> Safetensors.write(path, Map.of("a", one.reshape(ones)), Map.of()),
            () -> Safetensors.write(path, Map.of(), Map.of("k", "\udc00")),
            () -> Safetensors.write(path, Map.of(), Map.of("k".repeat(4097), "")),
            () -> Safetensors.write(path, Map.of(), Map.of("k", "v".repeat((16 << 20) + 1))));
    for (Executable write : wrong) {
      IllegalArgumentException e = assertThrows(IllegalArgumentException.class, write);
      assertTrue(e.getMessage().contains("expected"), e.getMessage());
      assertTrue(e.getMessage().length() < 400, e.getMessage());
    }
    Tensor closed;
    try (Arena gone = Arena.ofConfined()) {
      closed = Tensor.allocate(gone, DType.FLOAT32, 2, 3);
    }
    assertThrows(
        IllegalStateException.class,
        () -> Safetensors.write(path, Map.of("a", one, "b", closed), Map.of()));
    assertArrayEquals(before, Files.readAllBytes(path));
    assertEquals(List.of(path), list());
    Path missing = directory.resolve("none").resolve("a.safetensors");
    IOException e =
        assertThrows(IOException.class, () -> Safetensors.write(missing, Map.of(), Map.of()));
    assertEquals(missing + ": its directory does not exist", e.getMessage());
  }

  // ---- the JSON library, in a JVM of its own

  @Test
  void withoutJackson_theMessageSaysWhatToDo() throws Exception {
    Path path = directory.resolve("a.safetensors");
    Safetensors.write(path, Map.of("a", Tensor.copyOf(arena, new float[] {1}, 1)), Map.of());
    for (ChildJvm child : List.of(ChildJvm.onModulePath(), ChildJvm.onClassPath())) {
      List<String> lines =
          child.run("safetensors", path.toString()).expectSuccess().lines().toList();
      assertEquals(2, lines.size(), lines.toString());
      assertEquals(lines.get(0), lines.get(1));
      assertTrue(
          lines.get(0).startsWith("failure=")
              && lines.get(0).contains("add it to the class path")
              && lines.get(0).contains("--add-modules com.fasterxml.jackson.core"),
          lines.toString());
    }
  }

  @Test
  void jacksonOnTheClassPath_isEnough() throws Exception {
    Path path = directory.resolve("a.safetensors");
    Safetensors.write(path, Map.of("a", Tensor.copyOf(arena, new float[] {1}, 1)), Map.of());
    for (ChildJvm child : List.of(ChildJvm.onModulePath(), ChildJvm.onClassPath())) {
      child.onClassPathToo("com/fasterxml/jackson/core/JsonFactory.class");
      assertEquals("names=[a]", child.run("safetensors", path.toString()).expectSuccess());
    }
  }
}
