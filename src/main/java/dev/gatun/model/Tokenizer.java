package dev.gatun.model;

import dev.gatun.GatunException;
import dev.gatun.internal.HuggingFace;
import dev.gatun.internal.TokenizerLibrary;
import java.io.IOException;
import java.lang.ref.Cleaner;
import java.lang.ref.Reference;
import java.nio.charset.StandardCharsets;
import java.nio.file.FileSystemException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Arrays;
import java.util.Objects;

/**
 * Turns text into token ids exactly as a {@code tokenizer.json} says, by Hugging Face's own library
 * in the optional jar {@code ai.djl.huggingface:tokenizers}. Start the JVM with {@code
 * --enable-native-access=ALL-UNNAMED} for it.
 *
 * <p>Padding that the file asks for is left out: models here need none. A text that is too long is
 * cut as the file says, on its side, and {@link Tokenized} tells.
 *
 * <p>Immutable, for any number of threads. A call allocates two arrays of the text's token count,
 * of longs and of ints, on the Java heap, and nothing else but the result. The library's memory
 * (some 10 MB) is freed when this object is no longer reachable.
 */
public final class Tokenizer {
  /** For files that say nothing: the positions that BERT models have. */
  public static final int DEFAULT_MAX_TOKENS = 512;

  /** Nobody cuts at the start of texts that are longer than this. */
  private static final int MAX_PROBE = 1 << 16;

  private static final Cleaner CLEANER = Cleaner.create();

  private final long handle;
  private final int maxTokens;
  private final int templateTokens;
  private final boolean keepsEnd;

  private Tokenizer(String json) {
    TokenizerLibrary.load();
    handle = HuggingFace.create(json);
    long freed = handle;
    CLEANER.register(this, () -> HuggingFace.delete(freed));
    HuggingFace.disablePadding(handle);
    int declared = HuggingFace.maxLength(handle);
    maxTokens = declared < 0 ? DEFAULT_MAX_TOKENS : declared;
    keepsEnd = declared >= 0 && keepsEnd(declared);
    HuggingFace.disableTruncation(handle);
    templateTokens = encodeAll("").length;
    if (maxTokens < templateTokens) {
      throw new IllegalArgumentException(
          "truncation: expected a max_length of at least %d, got %d"
              .formatted(templateTokens, maxTokens));
    }
  }

  /** The library does not tell the side it cuts at, so that two texts are cut to see it. */
  private boolean keepsEnd(int declared) {
    if (declared > MAX_PROBE) {
      return false;
    }
    String text = "a ".repeat(declared + 1);
    return !Arrays.equals(encodeAll(text), encodeAll(text + "b"));
  }

  /**
   * Makes a tokeniser.
   *
   * @param json the bytes of a tokenizer.json, UTF-8
   * @return a tokeniser that cuts to what the file says, or to {@link #DEFAULT_MAX_TOKENS}
   * @throws IllegalArgumentException if the bytes are no tokeniser, with the library's reason
   * @throws GatunException if the library is not on the class path, or cannot be loaded
   */
  public static Tokenizer load(byte[] json) {
    return new Tokenizer(new String(json, StandardCharsets.UTF_8));
  }

  /**
   * Makes a tokeniser.
   *
   * @param file a tokenizer.json
   * @return as of {@link #load(byte[])}
   * @throws IOException if the file cannot be read or is no tokeniser; the message names it
   * @throws GatunException if the library is not on the class path, or cannot be loaded
   */
  public static Tokenizer load(Path file) throws IOException {
    byte[] json = Files.readAllBytes(file);
    try {
      return load(json);
    } catch (IllegalArgumentException e) {
      FileSystemException named =
          new FileSystemException(file.toString(), null, "no tokeniser: " + e.getMessage());
      named.initCause(e);
      throw named;
    }
  }

  /**
   * Returns what texts are cut to unless a call says otherwise.
   *
   * @return tokens, those of the template included
   */
  public int maxTokens() {
    return maxTokens;
  }

  /**
   * Tokenises a text, cut to {@link #maxTokens}.
   *
   * @param text any text; unpaired surrogates count as U+FFFD
   * @return its tokens
   */
  public Tokenized encode(String text) {
    return encode(text, maxTokens);
  }

  /**
   * Tokenises a text.
   *
   * @param text any text; unpaired surrogates count as U+FFFD
   * @param maxTokens what to cut it to, the tokens of the template included; not limited by what
   *     the file says
   * @return its tokens
   * @throws IllegalArgumentException if maxTokens leaves no room for the template
   */
  public Tokenized encode(String text, int maxTokens) {
    if (maxTokens < templateTokens) {
      throw new IllegalArgumentException(
          "maxTokens: expected at least %d, got %d".formatted(templateTokens, maxTokens));
    }
    long encoding = HuggingFace.encode(handle, wellFormed(text));
    try {
      long[] all = HuggingFace.ids(encoding);
      int[] ids = new int[Math.min(all.length, maxTokens)];
      if (ids.length == all.length) {
        copy(all, 0, ids, 0, ids.length);
      } else {
        cut(all, HuggingFace.specialTokenMask(encoding), ids);
      }
      return new Tokenized(ids, all.length);
    } finally {
      HuggingFace.deleteEncoding(encoding);
      Reference.reachabilityFence(this);
    }
  }

  /** Leaves out tokens of the text at its end (or start), and none of the template around it. */
  private void cut(long[] all, long[] special, int[] ids) {
    int before = 0;
    while (before < templateTokens && special[before] != 0) {
      before++;
    }
    int after = templateTokens - before;
    int kept = ids.length - templateTokens;
    int from = keepsEnd ? all.length - after - kept : before;
    copy(all, 0, ids, 0, before);
    copy(all, from, ids, before, kept);
    copy(all, all.length - after, ids, before + kept, after);
  }

  private static void copy(long[] from, int start, int[] to, int at, int count) {
    for (int i = 0; i < count; i++) {
      to[at + i] = Math.toIntExact(from[start + i]);
    }
  }

  private long[] encodeAll(String text) {
    long encoding = HuggingFace.encode(handle, text);
    try {
      return HuggingFace.ids(encoding);
    } finally {
      HuggingFace.deleteEncoding(encoding);
    }
  }

  /** One unpaired surrogate would make the library misread all other characters beyond U+FFFF. */
  private static String wellFormed(String text) {
    Objects.requireNonNull(text, "text");
    char[] copy = null;
    for (int i = 0; i < text.length(); i++) {
      char c = text.charAt(i);
      if (!Character.isSurrogate(c)) {
        continue;
      }
      if (Character.isHighSurrogate(c)
          && i + 1 < text.length()
          && Character.isLowSurrogate(text.charAt(i + 1))) {
        i++;
      } else {
        copy = copy == null ? text.toCharArray() : copy;
        copy[i] = '\ufffd';
      }
    }
    return copy == null ? text : new String(copy);
  }

  /** Returns what texts are cut to. */
  @Override
  public String toString() {
    return "Tokenizer(max %d tokens%s)".formatted(maxTokens, keepsEnd ? ", keeps the end" : "");
  }
}
