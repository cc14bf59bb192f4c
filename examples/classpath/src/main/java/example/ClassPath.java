package example;

import dev.gatun.AttentionSpec;
import dev.gatun.Causal;
import dev.gatun.DType;
import dev.gatun.GatunRuntime;
import dev.gatun.Tensor;
import java.lang.foreign.Arena;

/** The README's example on the class path. */
public final class ClassPath {

  public static void main(String[] args) {
    try (GatunRuntime runtime = GatunRuntime.create();
        Arena arena = Arena.ofConfined()) {
      Tensor q = Tensor.allocate(arena, DType.FLOAT32, 1, 128, 8, 64);
      Tensor k = Tensor.allocate(arena, DType.FLOAT32, 1, 128, 2, 64);
      Tensor v = Tensor.allocate(arena, DType.FLOAT32, 1, 128, 2, 64);
      Tensor out = Tensor.allocate(arena, DType.FLOAT32, 1, 128, 8, 64);
      q.fill(0.5f);
      v.fill(2f);
      AttentionSpec causal = AttentionSpec.builder().causal(Causal.BOTTOM_RIGHT).build();
      runtime.attention(causal).forward(q, k, v, out);
      float mean = out.getFloat(0, 127, 7, 63);
      System.out.printf("%s: mean of equal values %s%n", runtime, mean);
      if (mean != 2f) {
        throw new AssertionError("expected 2.0, got " + mean);
      }
    }
  }
}
