package dev.gatun.model;

import dev.gatun.Tensor;
import dev.gatun.internal.Messages;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.Collection;
import java.util.Collections;
import java.util.List;
import java.util.Map;
import java.util.Set;
import java.util.function.Predicate;
import java.util.regex.Pattern;

/**
 * Weights that a file has and nothing reads: a norm of queries, a layer beyond the configured
 * count, a bias. The model that they belong to computes something else.
 */
final class UnreadWeights {

  private UnreadWeights() {}

  /**
   * Refuses names that are neither read nor known.
   *
   * @param weights are not looked at where they cannot be listed
   * @param scope which names to look at
   * @param read those that are read
   * @param beside patterns of others, as of {@link WeightNames#beside}
   */
  static void refuse(
      Weights weights, Predicate<String> scope, Set<String> read, Collection<String> beside) {
    List<String> unread = new ArrayList<>();
    for (String name : weights.names()) {
      if (!read.contains(name) && scope.test(name)) {
        unread.add(name);
      }
    }
    if (!unread.isEmpty()) { // of most files nothing is: no pattern is needed
      List<Pattern> known = beside.stream().map(UnreadWeights::pattern).toList();
      unread.removeIf(name -> known.stream().anyMatch(p -> p.matcher(name).matches()));
      Collections.sort(unread);
    }
    if (!unread.isEmpty()) {
      Tensor first = weights.find(unread.getFirst());
      throw new IllegalArgumentException(
          "%s: expected weights that the model reads, got %s %s%s"
              .formatted(
                  source(weights),
                  Messages.shortened(unread.getFirst()),
                  first == null ? "" : Messages.sizes(first.shape()),
                  unread.size() == 1 ? "" : " and %d more".formatted(unread.size() - 1)));
    }
  }

  /** Refuses weights of other names than some patterns have. */
  static void refuseOthers(Weights weights, String... known) {
    refuse(weights, name -> true, Set.of(), List.of(known));
  }

  /** Refuses a weight, if it is there, that is not the one that a family uses in its place. */
  static void requireSame(Weights weights, String name, String used) {
    Tensor tensor = weights.find(name);
    Tensor other = weights.find(used);
    if (tensor == null || other == null || name.equals(used)) {
      return;
    }
    if (!same(tensor, other)) {
      throw new IllegalArgumentException(
          "%s: expected the numbers of %s, which the model uses in its place, got others"
              .formatted(name, used));
    }
    RecordedWeights.duplicate(weights, name);
  }

  /** Whether two tensors have the same shape and numbers. */
  static boolean same(Tensor one, Tensor other) {
    return one.dtype() == other.dtype()
        && Arrays.equals(one.shape(), other.shape())
        && one.isContiguous()
        && other.isContiguous()
        && one.segment().mismatch(other.segment()) < 0;
  }

  /** Weights with others in the places of some. */
  static Weights replaced(Weights weights, Map<String, Tensor> others) {
    return weights instanceof PackedWeights packed
        ? packed.with(new Replaced(packed.weights(), others))
        : new Replaced(weights, others);
  }

  private record Replaced(Weights weights, Map<String, Tensor> others) implements WeightView {
    @Override
    public Tensor find(String name) {
      Tensor other = others.get(name);
      return other == null ? weights.find(name) : other;
    }

    @Override
    public Tensor stored(String name) {
      Tensor other = others.get(name);
      return other == null ? weights.stored(name) : other;
    }

    @Override
    public Tensor scales(String name) {
      return others.containsKey(name) ? null : weights.scales(name);
    }

    @Override
    public int zeroPoint(String name) {
      return others.containsKey(name) ? 0 : weights.zeroPoint(name);
    }
  }

  /** What messages call the weights. */
  private static String source(Weights weights) {
    return switch (WeightView.source(weights)) {
      case FoundWeights found -> found.toString();
      case PackedFile file -> file.toString();
      default -> "weights";
    };
  }

  private static Pattern pattern(String text) {
    StringBuilder regex = new StringBuilder();
    for (String part : text.split("(?<=\\{n\\}|\\*)|(?=\\{n\\}|\\*)")) {
      regex.append(part.equals("{n}") ? "\\d+" : part.equals("*") ? ".*" : Pattern.quote(part));
    }
    return Pattern.compile(regex.toString());
  }
}
