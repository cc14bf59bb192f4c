package dev.gatun.model;

import dev.gatun.Activation;
import dev.gatun.internal.Json;
import dev.gatun.nn.SentenceEncoder.Squash;
import java.util.Map;
import java.util.Set;

/**
 * What a Dense module of sentence-transformers says.
 *
 * @param in elements that it takes
 * @param out elements that it gives
 * @param bias whether it adds one
 * @param activation applied to the sum; NONE where squash does something
 * @param squash applied to it
 */
record DenseConfig(int in, int out, boolean bias, Activation activation, Squash squash) {
  private static final Map<String, Squash> SQUASHES =
      Map.of(
          "torch.nn.modules.activation.Tanh", Squash.TANH,
          "torch.nn.modules.activation.Sigmoid", Squash.SIGMOID);

  private static final Map<String, Activation> ACTIVATIONS =
      Map.of(
          "torch.nn.modules.linear.Identity", Activation.NONE,
          "torch.nn.modules.activation.ReLU", Activation.RELU,
          "torch.nn.modules.activation.GELU", Activation.GELU,
          "torch.nn.modules.activation.SiLU", Activation.SILU);

  static DenseConfig read(Json json) {
    json.only(
        Set.of(
            "in_features",
            "out_features",
            "bias",
            "activation_function",
            "module_input_name",
            "module_output_name"));
    for (String key : new String[] {"module_input_name", "module_output_name"}) {
      Json value = json.find(key);
      if (!value.isNull() && !value.string().equals("sentence_embedding")) {
        throw value.expected("\"sentence_embedding\"");
      }
    }
    Json activation = json.get("activation_function");
    String name = activation.string();
    if (!SQUASHES.containsKey(name) && !ACTIVATIONS.containsKey(name)) {
      throw activation.expected("Tanh, Sigmoid, Identity, ReLU, GELU or SiLU of torch.nn.modules");
    }
    return new DenseConfig(
        (int) json.get("in_features").integer(1, Integer.MAX_VALUE),
        (int) json.get("out_features").integer(1, Integer.MAX_VALUE),
        json.find("bias").boolOr(true),
        ACTIVATIONS.getOrDefault(name, Activation.NONE),
        SQUASHES.getOrDefault(name, Squash.NONE));
  }
}
