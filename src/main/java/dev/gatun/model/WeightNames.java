package dev.gatun.model;

import dev.gatun.nn.WeightOrder;
import java.util.ArrayList;
import java.util.EnumMap;
import java.util.HashSet;
import java.util.List;
import java.util.Map;
import java.util.Objects;
import java.util.Set;

/**
 * What the weights of a layer are called in a family's files. In a pattern {@code {n}} stands for
 * the number of the layer and {@code {p}} for {@code weight} or {@code bias}. A bias that the file
 * does not have is no bias.
 */
public final class WeightNames {

  /** The parts of a layer that have weights. */
  public enum Part {
    /** W_Q of self-attention. */
    QUERY,
    /** W_K of self-attention. */
    KEY,
    /** W_V of self-attention. */
    VALUE,
    /** W_Q, W_K, W_V of self-attention in one matrix. */
    FUSED,
    /** W_O of self-attention. */
    OUTPUT,
    /** The norm of each head of the queries of self-attention, before its position. */
    QUERY_NORM,
    /** The norm of each head of the keys; both or neither have a name. */
    KEY_NORM,
    /** The norm of self-attention. */
    SELF_NORM,
    /** The norm of what self-attention gives, of {@link dev.gatun.nn.NormOrder#SANDWICH}. */
    SELF_OUTPUT_NORM,
    /** W_Q of cross-attention. */
    CROSS_QUERY,
    /** W_K of cross-attention. */
    CROSS_KEY,
    /** W_V of cross-attention. */
    CROSS_VALUE,
    /** W_Q, W_K, W_V of cross-attention in one matrix. */
    CROSS_FUSED,
    /** W_O of cross-attention. */
    CROSS_OUTPUT,
    /** The norm of cross-attention. */
    CROSS_NORM,
    /** The first layer of the feed-forward network. */
    FIRST,
    /** Its gate. */
    GATE,
    /** The first layer and, behind its outputs, those of its gate, in one matrix. */
    FIRST_AND_GATE,
    /** The gate and, behind its outputs, those of the first layer, in one matrix. */
    GATE_AND_FIRST,
    /** Its second layer. */
    SECOND,
    /** Its norm. */
    FEED_FORWARD_NORM,
    /** The norm of what the network gives, of {@link dev.gatun.nn.NormOrder#SANDWICH}. */
    FEED_FORWARD_OUTPUT_NORM,
    /** The norm after the last layer. */
    FINAL_NORM
  }

  private final Map<Part, String> patterns = new EnumMap<>(Part.class);
  private final List<String> beside = new ArrayList<>();
  private final boolean inputMajor;

  private WeightNames(boolean inputMajor) {
    this.inputMajor = inputMajor;
  }

  /**
   * Starts a map of names whose matrices are {@code [out, in]}, as PyTorch's Linear stores them.
   *
   * @return no names yet
   */
  public static WeightNames outputMajor() {
    return new WeightNames(false);
  }

  /**
   * Starts a map of names whose matrices are {@code [in, out]}, as GPT-2's Conv1D and ONNX store
   * them.
   *
   * @return no names yet
   */
  public static WeightNames inputMajor() {
    return new WeightNames(true);
  }

  /**
   * Adds a name. Not thread-safe, unlike everything else here.
   *
   * @param part what has the name
   * @param pattern with {@code {n}} and {@code {p}}
   * @return this
   */
  public WeightNames with(Part part, String pattern) {
    patterns.put(part, Objects.requireNonNull(pattern, "pattern"));
    return this;
  }

  /**
   * Says what else a file may have: weights that something else than layers reads, and what no part
   * of the model needs. A weight of any other name is then refused by {@link LayerLoader}; without
   * a call of this, only one whose name begins as those of layers do up to their number. Not
   * thread-safe, unlike everything else here.
   *
   * @param patterns with {@code {n}} for any number and {@code *} for anything
   * @return this
   */
  public WeightNames beside(String... patterns) {
    beside.addAll(List.of(patterns));
    return this;
  }

  /** Refuses what nothing reads of a file with such layers. */
  void refuseUnread(Weights weights, StackConfig config) {
    Set<String> read = new HashSet<>();
    Set<String> scopes = new HashSet<>();
    for (Part part : patterns.keySet()) {
      String pattern = patterns.get(part);
      int number = pattern.indexOf("{n}");
      if (number >= 0) {
        scopes.add(pattern.substring(0, number));
      }
      boolean biased = !(config.rms() && part.name().endsWith("NORM"));
      for (int n = 0; n < (number < 0 ? 1 : config.layers()); n++) {
        if (!has(part, config.layer(n))) {
          continue;
        }
        read.add(name(part, n, "weight"));
        if (biased) {
          read.add(name(part, n, "bias"));
        }
      }
    }
    UnreadWeights.refuse(
        weights,
        name -> !beside.isEmpty() || scopes.stream().anyMatch(name::startsWith),
        read,
        beside);
  }

  /** Whether {@link #beside} says so of this very name. */
  boolean knows(String name) {
    return beside.contains(name);
  }

  boolean has(Part part) {
    return patterns.containsKey(part);
  }

  /** Whether a layer that is like that has the part. */
  boolean has(Part part, LayerConfig layer) {
    return has(part) && (part != Part.SELF_NORM || layer.selfNorm());
  }

  WeightOrder order() {
    return inputMajor ? WeightOrder.IN_OUT : WeightOrder.OUT_IN;
  }

  String name(Part part, int layer, String kind) {
    String pattern = patterns.get(part);
    if (pattern == null) {
      throw new IllegalArgumentException("names: expected one of " + part + ", got none");
    }
    return pattern.replace("{n}", Integer.toString(layer)).replace("{p}", kind);
  }

  /** What has the weight: its name without {@code .weight}. */
  String module(Part part, int block) {
    String name = name(part, block, "");
    return name.substring(0, name.length() - 1);
  }
}
