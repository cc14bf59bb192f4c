package dev.gatun.cli;

import java.io.IOException;
import java.io.InputStream;
import java.nio.ByteBuffer;
import java.nio.CharBuffer;
import java.nio.charset.CharsetDecoder;
import java.nio.charset.CoderResult;
import java.nio.charset.CodingErrorAction;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Arrays;

/**
 * The lines of a UTF-8 file or of standard input: split at \n and nowhere else, blank ones
 * included. A \n at the end begins no further line. One line at a time is in memory.
 */
final class TextLines implements AutoCloseable {
  private static final int MOST_BYTES = 16 << 20;
  private static final int BUFFER_BYTES = 1 << 16;

  private static final String STANDARD_INPUT = "-";

  /** The option that named it, and the file. */
  private final String name;

  private final InputStream in;
  private final byte[] buffer = new byte[BUFFER_BYTES];
  private int begin;
  private int end;
  private byte[] line = new byte[256];
  private int length;
  private long number;
  private final CharsetDecoder decoder =
      StandardCharsets.UTF_8
          .newDecoder()
          .onMalformedInput(CodingErrorAction.REPORT)
          .onUnmappableCharacter(CodingErrorAction.REPORT);

  private TextLines(String name, InputStream in) {
    this.name = name;
    this.in = in;
  }

  /** Whether a file's name stands for standard input. */
  static boolean isStandardInput(Path file) {
    return file.toString().equals(STANDARD_INPUT);
  }

  /**
   * The file that an option names, or standard input where there is no such option and something
   * may come from there: nobody is left waiting for what is to be typed.
   *
   * @return null if there is neither
   */
  static Path fileOrInput(Path file, Streams streams) {
    return file == null && !streams.inIsTerminal() ? Path.of(STANDARD_INPUT) : file;
  }

  /** Opens the file that an option names, {@code -} for standard input. */
  static TextLines open(String option, Path file, Streams streams) {
    if (isStandardInput(file)) {
      return new TextLines("standard input", streams.in());
    }
    try {
      return new TextLines(option + " " + file, Files.newInputStream(file));
    } catch (IOException e) {
      throw CliException.of(option, file, e);
    }
  }

  /**
   * Reads a file to its end, so that a mistake in it is found before anything is computed. Returns
   * its lines, or -1 if it can be read only once, as a pipe.
   */
  static long check(String option, Path file, Streams streams) {
    if (isStandardInput(file)
        || Files.exists(file) && !Files.isRegularFile(file) && !Files.isDirectory(file)) {
      return -1;
    }
    try (TextLines lines = open(option, file, streams)) {
      while (lines.next() != null) {
        // counted
      }
      return lines.number;
    }
  }

  /** Returns the next line without its \n, or null after the last. */
  String next() {
    try {
      return read();
    } catch (IOException e) {
      throw CliException.of(name, e);
    }
  }

  private String read() throws IOException {
    length = 0;
    boolean found = false;
    while (!found) {
      if (begin == end) {
        begin = 0;
        end = Math.max(0, in.read(buffer));
        if (end == 0) {
          break;
        }
      }
      int stop = begin;
      while (stop < end && buffer[stop] != '\n') {
        stop++;
      }
      append(stop - begin);
      found = stop < end;
      begin = found ? stop + 1 : stop;
    }
    if (!found && length == 0) {
      return null;
    }
    number++;
    return decode();
  }

  private void append(int count) {
    if (length + count > MOST_BYTES) {
      throw mistake(number + 1, "expected at most %d bytes".formatted(MOST_BYTES));
    }
    if (length + count > line.length) {
      line = Arrays.copyOf(line, Math.max(2 * line.length, length + count));
    }
    System.arraycopy(buffer, begin, line, length, count);
    length += count;
  }

  private String decode() {
    ByteBuffer bytes = ByteBuffer.wrap(line, 0, length);
    CharBuffer chars = CharBuffer.allocate(length); // UTF-8 has no fewer bytes than UTF-16 units
    CoderResult result = decoder.reset().decode(bytes, chars, true);
    if (result.isError()) {
      throw mistake(
          number,
          "byte %d (0x%02x) is not UTF-8"
              .formatted(bytes.position() + 1, line[bytes.position()] & 0xff));
    }
    return chars.flip().toString();
  }

  private CliException mistake(long line, String what) {
    return new CliException("%s: line %d: %s".formatted(name, line, what));
  }

  @Override
  public void close() {
    try {
      in.close();
    } catch (IOException e) {
      throw CliException.of(name, e);
    }
  }
}
