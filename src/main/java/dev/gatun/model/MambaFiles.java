package dev.gatun.model;

import dev.gatun.nn.DecoderOnlyModel;
import dev.gatun.nn.Mamba;

/**
 * Mamba (Gu and Dao, 2023) as a language model: pre-norm layers of nothing but {@link Mamba}, tied
 * output; Hugging Face's names.
 */
final class MambaFiles extends StateSpaceFiles {

  private final int channels;
  private final int states;
  private final int rank;

  private MambaFiles(Checkpoint given) {
    super(given, 768);
    long wide = (long) dim * config.size("expand", 2);
    channels = config.size("intermediate_size", (int) Math.min(wide, Integer.MAX_VALUE));
    if (channels != wide) {
      throw config.expected(
          config.has("intermediate_size") ? "intermediate_size" : "expand",
          "hidden_size · expand below 2^31");
    }
    states = config.size("state_size", 16);
    boolean automatic =
        !config.has("time_step_rank") || config.json().find("time_step_rank").isString();
    rank = automatic ? automaticRank() : config.size("time_step_rank");
  }

  private int automaticRank() {
    config.requireText("time_step_rank", "auto");
    return Math.ceilDiv(dim, 16);
  }

  /** Of a folder in Hugging Face's layout. */
  static DecoderOnlyModel load(Checkpoint given) {
    return new MambaFiles(given).model("Mamba", 32, 50280, true);
  }

  @Override
  Mamba mixer(String name) {
    boolean biased = config.flag("use_bias", false);
    boolean convolutionBiased = config.flag("use_conv_bias", true);
    int width = config.size("conv_kernel", 4);
    Mamba.Builder builder = Mamba.builder(checkpoint.runtime(), checkpoint.arena());
    builder.input(linear(name + "in_proj", dim, 2L * channels, biased));
    builder.convolution(
        tensor(name + "conv1d.weight", channels, 1, width),
        convolutionBiased ? tensor(name + "conv1d.bias", channels) : null);
    builder.projection(linear(name + "x_proj", channels, rank + 2L * states, false));
    builder.step(
        linear(name + "dt_proj", rank, channels, false), tensor(name + "dt_proj.bias", channels));
    builder.decay(tensor(name + "A_log", channels, states));
    builder.skip(tensor(name + "D", channels));
    builder.output(linear(name + "out_proj", channels, dim, biased));
    return builder.build();
  }
}
