package dev.gatun.model;

import dev.gatun.DType;
import dev.gatun.Tensor;
import dev.gatun.io.OnnxException;
import dev.gatun.io.OnnxFile.Node;
import java.lang.foreign.Arena;
import java.util.Arrays;
import java.util.HashSet;
import java.util.Set;

/**
 * The embeddings of a BERT-family encoder in a graph: two or three tables, and where the graph
 * takes the rows of positions and token types from.
 */
final class BertEmbeddings {

  /** Parts of a graph that copy, cut or repeat whole numbers, and change none. */
  private static final Set<String> COPIES =
      Set.of("Slice", "Expand", "Unsqueeze", "Squeeze", "Cast", "Reshape", "Tile");

  private final OnnxGraph graph;

  /** FLOAT32, or the UINT8 numbers of {@link #quantizedWords}. */
  final Tensor words;

  /** The words' table if it is quantized, else null. The others are small, and made floats. */
  final OnnxQuantized.Table quantizedWords;

  final Tensor positions;

  /** Null in DistilBERT. */
  final Tensor tokenTypes;

  /** The position of a text's first token. */
  private int first;

  /** The token that has no position of its own, or -1. */
  private int paddingId = -1;

  /** How many tokens a text may have. */
  private int longest;

  /** What {@link #sum} has to add up. */
  private final Set<String> rows = new HashSet<>();

  BertEmbeddings(
      OnnxGraph graph,
      OnnxQuantized quantized,
      Arena arena,
      String scope,
      boolean typed,
      ModelConfig config)
      throws OnnxException {
    this(
        graph,
        quantized,
        arena,
        gather(graph, scope, "word_embeddings"),
        gather(graph, scope, "position_embeddings"),
        typed ? gather(graph, scope, "token_type_embeddings") : null,
        config);
  }

  /** Reads the tables of three look-ups, the last of which may be null. */
  BertEmbeddings(
      OnnxGraph graph,
      OnnxQuantized quantized,
      Arena arena,
      Node word,
      Node position,
      Node type,
      ModelConfig config)
      throws OnnxException {
    this.graph = graph;
    boolean typed = type != null;
    if (quantized.isQuantized(word)) {
      quantizedWords = quantized.table(Bert.WORDS, word, -1);
      words = quantizedWords.numbers();
      rows.add(quantizedWords.value());
    } else {
      quantizedWords = null;
      words = graph.floats(Bert.WORDS, graph.input(word, 0), -1, -1);
      rows.add(graph.output(word));
    }
    int hidden = (int) words.size(1);
    positions = floats(quantized, arena, Bert.POSITIONS, position, hidden);
    tokenTypes = typed ? floats(quantized, arena, Bert.TYPES, type, hidden) : null;
    String ids = graph.input(word, 1);
    if (graph.producer(behindCopies(ids)) != null || graph.isConstant(behindCopies(ids))) {
      throw graph.error("%s: expected token ids as they are given to the graph".formatted(word));
    }
    if (typed) {
      readTokenTypes(type);
    }
    readPositions(position, behindCopies(ids), config);
  }

  /** The sizes of an encoder with these embeddings. */
  BertConfig sizes(int layers, int headDim, int intermediate, float eps) {
    int hidden = (int) words.size(1);
    return new BertConfig(
        layers,
        hidden,
        hidden / headDim,
        headDim,
        intermediate,
        (int) words.size(0),
        longest(),
        tokenTypes == null ? 0 : (int) tokenTypes.size(0),
        eps,
        first(),
        paddingId());
  }

  int first() {
    return first;
  }

  int paddingId() {
    return paddingId;
  }

  int longest() {
    return longest;
  }

  private static Node gather(OnnxGraph graph, String encoder, String table) throws OnnxException {
    String scope = encoder + "/embeddings/";
    Node node = graph.file.node(scope + table + "/Gather");
    if (node == null) {
      throw graph.error(
          "no node %s%s/Gather, which looks up the weight embeddings.%s.weight"
              .formatted(scope, table, table));
    }
    return node;
  }

  private Tensor floats(OnnxQuantized quantized, Arena arena, String name, Node gather, int columns)
      throws OnnxException {
    if (quantized.isQuantized(gather)) {
      OnnxQuantized.Table table = quantized.table(name, gather, columns);
      rows.add(table.value());
      return table.dequantized(arena);
    }
    rows.add(graph.output(gather));
    return graph.floats(name, graph.input(gather, 0), -1, columns);
  }

  /** The sum of the tables' rows, which the first norm takes; nothing else is added. */
  void requireSum(String value) throws OnnxException {
    String expected =
        "embeddings: expected the sum of words%s, got "
            .formatted(tokenTypes == null ? " and positions" : ", positions and token types");
    Set<String> terms = new HashSet<>();
    for (Node node : graph.between(value, rows::contains, terms)) {
      if (!node.opType().equals("Add")) {
        throw graph.error(expected + node);
      }
    }
    if (!terms.equals(rows)) {
      throw graph.error(expected + "that of " + terms);
    }
  }

  // ---- token types ---------------------------------------------------------------------------

  /** A text has type 0, be it given to the graph or fixed in it. */
  private void readTokenTypes(Node type) throws OnnxException {
    String value = behindCopies(graph.input(type, 1));
    long[] fixed = graph.wholes(value);
    Node producer = graph.producer(value);
    if (producer != null && producer.opType().equals("ConstantOfShape")) {
      Tensor fill = graph.file.value(producer);
      // ONNX fills with the float 0 where the node does not say.
      fixed = fill == null || fill.dtype() == DType.FLOAT32 ? null : OnnxGraph.wholes(fill);
    } else if (producer == null && fixed == null) {
      return;
    }
    if (fixed == null || Arrays.stream(fixed).anyMatch(row -> row != 0)) {
      throw graph.error(
          "%s: expected token types as they are given to the graph, or 0".formatted(type));
    }
  }

  // ---- positions -----------------------------------------------------------------------------

  private void readPositions(Node gather, String ids, ModelConfig config) throws OnnxException {
    String value = behindCopies(graph.input(gather, 1));
    long[] table = graph.wholes(value);
    Node producer = graph.producer(value);
    long rowsOfTable = positions.size(0);
    if (table != null) {
      first = requireAscending(gather, table);
      rowsOfTable = Math.min(rowsOfTable, (long) first + table.length);
    } else if (producer != null && producer.opType().equals("Add")) {
      paddingId = countedFrom(producer, ids);
      first = paddingId + 1;
    } else if (producer == null && config != null && config.paddingId() != null) {
      // The graph's user gives them, as the family does.
      paddingId = config.paddingId();
      first = paddingId + 1;
    } else {
      throw unknown(gather);
    }
    if (config != null && config.paddingId() != null && config.paddingId() != first - 1) {
      throw graph.error(
          ("%s: the graph counts positions from %d, but %s is of a family that counts them from"
                  + " %d")
              .formatted(gather, first, config.source(), config.paddingId() + 1));
    }
    longest = (int) (rowsOfTable - first);
    if (longest < 1) {
      throw graph.error(
          "weight embeddings.position_embeddings.weight: expected more than %d rows, got %d"
              .formatted(first, positions.size(0)));
    }
  }

  private int requireAscending(Node gather, long[] table) throws OnnxException {
    for (int i = 0; i < table.length; i++) {
      if (table[i] != table[0] + i) {
        throw unknown(gather);
      }
    }
    if (table.length == 0 || table[0] < 0 || table[0] >= positions.size(0)) {
      throw unknown(gather);
    }
    return (int) table[0];
  }

  /**
   * RoBERTa's, of fairseq: {@code cumsum(ids != padding) * (ids != padding) + padding}, so that
   * padding has the row of its own id and all else is counted from the row behind it.
   */
  private int countedFrom(Node add, String ids) throws OnnxException {
    for (int i = 0; i < 2; i++) {
      long padding = graph.whole(graph.input(add, i), -1);
      Node product = graph.producer(behindCopies(graph.input(add, 1 - i)));
      if (padding >= 0 && padding < positions.size(0) && product != null) {
        requireCount(product, ids, padding);
        return (int) padding;
      }
    }
    throw unknown(add);
  }

  private void requireCount(Node product, String ids, long padding) throws OnnxException {
    if (product.opType().equals("Mul")) {
      for (int i = 0; i < 2; i++) {
        Node count = graph.producer(behindCopies(graph.input(product, i)));
        if (count != null && count.opType().equals("Add")) { // of the length of what went before
          count =
              graph.whole(graph.input(count, 1), -1) == 0
                  ? graph.producer(behindCopies(graph.input(count, 0)))
                  : null;
        }
        if (count != null
            && count.opType().equals("CumSum")
            && count.longAttribute("exclusive", 0) == 0
            && count.longAttribute("reverse", 0) == 0
            && isMask(graph.input(count, 0), ids, padding)
            && isMask(graph.input(product, 1 - i), ids, padding)) {
          return;
        }
      }
    }
    throw unknown(product);
  }

  /** Whether a value is 1 where a token is not padding. */
  private boolean isMask(String value, String ids, long padding) throws OnnxException {
    Node not = graph.producer(behindCopies(value));
    if (not == null || !not.opType().equals("Not")) {
      return false;
    }
    Node equal = graph.producer(graph.input(not, 0));
    return equal != null
        && equal.opType().equals("Equal")
        && graph.same(behindCopies(graph.input(equal, 0)), ids)
        && graph.whole(graph.input(equal, 1), -1) == padding;
  }

  private OnnxException unknown(Node node) {
    return graph.error(
        ("position ids: expected a constant of 0, 1, 2, … as BERT has it, or the count of tokens"
                + " that are not padding as RoBERTa has it, got what %s makes of them")
            .formatted(node));
  }

  /** Where numbers come from that are copied, cut at their end, or repeated on the way. */
  private String behindCopies(String value) throws OnnxException {
    return behindCopies(graph, value);
  }

  /** The same of a graph. */
  static String behindCopies(OnnxGraph graph, String value) throws OnnxException {
    String name = graph.origin(value);
    for (int steps = 0; steps <= graph.file.nodes().size(); steps++) {
      Node node = graph.producer(name);
      if (node == null || !COPIES.contains(node.opType()) || node.inputs().isEmpty()) {
        return name;
      }
      if (node.opType().equals("Slice") && node.inputs().size() > 1) {
        long[] starts = graph.wholes(graph.input(node, 1));
        long[] strides =
            node.inputs().size() > 4 ? graph.wholes(graph.input(node, 4)) : new long[0];
        if (starts == null
            || strides == null
            || Arrays.stream(starts).anyMatch(start -> start != 0)
            || Arrays.stream(strides).anyMatch(stride -> stride != 1)) {
          return name;
        }
      }
      name = graph.input(node, 0);
    }
    throw graph.error("the value '%s' leads back to itself".formatted(value));
  }
}
