package example;

import dev.gatun.AttentionSpec;
import dev.gatun.Causal;
import dev.gatun.DType;
import dev.gatun.GatunRuntime;
import dev.gatun.MatMul;
import dev.gatun.Tensor;
import java.lang.foreign.Arena;

/** The README's example as a named module, and a product, which needs the jar of natives. */
public final class ModulePath {

  public static void main(String[] args) {
    Module module = GatunRuntime.class.getModule();
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

      Tensor a = Tensor.copyOf(arena, new float[] {1, 2, 3, 4}, 2, 2);
      Tensor b = Tensor.copyOf(arena, new float[] {5, 6, 7, 8}, 2, 2);
      Tensor c = Tensor.allocate(arena, DType.FLOAT32, 2, 2);
      MatMul product = runtime.matMul();
      product.multiply(a, b, c);

      float last = c.getFloat(1, 1);
      System.out.printf("%s: mean of equal values %s, product %s%n", module, mean, last);
      if (!module.isNamed() || mean != 2f || last != 50f) {
        throw new AssertionError("expected module dev.gatun, 2.0 and 50.0");
      }
    }
  }
}
