package dev.gatun.model;

import dev.gatun.GatunException;
import dev.gatun.internal.FreshThread;
import dev.gatun.internal.HuggingFace;
import dev.gatun.internal.Json;
import dev.gatun.internal.TokenizerLibrary;
import java.io.IOException;
import java.io.UncheckedIOException;
import java.lang.ref.Cleaner;
import java.lang.ref.Reference;
import java.nio.file.FileSystemException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import java.util.Objects;
import java.util.function.Supplier;

/**
 * Turns text into token ids exactly as a {@code tokenizer.json} says, by Hugging Face's own library
 * in the optional jar {@code ai.djl.huggingface:tokenizers}. Start the JVM with {@code
 * --enable-native-access=ALL-UNNAMED} for it.
 *
 * <p>The file is read before the library sees it, and refused if it has a component, a key or a
 * value that is not known to be safe: the library ends the process where it is surprised. Known are
 * the models WordPiece, WordLevel, BPE and Unigram and all normalizers, pre-tokenizers,
 * post-processors and decoders of version 1.0, regular expressions of published tokenizers and ids
 * of 31 bits. BPE must not drop merges at random.
 *
 * <p>Padding that the file asks for is left out: models here need none. A text that is too long is
 * cut as the file says, on its side, whatever its strategy says about pairs of texts, and {@link
 * Tokenized} tells.
 *
 * <p>Immutable, for any number of threads. A call allocates two arrays of the text's token count,
 * of longs and of ints, on the Java heap, and nothing else but the result. The library's memory
 * (some 10 MB) is freed when this object is no longer reachable.
 */
public final class Tokenizer {
  /** For files that say nothing: the positions that BERT models have. */
  public static final int DEFAULT_MAX_TOKENS = 512;

  /** A text is tokenized as a whole up to so many characters. */
  private static final int WHOLE_CHARS = 1 << 16;

  /** And up to so many for each token that it is cut to. */
  private static final int CHARS_PER_TOKEN = 32;

  /** Whether one was made: the first is made where the whole stack is free. */
  private static volatile boolean made;

  private static final class Freeing {
    static final Cleaner CLEANER = Cleaner.create();
  }

  /** A text is cut anywhere only after so many characters without a place for it. */
  private static final int ANYWHERE_CHARS = 1 << 18;

  /** Only tokens so far from such a cut are kept: those next to it may be other ones. */
  private static final int DOUBTFUL_TOKENS = 128;

  private final long handle;
  private final int highestId;
  private final int maxTokens;
  private final boolean keepsEnd;
  private final TokenizerTemplate template;
  private final TextCuts cuts;

  private Tokenizer(TokenizerFile file) {
    TokenizerLibrary.load();
    checkNormalized(file);
    handle = HuggingFace.create(file.json());
    long freed = handle;
    Freeing.CLEANER.register(this, () -> HuggingFace.delete(freed));
    highestId = file.highestId();
    maxTokens = file.maxTokens();
    keepsEnd = file.keepsEnd();
    template = file.template();
    cuts = file.cuts();
  }

  /** An added token of which the normalizer leaves nothing would be found everywhere. */
  private static void checkNormalized(TokenizerFile file) {
    if (file.probe() == null) {
      return;
    }
    long probe = HuggingFace.create(file.probe());
    try {
      for (Json content : file.normalized()) {
        if (ids(probe, content.string()).length == 0) {
          throw content.expected("a text of which the normalizer leaves something");
        }
      }
    } finally {
      HuggingFace.delete(probe);
    }
  }

  /**
   * Makes a tokenizer.
   *
   * @param json the bytes of a tokenizer.json, UTF-8
   * @return a tokenizer that cuts to what the file says, or to {@link #DEFAULT_MAX_TOKENS}
   * @throws IllegalArgumentException if the bytes are no tokenizer, or one with something that is
   *     not known to be safe; the message says where and what was expected
   * @throws GatunException if the library is not on the class path, or cannot be loaded
   */
  public static Tokenizer load(byte[] json) {
    return load(json, TokenizerConfig.NONE);
  }

  private static Tokenizer load(byte[] json, TokenizerConfig config) {
    Loading loading = new Loading(json, config);
    if (made) {
      return loading.get();
    }
    Tokenizer first = FreshThread.call("gatun-tokenizer", loading);
    made = true;
    return first;
  }

  private record Loading(byte[] json, TokenizerConfig config) implements Supplier<Tokenizer> {
    @Override
    public Tokenizer get() {
      TokenizerFile file = TokenizerFile.read(json);
      config.check(file.document());
      return new Tokenizer(file);
    }
  }

  /**
   * Makes a tokenizer.
   *
   * @param file a tokenizer.json
   * @return as of {@link #load(byte[])}
   * @throws IOException if the file cannot be read or is refused; the message names it
   * @throws GatunException if the library is not on the class path, or cannot be loaded
   */
  public static Tokenizer load(Path file) throws IOException {
    return load(file, TokenizerConfig.NONE);
  }

  /** Makes a tokenizer of a file that has to do what others say about it. */
  static Tokenizer load(Path file, TokenizerConfig config) throws IOException {
    Json.requireFile(file);
    byte[] json = Files.readAllBytes(file);
    try {
      return load(json, config);
    } catch (UncheckedIOException e) {
      throw e.getCause();
    } catch (IllegalArgumentException e) {
      FileSystemException named =
          new FileSystemException(file.toString(), null, "no tokenizer: " + e.getMessage());
      named.initCause(e);
      throw named;
    }
  }

  /**
   * {@return what texts are cut to unless a call says otherwise: tokens, those of the template
   * included}
   */
  public int maxTokens() {
    return maxTokens;
  }

  /** Returns what it puts around a text. */
  TokenizerTemplate template() {
    return template;
  }

  /** Returns the highest id that a text can get. */
  int highestId() {
    return highestId;
  }

  /**
   * Tokenizes a text, cut to {@link #maxTokens}.
   *
   * @param text as of {@link #encode(String, int)}
   * @return its tokens
   * @throws IllegalArgumentException as of {@link #encode(String, int)}
   */
  public Tokenized encode(String text) {
    return encode(text, maxTokens);
  }

  /**
   * Tokenizes a text.
   *
   * <p>Of a text of more than 65,536 characters and more than 32 for each of maxTokens, only a part
   * is tokenized that surely has more tokens than are kept: it ends (or begins) before a space
   * after an ASCII letter or digit, and for BERT before any space or Chinese character, where the
   * tokens on one side do not depend on the other. The ids are those of the whole text; {@link
   * Tokenized#originalCount} counts the part.
   *
   * <p>Where 262,144 characters (and twice what 32 for each of maxTokens are) have no such place,
   * as in one endless word, the part ends (or begins) at any code point, at least 128 tokens away
   * from those that are kept. A text that goes on so long without such a place may get other tokens
   * than as a whole, by the part's first (or last) word. No part has more than 1,048,576 characters
   * once it is decomposed as its normalizers do; if that has fewer tokens than are kept (it is all
   * spaces), the text is cut to them, and counts as truncated.
   *
   * @param text any text; unpaired surrogates count as U+FFFD
   * @param maxTokens what to cut it to, the tokens of the template included; not limited by what
   *     the file says
   * @return its tokens
   * @throws IllegalArgumentException if maxTokens leaves no room for the template, or is more than
   *     32,768 and a longer part would be needed for so many
   */
  public Tokenized encode(String text, int maxTokens) {
    if (maxTokens < template.count()) {
      throw new IllegalArgumentException(
          "maxTokens: expected at least %d, got %d".formatted(template.count(), maxTokens));
    }
    Objects.requireNonNull(text, "text");
    int kept = maxTokens - template.count();
    try {
      return keepsEnd ? encodeEnd(text, kept) : encodeStart(text, kept);
    } finally {
      Reference.reachabilityFence(this);
    }
  }

  /**
   * Returns tokens as the vocabulary has them: {@code "##ing"}, {@code "Ġthe"}, {@code "▁the"}.
   *
   * @param ids of {@link Tokenized#ids}
   * @return a text for each, in the order given; of an id that the vocabulary does not have, its
   *     number
   * @throws IllegalArgumentException if an id is negative
   */
  public List<String> tokens(int... ids) {
    String[] tokens = new String[ids.length];
    try {
      for (int i = 0; i < tokens.length; i++) {
        int id = ids[i];
        if (id < 0) {
          throw new IllegalArgumentException(
              "ids[%d]: expected 0 or more, got %d".formatted(i, id));
        }
        String token = HuggingFace.token(handle, id);
        tokens[i] = token.isEmpty() ? Integer.toString(id) : token;
      }
    } finally {
      Reference.reachabilityFence(this);
    }
    return List.of(tokens);
  }

  private Tokenized encodeStart(String text, int kept) {
    long chars = Math.max(WHOLE_CHARS, (long) CHARS_PER_TOKEN * kept);
    while (true) {
      int longest = cuts.longestStart(text, most(chars));
      boolean limited = longest < Math.min(text.length(), most(chars)) - 1;
      boolean whole = longest == text.length();
      int end = chars >= text.length() ? -1 : cuts.next(text, (int) chars, longest);
      boolean clean = end >= 0 || whole;
      if (end < 0) {
        end = whole ? longest : TextCuts.nearSpaceBefore(text, longest);
      }
      long[] all = ids(handle, text.substring(0, end));
      if (end == text.length() || all.length > kept + (clean ? 0L : DOUBTFUL_TOKENS)) {
        return cut(all, 0, kept, false);
      }
      if (!clean && (limited || most(chars) == TextCuts.MAX_CHARS)) {
        requireEnough(text, all.length, kept);
        return cut(all, 0, kept, true);
      }
      chars = 2L * Math.max(chars, end);
    }
  }

  /** The first word of the part may be tokenized otherwise than in the text, and is left out. */
  private Tokenized encodeEnd(String text, int kept) {
    int length = text.length();
    long chars = Math.max(WHOLE_CHARS, (long) CHARS_PER_TOKEN * kept);
    while (true) {
      int longest = cuts.longestEnd(text, most(chars));
      boolean limited = longest > Math.max(length - most(chars), 0) + 1;
      int second = chars >= length ? -1 : cuts.previous(text, (int) (length - chars), longest);
      int first = second < 0 ? -1 : cuts.previous(text, second - 1, longest);
      boolean clean = first >= 0 || longest == 0;
      if (first < 0) {
        first = longest == 0 ? 0 : TextCuts.nearSpaceAfter(text, longest);
      }
      long[] all = ids(handle, text.substring(first));
      int other = first == 0 || !clean ? 0 : ids(handle, text.substring(first, second)).length;
      if (first == 0 || all.length - other > kept + (clean ? 0L : DOUBTFUL_TOKENS)) {
        return cut(all, other, kept, false);
      }
      if (!clean && (limited || most(chars) == TextCuts.MAX_CHARS)) {
        requireEnough(text, all.length, kept);
        return cut(all, 0, kept, true);
      }
      chars = 2L * Math.max(chars, length - first);
    }
  }

  /** Returns how long a part may become that begins with so many characters. */
  private static int most(long chars) {
    return (int) Math.min(Math.max(ANYWHERE_CHARS, 2 * chars), TextCuts.MAX_CHARS);
  }

  /** As many tokens as were asked for may need a longer part than the library is given. */
  private static void requireEnough(String text, int tokens, int kept) {
    if (tokens <= kept && (long) CHARS_PER_TOKEN * kept > TextCuts.MAX_CHARS) {
      throw new IllegalArgumentException(
          "text: expected at most %d characters for more than %d tokens, got %d"
              .formatted(TextCuts.MAX_CHARS, tokens, text.length()));
    }
  }

  /** Leaves out tokens of the text at its end (or start), and puts the template around the rest. */
  private Tokenized cut(long[] all, int from, int most, boolean goesOn) {
    int count = all.length - from;
    int kept = Math.min(count, most);
    int[] before = template.before();
    int[] after = template.after();
    int[] ids = new int[before.length + kept + after.length];
    System.arraycopy(before, 0, ids, 0, before.length);
    int start = keepsEnd ? all.length - kept : from;
    for (int i = 0; i < kept; i++) {
      ids[before.length + i] = Math.toIntExact(all[start + i]);
    }
    System.arraycopy(after, 0, ids, before.length + kept, after.length);
    return new Tokenized(ids, (goesOn ? Math.max(count, kept + 1) : count) + template.count());
  }

  private static long[] ids(long tokenizer, String text) {
    long encoding = HuggingFace.encode(tokenizer, wellFormed(text));
    try {
      return HuggingFace.ids(encoding);
    } finally {
      HuggingFace.deleteEncoding(encoding);
    }
  }

  /** One unpaired surrogate would make the library misread all other characters beyond U+FFFF. */
  private static String wellFormed(String text) {
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
