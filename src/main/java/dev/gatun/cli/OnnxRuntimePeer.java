package dev.gatun.cli;

import dev.gatun.internal.Resources;
import java.io.IOException;
import java.io.InputStream;
import java.lang.invoke.MethodHandle;
import java.lang.invoke.MethodHandles;
import java.lang.invoke.MethodType;
import java.net.URL;
import java.net.URLConnection;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.nio.LongBuffer;
import java.util.LinkedHashMap;
import java.util.Map;

/**
 * The same model in ONNX Runtime, whose jar is optional: only the demo looks at it, and a module
 * cannot name a class of the class path.
 */
final class OnnxRuntimePeer implements AutoCloseable {
  private static final String PACKAGE = "ai.onnxruntime.";

  private final MethodHandle createTensor;
  private final MethodHandle run;
  private final Object environment;
  private final AutoCloseable session;

  private OnnxRuntimePeer(ByteBuffer model, int threads) throws Throwable {
    Class<?> environmentType = type("OrtEnvironment");
    Class<?> sessionType = type("OrtSession");
    Class<?> optionsType = type("OrtSession$SessionOptions");
    Class<?> tensorType = type("OnnxTensor");
    MethodHandles.Lookup lookup = MethodHandles.publicLookup();
    environment =
        lookup
            .findStatic(environmentType, "getEnvironment", MethodType.methodType(environmentType))
            .invoke();
    createTensor =
        lookup.findStatic(
            tensorType,
            "createTensor",
            MethodType.methodType(tensorType, environmentType, LongBuffer.class, long[].class));
    run =
        lookup.findVirtual(
            sessionType, "run", MethodType.methodType(type("OrtSession$Result"), Map.class));
    try (AutoCloseable options =
        (AutoCloseable)
            lookup.findConstructor(optionsType, MethodType.methodType(void.class)).invoke()) {
      lookup
          .findVirtual(
              optionsType, "setIntraOpNumThreads", MethodType.methodType(void.class, int.class))
          .invoke(options, threads);
      session =
          (AutoCloseable)
              lookup
                  .findVirtual(
                      environmentType,
                      "createSession",
                      MethodType.methodType(sessionType, ByteBuffer.class, optionsType))
                  .invoke(environment, model, options);
    }
  }

  private static Class<?> type(String name) throws ClassNotFoundException {
    return Class.forName(PACKAGE + name, true, OnnxRuntimePeer.class.getClassLoader());
  }

  static boolean isPresent() {
    try {
      type("OrtSession");
      return true;
    } catch (ClassNotFoundException e) {
      return false;
    }
  }

  /** Loads a model that is a resource of the class path. */
  static OnnxRuntimePeer load(String resource, int threads) throws Throwable {
    URL url = OnnxRuntimePeer.class.getClassLoader().getResource(resource);
    if (url == null) {
      throw new IOException("not on the class path: " + resource);
    }
    URLConnection connection = Resources.open(url);
    try (InputStream in = connection.getInputStream()) {
      ByteBuffer model = ByteBuffer.allocateDirect(connection.getContentLength());
      byte[] piece = new byte[1 << 16];
      for (int count = in.read(piece); count >= 0; count = in.read(piece)) {
        model.put(piece, 0, count);
      }
      return new OnnxRuntimePeer(model.flip(), threads);
    }
  }

  /** Token ids of one text, as the model takes them. */
  Map<String, Object> inputs(int... ids) throws Throwable {
    Map<String, Object> inputs = new LinkedHashMap<>();
    LongBuffer[] values = new LongBuffer[3];
    for (int n = 0; n < values.length; n++) {
      values[n] =
          ByteBuffer.allocateDirect(ids.length * Long.BYTES)
              .order(ByteOrder.nativeOrder())
              .asLongBuffer();
      for (int i = 0; i < ids.length; i++) {
        values[n].put(i, n == 0 ? ids[i] : n == 1 ? 1 : 0);
      }
    }
    long[] shape = {1, ids.length};
    inputs.put("input_ids", createTensor.invoke(environment, values[0], shape));
    inputs.put("attention_mask", createTensor.invoke(environment, values[1], shape));
    inputs.put("token_type_ids", createTensor.invoke(environment, values[2], shape));
    return inputs;
  }

  /** Runs the encoder, without pooling. */
  void run(Map<String, Object> inputs) throws Throwable {
    ((AutoCloseable) run.invoke(session, inputs)).close();
  }

  @Override
  public void close() {
    try {
      session.close();
    } catch (Exception e) {
      throw new IllegalStateException(e);
    }
  }
}
