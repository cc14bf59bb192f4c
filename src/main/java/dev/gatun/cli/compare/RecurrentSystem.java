package dev.gatun.cli.compare;

import dev.gatun.DType;
import dev.gatun.GatunRuntime;
import dev.gatun.Tensor;
import dev.gatun.WeightFormat;
import dev.gatun.nn.GruLayer;
import dev.gatun.nn.LstmLayer;
import dev.gatun.nn.RecurrentLayer;
import dev.gatun.nn.RecurrentWeights;
import java.lang.foreign.Arena;
import java.util.random.RandomGenerator;

/**
 * What attention replaced: layers whose steps wait for each other. Their input and their state are
 * as wide as all heads; the times have their products, which those of attention do not.
 */
enum RecurrentSystem implements CompareSystem {
  LSTM(
      "lstm", 4, "a recurrence with gates (Hochreiter and Schmidhuber), its projections included") {
    @Override
    RecurrentLayer layer(GatunRuntime runtime, RecurrentWeights weights) {
      return new LstmLayer(runtime, RecurrentLayer.Direction.FORWARD, weights);
    }
  },

  GRU("gru", 3, "a recurrence with fewer gates (Cho et al.), its projections included") {
    @Override
    RecurrentLayer layer(GatunRuntime runtime, RecurrentWeights weights) {
      return new GruLayer(
          runtime, RecurrentLayer.Direction.FORWARD, GruLayer.Reset.AFTER_PRODUCT, weights);
    }
  };

  private final String word;
  private final int gates;
  private final String what;

  RecurrentSystem(String word, int gates, String what) {
    this.word = word;
    this.gates = gates;
    this.what = what;
  }

  abstract RecurrentLayer layer(GatunRuntime runtime, RecurrentWeights weights);

  @Override
  public String word() {
    return word;
  }

  @Override
  public Kin kin() {
    return Kin.OTHER;
  }

  @Override
  public String what() {
    return what;
  }

  @Override
  public long serialSteps(Setting setting) {
    return setting.length();
  }

  @Override
  public long pathLength(Setting setting) {
    return setting.length();
  }

  @Override
  public double flops(Setting setting) { // of input and state
    return 4.0 * gates * setting.floats() * MechanismSystem.width(setting);
  }

  @Override
  public double bytes(Setting setting) { // gates of all rows, and weights
    double width = MechanismSystem.width(setting);
    return 4.0 * gates * (setting.floats() + 4 * width * width);
  }

  @Override
  public Runnable prepare(GatunRuntime runtime, Inputs inputs, Arena arena) {
    long width = (long) MechanismSystem.width(inputs.setting);
    RandomGenerator random = Inputs.random(width);
    double deviation = 1 / Math.sqrt(width);
    RecurrentWeights weights =
        new RecurrentWeights(
            Inputs.fill(
                Tensor.allocate(arena, DType.FLOAT32, gates * width, width), random, deviation),
            Inputs.fill(
                Tensor.allocate(arena, DType.FLOAT32, gates * width, width), random, deviation),
            null,
            null);
    RecurrentLayer layer = layer(runtime, weights).packed(arena, WeightFormat.FP32);
    Tensor x = inputs.q.reshape(1, inputs.setting.length(), width);
    Tensor out = inputs.out.reshape(1, inputs.setting.length(), width);
    return () -> layer.forward(null, x, null, out);
  }
}
