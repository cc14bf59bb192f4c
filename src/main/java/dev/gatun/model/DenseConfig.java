package dev.gatun.model;

import dev.gatun.Activation;
import dev.gatun.internal.Json;
import java.util.Map;
import java.util.Set;

/**
 * What a Dense module of sentence-transformers says.
 *
 * @param in elements that it takes
 * @param out elements that it gives
 * @param bias whether it adds one
 * @param activation applied to the sum; NONE where tanh is
 * @param tanh whether the hyperbolic tangent is applied to it
 */
record DenseConfig(int in, int out, boolean bias, Activation activation, boolean tanh) {
  private static final String TANH = "torch.nn.modules.activation.Tanh";

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
    boolean tanh = activation.string().equals(TANH);
    if (!tanh && !ACTIVATIONS.containsKey(activation.string())) {
      throw activation.expected("Tanh, Identity, ReLU, GELU or SiLU of torch.nn.modules");
    }
    return new DenseConfig(
        (int) json.get("in_features").integer(1, Integer.MAX_VALUE),
        (int) json.get("out_features").integer(1, Integer.MAX_VALUE),
        json.find("bias").boolOr(true),
        tanh ? Activation.NONE : ACTIVATIONS.get(activation.string()),
        tanh);
  }
}
