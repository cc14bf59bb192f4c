package dev.gatun.internal;

import dev.gatun.GatunException;
import java.lang.invoke.MethodHandle;

/**
 * Hugging Face's tokenisers (the Rust library) through the JNI class of DJL's jar {@code
 * ai.djl.huggingface:tokenizers}, which is optional: this class is only used by those who tokenise,
 * after {@link TokenizerLibrary#load}.
 *
 * <p>Of that jar only this one class and the native library are used, and none of its dependencies.
 */
public final class HuggingFace {
  private static final MethodHandle CREATE;
  private static final MethodHandle DELETE;
  private static final MethodHandle ENCODE;
  private static final MethodHandle ENCODE_PAIR;
  private static final MethodHandle TYPES;
  private static final MethodHandle IDS;
  private static final MethodHandle WORDS;
  private static final MethodHandle TOKENS;
  private static final MethodHandle SPANS;
  private static final MethodHandle SPAN_START;
  private static final MethodHandle SPAN_END;
  private static final MethodHandle DECODE;
  private static final MethodHandle DELETE_ENCODING;

  private static final int STACK_FRAMES = 2048;

  /** What {@code --enable-native-access} has to name for the JNI class. */
  private static final String ACCESS;

  static {
    TokenizerLibrary.Loaded loaded = TokenizerLibrary.pending();
    CREATE = loaded.method("createTokenizerFromString");
    DELETE = loaded.method("deleteTokenizer");
    ENCODE = loaded.method("encode");
    ENCODE_PAIR = loaded.method("encodeDual");
    TYPES = loaded.method("getTypeIds");
    IDS = loaded.method("getTokenIds");
    WORDS = loaded.method("getWordIds");
    TOKENS = loaded.method("getTokens");
    SPANS = loaded.method("getTokenCharSpans");
    SPAN_START = loaded.method("getStart");
    SPAN_END = loaded.method("getEnd");
    DECODE = loaded.method("decode");
    DELETE_ENCODING = loaded.method("deleteEncoding");
    ACCESS = loaded.access();
  }

  private HuggingFace() {}

  /**
   * Makes a tokenizer from the text of a tokenizer.json, and returns a handle for {@link #delete}.
   *
   * @throws IllegalArgumentException if the JSON is no tokenizer
   * @throws GatunException if the library cannot be used
   */
  public static long create(String json) {
    try {
      return (long) CREATE.invokeExact(json);
    } catch (IllegalCallerException e) {
      throw new GatunException(
          "the tokeniser of %s: the JVM allows no native code there. Start it with %s added to"
                  .formatted(TokenizerLibrary.JAR, ACCESS)
              + " --enable-native-access",
          e);
    } catch (RuntimeException e) {
      throw new IllegalArgumentException(e.getMessage(), e);
    } catch (Throwable e) {
      throw failed(e);
    }
  }

  /** Frees a tokenizer that nobody uses any more. */
  public static void delete(long tokenizer) {
    try {
      DELETE.invokeExact(tokenizer);
    } catch (Throwable e) {
      throw failed(e);
    }
  }

  /**
   * Tokenizes a text without unpaired surrogates, and returns a handle for {@link #deleteEncoding}.
   * Any number of threads may do so with one tokenizer.
   */
  public static long encode(long tokenizer, String text) {
    try {
      return (long) ENCODE.invokeExact(tokenizer, text, true);
    } catch (Throwable e) {
      throw failed(e);
    }
  }

  /** Tokenizes a pair of texts, as {@link #encode} does one; what the file says is done to both. */
  public static long encode(long tokenizer, String first, String second) {
    try {
      return (long) ENCODE_PAIR.invokeExact(tokenizer, first, second, true);
    } catch (Throwable e) {
      throw failed(e);
    }
  }

  /** Returns the type of each token. */
  public static long[] types(long encoding) {
    try {
      return (long[]) TYPES.invokeExact(encoding);
    } catch (Throwable e) {
      throw failed(e);
    }
  }

  public static long[] ids(long encoding) {
    try {
      return (long[]) IDS.invokeExact(encoding);
    } catch (Throwable e) {
      throw failed(e);
    }
  }

  /** Returns the word of its text that each token belongs to. */
  public static long[] words(long encoding) {
    try {
      return (long[]) WORDS.invokeExact(encoding);
    } catch (Throwable e) {
      throw failed(e);
    }
  }

  /** Returns the tokens as the vocabulary has them. */
  public static String[] tokens(long encoding) {
    try {
      return (String[]) TOKENS.invokeExact(encoding);
    } catch (Throwable e) {
      throw failed(e);
    }
  }

  /** Returns the first code point of each token and that after its last, one after the other. */
  public static int[] spans(long encoding) {
    tryStack(STACK_FRAMES);
    try {
      Object[] spans = (Object[]) SPANS.invokeExact(encoding);
      int[] result = new int[2 * spans.length];
      for (int i = 0; i < spans.length; i++) {
        if (spans[i] != null) {
          result[2 * i] = (int) SPAN_START.invokeExact(spans[i]);
          result[2 * i + 1] = (int) SPAN_END.invokeExact(spans[i]);
        }
      }
      return result;
    } catch (Throwable e) {
      throw failed(e);
    }
  }

  /**
   * Ends in a StackOverflowError where the library could have no stack left to make an object: that
   * would end the process.
   */
  private static int tryStack(int frames) {
    return frames == 0 ? 0 : 1 + tryStack(frames - 1);
  }

  /** Returns the text that the decoder makes of tokens; ids that nobody has are left out. */
  public static String decode(long tokenizer, long[] ids, boolean skipSpecialTokens) {
    try {
      return (String) DECODE.invokeExact(tokenizer, ids, skipSpecialTokens);
    } catch (Throwable e) {
      throw failed(e);
    }
  }

  public static void deleteEncoding(long encoding) {
    try {
      DELETE_ENCODING.invokeExact(encoding);
    } catch (Throwable e) {
      throw failed(e);
    }
  }

  private static RuntimeException failed(Throwable e) {
    if (e instanceof Error error) {
      throw error;
    }
    return new GatunException("the tokeniser failed: " + e.getMessage(), e);
  }
}
