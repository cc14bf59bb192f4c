package dev.gatun;

import static org.junit.jupiter.api.DynamicTest.dynamicTest;

import ai.onnxruntime.OnnxTensor;
import ai.onnxruntime.OrtEnvironment;
import ai.onnxruntime.OrtException;
import ai.onnxruntime.OrtSession;
import dev.gatun.support.OnnxModel;
import dev.gatun.support.Problem;
import dev.gatun.support.Reference;
import dev.gatun.support.Run;
import java.nio.FloatBuffer;
import java.util.Arrays;
import java.util.HashMap;
import java.util.Map;
import java.util.Random;
import java.util.stream.IntStream;
import java.util.stream.Stream;
import org.junit.jupiter.api.DynamicTest;
import org.junit.jupiter.api.TestFactory;

/**
 * The same inputs through ONNX Runtime's operators. Both results are compared with the double
 * reference, and so differ from each other by no more than the sum of two bounds.
 */
class OnnxRuntimeParityTest {

  private static final long SEED = 23;

  /** com.microsoft.MultiHeadAttention, with a padding mask for key lengths. */
  @TestFactory
  Stream<DynamicTest> multiHeadAttention() {
    return IntStream.range(0, 25)
        .mapToObj(
            n -> {
              Random random = new Random(SEED + n);
              int heads = 1 + random.nextInt(6);
              int seqQ = 1 + random.nextInt(90);
              boolean causal = n % 3 == 0;
              Problem p =
                  new Problem(
                      1 + random.nextInt(3),
                      heads,
                      heads,
                      seqQ,
                      causal ? seqQ : 1 + random.nextInt(200),
                      8 * (1 + random.nextInt(10)),
                      8 * (1 + random.nextInt(10)));
              p.draw(random, 1).causal(causal ? Causal.BOTTOM_RIGHT : Causal.NONE);
              if (n % 4 == 1) {
                p.scale(0.3f);
              }
              OnnxModel model =
                  new OnnxModel("com.microsoft", 1, "MultiHeadAttention", "out")
                      .attribute("num_heads", heads);
              inputs(model, p);
              int[][] mask = null;
              if (n % 3 == 1) {
                p.keyLengths = random.ints(p.batch, 1, p.seqK + 1).toArray();
                mask = new int[p.batch][p.seqK];
                for (int b = 0; b < p.batch; b++) {
                  Arrays.fill(mask[b], 0, p.keyLengths[b], 1);
                }
                model.input("", OnnxModel.FLOAT).input("mask", OnnxModel.INT32, p.batch, p.seqK);
              }
              if (causal) {
                model.attribute("unidirectional", 1);
              }
              if (!Float.isNaN(p.scale)) {
                model.attribute("scale", p.scale);
              }
              return test(p, model, mask);
            });
  }

  /** ai.onnx.Attention, with grouped heads, its causal mask, and a boolean mask for lengths. */
  @TestFactory
  Stream<DynamicTest> attention() {
    return IntStream.range(0, 25)
        .mapToObj(
            n -> {
              Random random = new Random(SEED + 100 + n);
              int kvHeads = 1 + random.nextInt(3);
              int heads = kvHeads * (1 + random.nextInt(3));
              Problem p =
                  new Problem(
                      1 + random.nextInt(3),
                      heads,
                      kvHeads,
                      1 + random.nextInt(90),
                      1 + random.nextInt(200),
                      1 + random.nextInt(100),
                      1 + random.nextInt(100));
              p.draw(random, 1);
              OnnxModel model =
                  new OnnxModel("", 23, "Attention", "out")
                      .attribute("q_num_heads", heads)
                      .attribute("kv_num_heads", kvHeads);
              inputs(model, p);
              boolean[][][][] mask = null;
              if (n % 3 == 0) {
                p.causal(Causal.TOP_LEFT);
                model.attribute("is_causal", 1);
              } else if (n % 3 == 1) {
                p.causal(Causal.BOTTOM_RIGHT).keyLengths =
                    random.ints(p.batch, 1, p.seqK + 1).toArray();
                mask = new boolean[p.batch][1][p.seqQ][p.seqK];
                for (int b = 0; b < p.batch; b++) {
                  for (int i = 0; i < p.seqQ; i++) {
                    Arrays.fill(mask[b][0][i], 0, p.visibleKeys(b, i), true);
                  }
                }
                model.input("mask", OnnxModel.BOOL, p.batch, 1, p.seqQ, p.seqK);
              }
              if (n % 4 == 1) {
                p.scale(0.3f);
                model.attribute("scale", p.scale);
              }
              return test(p, model, mask);
            });
  }

  private static void inputs(OnnxModel model, Problem p) {
    model.input("q", OnnxModel.FLOAT, p.batch, p.seqQ, (long) p.heads * p.headDim);
    model.input("k", OnnxModel.FLOAT, p.batch, p.seqK, (long) p.kvHeads * p.headDim);
    model.input("v", OnnxModel.FLOAT, p.batch, p.seqK, (long) p.kvHeads * p.headDimV);
  }

  private static DynamicTest test(Problem p, OnnxModel model, Object mask) {
    return dynamicTest(
        p + " (seed " + SEED + ")",
        () -> {
          float[] theirs = run(p, model, mask);
          Reference reference = new Reference(p);
          float[] ours = Run.of(p).out();
          reference.check(ours, null);
          for (int b = 0; b < p.batch; b++) {
            for (int i = 0; i < p.seqQ; i++) {
              if (p.visibleKeys(b, i) == 0) {
                // A row without keys is theirs to define; ours is 0.
                int from = p.outAt(b, i, 0, 0);
                Arrays.fill(theirs, from, from + p.heads * p.headDimV, 0);
              }
            }
          }
          reference.check(theirs, null);
        });
  }

  private static float[] run(Problem p, OnnxModel model, Object mask) throws OrtException {
    OrtEnvironment environment = OrtEnvironment.getEnvironment();
    Map<String, OnnxTensor> inputs = new HashMap<>();
    try (OrtSession.SessionOptions options = new OrtSession.SessionOptions()) {
      options.setIntraOpNumThreads(1);
      try (OrtSession session = environment.createSession(model.bytes(), options)) {
        inputs.put("q", tensor(environment, p.q, p.batch, p.seqQ, p.heads * p.headDim));
        inputs.put("k", tensor(environment, p.k, p.batch, p.seqK, p.kvHeads * p.headDim));
        inputs.put("v", tensor(environment, p.v, p.batch, p.seqK, p.kvHeads * p.headDimV));
        if (mask != null) {
          inputs.put("mask", OnnxTensor.createTensor(environment, mask));
        }
        try (OrtSession.Result result = session.run(inputs)) {
          FloatBuffer buffer = ((OnnxTensor) result.get(0)).getFloatBuffer();
          float[] out = new float[buffer.remaining()];
          buffer.get(out);
          return out;
        }
      }
    } finally {
      inputs.values().forEach(OnnxTensor::close);
    }
  }

  private static OnnxTensor tensor(OrtEnvironment environment, float[] data, long... shape)
      throws OrtException {
    return OnnxTensor.createTensor(environment, FloatBuffer.wrap(data), shape);
  }
}
