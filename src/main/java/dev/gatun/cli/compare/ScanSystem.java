package dev.gatun.cli.compare;

import dev.gatun.DType;
import dev.gatun.GatunRuntime;
import dev.gatun.Tensor;
import dev.gatun.nn.Mamba;
import java.lang.foreign.Arena;
import java.util.random.RandomGenerator;

/**
 * A selective state-space layer (Gu and Dao, 2023) of the paper's sizes: twice as many channels as
 * its input has columns, 16 states each, a convolution of 4 rows. Its time has its products.
 */
final class ScanSystem implements CompareSystem {
  private static final long STATES = 16;
  private static final long ROWS = 4;

  /** Of a state in a step: exp(δa), two products and an addition for h, two for y. */
  private static final double OF_A_STATE = 7;

  @Override
  public String word() {
    return "mamba";
  }

  @Override
  public Kin kin() {
    return Kin.OTHER;
  }

  @Override
  public String what() {
    return "a selective scan with convolution and gate (Gu and Dao), its projections included";
  }

  @Override
  public long serialSteps(Setting setting) {
    return setting.length();
  }

  @Override
  public long pathLength(Setting setting) {
    return setting.length();
  }

  private static long rank(long width) {
    return Math.ceilDiv(width, 16L);
  }

  @Override
  public double flops(Setting setting) {
    long width = (long) MechanismSystem.width(setting);
    double channels = 2.0 * width;
    double products =
        width * 2 * channels
            + channels * (rank(width) + 2 * STATES)
            + rank(width) * channels
            + channels * width;
    return setting.length() * (2 * products + 2 * channels * ROWS + OF_A_STATE * channels * STATES);
  }

  @Override
  public double bytes(Setting setting) { // x, z, x after the convolution, delta, and y
    return 4.0 * 5 * 2 * setting.floats();
  }

  @Override
  public Runnable prepare(GatunRuntime runtime, Inputs inputs, Arena arena) {
    long width = (long) MechanismSystem.width(inputs.setting);
    long channels = 2 * width;
    RandomGenerator random = Inputs.random(width);
    Tensor decay = Tensor.allocate(arena, DType.FLOAT32, channels, STATES);
    for (long i = 0; i < channels; i++) {
      for (long n = 0; n < STATES; n++) {
        decay.setFloat((float) Math.log(n + 1), i, n); // as the paper's initialization has it
      }
    }
    Tensor skip = Tensor.allocate(arena, DType.FLOAT32, channels);
    skip.fill(1);
    Tensor bias = Tensor.allocate(arena, DType.FLOAT32, channels);
    bias.fill(-4.6f); // steps of about 0.01
    Mamba layer =
        Mamba.builder(runtime, arena)
            .input(weight(arena, random, 2 * channels, width), null)
            .convolution(
                weight(arena, random, channels, ROWS).reshape(channels, 1, ROWS),
                Tensor.allocate(arena, DType.FLOAT32, channels))
            .projection(weight(arena, random, rank(width) + 2 * STATES, channels))
            .step(weight(arena, random, channels, rank(width)), bias)
            .decay(decay)
            .skip(skip)
            .output(weight(arena, random, width, channels), null)
            .build();
    Tensor x = inputs.q.reshape(1, inputs.setting.length(), width);
    Tensor out = inputs.out.reshape(1, inputs.setting.length(), width);
    return () -> layer.forward(null, x, null, out);
  }

  private static Tensor weight(Arena arena, RandomGenerator random, long out, long in) {
    return Inputs.fill(Tensor.allocate(arena, DType.FLOAT32, out, in), random, 1 / Math.sqrt(in));
  }
}
