package dev.gatun.model;

import dev.gatun.nn.DecoderOnlyModel;
import dev.gatun.nn.Mamba2;

/**
 * Mamba-2 (Dao and Gu, 2024) as a language model: pre-norm layers of nothing but {@link Mamba2};
 * Hugging Face's names. As transformers computes it: the norm of a mixer is one over all channels,
 * behind the gate, whatever {@code norm_before_gate} and {@code n_groups} say. How rows are cut
 * into chunks changes no formula: {@code chunk_size} is left alone.
 */
final class Mamba2Files extends StateSpaceFiles {

  private final int heads;
  private final int headDim;
  private final int groups;
  private final int states;
  private final float leastStep;
  private final float mostStep;

  private Mamba2Files(Checkpoint given) {
    super(given, 4096);
    config.requireFlag("rms_norm", true);
    heads = config.size("num_heads", 128);
    headDim = config.size("head_dim", 64);
    if ((long) heads * headDim != (long) dim * config.size("expand", 2)) {
      throw config.expected(
          config.has("num_heads") ? "num_heads" : "expand", "hidden_size · expand / head_dim");
    }
    groups = config.size("n_groups", 8);
    if (heads % groups != 0) {
      throw config.expected("n_groups", "a divisor of num_heads, %d".formatted(heads));
    }
    states = config.size("state_size", 128);
    double[] limits = limits();
    leastStep = (float) limits[0];
    mostStep = (float) limits[1];
    if (!(leastStep >= 0 && leastStep <= mostStep && leastStep < Float.POSITIVE_INFINITY)) {
      throw config.expected("time_step_limit", "[least, most], 0 <= least <= most");
    }
  }

  private double[] limits() {
    if (!config.has("time_step_limit")) {
      return new double[] {0, Double.POSITIVE_INFINITY};
    }
    double[] limits = config.numbersOrInfinities("time_step_limit");
    if (limits.length != 2) {
      throw config.expected("time_step_limit", "[least, most]");
    }
    return limits;
  }

  /** Of a folder in Hugging Face's layout. */
  static DecoderOnlyModel load(Checkpoint given) {
    return new Mamba2Files(given).model("Mamba2", 64, 32768, false);
  }

  @Override
  Mamba2 mixer(String name) {
    boolean biased = config.flag("use_bias", false);
    boolean convolutionBiased = config.flag("use_conv_bias", true);
    int width = config.size("conv_kernel", 4);
    long channels = (long) heads * headDim;
    long convolved = channels + 2L * groups * states;
    return Mamba2.builder(checkpoint.runtime())
        .groups(groups)
        .input(linear(name + "in_proj", dim, channels + convolved + heads, biased))
        .convolution(
            tensor(name + "conv1d.weight", convolved, 1, width),
            convolutionBiased ? tensor(name + "conv1d.bias", convolved) : null)
        .stepBias(tensor(name + "dt_bias", heads))
        .stepLimits(leastStep, mostStep)
        .decay(tensor(name + "A_log", heads))
        .skip(tensor(name + "D", heads))
        .norm(tensor(name + "norm.weight", channels), epsilon)
        .output(linear(name + "out_proj", channels, dim, biased))
        .build();
  }
}
