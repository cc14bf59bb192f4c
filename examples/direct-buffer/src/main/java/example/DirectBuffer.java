package example;

import dev.gatun.AttentionSpec;
import dev.gatun.Causal;
import dev.gatun.DType;
import dev.gatun.GatunRuntime;
import dev.gatun.Tensor;
import java.lang.foreign.MemorySegment;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.nio.FloatBuffer;
import java.util.Random;

/** Attention over direct buffers, as network and file libraries hand them out. */
public final class DirectBuffer {

  private static final int SEQ = 100;
  private static final int HEADS = 4;
  private static final int DIM = 32;
  private static final double TOLERANCE = 5e-6;

  public static void main(String[] args) {
    Random random = new Random(42);
    // Kernels read the byte order of the CPU; a new ByteBuffer is always big endian.
    ByteBuffer q = buffer(random);
    ByteBuffer k = buffer(random);
    ByteBuffer v = buffer(random);
    ByteBuffer out = buffer(null);
    try (GatunRuntime runtime = GatunRuntime.create()) {
      AttentionSpec causal = AttentionSpec.builder().causal(Causal.TOP_LEFT).build();
      runtime.attention(causal).forward(tensor(q), tensor(k), tensor(v), tensor(out));
    }
    double worst = difference(q, k, v, out.asFloatBuffer());
    System.out.printf("at most %.2g from a reference in double%n", worst);
    if (!(worst <= TOLERANCE)) {
      throw new AssertionError("expected a difference of at most " + TOLERANCE);
    }
  }

  /** From the buffer's position to its limit. The segment keeps the buffer alive. */
  private static Tensor tensor(ByteBuffer buffer) {
    return Tensor.of(MemorySegment.ofBuffer(buffer), DType.FLOAT32, 1, SEQ, HEADS, DIM);
  }

  private static ByteBuffer buffer(Random random) {
    ByteBuffer buffer =
        ByteBuffer.allocateDirect(SEQ * HEADS * DIM * Float.BYTES).order(ByteOrder.nativeOrder());
    FloatBuffer floats = buffer.asFloatBuffer();
    while (random != null && floats.hasRemaining()) {
      floats.put((float) random.nextGaussian());
    }
    return buffer;
  }

  private static double difference(ByteBuffer q, ByteBuffer k, ByteBuffer v, FloatBuffer out) {
    FloatBuffer queries = q.asFloatBuffer();
    FloatBuffer keys = k.asFloatBuffer();
    FloatBuffer values = v.asFloatBuffer();
    double worst = 0;
    for (int head = 0; head < HEADS; head++) {
      for (int row = 0; row < SEQ; row++) {
        double sum = 0;
        double[] mean = new double[DIM];
        for (int key = 0; key <= row; key++) {
          double score = 0;
          for (int d = 0; d < DIM; d++) {
            score += (double) queries.get(at(row, head, d)) * keys.get(at(key, head, d));
          }
          double weight = Math.exp(score / Math.sqrt(DIM));
          sum += weight;
          for (int d = 0; d < DIM; d++) {
            mean[d] += weight * values.get(at(key, head, d));
          }
        }
        for (int d = 0; d < DIM; d++) {
          worst = Math.max(worst, Math.abs(mean[d] / sum - out.get(at(row, head, d))));
        }
      }
    }
    return worst;
  }

  private static int at(int row, int head, int d) {
    return (row * HEADS + head) * DIM + d;
  }
}
