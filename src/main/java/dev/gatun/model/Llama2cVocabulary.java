package dev.gatun.model;

import java.io.IOException;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.nio.charset.StandardCharsets;
import java.nio.file.FileSystemException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Arrays;
import java.util.HashMap;
import java.util.Map;

/**
 * A vocabulary in llama2.c's format, and its rule: a space before the text, characters that the
 * vocabulary has and bytes of those it has not, then the pair of the best score is merged until
 * there is none.
 */
final class Llama2cVocabulary implements TextVocabulary {

  static final int BEGIN = 1;
  static final int END = 2;

  /** The tokens of bytes come after {@code <unk>}, the beginning and the end. */
  private static final int FIRST_BYTE = 3;

  private final byte[][] tokens;
  private final float[] scores;
  private final int longest;

  /** A token's bytes as characters of ISO 8859-1. */
  private final Map<String, Integer> ids = new HashMap<>();

  private Llama2cVocabulary(byte[][] tokens, float[] scores) {
    this.tokens = tokens;
    this.scores = scores;
    int most = 1;
    for (int n = 0; n < tokens.length; n++) {
      ids.putIfAbsent(new String(tokens[n], StandardCharsets.ISO_8859_1), n);
      most = Math.max(most, tokens[n].length);
    }
    this.longest = most;
  }

  /**
   * Reads a file: the longest token's length, then for each token its score, length and bytes.
   *
   * @throws IOException naming the file if it is anything else
   */
  static Llama2cVocabulary read(Path file, int count) throws IOException {
    ByteBuffer in = ByteBuffer.wrap(Files.readAllBytes(file)).order(ByteOrder.LITTLE_ENDIAN);
    if (in.remaining() < Integer.BYTES) {
      throw refused(file, "a length of 4 bytes at its beginning", in.remaining() + " bytes");
    }
    in.getInt();
    byte[][] tokens = new byte[count][];
    float[] scores = new float[count];
    for (int n = 0; n < count; n++) {
      if (in.remaining() < 2 * Integer.BYTES) {
        throw refused(file, count + " tokens, as the model has", "an end after " + n);
      }
      scores[n] = in.getFloat();
      int length = in.getInt();
      if (length < 0 || length > in.remaining() || Float.isNaN(scores[n])) {
        throw refused(
            file,
            "token %d to have a score and at most %d bytes".formatted(n, in.remaining()),
            scores[n] + " and " + length);
      }
      tokens[n] = new byte[length];
      in.get(tokens[n]);
    }
    if (in.hasRemaining()) {
      throw refused(
          file, count + " tokens, as the model has", in.remaining() + " bytes after them");
    }
    return new Llama2cVocabulary(tokens, scores);
  }

  private static FileSystemException refused(Path file, String expected, String got) {
    return new FileSystemException(
        file.toString(),
        null,
        "no vocabulary of llama2.c: expected %s, got %s".formatted(expected, got));
  }

  @Override
  public int[] encode(String text, boolean first, int most) {
    byte[] bytes = text.getBytes(StandardCharsets.UTF_8);
    // Merging looks at all pairs for each merge: what cannot fit is not begun.
    if (bytes.length > (long) longest * most) {
      throw new IllegalArgumentException(
          "prompt: expected at most %d tokens, got a text of %d bytes"
              .formatted(most, bytes.length));
    }
    int[] ids = new int[bytes.length + 2];
    int count = 0;
    if (first) {
      ids[count++] = BEGIN;
    }
    Integer space = this.ids.get(" ");
    if (bytes.length > 0 && space != null) {
      ids[count++] = space;
    }
    for (int at = 0; at < bytes.length; ) {
      int end = at + 1;
      while (end < bytes.length && (bytes[end] & 0xC0) == 0x80) {
        end++;
      }
      Integer id = id(bytes, at, end);
      if (id != null) {
        ids[count++] = id;
      } else {
        for (int n = at; n < end; n++) {
          ids[count++] = Math.min((bytes[n] & 0xFF) + FIRST_BYTE, highestId());
        }
      }
      at = end;
    }
    count = merge(ids, count);
    if (count > most) {
      throw new IllegalArgumentException(
          "prompt: expected at most %d tokens, got %d".formatted(most, count));
    }
    return Arrays.copyOf(ids, count);
  }

  private Integer id(byte[] bytes, int from, int to) {
    return ids.get(new String(bytes, from, to - from, StandardCharsets.ISO_8859_1));
  }

  private int merge(int[] ids, int length) {
    int count = length;
    while (true) {
      int best = -1;
      int merged = 0;
      for (int n = 0; n + 1 < count; n++) {
        Integer id = pair(ids[n], ids[n + 1]);
        if (id != null && (best < 0 || scores[id] > scores[merged])) {
          best = n;
          merged = id;
        }
      }
      if (best < 0) {
        return count;
      }
      ids[best] = merged;
      System.arraycopy(ids, best + 2, ids, best + 1, count - best - 2);
      count--;
    }
  }

  private Integer pair(int left, int right) {
    byte[] both = Arrays.copyOf(tokens[left], tokens[left].length + tokens[right].length);
    System.arraycopy(tokens[right], 0, both, tokens[left].length, tokens[right].length);
    return id(both, 0, both.length);
  }

  @Override
  public byte[] bytes(int token, int previous) {
    if (token == BEGIN || token == END) {
      return new byte[0];
    }
    byte[] piece = tokens[token];
    int value = ByteTokens.value(new String(piece, StandardCharsets.ISO_8859_1));
    if (value >= 0) {
      return new byte[] {(byte) value};
    }
    // The space that was put before the text.
    boolean leading = previous == BEGIN && piece.length > 0 && piece[0] == ' ';
    return leading ? Arrays.copyOfRange(piece, 1, piece.length) : piece;
  }

  @Override
  public int highestId() {
    return tokens.length - 1;
  }
}
