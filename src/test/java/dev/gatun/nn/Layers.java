package dev.gatun.nn;

import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import dev.gatun.Activation;
import dev.gatun.Causal;
import dev.gatun.DType;
import dev.gatun.GatunRuntime;
import dev.gatun.Tensor;
import dev.gatun.support.Placement;
import dev.gatun.support.Run;
import java.lang.foreign.Arena;
import java.util.Random;
import java.util.function.Consumer;
import org.junit.jupiter.api.function.Executable;

/** Layers in double, written from their formulas alone, and tensors to try them on. */
final class Layers {

  static final long SEED = 4711;

  private Layers() {}

  static GatunRuntime runtime(int threads) {
    return Run.runtime(Run.bestTier(), threads);
  }

  // ---- tensors -------------------------------------------------------------------------------

  static float[] draw(Random random, int count, double deviation) {
    float[] data = new float[count];
    for (int i = 0; i < count; i++) {
      data[i] = (float) (random.nextGaussian() * deviation);
    }
    return data;
  }

  static Tensor normal(Arena arena, Random random, long... shape) {
    int count = 1;
    for (long size : shape) {
      count = Math.toIntExact(count * size);
    }
    return Tensor.copyOf(arena, draw(random, count, 1), shape);
  }

  /**
   * A weight that keeps values of size 1 so, in rows with a gap, or the transpose of such a matrix.
   */
  static Tensor weight(Arena arena, Random random, int in, int out, boolean transposed, int gap) {
    Tensor weight =
        transposed
            ? Tensor.allocate(arena, DType.FLOAT32, out, in + gap).slice(1, 0, in).transpose(0, 1)
            : Tensor.allocate(arena, DType.FLOAT32, in, out + gap).slice(1, 0, out);
    weight.copyFrom(draw(random, in * out, 1 / Math.sqrt(in)));
    return weight;
  }

  static Tensor weight(Arena arena, Random random, int in, int out) {
    return weight(arena, random, in, out, false, 0);
  }

  /** {@code [1, rows, 1, columns]} between canaries, with gaps between rows if wanted. */
  static Placement.Placed rows(Arena arena, int rows, int columns, boolean gaps) {
    return (gaps ? Placement.PADDED : Placement.BSHD).empty(arena, 1, rows, 1, columns);
  }

  /** {@code [batch, seq, columns]} between canaries. */
  static Tensor sequences(Placement.Placed placed) {
    return placed.tensor().select(2, 0);
  }

  static double[] doubles(Tensor tensor) {
    float[] data = tensor.toFloatArray();
    double[] doubles = new double[data.length];
    for (int i = 0; i < data.length; i++) {
      doubles[i] = data[i];
    }
    return doubles;
  }

  // ---- formulas ------------------------------------------------------------------------------

  static double activation(Activation kind, double x) {
    return switch (kind) {
      case NONE -> x;
      case RELU -> Math.max(x, 0);
      case GELU -> 0.5 * x * erfc(-x / Math.sqrt(2));
      case GELU_TANH ->
          0.5 * x * (1 + Math.tanh(Math.sqrt(2 / Math.PI) * (x + 0.044715 * x * x * x)));
      case SILU -> x / (1 + Math.exp(-x));
      case QUICK_GELU -> x / (1 + Math.exp(-1.702 * x));
    };
  }

  /** The series of erf near 0, the continued fraction of erfc (Lentz) beyond 2. */
  private static double erfc(double x) {
    if (x < 0) {
      return 2 - erfc(-x);
    }
    if (x < 2) {
      double term = x;
      double sum = x;
      for (int n = 1; n < 60; n++) {
        term *= -x * x / n;
        sum += term / (2 * n + 1);
      }
      return 1 - 2 / Math.sqrt(Math.PI) * sum;
    }
    double fraction = x;
    for (int n = 120; n > 0; n--) {
      fraction = x + n / 2.0 / fraction;
    }
    return Math.exp(-x * x) / Math.sqrt(Math.PI) / fraction;
  }

  /** x · W + b, without activation. */
  static double[] product(double[] x, Tensor weight, Tensor bias) {
    int in = (int) weight.size(0);
    int out = (int) weight.size(1);
    int rows = x.length / in;
    double[] w = doubles(weight);
    double[] result = new double[rows * out];
    for (int r = 0; r < rows; r++) {
      for (int i = 0; i < in; i++) {
        double factor = x[r * in + i];
        for (int o = 0; o < out; o++) {
          result[r * out + o] += factor * w[i * out + o];
        }
      }
      for (int o = 0; bias != null && o < out; o++) {
        result[r * out + o] += bias.getFloat(o);
      }
    }
    return result;
  }

  static double[] linear(double[] x, Tensor weight, Tensor bias, Activation kind) {
    double[] result = product(x, weight, bias);
    for (int i = 0; i < result.length; i++) {
      result[i] = activation(kind, result[i]);
    }
    return result;
  }

  /** Sizes of an attention: {@code q [batch][seqQ][heads][headDim]}, k and v with kvHeads. */
  record Sizes(int batch, int seqQ, int seqK, int heads, int kvHeads, int headDim, int headDimV) {}

  static double[] attention(
      Sizes s,
      double[] q,
      double[] k,
      double[] v,
      Causal causal,
      double scale,
      int[] keyLengths,
      int[] queryLengths) {
    double[] out = new double[s.batch * s.seqQ * s.heads * s.headDimV];
    double[] weight = new double[s.seqK];
    for (int b = 0; b < s.batch; b++) {
      int keys = keyLengths == null ? s.seqK : keyLengths[b];
      int rows = queryLengths == null ? s.seqQ : queryLengths[b];
      for (int i = 0; i < rows; i++) {
        int visible =
            switch (causal) {
              case NONE -> keys;
              case TOP_LEFT -> Math.min(keys, i + 1);
              case BOTTOM_RIGHT -> Math.clamp(i + 1L + keys - rows, 0, keys);
            };
        for (int h = 0; h < s.heads; h++) {
          int g = h / (s.heads / s.kvHeads);
          double most = Double.NEGATIVE_INFINITY;
          for (int j = 0; j < visible; j++) {
            weight[j] = 0;
            for (int d = 0; d < s.headDim; d++) {
              weight[j] +=
                  scale
                      * q[((b * s.seqQ + i) * s.heads + h) * s.headDim + d]
                      * k[((b * s.seqK + j) * s.kvHeads + g) * s.headDim + d];
            }
            most = Math.max(most, weight[j]);
          }
          double sum = 0;
          for (int j = 0; j < visible; j++) {
            weight[j] = Math.exp(weight[j] - most);
            sum += weight[j];
          }
          for (int j = 0; j < visible; j++) {
            for (int d = 0; d < s.headDimV; d++) {
              out[((b * s.seqQ + i) * s.heads + h) * s.headDimV + d] +=
                  weight[j] / sum * v[((b * s.seqK + j) * s.kvHeads + g) * s.headDimV + d];
            }
          }
        }
      }
    }
    return out;
  }

  // ---- checks --------------------------------------------------------------------------------

  static void checkClose(double[] want, float[] got, double bound) {
    assertTrue(want.length == got.length, want.length + " and " + got.length + " elements");
    for (int i = 0; i < want.length; i++) {
      if (!(Math.abs(want[i] - got[i]) <= bound)) {
        throw new AssertionError(
            "element %d: expected %s, got %s, bound %s".formatted(i, want[i], got[i], bound));
      }
    }
  }

  /** The same bits from 1, 2 and 5 threads, with a workspace of its own and with one lent. */
  static void checkBits(Consumer<GatunRuntime> run, Tensor out) {
    float[] first = null;
    for (int threads : new int[] {1, 2, 5}) {
      for (int round = 0; round < 2; round++) {
        out.fill(Float.NaN);
        run.accept(runtime(threads));
        float[] got = out.toFloatArray();
        if (first == null) {
          first = got;
        }
        Run.checkSameBits(first, got, threads + " threads");
      }
    }
  }

  static void refused(String start, Executable executable) {
    String message = assertThrows(IllegalArgumentException.class, executable).getMessage();
    assertTrue(message.startsWith(start), message);
    assertTrue(message.contains("expected") && message.contains("got"), message);
  }

  static void closed(Executable executable) {
    String message = assertThrows(IllegalStateException.class, executable).getMessage();
    assertTrue(message != null && message.toLowerCase().contains("closed"), message);
  }
}
