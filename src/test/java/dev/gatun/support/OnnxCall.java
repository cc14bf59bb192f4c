package dev.gatun.support;

import ai.onnxruntime.OnnxJavaType;
import ai.onnxruntime.OnnxTensor;
import ai.onnxruntime.OrtEnvironment;
import ai.onnxruntime.OrtException;
import ai.onnxruntime.OrtLoggingLevel;
import ai.onnxruntime.OrtSession;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.nio.FloatBuffer;
import java.nio.IntBuffer;
import java.util.LinkedHashMap;
import java.util.Map;

/** One operator of ONNX Runtime on arrays, as a model of one node. */
public final class OnnxCall implements AutoCloseable {
  private final OrtEnvironment environment = OrtEnvironment.getEnvironment();
  private final OnnxModel model;
  private final Map<String, OnnxTensor> inputs = new LinkedHashMap<>();

  public OnnxCall(String domain, long opset, String operator, String... outputs) {
    model = new OnnxModel(domain, opset, operator, outputs);
  }

  public OnnxCall attribute(String name, long value) {
    model.attribute(name, value);
    return this;
  }

  public OnnxCall attribute(String name, float value) {
    model.attribute(name, value);
    return this;
  }

  public OnnxCall floats(String name, float[] values, long... shape) throws OrtException {
    model.input(name, OnnxModel.FLOAT, shape);
    inputs.put(name, OnnxTensor.createTensor(environment, FloatBuffer.wrap(values), shape));
    return this;
  }

  public OnnxCall ints(String name, int[] values, long... shape) throws OrtException {
    model.input(name, OnnxModel.INT32, shape);
    inputs.put(name, OnnxTensor.createTensor(environment, IntBuffer.wrap(values), shape));
    return this;
  }

  /** Booleans, true where a value is not 0. */
  public OnnxCall booleans(String name, float[] values, long... shape) throws OrtException {
    model.input(name, OnnxModel.BOOL, shape);
    ByteBuffer bytes = ByteBuffer.allocateDirect(values.length).order(ByteOrder.nativeOrder());
    for (float value : values) {
      bytes.put((byte) (value == 0 ? 0 : 1));
    }
    inputs.put(name, OnnxTensor.createTensor(environment, bytes.flip(), shape, OnnxJavaType.BOOL));
    return this;
  }

  /** Leaves optional inputs out. */
  public OnnxCall absent(int count) {
    for (int n = 0; n < count; n++) {
      model.input("", OnnxModel.FLOAT);
    }
    return this;
  }

  /** The first output, computed with one thread. */
  public float[] run() throws OrtException {
    try (OrtSession.SessionOptions options = new OrtSession.SessionOptions()) {
      options.setIntraOpNumThreads(1);
      // It warns that an operator's cache has not the length that it guessed itself.
      options.setSessionLogLevel(OrtLoggingLevel.ORT_LOGGING_LEVEL_ERROR);
      try (OrtSession session = environment.createSession(model.bytes(), options);
          OrtSession.Result result = session.run(inputs)) {
        FloatBuffer buffer = ((OnnxTensor) result.get(0)).getFloatBuffer();
        float[] out = new float[buffer.remaining()];
        buffer.get(out);
        return out;
      }
    }
  }

  @Override
  public void close() {
    inputs.values().forEach(OnnxTensor::close);
  }
}
