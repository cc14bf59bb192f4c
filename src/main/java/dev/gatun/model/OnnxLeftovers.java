package dev.gatun.model;

import dev.gatun.io.OnnxException;
import dev.gatun.io.OnnxFile.Initializer;
import dev.gatun.io.OnnxFile.Node;
import java.util.HashSet;
import java.util.List;
import java.util.Set;
import java.util.regex.Pattern;

/**
 * What a graph has beside the encoder that was read. A weight that nobody read and a node behind
 * the last state that nobody knows would make the result another one: they are refused.
 *
 * <p>Known to be unneeded are
 *
 * <ul>
 *   <li>{@code pooler}: a layer on the first token's state for the prediction of next sentences,
 *       which embeddings do not take;
 *   <li>{@code cls}, {@code lm_head} and DistilBERT's {@code vocab_transform}, {@code
 *       vocab_layer_norm} and {@code vocab_projector}: the heads of pretraining, which predict
 *       masked words;
 *   <li>whole numbers and truth values: shapes and indices, of which positions and token types are
 *       read; no weight of a model in float32 is of these types;
 *   <li>single numbers: divisors and epsilons, looked at where they are used.
 * </ul>
 */
final class OnnxLeftovers {
  private static final String HEADS =
      "(?:pooler|cls|lm_head|vocab_transform|vocab_layer_norm|vocab_projector)";

  private static final Pattern HEAD_WEIGHT = Pattern.compile("(?:[\\w.]+\\.)?" + HEADS + "\\..+");
  private static final Pattern HEAD_NODE = Pattern.compile("(?:/[\\w.]+)?/" + HEADS + "/.*");

  private static final Set<String> INDICES = Set.of("INT64", "INT32", "BOOL");

  /** What exporters call the last hidden state. */
  private static final Set<String> LAST_STATE = Set.of("last_hidden_state", "token_embeddings");

  private final OnnxGraph graph;
  private final String stack;
  private final Set<Node> heads = new HashSet<>();

  /**
   * Prepares to look.
   *
   * @param stack what nodes of the layers are called: {@code /encoder}, {@code /bert/encoder}
   */
  OnnxLeftovers(OnnxGraph graph, String stack) {
    this.graph = graph;
    this.stack = stack;
  }

  /**
   * Finds a pooler that has other names by what it computes: tanh of a linear layer of the first
   * token's state, which goes nowhere but to outputs.
   */
  void findPooler(String last) throws OnnxException {
    OnnxLinear linears = new OnnxLinear(graph);
    for (Node gather : graph.consumers(last, "Gather")) {
      if (gather.longAttribute("axis", 0) != 1
          || graph.whole(graph.input(gather, 1), -1) != 0
          || !graph.same(graph.input(gather, 0), last)) {
        continue;
      }
      String first = graph.output(gather);
      List<String> layers = linears.users(first);
      if (layers.size() != 1 || graph.consumers(first).size() != 1) {
        continue;
      }
      Set<Node> tanh = graph.consumers(layers.getFirst());
      if (tanh.size() == 1
          && tanh.iterator().next().opType().equals("Tanh")
          && graph.consumers(graph.output(tanh.iterator().next())).isEmpty()
          && graph.same(linears.of(layers.getFirst()).input(), first)) {
        heads.addAll(tanh);
        heads.addAll(graph.between(layers.getFirst(), last::equals, new HashSet<>()));
      }
    }
  }

  /**
   * Refuses what is left over.
   *
   * @param last the value that is the last hidden state
   * @param states it and those before, which a graph may give out as well
   */
  void refuse(String last, Set<String> states) throws OnnxException {
    for (Node node : graph.consumers(last)) {
      if (!isHead(node)) {
        throw graph.error(
            "%s: expected nothing behind the last layer of %s".formatted(node, stack));
      }
    }
    refuseOutputs(last, states);
    for (Initializer initializer : graph.file.initializers()) {
      refuseUnread(initializer.name(), initializer);
    }
    for (Node node : graph.file.nodes()) {
      if (node.opType().equals("Constant") && !node.outputs().isEmpty()) {
        String output = graph.output(node);
        Initializer constant = graph.file.describe(output);
        if (constant != null) {
          refuseUnread(output, constant);
        }
      }
    }
  }

  private void refuseOutputs(String last, Set<String> states) throws OnnxException {
    boolean found = graph.file.outputs().isEmpty();
    for (String output : graph.file.outputs()) {
      String value = graph.file.origin(output);
      Node producer = graph.producer(value);
      boolean head = producer != null && isHead(producer);
      boolean named = producer == null && LAST_STATE.contains(value);
      if (!head && !named && !states.contains(value)) {
        throw graph.error(
            "output '%s': expected the last state of %s, got %s"
                .formatted(output, stack, producer == null ? "what nothing computes" : producer));
      }
      found |= head || named || value.equals(last);
    }
    if (!found) {
      throw graph.error(
          "outputs %s: expected the last state of %s among them"
              .formatted(graph.file.outputs(), stack));
    }
  }

  private boolean isHead(Node node) {
    return heads.contains(node) || HEAD_NODE.matcher(node.name()).matches();
  }

  private void refuseUnread(String value, Initializer constant) throws OnnxException {
    if (graph.isRead(value)
        || INDICES.contains(constant.dataType())
        || isNumber(constant)
        || HEAD_WEIGHT.matcher(value).matches()
        || isOfHeads(value)) {
      return;
    }
    throw graph.error(
        "the weight %s is nothing that Gatun reads: the model computes something else with it"
            .formatted(constant));
  }

  private static boolean isNumber(Initializer constant) {
    for (long size : constant.shape()) {
      if (size != 1) {
        return false;
      }
    }
    return true;
  }

  /** True for a nameless matrix of a head. */
  private boolean isOfHeads(String value) throws OnnxException {
    Set<Node> nodes = graph.consumers(value);
    return !nodes.isEmpty() && nodes.stream().allMatch(this::isHead);
  }
}
