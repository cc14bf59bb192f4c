package dev.gatun.quality;

import dev.gatun.DType;
import dev.gatun.GatunRuntime;
import dev.gatun.Tensor;
import dev.gatun.nn.AttentionMechanism;
import java.lang.foreign.Arena;

/**
 * A mechanism of the library, with the weights that make a memory of it, and the same computed in
 * double from its formula.
 */
interface Memory {

  /** As in the table. */
  String name();

  /** Elements of a code. */
  int dim();

  /** Whether it has weights for a task. */
  default boolean knows(Task task) {
    return true;
  }

  /** What each token gets, {@code [n][VALUES]}, from the library. */
  float[] recall(GatunRuntime runtime, Task task);

  /** The same in double. */
  double[] reference(GatunRuntime runtime, Task task);

  /** Makes the mechanism for sequences of a length. */
  interface Maker {
    AttentionMechanism make(GatunRuntime runtime, Arena arena, int tokens);
  }

  /** One head of an attention mechanism, of queries and keys with factors. */
  static float[] attend(
      GatunRuntime runtime, Task task, double queryFactor, double keyFactor, Maker maker) {
    try (Arena arena = Arena.ofShared()) {
      int n = task.tokens();
      Tensor q = Tensor.copyOf(arena, scaled(task.queries(), queryFactor), 1, n, 1, task.dim());
      Tensor k = Tensor.copyOf(arena, scaled(task.keys(), keyFactor), 1, n, 1, task.dim());
      Tensor v = Tensor.copyOf(arena, task.valueCodes(), 1, n, 1, Task.VALUES);
      Tensor out = Tensor.allocate(arena, DType.FLOAT32, 1, n, 1, Task.VALUES);
      maker.make(runtime, arena, n).forward(null, q, k, v, out);
      return out.toFloatArray();
    }
  }

  static float[] scaled(float[] codes, double factor) {
    float[] scaled = new float[codes.length];
    for (int i = 0; i < codes.length; i++) {
      scaled[i] = (float) (codes[i] * factor);
    }
    return scaled;
  }
}
