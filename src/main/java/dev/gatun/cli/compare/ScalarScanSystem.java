package dev.gatun.cli.compare;

import dev.gatun.DType;
import dev.gatun.GatunRuntime;
import dev.gatun.Tensor;
import dev.gatun.internal.LayerCall;
import dev.gatun.internal.LayerCalls;
import dev.gatun.internal.LinearAttentionCall.Features;
import java.lang.foreign.Arena;
import java.lang.foreign.ValueLayout;
import java.util.random.RandomGenerator;

/**
 * The scalar form of state-space models (Dao and Gu, 2024, equation 16): linear attention without a
 * feature map, whose sums fade by a number of each row and head. Queries are C, keys B, values x;
 * projections, convolution and gate of a Mamba-2 layer are not a part of it.
 */
final class ScalarScanSystem implements CompareSystem {
  /** Rows whose pairs are computed at once. */
  private static final long CHUNK = 64;

  @Override
  public String word() {
    return "mamba2";
  }

  @Override
  public Kin kin() {
    return Kin.OTHER;
  }

  @Override
  public String what() {
    return "S = aS + kᵀv, qS, a number a for each row: the scalar scan of Mamba-2, by chunks";
  }

  @Override
  public long serialSteps(Setting setting) {
    return Math.ceilDiv(setting.length(), CHUNK);
  }

  @Override
  public long pathLength(Setting setting) {
    return setting.length();
  }

  @Override
  public double flops(Setting setting) {
    return 4.0 * setting.floats() * setting.headDim();
  }

  @Override
  public double bytes(Setting setting) { // decays, and sums of each thread
    return 4.0 * setting.length() * setting.heads() + (16 << 20);
  }

  @Override
  public Runnable prepare(GatunRuntime runtime, Inputs inputs, Arena arena) {
    long n = inputs.setting.length();
    long heads = inputs.setting.heads();
    long dim = inputs.setting.headDim();
    Tensor decays = Tensor.allocate(arena, DType.FLOAT32, 1, n, heads);
    RandomGenerator random = Inputs.random(n);
    for (long i = 0; i < decays.elements(); i++) {
      decays
          .segment()
          .setAtIndex(ValueLayout.JAVA_FLOAT, i, -(float) random.nextDouble(0.001, 0.1));
    }
    return () -> {
      try (LayerCall call = LayerCalls.begin(runtime, null)) {
        call.rows()
            .linearAttention()
            .describe(Features.AS_GIVEN, true, 1, heads, n, n, dim, dim, dim)
            .unnormalized()
            .logDecay(decays.segment(), n * heads, heads, 1)
            .strideQ(n * heads * dim, heads * dim, dim)
            .strideK(n * heads * dim, heads * dim, dim)
            .strideV(n * heads * dim, heads * dim, dim)
            .strideOut(n * heads * dim, heads * dim, dim)
            .run(inputs.q.segment(), inputs.k.segment(), inputs.v.segment(), inputs.out.segment());
      }
    };
  }
}
