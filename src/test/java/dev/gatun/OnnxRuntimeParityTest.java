package dev.gatun;

import static org.junit.jupiter.api.DynamicTest.dynamicTest;

import ai.onnxruntime.OrtException;
import dev.gatun.support.OnnxCall;
import dev.gatun.support.Problem;
import dev.gatun.support.Reference;
import dev.gatun.support.Run;
import java.util.Arrays;
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
              OnnxCall call =
                  new OnnxCall("com.microsoft", 1, "MultiHeadAttention", "out")
                      .attribute("num_heads", heads);
              if (n % 3 == 1) {
                p.keyLengths = random.ints(p.batch, 1, p.seqK + 1).toArray();
              }
              if (causal) {
                call.attribute("unidirectional", 1);
              }
              if (!Float.isNaN(p.scale)) {
                call.attribute("scale", p.scale);
              }
              return test(
                  p,
                  call,
                  () -> {
                    if (p.keyLengths != null) {
                      int[] mask = new int[p.batch * p.seqK];
                      for (int b = 0; b < p.batch; b++) {
                        Arrays.fill(mask, b * p.seqK, b * p.seqK + p.keyLengths[b], 1);
                      }
                      call.absent(1).ints("mask", mask, p.batch, p.seqK);
                    }
                  });
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
              OnnxCall call =
                  new OnnxCall("", 23, "Attention", "out")
                      .attribute("q_num_heads", heads)
                      .attribute("kv_num_heads", kvHeads);
              if (n % 3 == 0) {
                p.causal(Causal.TOP_LEFT);
                call.attribute("is_causal", 1);
              } else if (n % 3 == 1) {
                p.causal(Causal.BOTTOM_RIGHT).keyLengths =
                    random.ints(p.batch, 1, p.seqK + 1).toArray();
              }
              if (n % 4 == 1) {
                p.scale(0.3f);
                call.attribute("scale", p.scale);
              }
              return test(
                  p,
                  call,
                  () -> {
                    if (p.keyLengths != null) {
                      float[] mask = new float[p.batch * p.seqQ * p.seqK];
                      for (int b = 0; b < p.batch; b++) {
                        for (int i = 0; i < p.seqQ; i++) {
                          int at = (b * p.seqQ + i) * p.seqK;
                          Arrays.fill(mask, at, at + p.visibleKeys(b, i), 1);
                        }
                      }
                      call.booleans("mask", mask, p.batch, 1, p.seqQ, p.seqK);
                    }
                  });
            });
  }

  private interface Inputs {
    void add() throws OrtException;
  }

  private static DynamicTest test(Problem p, OnnxCall call, Inputs mask) {
    return dynamicTest(
        p + " (seed " + SEED + ")",
        () -> {
          float[] theirs;
          try (call) {
            call.floats("q", p.q, p.batch, p.seqQ, (long) p.heads * p.headDim)
                .floats("k", p.k, p.batch, p.seqK, (long) p.kvHeads * p.headDim)
                .floats("v", p.v, p.batch, p.seqK, (long) p.kvHeads * p.headDimV);
            mask.add();
            theirs = call.run();
          }
          Reference reference = new Reference(p);
          float[] ours = Run.of(p).out();
          reference.check(ours, null);
          reference.check(theirs, null);
        });
  }
}
