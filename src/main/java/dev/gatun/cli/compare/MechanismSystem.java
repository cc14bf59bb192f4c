package dev.gatun.cli.compare;

import dev.gatun.Causal;
import dev.gatun.DType;
import dev.gatun.GatunRuntime;
import dev.gatun.Tensor;
import dev.gatun.nn.AdditiveAttention;
import dev.gatun.nn.AttentionMechanism;
import dev.gatun.nn.LinearAttention;
import dev.gatun.nn.LinformerAttention;
import dev.gatun.nn.RandomFeatureAttention;
import java.lang.foreign.Arena;

/** Other things to do with queries, keys and values: mechanisms of dev.gatun.nn. */
enum MechanismSystem implements CompareSystem {
  /** Wang et al., 2020. Random projections, as untrained as the inputs. */
  LINFORMER(
      "linformer",
      Kin.APPROXIMATION,
      "softmax(Q(EK)ᵀ/√d)FV: keys and values are projected to as many rows as there are features") {
    @Override
    AttentionMechanism mechanism(GatunRuntime runtime, Setting setting, Arena arena) {
      Tensor projection =
          Inputs.fill(
              Tensor.allocate(arena, DType.FLOAT32, setting.features(), setting.length()),
              Inputs.random(setting.features()),
              1 / Math.sqrt(setting.features()));
      return new LinformerAttention(runtime, projection, projection);
    }

    @Override
    public double flops(Setting setting) {
      return 8.0 * setting.floats() * setting.features();
    }

    @Override
    public double bytes(Setting setting) { // E, and the projected rows
      return 4.0 * setting.features() * (setting.length() + 2.0 * width(setting));
    }
  },

  /** Choromanski et al., 2021: FAVOR+, positive orthogonal features. */
  PERFORMER(
      "performer",
      Kin.APPROXIMATION,
      "random features whose products are exp(q·k/√d) in expectation") {
    @Override
    AttentionMechanism mechanism(GatunRuntime runtime, Setting setting, Arena arena) {
      return RandomFeatureAttention.of(
          runtime,
          RandomFeatureAttention.orthogonalProjection(
              arena, setting.features(), setting.headDim(), Inputs.SEED),
          false);
    }

    @Override
    public double flops(Setting setting) { // features of q and k, φ(K)ᵀV, φ(Q)(φ(K)ᵀV)
      return 8.0 * setting.floats() * setting.features();
    }

    @Override
    public double bytes(Setting setting) { // the projection, and sums of each thread
      return 16 << 20;
    }
  },

  /** Katharopoulos et al., 2020. */
  LINEAR(
      "linear",
      Kin.APPROXIMATION,
      "φ(Q)(φ(K)ᵀV), φ = elu + 1, in place of exp: models are trained so") {
    @Override
    AttentionMechanism mechanism(GatunRuntime runtime, Setting setting, Arena arena) {
      return new LinearAttention(runtime, false);
    }

    @Override
    public double flops(Setting setting) {
      return 4.0 * setting.floats() * setting.headDim();
    }

    @Override
    public double bytes(Setting setting) {
      return 16 << 20;
    }
  },

  /** Bahdanau et al., 2015, in heads. */
  ADDITIVE("additive", Kin.OTHER, "softmax(vᵀtanh(q + k))V: Bahdanau's, with W and U in q and k") {
    @Override
    AttentionMechanism mechanism(GatunRuntime runtime, Setting setting, Arena arena) {
      Tensor energy =
          Inputs.fill(
              Tensor.allocate(arena, DType.FLOAT32, setting.heads(), setting.headDim()),
              Inputs.random(setting.headDim()),
              1 / Math.sqrt(setting.headDim()));
      return new AdditiveAttention(runtime, energy, Causal.NONE);
    }

    @Override
    public double flops(Setting setting) {
      // a sum, a product and an addition for a score, and one of each for V
      return 5.0 * setting.floats() * setting.length();
    }

    @Override
    public double bytes(Setting setting) {
      return 16 << 20;
    }
  };

  private final String word;
  private final Kin kin;
  private final String what;

  MechanismSystem(String word, Kin kin, String what) {
    this.word = word;
    this.kin = kin;
    this.what = what;
  }

  abstract AttentionMechanism mechanism(GatunRuntime runtime, Setting setting, Arena arena);

  static double width(Setting setting) {
    return (double) setting.heads() * setting.headDim();
  }

  @Override
  public String word() {
    return word;
  }

  @Override
  public Kin kin() {
    return kin;
  }

  @Override
  public String what() {
    return what;
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
  public final Runnable prepare(GatunRuntime runtime, Inputs inputs, Arena arena) {
    AttentionMechanism mechanism = mechanism(runtime, inputs.setting, arena);
    return () -> mechanism.forward(null, inputs.q, inputs.k, inputs.v, inputs.out);
  }
}
