package example;

import dev.gatun.AttentionSpec;
import dev.gatun.DType;
import dev.gatun.GatunRuntime;
import dev.gatun.Tensor;
import dev.gatun.io.Npy;
import java.io.IOException;
import java.lang.foreign.Arena;
import java.nio.file.Path;

/** Attention over mapped files: the system reads what the kernel touches, and nothing is copied. */
public final class MappedFile {

  /** ONNX Runtime, which wrote context.npy, is 8.6e-7 off itself. */
  private static final float TOLERANCE = 5e-6f;

  public static void main(String[] args) throws IOException {
    Path data = Path.of(args[0]);
    try (GatunRuntime runtime = GatunRuntime.create();
        Arena arena = Arena.ofConfined()) {
      Tensor q = Npy.map(data.resolve("q.npy"), arena);
      Tensor k = Npy.map(data.resolve("k.npy"), arena);
      Tensor v = Npy.map(data.resolve("v.npy"), arena);
      Tensor out = Tensor.allocate(arena, DType.FLOAT32, q.shape());
      runtime.attention(AttentionSpec.standard()).forward(q, k, v, out);

      float[] expected = Npy.map(data.resolve("context.npy"), arena).toFloatArray();
      float[] got = out.toFloatArray();
      float worst = 0;
      for (int i = 0; i < got.length; i++) {
        worst = Math.max(worst, Math.abs(got[i] - expected[i]));
      }
      System.out.printf("%d numbers, at most %.2g from those of ONNX Runtime%n", got.length, worst);
      if (got.length != expected.length || !(worst <= TOLERANCE)) {
        throw new AssertionError("expected a difference of at most " + TOLERANCE);
      }
    }
  }
}
