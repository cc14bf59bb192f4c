package dev.gatun.model;

import dev.gatun.DType;
import dev.gatun.GatunRuntime;
import dev.gatun.Tensor;
import dev.gatun.nn.DecoderOnlyModel;
import dev.gatun.nn.Embedding;
import dev.gatun.nn.Linear;
import dev.gatun.nn.NormOrder;
import dev.gatun.nn.PositionalEncoding;
import dev.gatun.nn.RMSNorm;
import dev.gatun.nn.SequenceMixer;
import dev.gatun.nn.TransformerDecoder;
import dev.gatun.nn.TransformerLayer;
import java.util.ArrayList;
import java.util.HashSet;
import java.util.List;
import java.util.Set;

/**
 * What the folders of Mamba and Mamba-2 have in common: pre-norm layers of nothing but a mixer,
 * under Hugging Face's names.
 */
abstract class StateSpaceFiles {

  private static final String TABLE = "embeddings.weight";
  private static final String FINAL_NORM = "norm_f.weight";
  private static final String HEAD = DecoderConfig.HEAD;

  final Checkpoint checkpoint;
  final FamilyConfig config;

  /** As they lie, for what is no matrix of a product. */
  private final Weights stored;

  private final Weights packed;
  private final Set<String> read = new HashSet<>();
  final int dim;

  /** Of all norms. */
  final float epsilon;

  /** Refuses what neither follows. */
  StateSpaceFiles(Checkpoint given, int otherwiseDim) {
    config = given.config();
    config.refuse("quantization_config");
    config.requireText("hidden_act", "silu");
    // Sums of residuals are float32 here, whether the file asks for it or not.
    config.flag("residual_in_fp32", true);
    checkpoint = given.scoped("backbone.");
    stored = checkpoint.weights();
    packed = checkpoint.packed();
    dim = config.size("hidden_size", otherwiseDim);
    epsilon = config.epsilon("layer_norm_epsilon", 1e-5);
  }

  /** A mixer whose weights' names begin so. */
  abstract SequenceMixer mixer(String name);

  /** The model; the other arguments are what its keys say where the file has none. */
  final DecoderOnlyModel model(
      String model, int otherwiseLayers, int otherwiseVocabulary, boolean otherwiseTied) {
    GatunRuntime runtime = checkpoint.runtime();
    int count = config.size("num_hidden_layers", otherwiseLayers);
    Tensor table = LayerLoader.table(stored, TABLE, dim);
    if (table.size(0) != config.size("vocab_size", otherwiseVocabulary)) {
      throw config.expected("vocab_size", "%d, as %s has".formatted(table.size(0), TABLE));
    }
    read.add(TABLE);
    boolean tied = config.flag("tie_word_embeddings", otherwiseTied);
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
        model,
        runtime,
        embedding,
        new TransformerDecoder(runtime, layers, NormOrder.PRE, last),
        output);
  }

  /** A product whose weight is {@code [out, in]}. */
  final Linear linear(String name, long in, long out, boolean biased) {
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
  final Tensor tensor(String name, long... shape) {
    Tensor tensor = LayerLoader.require(stored, name);
    Arguments.check(name, tensor, DType.FLOAT32, shape);
    read.add(name);
    return tensor;
  }
}
