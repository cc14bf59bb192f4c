package dev.gatun.model;

import dev.gatun.internal.Json;
import dev.gatun.nn.Pooling;
import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Set;

/**
 * What a Pooling module of sentence-transformers says.
 *
 * @param poolings how rows become one, side by side in this order
 * @param width that it expects of a row, or -1
 * @param includePrompt whether the tokens of a prompt are pooled as well
 */
record PoolingConfig(List<Pooling> poolings, int width, boolean includePrompt) {

  /** Where nothing is said. */
  static final PoolingConfig MEAN = new PoolingConfig(List.of(Pooling.MEAN), -1, true);

  private static final String PREFIX = "pooling_mode_";
  private static final String MEAN_KEY = "pooling_mode_mean_tokens";
  private static final String WIDTH = "word_embedding_dimension";
  private static final String NEWER_MODE = "pooling_mode";
  private static final String NEWER_WIDTH = "embedding_dimension";
  private static final String INCLUDE_PROMPT = "include_prompt";

  /** Keys in the order in which sentence-transformers puts results side by side. */
  private static final Map<String, Pooling> KEYS = new LinkedHashMap<>();

  /** Names in one key, since version 6. */
  private static final Map<String, Pooling> NAMES = new LinkedHashMap<>();

  static {
    add("cls_token", "cls", Pooling.CLS);
    add("max_tokens", "max", Pooling.MAX);
    add("mean_tokens", "mean", Pooling.MEAN);
    add("mean_sqrt_len_tokens", "mean_sqrt_len_tokens", Pooling.MEAN_SQRT_LENGTH);
    add("weightedmean_tokens", "weightedmean", Pooling.WEIGHTED_MEAN);
    add("lasttoken", "lasttoken", Pooling.LAST_TOKEN);
  }

  private static void add(String key, String name, Pooling pooling) {
    KEYS.put(PREFIX + key, pooling);
    NAMES.put(name, pooling);
  }

  static PoolingConfig read(Json json) {
    boolean prompt = json.find(INCLUDE_PROMPT).boolOr(true);
    if (json.names().contains(NEWER_MODE)) {
      json.only(Set.of(NEWER_MODE, NEWER_WIDTH, INCLUDE_PROMPT));
      return new PoolingConfig(newer(json.get(NEWER_MODE)), width(json, NEWER_WIDTH), prompt);
    }
    for (String key : json.names()) {
      if (!KEYS.containsKey(key) && !key.equals(WIDTH) && !key.equals(INCLUDE_PROMPT)) {
        throw new IllegalArgumentException(
            "%s: expected the keys of a Pooling module, got %s".formatted(key, json.find(key)));
      }
    }
    return new PoolingConfig(older(json), width(json, WIDTH), prompt);
  }

  private static List<Pooling> older(Json json) {
    List<Pooling> poolings = new ArrayList<>();
    boolean said = false;
    for (Map.Entry<String, Pooling> key : KEYS.entrySet()) {
      if (json.names().contains(key.getKey())) {
        said = true;
        if (json.find(key.getKey()).bool()) {
          poolings.add(key.getValue());
        }
      }
    }
    if (!said) {
      return MEAN.poolings;
    }
    // Some versions take the mean as well where nothing is said about it, others do not.
    json.get(MEAN_KEY);
    if (poolings.isEmpty()) {
      throw new IllegalArgumentException(
          "%s*: expected one that is true, got none".formatted(PREFIX));
    }
    return poolings;
  }

  /** One name, or several in the order of the list. */
  private static List<Pooling> newer(Json mode) {
    if (mode.isString()) {
      return List.of(named(mode));
    }
    List<Json> names = mode.elements();
    if (names.isEmpty()) {
      throw mode.expected("at least one of " + NAMES.keySet());
    }
    return names.stream().map(PoolingConfig::named).toList();
  }

  private static Pooling named(Json name) {
    Pooling pooling = NAMES.get(name.string());
    if (pooling == null) {
      throw name.expected("one of " + NAMES.keySet());
    }
    return pooling;
  }

  private static int width(Json json, String key) {
    Json width = json.find(key);
    return width.isNull() ? -1 : (int) width.integer(1, Integer.MAX_VALUE);
  }
}
