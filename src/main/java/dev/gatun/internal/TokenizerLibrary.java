package dev.gatun.internal;

import dev.gatun.GatunException;
import java.lang.classfile.ClassFile;
import java.lang.constant.ClassDesc;
import java.lang.invoke.MethodHandle;
import java.lang.invoke.MethodHandles;
import java.lang.invoke.MethodType;
import java.net.URL;
import java.nio.file.Path;
import java.util.HashMap;
import java.util.List;
import java.util.Locale;
import java.util.Map;
import java.util.function.Supplier;

/**
 * Loads the JNI class and the native library of DJL's jar {@code ai.djl.huggingface:tokenizers}.
 *
 * <p>DJL's own loader is left out on purpose: it looks for GPUs, downloads a library where it finds
 * one, and its tokeniser class reports its use over the network. Method handles, because the jar is
 * an automatic module or on the class path, and a module cannot name either without a warning.
 */
public final class TokenizerLibrary {
  static final String JAR = "ai.djl.huggingface:tokenizers";
  private static final String JNI_CLASS = "ai.djl.huggingface.tokenizers.jni.TokenizersLibrary";

  private static final Map<String, MethodType> METHODS =
      Map.ofEntries(
          Map.entry("createTokenizerFromString", MethodType.methodType(long.class, String.class)),
          Map.entry("deleteTokenizer", MethodType.methodType(void.class, long.class)),
          Map.entry(
              "encodeDual",
              MethodType.methodType(
                  long.class, long.class, String.class, String.class, boolean.class)),
          Map.entry("getTypeIds", MethodType.methodType(long[].class, long.class)),
          Map.entry(
              "encode", MethodType.methodType(long.class, long.class, String.class, boolean.class)),
          Map.entry("getTokenIds", MethodType.methodType(long[].class, long.class)),
          Map.entry("getWordIds", MethodType.methodType(long[].class, long.class)),
          Map.entry("getTokens", MethodType.methodType(String[].class, long.class)),
          Map.entry(
              "decode",
              MethodType.methodType(String.class, long.class, long[].class, boolean.class)),
          Map.entry("deleteEncoding", MethodType.methodType(void.class, long.class)));

  /** Where a token stands in its text, in code points. */
  private static final String SPAN_CLASS = "ai.djl.huggingface.tokenizers.jni.CharSpan";

  private static final MethodType LOAD = MethodType.methodType(void.class, String.class);

  private static final Object LOCK = new Object();
  private static volatile Loaded loaded;

  private TokenizerLibrary() {}

  /**
   * The JNI class, its library being loaded.
   *
   * @param methods those that are used, by name, bound to the one object of the class
   * @param access what {@code --enable-native-access} has to name for it
   */
  record Loaded(Map<String, MethodHandle> methods, String access) {
    MethodHandle method(String name) {
      return methods.get(name);
    }
  }

  /**
   * Loads the library, if that has not been done, and initialises {@link HuggingFace}. A failure is
   * not remembered: the next attempt starts anew.
   *
   * @throws GatunException what is missing, or cannot be loaded, and what to do
   */
  public static void load() {
    if (loaded == null) {
      FreshThread.call("gatun-load", new Loading());
    }
  }

  /** No lambda: a call site that is linked where the stack ends may be lost to the JVM. */
  private record Loading() implements Supplier<Loaded> {
    @Override
    public Loaded get() {
      return loadHere();
    }
  }

  private static Loaded loadHere() {
    synchronized (LOCK) {
      if (loaded == null) {
        pending = loadJni();
        FreshThread.initialize(HuggingFace.class);
        loaded = pending;
      }
      return loaded;
    }
  }

  /** What the static initialiser of {@link HuggingFace} takes its methods from. */
  private static Loaded pending;

  static Loaded pending() {
    return pending;
  }

  private static Loaded loadJni() {
    Class<?> jni = findClass();
    String access = jni.getModule().isNamed() ? jni.getModule().getName() : "ALL-UNNAMED";
    Path file = extractLibrary(jni);
    LibraryLoader.load(
        file, systemLoad(jni), access, () -> LibraryLoader.extractedHint(null, file));
    try {
      Object library = MethodHandles.publicLookup().findStaticGetter(jni, "LIB", jni).invoke();
      Map<String, MethodHandle> methods = new HashMap<>();
      for (Map.Entry<String, MethodType> method : METHODS.entrySet()) {
        methods.put(
            method.getKey(),
            MethodHandles.publicLookup()
                .findVirtual(jni, method.getKey(), method.getValue())
                .bindTo(library));
      }
      addSpans(jni, library, methods);
      return new Loaded(methods, access);
    } catch (Error | RuntimeException e) {
      throw e;
    } catch (Throwable e) {
      throw new GatunException("the tokeniser of %s cannot be used: %s".formatted(JAR, e), e);
    }
  }

  /** Those that name the class of a span: it is seen as an Object. */
  private static void addSpans(Class<?> jni, Object library, Map<String, MethodHandle> methods)
      throws ReflectiveOperationException {
    MethodHandles.Lookup lookup = MethodHandles.publicLookup();
    Class<?> span = Class.forName(SPAN_CLASS, true, jni.getClassLoader());
    methods.put(
        "getTokenCharSpans",
        lookup
            .findVirtual(
                jni, "getTokenCharSpans", MethodType.methodType(span.arrayType(), long.class))
            .bindTo(library)
            .asType(MethodType.methodType(Object[].class, long.class)));
    MethodType bound = MethodType.methodType(int.class, Object.class);
    for (String name : List.of("getStart", "getEnd")) {
      methods.put(
          name, lookup.findVirtual(span, name, MethodType.methodType(int.class)).asType(bound));
    }
  }

  /** As {@link Resources#find} finds a resource. */
  private static Class<?> findClass() {
    ClassNotFoundException missing = null;
    for (ClassLoader loader :
        new ClassLoader[] {
          TokenizerLibrary.class.getClassLoader(),
          Thread.currentThread().getContextClassLoader(),
          ClassLoader.getSystemClassLoader()
        }) {
      try {
        return Class.forName(JNI_CLASS, true, loader);
      } catch (ClassNotFoundException e) {
        missing = e;
      }
    }
    throw new GatunException(
        "no tokeniser: add the jar %s to the class path (it needs none of its dependencies)"
            .formatted(JAR),
        missing);
  }

  /**
   * A native method is looked for in what the class loader of its class has loaded. Where that is
   * not ours, as in a web application whose server has the jar, a class beside it has to load.
   */
  private static LibraryLoader.SystemLoad systemLoad(Class<?> jni) {
    if (jni.getClassLoader() == TokenizerLibrary.class.getClassLoader()) {
      return new LibraryLoader.OwnLoad();
    }
    try {
      TokenizerLibrary.class.getModule().addReads(jni.getModule());
      Class<?> beside = classBeside(jni);
      MethodHandle load = MethodHandles.publicLookup().findStatic(beside, "load", LOAD);
      return load::invokeExact;
    } catch (ReflectiveOperationException | LinkageError e) {
      throw new GatunException(
          ("%s: found in another class loader (%s) than Gatun (%s), which may not load a library"
                  + " for it: %s. Put both jars into the same place")
              .formatted(
                  JAR,
                  jni.getClassLoader(),
                  TokenizerLibrary.class.getClassLoader(),
                  e.getMessage()),
          e);
    }
  }

  /** A public class whose static method calls {@code System.load}, the same for all who need it. */
  private static Class<?> classBeside(Class<?> jni) throws ReflectiveOperationException {
    String name = jni.getPackageName() + ".GatunSystemLoad";
    synchronized (jni) {
      try {
        return Class.forName(name, true, jni.getClassLoader());
      } catch (ClassNotFoundException e) {
        byte[] bytes =
            ClassFile.of()
                .build(
                    ClassDesc.of(name),
                    type ->
                        type.withFlags(ClassFile.ACC_PUBLIC | ClassFile.ACC_FINAL)
                            .withMethodBody(
                                "load",
                                LOAD.describeConstable().orElseThrow(),
                                ClassFile.ACC_PUBLIC | ClassFile.ACC_STATIC,
                                code ->
                                    code.aload(0)
                                        .invokestatic(
                                            ClassDesc.of("java.lang.System"),
                                            "load",
                                            LOAD.describeConstable().orElseThrow())
                                        .return_()));
        return MethodHandles.privateLookupIn(jni, MethodHandles.lookup()).defineClass(bytes);
      }
    }
  }

  private static Path extractLibrary(Class<?> jni) {
    String arch = System.getProperty("os.arch").toLowerCase(Locale.ROOT);
    String resource =
        "native/lib/linux-"
            + (arch.equals("aarch64") || arch.equals("arm64") ? "aarch64" : "x86_64")
            + "/cpu/libtokenizers.so";
    ClassLoader loader = jni.getClassLoader(); // its jar's, if there are two
    URL url = loader == null ? null : loader.getResource(resource);
    if (url == null) {
      url = Resources.find(resource);
    }
    if (url == null) {
      throw new GatunException("%s: its jar has no %s".formatted(JAR, resource), null);
    }
    return ResourceCache.extract(List.of(new ResourceCache.Resource("libtokenizers.so", url)))
        .getFirst();
  }
}
