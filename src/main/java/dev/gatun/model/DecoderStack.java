package dev.gatun.model;

import dev.gatun.DType;
import dev.gatun.GatunRuntime;
import dev.gatun.Tensor;
import dev.gatun.model.WeightNames.Part;
import dev.gatun.nn.DecoderOnlyModel;
import dev.gatun.nn.Embedding;
import dev.gatun.nn.Linear;
import dev.gatun.nn.PositionalEncoding;
import dev.gatun.nn.TextEncoder;
import java.lang.foreign.Arena;
import java.util.HashMap;
import java.util.Map;

/**
 * A decoder with LLaMA's names that is made to score the next token or, without its output, to give
 * the hidden states behind its last norm, as embedders do (Zhang et al., 2025, Qwen3 Embedding).
 *
 * @param name of the model in Flight Recorder's events
 * @param config what config.json says
 * @param names of the weights
 * @param stack what the layers are like
 * @param raised whether norms multiply by 1 + weight, as Gemma's
 * @param factor of the embeddings
 * @param softcap of the logits; 0: none
 */
record DecoderStack(
    String name,
    DecoderConfig config,
    WeightNames names,
    StackConfig stack,
    boolean raised,
    float factor,
    float softcap) {

  private static final Part[] NORMS = {
    Part.SELF_NORM,
    Part.QUERY_NORM,
    Part.KEY_NORM,
    Part.SELF_OUTPUT_NORM,
    Part.FEED_FORWARD_NORM,
    Part.FEED_FORWARD_OUTPUT_NORM
  };

  /** LLaMA's, with embeddings and logits as they are. */
  DecoderStack(String name, DecoderConfig config, WeightNames names, StackConfig stack) {
    this(name, config, names, stack, false, 1, 0);
  }

  /** The decoder. */
  DecoderOnlyModel decoder() {
    GatunRuntime runtime = config.checkpoint().runtime();
    Weights weights = config.checkpoint().packed();
    if (config.tied()) {
      UnreadWeights.requireSame(
          config.checkpoint().weights(), DecoderConfig.HEAD, DecoderConfig.TABLE);
    } else {
      LayerLoader.requireMatrix(weights, DecoderConfig.HEAD);
    }
    var decoder = loader(weights).decoder();
    Embedding embedding = embedding(weights);
    Linear output =
        config.tied()
            ? LayerLoader.tied(runtime, weights, DecoderConfig.TABLE, embedding)
            : LayerLoader.linear(runtime, weights, DecoderConfig.HEAD, null, config.dim());
    if (output.out() != config.config().size("vocab_size")) {
      throw config.config().expected("vocab_size", "%d, as lm_head has".formatted(output.out()));
    }
    return new DecoderOnlyModel(name, runtime, embedding, decoder, output, softcap);
  }

  /** The hidden states behind the last norm, each of the tokens up to its own. */
  TextEncoder encoder() {
    Weights weights = config.checkpoint().packed();
    return new TextEncoder(
        name, config.checkpoint().runtime(), embedding(weights), loader(weights).encoder());
  }

  private Embedding embedding(Weights weights) {
    return new Embedding(
        config.checkpoint().runtime(),
        LayerLoader.table(weights, DecoderConfig.TABLE, config.dim()),
        factor,
        PositionalEncoding.none());
  }

  private LayerLoader loader(Weights weights) {
    Weights used =
        raised ? raised(config.checkpoint().arena(), weights, names, stack.layers()) : weights;
    return new LayerLoader(config.checkpoint().runtime(), used, names, stack);
  }

  /** The same weights, with 1 added to those of all norms. */
  static Weights raised(Arena arena, Weights weights, WeightNames names, int layers) {
    Map<String, Tensor> raised = new HashMap<>();
    for (int n = 0; n < layers; n++) {
      for (Part norm : NORMS) {
        if (names.has(norm)) {
          raise(arena, weights, names.name(norm, n, "weight"), raised);
        }
      }
    }
    raise(arena, weights, names.name(Part.FINAL_NORM, 0, "weight"), raised);
    return UnreadWeights.replaced(weights, raised);
  }

  private static void raise(Arena arena, Weights weights, String name, Map<String, Tensor> raised) {
    Tensor weight = LayerLoader.require(weights, name);
    if (weight.dtype() != DType.FLOAT32) {
      return; // the loader says what it expects
    }
    float[] gamma = weight.toFloatArray();
    for (int i = 0; i < gamma.length; i++) {
      gamma[i] += 1;
    }
    raised.put(name, Tensor.copyOf(arena, gamma, weight.shape()));
  }
}
