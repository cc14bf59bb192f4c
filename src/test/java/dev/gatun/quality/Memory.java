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

  /** One head of an attention mechanism, of codes with factors. */
  static float[] attend(
      GatunRuntime runtime, Task task, double queryFactor, double keyFactor, Maker maker) {
    return attend(
        runtime, task, scaled(task.queries(), queryFactor), scaled(task.keys(), keyFactor), maker);
  }

  /** The same of queries and keys {@code [n][headDim]} that were made of codes. */
  static float[] attend(
      GatunRuntime runtime, Task task, float[] queries, float[] keys, Maker maker) {
    try (Arena arena = Arena.ofShared()) {
      int n = task.tokens();
      int headDim = queries.length / n;
      Tensor q = Tensor.copyOf(arena, queries, 1, n, 1, headDim);
      Tensor k = Tensor.copyOf(arena, keys, 1, n, 1, headDim);
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
