package dev.gatun.internal;

import dev.gatun.GatunException;
import java.lang.invoke.MethodHandle;
import java.lang.invoke.MethodHandles;
import java.lang.invoke.MethodType;
import java.net.URL;
import java.util.List;
import java.util.Locale;

/**
 * Hugging Face's tokenisers (the Rust library) through the JNI class of DJL's jar {@code
 * ai.djl.huggingface:tokenizers}, which is optional: this class is only used by those who tokenise.
 *
 * <p>Of that jar only this one class and the native library are used, and none of its dependencies.
 * DJL's own loader is left out on purpose: it looks for GPUs, downloads a library where it finds
 * one, and its tokeniser class reports its use over the network. Method handles, because the jar is
 * an automatic module or on the class path, and a module cannot name either without a warning.
 */
public final class HuggingFace {
  private static final String JAR = "ai.djl.huggingface:tokenizers";
  private static final String JNI_CLASS = "ai.djl.huggingface.tokenizers.jni.TokenizersLibrary";

  private static final MethodHandle CREATE;
  private static final MethodHandle DELETE;
  private static final MethodHandle ENCODE;
  private static final MethodHandle IDS;
  private static final MethodHandle DELETE_ENCODING;

  /** What {@code --enable-native-access} has to name for the JNI class. */
  private static final String ACCESS;

  /** Why nothing works, or null. A static initialiser that throws says so only once. */
  private static final GatunException FAILURE;

  static {
    MethodHandle[] handles = new MethodHandle[5];
    GatunException failure = null;
    String access = "ALL-UNNAMED";
    try {
      Class<?> jni = loadClass();
      access = jni.getModule().isNamed() ? jni.getModule().getName() : access;
      System.load(extractLibrary().toString());
      Object library = MethodHandles.publicLookup().findStaticGetter(jni, "LIB", jni).invoke();
      handles[0] = method(library, "createTokenizerFromString", long.class, String.class);
      handles[1] = method(library, "deleteTokenizer", void.class, long.class);
      handles[2] = method(library, "encode", long.class, long.class, String.class, boolean.class);
      handles[3] = method(library, "getTokenIds", long[].class, long.class);
      handles[4] = method(library, "deleteEncoding", void.class, long.class);
    } catch (GatunException e) {
      failure = e;
    } catch (Throwable e) {
      failure = new GatunException("the tokeniser of %s cannot be used: %s".formatted(JAR, e), e);
    }
    CREATE = handles[0];
    DELETE = handles[1];
    ENCODE = handles[2];
    IDS = handles[3];
    DELETE_ENCODING = handles[4];
    ACCESS = access;
    FAILURE = failure;
  }

  private HuggingFace() {}

  private static Class<?> loadClass() {
    try {
      // A native method is looked for in what the class loader of its class has loaded, and
      // System.load loads for ours.
      Class<?> jni = Class.forName(JNI_CLASS, true, HuggingFace.class.getClassLoader());
      if (jni.getClassLoader() != HuggingFace.class.getClassLoader()) {
        throw new GatunException(
            "%s: expected in the class loader of Gatun (%s), found in %s"
                .formatted(JAR, HuggingFace.class.getClassLoader(), jni.getClassLoader()),
            null);
      }
      return jni;
    } catch (ClassNotFoundException e) {
      throw new GatunException(
          "no tokeniser: add the jar %s to the class path (it needs none of its dependencies)"
              .formatted(JAR),
          e);
    }
  }

  private static Object extractLibrary() {
    String arch = System.getProperty("os.arch").toLowerCase(Locale.ROOT);
    String resource =
        "native/lib/linux-%s/cpu/libtokenizers.so"
            .formatted(arch.equals("aarch64") || arch.equals("arm64") ? "aarch64" : "x86_64");
    URL url = HuggingFace.class.getClassLoader().getResource(resource);
    if (url == null) {
      throw new GatunException("%s: its jar has no %s".formatted(JAR, resource), null);
    }
    return ResourceCache.extract(List.of(new ResourceCache.Resource("libtokenizers.so", url)))
        .getFirst();
  }

  private static MethodHandle method(Object library, String name, Class<?> result, Class<?>... args)
      throws ReflectiveOperationException {
    return MethodHandles.publicLookup()
        .findVirtual(library.getClass(), name, MethodType.methodType(result, args))
        .bindTo(library);
  }

  /**
   * Makes a tokeniser, as its JSON says.
   *
   * @param json the text of a tokenizer.json
   * @return a handle, to be given to {@link #delete}
   * @throws IllegalArgumentException if the JSON is no tokeniser
   * @throws GatunException if the library cannot be used
   */
  public static long create(String json) {
    if (FAILURE != null) {
      throw new GatunException(FAILURE.getMessage(), FAILURE);
    }
    try {
      return (long) CREATE.invokeExact(json);
    } catch (IllegalCallerException e) {
      throw new GatunException(
          "the tokeniser of %s: the JVM allows no native code there. Start it with %s added to"
                  .formatted(JAR, ACCESS)
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
