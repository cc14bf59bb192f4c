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
import java.util.Arrays;
import java.util.List;
import java.util.Map;
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
 * cut as the file says, on its side, and {@link Tokenized} tells; its strategy is about pairs of
 * texts only.
 *
 * <p>Immutable, for any number of threads. A call allocates two arrays of the text's token count,
 * of longs and of ints, on the Java heap, and nothing of its size else but the result. The
 * library's memory (some 10 MB) is freed when this object is no longer reachable.
 */
public final class Tokenizer {
  /** For files that say nothing: the positions that BERT models have. */
  public static final int DEFAULT_MAX_TOKENS = 512;

  /** Whether one was made: the first is made where the whole stack is free. */
  private static volatile boolean made;

  private static final class Freeing {
    static final Cleaner CLEANER = Cleaner.create();
  }

  private final long handle;
  private final int highestId;
  private final TokenTable table;
  private final Map<String, Integer> specialTokens;
  private final int maxTokens;
  private final boolean keepsEnd;
  private final PairCutting cutting;
  private final TokenizerTemplate template;
  private final TextReader reader;

  private Tokenizer(TokenizerFile file) {
    TokenizerLibrary.load();
    checkNormalized(file);
    handle = HuggingFace.create(file.json());
    long freed = handle;
    Freeing.CLEANER.register(this, () -> HuggingFace.delete(freed));
    highestId = file.vocabulary().highestId();
    table = file.vocabulary().table();
    specialTokens = file.vocabulary().special();
    maxTokens = file.maxTokens();
    keepsEnd = file.keepsEnd();
    cutting = file.cutting();
    template = file.template();
    reader = new TextReader(handle, file.cuts(), keepsEnd, !template.trims().isEmpty());
  }

  /** An added token of which the normalizer leaves nothing would be found everywhere. */
  private static void checkNormalized(TokenizerFile file) {
    if (file.probe() == null) {
      return;
    }
    long probe = HuggingFace.create(file.probe());
    try {
      for (Json content : file.normalized()) {
        long encoding = HuggingFace.encode(probe, content.string());
        int left = HuggingFace.ids(encoding).length;
        HuggingFace.deleteEncoding(encoding);
        if (left == 0) {
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
    return encode(text, maxTokens, template.single());
  }

  /**
   * Tokenizes a pair of texts, cut to {@link #maxTokens}.
   *
   * @param first as of {@link #encode(String, String, int)}
   * @param second as of {@link #encode(String, String, int)}
   * @return their tokens
   * @throws IllegalArgumentException as of {@link #encode(String, String, int)}
   */
  public Tokenized encode(String first, String second) {
    return encode(first, second, maxTokens);
  }

  /**
   * Tokenizes a pair of texts, such as a question and a passage, with the file's template for pairs
   * and its types of tokens.
   *
   * <p>Where both together are too long, the file's strategy says which one is cut: {@code
   * LongestFirst} (also where the file says nothing) the longer one down to the length of the
   * shorter, then both; {@code OnlyFirst} and {@code OnlySecond} that one alone. Each is cut on the
   * file's side. A very long text is tokenized in part, as of {@link #encode(String, int)}; where
   * both are, the one whose part has more tokens counts as the longer.
   *
   * @param first any text; unpaired surrogates count as U+FFFD
   * @param second any text; unpaired surrogates count as U+FFFD
   * @param maxTokens what to cut both together to, the tokens of the template included; not limited
   *     by what the file says
   * @return their tokens; {@link Tokenized#truncated} says whether one was cut
   * @throws IllegalArgumentException if maxTokens leaves no room for the template, or none for the
   *     text that is the only one to be cut; if the file has no template with both texts; or as of
   *     {@link #encode(String, int)}
   */
  public Tokenized encode(String first, String second, int maxTokens) {
    return encode(first, second, maxTokens, cutting);
  }

  /** The same with a strategy of the caller's. */
  Tokenized encode(String first, String second, int maxTokens, PairCutting strategy) {
    Kept texts = read(first, second, maxTokens, strategy, false);
    return assemble(texts.layout(), texts.first(), texts.a(), texts.second(), texts.b());
  }

  /**
   * Tokenizes a text, uncut and without the tokens of the template ({@code [CLS]}, {@code <s>}), as
   * for a prompt that has its own. Special tokens in the text are found as ever.
   *
   * @param text any text; unpaired surrogates count as U+FFFD
   * @return its tokens
   * @throws IllegalArgumentException if the text has more than 1,048,576 characters, once it is
   *     decomposed as its normalizers do
   */
  public Tokenized encodeWithoutSpecialTokens(String text) {
    return encode(text, Integer.MAX_VALUE, template.single().texts());
  }

  /**
   * Tokenizes a text as {@link #encode(String, int)} does, and says where the tokens stand in it.
   *
   * @param text as of {@link #encode(String, int)}
   * @param maxTokens as of {@link #encode(String, int)}
   * @return its tokens and their places; spaces are left out where the file has {@code
   *     trim_offsets}
   * @throws IllegalArgumentException as of {@link #encode(String, int)}
   */
  public TokenSpans encodeWithOffsets(String text, int maxTokens) {
    TokenizerTemplate.Layout layout = template.single();
    int most = room(maxTokens, layout);
    ReadTokens tokens = read(text, most, true);
    return place(new Kept(layout, tokens, tokens.kept(most), null, 0));
  }

  /**
   * Tokenizes a pair of texts as {@link #encode(String, String, int)} does, and says where the
   * tokens stand in them.
   *
   * @param first as of {@link #encode(String, String, int)}
   * @param second as of {@link #encode(String, String, int)}
   * @param maxTokens as of {@link #encode(String, String, int)}
   * @return their tokens and their places, as of {@link #encodeWithOffsets(String, int)}
   * @throws IllegalArgumentException as of {@link #encode(String, String, int)}
   */
  public TokenSpans encodeWithOffsets(String first, String second, int maxTokens) {
    return place(read(first, second, maxTokens, cutting, true));
  }

  /** Tokens of one text or two, and how many are kept of each. */
  private record Kept(
      TokenizerTemplate.Layout layout, ReadTokens first, int a, ReadTokens second, int b) {
    ReadTokens text(int piece) {
      return piece == TokenizerTemplate.FIRST ? first : second;
    }

    int kept(int piece) {
      return piece == TokenizerTemplate.FIRST ? a : b;
    }
  }

  private Tokenized encode(String text, int maxTokens, TokenizerTemplate.Layout layout) {
    int most = room(maxTokens, layout);
    ReadTokens tokens = read(text, most, false);
    return assemble(layout, tokens, tokens.kept(most), null, 0);
  }

  private ReadTokens read(String text, int most, boolean places) {
    Objects.requireNonNull(text, "text");
    try {
      return reader.read("text", text, most, places);
    } finally {
      Reference.reachabilityFence(this);
    }
  }

  private Kept read(
      String first, String second, int maxTokens, PairCutting strategy, boolean places) {
    TokenizerTemplate.Layout layout = template.pair();
    if (layout == null) {
      throw new IllegalArgumentException(
          "second: expected none, since post_processor.pair of tokenizer.json does not have the"
              + " sequences A and B once");
    }
    int most = room(maxTokens, layout);
    Objects.requireNonNull(first, "first");
    Objects.requireNonNull(second, "second");
    ReadTokens a;
    ReadTokens b;
    try {
      a = reader.read("first", first, most, places);
      b = reader.read("second", second, most, places);
    } finally {
      Reference.reachabilityFence(this);
    }
    int kept = strategy.keptOfFirst(a.count(), b.count(), most);
    if (kept < 0) {
      boolean cutsFirst = strategy == PairCutting.ONLY_FIRST;
      throw new IllegalArgumentException(
          "maxTokens: expected more than %d, since tokenizer.json cuts the %s text alone (%s) and"
                  .formatted(
                      layout.added() + (cutsFirst ? b : a).count(),
                      cutsFirst ? "first" : "second",
                      strategy.title())
              + " the other has %d tokens, got %d"
                  .formatted((cutsFirst ? b : a).count(), maxTokens));
    }
    return new Kept(layout, a, a.kept(kept), b, b.kept(most - kept));
  }

  private static int room(int maxTokens, TokenizerTemplate.Layout layout) {
    int added = layout.added();
    if (maxTokens < added) {
      throw new IllegalArgumentException(
          "maxTokens: expected at least %d, got %d".formatted(added, maxTokens));
    }
    return maxTokens - added;
  }

  /** Puts the tokens that are kept of one text or two into their template. */
  private Tokenized assemble(
      TokenizerTemplate.Layout layout, ReadTokens first, int a, ReadTokens second, int b) {
    int added = layout.added();
    int[] ids = new int[added + a + b];
    int[] types = layout.oneType() ? null : new int[ids.length];
    int at = 0;
    for (int i = 0; i < layout.pieces().length; i++) {
      int piece = layout.pieces()[i];
      int start = at;
      if (piece >= 0) {
        ids[at++] = piece;
      } else {
        ReadTokens text = piece == TokenizerTemplate.FIRST ? first : second;
        int kept = piece == TokenizerTemplate.FIRST ? a : b;
        int from = text.first(kept, keepsEnd);
        for (int t = 0; t < kept; t++) {
          ids[at++] = Math.toIntExact(text.ids()[from + t]);
        }
      }
      if (types != null) {
        Arrays.fill(types, start, at, layout.typeIds()[i]);
      }
    }
    int count = first.count() + (second == null ? 0 : second.count());
    return new Tokenized(ids, types, Math.addExact(count, added));
  }

  private TokenSpans place(Kept texts) {
    Tokenized tokens =
        assemble(texts.layout(), texts.first(), texts.a(), texts.second(), texts.b());
    TokenSpans spans = TokenSpans.nowhere(tokens);
    int at = 0;
    for (int piece : texts.layout().pieces()) {
      if (piece >= 0) {
        at++;
        continue;
      }
      ReadTokens text = texts.text(piece);
      int kept = texts.kept(piece);
      text.places().write(text.first(kept, keepsEnd), kept, template.trims(), spans, at);
      Arrays.fill(spans.sequences(), at, at + kept, piece == TokenizerTemplate.FIRST ? 0 : 1);
      at += kept;
    }
    return spans;
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
    for (int i = 0; i < tokens.length; i++) {
      String token = table.token(requireId(ids, i));
      tokens[i] = token == null ? Integer.toString(ids[i]) : token;
    }
    return List.of(tokens);
  }

  private static int requireId(int[] ids, int i) {
    if (ids[i] < 0) {
      throw new IllegalArgumentException(
          "ids[%d]: expected 0 or more, got %d".formatted(i, ids[i]));
    }
    return ids[i];
  }

  /**
   * Returns the id of a token, such as {@code "[MASK]"} or {@code "##ing"}.
   *
   * @param token as the vocabulary has it, or the content of an added token
   * @return its id, or -1 if there is no such token
   */
  public int id(String token) {
    return table.id(Objects.requireNonNull(token, "token"));
  }

  /**
   * Returns the tokens that the file declares as special.
   *
   * @return their ids by their contents, in the order of the file; not modifiable
   */
  public Map<String, Integer> specialTokens() {
    return specialTokens;
  }

  /**
   * Makes a text of tokens, as the file's decoder says; without one, the tokens with spaces between
   * them. It is not always the text that had these tokens: normalizers may have changed it.
   *
   * @param ids of tokens; those that the vocabulary does not have are left out
   * @param skipSpecialTokens whether those of {@link #specialTokens} are left out too
   * @return the text; bytes that are no UTF-8 become U+FFFD
   * @throws IllegalArgumentException if an id is negative
   */
  public String decode(int[] ids, boolean skipSpecialTokens) {
    long[] wide = new long[ids.length];
    for (int i = 0; i < ids.length; i++) {
      wide[i] = requireId(ids, i);
    }
    try {
      return HuggingFace.decode(handle, wide, skipSpecialTokens);
    } finally {
      Reference.reachabilityFence(this);
    }
  }

  /** Returns what texts are cut to. */
  @Override
  public String toString() {
    return "Tokenizer(max %d tokens%s)".formatted(maxTokens, keepsEnd ? ", keeps the end" : "");
  }
}
