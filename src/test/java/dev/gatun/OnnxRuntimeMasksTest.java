package dev.gatun;

import static org.junit.jupiter.api.Assertions.assertTrue;
import static org.junit.jupiter.api.DynamicTest.dynamicTest;

import ai.onnxruntime.OrtEnvironment;
import ai.onnxruntime.OrtException;
import dev.gatun.support.OnnxCall;
import dev.gatun.support.Problem;
import dev.gatun.support.Problem.Grid;
import dev.gatun.support.Reference;
import dev.gatun.support.Run;
import java.util.Arrays;
import java.util.Random;
import java.util.function.IntFunction;
import java.util.stream.IntStream;
import java.util.stream.Stream;
import org.junit.jupiter.api.DynamicTest;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.TestFactory;

/**
 * What changes scores and hides keys, in the operators of ONNX Runtime that have it, on the same
 * inputs and in all combinations that they take. Both results are compared with the double
 * reference, and so differ from each other by no more than the sum of two bounds: theirs is the
 * same float32 arithmetic, a product of at most 64 terms, a softmax and a product, so that a bound
 * of roundings holds for it as well.
 */
class OnnxRuntimeMasksTest {

  private static final long SEED = 1_728;

  private interface Call {
    float[] run() throws OrtException;
  }

  /** Before 1.28 the operator masked scores first and capped them then. */
  @Test
  void theVersionHasTheErratum() {
    String version = OrtEnvironment.getEnvironment().getVersion();
    assertTrue(version.startsWith("1.28."), version);
  }

  /** ai.onnx.Attention: its causal mask, softcap, a boolean mask or a bias. */
  @TestFactory
  Stream<DynamicTest> attention() {
    return tests(
        48,
        n -> {
          Random random = new Random(SEED + n);
          Problem p = problem(random, 1 + random.nextInt(90), 1 + random.nextInt(200));
          OnnxCall call =
              new OnnxCall("", 24, "Attention", "out")
                  .attribute("q_num_heads", p.heads)
                  .attribute("kv_num_heads", p.kvHeads);
          if (n % 2 == 1) {
            p.causal(Causal.TOP_LEFT);
            call.attribute("is_causal", 1);
          }
          if (n / 2 % 2 == 1) {
            p.softcap = 0.25f + random.nextInt(3);
            call.attribute("softcap", p.softcap);
          }
          Grid map = map(p, random);
          if (n / 4 % 3 == 1) {
            p.mask = map;
            for (int at = 0; at < map.values().length; at++) {
              // Some rows see nothing.
              boolean hidden = at / p.seqK % 7 == 3 || random.nextInt(3) == 0;
              map.values()[at] = hidden ? 0 : 1;
            }
          } else if (n / 4 % 3 == 2) {
            p.bias = draw(map, random);
          }
          return test(
              p,
              () -> {
                try (call) {
                  call.floats("q", p.q, p.batch, p.seqQ, (long) p.heads * p.headDim)
                      .floats("k", p.k, p.batch, p.seqK, (long) p.kvHeads * p.headDim)
                      .floats("v", p.v, p.batch, p.seqK, (long) p.kvHeads * p.headDimV);
                  if (p.mask != null) {
                    call.booleans("mask", map.values(), shape(map));
                  } else if (p.bias != null) {
                    call.floats("bias", map.values(), shape(map));
                  }
                  return call.run();
                }
              });
        });
  }

  /**
   * com.microsoft.GroupQueryAttention, which is causal: window, softcap, sinks and a bias; prompts,
   * also of unequal lengths, steps of decoding, and further tokens after a cache.
   */
  @TestFactory
  Stream<DynamicTest> groupedQueries() {
    return tests(
        72,
        n -> {
          Random random = new Random(SEED + 1000 + n);
          int kind = n % 3;
          int rows = kind == 1 ? 1 : 2 + random.nextInt(80);
          int cached = kind == 0 ? 0 : 1 + random.nextInt(150);
          Problem p = problem(random, rows, cached + rows).causal(Causal.BOTTOM_RIGHT);
          if (kind == 2 && p.batch > 1) {
            p = p.batchRow(0); // it takes no more
          }
          if (kind == 0 && n % 2 == 0) {
            p.keyLengths = random.ints(p.batch, 1, rows + 1).toArray();
            p.queryLengths = p.keyLengths;
          }
          OnnxCall call =
              new OnnxCall(
                      "com.microsoft", 1, "GroupQueryAttention", "out", "all_keys", "all_values")
                  .attribute("num_heads", p.heads)
                  .attribute("kv_num_heads", p.kvHeads);
          if (n / 3 % 2 == 1) {
            p.softcap = 0.25f + random.nextInt(3);
            call.attribute("softcap", p.softcap);
          }
          if (n / 6 % 2 == 1) {
            p.windowLeft = random.nextInt(30);
            call.attribute("local_window_size", p.windowLeft + 1);
          }
          Grid bias = n / 12 % 2 == 1 ? draw(map(p, random), random) : null;
          p.bias = bias;
          int sinks = n / 24;
          if (sinks > 0) {
            p.sinks = new float[p.heads];
          }
          if (sinks == 1) {
            call.attribute("smooth_softmax", 1); // a sink of 0
          } else if (sinks == 2) {
            for (int h = 0; h < p.heads; h++) {
              p.sinks[h] = (float) random.nextGaussian();
            }
          }
          Problem problem = p;
          return test(
              p,
              () -> {
                try (call) {
                  return groupedQueries(call, problem, cached, sinks == 2);
                }
              });
        });
  }

  private static float[] groupedQueries(OnnxCall call, Problem p, int cached, boolean sinks)
      throws OrtException {
    int row = p.kvHeads * p.headDim;
    call.floats("q", p.q, p.batch, p.seqQ, (long) p.heads * p.headDim)
        .floats("k", behind(p.k, p, cached), p.batch, p.seqQ, row)
        .floats("v", behind(p.v, p, cached), p.batch, p.seqQ, row);
    if (cached == 0) {
      call.absent(2);
    } else {
      call.floats("keys", cache(p.k, p, cached), p.batch, p.kvHeads, cached, p.headDim)
          .floats("values", cache(p.v, p, cached), p.batch, p.kvHeads, cached, p.headDim);
    }
    int[] last = new int[p.batch];
    Arrays.setAll(last, b -> p.keyLength(b) - 1);
    call.ints("last", last, p.batch).ints("total", new int[] {p.seqK}, 1).absent(3);
    if (p.bias == null) {
      call.absent(1);
    } else {
      call.floats("bias", p.bias.values(), shape(p.bias));
    }
    if (sinks) {
      call.floats("sinks", p.sinks, p.heads);
    }
    return call.run();
  }

  /** The rows of keys or values that are not in the cache. */
  private static float[] behind(float[] all, Problem p, int cached) {
    int row = p.kvHeads * p.headDim;
    float[] rows = new float[p.batch * p.seqQ * row];
    for (int b = 0; b < p.batch; b++) {
      System.arraycopy(all, (b * p.seqK + cached) * row, rows, b * p.seqQ * row, p.seqQ * row);
    }
    return rows;
  }

  /** {@code [batch, kvHeads, cached, headDim]}. */
  private static float[] cache(float[] all, Problem p, int cached) {
    float[] rows = new float[p.batch * p.kvHeads * cached * p.headDim];
    for (int b = 0; b < p.batch; b++) {
      for (int g = 0; g < p.kvHeads; g++) {
        for (int j = 0; j < cached; j++) {
          int at = ((b * p.kvHeads + g) * cached + j) * p.headDim;
          System.arraycopy(all, p.kAt(b, j, g, 0), rows, at, p.headDim);
        }
      }
    }
    return rows;
  }

  private static Problem problem(Random random, int seqQ, int seqK) {
    int kvHeads = 1 + random.nextInt(3);
    int headDim = 8 * (1 + random.nextInt(8));
    int heads = kvHeads * (1 + random.nextInt(3));
    return new Problem(1 + random.nextInt(2), heads, kvHeads, seqQ, seqK, headDim, headDim)
        .draw(random, 1);
  }

  /** For each batch row and head, or for several. */
  private static Grid map(Problem p, Random random) {
    return Grid.of(
        random.nextBoolean() ? 1 : p.batch, random.nextBoolean() ? 1 : p.heads, p.seqQ, p.seqK);
  }

  private static Grid draw(Grid map, Random random) {
    for (int at = 0; at < map.values().length; at++) {
      map.values()[at] = (float) random.nextGaussian();
    }
    return map;
  }

  private static long[] shape(Grid map) {
    return Arrays.stream(map.shape()).asLongStream().toArray();
  }

  private static Stream<DynamicTest> tests(int count, IntFunction<DynamicTest> test) {
    return IntStream.range(0, count).mapToObj(test);
  }

  private static DynamicTest test(Problem p, Call call) {
    return dynamicTest(
        p + " (seed " + SEED + ")",
        () -> {
          float[] theirs = call.run();
          Reference reference = new Reference(p);
          reference.check(Run.of(p).out(), null);
          int row = p.heads * p.headDimV;
          for (int b = 0; b < p.batch; b++) {
            // Rows of padding are theirs to define; ours are 0.
            int from = p.outAt(b, p.queryLength(b), 0, 0);
            Arrays.fill(theirs, from, from + (p.seqQ - p.queryLength(b)) * row, 0);
          }
          reference.check(theirs, null);
        });
  }
}
