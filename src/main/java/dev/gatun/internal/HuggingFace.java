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
  private static final MethodHandle MAX_LENGTH;
  private static final MethodHandle NO_PADDING;
  private static final MethodHandle NO_TRUNCATION;
  private static final MethodHandle ENCODE;
  private static final MethodHandle IDS;
  private static final MethodHandle SPECIAL;
  private static final MethodHandle DELETE_ENCODING;

  /** What {@code --enable-native-access} has to name for the JNI class. */
  private static final String ACCESS;

  static {
    TokenizerLibrary.Loaded loaded = TokenizerLibrary.pending();
    CREATE = loaded.method("createTokenizerFromString");
    DELETE = loaded.method("deleteTokenizer");
    MAX_LENGTH = loaded.method("getMaxLength");
    NO_PADDING = loaded.method("disablePadding");
    NO_TRUNCATION = loaded.method("disableTruncation");
    ENCODE = loaded.method("encode");
    IDS = loaded.method("getTokenIds");
    SPECIAL = loaded.method("getSpecialTokenMask");
    DELETE_ENCODING = loaded.method("deleteEncoding");
    ACCESS = loaded.access();
  }

  private HuggingFace() {}

  /**
   * Makes a tokeniser, as its JSON says.
   *
   * @param json the text of a tokenizer.json
   * @return a handle, to be given to {@link #delete}
   * @throws IllegalArgumentException if the JSON is no tokeniser
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

  /**
   * Frees a tokeniser that nobody uses any more.
   *
   * @param tokenizer of {@link #create}
   */
  public static void delete(long tokenizer) {
    try {
      DELETE.invokeExact(tokenizer);
    } catch (Throwable e) {
      throw failed(e);
    }
  }

  /**
   * Returns the length that texts are cut to.
   *
   * @param tokenizer of {@link #create}
   * @return tokens, or -1 if texts are not cut
   */
  public static int maxLength(long tokenizer) {
    try {
      return (int) MAX_LENGTH.invokeExact(tokenizer);
    } catch (Throwable e) {
      throw failed(e);
    }
  }

  /**
   * Turns padding off. Nobody may use the tokeniser meanwhile.
   *
   * @param tokenizer of {@link #create}
   */
  public static void disablePadding(long tokenizer) {
    try {
      NO_PADDING.invokeExact(tokenizer);
    } catch (Throwable e) {
      throw failed(e);
    }
  }

  /**
   * Turns truncation off. Nobody may use the tokeniser meanwhile.
   *
   * @param tokenizer of {@link #create}
   */
  public static void disableTruncation(long tokenizer) {
    try {
      NO_TRUNCATION.invokeExact(tokenizer);
    } catch (Throwable e) {
      throw failed(e);
    }
  }

  /**
   * Tokenises a text. Any number of threads may do so with one tokeniser.
   *
   * @param tokenizer of {@link #create}
   * @param text without unpaired surrogates
   * @return a handle, to be given to {@link #deleteEncoding}
   */
  public static long encode(long tokenizer, String text) {
    try {
      return (long) ENCODE.invokeExact(tokenizer, text, true);
    } catch (Throwable e) {
      throw failed(e);
    }
  }

  /**
   * Returns the ids of an encoding.
   *
   * @param encoding of {@link #encode}
   * @return a new array
   */
  public static long[] ids(long encoding) {
    try {
      return (long[]) IDS.invokeExact(encoding);
    } catch (Throwable e) {
      throw failed(e);
    }
  }

  /**
   * Says which ids come from the template around the text.
   *
   * @param encoding of {@link #encode}
   * @return 1 for such an id, else 0
   */
  public static long[] specialTokenMask(long encoding) {
    try {
      return (long[]) SPECIAL.invokeExact(encoding);
    } catch (Throwable e) {
      throw failed(e);
    }
  }

  /**
   * Frees an encoding.
   *
   * @param encoding of {@link #encode}
   */
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
