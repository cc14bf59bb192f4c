package dev.gatun.model;

import dev.gatun.DType;
import dev.gatun.GatunRuntime;
import dev.gatun.Tensor;
import dev.gatun.nn.DecoderOnlyModel;
import dev.gatun.nn.Embedding;
import dev.gatun.nn.Linear;
import dev.gatun.nn.Mamba;
import dev.gatun.nn.NormOrder;
import dev.gatun.nn.PositionalEncoding;
import dev.gatun.nn.RMSNorm;
import dev.gatun.nn.TransformerDecoder;
import dev.gatun.nn.TransformerLayer;
import java.util.ArrayList;
import java.util.HashSet;
import java.util.List;
import java.util.Set;

/**
 * Mamba (Gu and Dao, 2023) as a language model: pre-norm layers of nothing but {@link Mamba}, tied
 * output; Hugging Face's names.
 */
final class MambaFiles {

  private static final String TABLE = "embeddings.weight";
  private static final String FINAL_NORM = "norm_f.weight";
  private static final String HEAD = DecoderConfig.HEAD;

  private final Checkpoint checkpoint;
  private final FamilyConfig config;

  /** As they lie, for what is no matrix of a product. */
  private final Weights stored;

  private final Weights packed;
  private final Set<String> read = new HashSet<>();
  private final int dim;
  private final int channels;
  private final int states;
  private final int rank;

  private MambaFiles(Checkpoint given) {
    config = given.config();
    config.refuse("quantization_config");
    config.requireText("hidden_act", "silu");
    // Sums of residuals are float32 here, whether the file asks for it or not.
    config.flag("residual_in_fp32", true);
    checkpoint = given.scoped("backbone.");
    stored = checkpoint.weights();
    packed = checkpoint.packed();
    dim = config.size("hidden_size", 768);
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
    return new MambaFiles(given).model();
  }

  private DecoderOnlyModel model() {
    GatunRuntime runtime = checkpoint.runtime();
    float epsilon = config.epsilon("layer_norm_epsilon", 1e-5);
    int count = config.size("num_hidden_layers", 32);
    Tensor table = LayerLoader.table(stored, TABLE, dim);
    if (table.size(0) != config.size("vocab_size", 50280)) {
      throw config.expected("vocab_size", "%d, as %s has".formatted(table.size(0), TABLE));
    }
    read.add(TABLE);
    boolean tied = config.flag("tie_word_embeddings", true);
    if (tied) {
      UnreadWeights.requireSame(stored, HEAD, TABLE);
    }
    read.add(HEAD);
    List<TransformerLayer> layers = new ArrayList<>();
    for (int n = 0; n < count; n++) {
      String layer = "layers.%d.".formatted(n);
      RMSNorm norm = new RMSNorm(runtime, tensor(layer + "norm.weight", dim), epsilon);
      layers.add(new TransformerLayer(mixer(layer + "mixer."), norm));
    }
    RMSNorm last = new RMSNorm(runtime, tensor(FINAL_NORM, dim), epsilon);
    UnreadWeights.refuse(stored, name -> true, read, List.of());
    Embedding embedding = new Embedding(runtime, table, 1, PositionalEncoding.none());
    Linear output =
        tied
            ? LayerLoader.tied(runtime, packed, TABLE, embedding)
            : LayerLoader.linear(runtime, packed, HEAD, null, dim);
    if (output.out() != table.size(0)) {
      throw config.expected("vocab_size", "%d, as lm_head has".formatted(output.out()));
    }
    return new DecoderOnlyModel(
        "Mamba",
        runtime,
        embedding,
        new TransformerDecoder(runtime, layers, NormOrder.PRE, last),
        output);
  }

  private Mamba mixer(String name) {
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

  private Linear linear(String name, long in, long out, boolean biased) {
    String weight = name + ".weight";
    Tensor matrix = LayerLoader.requireMatrix(stored, weight);
    Arguments.check(weight, matrix, matrix.dtype(), out, in);
    read.add(weight);
    String bias = biased ? name + ".bias" : null;
    if (biased) {
      tensor(bias, out);
    }
    return LayerLoader.linear(checkpoint.runtime(), packed, weight, bias, in);
  }

  /** A weight that is used as it is. */
  private Tensor tensor(String name, long... shape) {
    Tensor tensor = LayerLoader.require(stored, name);
    Arguments.check(name, tensor, DType.FLOAT32, shape);
    read.add(name);
    return tensor;
  }
}
