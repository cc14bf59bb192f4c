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
  private static final MethodHandle IDS;
  private static final MethodHandle DECODE;
  private static final MethodHandle DELETE_ENCODING;

  /** What {@code --enable-native-access} has to name for the JNI class. */
  private static final String ACCESS;

  static {
    TokenizerLibrary.Loaded loaded = TokenizerLibrary.pending();
    CREATE = loaded.method("createTokenizerFromString");
    DELETE = loaded.method("deleteTokenizer");
    ENCODE = loaded.method("encode");
    IDS = loaded.method("getTokenIds");
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

  public static long[] ids(long encoding) {
    try {
      return (long[]) IDS.invokeExact(encoding);
    } catch (Throwable e) {
      throw failed(e);
    }
  }

  /**
   * Returns a token as the vocabulary has it, by a tokenizer that was made without a decoder; an
   * empty text where it has none of this id.
   */
  public static String token(long tokenizer, int id) {
    try {
      return (String) DECODE.invokeExact(tokenizer, new long[] {id}, false);
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
