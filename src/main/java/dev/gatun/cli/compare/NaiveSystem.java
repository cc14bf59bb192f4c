package dev.gatun.cli.compare;

import dev.gatun.DType;
import dev.gatun.GatunRuntime;
import dev.gatun.MatMul;
import dev.gatun.Tensor;
import dev.gatun.internal.LayerCall;
import dev.gatun.internal.LayerCalls;
import dev.gatun.internal.Matrix;
import java.lang.foreign.Arena;

/**
 * Attention by its formula: the matrix of all scores of a head by one product, its softmax row by
 * row, and a product with the values. Products are OpenBLAS's and the softmax is vectorized, all of
 * them on our threads, so that what differs from the exact call is the matrix and the ways to and
 * from memory. For comparison alone: nothing in the library computes so.
 */
final class NaiveSystem implements CompareSystem {
  @Override
  public String word() {
    return "naive";
  }

  @Override
  public Kin kin() {
    return Kin.EXACT;
  }

  @Override
  public String what() {
    return "the same by a matrix of all n² scores: product, softmax, product";
  }

  @Override
  public long serialSteps(Setting setting) {
    return 1;
  }

  @Override
  public long pathLength(Setting setting) {
    return 1;
  }

  @Override
  public double flops(Setting setting) {
    return setting.exactFlops();
  }

  @Override
  public double bytes(Setting setting) {
    return (double) Float.BYTES * setting.length() * setting.length();
  }

  @Override
  public Runnable prepare(GatunRuntime runtime, Inputs inputs, Arena arena) {
    long n = inputs.setting.length();
    MatMul product = runtime.matMul();
    Tensor scores = Tensor.allocate(arena, DType.FLOAT32, n, n); // one matrix serves all heads
    Matrix rows = Matrix.of(scores.segment(), n, n, n);
    float scale = (float) (1 / Math.sqrt(inputs.setting.headDim()));
    return () -> {
      for (int h = 0; h < inputs.setting.heads(); h++) {
        product.multiply(scale, head(inputs.q, h), head(inputs.k, h).transpose(0, 1), 0, scores);
        try (LayerCall call = LayerCalls.begin(runtime, null)) {
          call.rows().softmax(false, rows, rows);
        }
        product.multiply(1, scores, head(inputs.v, h), 0, head(inputs.out, h));
      }
    };
  }

  private static Tensor head(Tensor tensor, int head) {
    return tensor.select(0, 0).select(1, head);
  }
}
