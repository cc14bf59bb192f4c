package dev.gatun.io;

import dev.gatun.DType;
import dev.gatun.internal.Messages;
import java.io.IOException;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.nio.channels.FileChannel;
import java.nio.charset.CharacterCodingException;
import java.nio.charset.Charset;
import java.nio.charset.StandardCharsets;
import java.nio.file.Path;
import java.util.Arrays;
import java.util.HexFormat;

/**
 * What stands before the data of an npy file: six magic bytes, a version, the length of the header,
 * and the header, a Python dictionary of {@code descr}, {@code fortran_order} and {@code shape}
 * padded with blanks. Read from the file with every number checked before it is used.
 */
final class NpyHeader {
  private static final byte[] MAGIC = {(byte) 0x93, 'N', 'U', 'M', 'P', 'Y'};

  /**
   * The data starts at a multiple of this, as NumPy writes it, so that a mapping of it is aligned.
   */
  private static final int ALIGNMENT = 64;

  /**
   * Three keys and a shape of a few numbers take a hundred bytes; more than this is not a header
   * but an attack.
   */
  private static final int MAX_LENGTH = 1 << 20;

  /** NumPy's limit. */
  private static final int MAX_RANK = 64;

  final DType dtype;
  final long[] shape;
  final long dataOffset;
  final long dataBytes;

  private NpyHeader(DType dtype, long[] shape, long dataOffset, long dataBytes) {
    this.dtype = dtype;
    this.shape = shape;
    this.dataOffset = dataOffset;
    this.dataBytes = dataBytes;
  }

  /** The bytes of a version 1.0 file before its data. */
  static byte[] bytes(DType dtype, long[] shape) {
    if (shape.length > MAX_RANK) {
      throw new IllegalArgumentException(
          "tensor: expected at most %d extents, got %d".formatted(MAX_RANK, shape.length));
    }
    StringBuilder text = new StringBuilder("{'descr': '").append(descr(dtype));
    text.append("', 'fortran_order': False, 'shape': ").append(tuple(shape)).append(", }");
    int start = MAGIC.length + 4;
    int blanks = -(start + text.length() + 1) & (ALIGNMENT - 1);
    text.repeat(" ", blanks).append('\n');
    ByteBuffer bytes = ByteBuffer.allocate(start + text.length()).order(ByteOrder.LITTLE_ENDIAN);
    bytes.put(MAGIC).put((byte) 1).put((byte) 0).putShort((short) text.length());
    return bytes.put(text.toString().getBytes(StandardCharsets.ISO_8859_1)).array();
  }

  private static String descr(DType dtype) {
    String order = ByteOrder.nativeOrder() == ByteOrder.LITTLE_ENDIAN ? "<" : ">";
    return switch (dtype) {
      case FLOAT32 -> order + "f4";
      case INT32 -> order + "i4";
      case INT64 -> order + "i8";
      case UINT8 -> "|u1";
      case BFLOAT16, FLOAT16, INT8 ->
          throw new IllegalArgumentException(
              "dtype: expected float32, int32, int64 or uint8, got " + dtype);
    };
  }

  private static String tuple(long[] shape) {
    if (shape.length == 1) {
      return "(" + shape[0] + ",)";
    }
    return Arrays.toString(shape).replace('[', '(').replace(']', ')');
  }

  static NpyHeader read(FileChannel channel, Path file) throws IOException {
    long size = channel.size();
    byte[] start = bytes(channel, 0, (int) Math.min(size, MAGIC.length + 2));
    int wrong = Arrays.mismatch(start, MAGIC);
    if (wrong >= 0 && wrong < Math.min(start.length, MAGIC.length)) {
      throw new NpyException(
          file,
          "not an npy file: expected it to start with the bytes "
              + hex(MAGIC)
              + " (\\x93NUMPY), it starts with "
              + hex(Arrays.copyOf(start, Math.min(start.length, MAGIC.length))));
    }
    if (start.length < MAGIC.length + 2) {
      throw truncated(file, "magic bytes and version", MAGIC.length + 2, size);
    }
    int major = Byte.toUnsignedInt(start[MAGIC.length]);
    int minor = Byte.toUnsignedInt(start[MAGIC.length + 1]);
    if (major < 1 || major > 3 || minor != 0) {
      throw new NpyException(
          file, "expected npy format version 1.0, 2.0 or 3.0, got " + major + "." + minor);
    }
    int lengthBytes = major == 1 ? 2 : 4;
    int headerStart = start.length + lengthBytes;
    if (size < headerStart) {
      throw truncated(file, "the header's length", headerStart, size);
    }
    ByteBuffer number =
        ByteBuffer.wrap(bytes(channel, start.length, lengthBytes)).order(ByteOrder.LITTLE_ENDIAN);
    long length =
        major == 1
            ? Short.toUnsignedLong(number.getShort())
            : Integer.toUnsignedLong(number.getInt());
    if (length > size - headerStart) {
      throw truncated(file, "a header of " + length + " bytes", headerStart + length, size);
    }
    if (length > MAX_LENGTH) {
      throw new NpyException(
          file, "expected a header of at most " + MAX_LENGTH + " bytes, got " + length);
    }
    Charset charset = major == 3 ? StandardCharsets.UTF_8 : StandardCharsets.ISO_8859_1;
    String text;
    try {
      text =
          charset
              .newDecoder()
              .decode(ByteBuffer.wrap(bytes(channel, headerStart, (int) length)))
              .toString();
    } catch (CharacterCodingException e) {
      throw new NpyException(file, "expected a header in " + charset + ", got other bytes");
    }
    return new Parser(file, text).parse(headerStart + length, size);
  }

  private static byte[] bytes(FileChannel channel, long position, int count) throws IOException {
    ByteBuffer bytes = ByteBuffer.allocate(count);
    while (bytes.hasRemaining() && channel.read(bytes, position + bytes.position()) >= 0) {}
    return Arrays.copyOf(bytes.array(), bytes.position());
  }

  private static NpyException truncated(Path file, String what, long expected, long size) {
    return new NpyException(
        file,
        "cut short: expected "
            + what
            + ", that is at least "
            + expected
            + " bytes, the file has "
            + size);
  }

  private static String hex(byte[] bytes) {
    return HexFormat.ofDelimiter(" ").formatHex(bytes);
  }

  /**
   * Reads the one form of Python literal that a header is: {@code {'key': value, …}} with each key
   * exactly once.
   */
  private static final class Parser {
    private final Path file;
    private final String text;
    private int at;
    private String descr;
    private Boolean fortranOrder;
    private long[] shape;

    Parser(Path file, String text) {
      this.file = file;
      this.text = text;
    }

    NpyHeader parse(long dataOffset, long size) throws NpyException {
      expect('{');
      while (peek() != '}') {
        String key = string("a quoted key");
        expect(':');
        value(key);
        if (peek() != '}') {
          expect(',');
        }
      }
      expect('}');
      peek();
      if (at < text.length()) {
        throw unexpected("blanks to the header's end");
      }
      if (descr == null || fortranOrder == null || shape == null) {
        String missing = descr == null ? "descr" : fortranOrder == null ? "fortran_order" : "shape";
        throw new NpyException(
            file,
            "expected the header to have the key '" + missing + "', got " + Messages.quoted(text));
      }
      DType dtype = dtype();
      if (fortranOrder && !isBothOrders()) {
        throw new NpyException(
            file,
            "expected C order ('fortran_order': False), got Fortran order (True);"
                + " numpy.ascontiguousarray helps");
      }
      long bytes = dtype.byteSize();
      try {
        // A dimension of 0 must not hide an overflow of the others: strides are products of those.
        long most = bytes;
        for (long extent : shape) {
          most = Math.multiplyExact(most, Math.max(1, extent));
          bytes *= extent;
        }
      } catch (ArithmeticException e) {
        throw new NpyException(
            file, "expected a shape of less than 2^63 bytes, got " + tuple(shape));
      }
      if (bytes > size - dataOffset) {
        throw new NpyException(
            file,
            "cut short: expected "
                + bytes
                + " bytes of data for shape "
                + tuple(shape)
                + ", got "
                + (size - dataOffset));
      }
      return new NpyHeader(dtype, shape, dataOffset, bytes);
    }

    /** Whether numbers lie the same in both orders: in one row, or not at all. */
    private boolean isBothOrders() {
      return Arrays.stream(shape).filter(extent -> extent > 1).count() <= 1
          || Arrays.stream(shape).anyMatch(extent -> extent == 0);
    }

    private void value(String key) throws NpyException {
      switch (key) {
        case "descr" -> {
          refuseSecond(descr, key);
          if (peek() == '[') {
            throw new NpyException(
                file,
                "expected one element type (descr '<f4', '<i4' or '<i8'), got a structured type");
          }
          descr = string("a quoted type string as 'descr'");
        }
        case "fortran_order" -> {
          refuseSecond(fortranOrder, key);
          fortranOrder = bool();
        }
        case "shape" -> {
          refuseSecond(shape, key);
          shape = shape();
        }
        default ->
            throw new NpyException(
                file,
                "expected the header's keys 'descr', 'fortran_order' and 'shape', got "
                    + Messages.quoted(key));
      }
    }

    private void refuseSecond(Object value, String key) throws NpyException {
      if (value != null) {
        throw new NpyException(file, "expected the header's key '" + key + "' once, got twice");
      }
    }

    private DType dtype() throws NpyException {
      boolean little = ByteOrder.nativeOrder() == ByteOrder.LITTLE_ENDIAN;
      // '=' and '|' (and no sign at all) mean this machine's order to NumPy as well.
      char order = descr.isEmpty() ? 0 : descr.charAt(0);
      String type = "<>=|".indexOf(order) >= 0 ? descr.substring(1) : descr;
      DType dtype =
          switch (type) {
            case "f4" -> DType.FLOAT32;
            case "i4" -> DType.INT32;
            case "i8" -> DType.INT64;
            case "u1", "b1" -> DType.UINT8;
            default -> null;
          };
      String expected =
          "expected float32, int32, int64, uint8 or bool ('<f4', '<i4', '<i8', '|u1', '|b1'), got"
              + " descr "
              + Messages.quoted(descr);
      if (dtype == null) {
        throw new NpyException(file, expected);
      }
      if (order == (little ? '>' : '<') && dtype.byteSize() > 1) {
        throw new NpyException(
            file, expected + ", which is " + (little ? "big" : "little") + "-endian");
      }
      return dtype;
    }

    private long[] shape() throws NpyException {
      long[] extents = new long[8];
      int count = 0;
      expect('(');
      while (peek() != ')') {
        if (count == MAX_RANK) {
          throw new NpyException(
              file, "expected a shape of at most " + MAX_RANK + " extents, got more");
        }
        if (count == extents.length) {
          extents = Arrays.copyOf(extents, 2 * count);
        }
        extents[count++] = extent();
        // Without a comma a tuple of one would be a number in brackets.
        if (count == 1 || peek() != ')') {
          expect(',');
        }
      }
      expect(')');
      return Arrays.copyOf(extents, count);
    }

    private long extent() throws NpyException {
      peek();
      int from = at;
      if (at < text.length() && text.charAt(at) == '-') {
        at++;
      }
      while (at < text.length() && text.charAt(at) >= '0' && text.charAt(at) <= '9') {
        at++;
      }
      String digits = text.substring(from, at);
      if (digits.isEmpty() || digits.equals("-")) {
        at = from;
        throw unexpected("a whole number in 'shape'");
      }
      if (at < text.length() && text.charAt(at) == 'L') {
        at++; // Python 2 wrote long integers so.
      }
      try {
        long extent = Long.parseLong(digits);
        if (extent >= 0) {
          return extent;
        }
      } catch (NumberFormatException e) {
        // Too many digits: refused like a negative number.
      }
      throw new NpyException(
          file,
          "expected every extent of the shape in 0 .. 2^63 - 1, got " + Messages.quoted(digits));
    }

    private boolean bool() throws NpyException {
      peek();
      for (String word : new String[] {"True", "False"}) {
        if (text.startsWith(word, at)) {
          at += word.length();
          return word.equals("True");
        }
      }
      throw unexpected("True or False as 'fortran_order'");
    }

    private String string(String what) throws NpyException {
      char quote = peek();
      if (quote != '\'' && quote != '"') {
        throw unexpected(what);
      }
      int end = text.indexOf(quote, at + 1);
      if (end < 0) {
        throw unexpected(what);
      }
      String value = text.substring(at + 1, end);
      if (value.indexOf('\\') >= 0) {
        throw unexpected(what + " without escapes");
      }
      at = end + 1;
      return value;
    }

    private void expect(char wanted) throws NpyException {
      if (peek() != wanted) {
        throw unexpected("'" + wanted + "'");
      }
      at++;
    }

    /** The next character that is not blank, or 0 at the end; it becomes the current one. */
    private char peek() {
      while (at < text.length() && " \t\n\r\f".indexOf(text.charAt(at)) >= 0) {
        at++;
      }
      return at < text.length() ? text.charAt(at) : 0;
    }

    private NpyException unexpected(String expected) {
      String got = at < text.length() ? Messages.quoted(text.substring(at)) : "the header's end";
      return new NpyException(
          file,
          "damaged header: expected " + expected + " at its character " + at + ", got " + got);
    }
  }
}
