package dev.gatun.model;

import dev.gatun.Activation;
import dev.gatun.internal.Json;
import java.nio.file.Path;
import java.util.List;
import java.util.Locale;
import java.util.Set;

/**
 * What a config.json of Hugging Face says. A value that a family does not follow is refused with
 * its key; keys that say nothing about the computation, of which there is no end, are left alone.
 */
final class FamilyConfig {

  /** What config.json says is not what a family can be. */
  static final class Refused extends IllegalArgumentException {
    private static final long serialVersionUID = 1;

    Refused(IllegalArgumentException cause) {
      super(cause.getMessage(), cause);
    }
  }

  @FunctionalInterface
  private interface Reading<T> {
    T read(Json value);
  }

  /**
   * Positions that a family computes tables for where nobody asks for more: config.json may name a
   * million, of which a head of 128 would take 512 MB.
   */
  static final int POSITIONS = 8192;

  private final Path file;
  private final Json json;
  private final int mostPositions;

  FamilyConfig(Path file, Json json) {
    this(file, json, POSITIONS);
  }

  private FamilyConfig(Path file, Json json, int mostPositions) {
    this.file = file;
    this.json = json;
    this.mostPositions = mostPositions;
  }

  /** {@return the same with another bound of {@link #positions}, 1 or more} */
  FamilyConfig withPositions(int most) {
    if (most < 1) {
      throw new IllegalArgumentException("positions: expected 1 or more, got " + most);
    }
    return new FamilyConfig(file, json, most);
  }

  /**
   * {@return the positions that computed tables have: what max_position_embeddings says, and not
   * more than was asked for}
   */
  int positions(int otherwise) {
    return Math.min(size("max_position_embeddings", otherwise), mostPositions);
  }

  /** {@return the file} */
  Path file() {
    return file;
  }

  /** {@return the whole of it} */
  Json json() {
    return json;
  }

  /** {@return what is below a key, as of {@link #json}; empty if there is nothing} */
  FamilyConfig below(String key) {
    return new FamilyConfig(file, has(key) ? json.find(key) : NOTHING, mostPositions);
  }

  /** {@return the same where keys that say nothing have these values} */
  FamilyConfig or(Json defaults) {
    return new FamilyConfig(file, json.or(defaults), mostPositions);
  }

  private static final Json NOTHING = Json.parse("{}");

  /** {@return whether there is such a key, and its value is not null} */
  boolean has(String key) {
    return !json.find(key).isNull();
  }

  /** {@return whether there is such a key, whose value is null} */
  boolean isNull(String key) {
    return !has(key) && json.names().contains(key);
  }

  /** Refuses keys that are none of these. */
  void only(Set<String> known) {
    try {
      json.only(known);
    } catch (IllegalArgumentException e) {
      throw new Refused(e);
    }
  }

  /** Refuses a key that is there at all, unless it is null. */
  void refuse(String... keys) {
    for (String key : keys) {
      if (has(key)) {
        throw expected(key, "none");
      }
    }
  }

  /** {@return a list of names, or null where nothing is said} */
  List<String> texts(String key) {
    return has(key)
        ? read(key, value -> value.elements().stream().map(Json::string).toList())
        : null;
  }

  /** {@return a list of whole numbers from 0 on, or null where nothing is said} */
  List<Integer> integers(String key) {
    return has(key)
        ? read(
            key,
            value ->
                value.elements().stream()
                    .map(element -> (int) element.integer(0, Integer.MAX_VALUE))
                    .toList())
        : null;
  }

  /** {@return a list of numbers, of which some may be infinite} */
  double[] numbersOrInfinities(String key) {
    return read(
        key, value -> value.elements().stream().mapToDouble(Json::numberOrInfinity).toArray());
  }

  private <T> T read(String key, Reading<T> reading) {
    try {
      return reading.read(json.get(key));
    } catch (IllegalArgumentException e) {
      throw new Refused(e);
    }
  }

  /** {@return a refusal of a key's value} */
  Refused expected(String key, String what) {
    return new Refused(json.find(key).expected(what));
  }

  /** {@return a size, 1 or more, which must be there} */
  int size(String key) {
    return read(key, value -> (int) value.integer(1, Integer.MAX_VALUE));
  }

  /** {@return a size, 1 or more, or what it is where nothing is said} */
  int size(String key, int otherwise) {
    return has(key) ? size(key) : otherwise;
  }

  /** {@return a whole number from 0 on, or what it is where nothing is said} */
  int integer(String key, int otherwise) {
    return has(key) ? read(key, value -> (int) value.integer(0, Integer.MAX_VALUE)) : otherwise;
  }

  /** {@return a number, or what it is where nothing is said} */
  double number(String key, double otherwise) {
    return has(key) ? read(key, Json::number) : otherwise;
  }

  /** {@return the epsilon of norms: finite and above 0} */
  float epsilon(String key, double otherwise) {
    float epsilon = (float) number(key, otherwise);
    if (!(epsilon > 0) || Float.isInfinite(epsilon)) {
      throw expected(key, "a finite number above 0");
    }
    return epsilon;
  }

  /** {@return what is said, or what it is where nothing is said} */
  boolean flag(String key, boolean otherwise) {
    return has(key) ? read(key, Json::bool) : otherwise;
  }

  /** {@return a text, or what it is where nothing is said} */
  String text(String key, String otherwise) {
    return has(key) ? read(key, Json::string) : otherwise;
  }

  /** Refuses a key that is there with another value. */
  void requireText(String key, String value) {
    if (!text(key, value).equals(value)) {
      throw expected(key, '"' + value + '"');
    }
  }

  /** Refuses a key that is there with another value. */
  void requireFlag(String key, boolean value) {
    if (flag(key, value) != value) {
      throw expected(key, String.valueOf(value));
    }
  }

  /** Refuses a key that is there with another value. */
  void requireNumber(String key, double value) {
    if (number(key, value) != value) {
      throw expected(key, String.valueOf(value));
    }
  }

  /** {@return an activation by the name that transformers has for it} */
  Activation activation(String key, String otherwise) {
    String name = text(key, otherwise).toLowerCase(Locale.ROOT);
    return switch (name) {
      case "gelu" -> Activation.GELU;
      case "gelu_new", "gelu_pytorch_tanh", "gelu_fast" -> Activation.GELU_TANH;
      case "relu" -> Activation.RELU;
      case "silu", "swish" -> Activation.SILU;
      case "quick_gelu" -> Activation.QUICK_GELU;
      default ->
          throw expected(
              key,
              "one of gelu, gelu_new, gelu_pytorch_tanh, gelu_fast, relu, silu, swish and"
                  + " quick_gelu");
    };
  }
}
